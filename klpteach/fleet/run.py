"""The fleet's year, once under each proposal: the same customers, the same events on the same days."""

from __future__ import annotations

from collections.abc import Callable

from ..arguments import checked
from ..errors import ScenarioError
from .days import calendar
from .fleet import Fleet, Tally
from .walk import Walk


@checked(ScenarioError)
def run_fleet(fleet: Fleet | None = None, progress: Callable[[int, int], object] | None = None) -> list[Tally]:
    """Let the fleet live through its days once under each mix: the same customers, the same events on the same days.

    progress is called with (days done, days in all). Errors: PolicyError, ScenarioError.

    >>> stock, checked = run_fleet(Fleet(machines=200, damaged=0.0, mixes=((), ("clear-checked",))))
    >>> stock.refused_loads > 0, checked.refused_loads
    (True, 0)
    """
    fleet = fleet or Fleet()
    year, tallies, total = calendar(fleet), [], fleet.days * len(fleet.mixes)
    for number, mix in enumerate(fleet.mixes):
        walk = Walk(fleet, year, mix)
        for day in range(fleet.days):
            walk.live(day)
            if progress:
                progress(number * fleet.days + day + 1, total)
        tallies.append(walk.tally())
    return tallies
