"""Many relocations at once, driven by the same rows as the loops, which decide wherever one of them could fail.

Each pass applies the whole section if nothing in it can go wrong; else it touches nothing and returns False: the loop knows
the kernel's exact error, its order, and what is written by then.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from ...files import relocation_types as reloc
from ...files.elf_h import EM_PPC64, EM_X86_64, SHN_LIVEPATCH, SHN_UNDEF
from ...files.module_file import ModuleFile
from ..image import Array, Loading
from .ppc64le_section import Section
from .stubs import FTRACE_INSNS, KERNEL_TOC, MAGIC, MPROFILE, STUB_INSNS, STUB_SIZE

VECTOR_FROM = 64  # entries; below, the plain loop is faster than numpy
PLAIN = {kind: howto for kind, howto in reloc.HOWTO_PPC64LE.items() if kind not in (reloc.REL24, reloc.ENTRY)}
_LOCAL = np.array([reloc.local_entry_offset(other) for other in range(256)], "u8")
Field = tuple[reloc.Howto, Array, Array]  # a type, the offsets where it is used, the values that go there


def view(memory: Array, start: int, width: int, order: str = "<") -> Array:
    """Every position from `start` as an unaligned number, little-endian unless ">": view[offset] is the `width` bytes from there."""
    return np.ndarray((max(len(memory) - start - width + 1, 0),), f"{order}u{width}", memory, start, (1,))


def independent(offset: Array, width: Array) -> bool:
    """Whether all types are known (no width is negative) and no two entries touch the same bytes: then order is nothing."""
    if (offset[1:] < offset[:-1]).any():
        order = np.argsort(offset, kind="stable")
        offset, width = offset[order], width[order]
    return not ((width < 0).any() or (offset[1:] < offset[:-1] + width[:-1].astype("u8")).any())


def fields(howtos: Mapping[int, reloc.Howto], rela: Array, S: Array, place: int, r2: int = 0) -> list[Field] | None:
    """What goes where, for the types in howtos; None where a value does not fit."""
    kinds, offset = rela["type"].astype("u1"), np.ascontiguousarray(rela["offset"])
    sum, P = S + rela["addend"].view("u8"), offset + np.uint64(place)
    found = []
    for kind in np.flatnonzero(np.bincount(kinds)).tolist():
        howto = howtos.get(kind)
        if howto is None or not howto.width:
            continue
        rows = np.flatnonzero(kinds == kind)
        value = howto.bits(reloc.FORMULAS[howto.formula](sum[rows], P[rows], r2))
        value = np.broadcast_to(np.asarray(value, "u8"), rows.shape)  # r2 is one number
        if howto.fits and not howto.fits(value).all():
            return None
        found.append((howto, offset[rows], value))
    return found


def apply_x86_64(me: Loading, relsec: int) -> bool:
    image, rela = me.image, me.image.file.rela(relsec)
    if len(rela) < VECTOR_FROM or int(rela["type"].max()) > 255:
        return False
    target = int(image.file.shdrs["info"][relsec])
    memory, S = image.bytes_of(target), image.symbols[rela["sym"]]
    found = fields(reloc.HOWTO_X86_64, rela, S, image.address[target])
    if found is None or not independent(rela["offset"], reloc.type_widths(EM_X86_64, -1)[rela["type"]]):
        return False
    if me.rules.check_zero and any(view(memory, 0, howto.width)[offset].any() for howto, offset, _ in found):
        return False
    for howto, offset, value in found:
        view(memory, 0, howto.width)[offset] = value.astype(f"<u{howto.width}")
    return True


# -- ppc64le --------------------------------------------------------------------------------------------------------------


def apply_ppc64le(section: Section) -> bool:
    rela, image = section.file.rela(section.relsec), section.image
    if len(rela) < VECTOR_FROM or section.read_only or int(rela["type"].max()) > 255:
        return False
    shndx = section.file.symtab["shndx"][rela["sym"]]
    calls = rela["type"] == reloc.REL24
    outside = calls & ((shndx == SHN_UNDEF) | (shndx == SHN_LIVEPATCH))
    restored = outside & ~_mprofile(section.file)[rela["sym"]] & _links(section, rela["offset"], calls)
    width = reloc.type_widths(EM_PPC64, -1)[rela["type"]]
    width = np.where(restored, 8, width)  # a call to elsewhere and the word after it
    if not independent(rela["offset"], width) or int(rela["offset"].max()) + 8 > len(section.bytes) - section.start:
        return False
    S = image.symbols[rela["sym"]]
    found = fields(PLAIN, rela, S, section.place, section.r2)
    plan = _Calls(section, rela[calls], S[calls], outside[calls], restored[calls]) if calls.any() else None
    if found is None or (plan and not plan.possible):
        return False
    for howto, offset, value in found:
        bytes_there = view(section.bytes, section.start, howto.width)
        kept = bytes_there[offset] & np.array(~howto.mask & (1 << 8 * howto.width) - 1, f"<u{howto.width}")
        bytes_there[offset] = kept | (value & np.uint64(howto.mask)).astype(f"<u{howto.width}")
    if plan:
        plan.write()
    for offset in rela["offset"][rela["type"] == reloc.ENTRY].tolist():
        section.entry(offset)
    return True


def _links(section: Section, offset: Array, calls: Array) -> Array:
    """Which calls are branches that come back: is_relative_link_branch()."""
    link = calls.copy()
    word = view(section.bytes, section.start, 4)[offset[calls]]
    link[calls] = np.isin(word >> 26, (16, 18)) & (word & 3 == 1)
    return link


class _Calls:
    """All calls of a section: which stub each takes, and whether anything could be refused."""

    def __init__(self, section: Section, rela: Array, S: Array, outside: Array, restored: Array) -> None:
        self.words = view(section.bytes, section.start, 4)
        self.offset, symbols = rela["offset"], rela["sym"]
        target = S + rela["addend"].view("u8")
        target[~outside] += _LOCAL[section.file.symtab["other"][symbols[~outside]]]
        self.stubs = _NewStubs(section, target[outside], symbols[outside])
        self.after = self.offset[restored] + np.uint64(4)
        word = self.words[self.after]
        expected = (word == reloc.NOP) | ((word == reloc.LD_TOC) & section.rules.tolerate_r2)
        self.possible = self.stubs.possible and bool(expected.all())
        if self.possible:
            target[outside] = self.stubs.address
            self.distance = target - self.offset - np.uint64(section.place)
            self.possible = bool(reloc.fits_call(self.distance).all())

    def write(self) -> None:
        self.stubs.write()
        low = (self.distance & np.uint64(reloc.LI_MASK)).astype("<u4")
        self.words[self.offset] = (self.words[self.offset] & np.uint32(~reloc.LI_MASK & 0xFFFFFFFF)) | low
        self.words[self.after] = reloc.LD_TOC


class _NewStubs:
    """The stubs that a section's calls need: shared by address, new ones in the order of their first call."""

    def __init__(self, section: Section, addr: Array, symbols: Array) -> None:
        self.table = table = section.table
        livepatch = (section.file.symtab["shndx"][symbols] == SHN_LIVEPATCH).any()
        own_ways = section.rules.stubs == "reuse" and livepatch
        self.counting = section.rules.stubs == "count"
        unique, first, inverse = np.unique(addr, return_index=True, return_inverse=True)
        funcdata = table.funcdata[: table.slots]
        free = next(iter(np.flatnonzero(funcdata == 0).tolist()), table.slots)
        self.used: int = table.used if self.counting else free
        there, slot_of = np.unique(funcdata[: self.used], return_index=True)  # of two slots with an address the first
        known = np.isin(unique, there)
        in_order = np.argsort(first)
        new = in_order[~known[in_order]]
        slots = np.zeros(len(unique), "u8")
        slots[known] = slot_of[there.searchsorted(unique[known])]
        slots[new] = self.used + np.arange(len(new))
        self.addr = unique[new]
        self.mprofile = _mprofile(section.file)[symbols[first[new]]]
        self.address: Array = np.uint64(table.address) + slots[inverse] * np.uint64(STUB_SIZE)
        full = self.used + len(new) > table.slots or table.slots > len(table.funcdata)
        far = (table.address - table.r2 + (1 << 30)) & reloc.MASK64 > 1 << 31
        self.possible: bool = not (own_ways or full or far or (addr == 0).any())

    def write(self) -> None:
        """create_stub() for consecutive slots."""
        table, count = self.table, len(self.addr)
        table.used += count if self.counting else 0
        start = table.offset + self.used * STUB_SIZE
        body = table.memory[start : start + count * STUB_SIZE]
        rows = np.frombuffer(body.tobytes(), "<u4").reshape(count, STUB_SIZE // 4).copy()
        at = np.uint64(table.at(self.used)) + np.arange(count, dtype="u8") * np.uint64(STUB_SIZE)
        for chosen, insns, first, distance in (
            (~self.mprofile, STUB_INSNS, 0, at - np.uint64(table.r2)),
            (self.mprofile, FTRACE_INSNS, 1, self.addr - np.uint64(KERNEL_TOC)),
        ):
            low = distance[chosen]
            rows[chosen, : len(insns)] = insns
            rows[chosen, first] |= (((low + np.uint64(0x8000)) >> np.uint64(16)) & np.uint64(0xFFFF)).astype("<u4")
            rows[chosen, first + 1] |= (low & np.uint64(0xFFFF)).astype("<u4")
        rows[:, 7] = MAGIC
        rows[:, 8:] = self.addr.astype("<u8").view("<u4").reshape(count, 2)
        body[:] = rows.view("u1").reshape(-1)


@lru_cache(maxsize=64)
def _mprofile(file: ModuleFile) -> Array:
    """By symbol index: whether its name is one of the profiler's, whose calls need no r2 back."""
    return np.array([name in MPROFILE for name in file.symbol_names], bool)
