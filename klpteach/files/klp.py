"""What makes a module file a livepatch: the names of its relocation sections and symbols, and its struct klp_patch.

Documentation/livepatch/module-elf-format.rst; kernel/livepatch/core.c; include/linux/livepatch.h (4.7 and later).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from .elf import ElfFile
from .elf_h import SHF_RELA_LIVEPATCH, SHF_WRITE, SHN_UNDEF
from .relocation_types import POINTER_TYPE, width_of

# sscanf(".klp.rela.%55[^.]") and sscanf(".klp.sym.%55[^.].%511[^,],%lu"): the number may be followed by anything
_SECTION = re.compile(r"\.klp\.rela\.([^.]{1,55})")
_SYMBOL = re.compile(r"\.klp\.sym\.([^.]{1,55})\.([^,]+),\s*([0-9]+)", re.ASCII)

KLP_OBJECT_SIZE, KLP_FUNC_SIZE = 168, 152  # sizeof on x86_64, the same on 6.1 and 6.12
KLP_PATCH_OBJS, KLP_PATCH_STATES, KLP_PATCH_REPLACE = 8, 16, 24  # offsetof(struct klp_patch, …)
KLP_STATE_SIZE = 24  # struct klp_state: id, version, data


class KlpSymbol(NamedTuple):
    """A parsed `.klp.sym.OBJECT.NAME,POSITION`."""

    object: str
    name: str
    sympos: int


def section_object(name: str) -> str | None:
    """The object of a livepatch relocation section, None where the kernel finds the name incorrectly formatted.

    >>> section_object(".klp.rela.nfsd..text"), section_object(".klp.relanfsd.text")
    ('nfsd', None)
    """
    match = _SECTION.match(name)
    return match[1] if match else None


def parse_symbol(name: str, ksym_name_len: int = 512) -> KlpSymbol | None:
    """Object, name and position of a livepatch symbol, None where the kernel finds the name incorrectly formatted.

    Source: klp_resolve_symbols(); the name's limit (with its NUL) was 128 up to 6.0.

    >>> parse_symbol(".klp.sym.nfsd.can_modify.isra.3,2")
    KlpSymbol(object='nfsd', name='can_modify.isra.3', sympos=2)
    """
    match = _SYMBOL.match(name)
    if not match or len(match[2]) >= ksym_name_len:
        return None
    return KlpSymbol(match[1], match[2], int(match[3]) & 0xFFFFFFFFFFFFFFFF)


def livepatch_sections(file: ElfFile) -> list[int]:
    """Indices of the sections that livepatch will write later: SHT_RELA with SHF_RELA_LIVEPATCH, in header order."""
    return [i for i in file.rela_sections if file.shdrs["flags"][i] & SHF_RELA_LIVEPATCH]


class Site(NamedTuple):
    """One livepatch relocation: the bytes at `section`+`offset` will be written when `object` is there."""

    section: str
    offset: int
    width: int
    type: int
    object: str
    symbol: str
    addend: int

    @property
    def key(self) -> str:
        return f"{self.section}+{self.offset:#x}"


def sites(file: ElfFile) -> Iterator[Site]:
    """Every livepatch relocation site of a file, in the order in which the kernel writes them (x86_64).

    A site whose section lost its flag but kept its name counts too: a recorder finds it by name.
    """
    for index in file.rela_sections:
        name = file.section_names[index]
        if not (file.shdrs["flags"][index] & SHF_RELA_LIVEPATCH or name.startswith(".klp.rela")):
            continue
        target = int(file.shdrs["info"][index])
        section = file.section_names[target] if target < len(file.section_names) else "?"
        object = section_object(name) or "?"
        for offset, kind, symbol, addend in file.rela(index).tolist():
            width = width_of(file.machine, kind)
            yield Site(section, offset, width, kind, object, file.symbol_names[symbol], addend)


def placed_sites(file: ElfFile) -> Iterator[tuple[int, Site]]:
    """(section index, site) of each livepatch site; of sections with one name the first is meant."""
    index = {name: number for number, name in reversed(list(enumerate(file.section_names)))}
    return ((index[site.section], site) for site in sites(file) if site.section in index)


# -- struct klp_patch -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class KlpFuncInfo:
    """One struct klp_func: the function old_name of the object is replaced; its new code stands at section+offset."""

    old_name: str
    new_section: int
    new_offset: int
    old_sympos: int


@dataclass(frozen=True)
class KlpObjectInfo:
    """One struct klp_object: name is None for vmlinux; has_funcs is False where the funcs pointer is NULL."""

    name: str | None
    funcs: tuple[KlpFuncInfo, ...]
    has_funcs: bool = True


@dataclass(frozen=True)
class KlpPatchInfo:
    """One struct klp_patch, as its author declared it, and the section and offset where it stands in the file."""

    objects: tuple[KlpObjectInfo, ...]
    replace: bool
    states: Mapping[int, int]  # id -> version of the system states it changes
    place: tuple[int, int] = field(compare=False)


class _Pointers:
    """The 64-bit absolute relocations of a file: what a pointer in its data points to, before anything is loaded."""

    def __init__(self, file: ElfFile) -> None:
        self.file = file
        self.at: dict[tuple[int, int], tuple[int, int]] = {}
        for index in file.rela_sections:
            target = int(file.shdrs["info"][index])
            if target >= len(file.shdrs):
                continue
            entries = file.rela(index)
            for offset, _, symbol, addend in entries[entries["type"] == POINTER_TYPE[file.machine]].tolist():
                self.at[target, offset] = (symbol, addend)

    def place(self, where: tuple[int, int]) -> tuple[int, int] | None:
        """(section, offset) that the pointer at (section, offset) points to; None where it does not stay in the file."""
        if where not in self.at:
            return None
        symbol, addend = self.at[where]
        entry = self.file.symtab[symbol]
        section = int(entry["shndx"])
        if section == SHN_UNDEF or section >= len(self.file.shdrs):
            return None
        return section, int(entry["value"]) + addend

    def string(self, where: tuple[int, int]) -> str | None:
        place = self.place(where)
        if place is None:
            return None
        text = self.file.section_bytes(place[0])[max(place[1], 0) :]
        return text.partition(b"\0")[0].decode("utf-8", "replace")


def read_klp_patch(file: ElfFile) -> KlpPatchInfo | None:
    """Find struct klp_patch by its first member, mod: an absolute relocation against __this_module outside of it.

    All its pointers are zero in the file and carried by relocations, so the arrays are walked by following those; an
    array ends where an element has none. Other structures begin with a pointer to the module too (a parameter, a file's
    operations), but none goes on like a patch. Returns None for a module that declares no patch.
    """
    pointers = _Pointers(file)
    for section, offset in _owned_structures(file, pointers):
        objs = pointers.place((section, offset + KLP_PATCH_OBJS))
        objects = tuple(_objects(pointers, objs)) if objs else ()
        if any(obj.has_funcs for obj in objects):
            replace = file.section_bytes(section)[offset + KLP_PATCH_REPLACE : offset + KLP_PATCH_REPLACE + 1]
            states = pointers.place((section, offset + KLP_PATCH_STATES))
            declared = dict(_states(file, states)) if states else {}
            return KlpPatchInfo(objects, bool(replace.strip(b"\0")), declared, (section, offset))
    return None


def _owned_structures(file: ElfFile, pointers: _Pointers) -> Iterator[tuple[int, int]]:
    """Places in writable sections that hold a pointer to the module itself; a patch has list heads, so it is writable."""
    this_module = file.section_index(".gnu.linkonce.this_module")
    for (section, offset), (symbol, _) in sorted(pointers.at.items()):
        named = file.symbol_names[symbol] == "__this_module" or int(file.symtab["shndx"][symbol]) == this_module
        if named and section != this_module and file.shdrs["flags"][section] & SHF_WRITE:
            yield section, offset


def _states(file: ElfFile, at: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """struct klp_state[]; an entry with id 0 ends it."""
    section, offset = at
    body = file.section_bytes(section)
    while number := int.from_bytes(body[offset : offset + 8], "little"):
        yield number, int.from_bytes(body[offset + 8 : offset + 12], "little")
        offset += KLP_STATE_SIZE


def _objects(pointers: _Pointers, at: tuple[int, int]) -> Iterator[KlpObjectInfo]:
    section, offset = at
    while (section, offset) in pointers.at or (section, offset + 8) in pointers.at:
        funcs = pointers.place((section, offset + 8))
        name = pointers.string((section, offset))
        yield KlpObjectInfo(name, tuple(_funcs(pointers, funcs)) if funcs else (), funcs is not None)
        offset += KLP_OBJECT_SIZE


def _funcs(pointers: _Pointers, at: tuple[int, int]) -> Iterator[KlpFuncInfo]:
    section, offset = at
    body = pointers.file.section_bytes(section)
    while (section, offset) in pointers.at:
        new_section, new_offset = pointers.place((section, offset + 8)) or (0, 0)
        sympos = int.from_bytes(body[offset + 16 : offset + 24], "little")
        yield KlpFuncInfo(pointers.string((section, offset)) or "", new_section, new_offset, sympos)
        offset += KLP_FUNC_SIZE
