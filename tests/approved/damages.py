"""A module file damaged at one place: a field of a header, a section, a symbol or a relocation, a name, or its end.

Each change to a table meets one row, drawn by the module's name and nothing else, so everybody draws the same: of symbols
those that a relocation needs, of relocations those that livepatch writes, where there are any.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from klpteach import ModuleFile, ModuleFormatError
from klpteach.files import elf_h
from klpteach.files.corrupt import CORRUPTIONS, corrupt
from klpteach.files.klp import livepatch_sections
from klpteach.files.relocation_types import HOWTO
from klpteach.files.write import ElfImage

Damage = tuple[str, bytes]  # what was done, and the file then
Change = Callable[[int, ModuleFile], int]  # the old value of a field -> the new one

HUGE, EVERY_BIT = 1 << 40, (1 << 64) - 1
EHDR = {"class": (4, 1), "data": (5, 1), "version": (6, 1), "type": (16, 2), "machine": (18, 2), "shoff": (40, 8),
        "shentsize": (58, 2), "shnum": (60, 2), "shstrndx": (62, 2)}  # fmt: skip


def becomes(value: int) -> Change:
    return lambda old, file: value


def plus(number: int) -> Change:
    return lambda old, file: old + number


def toggled(bits: int) -> Change:
    return lambda old, file: old ^ bits


def sections_and(number: int) -> Change:
    return lambda old, file: len(file.shdrs) + number


OF_SECTION: list[tuple[str, str, Change]] = [
    *(("size", f"{n:#x}", becomes(n)) for n in (0, 1, HUGE, EVERY_BIT)),
    *(("size", f"{n:+}", plus(n)) for n in (-1, 1, 8, 24)),
    *(("flags", f"^{n:#x}", toggled(n)) for n in (1, 2, 4, 0x40, elf_h.SHF_RELA_LIVEPATCH, elf_h.SHF_RO_AFTER_INIT)),
    *(("addralign", f"{n:#x}", becomes(n)) for n in (0, 1, 3, 64, 0x1000, 1 << 16, 1 << 17, 1 << 20, 1 << 21)),
    *(("entsize", f"{n}", becomes(n)) for n in (0, 23, 25)),
    *((field, f"{n}", becomes(n)) for field in ("link", "info") for n in (0, 1)),
    *((field, "+1", plus(1)) for field in ("link", "info", "offset", "name", "addr")),
    *((field, f"sections{n:+}", sections_and(n)) for field in ("link", "info") for n in (-1, 0)),
    *(("type", f"{n}", becomes(n)) for n in (0, 1, 2, 3, 4, 8, 9)),
    *(("offset", f"{n:#x}", becomes(n)) for n in (0, HUGE, EVERY_BIT)),
    *(("name", f"{n:#x}", becomes(n)) for n in (0, 0xFFFF, 0xFFFFFFFF)),
]
OF_SYMBOL: list[tuple[str, str, Change]] = [
    *(("shndx", f"{n:#x}", becomes(n)) for n in (0, 1, elf_h.SHN_LIVEPATCH, elf_h.SHN_ABS, elf_h.SHN_COMMON, 0xFFFF)),
    *(("shndx", f"sections{n:+}", sections_and(n)) for n in (-1, 0)),
    *(("value", f"{n:+}", plus(n)) for n in (1, 4, 8)),
    *((field, f"{n:#x}", becomes(n)) for field in ("value", "size") for n in (0, HUGE, EVERY_BIT)),
    *(("info", f"^{n:#x}", toggled(n)) for n in (0x10, 0x20, 0x30, 1, 2, 3)),
    *(("other", f"{n:#x}", becomes(n)) for n in (0x20, 0x60, 0x80, 0xE0)),
    *(("name", f"{n:#x}", becomes(n)) for n in (0, 0xFFFFFFFF)),
    ("name", "+1", plus(1)),
]  # fmt: skip
OF_RELOCATION: list[tuple[str, str, Change]] = [
    *(("offset", f"{n:+}", plus(n)) for n in (-1, 1, 4, 8)),
    *(("offset", f"{n:#x}", becomes(n)) for n in (0, HUGE, EVERY_BIT)),
    *(("sym", f"{n:#x}", becomes(n)) for n in (0, 1, 0xFFFFFFFF)),
    ("sym", "+1", plus(1)),
    ("sym", "symbols", lambda old, file: len(file.symtab)),
    *(("addend", f"{n:+}", plus(n)) for n in (-8, -4, -1, 1, 2, 4, 8, 1 << 12, 1 << 20, 1 << 25, 1 << 31, 1 << 33)),
    *(("addend", f"{n:#x}", becomes(n)) for n in (-1 << 63, (1 << 63) - 1)),
    *(("type", f"{n}", becomes(n)) for n in (42, 255, 256, 1025, 0xFFFFFFFF)),
]  # fmt: skip


def damages(file: ModuleFile) -> Iterator[Damage]:
    """Every kind of damage to a file, in a fixed order. Header and end are the same for all, so they are left to targets."""
    chance = random.Random(f"{file.arch} {file.name}")
    yield "nothing", file.data
    if not file.is_livepatch:
        yield from _headers(file)
        yield from _ends(file)
    yield from _sections(file, chance)
    yield from _symbols(file, chance)
    yield from _relocations(file, chance)
    yield from _modinfo(file)
    yield from _names(file)
    yield from _defects(file, chance)


def damages_of_many(file: ModuleFile) -> Iterator[Damage]:
    """The same for a livepatch with so many relocations that they are written all at once: what decides about that."""
    many = ModuleFile(many_times(file.data), file.filename)
    chance = random.Random(f"{file.arch} {file.name} many times")
    yield "nothing", many.data
    yield from _symbols(many, chance)
    yield from _relocations(many, chance)


def many_times(data: bytes) -> bytes:
    """A livepatch whose .text stands in it several times, with all that is relocated there."""
    image = ElfImage.parse(data)
    number = next(number for number, section in enumerate(image.sections) if section.name == ".text")
    text = image.sections[number]
    text.body += bytes(-len(text.body) % 16)
    size, times = len(text.body), 40
    text.body *= times
    for section in [one for one in image.sections if one.type == elf_h.SHT_RELA and one.info == number]:
        entries = image.relocations(section)
        image.set_relocations(section, [replace(e, offset=e.offset + size * n) for n in range(times) for e in entries])
    return image.to_bytes()


def _headers(file: ModuleFile) -> Iterator[Damage]:
    order = file.byteorder
    for name, (at, size) in EHDR.items():
        old = int.from_bytes(file.data[at : at + size], order)
        for new in dict.fromkeys((0, old - 1, old + 1, (1 << 8 * size) - 1)):
            data = file.data[:at] + (new & (1 << 8 * size) - 1).to_bytes(size, order) + file.data[at + size :]
            if new != old:
                yield f"e_{name} {new & (1 << 8 * size) - 1:#x}", data


def _sections(file: ModuleFile, chance: random.Random) -> Iterator[Damage]:
    start = int.from_bytes(file.data[40:48], file.byteorder)
    rows = [(name or str(index), start + 64 * index) for index, name in enumerate(file.section_names)]
    yield from _fields(file, "section", elf_h.SHDR, OF_SECTION, rows, chance)


def _symbols(file: ModuleFile, chance: random.Random) -> Iterator[Damage]:
    start = file.extents[int(np.flatnonzero(file.shdrs["type"] == elf_h.SHT_SYMTAB)[0])][1]
    used = {int(sym) for index in file.rela_sections for sym in file.rela(index)["sym"]}
    rows = [(f"{index} {file.symbol_names[index]}".strip(), start + 24 * index) for index in sorted(used)]
    yield from _fields(file, "symbol", elf_h.SYM, OF_SYMBOL, rows, chance)


def _relocations(file: ModuleFile, chance: random.Random) -> Iterator[Damage]:
    def rows(sections: Iterable[int]) -> list[tuple[str, int]]:
        return [
            (f"{number} of {file.section_names[index]}", file.extents[index][1] + 24 * number)
            for index in sections
            for number in range(len(file.rela(index)))
        ]

    first, every = rows(livepatch_sections(file)), rows(file.rela_sections)
    types = sorted(HOWTO[file.machine])
    known = [("type", str(n), becomes(n)) for n in chance.sample(types, min(12, len(types)))]
    yield from _fields(file, "relocation", elf_h.RELA, OF_RELOCATION + known, first or every, chance)


def _fields(
    file: ModuleFile, what: str, dtype: np.dtype[Any], changes: Iterable[tuple[str, str, Change]],
    rows: list[tuple[str, int]], chance: random.Random,
) -> Iterator[Damage]:  # fmt: skip
    """Each change to one of these rows. Rows: a name and where in the file."""
    own = dtype if file.byteorder == "little" else elf_h.BIG_ENDIAN[dtype]
    for field, said, change in changes:
        name, at = chance.choice(rows)
        data = bytearray(file.data)
        row = np.frombuffer(data, own, 1, at)
        kind, size = row.dtype[field].kind, row.dtype[field].itemsize
        old, new = row[field].copy(), np.array([change(int(row[field][0]), file) & (1 << 8 * size) - 1], f"u{size}")
        row[field] = new.view(f"{kind}{size}")
        if row[field] != old:
            yield f"{what} {_short(name)}: {field} {said}", bytes(data)


def _modinfo(file: ModuleFile) -> Iterator[Damage]:
    entries = [f"{key}={value}" for key, value in file.modinfo_pairs]
    for number, entry in enumerate(entries):
        key, rest = entry.partition("=")[0], entries[:number] + entries[number + 1 :]
        yield f"modinfo without {key}", _with_modinfo(file, rest)
        yield f"modinfo {key} empty", _with_modinfo(file, [*rest, f"{key}="])
    for key, value in (
        ("license", "Proprietary"),
        ("staging", "Y"),
        ("livepatch", "N"),
        ("depends", "nobody,lockd_demo"),
    ):
        yield f"modinfo {key}={value}", _with_modinfo(file, [f"{key}={value}", *entries])
    for length in (55, 56, 57):
        yield f"modinfo name of {length}", _with_modinfo(file, [f"name={'n' * length}", *entries])
    for text in (
        "",
        "=",
        "name",
        "parm=x:y",
        "parmtype=x:int",
        "name=a/b",
        "name=\x01",
        "vermagic=6.12.0 ",
        "vermagic=x",
    ):
        yield f"modinfo {text!r} first", _with_modinfo(file, [text, *entries])


def _with_modinfo(file: ModuleFile, entries: Iterable[str]) -> bytes:
    image = ElfImage.parse(file.data)
    section = next(section for section in image.sections if section.name == ".modinfo")
    section.body = bytearray(b"".join(entry.encode() + b"\0" for entry in entries))
    return image.to_bytes()


def _names(file: ModuleFile) -> Iterator[Damage]:
    """Names at and beside the limits, of the first livepatch section, of its first symbol, and of any section and symbol."""
    for length in (1, 54, 55, 56, 57):
        yield from _renamed(file, f"object of {length}", lambda name, n=length: re.sub(r"\.klp\.(rela|sym)\.[^.]+", rf".klp.\1.{'o' * n}", name))  # fmt: skip
    for length in (1, 127, 128, 129, 511, 512, 513):
        yield from _renamed(file, f"symbol of {length}", lambda name, n=length: re.sub(r"(\.klp\.sym\.[^.]+\.)[^,]+", rf"\1{'s' * n}", name))  # fmt: skip
    for tail in (",1", ",2", ", 0", ",-1", ",", "", ",18446744073709551615", ",18446744073709551616", ",0x"):
        yield from _renamed(file, f"symbol{tail}", lambda name, tail=tail: re.sub(r",\d+$", tail, name))
    for old, new in (
        (".klp.rela.", ".klp.rela"),
        (".klp.rela.", ".klp.rel."),
        (".klp.sym.", ".klp.sym.."),
        ("_demo", "_démo"),
    ):
        yield from _renamed(file, f"{old} as {new}", lambda name, old=old, new=new: name.replace(old, new, 1))
    for length in (511, 512, 1023, 1024, 1025):
        for section in (".text", ".init.text"):
            yield from _renamed(file, f"{section} of {length}", lambda name, n=length, old=section: "." + "t" * (n - 1) if name == old else name)  # fmt: skip


def _renamed(file: ModuleFile, said: str, name: Callable[[str], str]) -> Iterator[Damage]:
    """The first section and the first symbol that get another name by it, each alone."""
    image = ElfImage.parse(file.data)
    if section := next((one for one in image.sections if name(one.name) != one.name), None):
        section.name = name(section.name)
        yield f"section name: {said}", image.to_bytes()
    image = ElfImage.parse(file.data)
    used = [entry.symbol for one in image.sections if one.type == elf_h.SHT_RELA for entry in image.relocations(one)]
    for index in [number for number in used if name(image.symbols[number].name) != image.symbols[number].name][:1]:
        image.symbols[index] = replace(image.symbols[index], name=name(image.symbols[index].name))
        yield f"symbol name: {said}", image.to_bytes()


def _ends(file: ModuleFile) -> Iterator[Damage]:
    shoff = int.from_bytes(file.data[40:48], file.byteorder)
    for length in (0, 3, 4, 5, 16, 63, 64, shoff - 1, shoff, shoff + 1, len(file.data) // 2, len(file.data) - 1):
        yield f"cut to {length}", file.data[:length]
    for more in (b"\0", b"~Module signature appended~\n"):
        yield f"{len(more)} bytes more", file.data + more


def _defects(file: ModuleFile, chance: random.Random) -> Iterator[Damage]:
    for kind in CORRUPTIONS if file.is_livepatch else chance.sample(sorted(CORRUPTIONS), 4):
        try:
            yield f"defect {kind}", corrupt(file.data, kind)
        except ModuleFormatError as error:
            yield f"defect {kind}: {error}", b""


def _short(name: str) -> str:
    return name if len(name) <= 32 else f"{name[:29]}..."
