"""What livepatch writes into a module: its relocation sections, their symbols and sites (4.7 and later).

Documentation/livepatch/module-elf-format.rst; kernel/livepatch/core.c. What a livepatch patches is in klp_patch.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from .elf import ElfFile
from .elf_h import MODULE_NAME_LEN, RELA, SHF_RELA_LIVEPATCH
from .relocation_types import width_of

# sscanf(".klp.rela.%55[^.]") and sscanf(".klp.sym.%55[^.].%511[^,],%lu"): the number may be followed by anything
_SECTION = re.compile(r"\.klp\.rela\.([^.]{1,55})")
_SYMBOL = re.compile(r"\.klp\.sym\.([^.]{1,55})\.([^,]+),\s*([0-9]+)", re.ASCII)


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
    return match[1] if match and len(match[1].encode()) < MODULE_NAME_LEN else None


def parse_symbol(name: str, ksym_name_len: int = 512) -> KlpSymbol | None:
    """Object, name and position of a livepatch symbol, None where the kernel finds the name incorrectly formatted.

    Source: klp_resolve_symbols(); the name's limit (with its NUL) was 128 up to 6.0.

    >>> parse_symbol(".klp.sym.nfsd.can_modify.isra.3,2")
    KlpSymbol(object='nfsd', name='can_modify.isra.3', sympos=2)
    """
    match = _SYMBOL.match(name)
    if not match or len(match[1].encode()) >= MODULE_NAME_LEN or len(match[2].encode()) >= ksym_name_len:
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


def _site_sections(file: ElfFile) -> Iterator[tuple[int, str]]:
    """Index and name. One that lost its flag but kept its name counts too: a recorder finds it by name."""
    for index in file.rela_sections:
        name = file.section_names[index]
        if file.shdrs["flags"][index] & SHF_RELA_LIVEPATCH or name.startswith(".klp.rela"):
            yield index, name


def count_sites(file: ElfFile) -> int:
    """How many livepatch relocations a file has, by the sizes of their sections: none of them is looked at."""
    return sum(file.extents[index][2] // RELA.itemsize for index, _ in _site_sections(file))


def sites(file: ElfFile) -> Iterator[Site]:
    """Every livepatch relocation site of a file, in the order in which the kernel writes them (x86_64)."""
    for index, name in _site_sections(file):
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
