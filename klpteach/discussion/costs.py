"""What each proposal adds to the kernel and what it would make unnecessary, in lines (data/costs.csv)."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from ..errors import KlpteachError
from ..files.samples import data_dir

COLUMNS = ["proposals", "tier", "item", "file", "lines", "added", "removed", "code_removed", "kernel", "note"]


@dataclass(frozen=True)
class Cost:
    """One patch series, or one piece of the kernel that could go.

    added, removed: physical lines; code_removed: those that are neither blank nor comment; None where nobody counted.
    tier: "A" could go if every target were loaded with the livepatch and stayed; "B" could go besides, since every
    relocation could then be written when the livepatch is loaded. lines: where in that kernel's source.
    """

    proposals: tuple[str, ...]
    tier: str
    item: str
    file: str
    lines: str
    added: int | None
    removed: int | None
    code_removed: int | None
    kernel: str
    note: str


@lru_cache
def read_costs() -> tuple[Cost, ...]:
    """Every row. Errors: KlpteachError where data/costs.csv is missing or has other columns.

    >>> sum(cost.removed for cost in read_costs() if cost.tier == "A")
    194
    """
    try:
        with (data_dir() / "costs.csv").open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if reader.fieldnames != COLUMNS:
                raise KlpteachError(f"costs.csv: its columns are not {', '.join(COLUMNS)}. Is it this version's file?")
            return tuple(_cost(row) for row in reader)
    except OSError as error:
        raise KlpteachError(
            f"costs.csv: cannot be read ({error.strerror}). Set KLPTEACH_DATA to the data folder."
        ) from None


def _cost(row: dict[str, str]) -> Cost:
    def number(key: str) -> int | None:
        return int(row[key]) if row[key] else None

    counts = (number("added"), number("removed"), number("code_removed"))
    places = (row["tier"], row["item"], row["file"], row["lines"])
    return Cost(tuple(row["proposals"].split()), *places, *counts, row["kernel"], row["note"])


def costs_of(proposal: str) -> tuple[Cost, ...]:
    """The rows that concern a proposal; none for one that nobody wrote or counted.

    >>> [(cost.added, cost.removed) for cost in costs_of("clear-checked")]
    [(126, 50)]
    """
    return tuple(cost for cost in read_costs() if proposal in cost.proposals)


def removable(tiers: Iterable[str] = ("A", "B")) -> tuple[int, int]:
    """Physical lines and lines of code that could go without late patching, of 6.1.192.

    >>> removable(), removable("A")
    ((369, 248), (194, 129))
    """
    rows = [cost for cost in read_costs() if cost.tier in tuple(tiers)]
    return sum(cost.removed or 0 for cost in rows), sum(cost.code_removed or 0 for cost in rows)
