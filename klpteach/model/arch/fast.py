"""Many ppc64le relocations at once, driven by the same table; the loop decides wherever one of them could fail."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from ...files.elf import ModuleFile
from ...files.elf_h import SHN_LIVEPATCH, SHN_UNDEF
from ...files.relocation_types import ENTRY, HOWTO, LD_TOC, LI_MASK, NOP, REL24, fits_call, local_entry_offset
from .base import MASK64, Array
from .stubs import FTRACE_INSNS, KERNEL_TOC, MAGIC, MPROFILE, STUB_INSNS, STUB_SIZE, StubTable

if TYPE_CHECKING:
    from .ppc64le import Section

VECTOR_FROM = 64  # entries; below, the plain loop is faster than numpy
_WIDTH, _MINUS_P, _MINUS_R2 = np.full(256, -1, "i8"), np.zeros(256, bool), np.zeros(256, bool)
for _number, _row in HOWTO.items():
    _WIDTH[_number], _MINUS_P[_number], _MINUS_R2[_number] = _row.width, _row.minus == "P", _row.minus == "r2"
_LOCAL = np.array([local_entry_offset(other) for other in range(256)], "u8")


def apply(section: Section) -> bool:
    """Apply the whole section if nothing in it can fail; else touch nothing and return False."""
    rela = section.image.file.rela(section.index)
    if len(rela) < VECTOR_FROM or section.read_only or int(rela["type"].max()) > 255:
        return False
    shndx = section.image.file.symtab["shndx"][rela["sym"]]
    calls = rela["type"] == REL24
    external = calls & ((shndx == SHN_UNDEF) | (shndx == SHN_LIVEPATCH))
    restored = external & ~_mprofile(section.image.file)[rela["sym"]] & _links(section, rela["offset"], calls)
    if not _independent(section, rela, restored):
        return False
    value = section.image.symbols[rela["sym"]] + rela["addend"].view("u8")
    place = rela["offset"] + np.uint64(section.place)
    fields = _fields(section, rela, value, place)
    plan = _Calls(section, rela, value, place, calls, external, restored) if calls.any() else None
    if fields is None or (plan and not plan.possible):
        return False
    for offset, new, width, mask in fields:
        view = _view(section, width)
        kept = view[offset] & np.array(~mask & (1 << 8 * width) - 1, f"<u{width}")
        view[offset] = kept | (new & np.uint64(mask)).astype(f"<u{width}")
    if plan:
        plan.write()
    for offset in rela["offset"][rela["type"] == ENTRY].tolist():
        section.entry(offset)
    return True


def _links(section: Section, offset: Array, calls: Array) -> Array:
    """Which calls are branches that come back: is_relative_link_branch()."""
    link = calls.copy()
    word = _view(section, 4)[offset[calls]]
    link[calls] = np.isin(word >> 26, (16, 18)) & (word & 3 == 1)
    return link


def _independent(section: Section, rela: Array, restored: Array) -> bool:
    """Whether all types are known and no two entries touch the same bytes: then their order does not matter."""
    width = np.where(restored, 8, _WIDTH[rela["type"]])  # a call to elsewhere and the word after it
    order = np.argsort(rela["offset"], kind="stable")
    offset, width = rela["offset"][order], width[order]
    if (width < 0).any() or int(offset[-1]) + 8 > len(section.bytes) - section.start:
        return False
    return not (offset[1:] < offset[:-1] + width[:-1].astype("u8")).any()


def _fields(section: Section, rela: Array, value: Array, place: Array) -> list[tuple[Array, Array, int, int]] | None:
    """(offsets, bits, width, mask) for every plain type; None where a value does not fit."""
    kinds = rela["type"]
    based = value - np.where(_MINUS_P[kinds], place, np.uint64(0))
    based -= np.where(_MINUS_R2[kinds], np.uint64(section.r2), np.uint64(0))
    found = []
    for number, howto in HOWTO.items():
        rows = np.flatnonzero(kinds == number) if number not in (REL24, ENTRY) and howto.width else ()
        if not len(rows):
            continue
        one = np.full(len(rows), section.r2, "u8") if howto.name == "R_PPC64_TOC" else based[rows]
        if howto.fits and not howto.fits(one).all():
            return None
        found.append((rela["offset"][rows], howto.bits(one), howto.width, howto.mask))
    return found


class _Calls:
    """All calls of a section: which stub each takes, and whether anything could be refused."""

    def __init__(
        self, section: Section, rela: Array, value: Array, place: Array, calls: Array, external: Array, restored: Array
    ) -> None:
        self.section, self.offset = section, rela["offset"][calls]
        outside, symbols = external[calls], rela["sym"][calls]
        self.word = _view(section, 4)[self.offset]
        mprofile = _mprofile(section.image.file)[symbols] & outside
        target = value[calls] + np.where(outside, np.uint64(0), _LOCAL[section.image.file.symtab["other"][symbols]])
        self.stubs: _NewStubs = _NewStubs(section, target[outside], mprofile[outside], symbols[outside])
        if self.stubs.possible:
            target[outside] = self.stubs.address
        self.distance = target - place[calls]
        self.restored = rela["offset"][restored] + np.uint64(4)
        after = _view(section, 4)[self.restored]
        expected = (after == NOP) | ((after == LD_TOC) & section.rules.tolerate_r2)
        self.possible = self.stubs.possible and bool(fits_call(self.distance).all() and expected.all())

    def write(self) -> None:
        self.stubs.write()
        view = _view(self.section, 4)
        low = (self.distance & np.uint64(LI_MASK)).astype("<u4")
        view[self.offset] = (self.word & np.uint32(~LI_MASK & 0xFFFFFFFF)) | low
        view[self.restored] = LD_TOC


class _NewStubs:
    """The stubs that a section's calls need: shared by address, new ones in the order of their first call."""

    def __init__(self, section: Section, addr: Array, mprofile: Array, symbols: Array) -> None:
        self.table: StubTable = section.table
        table = self.table
        shndx = section.image.file.symtab["shndx"][symbols]
        own_ways = section.rules.stubs == "count" or (section.rules.stubs == "reuse" and (shndx == SHN_LIVEPATCH).any())
        unique, first, inverse = np.unique(addr, return_index=True, return_inverse=True)
        funcdata = table.funcdata[: table.slots]
        free = np.flatnonzero(funcdata == 0)
        self.used: int = int(free[0]) if len(free) else table.slots
        known = {address: slot for slot, address in reversed(list(enumerate(funcdata[: self.used].tolist())))}
        slots = np.zeros(len(unique), "u8")
        self.new: list[int] = []
        for at in np.argsort(first).tolist():
            slot = known.get(int(unique[at]))
            if slot is None:
                slot = self.used + len(self.new)
                self.new.append(at)
            slots[at] = slot
        self.new_addr, self.new_mprofile = unique[self.new], mprofile[first[self.new]] if self.new else mprofile[:0]
        self.address: Array = np.uint64(table.address) + slots[inverse] * np.uint64(STUB_SIZE)
        full = self.used + len(self.new) > table.slots or table.slots > len(table.funcdata)
        far = (table.address - table.r2 + (1 << 30)) & MASK64 > 1 << 31
        self.possible: bool = not (own_ways or full or far or (addr == 0).any())

    def write(self) -> None:
        if len(self.new):
            _write_stubs(self.table, self.used, self.new_addr, self.new_mprofile)


def _write_stubs(table: StubTable, slot: int, addr: Array, mprofile: Array) -> None:
    """create_stub() for consecutive slots."""
    start = table.offset + slot * STUB_SIZE
    body = table.memory[start : start + len(addr) * STUB_SIZE]
    rows = np.frombuffer(body.tobytes(), "<u4").reshape(len(addr), STUB_SIZE // 4).copy()
    at = np.uint64(table.at(slot)) + np.arange(len(addr), dtype="u8") * np.uint64(STUB_SIZE)
    for chosen, words, distance in (
        (~mprofile, STUB_INSNS, at - np.uint64(table.r2)),
        (mprofile, FTRACE_INSNS, addr - np.uint64(KERNEL_TOC)),
    ):
        first = int(words is FTRACE_INSNS)
        low = distance[chosen]
        rows[chosen, : len(words)] = words
        rows[chosen, first] |= (((low + np.uint64(0x8000)) >> np.uint64(16)) & np.uint64(0xFFFF)).astype("<u4")
        rows[chosen, first + 1] |= (low & np.uint64(0xFFFF)).astype("<u4")
    rows[:, 7] = MAGIC
    rows[:, 8:] = addr.astype("<u8").view("<u4").reshape(len(addr), 2)
    body[:] = rows.view("u1").reshape(-1)


@lru_cache(maxsize=64)
def _mprofile(file: ModuleFile) -> Array:
    """By symbol index: whether its name is one of the profiler's, whose calls need no r2 back."""
    return np.array([name in MPROFILE for name in file.symbol_names], bool)


def _view(section: Section, width: int) -> Array:
    """Every position of the section as an unaligned little-endian number: view[offset] is the `width` bytes from offset."""
    room = len(section.bytes) - section.start - width + 1
    return np.ndarray((max(room, 0),), f"<u{width}", section.bytes, section.start, (1,))
