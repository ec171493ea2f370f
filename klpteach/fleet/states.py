"""The few states that a machine of the fleet can be in, and what the model says each event does to them.

Nothing here knows a rule of livepatching: an event is a handful of commands, a Kernel runs them, and the state that it is
in afterwards is recognised by what can decide its future. A state and an event that were seen once are not run again.
"""

from __future__ import annotations

import copy
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from functools import lru_cache

from ..files.samples import open_ko
from ..model.kernel import Kernel
from .events import Cast, Effects, Event, perform
from .fingerprint import Condition, condition, fingerprint

_opened = lru_cache(maxsize=64)(open_ko)  # the machines of a fleet share the files


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
        self._kernels: list[Kernel] = []  # one in each state, put aside: copies of it go on
        self._number(self.boot())

    def boot(self) -> Kernel:
        """A fresh kernel of this table's release and proposals."""
        mix = self.proposals
        return Kernel(self.arch, self.release, mix, scenario="fleet", open_file=_opened, records_state=False)

    def follow(self, state: int, event: Event) -> Edge:
        """Where the event leads: from memory, or by asking the model."""
        if (state, event) not in self.edges:
            self.edges[state, event] = self._explore(state, event)
        return self.edges[state, event]

    def _explore(self, state: int, event: Event) -> Edge:
        if self.conditions[state].hangs:
            return Edge(state, Effects())  # klp_mutex is held for ever: no command comes back
        # A copy of a kernel shares what never changes (files, layouts, rules): see their __deepcopy__.
        kernel = copy.deepcopy(self._kernels[state])
        effects = perform(kernel, event, self.cast)
        self.commands += len(kernel.recording.steps)
        kernel.recording.steps.clear()
        return Edge(self._number(kernel), effects)

    def _number(self, kernel: Kernel) -> int:
        """The number of the state that a kernel is in; a new one's is put aside."""
        known = self._numbers.setdefault(fingerprint(kernel), len(self.conditions))
        if known == len(self.conditions):
            self.conditions.append(condition(kernel, self.cast))
            self._kernels.append(kernel)
        return known
