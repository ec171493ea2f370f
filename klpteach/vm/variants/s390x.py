"""Two ways to keep s390x's GOT and PLT slots right: fill them at each late relocation, or forget that they are filled."""

from __future__ import annotations

from .edit import Edit, before, instead

MODULE = "arch/s390/kernel/module.c"

# A relocation that comes late (with s390_kernel_write) fills its symbol's slot each time.
REWRITE: tuple[Edit, ...] = tuple(
    instead(MODULE, "", f"if (info->{slot}_initialized == 0) {{",
            f"if (info->{slot}_initialized == 0 || write != memcpy) {{ /* klpteach, rewrite */")
    for slot in ("got", "plt")
)  # fmt: skip
# The function that 6.3 made a place for: the target goes, so the slots of its symbols count as empty.
CLEAR_SLOTS: tuple[Edit, ...] = (
    before(MODULE, "", "int module_finalize(const Elf_Ehdr *hdr,", """\
/* klpteach, clear-got: the next load of the target fills the slots of its symbols anew */
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

"""),
)  # fmt: skip
