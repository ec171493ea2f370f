"""The few states that a machine of the fleet can be in, and what the model says each event does to them.

Nothing here knows a rule of livepatching: an event is a handful of commands, a Kernel runs them, and the state that it is
in afterwards is recognised by what can decide its future. A state and an event that were seen once are not run again.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass

from .fleetevents import Cast, Effects, Event, perform
from .fleetprints import Condition, condition, fingerprint
from .kernel import Kernel
from .recording import Step

RESTING = 100  # kernels


class Unwatched(Kernel):
    """A kernel whose steps keep the command's errno and nothing else: nobody looks at its memory in between."""

    def _snapshot(self, step: Step) -> None:
        pass


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
        self._parents: list[tuple[int, Event] | None] = []
        self._numbers: dict[Hashable, int] = {}
        self._resting: dict[int, list[Kernel]] = {}  # kernels that stand in a state, to go on from
        self._number(self.boot(), None)

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
        kernel = self._kernel_at(state)
        effects = self._perform(kernel, event)
        return Edge(self._number(kernel, key=(state, event)), effects)

    def _kernel_at(self, state: int) -> Kernel:
        """A kernel in that state: one that rests there, or a new one taken along the way on which the state was found."""
        if resting := self._resting.get(state):
            return resting.pop()
        kernel = self.boot()
        for event in self._way_to(state):
            self._perform(kernel, event)
        return kernel

    def _rest(self, state: int, kernel: Kernel) -> None:
        """Keep the kernel where it stands, up to RESTING of them: each holds the memory of its modules."""
        self._resting.setdefault(state, []).append(kernel)
        if sum(map(len, self._resting.values())) > RESTING:
            fullest = max(self._resting, key=lambda at: len(self._resting[at]))
            self._resting[fullest].pop(0)

    def _way_to(self, state: int) -> list[Event]:
        way = []
        while (parent := self._parents[state]) is not None:
            state, event = parent
            way.append(event)
        return way[::-1]

    def _perform(self, kernel: Kernel, event: Event) -> Effects:
        before = len(kernel.recording.steps)
        effects = perform(kernel, event, self.cast)
        self.commands += len(kernel.recording.steps) - before
        return effects

    def _number(self, kernel: Kernel, key: tuple[int, Event] | None) -> int:
        known = self._numbers.setdefault(fingerprint(kernel), len(self.conditions))
        if known == len(self.conditions):
            self.conditions.append(condition(kernel, self.cast))
            self._parents.append(key)
        if not kernel.wrecked:
            kernel.recording.steps.clear()
            self._rest(known, kernel)
        return known
