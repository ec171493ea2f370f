"""A module file as it is on disk: ELF header, sections, symbols, relocations, modinfo.

The header and the names of types come from pyelftools; the symbol table and the relocations, which can be many, are numpy
arrays over the file's own bytes. The checks are those of the kernel, in its order, and then those that it leaves out.
"""

from __future__ import annotations

import operator
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from elftools.construct import ConstructError
from elftools.elf.structs import ELFStructs

from ..errors import ModuleFormatError, of_type, printable, quoted
from . import elf_h
from .compressed import unpack
from .elf_h import (
    ARCH_OF_MACHINE,
    BIG_ENDIAN,
    DATA_OF_MACHINE,
    ELFDATA2LSB,
    ELFDATA2MSB,
    ET_REL,
    MODULE_NAME_LEN,
    RELA,
    SHDR,
    SHF_ALLOC,
    SHT_NOBITS,
    SHT_NULL,
    SHT_RELA,
    SHT_SYMTAB,
    SYM,
    THIS_MODULE,
    THIS_MODULE_NAME,
)  # fmt: skip
from .relocation_types import type_names, type_widths

Array = np.ndarray[Any, np.dtype[Any]]
CUT_OFF = "Is the download complete?"
# Bytes of a name that are read: .klp.sym. with an object, a symbol of KSYM_NAME_LEN and a number has less.
LONGEST = 1024
MAX_MEMORY = 128 << 20  # bytes; nfsd_demo_far wants as much as an arm64 branch reaches
MAX_SECTIONS = 10_000  # a livepatch built with -ffunction-sections has some hundreds
MAX_SYMBOLS = 1 << 19  # the largest driver of a distribution has some ten thousand
MAX_MODINFO = 1 << 20  # bytes; a driver with thousands of aliases has a tenth of it
READS = "klpteach reads modules of x86_64 (62), ppc64le (21), arm64 (183) and s390x (22)."


class ElfFile:
    """What is in a module file: `shdrs`, `symtab` and `rela(i)` are numpy arrays of the dtypes SHDR, SYM and RELA.

    Errors: ModuleFormatError. Source: kernel/module/main.c, elf_validity_check() and setup_load_info() (6.1).
    """

    def __init__(self, data: bytes, filename: str = "module.ko") -> None:
        self.filename = of_type(filename, str, "the name that errors tell", ModuleFormatError)
        given = of_type(data, bytes, "the bytes of a file; a path goes to ModuleFile.open()", ModuleFormatError)
        self.data = unpack(given, filename)
        self._check_header()
        self._check_sections()
        self._index_sections()
        self._check_what_the_kernel_does_not()

    # -- what is in it ------------------------------------------------------------------------------------------------

    @property
    def arch(self) -> str:
        """The architecture by the kernel's name: x86_64, ppc64le, arm64 or s390x."""
        return ARCH_OF_MACHINE[self.machine]

    @cached_property
    def section_names(self) -> list[str]:
        """Name by section index; where sh_name points nowhere (allowed outside SHF_ALLOC) the name is empty."""
        return self._names(self._shstrtab, self.shdrs["name"], "section")

    @cached_property
    def symbol_names(self) -> list[str]:
        """Name by symbol index; many symbols may share a name, so look symbols up by index."""
        return self._names(self._strtab, self.symtab["name"], "symbol")

    def _names(self, table: bytes, offsets: Array, what: str) -> list[str]:
        """The names at these offsets. Names may share tails, but a linker never makes more of it than some tables' worth."""
        found, room = dict[int, str](), 4 * len(table) + (64 << 10)
        for offset in np.unique(offsets).tolist():
            found[offset] = name = _string(table, offset)
            room -= len(name)
            if room < 0:
                raise self.bad(f"its {what} names overlap, together they are more than four times their string table")
        return [found[offset] for offset in offsets.tolist()]

    @cached_property
    def modinfo(self) -> dict[str, str]:
        """The key=value pairs of .modinfo; of a key that comes twice (`parm`) the first, as get_modinfo() finds it."""
        found: dict[str, str] = {}
        for key, value in self.modinfo_pairs:
            found.setdefault(key, value)
        return found

    @cached_property
    def modinfo_pairs(self) -> list[tuple[str, str]]:
        index = self.section_index(".modinfo")
        if index is not None and self.extents[index][2] > MAX_MODINFO:
            raise self.over(f".modinfo has {self.extents[index][2]} bytes", f"reads {MAX_MODINFO >> 20} MiB")
        entries = self.section_bytes(index).split(b"\0") if index is not None else []
        pairs = (text_of(entry).partition("=") for entry in entries if entry)
        return [(key, value) for key, _, value in pairs]

    @cached_property
    def name(self) -> str:
        """What the kernel calls the module: the name in struct module; where that is empty modinfo's, else the file's."""
        here = self.section_index(THIS_MODULE)
        raw = self.bytes_at(here, THIS_MODULE_NAME, MODULE_NAME_LEN - 1) if here is not None else b""
        return text_of(raw.partition(b"\0")[0]) or self.early_name

    @property
    def early_name(self) -> str:
        """Its name until struct module is read, for the blacklist and the first messages: load_info's `name`."""
        name = self.modinfo.get("name") or Path(self.filename).name.split(".ko")[0].replace("-", "_")
        return name[: MODULE_NAME_LEN - 1]

    @property
    def is_livepatch(self) -> bool:
        """Whether the kernel would take it for a livepatch: the modinfo tag `livepatch` is there, whatever its value."""
        return "livepatch" in self.modinfo

    def section_index(self, name: str) -> int | None:
        """Index of the first SHF_ALLOC section of that name, or None (kernel: find_sec())."""
        try:
            return self._alloc_sections.get(name)
        except TypeError:  # unhashable
            raise self.no_section(name) from None

    @cached_property
    def _alloc_sections(self) -> dict[str, int]:
        kept = np.flatnonzero(self.shdrs["flags"] & SHF_ALLOC).tolist()
        return {self.section_names[index]: index for index in reversed(kept)}

    @cached_property
    def extents(self) -> list[tuple[int, int, int]]:
        """Type, offset in the file and size of every section: what is asked for most, as plain numbers."""
        return list(zip(*(self.shdrs[key].tolist() for key in ("type", "offset", "size")), strict=True))

    def section_bytes(self, index: int) -> bytes:
        """The file's bytes of a section; none for SHT_NOBITS, which takes memory but no room in the file."""
        try:
            return self.bytes_at(index, 0, self.extents[index][2])
        except (IndexError, TypeError):
            raise self.no_section(index) from None

    def bytes_at(self, index: int, start: int, length: int) -> bytes:
        """Some bytes of a section; fewer where it ends before, none where start lies outside."""
        try:
            kind, offset, size = self.extents[index]
            if kind in (SHT_NOBITS, SHT_NULL) or not 0 <= start < size:
                return b""
            return self.data[offset + start : offset + min(start + length, size)]
        except (IndexError, TypeError, ValueError):  # the last of an array
            raise self.no_section(index, start, length) from None

    def rela(self, index: int) -> Array:
        """The entries of a SHT_RELA section, shape (n,), dtype RELA, in file order."""
        try:
            _, offset, size = self.extents[index]
            return self._table(RELA, size, offset)
        except (IndexError, TypeError, ValueError):  # not in the file: SHT_NOBITS
            raise self.no_section(index) from None

    def _table(self, dtype: np.dtype[Any], size: int, offset: int) -> Array:
        """The entries of a table of the file. A little-endian one is the file's own bytes, a big-endian one a copy."""
        # The one place that knows of two byte orders: behind it every table has the dtypes of elf_h.
        if self.byteorder == "little":
            return np.frombuffer(self.data, dtype, size // dtype.itemsize, offset)
        return np.frombuffer(self.data, BIG_ENDIAN[dtype], size // dtype.itemsize, offset).astype(dtype)

    @cached_property
    def rela_sections(self) -> list[int]:
        """Indices of the SHT_RELA sections, in header order."""
        return [int(i) for i in np.flatnonzero(self.shdrs["type"] == SHT_RELA) if i]

    @cached_property
    def memory_size(self) -> int:
        """Bytes of memory that its sections want, at most."""
        kept = self.shdrs[(self.shdrs["flags"] & SHF_ALLOC) != 0]
        return int(kept["size"].astype(object).sum()) + int(kept["addralign"].astype(object).sum())

    def type_name(self, number: int) -> str:
        """The psABI's name of a relocation type; the bare number where there is none."""
        try:
            return type_names(self.machine).get(number) or quoted(operator.index(number))
        except TypeError:  # no number
            return quoted(number)

    def __deepcopy__(self, memo: object) -> Self:
        return self  # it never changes: copies of a kernel share it

    def __repr__(self) -> str:
        what = f"{self.name} {self.arch}: {len(self.shdrs)} sections, {len(self.symtab)} symbols"
        return f"<ModuleFile {printable(what, keep='')}>"

    # -- the kernel's checks, in its order ----------------------------------------------------------------------------

    def bad(self, what: str, kernel: str = "", hint: str = "") -> ModuleFormatError:
        """The error for what is wrong with this file; kernel: the line that the kernel would print."""
        says = f'say "{kernel}" and refuse with ENOEXEC' if kernel else "not check this"
        return ModuleFormatError(f"{self.filename}: {what}. The kernel would {says}. {hint}".rstrip())

    def no_section(self, *asked: object) -> ModuleFormatError:
        """The error for a section that is not there, or for an argument that is no number."""
        there_are = f"its sections have the numbers 0 to {len(self.shdrs) - 1}"
        return ModuleFormatError(f"{self.filename}: nothing at {', '.join(map(quoted, asked))}; {there_are}.")

    def over(self, what: str, limit: str, kernel: str = "The kernel has no such limit.") -> ModuleFormatError:
        """The error for a file that klpteach does not read because of its size; kernel: which limit a real kernel has."""
        return ModuleFormatError(f"{self.filename}: {what}, klpteach {limit} at most. {kernel}")

    def _check_header(self) -> None:
        data = self.data
        if len(data) < 64:
            what = f"{len(data)} bytes long, an ELF header alone has 64"
            raise self.bad(what, f"Invalid ELF header len {len(data)}", CUT_OFF)
        if data[:4] != b"\x7fELF":
            hint = "A module ends in .ko, .ko.xz, .ko.gz or .ko.zst."
            raise self.bad("not an ELF file", "Invalid ELF header magic: != \\x7fELF", hint)
        self.byteorder: Literal["little", "big"] = "big" if data[5] == ELFDATA2MSB else "little"
        kind, self.machine = (int.from_bytes(data[at : at + 2], self.byteorder) for at in (16, 18))
        wanted = DATA_OF_MACHINE.get(self.machine, ELFDATA2LSB)
        if data[4] != 2 or data[5] != wanted:
            raise self._of_another_class("big" if wanted == ELFDATA2MSB else "little")
        if kind != ET_REL:
            what, hint = f"ELF type {kind}, a module is relocatable (ET_REL, 1)", "Is it a program or a shared library?"
            raise self.bad(what, f"Invalid ELF header type: {kind} != 1", hint)
        if self.machine not in ARCH_OF_MACHINE:
            what = f"made for {elf_h.machine_name(self.machine)}"
            raise self.bad(what, f"Invalid architecture in ELF header: {self.machine}", READS)
        try:
            header = _structs(self.machine, self.byteorder == "little").Elf_Ehdr.parse(data[:64])
        except ConstructError as error:
            raise self.bad(f"its ELF header cannot be parsed ({error})") from None
        self._shoff, self._shnum = header["e_shoff"], header["e_shnum"]
        self._shstrndx, shentsize = header["e_shstrndx"], header["e_shentsize"]
        if shentsize != SHDR.itemsize:
            raise self.bad(f"section headers of {shentsize} bytes, not 64", "Invalid ELF section header size")
        if self._shoff >= len(data) or self._shnum * 64 > len(data) - self._shoff:
            what = f"{self._shnum} section headers at {self._shoff:#x} do not fit into {len(data):#x} bytes"
            raise self.bad(what, "Invalid ELF section header overflow", CUT_OFF)

    def _of_another_class(self, order: Literal["little", "big"]) -> ModuleFormatError:
        """The error for a file of 32 bits, or not in the byte order of its machine's kernel, which reads it in its own."""
        kind, machine = (int.from_bytes(self.data[at : at + 2], order) for at in (16, 18))
        says = f"Invalid ELF header type: {kind} != 1" if kind != ET_REL else ""  # 256 of the other byte order
        if not says and machine not in ARCH_OF_MACHINE:
            says = f"Invalid architecture in ELF header: {machine}"
        known = self.data[5] in (ELFDATA2LSB, ELFDATA2MSB)
        made_for = f": made for {elf_h.machine_name(self.machine)}" if known else ""
        return self.bad(f"not a 64-bit {order}-endian ELF file{made_for}", says, READS)

    def _check_sections(self) -> None:
        shnum, strndx, length = self._shnum, self._shstrndx, len(self.data)
        self.shdrs = shdrs = self._table(SHDR, shnum * SHDR.itemsize, self._shoff)
        if not 0 < strndx < shnum:
            says = f"Invalid ELF section name index: {strndx} || e_shstrndx ({strndx}) >= e_shnum ({shnum})"
            raise self.bad(f"section name table index {strndx} of {shnum} sections", says)
        start, size, kind = (int(shdrs[strndx][f]) for f in ("offset", "size", "type"))
        if start + size > length:
            raise self.bad("the section name table lies outside the file", f"Invalid ELF section hdr(type {kind})")
        if not size:
            raise self.bad("the section name table is empty", "empty section name table")
        self._shstrtab = self.data[start : start + size]
        if self._shstrtab[-1]:
            says = "ELF Spec violation: section name table isn't null terminated"
            raise self.bad("the section name table has no end", says)
        if any(shdrs[0][field] for field in ("type", "size", "addr")):
            says = f"ELF Spec violation: section 0 type({shdrs[0]['type']})!=SH_NULL or non-zero len or addr"
            raise self.bad("section 0 is not empty", says)
        for index in range(1, shnum):
            self._check_section(index, length)

    def _check_section(self, index: int, length: int) -> None:
        name, kind, flags, _, start, size, link, *_ = self.shdrs[index].tolist()
        if kind in (SHT_NULL, SHT_NOBITS):
            return
        if kind == SHT_SYMTAB and not 0 < link < self._shnum:
            says = f"Invalid ELF sh_link!=SHN_UNDEF({link}) or (sh_link({link}) >= hdr->e_shnum({self._shnum})"
            raise self.bad(f"section {index} (symbol table) names section {link} as its strings", says)
        if start + size > length:
            called = _string(self._shstrtab, name)
            what = f"section {index} ({called}) ends at {start + size:#x}, the file at {length:#x}"
            raise self.bad(what, f"Invalid ELF section in module (section {index} type {kind})", CUT_OFF)
        if flags & SHF_ALLOC and name >= len(self._shstrtab):
            says = f"Invalid ELF section name in module (section {index} type {kind})"
            raise self.bad(f"section {index} has its name outside the name table", says)

    def _index_sections(self) -> None:
        tables = [i for i in range(1, self._shnum) if self.shdrs["type"][i] == SHT_SYMTAB]
        name = self.modinfo.get("name", "(missing .modinfo section or name field)")
        if not tables:
            says, hint = f"{name}: module has no symbols (stripped?)", "Strip debug sections only: strip -g."
            raise self.bad("no symbol table", says, hint)
        if self.section_index(THIS_MODULE) is None:
            what = "no .gnu.linkonce.this_module section, so no struct module"
            hint = "Is it an object file before modpost linked it (.ko, not .o)?"
            raise self.bad(what, f"{name}: No module found in object", hint)
        self.symtab_index = tables[0]
        shdr = self.shdrs[self.symtab_index]
        self.strtab_index = int(shdr["link"])
        if int(shdr["size"]) % SYM.itemsize:
            raise self.bad(f"the symbol table has {shdr['size']} bytes, not a multiple of 24")
        self.symtab = self._table(SYM, int(shdr["size"]), int(shdr["offset"]))
        self._strtab = self.section_bytes(self.strtab_index)

    # -- and what the kernel does not check: it would read or write beyond a table, so no answer of ours could be right

    def _check_what_the_kernel_does_not(self) -> None:
        if self._shnum > MAX_SECTIONS:
            takes = "The kernel takes as many as e_shnum can count, 65,535."
            raise self.over(f"{self._shnum} sections", f"reads {MAX_SECTIONS}", takes)
        if len(self.symtab) > MAX_SYMBOLS:
            raise self.over(f"{len(self.symtab)} symbols", f"reads {MAX_SYMBOLS}")
        if not len(self.symtab):
            raise self.bad("the symbol table has no entries")
        if not self._strtab or self._strtab[-1] or int(self.symtab["name"].max()) >= len(self._strtab):
            raise self.bad("a symbol has its name outside the string table")
        _ = self.symbol_names  # errors: they overlap
        self._check_sizes()
        for index in self.rela_sections:
            self._check_rela(index)

    def _check_sizes(self) -> None:
        align = self.shdrs["addralign"]
        if (align & (align - np.uint64(1))).any() or int(align.max()) > 1 << 20:
            raise self.bad("a section's alignment is no power of two up to 1 MiB")
        if sum(self.shdrs["size"][self.shdrs["type"] == SHT_RELA].tolist()) > len(self.data):
            raise self.bad("its relocation sections overlap, together they are larger than the file")
        total = self.memory_size
        if total > MAX_MEMORY:
            kernel = (
                "would refuse with ENOMEM: its"
                if total > 1 << 30 and self.arch == "x86_64"
                else "has another limit, the"
            )
            room = f"The kernel {kernel} space for all modules{', 1 GiB' if self.arch == 'x86_64' else ''}."
            raise self.over(
                f"its sections want {total:#x} bytes of memory", f"gives a module {MAX_MEMORY >> 20} MiB", room
            )

    def _check_rela(self, index: int) -> None:
        shdr = self.shdrs[index]
        where = f"section {index} ({_string(self._shstrtab, int(shdr['name']))})"
        if int(shdr["size"]) % RELA.itemsize:
            raise self.bad(f"{where} has {shdr['size']} bytes, not a multiple of 24")
        entries, target = self.rela(index), int(shdr["info"])
        if len(entries) and int(entries["sym"].max()) >= len(self.symtab):
            raise self.bad(f"{where} refers to symbol {entries['sym'].max()} of {len(self.symtab)}")
        if target >= self._shnum and shdr["flags"] & elf_h.SHF_RELA_LIVEPATCH:
            raise self.bad(f"{where} is for section {target} of {self._shnum}")
        if not len(entries) or target >= self._shnum:
            return
        size = int(self.shdrs[target]["size"])
        if self.shdrs[target]["flags"] & SHF_ALLOC and not _fits(entries, size, type_widths(self.machine, 1)):
            what = f"{where} wants to write beyond the {size} bytes of section {target}"
            raise self.bad(what, hint="It would write into whatever lies behind.")


def _fits(entries: Array, size: int, widths: Array) -> bool:
    """Whether every relocation's bytes lie inside a target section of `size` bytes."""
    offset = entries["offset"]
    if int(offset.max()) > size:  # first, so that the sum below cannot wrap around
        return False
    return bool((offset + widths[np.minimum(entries["type"], len(widths) - 1)].astype("u8") <= size).all())


@lru_cache
def _structs(machine: int, little_endian: bool) -> ELFStructs:
    structs = ELFStructs(little_endian=little_endian, elfclass=64)
    structs.create_basic_structs()
    structs.create_advanced_structs("ET_REL", ARCH_OF_MACHINE[machine], None)
    return structs


def _string(table: bytes, offset: int) -> str:
    """The string at an offset. Tables share tails, so they cannot be split at the NULs; outside, the empty string."""
    return text_of(table[offset : offset + LONGEST].partition(b"\0")[0])


def text_of(raw: bytes) -> str:
    r"""Bytes of a file as text. What is no UTF-8 is spelled out, as /dev/kmsg does, so it can be shown and written again.

    >>> text_of(b"nfsd\xff")
    'nfsd\\xff'
    """
    return raw.decode("utf-8", "backslashreplace")
