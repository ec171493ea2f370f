"""What happens in which order when a patched module comes and goes: a lane for each that acts, numbered downwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from matplotlib.axes import Axes

from ...model.step import hexa
from ...scenarios.simulate import simulate
from ...views.figures.base import INK, PALE, SIZE, SOFT, Drawing, canvas
from ...views.style import BLUE, GREEN, ORANGE, PURPLE
from .sequence import CALLBACK, LIVEPATCH, LOADER, MODULE, Event, coming_and_going

_LANES = {LOADER: (BLUE, "s"), LIVEPATCH: (ORANGE, "o"), CALLBACK: (PURPLE, "D"), MODULE: (GREEN, "h")}


def order(release: str = "6.1") -> Drawing:
    """The order in which nfsd_demo comes and goes, with the address that makes its relocations possible.

    Errors: PolicyError for an unknown release.
    """
    first, *others = coming_and_going(release)
    placed = (simulate("late", release)[1].placement or {})["nfsd_demo"]
    address = next(iter(placed.values()))
    return order_of([replace(first, what=f"{first.what}, at {hexa(address)}"), *others], release)


def order_of(events: Sequence[Event], release: str = "6.1") -> Drawing:
    """Draw the order of events; each lane has its own shape and colour."""
    rows = [asdict(event) for event in events]
    figure, axes = canvas(1.2 + 0.46 * (len(rows) + 1))
    lanes = {who: 0.07 + 0.245 * number for number, who in enumerate(_LANES)}
    shift, before = 0.0, ""
    for who, x in lanes.items():
        axes.text(x, -0.95, who, size=SIZE, weight="bold", ha="center", color=INK)
    places = []
    for number, row in enumerate(rows):
        if row["phase"] != before:
            shift, before = shift + (0.9 if before else 0.0), row["phase"]
            y = number + shift - 0.62
            axes.text(-0.06, y, row["phase"], size=SIZE - 1, style="italic", color=SOFT, va="center")
            axes.plot([-0.01, 1.02], [y, y], color=PALE, linewidth=1, zorder=0)
        places.append((lanes[row["who"]], number + shift))
    for x in lanes.values():
        axes.plot([x, x], [-0.5, len(rows) - 0.3 + shift], color=PALE, linewidth=1.5, zorder=0)
    for row, (x, y) in zip(rows, places, strict=True):
        _event(axes, row, x, y)
    axes.set_xlim(-0.07, 1.03)
    axes.set_ylim(len(rows) + shift - 0.2, -1.35)
    return Drawing(figure, order_alt(rows, release), rows)


def order_alt(rows: Sequence[dict[str, Any]], release: str) -> str:
    """The figure in words."""
    said = [f"Order of events on {release} when a patched module comes and goes."]
    for phase in dict.fromkeys(row["phase"] for row in rows):
        mine = [f"{row['number']} {row['who']}: {row['what']}" for row in rows if row["phase"] == phase]
        said.append(f"{phase.capitalize()}: {'; '.join(mine)}.")
    return " ".join(said)


def _event(axes: Axes, row: dict[str, Any], x: float, y: float) -> None:
    colour, marker = _LANES[row["who"]]
    axes.plot([-0.02, 1.02], [y, y], color="#f0f0f0", linewidth=1, zorder=-1)
    axes.plot(x, y, marker=marker, color="white", markersize=23, zorder=3, markeredgecolor=colour, markeredgewidth=3)
    axes.text(x, y, str(row["number"]), size=SIZE - 1, weight="bold", ha="center", va="center", color=INK, zorder=4)
    right = x < 0.6
    axes.text(x + (0.024 if right else -0.024), y, row["what"], size=SIZE - 1, ha="left" if right else "right", va="center",
              zorder=5, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.2}, color=INK)  # fmt: skip
