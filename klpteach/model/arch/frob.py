"""What the ppc64le loader does to its copy of a module before it lays it out: module_frob_arch_sections().

Every relocation section is sorted in place, .stubs gets its size, and undefined names lose a leading dot.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ...files.elf_h import SHN_ABS, SHN_UNDEF
from ...files.module_file import ModuleFile
from ...files.relocation_types import REL24
from ..image import Array
from .loader_file import EXACT_UP_TO, LoaderFile
from .sort import heapsort
from .stubs import STUB_SIZE

FTRACE_STUBS = 2  # ftrace_caller, ftrace_regs_caller


class LoaderCopy(LoaderFile):
    """A file as the loader has it after module_frob_arch_sections().

    terminator: the empty slot that ends the search in the table of stubs, 1 or 0.
    """

    # Why the loader sorts: .stubs is a section of a fixed size, so before anything is placed it must know how many different
    # functions the calls go to. It sorts each section by symbol and addend, descending, and counts where the next entry
    # differs from the last (count_relocs()). Nobody sorts it back. So relocations are applied in this order and not in
    # that of the file: stubs are made in it, and of two bad entries it decides which is named.

    def __init__(self, file: ModuleFile, double_pop: bool, terminator: int) -> None:
        super().__init__(file)
        self._double_pop = double_pop
        self._sorted: dict[int, Array] = {}
        toc = [index for index, name in enumerate(file.section_names) if name == ".toc"]
        self.shdrs["addralign"][toc] = np.maximum(self.shdrs["addralign"][toc], 8)
        self.shdrs["size"][last_section(file, ".stubs")] = get_stubs_size(self, terminator)
        self._dedotify()

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
        keys = entries[["type", "sym", "addend"]]
        if len(entries) > EXACT_UP_TO or not (keys[1:] == keys[:-1]).any():
            return entries
        on_disk = self._on_disk.rela(index)
        ascending = [(-symbol, -kind, -addend) for _, kind, symbol, addend in on_disk.tolist()]
        return on_disk[heapsort(ascending, self._double_pop)]

    def _dedotify(self) -> None:
        """Undefined .name means name; .TOC. is not undefined, its value is set later."""
        self.symtab, names = self._on_disk.symtab.copy(), self._on_disk.symbol_names
        undefined = np.flatnonzero(self.symtab["shndx"] == SHN_UNDEF).tolist()[1:]
        for index in [index for index in undefined if names[index].startswith(".")]:
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


def get_stubs_size(file: ModuleFile, terminator: int) -> int:
    """Bytes of .stubs: one slot that stays empty, the calls of every section counted for themselves, two for ftrace."""
    calls = sum(count_relocs(file.rela(index)) for index in file.rela_sections)
    return (terminator + calls + FTRACE_STUBS) * STUB_SIZE


def count_relocs(rela: Array) -> int:
    """Distinct (symbol, addend) of the calls of a sorted section; compared with the last one, which begins as 0, 0."""
    calls = rela[rela["type"] == REL24]
    if not len(calls):
        return 0
    # r_addend is an unsigned int there: a negative addend never compares equal to the last one
    last_symbol = np.concatenate([[0], calls["sym"][:-1]])
    last_addend = np.concatenate([[0], calls["addend"][:-1] & 0xFFFFFFFF])
    return int(((calls["sym"] != last_symbol) | (calls["addend"] != last_addend)).sum())


def sort_relocations(rela: Array) -> Array:
    """Descending by r_info (symbol, then type), then by addend; equal entries in file order."""
    return rela[np.lexsort((-rela["addend"], -rela["type"].astype("i8"), -rela["sym"].astype("i8")))]
