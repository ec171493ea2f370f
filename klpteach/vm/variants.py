"""Small changes to the kernel's own code, applied when a variant is built: what other fixes would have done.

Each is a handful of insertions of our own, found by a line that is there once; no kernel source is kept here.
The files: arch/powerpc/kernel/module_64.c, for `clear` also kernel/livepatch/core.c; arch/s390/kernel/module.c.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .host import HostError

MODULE_64, LIVEPATCH_CORE = "arch/powerpc/kernel/module_64.c", "kernel/livepatch/core.c"
S390_MODULE = "arch/s390/kernel/module.c"


@dataclass(frozen=True)
class Edit:
    """Insert text before an anchor, which stands exactly once in the file; instead: put the text in its place."""

    path: str
    anchor: str
    text: str
    instead: bool = False

    def applied(self, source: str) -> str:
        """The changed source. Errors: HostError where the anchor is missing or not unique.

        >>> Edit("a.c", "return 0;", "puts(name); ").applied("{ return 0; }")
        '{ puts(name); return 0; }'
        """
        if (times := source.count(self.anchor)) != 1:
            raise HostError(f"{self.path}: {self.anchor.strip()!r} stands there {times} times, not once.")
        return source.replace(self.anchor, self.text + ("" if self.instead else self.anchor))


# fmt: off
# 37251c7114e1 (6.3) in other words: the instruction may be there from an earlier load of the target.
TOLERATE = Edit(MODULE_64, "\tif (*instruction != PPC_RAW_NOP()) {\n", """\
	/* klpteach, tolerate: an earlier load of the target has left it */
	if (*instruction == PPC_INST_LD_TOC)
		return 1;

""")

# What the RFC of 2019 wanted, done for whole instructions: give the file's bytes back. Stubs stay.
_CLEAR_ARCH = Edit(MODULE_64, "int apply_relocate_add(Elf64_Shdr *sechdrs,\n", """\
/* klpteach, clear: the target goes, so put back what stood in the file */
void klpteach_clear(Elf64_Shdr *sechdrs, unsigned int relsec, struct module *me);
void klpteach_clear(Elf64_Shdr *sechdrs, unsigned int relsec, struct module *me)
{
	Elf64_Rela *rela = (void *)sechdrs[relsec].sh_addr;
	Elf64_Rela *end = (void *)rela + sechdrs[relsec].sh_size;

	for (; rela < end; rela++) {
		u32 *site = (void *)sechdrs[sechdrs[relsec].sh_info].sh_addr + rela->r_offset;

		switch (ELF64_R_TYPE(rela->r_info)) {
		case R_PPC_REL24:
			if (site[1] == PPC_INST_LD_TOC && instr_is_relative_link_branch(ppc_inst(site[0])))
				patch_instruction(site + 1, ppc_inst(PPC_RAW_NOP()));
			patch_instruction(site, ppc_inst(site[0] & ~PPC_LI_MASK));
			break;
		case R_PPC64_ADDR64:
			*(u64 *)site = 0;
			break;
		case R_PPC64_ADDR32:
			*site = 0;
			break;
		default:
			pr_err("%s: cannot clear relocation type %lu\\n",
				me->name, (unsigned long)ELF64_R_TYPE(rela->r_info));
		}
	}
}

""")
_CLEAR_OBJECT = Edit(LIVEPATCH_CORE, "static void klp_cleanup_module_patches_limited(struct module *mod,\n", """\
/* klpteach, clear: every section .klp.rela.OBJECT.* of a livepatch */
extern void klpteach_clear(Elf64_Shdr *sechdrs, unsigned int relsec, struct module *me);
static void klpteach_clear_object(struct klp_patch *patch, struct klp_object *obj)
{
	struct klp_modinfo *info = patch->mod->klp_info;
	char prefix[MODULE_NAME_LEN + 16];
	int length = snprintf(prefix, sizeof(prefix), ".klp.rela.%s.", obj->name), i;

	for (i = 1; i < info->hdr.e_shnum; i++) {
		Elf_Shdr *section = info->sechdrs + i;

		if ((section->sh_flags & SHF_RELA_LIVEPATCH) &&
			!strncmp(info->secstrings + section->sh_name, prefix, length))
			klpteach_clear(info->sechdrs, i, patch->mod);
	}
}

""")
_CLEAR_CALL = Edit(LIVEPATCH_CORE, "\t\t\tklp_free_object_loaded(obj);\n\t\t\tbreak;\n",
                   "\t\t\tklpteach_clear_object(patch, obj);\n")

# A call site keeps its own stub, and the stub is pointed at the new address: the table cannot run out.
_REUSE_SEARCH = Edit(MODULE_64, "int apply_relocate_add(Elf64_Shdr *sechdrs,\n", """\
/* klpteach, reuse: a stub with this address, else the call's own stub with a new address, else a new stub */
static unsigned long klpteach_stub(u32 *call, const Elf64_Shdr *sechdrs, unsigned long addr,
					struct module *me, const char *name)
{
	struct ppc64_stub_entry *stubs = (void *)sechdrs[me->arch.stubs_section].sh_addr;
	unsigned long count = sechdrs[me->arch.stubs_section].sh_size / sizeof(*stubs), i;
	unsigned long to;

	if (!call)
		return stub_for_addr(sechdrs, addr, me, name);
	for (i = 0; i < count && stub_func_addr(stubs[i].funcdata); i++)
		if (stub_func_addr(stubs[i].funcdata) == func_addr(addr))
			return (unsigned long)&stubs[i];
	to = (unsigned long)call + (long)((int)((*call & 0x03fffffc) << 6) >> 6) - (unsigned long)stubs;
	if (to < count * sizeof(*stubs) && to % sizeof(*stubs) == 0)
		return create_stub(sechdrs, &stubs[to / sizeof(*stubs)], addr, me, name) ? to + (unsigned long)stubs : 0;
	return stub_for_addr(sechdrs, addr, me, name);
}

""")
_REUSE_CALL = Edit(MODULE_64, "\t\t\t\tvalue = stub_for_addr(sechdrs, value, me,\n", """\
				value = klpteach_stub(sym->st_shndx == SHN_LIVEPATCH ? (u32 *)location : NULL,
						sechdrs, value, me,
""", instead=True)

# A relocation that comes late (with s390_kernel_write) fills its symbol's slot each time.
_REWRITE = tuple(
    Edit(S390_MODULE, f"if (info->{slot}_initialized == 0) {{",
         f"if (info->{slot}_initialized == 0 || write != memcpy) {{ /* klpteach, rewrite */", instead=True)
    for slot in ("got", "plt")
)
# The function that 6.3 made a place for: the target goes, so the slots of its symbols count as empty.
_CLEAR_SLOTS = Edit(S390_MODULE, "int module_finalize(const Elf_Ehdr *hdr,", """\
/* klpteach, clear: the next load of the target fills the slots of its symbols anew */
void clear_relocate_add(Elf_Shdr *sechdrs, const char *strtab, unsigned int symindex,
			unsigned int relsec, struct module *me)
{
	Elf_Rela *rela = (void *)sechdrs[relsec].sh_addr;
	Elf_Rela *end = (void *)rela + sechdrs[relsec].sh_size;

	for (; rela < end; rela++) {
		struct mod_arch_syminfo *info = me->arch.syminfo + ELF_R_SYM(rela->r_info);

		info->got_initialized = info->plt_initialized = 0;
	}
}

""")
# fmt: on

Variants = Mapping[tuple[str, str], tuple[Edit, ...]]  # release, variant -> what is changed
VARIANTS: Mapping[str, Variants] = {
    "x86_64": {("6.1", "stock"): (), ("6.12", "stock"): ()},
    "arm64": {("7.3", "stock"): ()},
    "s390x": {
        ("6.1", "stock"): (),
        ("6.1", "rewrite"): _REWRITE,
        ("6.12", "stock"): (),
        ("6.12", "clear"): (_CLEAR_SLOTS,),
        ("7.3", "stock"): (),
    },
    "ppc64le": {
        ("6.1", "stock"): (),
        ("6.1", "clear"): (_CLEAR_ARCH, _CLEAR_OBJECT, _CLEAR_CALL),
        ("6.1", "tolerate"): (TOLERATE,),
        ("6.1", "reuse"): (TOLERATE, _REUSE_SEARCH, _REUSE_CALL),
        ("6.12", "stock"): (),
        ("6.12", "reuse"): (_REUSE_SEARCH, _REUSE_CALL),  # 6.12 tolerates by itself
        ("7.3", "stock"): (),
    },
}


def edited(tree: Path, edits: tuple[Edit, ...]) -> dict[str, str]:
    """Path -> changed text of every file that the edits touch; nothing is written."""
    texts: dict[str, str] = {}
    for edit in edits:
        texts[edit.path] = edit.applied(texts.get(edit.path) or (tree / edit.path).read_text())
    return texts
