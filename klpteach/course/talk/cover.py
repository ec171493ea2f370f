"""The first page of the talk: its question, who asks it where and when, and one picture, to scale."""

from __future__ import annotations

import os
from collections.abc import Mapping
from html import escape
from typing import Any

import ipywidgets as w

from ...model.step import hexa
from ...reading.history import History
from ...scenarios.simulate import simulate
from ...views.shown import escape as escape_text
from .choice import Choice
from .slides import Slide

QUESTION = "Why can’t a livepatched module come back?"
WIDTH, HEIGHT, GROUND = 1808, 560, 460


def from_environment(values: Mapping[str, str] | None = None) -> dict[str, str]:
    """What `make talk TITLE=… SPEAKER=… EVENT=… DATE=…` sets: title, speaker, event and date, "" where one is not said.

    >>> from_environment({"KLPTEACH_SPEAKER": "A. Nonymous"})["speaker"]
    'A. Nonymous'
    """
    given = os.environ if values is None else values
    return {name: given.get(f"KLPTEACH_{name.upper()}", "").strip() for name in ("title", "speaker", "event", "date")}


class Cover(Slide):
    """The title page. It chooses the cut; `said` is what from_environment() returns."""

    css = "klp-title"

    def __init__(self, said: Mapping[str, str], minutes: Choice) -> None:
        self.said, self.minutes = said, minutes
        super().__init__(said.get("title") or QUESTION, "Four commands, ten sites, one check for zero", 0)

    def stand(self, place: str, shown: bool) -> None:
        self.head.value = self.cover()

    def cover(self) -> str:
        lines = [(self.said.get("speaker"), "b"), (self.said.get("event"), "span"), (self.said.get("date"), "span")]
        who = "".join(f"<{tag}>{escape(text)}</{tag}>" for text, tag in lines if text)
        address = f"<address>{who}</address>" if who else ""
        return f'<div class="klp-cover"><h1>{escape(self.title)}</h1>{address}</div><p class="klp-sub">{escape(self.text)}</p>'

    def words(self) -> str:
        return f'<div class="klp-words sg">{arcs(History(simulate("reload")))}</div>'

    def body(self) -> list[Any]:
        return [w.HTML(self.words()).add_class("klp-main"), self.row(self.minutes.view)]

    def stills(self) -> list[str]:
        return [self.words()]

    def to_html(self) -> str:
        return self.cover() + self.words()


def arcs(history: History, step: int = 2) -> str:
    """The sites of a livepatch as arcs, from where each stands to what its bytes say, after the target has gone."""
    seen = history.observed_at(step)
    sums = [found for key in history.sites if (found := history.sum_at(key, seen))]
    patch = next(load for load in history.loads if load.at(step) and history.sites_in(load.module))
    gone = next(load for load in history.loads if load.extents and not load.at(step) and load.number == 1)
    first, last = gone.extents[0].start, patch.extents[-1].end
    scale = (WIDTH - 4) / (last - first)

    def x(address: int) -> float:
        return 2 + (address - first) * scale

    drawn = f'<line class="grid" x1="0" x2="{WIDTH}" y1="{GROUND}" y2="{GROUND}"/>'
    for found in sums:
        tip, foot = x(found.S), x(found.P)
        top = GROUND - 100 - abs(foot - tip) * 0.27
        drawn += f'<path class="stale" d="M{foot:.0f} {GROUND - 96} C{foot:.0f} {top:.0f} {tip:.0f} {top:.0f} {tip:.0f} {GROUND - 110}"/>'
        drawn += f'<polygon class="h-stale" points="{tip:.0f},{GROUND - 98} {tip - 7:.0f},{GROUND - 112} {tip + 7:.0f},{GROUND - 112}"/>'
    for load, css, words in ((gone, "ghost", f"{gone.module} was here"), (patch, "patch", "the livepatch still points there")):  # fmt: skip
        left, right = x(load.extents[0].start), x(load.extents[-1].end)
        drawn += f'<rect class="{css}" x="{left:.0f}" y="{GROUND - 96}" width="{right - left:.0f}" height="96" rx="6"/>'
        drawn += f'<text class="b halo" font-size="32" text-anchor="middle" x="{(left + right) / 2:.0f}" y="{GROUND - 38}">{escape_text(words)}</text>'
        drawn += (
            f'<text class="m soft" font-size="24" x="{left:.0f}" y="{GROUND + 34}">{hexa(load.extents[0].start)}</text>'
        )
    title = f"{len(sums)} places in the livepatch, each with an arc to where {gone.module} was: {hexa(first)}."
    box = f'viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="xMidYMax meet"'
    return f'<svg role="img" {box} xmlns="http://www.w3.org/2000/svg"><title>{escape_text(title)}</title>{drawn}</svg>'
