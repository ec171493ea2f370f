"""A loaded module as the kernel keeps it (struct module), and what kallsyms and /proc/modules show of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ..files.elf_h import SHF_EXECINSTR, SHN_ABS, SHN_UNDEF
from ..files.module_file import ModuleFile
from ..files.relocation_types import MASK64
from .image import Image
from .kallsyms import KallsymsRow, exported_names, kallsyms_types, livepatch_symbols, symbols_by_name, symbols_to_find
from .layout import core_symbols, is_init
from .memory import Region
from .params import param_set

UNFORMED, COMING, LIVE, GOING = "Unformed", "Loading", "Live", "Unloading"  # the words of /proc/modules
CALL_SITES = ("__mcount_loc", "__patchable_function_entries")  # where ftrace finds its calls
HALF_LOADED = "Half-loaded"  # no kernel's: of the proposal half-loaded
BEFORE_INIT = (COMING, HALF_LOADED)  # init memory is still there, and with it the whole symbol table


@dataclass(eq=False)
class Module:
    """struct module: a file, its image, and what the kernel counts and remembers about it."""

    name: str
    file: ModuleFile
    image: Image
    regions: list[Region]
    state: str = UNFORMED
    taint: str = ""
    in_sysfs: bool = False  # mod_sysfs_setup() has run: /sys/module/NAME/sections is there
    klp_alive: bool = False  # klp_module_coming() has run, klp_module_going() has not
    references: int = 0  # try_module_get() by livepatch
    holders: list[Module] = field(default_factory=list)  # modules that use this one ("used by"), oldest first
    uses: list[Module] = field(default_factory=list)
    init_rows: list[KallsymsRow] = field(default_factory=list)
    parameters: dict[str, str] = field(default_factory=dict)
    foreign: dict[tuple[str, int], int] = field(default_factory=dict)  # (section, offset) -> byte that a stranger wrote

    @property
    def parameter_types(self) -> dict[str, str]:
        """Name -> type (int, bool …) of what `module_param()` declared, from modinfo's parmtype entries."""
        entries = (value.partition(":") for key, value in self.file.modinfo_pairs if key == "parmtype")
        return {name: kind for name, _, kind in entries}

    def find_parameter(self, key: str) -> str | None:
        """The parameter's name as it was declared: - and _ are the same (parameq())."""
        return next((name for name in self.parameter_types if name.replace("-", "_") == key.replace("-", "_")), None)

    def set_parameter(self, name: str, value: str | None) -> None:
        """Errors: Refused(-EINVAL, -ERANGE) for what is no value of its type."""
        self.parameters[name] = param_set(self.parameter_types[name], value)

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

    def find_symbols(self, name: str) -> Sequence[int]:
        """Indices of the symbols of that name in symbol table order, as livepatch looks for them.

        Until its init has run its whole table is there, later only what kallsyms kept.
        """
        return symbols_to_find(self.file, self.image.arch, self.state in BEFORE_INIT).get(name, ())

    @cached_property
    def ftrace_locations(self) -> list[tuple[int, int]]:
        """(section, address) of each call that ftrace can take over: the entries of its section, by ftrace_call_adjust()."""
        file, values = self.file, self.image.symbols
        targets = dict(enumerate(file.section_names))
        # x86_64 has both: there the second is for the padding before a function.
        section = next((name for name in CALL_SITES if name in file.section_names), "")
        relas = [i for i in file.rela_sections if targets.get(int(file.shdrs["info"][i])) == section]
        entries = [(symbol, addend) for i in relas for _, _, symbol, addend in file.rela(i).tolist()]
        behind = self.image.arch.call_behind_entry
        return [(int(file.symtab["shndx"][s]), (int(values[s]) + addend + behind) & MASK64) for s, addend in entries]

    @cached_property
    def ftrace_calls(self) -> list[int]:
        """The addresses of these calls, ascending."""
        return sorted(address for _, address in self.ftrace_locations)

    def init_functions(self) -> list[KallsymsRow]:
        """The traced functions of .init.text: ftrace remembers them while any function is being traced.

        Source: kernel/trace/ftrace.c, save_ftrace_mod_rec() and ftrace_free_mem().
        """
        file, arch = self.file, self.image.arch
        freed = {section for section in range(len(file.shdrs)) if is_init(file, arch, section)}
        return [self._function_at(address) for section, address in self.ftrace_locations if section in freed]

    def _function_at(self, address: int) -> KallsymsRow:
        best = KallsymsRow(0, "T", "?")
        values, sections = self.image.symbols.tolist(), self.file.symtab["shndx"].tolist()
        for name, value, section in zip(self.file.symbol_names, values, sections, strict=True):
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
        # Where its symbols end at the latest: of one block only the text counts, else the laid out size.
        layout, one_block = self.image.layout, region.kind in ("core", "init")
        next_value = region.start + (layout.text_size if one_block else layout.sizes[region.kind])
        best, best_value = "", 0 if one_block else region.start - 1
        whole_table, kept = range(len(self.file.symtab)), core_symbols(self.file, self.image.arch)
        for index in (whole_table if self.state in BEFORE_INIT else kept)[1:]:
            value, name = int(self.image.symbols[index]), self.file.symbol_names[index]
            if not name or self.file.symtab["shndx"][index] == SHN_UNDEF:
                continue
            if best_value < value <= address:
                best, best_value = name, value
            elif address < value < next_value:
                next_value = value
        size = (next_value - best_value) & MASK64
        return f"{best}+{address - best_value:#x}/{size:#x} [{self.name}]" if best else None

    # -- what user space sees -----------------------------------------------------------------------------------------

    def kallsyms(self) -> list[KallsymsRow]:
        """The module's rows of /proc/kallsyms, in their order."""
        whole = self.state in BEFORE_INIT
        values, known = self.image.symbols.tolist(), kallsyms_types(self.file, self.image.arch, whole)
        if whole and self.file.is_livepatch:
            # The table in the init memory is shown; what is looked up late goes into the one that will stay.
            for index in livepatch_symbols(self.file):
                values[index] = int(self.file.symtab["value"][index])
        return [KallsymsRow(values[index], kind, name) for index, kind, name in known] + self.init_rows

    @cached_property
    def _index(self) -> dict[str, int]:
        """Name -> index of each section in memory; the first of a name counts."""
        named = reversed(list(enumerate(self.file.section_names)))
        return {name: index for index, name in named if index in self.image.layout.places}

    def bytes_at(self, section: str, offset: int, width: int) -> bytes | None:
        """The bytes of a section now; None where the section is not in memory."""
        if section not in self._index:
            return None
        body = self.image.bytes_of(self._index[section])
        return body[offset : offset + width].tobytes() if offset < len(body) else None

    def poke(self, section: str, offset: int, value: bytes) -> bytes | None:
        """A foreign write; the bytes before, or None where there is no such place."""
        old = self.bytes_at(section, offset, len(value))
        if old is None or len(old) < len(value):
            return None
        self.image.bytes_of(self._index[section])[offset : offset + len(value)] = np.frombuffer(value, "u1")
        changed = (i for i, (before, now) in enumerate(zip(old, value, strict=True)) if before != now)
        self.foreign |= {(section, offset + i): value[i] for i in changed}
        return old

    def is_code(self, section: str) -> bool:
        return bool(self.image.layout.flags[self._index[section]] & SHF_EXECINSTR)

    @property
    def has_foreign_code(self) -> bool:
        """Whether a byte that a stranger wrote still stands in a section that is run."""
        code = (place for place in self.foreign if self.is_code(place[0]))
        return any(self.bytes_at(*place, 1) == bytes([self.foreign[place]]) for place in code)
