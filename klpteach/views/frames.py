"""The data of a figure as a pandas table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

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
