"""All machines of the fleet, day by day: a machine is the number of its state, an event a look-up in a table."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from .days import Kind, Year, kinds
from .events import Effects, Event
from .fingerprint import Condition
from .fleet import Fleet, Mix, Tally
from .states import StateTable

Array = np.ndarray[Any, np.dtype[Any]]
UNKNOWN = -1


class Transitions:
    """What one event does, as arrays over the states: the next state, and how often it happened in each."""

    def __init__(self, table: StateTable, event: Event) -> None:
        self.table, self.event = table, event
        self.next: Array = np.full(256, UNKNOWN, np.intp)
        self.count: Array = np.zeros(256, np.int64)
        self.refuses: Array = np.zeros(256, bool)

    def after(self, states: Array) -> Array:
        """The next state of each machine, by its state now. Where an entry is missing, the model is asked."""
        while (size := len(self.next)) < len(self.table.conditions):
            self.next = np.pad(self.next, (0, size), constant_values=UNKNOWN)
            self.count, self.refuses = (np.pad(array, (0, size)) for array in (self.count, self.refuses))
        after = self.next[states]
        if len(after) and after.min() == UNKNOWN:
            for state in np.unique(states[after == UNKNOWN]).tolist():
                edge = self.table.follow(state, self.event)
                self.next[state], self.refuses[state] = edge.target, edge.effects.refused_loads > 0
            after = self.next[states]
        self.count += np.bincount(states, minlength=len(self.count))
        return after

    def effects(self) -> Array:
        """The sum of what it did: one number a field of Effects."""
        seen = np.flatnonzero(self.count)
        each = [self.table.follow(state, self.event).effects for state in seen.tolist()]
        total: Array = self.count[seen] @ np.array(each, np.int64).reshape(-1, len(Effects._fields))
        return total


class Meaning:
    """What the states mean, as arrays over them; down[state, wanted]: something that somebody needs is not there."""

    def __init__(self, table: StateTable) -> None:
        columns = [np.array(column) for column in zip(*table.conditions, strict=True)]
        over = dict(zip(Condition._fields, columns, strict=True))
        loaded, patched, wanted = over["loaded"], over["patched"], np.arange(1 << len(table.cast.targets))
        self.damaged, self.hangs = over["damaged"], over["hangs"]
        self.down: Array = wanted[None, :] & ~loaded[:, None] != 0
        self.unpatched: Array = loaded & ~patched != 0


class Walk:
    """A fleet under one mix of proposals, day by day.

    state[machine]: number of its state in the table. wanted[machine]: mask of the targets that somebody needs there now.
    edition[machine]: which edition it has taken last, -1 for none yet.
    """

    def __init__(self, fleet: Fleet, year: Year, mix: Mix) -> None:
        self.fleet, self.year, self.cast = fleet, year, fleet.cast
        self.table = StateTable(fleet.cast, fleet.release, mix, fleet.arch)
        self.transitions: dict[Event, Transitions] = {}
        self.state: Array = np.zeros(fleet.machines, np.intp)
        self.edition: Array = np.full(fleet.machines, -1, np.int8)
        uses = np.array([self._mask(c.uses) for c in fleet.customers], np.int8)
        self.wanted: Array = uses[year.owner]
        self.missing = list(dict.fromkeys(customer.missing for customer in fleet.customers))
        groups = np.array([self.missing.index(customer.missing) for customer in fleet.customers], np.int8)
        self.hardware: Array = groups[year.owner]  # hardware[machine]: which of self.missing it lacks
        self.saw_refusal: Array = np.zeros(fleet.machines, bool)
        self.saw_unpatched: Array = np.zeros(fleet.machines, bool)
        self.place = self._place(np.arange(fleet.machines))  # place[machine]: (state, wanted, edition) in one number
        self.present: Array = np.bincount(self.place, minlength=3 << len(self.cast.targets))  # machines by place
        self.days_in: Array = np.zeros_like(self.present)  # machine-days by place
        self._marks: Array = np.zeros(fleet.machines, bool)
        self.touched: list[Array] = []  # machines to which something has happened since settle()
        self.crashes = self.repairs = 0
        self._kinds = [kind for kind in kinds(fleet) if len(year.events[kind][1])]
        self._meaning = Meaning(self.table)
        self.start(np.arange(fleet.machines))

    def _mask(self, targets: Iterable[str]) -> int:
        return sum(self.cast.bit(target) for target in set(targets))

    # -- what happens -------------------------------------------------------------------------------------------------

    def live(self, day: int) -> None:
        """One day: editions, then every kind of event, crashes, repairs; then everyone is counted."""
        for number in np.flatnonzero((self.year.editions == day).any(axis=1)).tolist():
            machines = np.flatnonzero(self.year.editions[number] == day)
            self.edition[machines] = number % 2
            self.take_edition(machines)
        for kind in self._kinds:
            if len(machines := self.year.on(kind, day)):
                self.happens(kind, machines)
        self.settle()
        self.crash(day)
        self.repair(day)
        self.settle()
        self.days_in += self.present

    def happens(self, kind: Kind, machines: Array) -> None:
        """One kind of event, on all the machines that have it today."""
        if kind.what == "reboot":
            self.reboot(machines)
        elif kind.what in ("hotfix", "damaged"):
            self.everywhere(kind.what, self.cast.hotfix, machines)
        elif kind.what in ("start", "stop"):
            bit, there = self.cast.bit(kind.module), kind.what == "stop"
            machines = machines[(self.wanted[machines] & bit != 0) == there]  # a visit ends, or begins
            self.wanted[machines] ^= bit
            self.event(Event(kind.what, kind.module), machines)
        else:
            in_use = self.wanted[machines] & self.cast.bit(kind.module) != 0
            self.reload(kind, machines[in_use])
            if kind.what == "reload-failing":
                self.event(Event("fail", kind.module), machines[~in_use])

    def reload(self, kind: Kind, machines: Array) -> None:
        """rmmod and modprobe; with another module in between, or with a first try that fails by itself."""
        self.event(Event("stop", kind.module), machines)
        if kind.what == "reload-failing":
            self.event(Event("fail", kind.module), machines)
        self.event(Event("start-moved" if kind.what == "reload-moved" else "start", kind.module), machines)

    def event(self, event: Event, machines: Array) -> None:
        """The model's answer for each of the machines."""
        if not len(machines):
            return
        if event not in self.transitions:
            self.transitions[event] = Transitions(self.table, event)
        before = self.state[machines]
        self.state[machines] = self.transitions[event].after(before)
        self.saw_refusal[machines] |= self.transitions[event].refuses[before]
        self.touched.append(machines)

    def everywhere(self, kind: str, module: str, machines: Array) -> None:
        """A livepatch is loaded: what it finds depends on the hardware of each customer's machines."""
        hardware = self.hardware[machines]
        for number, missing in enumerate(self.missing):
            self.event(Event(kind, module, missing), machines[hardware == number])

    def take_edition(self, machines: Array) -> None:
        """Load the edition that each of them has taken last."""
        for number, module in enumerate(self.cast.editions):
            self.everywhere("edition", module, machines[self.edition[machines] == number])

    def start(self, machines: Array) -> None:
        """Load what is wanted there."""
        for target in self.cast.targets:
            self.event(Event("start", target), machines[self.wanted[machines] & self.cast.bit(target) != 0])

    def reboot(self, machines: Array) -> None:
        """A fresh kernel, the modules in use, the edition. A hotfix is not in the image and is gone."""
        self.state[machines] = 0
        self.start(machines)
        self.take_edition(machines)

    def crash(self, day: int) -> None:
        """Where overwritten code is in force it may run; then the machine goes down and comes up again."""
        if self._somebody(self.meaning().damaged):
            machines = np.flatnonzero(self.meaning().damaged[self.state])
            chance = np.random.default_rng((self.fleet.seed, 2_000, day)).random(self.fleet.machines)
            machines = machines[chance[machines] < self.fleet.crash]
            self.crashes += len(machines)
            self.reboot(machines)

    def repair(self, day: int) -> None:
        """Every care_days somebody looks: livepatches are withdrawn, what is missing is loaded, and the livepatch again."""
        if not self._somebody(self.meaning().down):
            return
        first, step = day % self.fleet.care_days, self.fleet.care_days
        down = np.repeat(self.meaning().down, 3)  # by place, as _place() counts
        machines = first + step * np.flatnonzero(down[self.place[first::step]])
        if not len(machines):
            return
        self.repairs += len(machines)
        hanging = self.meaning().hangs[self.state[machines]]
        alive = machines[~hanging]
        self.event(Event("withdraw"), alive)
        self.start(alive)
        self.take_edition(alive)
        still = self.meaning().down[self.state[alive], self.wanted[alive]]
        self.reboot(np.concatenate((machines[hanging], alive[still])))

    # -- what is counted ----------------------------------------------------------------------------------------------

    def meaning(self) -> Meaning:
        """Of the states that the model has found so far; worked out anew when there are more."""
        if len(self._meaning.hangs) < len(self.table.conditions):
            self._meaning = Meaning(self.table)
        return self._meaning

    def _place(self, machines: Array) -> Array:
        place: Array = (self.state[machines] << len(self.cast.targets)) + self.wanted[machines]
        return place * 3 + self.edition[machines] + 1

    def settle(self) -> None:
        """Bring `present` up to date: how many machines are in each place."""
        # A place is (state, wanted, edition) as one number. On most days little happens to most machines, so the count is
        # corrected by those that were touched: out of their old places, into the new ones. Counting all of them each day
        # would be the whole cost of a year. The arrays grow first, since the model may have found new states today.
        if not self.touched:
            return
        for group in self.touched:  # each machine once, in order: marks in an array are quicker here than sorting
            self._marks[group] = True
        machines = np.flatnonzero(self._marks)
        self._marks[machines] = False
        self.touched.clear()
        size = 3 * len(self.table.conditions) << len(self.cast.targets)
        self.present, self.days_in = (np.pad(a, (0, size - len(a))) for a in (self.present, self.days_in))
        self.present -= np.bincount(self.place[machines], minlength=size)
        self.place[machines] = self._place(machines)
        self.present += np.bincount(self.place[machines], minlength=size)
        if self.meaning().unpatched.any():
            self.saw_unpatched[machines] |= self.meaning().unpatched[self.state[machines]]

    def _somebody(self, which: Array) -> bool:
        """Whether any machine is in one of these states: which[state], or which[state, wanted]."""
        here = self.present.reshape(-1, 1 << len(self.cast.targets), 3).sum(axis=2)[: len(which)]
        return bool((here * (which if which.ndim == 2 else which[:, None])[: len(here)]).any())

    def tally(self) -> Tally:
        """The year in numbers."""
        effects = sum((one.effects() for one in self.transitions.values()), np.zeros(len(Effects._fields), np.int64))
        answers = dict(zip(Effects._fields, effects.tolist(), strict=True))
        return Tally(
            self.table.proposals, self.fleet.machines, self.fleet.days, **answers, **self._machine_days(),
            crashes=self.crashes + answers["oopses"], repairs=self.repairs,
            machines_refused=int(self.saw_refusal.sum()), machines_unpatched=int(self.saw_unpatched.sum()),
            unpatched_at_end=int(self.meaning().unpatched[self.state].sum()),
            states=len(self.table.conditions), commands=self.table.commands,
        )  # fmt: skip

    def _machine_days(self) -> dict[str, int]:
        """The machine-days of each state, times what the state means."""
        days = dict.fromkeys(("down", "unpatched", "behind", "overwritten", "unneeded", "pinned", "stale"), 0)
        down = self.meaning().down
        for place in np.flatnonzero(self.days_in).tolist():
            rest, edition = divmod(place, 3)
            state, wanted = divmod(rest, 1 << len(self.cast.targets))
            now, count = self.table.conditions[state], int(self.days_in[place])
            if down[state, wanted]:
                days["down"] += count
            days["unpatched"] += count * (now.loaded & ~now.patched != 0)
            days["behind"] += count * (now.edition != edition - 1)
            days["overwritten"] += count * now.damaged
            days["unneeded"] += count * (now.loaded & ~wanted).bit_count()
            days["pinned"] += count * now.pinned.bit_count()
            days["stale"] += count * now.stale.bit_count()
        return {f"{what}_days": count for what, count in days.items()}
