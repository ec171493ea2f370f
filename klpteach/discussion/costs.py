"""What each proposal adds to the kernel and what it would make unnecessary, in lines (data/costs.csv)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import lru_cache

from .rows import read_rows


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
    """Every row. Errors: KlpteachError where data/costs.csv is missing or has other columns."""
    return tuple(map(_cost, read_rows("costs.csv", [field.name for field in fields(Cost)])))


def _cost(row: dict[str, str]) -> Cost:
    counts = {key: int(row[key]) if row[key] else None for key in ("added", "removed", "code_removed")}
    return Cost(**{**row, **counts, "proposals": tuple(row["proposals"].split())})  # type: ignore[arg-type]


def costs_of(proposal: str) -> tuple[Cost, ...]:
    """The rows that concern a proposal; none for one that nobody wrote or counted."""
    return tuple(cost for cost in read_costs() if proposal in cost.proposals)


def removable(tiers: Iterable[str] = ("A", "B")) -> tuple[int, int]:
    """Physical lines and lines of code that could go without late patching, of 6.1.192."""
    rows = [cost for cost in read_costs() if cost.tier in tuple(tiers)]
    return sum(cost.removed or 0 for cost in rows), sum(cost.code_removed or 0 for cost in rows)
