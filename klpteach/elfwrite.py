"""Make and change module files: klp_convert, deliberate defects, tiny modules for exercises.

pyelftools reads ELF and does not write it; ElfImage is the editable half, just big enough for a .ko.
Sources: the ELF specification (gABI, "Object Files"); Documentation/livepatch/module-elf-format.rst.
"""

from __future__ import annotations

import random
import re
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from klpteach.errors import KlpteachError, ModuleFormatError

SHT_PROGBITS, SHT_SYMTAB, SHT_STRTAB, SHT_RELA, SHT_NOBITS = 1, 2, 3, 4, 8
SHF_WRITE, SHF_ALLOC, SHF_EXECINSTR, SHF_INFO_LINK = 1, 2, 4, 0x40
SHF_RELA_LIVEPATCH = 0x00100000  # include/uapi/linux/elf.h
SHN_UNDEF, SHN_LORESERVE, SHN_LIVEPATCH, SHN_ABS = 0, 0xFF00, 0xFF20, 0xFFF1
STB_GLOBAL_NOTYPE = 1 << 4
EM_PPC64, EM_X86_64 = 21, 62

RAW_SYMBOL = re.compile(r"\.klp\.sym\.rela\.([^.]+)\.([^.]+)\.([^,]+),(\d+)")


@dataclass(slots=True)
class Section:
    """One section: the fields of Elf64_Shdr without "sh_", and its body. nobits is the size where there is no body."""

    name: str
    type: int = SHT_PROGBITS
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
        return next(section for section in self.sections if section.type == SHT_SYMTAB)

    @classmethod
    def parse(cls, data: bytes) -> ElfImage:
        """Read a module file. Raises ModuleFormatError for anything that is not a whole one."""
        if len(data) < 64 or data[:5] != b"\x7fELF\x02" or data[5] not in (1, 2):
            raise ModuleFormatError(f"not an ELF64 file: it begins with {data[:6].hex(' ') or 'nothing'}")
        order = ">" if data[5] == 2 else "<"
        etype, machine, _, _, _, shoff, flags, _, _, _, shentsize, shnum, shstrndx = struct.unpack_from(order + "HHIQQQIHHHHHH", data, 16)
        if etype != 1 or shentsize != 64:
            raise ModuleFormatError(f"not a relocatable file: e_type {etype}, section headers of {shentsize} bytes")
        if shoff + 64 * shnum > len(data) or shstrndx >= shnum:
            raise ModuleFormatError(f"{shnum} section headers at {shoff:#x} do not fit into {len(data):#x} bytes. Is the file complete?")
        headers = list(struct.iter_unpack(order + "IIQQQQIIQQ", data[shoff : shoff + 64 * shnum]))
        bodies = [_body(data, number, *header[1:6]) for number, header in enumerate(headers)]
        sections = [
            Section(_string(bodies[shstrndx], name), kind, shflags, addr, link, info, align, entsize, body,
                    size if kind == SHT_NOBITS else 0)
            for (name, kind, shflags, addr, _, size, link, info, align, entsize), body in zip(headers, bodies, strict=True)
        ]  # fmt: skip
        symtabs = [section for section in sections if section.type == SHT_SYMTAB]
        if len(symtabs) != 1 or symtabs[0].link >= shnum or len(symtabs[0].body) % 24:
            raise ModuleFormatError("a module has exactly one symbol table, with a string table")
        if {sections[shstrndx].type, sections[symtabs[0].link].type} != {SHT_STRTAB}:
            raise ModuleFormatError("the section that should hold the names is not a string table")
        strings = bodies[symtabs[0].link]
        symbols = [Symbol(_string(strings, name), *rest) for name, *rest in struct.iter_unpack(order + "IBBHQQ", symtabs[0].body)]
        for section in sections:
            if section.addralign > 1 << 16:  # the largest page of any architecture here
                raise ModuleFormatError(f"{section.name} wants to be aligned to {section.addralign:#x} bytes")
            if section.type == SHT_RELA and (section.info >= shnum or len(section.body) % 24):
                raise ModuleFormatError(f"{section.name} is not a relocation section: no target section, or half an entry")
        return cls(data[:16], machine, flags, shstrndx, sections, symbols)

    def to_bytes(self) -> bytes:
        """Lay the file out: header, bodies in the order of their headers, section headers. The same image, the same bytes."""
        tables = {self.shstrndx: bytearray(1), self.symtab.link: bytearray(1)}
        section_names = [_add_string(tables[self.shstrndx], section.name) for section in self.sections]
        self.symtab.body = bytearray().join(
            struct.pack(self.order + "IBBHQQ", _add_string(tables[self.symtab.link], symbol.name),
                        symbol.info, symbol.other, symbol.shndx, symbol.value, symbol.size)
            for symbol in self.symbols
        )  # fmt: skip
        for number, table in tables.items():
            self.sections[number].body = table
        out, headers = bytearray(64), bytearray()
        for name, s in zip(section_names, self.sections, strict=True):
            out += bytes(-len(out) % (s.addralign or 1))
            offset, size = (len(out), s.nobits or len(s.body)) if s.type else (0, 0)
            headers += struct.pack(self.order + "IIQQQQIIQQ", name, s.type, s.flags, s.addr, offset, size,
                                   s.link, s.info, s.addralign, s.entsize)  # fmt: skip
            out += s.body
        out += bytes(-len(out) % 8)
        out[:64] = self.ident + struct.pack(self.order + "HHIQQQIHHHHHH", 1, self.machine, 1, 0, 0, len(out), self.flags,
                                            64, 0, 0, 64, len(self.sections), self.shstrndx)  # fmt: skip
        return bytes(out + headers)

    def relocations(self, section: Section) -> list[Rela]:
        """The entries of one SHT_RELA section."""
        entries = struct.iter_unpack(self.order + "QQq", section.body)
        return [Rela(offset, info >> 32, info & 0xFFFFFFFF, addend) for offset, info, addend in entries]

    def set_relocations(self, section: Section, entries: Iterable[Rela]) -> None:
        """Replace the entries of one SHT_RELA section."""
        section.body = bytearray().join(struct.pack(self.order + "QQq", r.offset, r.symbol << 32 | r.type, r.addend) for r in entries)


def _body(data: bytes, number: int, kind: int, _flags: int, _addr: int, offset: int, size: int) -> bytearray:
    if kind in (0, SHT_NOBITS):
        return bytearray()
    if offset + size > len(data):
        raise ModuleFormatError(
            f"section {number} (type {kind}) ends at {offset + size:#x}, the file at {len(data):#x}. Is the file complete?"
        )
    return bytearray(data[offset : offset + size])


def _string(table: bytearray, offset: int) -> str:
    end = table.find(0, offset)
    if end < 0:
        raise ModuleFormatError(f"name at {offset:#x} lies outside its string table of {len(table):#x} bytes")
    return table[offset:end].decode("latin-1")


def _add_string(table: bytearray, name: str) -> int:
    """Offset of name in a string table; appended if it is not there yet."""
    found = table.find(b"\0" + name.encode("latin-1") + b"\0") + 1 if name else 0
    if name and not found:
        found = len(table)
        table += name.encode("latin-1") + b"\0"
    return found


def klp_convert(data: bytes) -> bytes:
    """Turn relocations against ".klp.sym.rela.LPOBJ.SYMOBJ.NAME,POS" into livepatch relocations.

    The symbols become ".klp.sym.SYMOBJ.NAME,POS" of section SHN_LIVEPATCH; their relocations move from .rela.SEC
    into new sections .klp.rela.LPOBJ.SEC. A file without such symbols comes back as it is.
    Strip debug sections before: afterwards binutils no longer know what to do with the symbols.
    Raises ModuleFormatError for a malformed symbol name, or a relocation of a section that is not loaded.
    Source: Documentation/livepatch/module-elf-format.rst; the name scheme is that of the klp-convert proposal.

    >>> raw = tiny_module("livepatch", {".text": bytes(8)}, [(".klp.sym.rela.nfsd.nfsd.e_show,0", None, 0)],
    ...                   [(".text", 1, 4, ".klp.sym.rela.nfsd.nfsd.e_show,0", -4)])
    >>> image = ElfImage.parse(klp_convert(raw))
    >>> image.sections[-1].name, image.symbols[-1].name, hex(image.symbols[-1].shndx)
    ('.klp.rela.nfsd..text', '.klp.sym.nfsd.e_show,0', '0xff20')
    """
    image = ElfImage.parse(data)
    lp_objects: dict[int, str] = {}
    for index, symbol in enumerate(image.symbols):
        if not symbol.name.startswith(".klp.sym.rela."):
            continue
        match = RAW_SYMBOL.fullmatch(symbol.name)
        if match is None or symbol.shndx != SHN_UNDEF:
            raise ModuleFormatError(f"symbol {symbol.name}: an undefined .klp.sym.rela.LPOBJ.SYMOBJ.NAME,POS was expected, see klp_demo.h")
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
        raise ModuleFormatError(f"{target.name} is not loaded and cannot be relocated later. Try strip --strip-debug first.")
    for lp_object, entries in groups.items():
        flags = SHF_ALLOC | SHF_INFO_LINK | SHF_RELA_LIVEPATCH
        new = Section(f".klp.rela.{lp_object}.{target.name}", SHT_RELA, flags, 0, section.link, section.info, 8, 24)
        image.set_relocations(new, entries)
        image.sections.append(new)


def tiny_module(
    name: str,
    sections: Mapping[str, bytes | int],
    symbols: Iterable[tuple[str, str | None, int]] = (),
    relocations: Iterable[tuple[str, int, int, str, int]] = (),
    modinfo: Mapping[str, str] | None = None,
    machine: int = EM_X86_64,
) -> bytes:
    """A minimal module file, little endian, for exercises and tests.

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
    this_module[24 : 24 + len(name)] = name.encode()
    bodies: dict[str, bytes | int] = {
        **sections,
        ".modinfo": b"".join(f"{key}={value}\0".encode() for key, value in {**info, **(modinfo or {})}.items()),
        ".gnu.linkonce.this_module": bytes(this_module),
    }
    by_target: dict[str, list[tuple[int, int, str, int]]] = {}
    for target, offset, kind, symbol, addend in relocations:
        by_target.setdefault(target, []).append((offset, kind, symbol, addend))
    symtab = 1 + len(bodies) + len(by_target)
    image = ElfImage(b"\x7fELF\x02\x01\x01".ljust(16, b"\0"), machine, 2 if machine == EM_PPC64 else 0, symtab + 2, [], [Symbol("")])
    image.sections = [Section("", 0), *(_tiny_section(key, body) for key, body in bodies.items())]
    numbers = {section.name: number for number, section in enumerate(image.sections)}
    try:
        image.symbols += [_tiny_symbol(label, numbers[where] if where else None, value) for label, where, value in symbols]
        indexes = {row.name: index for index, row in enumerate(image.symbols)}
        for target, entries in by_target.items():
            section = Section(".rela" + target, SHT_RELA, SHF_INFO_LINK, 0, symtab, numbers[target], 8, 24)
            image.set_relocations(section, [Rela(at, indexes[label], kind, addend) for at, kind, label, addend in entries])
            image.sections.append(section)
    except KeyError as missing:
        raise ModuleFormatError(f"the tiny module has no section or symbol {missing}") from None
    image.sections += [
        Section(".symtab", SHT_SYMTAB, link=symtab + 1, info=1, addralign=8, entsize=24),
        Section(".strtab", SHT_STRTAB),
        Section(".shstrtab", SHT_STRTAB),
    ]
    return image.to_bytes()


def _tiny_section(name: str, body: bytes | int) -> Section:
    flags = SHF_ALLOC | (SHF_EXECINSTR if name.startswith((".text", ".init.text", ".exit.text")) else 0)
    flags |= SHF_WRITE if name.startswith((".data", ".bss", ".gnu.linkonce")) else 0
    if isinstance(body, int):
        return Section(name, SHT_NOBITS, flags, addralign=16, nobits=body)
    return Section(name, SHT_PROGBITS, flags, addralign=16, body=bytearray(body))


def _tiny_symbol(name: str, shndx: int | None, value: int) -> Symbol:
    if shndx is not None:
        return Symbol(name, STB_GLOBAL_NOTYPE, shndx=shndx, value=value)
    finished = name.startswith(".klp.sym.") and not name.startswith(".klp.sym.rela.")
    return Symbol(name, STB_GLOBAL_NOTYPE, shndx=SHN_LIVEPATCH if finished else SHN_UNDEF)


def _klp_sections(image: ElfImage) -> list[Section]:
    found = [s for s in image.sections if s.type == SHT_RELA and s.name.startswith(".klp.rela.") and s.body]
    if not found:
        raise ModuleFormatError("there is no livepatch relocation to damage in this file")
    return found


def _at_site(which: int) -> Callable[[ElfImage], None]:
    def damage(image: ElfImage) -> None:
        section = _klp_sections(image)[which]
        image.sections[section.info].body[image.relocations(section)[which].offset] = 0x90

    return damage


def _on_relocation(change: Callable[[Rela], list[Rela]]) -> Callable[[ElfImage], None]:
    def damage(image: ElfImage) -> None:
        section = _klp_sections(image)[0]
        first, *others = image.relocations(section)
        image.set_relocations(section, change(first) + others)

    return damage


def _on_symbol(pattern: str, by: str = "", **fields: int) -> Callable[[ElfImage], None]:
    """Change the first symbol of a livepatch relocation whose name matches: the name, by re.sub, or other fields."""

    def damage(image: ElfImage) -> None:
        used = [r.symbol for section in _klp_sections(image) for r in image.relocations(section)]
        index = next((i for i in used if re.search(pattern, image.symbols[i].name)), None)
        if index is None:
            raise ModuleFormatError(f"no livepatch symbol matches {pattern}")
        name = re.sub(pattern, by, image.symbols[index].name) if by else image.symbols[index].name
        image.symbols[index] = replace(image.symbols[index], name=name, **fields)

    return damage


def _on_section(old: str = "", new: str = "", drop: int = 0) -> Callable[[ElfImage], None]:
    def damage(image: ElfImage) -> None:
        section = _klp_sections(image)[0]
        section.name = re.sub(old, new, section.name)
        section.flags &= ~drop

    return damage


def _rename_undefined(image: ElfImage) -> None:
    ours = ("__", "klp_")  # what the compiler asks for, and what makes it a livepatch
    index = next(i for i, s in enumerate(image.symbols) if i and s.shndx == SHN_UNDEF and not s.name.startswith(ours))
    image.symbols[index] = replace(image.symbols[index], name=image.symbols[index].name + "_missing")


def _unmark(image: ElfImage) -> None:
    modinfo = next(s for s in image.sections if s.name == ".modinfo")
    if b"livepatch=Y" not in modinfo.body:
        raise ModuleFormatError("modinfo does not say livepatch=Y in the first place")
    modinfo.body = modinfo.body.replace(b"livepatch=Y", b"livepotch=Y")


def _pointer(image: ElfImage, section: int, offset: int) -> tuple[Section, Rela]:
    """The 64-bit absolute relocation at section+offset, and where it stands."""
    for rela in image.sections:
        for entry in image.relocations(rela) if rela.type == SHT_RELA and rela.info == section else ():
            if entry.offset == offset and entry.type == 1:
                return rela, entry
    raise ModuleFormatError("there is no struct klp_patch to follow in this file")


def _rename_function(new_name: str) -> Callable[[ElfImage], None]:
    """Let the first klp_func's old_name point to another string: klp_patch -> objs -> funcs -> old_name."""

    def damage(image: ElfImage) -> None:
        this_module = next((i for i, s in enumerate(image.symbols) if s.name == "__this_module"), -1)
        section, offset = next(
            ((rela.info, entry.offset) for rela in image.sections if rela.type == SHT_RELA
             for entry in image.relocations(rela) if entry.symbol == this_module and entry.type == 1), (0, 0)
        )  # fmt: skip
        for _ in ("objs", "funcs"):
            symbol = image.symbols[(entry := _pointer(image, section, offset + 8)[1]).symbol]
            section, offset = symbol.shndx, symbol.value + entry.addend
        rela, name = _pointer(image, section, offset)
        strings = image.sections[image.symbols[name.symbol].shndx].body
        moved = replace(name, addend=len(strings) - image.symbols[name.symbol].value)
        strings += new_name.encode() + b"\0"
        image.set_relocations(rela, [moved if entry == name else entry for entry in image.relocations(rela)])

    return damage


CORRUPTIONS: dict[str, tuple[str, Callable[[ElfImage], None]]] = {
    "nonzero-site": ("bytes under the first livepatch relocation are not zero", _at_site(0)),
    "nonzero-last-site": ("the same under the last one: everything before it gets written", _at_site(-1)),
    "unknown-type": ("relocation type 42: the ABI has it (REX_GOTPCRELX), the kernel does not",
                     _on_relocation(lambda r: [replace(r, type=42)])),
    "type-none": ("relocation type 0: accepted, writes nothing", _on_relocation(lambda r: [replace(r, type=0)])),
    "overflow": ("R_X86_64_32: no kernel address fits", _on_relocation(lambda r: [replace(r, type=10)])),
    "offset-off-by-8": ("relocation 8 bytes too far, the bug that the zero check was made for",
                        _on_relocation(lambda r: [replace(r, offset=r.offset + 8)])),
    "site-twice": ("one site relocated twice", _on_relocation(lambda r: [r, r])),
    "symbol-missing": ("a symbol that its object does not have", _on_symbol(r"[^.]+,", "demo_missing,")),
    "symbol-position-1": ("position 1 of a unique name: accepted", _on_symbol(r",0$", ",1")),
    "symbol-position-3": ("the third symbol of a name that has two", _on_symbol(r",[1-9]\d*$", ",3")),
    "symbol-ambiguous": ("two symbols of that name, no position given", _on_symbol(r",[1-9]\d*$", ",0")),
    "symbol-no-comma": ("symbol name without comma", _on_symbol(r",", "_")),
    "symbol-trailing-junk": ("position 0junk: accepted", _on_symbol(r",0$", ",0junk")),
    "symbol-no-object": ("symbol name without object", _on_symbol(r"^\.klp\.sym\.[^.]+", ".klp.sym.")),
    "symbol-wrong-prefix": ("symbol name with another prefix", _on_symbol(r"^\.klp\.sym", ".klp_sym")),
    "symbol-wrong-object": ("symbol of another module", _on_symbol(r"^\.klp\.sym\.[^.]+", ".klp.sym.other_demo")),
    "symbol-vmlinux": ("vmlinux symbol in a module's section",
                       _on_symbol(r"^\.klp\.sym\..*", ".klp.sym.vmlinux.saved_command_line,0")),
    "symbol-undef": ("livepatch symbol marked SHN_UNDEF", _on_symbol("", shndx=SHN_UNDEF)),
    "symbol-abs": ("livepatch symbol marked SHN_ABS", _on_symbol("", shndx=SHN_ABS)),
    "symbol-bad-index": ("livepatch symbol in section 768", _on_symbol("", shndx=768)),
    "section-wrong-prefix": ("section name with another prefix", _on_section(r"^\.klp\.rela\.", ".klp.rela")),
    "section-no-object": ("section name without object", _on_section(r"^\.klp\.rela\.[^.]+", ".klp.rela.")),
    "section-other-object": ("section for a module that is never patched: never applied",
                             _on_section(r"^\.klp\.rela\.[^.]+", ".klp.rela.other_demo")),
    "section-not-livepatch": ("SHF_RELA_LIVEPATCH missing: applied at once, with symbol value 0", _on_section(drop=SHF_RELA_LIVEPATCH)),
    "section-not-alloc": ("SHF_ALLOC missing: not kept in memory, the kernel oopses", _on_section(drop=SHF_ALLOC)),
    "function-missing": ("patches a function that its object does not have", _rename_function("demo_missing")),
    "function-ambiguous": ("patches a function of which there are two, no position given", _rename_function("demo_dup")),
    "undefined-symbol": ("needs a kernel symbol that nobody exports", _rename_undefined),
    "not-marked": ("modinfo does not say livepatch", _unmark),
}  # fmt: skip


def corrupt(data: bytes, kind: str) -> bytes:
    """A livepatch with one named defect; CORRUPTIONS lists the names, each with a line that says what it is.

    Raises ModuleFormatError if the file has no such place to damage, KlpteachError for an unknown name.

    >>> CORRUPTIONS["site-twice"][0]
    'one site relocated twice'
    """
    if kind not in CORRUPTIONS:
        raise KlpteachError(f"no corruption {kind!r}; there are: {', '.join(CORRUPTIONS)}")
    image = ElfImage.parse(data)
    try:
        CORRUPTIONS[kind][1](image)
    except (IndexError, StopIteration):
        raise ModuleFormatError(f"this file has nothing that {kind!r} could damage") from None
    return image.to_bytes()


def mutate(data: bytes, seed: int) -> bytes:
    """A random defect for fuzzing: bit flips, a cut, or a header field. The same seed, the same bytes.

    >>> mutate(bytes(100), seed=1) == mutate(bytes(100), seed=1) != bytes(100)
    True
    """
    rng, out = random.Random(seed), bytearray(data)
    if not out:
        return b""
    section_headers = int.from_bytes(out[40:48], "little")
    start, end = rng.choice(((0, len(out)), (16, 64), (section_headers, len(out))))
    if rng.random() < 0.25 or not start < end <= len(out):
        return bytes(out[: rng.randrange(len(out))])
    for _ in range(rng.randint(1, 8)):
        position = rng.randrange(start, end)
        out[position] = rng.choice((out[position] ^ 1 << rng.randrange(8), 0, 1, 0x7F, 0xFF))
    return bytes(out)
