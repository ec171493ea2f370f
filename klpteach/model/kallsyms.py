"""What kallsyms and /proc/kallsyms know of a module's file: symbols by name, exports, type letters (kernel/module/kallsyms.c)."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ..files.elf_h import SHF_ALLOC, SHF_EXECINSTR, SHF_WRITE, SHN_ABS, SHN_LIVEPATCH, SHN_UNDEF, SHT_NOBITS, STB_WEAK
from ..files.klp import parse_symbol
from ..files.module_file import ModuleFile
from .image import Arch, section_flags
from .layout import core_symbols


class KallsymsRow(NamedTuple):
    """One line of /proc/kallsyms of a module."""

    address: int
    type: str
    name: str


@lru_cache(maxsize=64)
def symbols_by_name(file: ModuleFile) -> dict[str, list[int]]:
    """Symbol indices by name, in table order."""
    table: dict[str, list[int]] = {}
    for index, name in enumerate(file.symbol_names):
        table.setdefault(name, []).append(index)
    return table


@lru_cache(maxsize=64)
def kept_symbols(file: ModuleFile, arch: Arch) -> frozenset[int]:
    """Indices of the symbols that kallsyms keeps after the load."""
    return frozenset(core_symbols(file, arch))


@lru_cache(maxsize=64)
def symbols_to_find(file: ModuleFile, arch: Arch, whole: bool) -> dict[str, list[int]]:
    """Indices by name of the symbols that a lookup finds, in table order; UNDEF ones are skipped.

    whole: of a module whose init has not run, so that nothing has been left out yet.
    """
    defined = file.symtab["shndx"] != SHN_UNDEF
    indices = np.flatnonzero(defined).tolist() if whole else [i for i in core_symbols(file, arch) if defined[i]]
    table: dict[str, list[int]] = {}
    for index in indices:
        table.setdefault(file.symbol_names[index], []).append(index)
    return table


@lru_cache(maxsize=64)
def exported_names(file: ModuleFile) -> dict[str, bool]:
    """Exported name -> whether it is shown as for GPL modules only, from the __ksymtab entries.

    7.3 has one __ksymtab for all, and a byte a symbol in __kflagstab; is_exported() does not look there, so that kallsyms
    shows all of them in upper case.
    """
    labels = zip(file.symbol_names, file.symtab["shndx"].tolist(), strict=True)
    entries = [(name.removeprefix("__ksymtab_"), section) for name, section in labels if name.startswith("__ksymtab_")]
    names = file.section_names
    return {name: names[section] == "__ksymtab_gpl" for name, section in entries if 0 < section < len(names)}


@lru_cache(maxsize=64)
def kallsyms_types(file: ModuleFile, arch: Arch, whole: bool = False) -> list[tuple[int, str, str]]:
    """(symbol index, type letter, name) of every symbol that kallsyms shows; upper case for EXPORT_SYMBOL, not for _GPL.

    whole: of a module whose init has not run, so that nothing has been left out yet.

    Source: kernel/module/kallsyms.c, elf_type() and module_get_kallsym().
    """
    capital = {name for name, for_gpl in exported_names(file).items() if not for_gpl}
    shown = range(len(file.symtab)) if whole else core_symbols(file, arch)
    named = ((index, _symbol_type(file, index), file.symbol_names[index]) for index in shown)
    return [(index, kind.upper() if name in capital else kind, name) for index, kind, name in named if name]


@lru_cache(maxsize=64)
def livepatch_symbols(file: ModuleFile) -> tuple[int, ...]:
    """Indices of the symbols that livepatch looks up in a module, when that is there."""
    parsed = ((index, parse_symbol(file.symbol_names[index]))
              for index in np.flatnonzero(file.symtab["shndx"] == SHN_LIVEPATCH).tolist())  # fmt: skip
    return tuple(index for index, symbol in parsed if symbol and symbol.object != "vmlinux")


def _symbol_type(file: ModuleFile, index: int) -> str:
    section, info = int(file.symtab["shndx"][index]), int(file.symtab["info"][index])
    if info >> 4 == STB_WEAK:
        return "v" if info & 15 == 1 else "w"
    if section == SHN_UNDEF:
        return "u"
    if section == SHN_ABS or (section < len(file.shdrs) and file.section_names[section] == ".data..percpu"):
        return "a"
    if section >= len(file.shdrs):
        return "?"
    flags, nobits = section_flags(file)[section], file.shdrs["type"][section] == SHT_NOBITS
    if flags & SHF_EXECINSTR:
        return "t"
    if flags & SHF_ALLOC and not nobits:
        return "d" if flags & SHF_WRITE else "r"
    return "b" if nobits else "?"
