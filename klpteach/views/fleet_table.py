"""The fleet's year as tables. One of the rooms that import pandas."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ..fleet import LEFT_OUT, Fleet, Tally, assumptions

# column -> (attribute of Tally, what it counts); the first block breaks something, the second forbids or forces something
STABILITY = {
    "refused loads": ("refused_loads", "a module was asked for and the kernel said no"),
    "days down": ("down_days", "machine-days without a module that somebody needs"),
    "crashes": ("crashes", "overwritten code ran, or the kernel oopsed"),
    "damaged, stopped": ("damaged_refused", "damaged livepatches that the kernel refused: crashes avoided"),
    "damaged, taken": ("damaged_accepted", "damaged livepatches that it took"),
    "repairs": ("repairs", "times that somebody had to withdraw livepatches and start over"),
}
FLEXIBILITY = {
    "refused removals": ("refused_removals", "rmmod of a target said that it is in use"),
    "pinned": ("pinned_days", "module-days in which a target could not be removed"),
    "not asked for": ("unneeded_days", "module-days of targets that run though nobody wants them there"),
    "unpatched": ("unpatched_days", "machine-days in which a target ran without its livepatch"),
    "behind": ("behind_days", "machine-days without the livepatch edition that was due"),
    "stale": ("stale_days", "module-days in which bytes for an absent target stayed written"),
}
COLUMNS = {**STABILITY, **FLEXIBILITY}


def fleet_table(tallies: Sequence[Tally], per: int | None = None) -> pd.DataFrame:
    """One row a mix of proposals. per: numbers for so many machines (floats); without it, whole counts of the fleet.

    >>> from klpteach.fleet import run_fleet
    >>> table = fleet_table(run_fleet(Fleet(machines=100, damaged=0.0, mixes=((), ("clear-checked",)))))
    >>> table["refused loads"].gt(0).tolist()
    [True, False]
    """
    rows = [{column: getattr(tally, name) for column, (name, _) in COLUMNS.items()} for tally in tallies]
    table = pd.DataFrame(
        rows, index=pd.Index([tally.name for tally in tallies], name="proposal"), columns=list(COLUMNS)
    )
    if per is not None:
        table = table.mul([per / tally.machines for tally in tallies], axis=0)
    return table


def against_first(tallies: Sequence[Tally]) -> pd.DataFrame:
    """The same as differences from the first row: what a proposal adds (+) or spares (-)."""
    table = fleet_table(tallies)
    return table - table.iloc[0]


def legend() -> pd.DataFrame:
    """What each column counts, and which side of the argument it speaks for."""
    rows = [
        {"column": column, "about": about, "counts": meaning}
        for about, block in (("stability", STABILITY), ("flexibility", FLEXIBILITY))
        for column, (_, meaning) in block.items()
    ]
    return pd.DataFrame(rows).set_index("column")


def assumption_table(fleet: Fleet | None = None) -> pd.DataFrame:
    """Every number that goes in, with the name to change it by; none is measured. Then what the fleet leaves out.

    >>> assumption_table().loc["damaged", "value"]
    0.01
    """
    told = assumptions(fleet)
    shown = [", ".join(sorted(value)) if isinstance(value, tuple | frozenset) else value for value in told.values()]
    rows = [
        *zip(told, shown, ["assumed"] * len(told), strict=True),
        *((*item, "left out") for item in LEFT_OUT.items()),
    ]
    return pd.DataFrame(rows, columns=["parameter", "value", "what it is"]).set_index("parameter")
