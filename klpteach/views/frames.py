"""Tables of pandas: the data of a figure, a story, the consequences of every proposal, what a fleet's year assumes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pandas as pd

from ..discussion.consequences import QUESTIONS, Rows, of_kernel, read_consequences
from ..errors import printable
from ..fleet import LEFT_OUT, Fleet, assumptions
from ..model.recording import Recording
from ..model.step import hexa
from ..reading.outcome import ENDINGS

_ADDRESSES = ("address", "end", "start", "P", "S")
# A fleet's year: column -> (attribute of Tally, what it counts). The first block breaks something, the second forbids or forces.
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


def table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """One row a mark of the figure; columns that hold addresses become text with 0x and 16 digits.

    >>> table([{"address": 0xffffffffc0201000, "size": 4}]).to_dict("records")
    [{'address': '0xffffffffc0201000', 'size': 4}]
    """

    def shown(key: str, value: object) -> object:
        if isinstance(value, str):
            return printable(value, keep="")
        return hexa(value) if key in _ADDRESSES and isinstance(value, int) else value

    return pd.DataFrame([{key: shown(key, value) for key, value in row.items()} for row in rows])


def story(recording: Recording) -> pd.DataFrame:
    """One row a step: command, errno, and where each module of the story is."""
    names = list(dict.fromkeys(row["name"] for step in recording for row in step.modules or ()))
    rows = []
    for step in recording:
        absent = "?" if step.modules is None else "not loaded"
        found = {name: step.module(name) for name in names}
        bases = {printable(name, keep=""): hexa(row["base"]) if row else absent for name, row in found.items()}
        rows.append({"command": printable(step.command, keep=""), "errno": step.errno, **bases})
    return pd.DataFrame(rows, index=pd.RangeIndex(1, len(rows) + 1, name="step"))


def consequences_table(rows: Rows | None = None) -> pd.DataFrame:
    """One row a cell, with everything that was read off its story. rows: default data/consequences.csv."""
    return pd.DataFrame([asdict(row) for row in (read_consequences() if rows is None else rows)])


def consequences_grid(arch: str = "x86_64", release: str = "6.1", rows: Rows | None = None) -> pd.DataFrame:
    """One kernel: a row a question, a column a choice; a letter and words in a cell, * for what nobody wishes.

    The mark behind them is who says so: ● a distribution's kernel, ◐ one that was built with the proposals, ○ the model alone.
    """
    mine = of_kernel(arch, release, rows)
    columns = list(dict.fromkeys(row.proposals or "as released" for row in mine))
    asks = {question.key: question.asks for question in QUESTIONS}
    lines: dict[str, dict[str, str]] = {}
    for row in mine:
        cells = lines.setdefault(asks[row.question], {})
        cells[row.proposals or "as released"] = f"{row.letter} {ENDINGS[row.kind].words} {row.mark}"
    return pd.DataFrame.from_dict(lines, orient="index", columns=columns)


def assumption_table(fleet: Fleet | None = None) -> pd.DataFrame:
    """Every number that goes in, with the name to change it by; none is measured. Then what the fleet leaves out."""
    told = assumptions(fleet)
    shown = [", ".join(sorted(value)) if isinstance(value, tuple | frozenset) else value for value in told.values()]
    rows = [(name, value, "assumed") for name, value in zip(told, shown, strict=True)]
    rows += [(name, why, "left out") for name, why in LEFT_OUT.items()]
    return pd.DataFrame(rows, columns=["parameter", "value", "what it is"]).set_index("parameter")
