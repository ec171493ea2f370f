"""The fleet's calendar: who does what on which day, drawn once from the seed and the same for every proposal.

Machines are numbers; each kind of customer has a range of them. Each machine has at most one event of a kind a day.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .fleet import MONTH, Customer, Fleet

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Kind:
    """A kind of event: what is done ("reboot", "edition", "reload" …), and to which module."""

    what: str
    module: str = ""


@dataclass(frozen=True)
class Year:
    """The calendar. events: kind -> (first[day], machines): on that day it happens to machines[first[day]:first[day+1]].

    editions[number, machine]: the day on which the machine takes that edition, or -1. owner: machine -> customer number.
    """

    events: dict[Kind, tuple[Array, Array]]
    editions: Array
    owner: Array

    def on(self, kind: Kind, day: int) -> Array:
        """The machines to which it happens on that day."""
        first, machines = self.events[kind]
        return machines[first[day] : first[day + 1]]


def calendar(fleet: Fleet) -> Year:
    """Draw the calendar. The same fleet gives the same calendar; another proposal changes nothing in it.

    >>> year = calendar(Fleet(machines=50, days=10))
    >>> year.owner.tolist().count(1)
    20
    """
    ends = np.rint(np.cumsum([c.share for c in fleet.customers]) * fleet.machines).astype(int)
    starts = np.concatenate(([0], ends[:-1]))
    events = {}
    for number, kind in enumerate(kind for kind in kinds(fleet) if kind.what != "stop"):
        rng = np.random.default_rng((fleet.seed, number))
        chances = [_rate(fleet, customer, kind) / MONTH for customer in fleet.customers]
        ranges = zip(chances, starts.tolist(), ends.tolist(), strict=True)
        parts = [_draw(rng, chance, fleet.days, start, end) for chance, start, end in ranges]
        events[kind] = _by_day(np.concatenate(parts), fleet)
        if kind.what == "start":
            # A visit ends after a day or more, after visit_days on average.
            each = zip(parts, fleet.customers, strict=True)
            lengths = [rng.geometric(1 / customer.visit_days, len(part)) for part, customer in each]
            visits, length = np.concatenate(parts), np.concatenate(lengths)
            events[Kind("stop", kind.module)] = _by_day(visits + np.outer(length, (1, 0)), fleet)
    return Year(events, _editions(fleet, starts, ends), np.repeat(np.arange(len(ends)), ends - starts))


def kinds(fleet: Fleet) -> list[Kind]:
    """Every kind of event, in the order in which they happen within a day."""
    each = ("stop", "start", "reload", "reload-moved", "reload-failing")
    once = (Kind("reboot"), Kind("hotfix"), Kind("damaged"))
    return [*once, *(Kind(what, target) for what in each for target in fleet.cast.targets)]


def _rate(fleet: Fleet, customer: Customer, kind: Kind) -> float:
    """How often it happens to one of the customer's machines in 30 days, on average."""
    used, visited = kind.module in (*customer.uses, *customer.on_demand), kind.module in customer.on_demand
    return {
        "reboot": customer.reboots,
        "hotfix": customer.hotfixes * (1 - fleet.damaged),
        "damaged": customer.hotfixes * fleet.damaged,
        "start": customer.visits * visited,
        "reload": customer.reloads * used * (1 - fleet.moved),
        "reload-moved": customer.reloads * used * fleet.moved,
        "reload-failing": customer.failed_loads * used,
    }[kind.what]


def _draw(rng: np.random.Generator, chance: float, days: int, start: int, end: int) -> Array:
    """(day, machine) pairs: each machine start … end-1 on each day with that chance. Shape (n, 2), by day.

    The cells of the table days x machines are walked with geometric steps, so that only what happens is drawn.
    """
    cells, width = days * (end - start), end - start
    if chance <= 0 or not cells:
        return np.zeros((0, 2), np.int64)
    hits, last = np.zeros(0, np.int64), -1
    while last < cells:
        steps = rng.geometric(min(chance, 1.0), size=int(cells * chance * 1.05) + 50)
        more = last + np.cumsum(steps)
        hits, last = np.concatenate((hits, more)), int(more[-1])
    hits = hits[hits < cells]
    return np.stack((hits // width, hits % width + start), axis=1)


def _by_day(pairs: Array, fleet: Fleet) -> tuple[Array, Array]:
    """Sorted by day, what lies beyond the last day left out; a machine that has it twice on a day has it once."""
    codes = np.sort(pairs[:, 0] * fleet.machines + pairs[:, 1])
    wanted = (codes < fleet.days * fleet.machines) & (np.diff(codes, prepend=-1) > 0)
    day, machine = np.divmod(codes[wanted], fleet.machines)
    return np.searchsorted(day, np.arange(fleet.days + 1)), machine


def _editions(fleet: Fleet, starts: Array, ends: Array) -> Array:
    """The first edition is there on day 0; each later one reaches a machine within rollout_days of its release."""
    rng = np.random.default_rng((fleet.seed, 1_000))
    releases = np.arange(0, fleet.days, fleet.edition_days)
    taken = releases[:, None] + rng.integers(0, fleet.rollout_days, (len(releases), fleet.machines))
    taken[0] = 0
    for customer, start, end in zip(fleet.customers, starts, ends, strict=True):
        if not customer.takes_editions:
            taken[:, start:end] = -1
    return taken.astype(np.int32)
