"""The GOT and the PLT of an s390x module (arch/s390/kernel/module.c): who has a slot, where, and whether it is filled.

A module has no section for them: module_frob_arch_sections() gives each symbol that needs one a slot, 8 bytes of the GOT or 22
of the PLT behind it, and lets the module's core memory begin with both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from ...files.elf_h import SHN_ABS, SHN_UNDEF
from ...files.module_file import ModuleFile
from ...files.relocation_types import HOWTO_S390X
from ..image import Array, Image, Label

GOT_SLOT, PLT_ENTRY_SIZE = 8, 22
PLT_CODE = bytes.fromhex("0d10e310100c000407f100000000")  # basr %r1,0; lg %r1,12(%r1); br %r1; two bytes of nothing
GOT_TYPES = frozenset(kind for kind, howto in HOWTO_S390X.items() if "G +" in howto.formula)
PLT_TYPES = frozenset(kind for kind, howto in HOWTO_S390X.items() if "L +" in howto.formula)


@dataclass(frozen=True)
class Table:
    """struct mod_arch_syminfo of all symbols: symbol index -> offset of its slot, in the GOT and in the PLT."""

    got: Mapping[int, int]
    plt: Mapping[int, int]

    def __deepcopy__(self, memo: object) -> Table:
        return self  # it never changes: copies of a kernel share it

    @property
    def plt_offset(self) -> int:
        """Where the PLT begins; the GOT begins with the module."""
        return GOT_SLOT * len(self.got)

    @property
    def size(self) -> int:
        return self.plt_offset + PLT_ENTRY_SIZE * len(self.plt)

    @property
    def rows(self) -> list[tuple[str, int, int, int]]:
        """(what, symbol index, offset in the module, offset of the address in it) of every slot, in order."""
        got = [("GOT", symbol, at, at) for symbol, at in self.got.items()]
        start = self.plt_offset
        return got + [("PLT", symbol, start + at, start + at + len(PLT_CODE)) for symbol, at in self.plt.items()]


@lru_cache(maxsize=128)
def table_of(file: ModuleFile) -> Table:
    """check_rela() over every relocation section in header order, livepatch's and those of debug sections too.

    Simplified: with CONFIG_EXPOLINE there is one more entry of the PLT, through which the others jump.
    """
    got, plt = dict[int, int](), dict[int, int]()
    for index in file.rela_sections:
        for kind, symbol in file.rela(index)[["type", "sym"]].tolist():
            if kind in GOT_TYPES:
                got.setdefault(symbol, GOT_SLOT * len(got))
            elif kind in PLT_TYPES:
                plt.setdefault(symbol, PLT_ENTRY_SIZE * len(plt))
    return Table(got, plt)


class LoaderCopy(ModuleFile):
    """A file in which _GLOBAL_OFFSET_TABLE_, which nobody defines, counts as absolute."""

    def __init__(self, file: ModuleFile, symbol: int) -> None:
        vars(self).update({key: value for key, value in vars(file).items() if key != "klp"})
        self._on_disk, self.symtab = file, file.symtab.copy()
        self.symtab["shndx"][symbol] = SHN_ABS

    @property
    def on_disk(self) -> ModuleFile:
        return self._on_disk


@lru_cache(maxsize=64)
def frob(file: ModuleFile) -> ModuleFile:
    """The loader's copy of a file; the file itself where nothing in it changes."""
    names = enumerate(file.symbol_names)
    undefined = (i for i, name in names if name == "_GLOBAL_OFFSET_TABLE_" and file.symtab["shndx"][i] == SHN_UNDEF)
    symbol = next(undefined, None)
    return file if symbol is None else LoaderCopy(file, symbol)


class Slots:
    """The slots of one module in memory, and which of them the loader has filled (got_initialized, plt_initialized)."""

    def __init__(self, image: Image) -> None:
        self.table = table_of(image.file)
        region = "core" if "core" in image.layout.sizes else "text"
        self.memory, self.address = image.memory[region], image.bases[region]
        self.filled: set[tuple[str, int]] = set()

    def got(self, symbol: int, value: int, again: bool) -> int:
        """The offset of a symbol's slot in the GOT; the slot gets the value where it has none yet, or again."""
        # A livepatch's symbol has another value after each load of its target, and its sites are written anew each time.
        # The slot is not: nobody ever takes got_initialized back. So the code goes on to read the address of the first
        # load, and no check is there that could say so.
        at = self.table.got[symbol]
        if again or ("GOT", symbol) not in self.filled:
            self._put(at, value.to_bytes(8, "big"))
            self.filled.add(("GOT", symbol))
        return at

    def plt(self, symbol: int, value: int, again: bool) -> int:
        """The address of a symbol's entry in the PLT, which is written as got() writes a slot."""
        at = self.table.plt_offset + self.table.plt[symbol]
        if again or ("PLT", symbol) not in self.filled:
            self._put(at, PLT_CODE + value.to_bytes(8, "big"))
            self.filled.add(("PLT", symbol))
        return self.address + at

    def held(self, what: str, symbol: int) -> int:
        """The address in a symbol's slot."""
        at = self.table.got[symbol] if what == "GOT" else self.table.plt_offset + self.table.plt[symbol] + len(PLT_CODE)
        return int.from_bytes(self.memory[at : at + 8].tobytes(), "big")

    def forget(self, symbol: int) -> None:
        """Proposal clear-got: the next relocation against this symbol fills its slots anew."""
        self.filled -= {("GOT", symbol), ("PLT", symbol)}

    def _put(self, at: int, value: bytes) -> None:
        self.memory[at : at + len(value)] = np.frombuffer(value, "u1")


def slots_of(image: Image) -> Slots:
    """The module's slots, made at the first use."""
    if image.stub_table is None:
        image.stub_table = Slots(image)
    slots: Slots = image.stub_table
    return slots


def shown(file: ModuleFile, memory: Array, label: Label) -> dict[str, Any]:
    """The slots as a recording shows them: the address in each, what is there now, and whose slot it is."""
    entries = []
    for index, (what, symbol, _, at) in enumerate(table_of(file).rows):
        value = int.from_bytes(memory[at : at + 8].tobytes(), "big")
        of = f"{what} {file.symbol_names[symbol]}"
        entries.append({"index": index, "funcdata": f"{value:#x}", "symbol": label(value) if value else None, "of": of})
    used = sum(entry["funcdata"] != "0x0" for entry in entries)
    return {"num_stubs": len(entries), "used": used, "past_end_used": 0, "entries": entries}
