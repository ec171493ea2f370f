"""Which code could go without late module patching, and what the other proposals add, from data/costs.csv."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from ...discussion.costs import Cost, read_costs
from ..style import BLUE, GREEN, ORANGE
from .base import INK, SIZE, SOFT, Drawing, canvas

_LOOK = {"A": (BLUE, "#cfe3f1", ""), "B": (ORANGE, "#faeccb", "//"), "+": (GREEN, "#cfeae0", "..")}
_NOTE = "80 (55): 80 lines; 55 of them, in the heavy frame, are neither blank nor comment. +177 −11: added, removed."
_HEADINGS = {
    "A": "could go if every target is loaded first and stays: {lines} lines, {kept} of them code",
    "B": "could go besides, relocations being written at load: {lines} lines, {kept} of them code",
    "+": "what other ways add",
}
_MOST = 190  # lines that a bar can show; a longer one is broken


def code(costs: Sequence[Cost] | None = None) -> Drawing:
    """Draw a bar a piece of code: its lines, and in a darker frame those that are neither blank nor comment."""
    rows = code_rows(costs)
    drawing = _drawn(rows, longest=46)
    inside = all(text.get_window_extent().x0 >= 0 for text in drawing.figure.axes[0].texts)
    return drawing if inside else _drawn(rows, longest=36)  # matplotlib before 3.11 leaves the names less room


def _drawn(rows: Sequence[dict[str, Any]], longest: int) -> Drawing:
    """The figure, with names of so many letters at most."""
    figure, axes = canvas(1.6 + 0.345 * (len(rows) + 5.2))
    y, before = 0.0, ""
    for row in rows:
        if row["tier"] != before:
            y, before = y + (1.5 if before else 0.6), row["tier"]
            axes.text(-118, y - 0.95, heading(rows, before), size=SIZE, weight="bold", va="center", color=INK)
        _bar(axes, y, row, longest)
        y += 1
    axes.text(-118, y + 0.5, _NOTE, size=SIZE - 1, va="center", color=SOFT)
    axes.set(xlim=(-120, _MOST + 48), ylim=(y + 1.0, -1.0))
    return Drawing(figure, code_alt(rows), rows)


def code_rows(costs: Sequence[Cost] | None = None) -> list[dict[str, Any]]:
    """A dict a bar: tier ("A", "B": could go; "+": a proposal adds it), item, lines, code (or None), removes."""
    found = [_row(cost) for cost in (read_costs() if costs is None else costs)]
    return [row for tier in _LOOK for row in found if row["tier"] == tier]


def heading(rows: Sequence[dict[str, Any]], tier: str) -> str:
    """What stands above a group, with its sums."""
    mine = [row for row in rows if row["tier"] == tier]
    lines, kept = sum(row["lines"] for row in mine), sum(row["code"] or 0 for row in mine)
    return f"{tier}  {_HEADINGS[tier]}".format(lines=lines, kept=kept)


def code_alt(rows: Sequence[dict[str, Any]]) -> str:
    """The figure in words."""
    said = "Lines of kernel code."
    for tier in dict.fromkeys(row["tier"] for row in rows):
        mine = (f"{row['item']} {_count(row)}" for row in rows if row["tier"] == tier)
        said += f" {heading(rows, tier)}: {'; '.join(mine)}."
    return said


def _row(cost: Cost) -> dict[str, Any]:
    adds = not cost.tier
    lines = cost.added if adds else cost.removed
    name = f"{cost.proposals[0]}, {cost.item.partition(', the series')[0]}" if adds else cost.item
    return {"tier": cost.tier or "+", "item": name, "lines": lines or 0, "code": None if adds else cost.code_removed,
            "removes": cost.removed if adds else None, "file": cost.file, "where": cost.lines}  # fmt: skip


def _count(row: dict[str, Any]) -> str:
    if row["tier"] == "+":
        return f"+{row['lines']}" + (f" −{row['removes']}" if row["removes"] else "")
    return f"{row['lines']}" + (f" ({row['code']})" if row["code"] is not None else "")


def _bar(axes: Axes, y: float, row: dict[str, Any], longest: int) -> None:
    edge, face, hatch = _LOOK[row["tier"]]
    width = min(row["lines"], _MOST)
    name = row["item"] if len(row["item"]) <= longest else row["item"][: longest - 1] + "…"
    axes.text(-2, y, name, size=SIZE - 1, ha="right", va="center", color=INK)
    axes.add_patch(Rectangle((0, y - 0.34), width, 0.68, facecolor=face, edgecolor=edge, linewidth=1.2, hatch=hatch))
    if row["code"]:
        axes.add_patch(Rectangle((0, y - 0.34), row["code"], 0.68, facecolor="none", edgecolor=edge, linewidth=3))
    if width < row["lines"]:
        axes.text(width * 0.9, y, "≈", size=SIZE + 4, ha="center", va="center", color=INK,
                  bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})  # fmt: skip
    axes.text(width + 2, y, _count(row), size=SIZE - 1, va="center", color=SOFT)
