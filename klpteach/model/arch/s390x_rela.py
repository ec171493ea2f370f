"""The relocations of s390x: one by one as apply_rela() does (arch/s390/kernel/module.c), and many at once where none can be refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from ...files.elf_h import EM_S390
from ...files.relocation_types import HOWTO_S390X, MASK64, Howto, type_widths
from .. import messages
from ..errno import ENOEXEC, Refused
from ..image import Array, Loading
from .fast import VECTOR_FROM, independent, view
from .got import GOT_TYPES, PLT_TYPES, Slots

REFUSED_SILENTLY = (9, 10, 11, 12)  # R_390_COPY, GLOB_DAT, JMP_SLOT, RELATIVE: for modules linked with -shared
# A call that reaches its function goes there, else to the PLT. 16 bits shifted by 1 reach 0x1fffe at most: for PLT16DBL the test
# asks for too much. So a function that lies between 64 KiB and 2 MiB above counts as reachable, and then does not fit.
IN_REACH = {18: (0xFFFF, 0x1FFFFE), 20: (0xFFFFFFFF, 0x1FFFFFFFE)}  # PLT16DBL, PLT32DBL: val - loc + first < second


class Entry(NamedTuple):
    """One entry of a relocation section: its type, symbol and addend, and its place as address and bytes."""

    type: int
    howto: Howto
    symbol: int
    addend: int
    loc: int
    there: memoryview


def entries_of(me: Loading, relsec: int) -> Iterator[Entry]:
    """The entries of a relocation section. Errors: Refused at a type that the kernel does not know."""
    image = me.image
    target = int(image.file.shdrs["info"][relsec])
    place, memory = image.address[target], image.bytes_of(target).data
    for offset, kind, symbol, addend in image.file.rela(relsec).tolist():
        howto = HOWTO_S390X.get(kind)
        if howto is None:
            raise Refused(ENOEXEC) if kind in REFUSED_SILENTLY else me.refuse(messages.UNKNOWN_RELOCATION, type=kind)
        yield Entry(kind, howto, symbol, addend, place + offset, memory[offset : offset + howto.width])


def apply_rela(me: Loading, entry: Entry, slots: Slots, again: bool) -> None:
    """Compute, test, write. Errors: Refused(-ENOEXEC) where the value does not fit; a slot is written before that."""
    howto, S = entry.howto, me.image.symbols.item(entry.symbol)
    first = howto.formula.split()[0]
    if "G" in howto.formula.split():
        S = slots.got(entry.symbol, S, again)
    elif first == "L":
        S = called(entry, S, slots.plt(entry.symbol, S, again))
    elif first == "GOT":
        S = 0
    value = howto.sum(S, entry.addend, entry.loc, slots.address)
    if howto.fits and not howto.fits(value):
        name = me.file.symbol_names[entry.symbol]
        raise me.refuse(messages.RELOCATION_ERROR, name=name, type=entry.type, val=value)
    there = int.from_bytes(entry.there, "big")
    entry.there[:] = howto.stored(there, howto.bits(value)).to_bytes(howto.width, "big")


def branch(kind: int, place: int, to: int) -> bytes:
    """The field of a call that goes straight to an address and an addend."""
    howto = HOWTO_S390X[kind]
    return howto.stored(0, howto.bits((to - place) & MASK64)).to_bytes(howto.width, "big")


def called(entry: Entry, function: int, plt: int) -> int:
    """Where a call goes: to the function where it is in reach, else to its entry of the PLT."""
    if entry.type not in IN_REACH:
        return plt
    below, reach = IN_REACH[entry.type]
    return function if (function - entry.loc + below) & MASK64 < reach else plt


# -- many at once ---------------------------------------------------------------------------------------------------------


def apply_at_once(me: Loading, relsec: int, slots: Slots, again: bool) -> bool:
    """The whole section, if nothing in it can go wrong; else nothing is touched, and the loop has to decide."""
    image, rela = me.image, me.image.file.rela(relsec)
    if len(rela) < VECTOR_FROM or int(rela["type"].max()) > 255:
        return False
    if not independent(rela["offset"], type_widths(EM_S390, -1)[rela["type"]]):
        return False
    target = int(image.file.shdrs["info"][relsec])
    S, P = image.symbols[rela["sym"]], rela["offset"] + np.uint64(image.address[target])
    found = []
    for kind in np.unique(rela["type"]).tolist():
        howto, rows = HOWTO_S390X[kind], np.flatnonzero(rela["type"] == kind)
        if howto.width:
            to = _symbols(kind, howto, rela["sym"][rows], S[rows], P[rows], slots)
            value = howto.sum(to, rela["addend"][rows].view("u8"), P[rows], slots.address)
            if howto.fits and not howto.fits(value).all():
                return False
            found.append((howto, rows, howto.bits(value)))
    _fill(rela, S, slots, again)
    for howto, rows, value in found:
        fields = view(image.bytes_of(target), 0, howto.width, ">")
        there = fields[rela["offset"][rows]].astype("u8")
        fields[rela["offset"][rows]] = howto.stored(there, value).astype(f">u{howto.width}")
    return True


def _symbols(kind: int, howto: Howto, symbols: Array, S: Array, P: Array, slots: Slots) -> Array:
    """What stands for the symbol in each formula, as apply_rela() has it."""
    table, names = slots.table, howto.formula.split()
    if "G" in names:
        return _by_symbol(symbols, table.got)
    if names[0] == "L":
        plt = _by_symbol(symbols, table.plt) + np.uint64(slots.address + table.plt_offset)
        below, reach = IN_REACH.get(kind, (0, 0))
        return np.where(S - P + np.uint64(below) < reach, S, plt)
    return np.zeros_like(S) if names[0] == "GOT" else S


def _by_symbol(symbols: Array, offsets: Mapping[int, int]) -> Array:
    unique, which = np.unique(symbols, return_inverse=True)
    return np.array([offsets[symbol] for symbol in unique.tolist()], "u8")[which.reshape(-1)]


def _fill(rela: Array, S: Array, slots: Slots, again: bool) -> None:
    """Each slot that these entries use, once: all of a symbol's entries give it the same address."""
    for types, fill in ((GOT_TYPES, slots.got), (PLT_TYPES, slots.plt)):
        rows = np.flatnonzero(np.isin(rela["type"], list(types)))
        symbols, first = np.unique(rela["sym"][rows], return_index=True)
        for symbol, value in zip(symbols.tolist(), S[rows[first]].tolist(), strict=True):
            fill(symbol, value, again)
