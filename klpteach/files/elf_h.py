"""The numbers of the ELF specification and of include/uapi/linux/elf.h that modules need, by their names there."""

SHT_NULL, SHT_PROGBITS, SHT_SYMTAB, SHT_STRTAB, SHT_RELA, SHT_NOBITS = 0, 1, 2, 3, 4, 8
SHF_WRITE, SHF_ALLOC, SHF_EXECINSTR, SHF_INFO_LINK = 0x1, 0x2, 0x4, 0x40
SHF_RELA_LIVEPATCH, SHF_RO_AFTER_INIT = 0x00100000, 0x00200000
SHN_UNDEF, SHN_LIVEPATCH, SHN_ABS, SHN_COMMON = 0, 0xFF20, 0xFFF1, 0xFFF2
STB_WEAK = 2
EM_PPC64, EM_X86_64 = 21, 62
POINTER_TYPE = {EM_X86_64: 1, EM_PPC64: 38}  # R_X86_64_64, R_PPC64_ADDR64: the relocation of a pointer in data
