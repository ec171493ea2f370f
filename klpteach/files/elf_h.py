"""The numbers and structures of the ELF specification and of include/uapi/linux/elf.h that modules need."""

from typing import Any

import numpy as np

SHT_NULL, SHT_PROGBITS, SHT_SYMTAB, SHT_STRTAB, SHT_RELA, SHT_NOBITS = 0, 1, 2, 3, 4, 8
SHF_WRITE, SHF_ALLOC, SHF_EXECINSTR, SHF_INFO_LINK = 0x1, 0x2, 0x4, 0x40
SHF_RELA_LIVEPATCH, SHF_RO_AFTER_INIT = 0x00100000, 0x00200000
SHN_UNDEF, SHN_LIVEPATCH, SHN_ABS, SHN_COMMON = 0, 0xFF20, 0xFFF1, 0xFFF2
STB_WEAK = 2
ET_REL = 1
EM_PPC64, EM_S390, EM_X86_64, EM_AARCH64 = 21, 22, 62, 183
MODULE_NAME_LEN, KSYM_NAME_LEN = 56, 512  # include/linux/moduleparam.h, kallsyms.h (128 up to 6.0); each with its NUL
THIS_MODULE, THIS_MODULE_NAME = ".gnu.linkonce.this_module", 24  # struct module, and in it: state, list, then name
ELFDATA2LSB, ELFDATA2MSB = 1, 2
ARCH_OF_MACHINE = {EM_X86_64: "x86_64", EM_PPC64: "ppc64le", EM_AARCH64: "arm64", EM_S390: "s390x"}
DATA_OF_MACHINE = {EM_S390: ELFDATA2MSB}  # e_ident[EI_DATA]; ELFDATA2LSB for every other
# Other machines that Linux runs on, by the names that its source tree and its users have for them.
MACHINES = {
    2: "sparc", 3: "i386", 4: "m68k", 8: "mips", 15: "parisc", 20: "powerpc", EM_PPC64: "ppc64", EM_S390: "s390x", 40: "arm",
    42: "sh", 43: "sparc64", 50: "ia64", EM_X86_64: "x86_64", 94: "xtensa", EM_AARCH64: "aarch64", 195: "arc", 243: "riscv",
    258: "loongarch", 0x9026: "alpha",
}  # fmt: skip

# Elf64_Shdr, Elf64_Sym and Elf64_Rela without "sh_", "st_" and "r_", as little-endian files have them
SHDR = np.dtype([
    ("name", "<u4"), ("type", "<u4"), ("flags", "<u8"), ("addr", "<u8"), ("offset", "<u8"), ("size", "<u8"),
    ("link", "<u4"), ("info", "<u4"), ("addralign", "<u8"), ("entsize", "<u8"),
])  # fmt: skip
SYM = np.dtype([("name", "<u4"), ("info", "u1"), ("other", "u1"), ("shndx", "<u2"), ("value", "<u8"), ("size", "<u8")])
RELA = np.dtype([("offset", "<u8"), ("type", "<u4"), ("sym", "<u4"), ("addend", "<i8")])  # r_info is sym << 32 | type
# The same in a big-endian file: of r_info, which is one number there, sym comes first.
_RELA_MSB = np.dtype(
    {"names": ["offset", "type", "sym", "addend"], "formats": [">u8", ">u4", ">u4", ">i8"], "offsets": [0, 12, 8, 16]}
)
BIG_ENDIAN: dict[np.dtype[Any], np.dtype[Any]] = {
    SHDR: SHDR.newbyteorder(">"),
    SYM: SYM.newbyteorder(">"),
    RELA: _RELA_MSB,
}


def machine_name(number: int) -> str:
    """e_machine in words.

    >>> machine_name(183), machine_name(9999)
    ('aarch64 (machine 183)', 'machine 9999')
    """
    return f"{MACHINES[number]} (machine {number})" if number in MACHINES else f"machine {number}"
