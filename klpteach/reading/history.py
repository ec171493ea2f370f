"""What became of every module and of every relocation site, read off the steps of a recording.

A recording says what was seen after each command. Here the same is told along time: from when to when a module was
loaded and where (loads), for each site which load of its target the bytes are from (sites), how its sum comes about (sums),
and where the calls of ppc64le lead (calls, stubs). What was not looked at stays unknown.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

from ..model.recording import Recording
from .calls import call_at
from .loads import Files, Load
from .sites import Sites
from .steps import nop_line
from .stubs import StubTable, stub_tables
from .sums import Sum, sum_at


class History(Sites):
    """A recording read along time; computed once, asked often. files: file name -> ModuleFile (default: module_files())."""

    def __init__(self, recording: Recording, files: Files | None = None) -> None:
        super().__init__(recording, files)
        self._stubs: dict[str, list[StubTable | None]] = {}
        self._failing: dict[int, str | None] = {}
        self.loads = [self.placed(self._placed_by_val(load)) for load in self.loads]

    def _placed_by_val(self, load: Load) -> Load:
        """Where a refused load would have been: the printed val gives S, and an earlier load how far S is into the module.

        Only where a module is one block (before 6.4); there all of it moves together.
        """
        found = self.not_zero[load.first] if load.refused and load.base is None and self.release < (6, 4) else None
        wanted = sum_at(self, found[0], load.first) if found else None
        if found is None or wanted is None:
            return load
        earlier = [one for one in self.loads if one.module == load.module and one.first < load.first]
        for base, i in ((one.base, i) for one in earlier if one.base is not None for i in one.steps(self.recording)):
            before = sum_at(self, found[0], i)
            if before and before.S_step == i:
                return replace(load, base=base + wanted.S - before.S, from_val=True)
        return load

    def failing(self, step: int) -> str | None:
        """The site at which a load was refused: the first of its type not zero (x86_64), or the one it names."""
        if step not in self._failing:
            refused = self.not_zero[step]
            self._failing[step] = refused[0] if refused else self._without_nop(step)
        return self._failing[step]

    def _without_nop(self, step: int) -> str | None:
        """The site of the call that the kernel complained about: the word after it is at symbol + offset."""
        said = nop_line(self.recording[step])
        start = self.function_address(said.patch, said.symbol, step) if said else None
        if said is None or start is None:
            return None
        found = ((key, call_at(self, key, step)) for key in self.sites_in(said.patch))
        return next((key for key, call in found if call and call.address == start + said.offset - 4), None)

    def function_address(self, module: str, function: str, step: int) -> int | None:
        """Where a function of a module is: as /proc/kallsyms said at a step of this load, else as the module file says."""
        seen, file = self.symbol_address(module, function, step), self.files.get(f"{module}.ko")
        if seen:
            return seen[0]
        if file is None or function not in file.symbol_names:
            return None
        row, sections = file.symtab[file.symbol_names.index(function)], dict(enumerate(file.section_names))
        place = self.section_address(module, sections.get(int(row["shndx"]), ""), step)
        return place[0] + int(row["value"]) if place else None

    def sum_at(self, key: str, step: int) -> Sum | None:
        """S + A - P for a site as of a step, see sums.sum_at()."""
        return sum_at(self, key, step)

    def stubs(self, module: str, step: int) -> StubTable | None:
        """A module's table of stubs after a step, None where there is none or nobody looked."""
        if module not in self._stubs:
            self._stubs[module] = stub_tables(self, module)
        return self._stubs[module][step]

    def stubs_after(self, step: int) -> dict[str, StubTable]:
        """Every table that shows the outcome of a step: livepatch -> table."""
        seen = self.observed_at(step)
        return {name: table for name in self.with_stubs if (table := self.stubs(name, seen))}

    def stubs_before(self, module: str, step: int) -> StubTable | None:
        """The table at the last look before a step, of the same load of the module."""
        return next((table for i in self.back_from(module, step)[1:] if (table := self.stubs(module, i))), None)

    @cached_property
    def with_stubs(self) -> list[str]:
        """The livepatches that have a table of stubs."""
        names = dict.fromkeys(name for step in self.recording for name in step.stubs or {})
        return [name for name in names if self.sites_in(name) or name in self.objects]
