"""remove-check, and the ways of taking relocations back when their target goes, on x86_64.

6.1 has none of it; 6.12 clears and compares, so there a variant is what leaves something out.
"""

from __future__ import annotations

from .edit import Edit, before, behind, instead, without

X86, CORE, LOADER_H = "arch/x86/kernel/module.c", "kernel/livepatch/core.c", "include/linux/moduleloader.h"

# fmt: off
# The loader writes over whatever is there. Of five tests two look at eight bytes and three at four.
REMOVE_CHECK: tuple[Edit, ...] = (
    *(without(X86, "__apply_relocate_add", f"\t\t\tif (*({kind} *)loc != 0)\n", until="invalid_relocation;\n", times=times)
      for kind, times in {"u64": 2, "u32": 2, "s32": 1}.items()),
    without(X86, "__apply_relocate_add", "invalid_relocation:\n", until="return -ENOEXEC;\n\n"),
)
REMOVE_CHECK_6_12: tuple[Edit, ...] = (
    without(X86, "__write_relocate_add", "\t\t\tif (memcmp(loc, &zero, size)) {\n", until="\t\t\t}\n"),
)

# When: after a module was unpatched because it goes. A load that fails inside livepatch is no going here.
_CALL: tuple[Edit, ...] = (
    before(LOADER_H, "", "/* Any final processing of module before access.", """\
#ifdef CONFIG_LIVEPATCH
/* Take back what apply_relocate_add() has written for one livepatch section. */
void clear_relocate_add(Elf_Shdr *sechdrs, const char *strtab,
			unsigned int symindex, unsigned int relsec,
			struct module *me);
#endif

"""),
    behind(CORE, "klp_apply_object_relocs", """\
/* The module goes: no byte of the livepatch may point into it any more. */
static void klp_clear_object_relocs(struct klp_patch *patch,
				    struct klp_object *obj)
{
	struct klp_modinfo *info = patch->mod->klp_info;
	char sec_objname[MODULE_NAME_LEN];
	int i;

	for (i = 1; i < info->hdr.e_shnum; i++) {
		Elf_Shdr *sec = info->sechdrs + i;

		if (!(sec->sh_flags & SHF_RELA_LIVEPATCH))
			continue;
		if (sscanf(info->secstrings + sec->sh_name,
			   ".klp.rela.%55[^.]", sec_objname) != 1)
			continue;
		if (strcmp(sec_objname, obj->name))
			continue;

		clear_relocate_add(info->sechdrs,
				   patch->mod->core_kallsyms.strtab,
				   info->symndx, i, patch->mod);
	}
}
"""),
    before(CORE, "klp_cleanup_module_patches_limited", "\t\t\tklp_free_object_loaded(obj);\n",
           "\t\t\tklp_clear_object_relocs(patch, obj);\n"),
)

# The RFC of 2019: zeros, whatever is there. Types that it does not know are passed over.
CLEAR_RELOCATIONS: tuple[Edit, ...] = (
    *_CALL,
    behind(X86, "apply_relocate_add", """\
#ifdef CONFIG_LIVEPATCH
/*
 * The places of the relocations of a section become what they are in the
 * file: zeros. What stands there now is not looked at.
 */
void clear_relocate_add(Elf64_Shdr *sechdrs, const char *strtab,
			unsigned int symindex, unsigned int relsec,
			struct module *me)
{
	Elf64_Rela *rel = (void *)sechdrs[relsec].sh_addr;
	void *base = (void *)sechdrs[sechdrs[relsec].sh_info].sh_addr;
	unsigned int i;
	u64 zero = 0;

	mutex_lock(&text_mutex);
	for (i = 0; i < sechdrs[relsec].sh_size / sizeof(*rel); i++) {
		switch (ELF64_R_TYPE(rel[i].r_info)) {
		case R_X86_64_64:
		case R_X86_64_PC64:
			text_poke(base + rel[i].r_offset, &zero, 8);
			break;
		case R_X86_64_32:
		case R_X86_64_32S:
		case R_X86_64_PC32:
		case R_X86_64_PLT32:
			text_poke(base + rel[i].r_offset, &zero, 4);
			break;
		}
	}
	text_poke_sync();
	mutex_unlock(&text_mutex);
}
#endif
"""),
)
CLEAR_RELOCATIONS_6_12: tuple[Edit, ...] = (
    without(X86, "__write_relocate_add", "\t\t\tif (memcmp(loc, &val, size)) {\n", until="\t\t\t}\n"),
)

# A load that fails inside livepatch is a going too. Nobody proposed it.
ALSO_ON_ERROR = before(CORE, "klp_module_coming", "\tobj->mod = NULL;\n", """\
	/* The patch that failed has written too. */
	klp_clear_object_relocs(patch, obj);
""")

# What a relocation's place holds once it is written; both ways of 6.3's rule ask it.
_BYTES = """\
/* How many bytes a relocation writes, and which; < 0 where it cannot be. */
static int relocation_bytes(const Elf64_Rela *rel, u64 sym, void *loc,
			    struct module *me, u64 *val)
{
	*val = sym + rel->r_addend;

	switch (ELF64_R_TYPE(rel->r_info)) {
	case R_X86_64_NONE:
		return 0;
	case R_X86_64_64:
		return 8;
	case R_X86_64_32:
		return *val == (u32)*val ? 4 : -ERANGE;
	case R_X86_64_32S:
		return (s64)*val == (s32)*val ? 4 : -ERANGE;
	case R_X86_64_PC32:
	case R_X86_64_PLT32:
		*val -= (u64)loc;
		return 4;
	case R_X86_64_PC64:
		*val -= (u64)loc;
		return 8;
	}
	pr_err("%s: Unknown rela relocation: %llu\\n",
	       me->name, ELF64_R_TYPE(rel->r_info));
	return -ENOEXEC;
}

"""

# As 6.3: one way to write and to take back. It computes first, so the words and the value of the nonzero line are 6.3's.
CLEAR_CHECKED: tuple[Edit, ...] = (
    *_CALL,
    instead(X86, "__apply_relocate_add", "", _BYTES + """\
/* Write the values of a relocation section, or take them back: zeros. */
static int write_relocations(Elf64_Shdr *sechdrs, unsigned int symindex,
			     unsigned int relsec, struct module *me, bool apply)
{
	Elf64_Rela *rel = (void *)sechdrs[relsec].sh_addr;
	Elf64_Rela *end = (void *)rel + sechdrs[relsec].sh_size;
	Elf64_Sym *syms = (void *)sechdrs[symindex].sh_addr;
	void *base = (void *)sechdrs[sechdrs[relsec].sh_info].sh_addr;
	bool early = me->state == MODULE_STATE_UNFORMED;
	u64 val, zero = 0;

	for (; rel < end; rel++) {
		void *loc = base + rel->r_offset;
		int type = ELF64_R_TYPE(rel->r_info);
		int size = relocation_bytes(rel,
				syms[ELF64_R_SYM(rel->r_info)].st_value,
				loc, me, &val);

		if (size == -ERANGE) {
			pr_err("overflow in relocation type %d val %Lx\\n",
			       type, val);
			pr_err("`%s' likely not compiled with -mcmodel=kernel\\n",
			       me->name);
		}
		if (size < 0)
			return -ENOEXEC;
		if (apply && memcmp(loc, &zero, size)) {
			pr_err("x86/modules: Invalid relocation target, existing value is nonzero for type %d, loc %p, val %Lx\\n",
			       type, loc, val);
			return -ENOEXEC;
		}
		if (!apply && memcmp(loc, &val, size)) {
			pr_warn("x86/modules: Invalid relocation target, existing value does not match expected value for type %d, loc %p, val %Lx\\n",
				type, loc, val);
			return -ENOEXEC;
		}
		if (size)
			(early ? memcpy : text_poke)(loc, apply ? &val : &zero, size);
	}
	return 0;
}

static int write_locked(Elf64_Shdr *sechdrs, unsigned int symindex,
			unsigned int relsec, struct module *me, bool apply)
{
	int ret;

	if (me->state == MODULE_STATE_UNFORMED)
		return write_relocations(sechdrs, symindex, relsec, me, apply);

	mutex_lock(&text_mutex);
	ret = write_relocations(sechdrs, symindex, relsec, me, apply);
	text_poke_sync();
	mutex_unlock(&text_mutex);

	return ret;
}
"""),
    instead(X86, "apply_relocate_add", "\n{\n", """
{
	return write_locked(sechdrs, symindex, relsec, me, true);
}
""", until="\n}\n"),
    behind(X86, "apply_relocate_add", """\
#ifdef CONFIG_LIVEPATCH
void clear_relocate_add(Elf64_Shdr *sechdrs, const char *strtab,
			unsigned int symindex, unsigned int relsec,
			struct module *me)
{
	write_locked(sechdrs, symindex, relsec, me, false);
}
#endif
"""),
)

# The same comparison, and 6.1's own writing as it is: its words stay, and it looks for zeros before it computes.
CLEAR_CHECKED_KEPT: tuple[Edit, ...] = (
    *_CALL,
    behind(X86, "apply_relocate_add", "#ifdef CONFIG_LIVEPATCH\n" + _BYTES + """\
/*
 * Zeros where the bytes are still those that apply_relocate_add() wrote. At
 * the first place where they are not: a warning, and the section is left.
 */
void clear_relocate_add(Elf64_Shdr *sechdrs, const char *strtab,
			unsigned int symindex, unsigned int relsec,
			struct module *me)
{
	Elf64_Rela *rel = (void *)sechdrs[relsec].sh_addr;
	Elf64_Sym *syms = (void *)sechdrs[symindex].sh_addr;
	void *base = (void *)sechdrs[sechdrs[relsec].sh_info].sh_addr;
	u64 val, zero = 0;
	unsigned int i;
	int size;

	mutex_lock(&text_mutex);
	for (i = 0; i < sechdrs[relsec].sh_size / sizeof(*rel); i++) {
		void *loc = base + rel[i].r_offset;

		size = relocation_bytes(rel + i,
				syms[ELF64_R_SYM(rel[i].r_info)].st_value,
				loc, me, &val);
		if (size < 0)
			break;
		if (memcmp(loc, &val, size)) {
			pr_warn("x86/modules: Invalid relocation target, existing value does not match expected value for type %d, loc %p, val %Lx\\n",
				(int)ELF64_R_TYPE(rel[i].r_info), loc, val);
			break;
		}
		if (size)
			text_poke(loc, &zero, size);
	}
	text_poke_sync();
	mutex_unlock(&text_mutex);
}
#endif
"""),
)
