"""The figure of notebook 04: the order of coming and going, with the address that makes the relocations possible."""

from __future__ import annotations

from dataclasses import replace

from ...model.step import hexa
from ...scenarios.simulate import simulate
from ...views.figures.base import Drawing
from . import order_figure as figure_events
from .sequence import coming_and_going


def order(release: str = "6.1") -> Drawing:
    """figure_events.order() of nfsd_demo, whose first event says where the module is by then.

    Errors: PolicyError for an unknown release.

    >>> order("6.1").rows[0]["what"]
    'state COMING, at 0xffffffffc0206000'
    """
    first, *others = coming_and_going(release)
    placed = (simulate("late", release)[1].placement or {})["nfsd_demo"]
    there = replace(first, what=f"{first.what}, at {hexa(next(iter(placed.values())))}")
    return figure_events.order(release, [there, *others])
