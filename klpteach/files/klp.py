"""What livepatch writes into a module: its relocation sections, their symbols and sites (4.7 and later).

Documentation/livepatch/module-elf-format.rst; kernel/livepatch/core.c. What a livepatch patches is in klp_patch.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from .elf import ElfFile
from .elf_h import MODULE_NAME_LEN, RELA, SHF_ALLOC, SHF_RELA_LIVEPATCH, SHN_LIVEPATCH
from .relocation_types import width_of

# sscanf(".klp.rela.%55[^.]") and sscanf(".klp.sym.%55[^.].%511[^,],%lu"): the number may be followed by anything
_SECTION = re.compile(r"\.klp\.rela\.([^.]{1,55})")
_NOTES = "__klp_relocs"  # klp-build's notes for objtool, which makes the real sections of them; nobody reads them later
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


def is_module_name(name: str) -> bool:
    """Whether a module can have that name; the kernel compares it with an object's (kpatch and people write NAME.ko).

    >>> is_module_name("sctp"), is_module_name("sctp.ko"), is_module_name("nfs-layout")
    (True, False, False)
    """
    return not re.search(r"\.ko$|[-,/]", name)


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


def zero_sites(file: ElfFile) -> dict[int, list[int]]:
    """Sections that the loader writes at once with the value of livepatch symbols, which is 0: index -> the entries.

    simplify_symbols() passes over SHN_LIVEPATCH, and only in a section with SHF_RELA_LIVEPATCH is the symbol looked up before
    its entries are applied. Nobody writes these again.

    >>> from klpteach.files.samples import ko_dir, open_ko
    >>> flagless = open_ko(ko_dir(), "livepatch_nfsd_demo+section-not-livepatch.ko")
    >>> [(flagless.section_names[index], len(entries)) for index, entries in zero_sites(flagless).items()]
    [('.klp.rela.nfsd_demo..text', 6)]
    """
    found = {}
    for index in file.rela_sections:
        flags, target = int(file.shdrs["flags"][index]), int(file.shdrs["info"][index])
        kept = target < len(file.shdrs) and int(file.shdrs["flags"][target]) & SHF_ALLOC
        if kept and not flags & SHF_RELA_LIVEPATCH and not file.section_names[target].startswith(_NOTES):
            entries = file.rela(index)
            hit = (file.symtab["shndx"][entries["sym"]] == SHN_LIVEPATCH) & (entries["type"] != 0)
            if hit.any():
                found[index] = hit.nonzero()[0].tolist()
    return found


def count_sites(file: ElfFile) -> int:
    """How many livepatch relocations a file has, by the sizes of their sections: none of them is looked at."""
    return sum(file.extents[index][2] // RELA.itemsize for index, _ in _site_sections(file))


def sites(file: ElfFile) -> Iterator[Site]:
    """Every livepatch relocation site of a file, in the order in which the kernel writes them (x86_64)."""
    return _sites_of(file, _site_sections(file))


def waiting_sites(file: ElfFile) -> Iterator[Site]:
    """The same without the sections that lost their flag: what livepatch will indeed write."""
    return _sites_of(file, [(index, file.section_names[index]) for index in livepatch_sections(file)])


def _sites_of(file: ElfFile, sections: Iterable[tuple[int, str]]) -> Iterator[Site]:
    for index, name in sections:
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
