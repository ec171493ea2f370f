"""The consequences of every proposal as DataFrames. One of the rooms that import pandas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import pandas as pd

from ..discussion.consequences import QUESTIONS, Consequence, read_consequences
from ..reading.outcome import ENDINGS

ASKS = {question.key: question.asks for question in QUESTIONS}


def consequences_table(rows: Sequence[Consequence] | None = None) -> pd.DataFrame:
    """One row a cell, with everything that was read off its story. rows: default data/consequences.csv.

    >>> table = consequences_table()
    >>> table[(table.arch == "x86_64") & (table.release == "6.1") & (table.question == "reload")].kind.tolist()[:3]
    ['refused', 'works', 'pinned']
    """
    return pd.DataFrame([asdict(row) for row in (read_consequences() if rows is None else rows)])


def consequences_grid(
    arch: str = "x86_64", release: str = "6.1", rows: Sequence[Consequence] | None = None
) -> pd.DataFrame:
    """One kernel: a row a question, a column a choice of proposals; a letter and words in a cell, * for what nobody wishes.

    >>> consequences_grid().loc["reload at the same address", ["as released", "clear-checked"]].tolist()
    ['R* refused', 'W works']
    """
    mine = [r for r in (read_consequences() if rows is None else rows) if (r.arch, r.release) == (arch, release)]
    columns = list(dict.fromkeys(row.proposals or "as released" for row in mine))
    lines: dict[str, dict[str, str]] = {}
    for row in mine:
        cells = lines.setdefault(ASKS[row.question], {})
        cells[row.proposals or "as released"] = f"{row.letter} {ENDINGS[row.kind].words}"
    return pd.DataFrame.from_dict(lines, orient="index", columns=columns)


def cost_of_choices(rows: Sequence[Consequence] | None = None) -> pd.DataFrame:
    """One row a kernel and choice: of how many stories how many came out as wished, and how often each bad end was met.

    >>> totals = cost_of_choices()
    >>> int(totals.loc[("x86_64", "6.12", "as released"), "corrupt"])
    0
    """
    table = consequences_table(rows)
    table["proposals"] = table["proposals"].replace("", "as released")
    groups = table.groupby(["arch", "release", "proposals"], sort=False)
    counts = groups["kind"].value_counts().unstack(fill_value=0).reindex(columns=list(ENDINGS), fill_value=0)
    counts.insert(0, "as_wished", groups["as_wished"].sum())
    counts.insert(0, "stories", groups.size())
    return counts.loc[[key for key in groups.indices if key in counts.index]]
