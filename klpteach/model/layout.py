"""Which section of a module goes where in memory: layout_sections() and layout_symtab() (kernel/module/main.c, kallsyms.c).

Both layouts: one core and one init block (up to 6.3), and one allocation a kind of memory (6.4 and later).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from ..files.elf import ModuleFile
from ..files.elf_h import SHF_ALLOC, SHF_EXECINSTR, SHF_RO_AFTER_INIT, SHF_WRITE, SHN_UNDEF
from . import arch
from .memory import page_align

NOT_KEPT = (".modinfo", "__versions", ".data..percpu")  # SHF_ALLOC on disk, but not laid out with the rest
RO_AFTER_INIT = (".data..ro_after_init", "__jump_table")
# the passes of layout_sections(): flags a section must have, must not have
PASSES = (
    (SHF_EXECINSTR | SHF_ALLOC, 0),
    (SHF_ALLOC, SHF_WRITE),
    (SHF_RO_AFTER_INIT | SHF_ALLOC, 0),
    (SHF_WRITE | SHF_ALLOC, 0),
)
CORE_MEMORY = ("text", "rodata", "ro_after_init", "data")
INIT_MEMORY = ("init_text", "init_rodata", "init_data", "init_data")
# the order of enum mod_mem_type, in which the kernel allocates
ONE_BLOCK, SEPARATE = (
    ("core", "init"),
    ("text", "data", "rodata", "ro_after_init", "init_text", "init_data", "init_rodata"),
)


@dataclass(frozen=True)
class Layout:
    """Where each section will stand: section index -> (region, offset), and the size of each region in bytes."""

    places: Mapping[int, tuple[str, int]]
    sizes: Mapping[str, int]
    page: int = 0x1000
    text_size: int = 0  # of one block: where its code ends

    def __deepcopy__(self, memo: object) -> Layout:
        return self  # it never changes: copies of a kernel share it

    @property
    def core_size(self) -> int:
        """What /proc/modules shows: the core block, or all core regions, in whole pages."""
        return sum(page_align(size, self.page) for region, size in self.sizes.items() if not region.startswith("init"))

    @property
    def loading_size(self) -> int:
        """What /proc/modules shows before the init memory is freed."""
        return sum(page_align(size, self.page) for size in self.sizes.values())


@lru_cache(maxsize=128)
def layout_sections(file: ModuleFile, separate_memory: bool) -> Layout:
    """Lay out all sections that stay in memory, then kallsyms' tables.

    Source: layout_sections(), layout_symtab(); the offsets of one block are rounded to pages between the kinds
    (CONFIG_STRICT_MODULE_RWX), separate regions start at 0 each.

    >>> from klpteach.files.samples import sample
    >>> ko = ModuleFile.open(sample("filler64k.ko"))
    >>> hex(layout_sections(ko, separate_memory=False).sizes["core"])
    '0x14000'
    """
    sizes, text_size = dict.fromkeys(SEPARATE if separate_memory else ONE_BLOCK, 0), 0
    page = arch.of(file.arch).page
    places: dict[int, tuple[str, int]] = {}
    for memory, is_init in ((CORE_MEMORY, False), (INIT_MEMORY, True)):
        for region, (must, must_not) in zip(memory, PASSES, strict=True):
            region = region if separate_memory else ("init" if is_init else "core")
            for index in _wanted(file, must, must_not, is_init):
                if index not in places:
                    places[index] = (
                        region,
                        _append(sizes, region, int(file.shdrs["size"][index]), _align(file, index)),
                    )
            if not separate_memory:
                sizes[region] = page_align(sizes[region], page)
                text_size = text_size or sizes["core"]
    _layout_symtab(file, sizes, places, *(("data", "init_data") if separate_memory else ONE_BLOCK))
    if not separate_memory:
        sizes = {region: page_align(size, page) for region, size in sizes.items()}
    return Layout(places, sizes, page, text_size)


def section_flags(file: ModuleFile, index: int) -> int:
    """sh_flags as the loader's own copy has them: some sections lose SHF_ALLOC, some become read-only after init."""
    flags, name = int(file.shdrs["flags"][index]), file.section_names[index]
    if name in NOT_KEPT:
        return flags & ~SHF_ALLOC
    return flags | SHF_RO_AFTER_INIT if name in RO_AFTER_INIT else flags


def is_init(file: ModuleFile, index: int) -> bool:
    """Whether a section is freed after init (its name begins with .init; never on ppc64le)."""
    return arch.of(file.arch).module_init_section(file.section_names[index])


def _wanted(file: ModuleFile, must: int, must_not: int, init: bool) -> Iterable[int]:
    for index in range(len(file.shdrs)):
        flags = section_flags(file, index)
        if flags & must == must and not flags & must_not and is_init(file, index) == init:
            yield index


def _align(file: ModuleFile, index: int) -> int:
    return int(file.shdrs["addralign"][index]) or 1


def _append(sizes: dict[str, int], region: str, size: int, align: int) -> int:
    offset = (sizes[region] + align - 1) & -align
    sizes[region] = offset + size
    return offset


def _layout_symtab(
    file: ModuleFile, sizes: dict[str, int], places: dict[int, tuple[str, int]], core: str, init: str
) -> None:
    """The whole symbol table goes to the init memory, the part that kallsyms keeps to the core."""
    for index in (file.symtab_index, file.strtab_index):
        places[index] = (init, _append(sizes, init, int(file.shdrs["size"][index]), _align(file, index)))
        if index == file.symtab_index:
            kept = core_symbols(file)
            names = sum(len(file.symbol_names[i].encode()) + 1 for i in kept)
            _append(sizes, core, len(kept) * 24, _align(file, index))
            sizes[core] += names + len(kept)
    _append(sizes, init, 40 + len(file.symtab), 8)  # struct mod_kallsyms, and a type byte a symbol


@lru_cache(maxsize=128)
def core_symbols(file: ModuleFile) -> tuple[int, ...]:
    """Indices of the symbols that kallsyms keeps: in a livepatch all, since relocations refer to them by index.

    Source: kernel/module/kallsyms.c, is_core_symbol() with CONFIG_KALLSYMS_ALL.
    """
    if file.is_livepatch:
        return tuple(range(len(file.symtab)))

    kept = [
        file.section_names[i] == ".data..percpu" or (bool(section_flags(file, i) & SHF_ALLOC) and not is_init(file, i))
        for i in range(len(file.shdrs))
    ]
    kept[SHN_UNDEF] = False
    symbols = zip(file.symbol_names, file.symtab["shndx"].tolist(), strict=True)
    return (
        0,
        *(i for i, (name, section) in enumerate(symbols) if i and name and section < len(kept) and kept[section]),
    )
