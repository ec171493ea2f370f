"""Make and change module files: klp_convert, and tiny modules for exercises.

pyelftools reads ELF and does not write it; ElfImage is the editable half, just big enough for a .ko.
Sources: the ELF specification (gABI, "Object Files"); Documentation/livepatch/module-elf-format.rst.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ..errors import ModuleFormatError
from . import elf_h
from .elf_h import (
    EM_PPC64,
    EM_X86_64,
    MODULE_NAME_LEN,
    SHF_ALLOC,
    SHF_RELA_LIVEPATCH,
    SHN_LIVEPATCH,
    SHN_UNDEF,
    SHT_RELA,
    THIS_MODULE,
    THIS_MODULE_NAME,
)  # fmt: skip

STB_GLOBAL_NOTYPE = 1 << 4
EHDR, SHDR, SYM, RELA = "HHIQQQIHHHHHH", "IIQQQQIIQQ", "IBBHQQ", "QQq"  # Elf64_*, the header without e_ident
RAW_SYMBOL = re.compile(r"\.klp\.sym\.rela\.([^.]+)\.([^.]+)\.([^,]+),(\d+)")


@dataclass(slots=True)
class Section:
    """One section: the fields of Elf64_Shdr without "sh_", and its body. nobits is the size where there is no body."""

    name: str
    type: int = elf_h.SHT_PROGBITS
    flags: int = 0
    addr: int = 0
    link: int = 0
    info: int = 0
    addralign: int = 1
    entsize: int = 0
    body: bytearray = field(default_factory=bytearray)
    nobits: int = 0


@dataclass(frozen=True, slots=True)
class Symbol:
    """One Elf64_Sym without "st_"; shndx is a section index or one of SHN_*."""

    name: str
    info: int = 0
    other: int = 0
    shndx: int = SHN_UNDEF
    value: int = 0
    size: int = 0


@dataclass(frozen=True, slots=True)
class Rela:
    """One Elf64_Rela: offset in the target section, symbol index, relocation type, addend."""

    offset: int
    symbol: int
    type: int
    addend: int = 0


@dataclass(slots=True)
class ElfImage:
    """A relocatable ELF64 file with its sections and symbols as lists that can be changed.

    Indexes stay valid as long as sections and symbols are only appended. Section bodies of the string and
    symbol tables are made anew from the names, so nothing of a renamed symbol remains in the file.

    >>> image = ElfImage.parse(tiny_module("demo", {".text": bytes(16)}))
    >>> image.sections[1].name, ElfImage.parse(image.to_bytes()) == image
    ('.text', True)
    """

    ident: bytes
    machine: int
    flags: int
    shstrndx: int
    sections: list[Section]
    symbols: list[Symbol]

    @property
    def order(self) -> str:
        """The struct module's sign for this file's byte order."""
        return ">" if self.ident[5] == 2 else "<"

    @property
    def symtab(self) -> Section:
        return next(section for section in self.sections if section.type == elf_h.SHT_SYMTAB)

    @classmethod
    def parse(cls, data: bytes) -> ElfImage:
        """Read a module file. Raises ModuleFormatError for anything that is not a whole one."""
        if len(data) < 64 or data[:5] != b"\x7fELF\x02" or data[5] not in (1, 2):
            raise ModuleFormatError(f"not an ELF64 file: it begins with {data[:6].hex(' ') or 'nothing'}")
        order = ">" if data[5] == 2 else "<"
        header = struct.unpack_from(order + EHDR, data, 16)
        etype, machine, _, _, _, shoff, flags, _, _, _, shentsize, shnum, shstrndx = header
        if etype != 1 or shentsize != 64:
            raise ModuleFormatError(f"not a relocatable file: e_type {etype}, section headers of {shentsize} bytes")
        if shoff + 64 * shnum > len(data) or shstrndx >= shnum:
            what = f"{shnum} section headers at {shoff:#x} do not fit into {len(data):#x} bytes"
            raise ModuleFormatError(f"{what}. Is the file complete?")
        headers = list(struct.iter_unpack(order + SHDR, data[shoff : shoff + 64 * shnum]))
        bodies = [_body(data, number, *header[1:6]) for number, header in enumerate(headers)]
        sections = [
            Section(_string(bodies[shstrndx], name), kind, shflags, addr, link, info, align, entsize, body,
                    size if kind == elf_h.SHT_NOBITS else 0)
            for (name, kind, shflags, addr, _, size, link, info, align, entsize), body in zip(headers, bodies, strict=True)
        ]  # fmt: skip
        symtabs = [section for section in sections if section.type == elf_h.SHT_SYMTAB]
        if len(symtabs) != 1 or symtabs[0].link >= shnum or len(symtabs[0].body) % 24:
            raise ModuleFormatError("a module has exactly one symbol table, with a string table")
        if {sections[shstrndx].type, sections[symtabs[0].link].type} != {elf_h.SHT_STRTAB}:
            raise ModuleFormatError("the section that should hold the names is not a string table")
        strings = bodies[symtabs[0].link]
        entries = struct.iter_unpack(order + SYM, symtabs[0].body)
        symbols = [Symbol(_string(strings, name), *rest) for name, *rest in entries]
        for section in sections:
            if section.addralign > 1 << 16:  # the largest page of any architecture here
                raise ModuleFormatError(f"{section.name} wants to be aligned to {section.addralign:#x} bytes")
            if section.type == SHT_RELA and (section.info >= shnum or len(section.body) % 24):
                why = "no target section, or half an entry"
                raise ModuleFormatError(f"{section.name} is not a relocation section: {why}")
        return cls(data[:16], machine, flags, shstrndx, sections, symbols)

    def to_bytes(self) -> bytes:
        """Lay the file out: header, bodies in the order of their headers, section headers. The same image, the same bytes."""
        tables = {self.shstrndx: Strings(), self.symtab.link: Strings()}
        section_names = [tables[self.shstrndx].add(section.name) for section in self.sections]
        self.symtab.body = bytearray().join(
            struct.pack(self.order + SYM, tables[self.symtab.link].add(symbol.name),
                        symbol.info, symbol.other, symbol.shndx, symbol.value, symbol.size)
            for symbol in self.symbols
        )  # fmt: skip
        for number, table in tables.items():
            self.sections[number].body = table.body
        out, headers = bytearray(64), bytearray()
        for name, s in zip(section_names, self.sections, strict=True):
            out += bytes(-len(out) % (s.addralign or 1))
            offset, size = (len(out), s.nobits or len(s.body)) if s.type else (0, 0)
            headers += struct.pack(self.order + SHDR, name, s.type, s.flags, s.addr, offset, size,
                                   s.link, s.info, s.addralign, s.entsize)  # fmt: skip
            out += s.body
        out += bytes(-len(out) % 8)
        out[:64] = self.ident + struct.pack(self.order + EHDR, 1, self.machine, 1, 0, 0, len(out), self.flags,
                                            64, 0, 0, 64, len(self.sections), self.shstrndx)  # fmt: skip
        return bytes(out + headers)

    def relocations(self, section: Section) -> list[Rela]:
        """The entries of one SHT_RELA section."""
        entries = struct.iter_unpack(self.order + RELA, section.body)
        return [Rela(offset, info >> 32, info & 0xFFFFFFFF, addend) for offset, info, addend in entries]

    def set_relocations(self, section: Section, entries: Iterable[Rela]) -> None:
        """Replace the entries of one SHT_RELA section."""
        packed = (struct.pack(self.order + RELA, r.offset, r.symbol << 32 | r.type, r.addend) for r in entries)
        section.body = bytearray().join(packed)


def _body(data: bytes, number: int, kind: int, _flags: int, _addr: int, offset: int, size: int) -> bytearray:
    if kind in (0, elf_h.SHT_NOBITS):
        return bytearray()
    if offset + size > len(data):
        what = f"section {number} (type {kind}) ends at {offset + size:#x}, the file at {len(data):#x}"
        raise ModuleFormatError(f"{what}. Is the file complete?")
    return bytearray(data[offset : offset + size])


def _string(table: bytearray, offset: int) -> str:
    end = table.find(0, offset)
    if end < 0:
        raise ModuleFormatError(f"name at {offset:#x} lies outside its string table of {len(table):#x} bytes")
    return table[offset:end].decode("utf-8", "surrogateescape")  # any bytes come back as they were


class Strings:
    """A string table that grows: each name stands in it once."""

    def __init__(self) -> None:
        self.body, self._offsets = bytearray(1), {"": 0}

    def add(self, name: str) -> int:
        """Offset of a name; appended if it is not there yet."""
        if name not in self._offsets:
            self._offsets[name] = len(self.body)
            self.body += name.encode("utf-8", "surrogateescape") + b"\0"
        return self._offsets[name]


def klp_convert(data: bytes) -> bytes:
    """Turn relocations against ".klp.sym.rela.LPOBJ.SYMOBJ.NAME,POS" into livepatch relocations.

    The symbols become ".klp.sym.SYMOBJ.NAME,POS" of section SHN_LIVEPATCH; their relocations move from .rela.SEC
    into new sections .klp.rela.LPOBJ.SEC. A file without such symbols comes back as it is.
    Strip debug sections before: afterwards binutils no longer know what to do with the symbols.
    Raises ModuleFormatError for a malformed symbol name, or a relocation of a section that is not loaded.
    Source: Documentation/livepatch/module-elf-format.rst; the name scheme is that of the klp-convert proposal.
    """
    image = ElfImage.parse(data)
    lp_objects: dict[int, str] = {}
    for index, symbol in [(i, s) for i, s in enumerate(image.symbols) if s.name.startswith(".klp.sym.rela.")]:
        match = RAW_SYMBOL.fullmatch(symbol.name)
        if match is None or symbol.shndx != SHN_UNDEF:
            what = "an undefined .klp.sym.rela.LPOBJ.SYMOBJ.NAME,POS was expected, see klp_demo.h"
            raise ModuleFormatError(f"symbol {symbol.name}: {what}")
        lp_objects[index], sym_object, name, pos = match.groups()
        image.symbols[index] = Symbol(f".klp.sym.{sym_object}.{name},{pos}", STB_GLOBAL_NOTYPE, shndx=SHN_LIVEPATCH)
    if not lp_objects:
        return data
    for section in [s for s in image.sections if s.type == SHT_RELA]:
        _move_relocations(image, section, lp_objects)
    return image.to_bytes()


def _move_relocations(image: ElfImage, section: Section, lp_objects: Mapping[int, str]) -> None:
    target = image.sections[section.info]
    groups: dict[str | None, list[Rela]] = {None: []}  # None: stays an ordinary relocation
    for entry in image.relocations(section):
        groups.setdefault(lp_objects.get(entry.symbol), []).append(entry)
    image.set_relocations(section, groups.pop(None))
    if groups and not target.flags & SHF_ALLOC:
        hint = "Try strip --strip-debug first."
        raise ModuleFormatError(f"{target.name} is not loaded and cannot be relocated later. {hint}")
    flags = SHF_ALLOC | elf_h.SHF_INFO_LINK | SHF_RELA_LIVEPATCH
    for lp_object, entries in groups.items():
        new = Section(f".klp.rela.{lp_object}.{target.name}", SHT_RELA, flags, 0, section.link, section.info, 8, 24)
        image.set_relocations(new, entries)
        image.sections.append(new)


def tiny_module(
    name: str, sections: Mapping[str, bytes | int], symbols: Iterable[tuple[str, str | None, int]] = (),
    relocations: Iterable[tuple[str, int, int, str, int]] = (), modinfo: Mapping[str, str] | None = None,
    machine: int = EM_X86_64,
) -> bytes:  # fmt: skip
    """A minimal module file, in its machine's byte order, for exercises and tests.

    sections: name -> bytes, or a size for NOBITS; flags follow from the name (.text* code, .data* and .bss* writable).
    symbols: (name, section or None = undefined, value), all global; ".klp.sym.OBJ.NAME,POS" becomes SHN_LIVEPATCH.
    relocations: (section, offset, type, symbol name, addend). modinfo: added to name, license, depends and vermagic.
    Raises ModuleFormatError if a symbol or relocation names what is not there.
    Simplified: struct module is zeros and its name, so a real kernel would not find init_module.

    >>> tiny_module("demo", {".text": b"\\xc3"})[:4]
    b'\\x7fELF'
    """
    info = {"license": "GPL", "depends": "", "name": name, "vermagic": "6.1.0 SMP preempt mod_unload modversions "}
    this_module = bytearray(0x380)
    raw = name.encode()[: MODULE_NAME_LEN - 1]
    this_module[THIS_MODULE_NAME : THIS_MODULE_NAME + len(raw)] = raw
    bodies: dict[str, bytes | int] = {
        **sections,
        ".modinfo": b"".join(f"{key}={value}\0".encode() for key, value in {**info, **(modinfo or {})}.items()),
        THIS_MODULE: bytes(this_module),
    }
    by_target: dict[str, list[tuple[int, int, str, int]]] = {}
    for target, offset, kind, symbol, addend in relocations:
        by_target.setdefault(target, []).append((offset, kind, symbol, addend))
    symtab = 1 + len(bodies) + len(by_target)
    order = elf_h.DATA_OF_MACHINE.get(machine, elf_h.ELFDATA2LSB)
    ident, flags = bytes([*b"\x7fELF", 2, order, 1]).ljust(16, b"\0"), 2 if machine == EM_PPC64 else 0
    image = ElfImage(ident, machine, flags, symtab + 2, [], [Symbol("")])
    image.sections = [Section("", 0), *(_tiny_section(key, body) for key, body in bodies.items())]
    numbers = {section.name: number for number, section in enumerate(image.sections)}
    try:
        for label, where, value in symbols:
            image.symbols.append(_tiny_symbol(label, numbers[where] if where else None, value))
        indexes = {row.name: index for index, row in enumerate(image.symbols)}
        for target, entries in by_target.items():
            section = Section(".rela" + target, SHT_RELA, elf_h.SHF_INFO_LINK, 0, symtab, numbers[target], 8, 24)
            rows = [Rela(at, indexes[label], kind, addend) for at, kind, label, addend in entries]
            image.set_relocations(section, rows)
            image.sections.append(section)
    except KeyError as missing:
        raise ModuleFormatError(f"the tiny module has no section or symbol {missing}") from None
    names = [Section(name, elf_h.SHT_STRTAB) for name in (".strtab", ".shstrtab")]
    image.sections += [Section(".symtab", elf_h.SHT_SYMTAB, link=symtab + 1, info=1, addralign=8, entsize=24), *names]
    return image.to_bytes()


def _tiny_section(name: str, body: bytes | int) -> Section:
    flags = SHF_ALLOC | (elf_h.SHF_EXECINSTR if name.startswith((".text", ".init.text", ".exit.text")) else 0)
    flags |= elf_h.SHF_WRITE if name.startswith((".data", ".bss", ".gnu.linkonce")) else 0
    if isinstance(body, int):
        return Section(name, elf_h.SHT_NOBITS, flags, addralign=16, nobits=body)
    return Section(name, elf_h.SHT_PROGBITS, flags, addralign=16, body=bytearray(body))


def _tiny_symbol(name: str, shndx: int | None, value: int) -> Symbol:
    if shndx is not None:
        return Symbol(name, STB_GLOBAL_NOTYPE, shndx=shndx, value=value)
    finished = name.startswith(".klp.sym.") and not name.startswith(".klp.sym.rela.")
    return Symbol(name, STB_GLOBAL_NOTYPE, shndx=SHN_LIVEPATCH if finished else SHN_UNDEF)
