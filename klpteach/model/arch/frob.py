"""What the ppc64le loader does to its copy of a module before it lays it out: module_frob_arch_sections().

Every relocation section is sorted in place, .stubs gets its size, and undefined names lose a leading dot.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ...files.elf import ModuleFile
from ...files.elf_h import SHN_ABS, SHN_UNDEF, SHT_RELA
from .base import Array
from .heapsort import heapsort
from .stubs import STUB_SIZE

R_PPC_REL24 = 10
FTRACE_STUBS = 2  # ftrace_caller, ftrace_regs_caller
EXACT_UP_TO = 1 << 14  # entries; a longer section with equal entries is sorted stably where nothing depends on it


class LoaderCopy(ModuleFile):
    """A file as the loader has it after module_frob_arch_sections(); `on_disk` is the file it came from.

    terminator: the empty slot that ends the search in the table of stubs, 1 or 0.
    """

    def __init__(self, file: ModuleFile, double_pop: bool, terminator: int) -> None:
        kept = {k: v for k, v in vars(file).items() if k not in ("extents", "symbol_names", "klp")}
        vars(self).update(kept)
        self._on_disk, self._double_pop = file, double_pop
        self._sorted: dict[int, Array] = {}
        self.shdrs = file.shdrs.copy()
        for index, name in enumerate(file.section_names):
            if name == ".toc":
                self.shdrs["addralign"][index] = max(int(self.shdrs["addralign"][index]), 8)
        self.shdrs["size"][last_section(file, ".stubs")] = get_stubs_size(self, terminator)
        self._dedotify()

    @property
    def on_disk(self) -> ModuleFile:
        return self._on_disk

    def rela(self, index: int) -> Array:
        """The entries of a section, sorted: descending by r_info, then by addend."""
        if index not in self._sorted:
            self._sorted[index] = sort_relocations(self._on_disk.rela(index))
        return self._sorted[index]

    def rela_in_order(self, index: int) -> Array:
        """The same with equal entries where the kernel's sort() leaves them: it decides which of them fails first.

        Simplified: a section of more than EXACT_UP_TO entries keeps equal ones in the order of the file.
        """
        entries = self.rela(index)
        if (
            len(entries) > EXACT_UP_TO
            or not (entries[["type", "sym", "addend"]][1:] == entries[["type", "sym", "addend"]][:-1]).any()
        ):
            return entries
        on_disk = self._on_disk.rela(index)
        keys = [(-symbol, -kind, -addend) for _, kind, symbol, addend in on_disk.tolist()]
        return on_disk[heapsort(keys, self._double_pop)]

    def section_bytes(self, index: int) -> bytes:
        if self.extents[index][0] == SHT_RELA:
            return self.rela_in_order(index).tobytes()
        return super().section_bytes(index)

    def _dedotify(self) -> None:
        """Undefined .name means name; .TOC. is not undefined, its value is set later."""
        self.symtab = self._on_disk.symtab.copy()
        names = self._on_disk.symbol_names
        for index in np.flatnonzero(self.symtab["shndx"] == SHN_UNDEF).tolist()[1:]:
            if names[index].startswith("."):
                self.symtab["name"][index] += 1
                if names[index] == ".TOC.":
                    self.symtab["shndx"][index] = SHN_ABS


@lru_cache(maxsize=64)
def frob(file: ModuleFile, double_pop: bool, terminator: int) -> LoaderCopy:
    """The loader's copy of a file; a story loads the same file many times."""
    return LoaderCopy(file, double_pop, terminator)


def last_section(file: ModuleFile, name: str) -> int:
    """Index of the last section of that name, which is the one that the loop of module_frob_arch_sections() keeps."""
    return len(file.section_names) - 1 - file.section_names[::-1].index(name)


def get_stubs_size(file: ModuleFile, terminator: int = 1) -> int:
    """Bytes of .stubs: one slot that stays empty, the calls of every section counted for themselves, two for ftrace."""
    calls = sum(count_relocs(file.rela(index)) for index in file.rela_sections)
    return (terminator + calls + FTRACE_STUBS) * STUB_SIZE


def count_relocs(rela: Array) -> int:
    """Distinct (symbol, addend) of the calls of a sorted section; the kernel compares with the last one, which begins as 0, 0.

    >>> from klpteach.files.elf import RELA
    >>> count_relocs(np.array([(0, 10, 7, 0), (8, 10, 7, 0), (4, 10, 5, 0), (2, 38, 5, 0)], RELA))
    2
    """
    calls = rela[rela["type"] == R_PPC_REL24]
    if not len(calls):
        return 0
    symbol = np.concatenate([[np.uint64(0)], calls["sym"].astype("u8")])
    addend = np.concatenate([[np.int64(0)], calls["addend"]])
    # r_addend is an unsigned int there: a negative addend never compares equal to the last one
    kept = np.concatenate([[np.int64(0)], calls["addend"] & np.int64(0xFFFFFFFF)])
    return int(((symbol[1:] != symbol[:-1]) | (addend[1:] != kept[:-1])).sum())


def sort_relocations(rela: Array) -> Array:
    """Descending by r_info (symbol, then type), then by addend; equal entries in file order."""
    order = np.lexsort((-rela["addend"], -rela["type"].astype("i8"), -rela["sym"].astype("i8")))
    return rela[order]
