"""The data of a figure, and a whole story, as pandas tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from ..model.recording import Recording
from ..model.step import hexa

_ADDRESSES = ("address", "end", "start", "P", "S")


def table(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """One row a mark of the figure; columns that hold addresses become text with 0x and 16 digits.

    >>> table([{"address": 0xffffffffc0201000, "size": 4}]).to_dict("records")
    [{'address': '0xffffffffc0201000', 'size': 4}]
    """
    shown = [
        {key: hexa(value) if key in _ADDRESSES and isinstance(value, int) else value for key, value in row.items()}
        for row in rows
    ]
    return pd.DataFrame(shown)


def story(recording: Recording) -> pd.DataFrame:
    """One row a step: command, errno, and where each module of the story is."""
    names = list(dict.fromkeys(row["name"] for step in recording for row in step.modules or ()))
    rows = []
    for step in recording:
        row = {"command": step.command, "errno": step.errno}
        for name in names:
            found = step.module(name)
            row[name] = hexa(found["base"]) if found else ("not loaded" if step.modules is not None else "?")
        rows.append(row)
    table = pd.DataFrame(rows)
    table.index = pd.RangeIndex(1, len(table) + 1, name="step")
    return table
