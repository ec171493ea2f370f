"""Modules that no tool makes: the kinds that a stranger with bad intentions would bring, made here by size.

Each is a module file that passes the kernel's own checks of ELF headers, or a path that is no file at all.
"""

from __future__ import annotations

import gzip
import os
import struct
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from klpteach.files.elf_h import SHDR, SYM
from klpteach.files.write import ElfImage, Rela, Section, tiny_module
from klpteach.scenarios.size import MOST

POINTER, PC32 = 1, 2  # R_X86_64_64, R_X86_64_PC32
OBJECT_SIZE, FUNC_SIZE = 168, 152  # struct klp_object, struct klp_func
LIVEPATCH, TARGET = "livepatch_strange", "nfsd_demo"


def livepatch(
    objects: Iterable[tuple[str, int]] = ((TARGET, 0),), names: bytes = b"nfsd_demo_open\0",
    sites: Iterable[tuple[str, str]] = ((TARGET, "nfsd_demo_open,0"),), funcs: int = 1, every: int = 1,
    name_at: Callable[[int], int] = lambda number: number, sympos: Callable[[int], int] = lambda number: 0, undefined: int = 0,
) -> bytes:  # fmt: skip
    """A hand-written livepatch for x86_64.

    objects: name and index of the first of its functions; of those only each `every`-th is there, so that an array ends.
    sites: object and rest of the symbol's name. name_at: where in names a function's name begins. undefined: how many symbols
    it leaves to others besides.
    """
    objects, sites = list(objects), list(sites)
    labels = "\0".join(name for name, _ in objects).encode("utf-8", "surrogateescape") + b"\0"
    starts, at = [], 0
    for name, _ in objects:
        starts.append(at)
        at += len(name.encode("utf-8", "surrogateescape")) + 1
    data = bytes(128)
    array = b"".join(struct.pack("<16xQ128x", sympos(n)) for n in range(funcs)) + bytes(FUNC_SIZE)
    sections: dict[str, bytes | int] = {
        ".text": bytes(16 + 8 * len(sites)), ".rodata.str": labels, ".rodata.names": names, ".data": data,
        ".data.objs": bytes(OBJECT_SIZE * (len(objects) + 1)), ".data.funcs": array,
    }  # fmt: skip
    symbols = [(f"at{section}", section, 0) for section in sections]
    symbols += [("__this_module", ".gnu.linkonce.this_module", 0)]
    symbols += [("klp_enable_patch", None, 0)]  # type: ignore[list-item]  # else nothing of it is in force
    wanted = list(dict.fromkeys(f".klp.sym.{obj}.{rest}" for obj, rest in sites))
    symbols += [(name, None, 0) for name in [*wanted, *(f"u{n}" for n in range(undefined))]]  # type: ignore[list-item]
    relocations = [(".data", 0, POINTER, "__this_module", 0), (".data", 8, POINTER, "at.data.objs", 0)]
    for n, (_, first) in enumerate(objects):
        relocations.append((".data.objs", OBJECT_SIZE * n, POINTER, "at.rodata.str", starts[n]))
        relocations.append((".data.objs", OBJECT_SIZE * n + 8, POINTER, "at.data.funcs", FUNC_SIZE * first))
    for n in range(0, funcs, every):
        relocations.append((".data.funcs", FUNC_SIZE * n, POINTER, "at.rodata.names", min(name_at(n), len(names) - 1)))
        relocations.append((".data.funcs", FUNC_SIZE * n + 8, POINTER, "at.text", 0))
    image = ElfImage.parse(tiny_module(LIVEPATCH, sections, symbols, relocations, {"livepatch": "Y"}))
    index = {symbol.name: number for number, symbol in enumerate(image.symbols)}
    text = next(number for number, section in enumerate(image.sections) if section.name == ".text")
    link = next(number for number, section in enumerate(image.sections) if section.type == 2)
    by_object: dict[str, list[Rela]] = {}
    for n, (obj, rest) in enumerate(sites):
        by_object.setdefault(obj, []).append(Rela(16 + 8 * n, index[f".klp.sym.{obj}.{rest}"], POINTER))
    for obj, entries in by_object.items():
        section = Section(f".klp.rela.{obj}..text", 4, 0x00100042, 0, link, text, 8, 24)
        image.set_relocations(section, entries)
        image.sections.append(section)
    return image.to_bytes()


def _headers(data: bytearray) -> tuple[int, int, int]:
    """e_shoff, e_shnum, e_shstrndx."""
    return struct.unpack_from("<Q", data, 40)[0], *struct.unpack_from("<HH", data, 60)


def _moved_body(data: bytearray, index: int, body: bytes) -> None:
    """Give a section another body, at the end of the file."""
    shoff, *_ = _headers(data)
    data += bytes(-len(data) % 16)
    struct.pack_into("<QQ", data, shoff + 64 * index + 24, len(data), len(body))
    data += body


def _symtab(data: bytearray) -> tuple[int, int]:
    """Indices of the symbol table and of its strings."""
    shoff, shnum, _ = _headers(data)
    headers = np.frombuffer(bytes(data[shoff:]), SHDR, shnum)
    index = int(np.flatnonzero(headers["type"] == 2)[0])
    return index, int(headers["link"][index])


def strtab_bomb(symbols: int = 20_000, length: int = 1 << 20) -> bytes:
    """Symbols whose names all begin in one long string, each a byte behind the last."""
    data = bytearray(livepatch())
    index, strings = _symtab(data)
    shoff, *_ = _headers(data)
    offset, size = struct.unpack_from("<QQ", data, shoff + 64 * index + 24)
    extra = np.zeros(symbols, SYM)
    table_at = struct.unpack_from("<QQ", data, shoff + 64 * strings + 24)
    names = bytes(data[table_at[0] : table_at[0] + table_at[1]])
    extra["name"] = len(names) + np.arange(symbols) % max(length - 1, 1)
    extra["info"], extra["shndx"] = 16, 1
    _moved_body(data, index, bytes(data[offset : offset + size]) + extra.tobytes())
    _moved_body(data, strings, names + b"A" * length + b"\0")
    return bytes(data)


def _with_sections(count: int, name: Callable[[int], int], names: bytes, flags: int = 2, size: int = 0) -> bytes:
    """A livepatch with `count` more sections; names: what is put behind the table of their names, name: where in that."""
    data = bytearray(livepatch())
    shoff, shnum, shstrndx = _headers(data)
    at, length = struct.unpack_from("<QQ", data, shoff + 64 * shstrndx + 24)
    table = bytes(data[at : at + length])
    headers = np.concatenate([np.frombuffer(bytes(data[shoff:]), SHDR, shnum), np.zeros(count, SHDR)])
    more = headers[shnum:]
    more["name"] = [len(table) + name(n) for n in range(count)]
    more["type"], more["flags"], more["offset"], more["size"], more["addralign"] = 1, flags, 64, size, 1
    _moved_body(data, shstrndx, table + names)
    headers[shstrndx] = np.frombuffer(bytes(data[shoff + 64 * shstrndx :][:64]), SHDR)[0]
    data += bytes(-len(data) % 16)
    struct.pack_into("<Q", data, 40, len(data))
    struct.pack_into("<H", data, 60, shnum + count)
    return bytes(data + headers.tobytes())


def shstrtab_bomb(sections: int = 2_000, length: int = 1 << 20) -> bytes:
    return _with_sections(sections, lambda n: n, b"A" * length + b"\0")


def many_sections(sections: int = 60_000, flags: int = 2) -> bytes:
    names = [f".s{n}\0".encode() for n in range(sections)]
    starts = np.concatenate([[0], np.cumsum([len(name) for name in names])]).tolist()
    return _with_sections(sections, lambda n: int(starts[n]), b"".join(names), flags, 8)


def sympos_bomb(position: int = 4_000_000_000) -> bytes:
    return livepatch(sites=[(TARGET, f"nfsd_demo_open,{position}")])


def name_with(letters: bytes, everywhere: bool = True) -> bytes:
    """A livepatch with these bytes in the names that it asks for."""
    text = letters.decode("utf-8", "surrogateescape")
    return livepatch([(TARGET, 0)], b"open_" + letters + b"\0", [(TARGET, f"{text}_open,0")])


def klp_quadratic(objects: int = 6_000, funcs: int = 6_000, shift: int = 0) -> bytes:
    """Objects that share their array of functions; with a shift of 1 each begins one function later than the last."""
    return livepatch([(f"m{n}", shift * n % funcs) for n in range(objects)], funcs=funcs)


def klp_same_objects(patches: int = 3_000, objects: int = 3_000) -> bytes:
    """Many structures that look like a klp_patch, all with the same array of objects that have no functions."""
    image = ElfImage.parse(livepatch([("a", 0)] * objects))
    data = next(section for section in image.sections if section.name == ".data")
    number = image.sections.index(data)
    rela = {section.info: section for section in image.sections if section.type == 4}
    this, objs = image.relocations(rela[number])
    data.body = bytearray(32 * patches)
    image.set_relocations(rela[number], [
        Rela(32 * n + entry.offset, entry.symbol, entry.type, entry.addend) for n in range(patches) for entry in (this, objs)
    ])  # fmt: skip
    of_objects = next(s for s in rela.values() if image.sections[s.info].name == ".data.objs")
    image.set_relocations(
        of_objects, [entry for entry in image.relocations(of_objects) if entry.offset % OBJECT_SIZE == 0]
    )
    return image.to_bytes()


def long_strings(funcs: int = 3_000, length: int = 1 << 20) -> bytes:
    """Function names that all begin in one long string."""
    return livepatch([(TARGET, 0)], b"A" * length + b"\0", funcs=funcs)


def many_functions(
    funcs: int = MOST["functions to patch"], namesakes: bool = False, sites: int = 1, undefined: int = 0
) -> bytes:
    """Functions of one object, each with a name of its own, or all with one name and a position of their own."""
    wanted = [(TARGET, f"site{n},0") for n in range(sites)]
    if namesakes:
        return livepatch([(TARGET, 0)], b"open\0", wanted, funcs, name_at=lambda n: 0, sympos=lambda n: n + 1)
    names = b"".join(b"open%06d\0" % n for n in range(funcs))
    return livepatch([(TARGET, 0)], names, wanted, funcs, name_at=lambda n: 11 * n, undefined=undefined)


def many_positions(names: int = 1, sites: int = MOST["livepatch relocations"]) -> bytes:
    """Each site wants the next symbol of a name."""
    return livepatch(sites=[(TARGET, f"open{n % names},{n // names + 1}") for n in range(sites)])


def many_undefined(symbols: int, of_livepatch: bool = True) -> bytes:
    """A module that leaves many symbols to others."""
    if of_livepatch:
        return livepatch(undefined=symbols)
    wanted = [(f"u{n}", None, 0) for n in range(symbols)]
    return tiny_module("strange", {".text": bytes(16)}, wanted)


def many_objects(objects: int = MOST["objects to patch"], sites: int = 1) -> bytes:
    """Each object has one function, and as many livepatch relocations as `sites`."""
    targets = [f"target{n}" for n in range(objects)]
    wanted = [(name, f"other{n},1") for name in targets for n in range(sites)]
    return livepatch([(name, 2 * n) for n, name in enumerate(targets)], b"open\0" * objects, wanted,
                     funcs=2 * objects, every=2)  # fmt: skip


def many_symbols(symbols: int = 380_000) -> bytes:
    """About 10 MB of symbols with one short name."""
    return strtab_bomb(symbols, 2)


def many_relocations(entries: int = 400_000) -> bytes:
    """About 10 MB of pointers to one place, in data."""
    image = ElfImage.parse(livepatch())
    data = next(section for section in image.sections if section.name == ".data")
    rela = next(s for s in image.sections if s.type == 4 and image.sections[s.info] is data)
    data.body += bytes(8 * 16)
    first = image.relocations(rela)
    packed = struct.pack("<QQq", len(data.body) - 8, first[1].symbol << 32 | POINTER, 0)
    rela.body += packed * entries
    return image.to_bytes()


def many_sites(entries: int = 300_000) -> bytes:
    """About 10 MB of livepatch relocations."""
    image = ElfImage.parse(livepatch())
    section = next(s for s in image.sections if s.name.startswith(".klp.rela"))
    text = image.sections[section.info]
    only = image.relocations(section)[0]
    start, text.body = len(text.body), text.body + bytes(8 * entries)
    section.body = bytearray(
        b"".join(struct.pack("<QQq", start + 8 * n, only.symbol << 32 | only.type, 0) for n in range(entries))
    )
    return image.to_bytes()


def one_symbol_each(entries: int = 60_000) -> bytes:
    """As many livepatch relocations, each for a symbol of its own."""
    image = ElfImage.parse(many_sites(entries))
    section = next(s for s in image.sections if s.name.startswith(".klp.rela"))
    symbols = range(len(image.symbols), len(image.symbols) + entries)
    image.symbols += [replace(image.symbols[-1], name=f".klp.sym.{TARGET}.f{n},1") for n in range(entries)]
    image.set_relocations(
        section, [replace(one, symbol=n) for one, n in zip(image.relocations(section), symbols, strict=True)]
    )
    return image.to_bytes()


def kpatch_table(funcs: int = 180_000) -> bytes:
    """About 10 MB of .kpatch.funcs."""
    pointers = [(".kpatch.funcs", 40, POINTER, "at", 0), (".kpatch.funcs", 48, POINTER, "at", 0)]
    sections: dict[str, bytes | int] = {
        ".text": bytes(64),
        ".kpatch.funcs": bytes(56 * funcs),
        ".rodata": b"nfsd_demo\0",
    }
    return tiny_module(LIVEPATCH, sections, [("at", ".rodata", 0)], pointers, {"livepatch": "Y"})


def klp_build_table(objects: int = 2_000, shift: int = 1) -> bytes:
    """Objects of klp-build whose arrays of functions overlap."""
    sections: dict[str, bytes | int] = {".text": bytes(64), ".rodata": b"nfsd_demo\0"}
    table = bytearray(64 * objects)
    pointers = []
    for n in range(objects):
        struct.pack_into("<I", table, 64 * n + 56, objects - n)
        pointers += [(".init.klp_objects", 64 * n, POINTER, "at", 0),
                     (".init.klp_objects", 64 * n + 8, POINTER, "funcs", 24 * shift * n)]  # fmt: skip
    sections |= {".init.klp_objects": bytes(table), ".init.klp_funcs": bytes(24 * objects)}
    symbols = [("at", ".rodata", 0), ("funcs", ".init.klp_funcs", 0)]
    return tiny_module(LIVEPATCH, sections, symbols, pointers, {"livepatch": "Y"})


def big_modinfo(bytes_: int = 10_000_000, entry: bytes = b"a=b\0") -> bytes:
    image = ElfImage.parse(livepatch())
    modinfo = next(section for section in image.sections if section.name == ".modinfo")
    modinfo.body += entry * (bytes_ // len(entry))
    return image.to_bytes()


def long_module_name(length: int = 1 << 20) -> bytes:
    image = ElfImage.parse(livepatch())
    modinfo = next(section for section in image.sections if section.name == ".modinfo")
    modinfo.body = bytearray(b"name=" + b"n" * length + b"\0license=GPL\0livepatch=Y\0")
    return image.to_bytes()


def big_bss(size: int = 60 << 20) -> bytes:
    image = ElfImage.parse(livepatch())
    image.sections.append(Section(".bss", 8, 3, addralign=16, nobits=size))
    return image.to_bytes()


KINDS: dict[str, Callable[[], bytes]] = {
    "an 0xff in a name": lambda: name_with(b"\xff"),
    "a name in Cyrillic": lambda: name_with("имя".encode()),
    "half a character": lambda: name_with("имя".encode()[:-1]),
    "control characters": lambda: name_with(b"\x1b]0;x\x07"),
    "position 4,000,000,000": sympos_bomb,
    "position of 4,000 digits": lambda: sympos_bomb(10**3999),
    "symbol names in one string": strtab_bomb,
    "10 MB of symbol names in one string": lambda: strtab_bomb(200_000, 5_000_000),
    "section names in one string": shstrtab_bomb,
    "9,900 sections": lambda: many_sections(9_900),
    "60,000 sections": many_sections,
    "60,000 sections not in memory": lambda: many_sections(flags=0),
    "65,000 section names in one string": lambda: shstrtab_bomb(65_000, 5_000_000),
    "objects with one array of functions": klp_quadratic,
    "objects with overlapping arrays of functions": lambda: klp_quadratic(3000, 3000, 1),
    "patches with one array of objects": klp_same_objects,
    "function names in one string": long_strings,
    "40,000 function names in one string": lambda: long_strings(40_000, 2_000_000),
    "as many objects as are played": many_objects,
    "as many objects and relocations as are played": lambda: many_objects(
        MOST["objects to patch"], MOST["livepatch relocations"] // MOST["objects to patch"]
    ),
    "as many functions as are played": many_functions,
    "4,096 functions of one name": lambda: many_functions(4096, namesakes=True),
    "40,000 functions": lambda: many_functions(40_000),
    "as many positions as are played": many_positions,
    "as many positions of four names": lambda: many_positions(4),
    "as many undefined symbols as are played": lambda: many_undefined(MOST["undefined symbols"]),
    "as much of everything as is played": lambda: many_functions(
        sites=MOST["livepatch relocations"], undefined=MOST["undefined symbols"] // 2
    ),
    "300,000 undefined symbols": lambda: many_undefined(300_000),
    "as many undefined symbols as are played, no livepatch": lambda: many_undefined(MOST["undefined symbols"], False),
    "130,000 undefined symbols, no livepatch": lambda: many_undefined(130_000, False),
    "2,400,000 symbols, packed": lambda: gzip.compress(strtab_bomb(2_400_000, 2), 1),
    "1,500,000 undefined symbols, packed": lambda: gzip.compress(many_undefined(1_500_000, False), 1),
    "200 objects": lambda: many_objects(200),
    "3,000 objects": lambda: many_objects(3_000),
    "380,000 symbols": many_symbols,
    "400,000 pointers": many_relocations,
    "200,000 sites": lambda: many_sites(200_000),
    "60,000 sites with a symbol each": one_symbol_each,
    "kpatch-build's table of 10 MB": kpatch_table,
    "klp-build's arrays overlap": klp_build_table,
    "10 MB of modinfo": big_modinfo,
    "a module's name of 1 MB": lambda: long_module_name((1 << 20) - 100),
    "a .bss of 60 MB": big_bss,
}


def fifo(folder: Path) -> Path:
    path = folder / "fifo.ko"
    os.mkfifo(path)
    return path


def link_to(folder: Path, target: str) -> Path:
    path = folder / "link.ko"
    path.symlink_to(target)
    return path


def directory(folder: Path) -> Path:
    path = folder / "folder.ko"
    path.mkdir()
    return path


NO_FILES: dict[str, Callable[[Path], Path]] = {
    "a pipe": fifo,
    "a link to /dev/zero": lambda folder: link_to(folder, "/dev/zero"),
    "a link to /dev/tty": lambda folder: link_to(folder, "/dev/tty"),
    "a link to a pipe": lambda folder: link_to(folder, str(fifo(folder))),
    "a link to itself": lambda folder: link_to(folder, "link.ko"),
    "a link to nowhere": lambda folder: link_to(folder, "nowhere.ko"),
    "a directory": directory,
}
