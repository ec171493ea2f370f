"""The fleet's year as a figure: what breaks above, what is forbidden or forced below, a bar a proposal.

One of the rooms that import matplotlib; figures are made without pyplot.
"""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ...fleet import Tally
from ..style import BLUE, VERMILION
from .picture import Picture
from .reuse import png

SIZE = 14  # points
PER = 100  # machines
# title, attribute of Tally; the upper row is about stability, the lower one about flexibility
PANELS = (
    (("refused loads", "refused_loads"), ("days down", "down_days"), ("crashes", "crashes")),
    (("refused removals", "refused_removals"), ("days unpatched", "unpatched_days"), ("module-days\nnot asked for", "unneeded_days")),
)  # fmt: skip
SIDES = ((VERMILION, "//", "What breaks"), (BLUE, "..", "What is forbidden, forced or left open"))


def fleet_figure(tallies: Sequence[Tally]) -> Figure:
    """Six panels, 12 inches wide, a bar a mix of proposals; every bar has its number, for 100 machines."""
    height = 2.4 + 0.78 * len(tallies)
    figure = Figure(figsize=(12, max(height, 5)), layout="constrained")
    FigureCanvasAgg(figure)
    for part, panels, (colour, hatch, title) in zip(
        figure.subfigures(2, 1, squeeze=False)[:, 0], PANELS, SIDES, strict=True
    ):
        part.suptitle(
            f"{title}, for {PER} machines in {tallies[0].days} days", size=SIZE + 2, weight="bold", x=0.01, ha="left"
        )
        row = part.subplots(1, len(panels), sharey=True)
        for axes, (name, attribute) in zip(row, panels, strict=True):
            _panel(axes, name, [PER * tally.per_machine(attribute) for tally in tallies], colour, hatch)
        row[0].set_yticks(range(len(tallies)), [tally.name.replace(" + ", " +\n") for tally in tallies], size=SIZE)
        row[0].set_ylim(len(tallies) - 0.4, -0.6)
    return figure


def _panel(axes: Axes, name: str, values: list[float], colour: str, hatch: str) -> None:
    bars = axes.barh(
        range(len(values)), values, height=0.62, facecolor="#ffffff", edgecolor=colour, hatch=hatch, linewidth=1.5
    )
    axes.bar_label(bars, labels=[number(value) for value in values], size=SIZE, padding=4)
    axes.set_title(name, size=SIZE, loc="left")
    axes.set_xlim(0, max(*values, 1e-9) * 1.45)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[["top", "right", "bottom"]].set_visible(False)


def number(value: float) -> str:
    """A count, short: two digits below 10, none above.

    >>> number(0), number(0.034), number(5.51), number(12345.6)
    ('0', '0.034', '5.5', '12,346')
    """
    if value >= 10 or not value:
        return f"{value:,.0f}"
    return f"{value:.2g}"


def fleet_alt(tallies: Sequence[Tally]) -> str:
    """The figure in words: every panel, every bar."""
    said = [f"Bars for {len(tallies)} choices, numbers for {PER} machines in {tallies[0].days} days."]
    for panels, (_, _, side) in zip(PANELS, SIDES, strict=True):
        said.append(f"{side}.")
        for name, attribute in panels:
            bars = ", ".join(f"{t.name} {number(PER * t.per_machine(attribute))}" for t in tallies)
            said.append(f"{name.replace(chr(10), ' ').capitalize()}: {bars}.")
    return " ".join(said)


def fleet_picture(tallies: Sequence[Tally]) -> Picture:
    """The figure for a notebook, with its words as alternative text.

    >>> from klpteach.fleet import Fleet, run_fleet
    >>> print(str(fleet_picture(run_fleet(Fleet(machines=50, days=9, mixes=((),)))))[:37])
    Bars for 1 choices, numbers for 100 m
    """
    return Picture(png(fleet_figure(tallies)), fleet_alt(tallies))
