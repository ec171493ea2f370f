"""A loaded module as the kernel keeps it (struct module), and what kallsyms and /proc/modules show of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np

from ..files.elf_h import SHF_ALLOC, SHF_EXECINSTR, SHF_WRITE, SHN_ABS, SHN_UNDEF, SHT_NOBITS, STB_WEAK
from ..files.module_file import ModuleFile
from .errno import EINVAL, Refused
from .image import Arch, Image, section_flags
from .layout import core_symbols, is_init
from .memory import Region

TRUE, FALSE = ("1", "Y", "y"), ("0", "N", "n")  # what kstrtobool() takes, as stories write it
UNFORMED, COMING, LIVE, GOING = "Unformed", "Loading", "Live", "Unloading"  # the words of /proc/modules
HALF_LOADED = "Half-loaded"  # no kernel's: of the proposal half-loaded


class KallsymsRow(NamedTuple):
    """One line of /proc/kallsyms of a module."""

    address: int
    type: str
    name: str


@dataclass(eq=False)
class Module:
    """struct module: a file, its image, and what the kernel counts and remembers about it."""

    name: str
    file: ModuleFile
    image: Image
    regions: list[Region]
    state: str = UNFORMED
    taint: str = ""
    klp_alive: bool = False  # klp_module_coming() has run, klp_module_going() has not
    references: int = 0  # try_module_get() by livepatch
    holders: list[Module] = field(default_factory=list)  # modules that use this one ("used by"), oldest first
    uses: list[Module] = field(default_factory=list)
    init_rows: list[KallsymsRow] = field(default_factory=list)
    parameters: dict[str, str] = field(default_factory=dict)

    @property
    def parameter_types(self) -> dict[str, str]:
        """Name -> type (int, bool …) of what `module_param()` declared, from modinfo's parmtype entries."""
        entries = (value.partition(":") for key, value in self.file.modinfo_pairs if key == "parmtype")
        return {name: kind for name, _, kind in entries}

    def set_parameter(self, key: str, value: str) -> None:
        """kernel/params.c: param_set_int(), param_set_bool(). Errors: Refused(-EINVAL) for what is no such value."""
        kind = self.parameter_types.get(key)
        if kind == "bool" and value not in (*TRUE, *FALSE):
            raise Refused(EINVAL)
        try:
            self.parameters[key] = str(int(value, 0)) if kind == "int" else value
        except ValueError:
            raise Refused(EINVAL) from None

    @property
    def refcount(self) -> int:
        return len(self.holders) + self.references

    @property
    def permanent(self) -> bool:
        """It has an init and no exit function, so it cannot be removed."""
        names = symbols_by_name(self.file)
        return "init_module" in names and "cleanup_module" not in names

    @property
    def base(self) -> int:
        """What /proc/modules shows: the core block, or the text."""
        return self.image.bases["core" if "core" in self.image.bases else "text"]

    def use(self, owner: Module) -> None:
        """ref_module(): this module uses a symbol of `owner`, which cannot go before it."""
        if owner is not self and owner not in self.uses:
            self.uses.append(owner)
            owner.holders.append(self)

    def drop_uses(self) -> None:
        """module_unload_free()."""
        for owner in self.uses:
            owner.holders.remove(self)
        self.uses.clear()

    @cached_property
    def exports(self) -> dict[str, int]:
        """Exported name -> address."""
        wanted = exported_names(self.file)
        if not wanted:
            return {}
        address = dict(zip(self.file.symbol_names, self.image.symbols.tolist(), strict=True))
        return {name: address.get(name, 0) for name in wanted}

    def find_symbol(self, name: str) -> Iterator[int]:
        """Addresses of the symbols of that name in symbol table order, as livepatch looks for them; UNDEF ones are skipped.

        While the module is loading its whole table is there, later only what kallsyms kept.
        """
        for index in symbols_by_name(self.file).get(name, ()):
            if self.file.symtab["shndx"][index] != SHN_UNDEF and (self.state == COMING or index in self._kept):
                yield int(self.image.symbols[index])

    @cached_property
    def _kept(self) -> frozenset[int]:
        return frozenset(core_symbols(self.file, self.image.arch))

    @cached_property
    def ftrace_locations(self) -> list[int]:
        """Addresses of the calls that ftrace can take over: the entries of __mcount_loc, ascending."""
        return sorted(self._mcount_entries())

    def _mcount_entries(self, init: bool | None = None) -> Iterator[int]:
        for index in self.file.rela_sections:
            target = int(self.file.shdrs["info"][index])
            if target >= len(self.file.shdrs) or self.file.section_names[target] != "__mcount_loc":
                continue
            for _, _, symbol, addend in self.file.rela(index).tolist():
                section = int(self.file.symtab["shndx"][symbol])
                if init is None or (
                    section < len(self.file.shdrs) and is_init(self.file, self.image.arch, section) == init
                ):
                    yield (int(self.image.symbols[symbol]) + addend) & 0xFFFFFFFFFFFFFFFF

    def init_functions(self) -> list[KallsymsRow]:
        """The traced functions of .init.text: ftrace remembers them while any function is being traced.

        Source: kernel/trace/ftrace.c, save_ftrace_mod_rec() and ftrace_free_mem().
        """
        return [self._function_at(address) for address in self._mcount_entries(init=True)]

    def _function_at(self, address: int) -> KallsymsRow:
        best = KallsymsRow(0, "T", "?")
        for name, value, section in zip(
            self.file.symbol_names, self.image.symbols.tolist(), self.file.symtab["shndx"].tolist(), strict=True
        ):
            if name and section not in (SHN_UNDEF, SHN_ABS) and best.address < value <= address:
                best = KallsymsRow(value, "T", name)
        return best

    def symbol_of(self, address: int) -> str | None:
        """What %pS prints for an address of this module; the size is the distance to the next symbol, not st_size.

        Source: kernel/module/kallsyms.c, find_kallsyms_symbol().
        """
        region = next((r for r in self.regions if r.start <= address < r.end), None)
        if region is None:
            return None
        best, best_value, next_value = "", -1 if region.kind == "core" else region.start - 1, self._end(region)
        for index in (
            range(1, len(self.file.symtab)) if self.state == COMING else core_symbols(self.file, self.image.arch)[1:]
        ):
            value, name = int(self.image.symbols[index]), self.file.symbol_names[index]
            if not name or self.file.symtab["shndx"][index] == SHN_UNDEF:
                continue
            if best_value < value <= address:
                best, best_value = name, value
            elif address < value < next_value:
                next_value = value
        size = (next_value - best_value) & 0xFFFFFFFFFFFFFFFF
        return f"{best}+{address - best_value:#x}/{size:#x} [{self.name}]" if best else None

    def _end(self, region: Region) -> int:
        """Where a region's symbols end at the latest: of one block only the text counts, else the laid out size."""
        sizes = self.image.layout.sizes
        return region.start + (self.image.layout.text_size if region.kind in ("core", "init") else sizes[region.kind])

    # -- what user space sees -----------------------------------------------------------------------------------------

    def kallsyms(self) -> list[KallsymsRow]:
        """The module's rows of /proc/kallsyms, in their order."""
        values = self.image.symbols.tolist()
        return [
            KallsymsRow(values[index], kind, name) for index, kind, name in kallsyms_types(self.file, self.image.arch)
        ] + self.init_rows

    def free(self) -> list[Region]:
        """Give up all memory; the freed regions."""
        freed, self.regions = self.regions, []
        return freed

    def bytes_at(self, section: str, offset: int, width: int) -> bytes | None:
        """The bytes of a section now; None where the section is not in memory."""
        for index, name in enumerate(self.file.section_names):
            if name == section and index in self.image.layout.places:
                body = self.image.bytes_of(index)
                return body[offset : offset + width].tobytes() if offset < len(body) else None
        return None

    def poke(self, section: str, offset: int, value: bytes) -> bytes | None:
        """A foreign write; the bytes before, or None where there is no such place."""
        old = self.bytes_at(section, offset, len(value))
        if old is None or len(old) < len(value):
            return None
        index = next(i for i, n in enumerate(self.file.section_names) if n == section and i in self.image.layout.places)
        self.image.bytes_of(index)[offset : offset + len(value)] = np.frombuffer(value, "u1")
        return old


# -- what depends on the file alone, found once --------------------------------------------------------------------------


@lru_cache(maxsize=64)
def symbols_by_name(file: ModuleFile) -> dict[str, list[int]]:
    """Symbol indices by name, in table order."""
    table: dict[str, list[int]] = {}
    for index, name in enumerate(file.symbol_names):
        table.setdefault(name, []).append(index)
    return table


@lru_cache(maxsize=64)
def exported_names(file: ModuleFile) -> dict[str, bool]:
    """Exported name -> whether for GPL modules only, from the __ksymtab entries."""
    labels = zip(file.symbol_names, file.symtab["shndx"].tolist(), strict=True)
    return {
        name.removeprefix("__ksymtab_"): file.section_names[section] == "__ksymtab_gpl"
        for name, section in labels
        if name.startswith("__ksymtab_") and 0 < section < len(file.shdrs)
    }


@lru_cache(maxsize=64)
def kallsyms_types(file: ModuleFile, arch: Arch) -> list[tuple[int, str, str]]:
    """(symbol index, type letter, name) of every symbol that kallsyms shows; upper case for EXPORT_SYMBOL, not for _GPL.

    Source: kernel/module/kallsyms.c, elf_type() and module_get_kallsym().
    """
    rows = []
    for index in core_symbols(file, arch):
        name = file.symbol_names[index]
        if name:
            letter = _symbol_type(file, index)
            rows.append((index, letter if exported_names(file).get(name, True) else letter.upper(), name))
    return rows


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
    return _section_type(file, section)


def _section_type(file: ModuleFile, section: int) -> str:
    flags, nobits = section_flags(file)[section], file.shdrs["type"][section] == SHT_NOBITS
    if flags & SHF_EXECINSTR:
        return "t"
    if flags & SHF_ALLOC and not nobits:
        return "d" if flags & SHF_WRITE else "r"
    return "b" if nobits else "?"
