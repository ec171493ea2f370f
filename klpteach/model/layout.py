"""Which section of a module goes where in memory: layout_sections() and layout_symtab() (kernel/module/main.c, kallsyms.c).

Both layouts: one core and one init block (up to 6.3), and one allocation a kind of memory (6.4 and later).
"""

from __future__ import annotations

from functools import lru_cache

from ..files.elf_h import SHF_ALLOC, SHF_EXECINSTR, SHF_RO_AFTER_INIT, SHF_WRITE, SHN_UNDEF, SYM
from ..files.module_file import ModuleFile
from .image import Arch, Layout, section_flags
from .memory import page_align
from .policy import Behaviour

Places = dict[int, tuple[str, int]]  # section -> region, offset
# the passes of layout_sections(): flags a section must have, must not have
PASSES = (
    (SHF_EXECINSTR | SHF_ALLOC, 0), (SHF_ALLOC, SHF_WRITE),
    (SHF_RO_AFTER_INIT | SHF_ALLOC, 0), (SHF_WRITE | SHF_ALLOC, 0),
)  # fmt: skip
CORE_MEMORY = ("text", "rodata", "ro_after_init", "data")
INIT_MEMORY = ("init_text", "init_rodata", "init_data", "init_data")
ONE_BLOCK = ("core", "init")
# the order of enum mod_mem_type, in which the kernel allocates
SEPARATE = ("text", "data", "rodata", "ro_after_init", "init_text", "init_data", "init_rodata")


@lru_cache(maxsize=128)
def layout_sections(file: ModuleFile, arch: Arch, rules: Behaviour) -> Layout:
    """Lay out all sections that stay in memory, then kallsyms' tables.

    Source: layout_sections(), layout_symtab(); the offsets of one block are rounded to pages between the kinds
    (CONFIG_STRICT_MODULE_RWX), separate regions start at 0 each.

    >>> from klpteach.files.samples import sample
    >>> from klpteach.model import arch
    >>> from klpteach.model.policy import behaviour
    >>> ko = ModuleFile.open(sample("filler64k.ko"))
    >>> hex(layout_sections(ko, arch.of("x86_64"), behaviour("6.1")).sizes["core"])
    '0x14000'
    """
    separate_memory = rules.separate_memory
    sizes, text_size = dict.fromkeys(SEPARATE if separate_memory else ONE_BLOCK, 0), 0
    places: Places = {}
    sizes["text" if separate_memory else "core"] = arch.core_start(file)
    flags = section_flags(file, rules.ro_after_init)
    init = [is_init(file, arch, index) for index in range(len(flags))]
    for memory, block, of_init in ((CORE_MEMORY, "core", False), (INIT_MEMORY, "init", True)):
        for kind, (must, must_not) in zip(memory, PASSES, strict=True):
            region = kind if separate_memory else block
            for index, flag in enumerate(flags):
                wanted = flag & must == must and not flag & must_not and init[index] == of_init
                if wanted and index not in places:
                    places[index] = (region, _append(file, index, sizes, region))
            if not separate_memory:
                sizes[region] = page_align(sizes[region], arch.page)
                text_size = text_size or sizes["core"]
    _layout_symtab(file, arch, sizes, places, *(("data", "init_data") if separate_memory else ONE_BLOCK))
    if not separate_memory:
        sizes = {region: page_align(size, arch.page) for region, size in sizes.items()}
    return Layout(places, flags, sizes, arch.page, text_size)


def is_init(file: ModuleFile, arch: Arch, index: int) -> bool:
    """Whether a section is freed after init (its name begins with .init; never on ppc64le)."""
    return arch.module_init_section(file.section_names[index])


def _append(file: ModuleFile, index: int, sizes: dict[str, int], region: str) -> int:
    """Put a section behind what a region has by now; its offset there."""
    align = int(file.shdrs["addralign"][index]) or 1
    offset = (sizes[region] + align - 1) & -align
    sizes[region] = offset + int(file.shdrs["size"][index])
    return offset


def _layout_symtab(file: ModuleFile, arch: Arch, sizes: dict[str, int], places: Places, core: str, init: str) -> None:
    """The whole symbol table goes to the init memory, the part that kallsyms keeps to the core."""
    places[file.symtab_index] = (init, _append(file, file.symtab_index, sizes, init))
    kept = core_symbols(file, arch)
    align = int(file.shdrs["addralign"][file.symtab_index]) or 1
    names = sum(len(file.symbol_names[i].encode()) + 1 for i in kept)
    sizes[core] = ((sizes[core] + align - 1) & -align) + len(kept) * (SYM.itemsize + 1) + names  # 1: a type byte
    places[file.strtab_index] = (init, _append(file, file.strtab_index, sizes, init))
    sizes[init] = ((sizes[init] + 7) & -8) + 32 + len(file.symtab)  # struct mod_kallsyms, and a type byte a symbol


@lru_cache(maxsize=128)
def core_symbols(file: ModuleFile, arch: Arch) -> tuple[int, ...]:
    """Indices of the symbols that kallsyms keeps: in a livepatch all, since relocations refer to them by index.

    Source: kernel/module/kallsyms.c, is_core_symbol() with CONFIG_KALLSYMS_ALL.
    """
    if file.is_livepatch:
        return tuple(range(len(file.symtab)))
    flags = section_flags(file)
    kept = {index for index, name in enumerate(file.section_names)
            if name == ".data..percpu" or (flags[index] & SHF_ALLOC and not is_init(file, arch, index))}  # fmt: skip
    symbols = enumerate(zip(file.symbol_names, file.symtab["shndx"].tolist(), strict=True))
    return (0, *(i for i, (name, section) in symbols if i and name and section in kept and section != SHN_UNDEF))
