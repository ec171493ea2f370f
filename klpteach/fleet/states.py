"""The few states that a machine of the fleet can be in, and what the model says each event does to them.

Nothing here knows a rule of livepatching: an event is a handful of commands, a Kernel runs them, and the state that it is
in afterwards is recognised by what can decide its future. A state and an event that were seen once are not run again.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..files.module_file import ModuleFile
from ..files.samples import open_ko
from ..model.kernel import Kernel
from .events import Cast, Effects, Event, perform
from .fingerprint import Condition, condition, fingerprint
from .saved import Shelf


class Unwatched(Kernel):
    """A kernel whose steps keep errno and dmesg only, and whose module files are opened once for all of them."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.looking = False

    def open_file(self, file: str | os.PathLike[str] | ModuleFile) -> ModuleFile:
        return file if isinstance(file, ModuleFile) else _opened(self.ko, str(file))


@lru_cache(maxsize=64)
def _opened(folder: Path, filename: str) -> ModuleFile:
    return open_ko(folder, filename)


@dataclass(frozen=True)
class Edge:
    """Where an event leads from a state, and what it took to get there."""

    target: int
    effects: Effects


class StateTable:
    """The states of a machine under one kernel, explored by running the model, each (state, event) at most once.

    State 0 is a machine that has just booted. Errors: PolicyError, KlpteachError for what the model does not know.

    >>> table = StateTable(Cast(), "6.1")
    >>> state = 0
    >>> for event in (Event("start", "nfsd_demo"), Event("edition", "livepatch_cumul1"), Event("stop", "nfsd_demo")):
    ...     state = table.follow(state, event).target
    >>> table.follow(state, Event("start", "nfsd_demo")).effects.refused_loads
    1
    """

    def __init__(self, cast: Cast, release: str = "6.1", proposals: Iterable[str] = (), arch: str = "x86_64") -> None:
        self.cast, self.release, self.proposals, self.arch = cast, release, tuple(proposals), arch
        self.conditions: list[Condition] = []
        self.edges: dict[tuple[int, Event], Edge] = {}
        self.commands = 0  # how many the model has run
        self._numbers: dict[Hashable, int] = {}
        self._shelf = Shelf()
        self._saved: list[bytes] = []  # a kernel in each state, to go on from
        self._number(self.boot())

    def boot(self) -> Kernel:
        """A fresh kernel of this table's release and proposals."""
        return Unwatched(self.arch, self.release, self.proposals, scenario="fleet")

    def follow(self, state: int, event: Event) -> Edge:
        """Where the event leads: from memory, or by asking the model."""
        key = (state, event)
        if key not in self.edges:
            self.edges[key] = self._explore(state, event)
        return self.edges[key]

    def _explore(self, state: int, event: Event) -> Edge:
        if self.conditions[state].hangs:
            return Edge(state, Effects())  # klp_mutex is held for ever: no command comes back
        kernel = self._shelf.take(self._saved[state])
        effects = self._perform(kernel, event)
        return Edge(self._number(kernel), effects)

    def _perform(self, kernel: Kernel, event: Event) -> Effects:
        effects = perform(kernel, event, self.cast)
        self.commands += len(kernel.recording.steps)
        kernel.recording.steps.clear()
        return effects

    def _number(self, kernel: Kernel) -> int:
        """The number of the state that a kernel is in; in a new one it is put aside."""
        known = self._numbers.setdefault(fingerprint(kernel), len(self.conditions))
        if known == len(self.conditions):
            self.conditions.append(condition(kernel, self.cast))
            self._saved.append(b"" if kernel.wrecked else self._shelf.put(kernel))
        return known
