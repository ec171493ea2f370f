/* Load a module as far as its bytes go: what load_module() does around module_64.c, at the addresses that we are given. */
int run(char *elf, unsigned long *address, unsigned long *value, unsigned long ftrace, unsigned long ftrace_regs,
	unsigned long *stubs_size)
{
	Elf64_Ehdr *header = (void *)elf;
	Elf64_Shdr *sections = (void *)(elf + header->e_shoff);
	struct module me = { "tiny" };
	unsigned int i, table = 0;
	int error;

	FTRACE = ftrace;
	FTRACE_REGS = ftrace_regs;
	for (i = 0; i < header->e_shnum; i++) {
		sections[i].sh_addr = (unsigned long)elf + sections[i].sh_offset;
		if (!table && sections[i].sh_type == SHT_SYMTAB)
			table = i;
	}
	error = module_frob_arch_sections(header, sections, (char *)sections[header->e_shstrndx].sh_addr, &me);
	if (error)
		return error;
	*stubs_size = sections[me.arch.stubs_section].sh_size;
	for (i = 1; i < header->e_shnum; i++) {
		if (!address[i] || i == table || i == sections[table].sh_link)
			continue;
		if (sections[i].sh_type != SHT_NOBITS)
			memcpy((void *)address[i], (void *)sections[i].sh_addr, sections[i].sh_size);
		sections[i].sh_addr = address[i];
	}
	Elf64_Sym *symbols = (void *)sections[table].sh_addr;
	for (i = 0; i < sections[table].sh_size / sizeof(*symbols); i++)
		symbols[i].st_value = value[i];
	for (i = 1; i < header->e_shnum; i++) {
		if (sections[i].sh_type != SHT_RELA || (sections[i].sh_flags & 0x00100000) ||
		    sections[i].sh_info >= header->e_shnum || !address[sections[i].sh_info])
			continue;
		error = apply_relocate_add(sections, (char *)sections[sections[table].sh_link].sh_addr, table, i, &me);
		if (error)
			return error;
	}
	return module_finalize_ftrace(&me, sections);
}
