"""The fleet with a progress bar: a widget in a notebook, dots in a terminal. Core ipywidgets only."""

from __future__ import annotations

import sys
from typing import Any, TextIO

import IPython.display as ipython
import ipywidgets as widgets
from IPython import get_ipython

from ..fleet import Fleet, Tally, run_fleet

_show: Any = ipython.display
_html: Any = ipython.HTML
STEPS = 50  # how often the bar moves


class Bar:
    """A bar that is replaced by one sentence when it is full, so that a saved notebook holds no widget of it."""

    def __init__(self, total: int) -> None:
        self.total, self.shown = total, -1
        self.widget = widgets.IntProgress(max=total, description="days", layout=widgets.Layout(width="500px"))
        self.label = widgets.Label()
        self.handle = _show(widgets.HBox([self.widget, self.label]), display_id=True)

    def __call__(self, done: int, total: int) -> None:
        step = done * STEPS // total
        if step != self.shown:
            self.shown, self.widget.value = step, done
            self.label.value = f"{done:,} of {total:,}"

    def close(self, said: str) -> None:
        self.widget.close()
        if self.handle:
            self.handle.update(_html(f"<p>{said}</p>"))


class Dots:
    """The same for a terminal: a dot for every fiftieth of the way."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream, self.shown = stream or sys.stderr, 0

    def __call__(self, done: int, total: int) -> None:
        step = done * STEPS // total
        self.stream.write("." * (step - self.shown))
        self.stream.flush()
        self.shown = step

    def close(self, said: str) -> None:
        self.stream.write(f" {said}\n")


def live(fleet: Fleet | None = None) -> list[Tally]:
    """run_fleet(), and see how far it is."""
    fleet = fleet or Fleet()
    total = fleet.days * len(fleet.mixes)
    shell: Any = get_ipython()
    bar = Bar(total) if shell is not None and getattr(shell, "kernel", None) else Dots()
    tallies = run_fleet(fleet, bar)
    bar.close(f"{fleet.machines:,} machines have lived {fleet.days} days, {len(fleet.mixes)} times.")
    return tallies
