"""The map at the top of each notebook: where the reader is, what comes next, the short way and the long way, in minutes.

A picture, a table of three cells and a fold: no script, no class and no inline svg, so that a saved notebook, an untrusted
one and one without its styles still say everything.
"""

from __future__ import annotations

import base64
import itertools
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from ..errors import one_of
from ..views.shown import Shown, escape
from ..views.table import LEFT, Cell, Row, Table
from . import progress as book
from .notebooks import STATIONS, Station, notebooks

_WIDE, _HIGH, _RAIL = 1000, 104, 62  # of the picture, in its units; the rail is where the stations stand
_LEGEND = "00-start-here.ipynb#6.-Letters,-signs-and-colours"
_PAPER, _INK, _GREY, _SHORT, _DONE = "#fdfcfa", "#1b1d1f", "#6b6963", "#b34d00", "#00634a"


@dataclass(frozen=True, repr=False)
class StationMap(Shown):
    """Where one notebook stands on the way. done: the numbers of those whose exercises are all solved."""

    here: Station
    done: Collection[str]

    def to_html(self) -> str:
        image = base64.b64encode(picture(STATIONS, self.here, self.done).encode()).decode()
        style = "max-width:100%;height:auto;display:block"
        page = f'<img alt="{escape(self.alt)}" width="{_WIDE}" style="{style}" src="data:image/svg+xml;base64,{image}">'
        cells = (
            (29, "← " + (self._link(self._before) if self._before else "the first station")),
            (42, f"<b>You are here: {escape(name(self.here))}</b><br>{escape(self.here.asks)}<br>{self._takes}"),
            (29, self._onward),
        )
        css = "text-align:left;vertical-align:top;padding:6px 14px 6px 8px"
        row = "".join(f'<td style="{css};width:{share}%">{inner}</td>' for share, inner in cells)
        page += (
            f'<table role="presentation" style="width:100%;max-width:{_WIDE}px"><tbody><tr>{row}</tr></tbody></table>'
        )
        signs = f'<p style="margin:2px 0"><small><a href="{_LEGEND}">Letters, signs and colours</a></small></p>'
        return f"{page}<details><summary>{self._all}</summary>{self._table().to_html()}</details>{signs}"

    def to_text(self) -> str:
        before = f"Before: {name(self._before)}. " if self._before else ""
        after = f"Next: {name(self._after)}. " if self._after else ""
        jump = f"Short way: {name(self._jump)}. " if self._jump else ""
        return f"You are here: {name(self.here)}. {self._takes}.\n{before}{after}{jump}\n{self._all}."

    @property
    def alt(self) -> str:
        """The picture in words."""
        short = ", ".join(station.number for station in STATIONS if station.short)
        done = f" Done: {', '.join(sorted(self.done))}." if self.done else ""
        here = f"You are at {name(self.here)}."
        return f"Course map, {len(STATIONS)} stations on a line. {here}{done} The short way is {short}."

    @property
    def _place(self) -> int:
        return STATIONS.index(self.here)

    @property
    def _before(self) -> Station | None:
        return STATIONS[self._place - 1] if self._place else None

    @property
    def _after(self) -> Station | None:
        return next(iter(STATIONS[self._place + 1 :]), None)

    @property
    def _jump(self) -> Station | None:
        """The next station of the short way, for a reader who is on it and would otherwise stop elsewhere."""
        found = next((station for station in STATIONS[self._place + 1 :] if station.short), None)
        return found if self.here.short and found != self._after else None

    @property
    def _takes(self) -> str:
        rest = sum(station.minutes for station in STATIONS[self._place :])
        return f"{self.here.minutes} minutes; from here to the end {hours(rest)}"

    @property
    def _all(self) -> str:
        short = hours(sum(station.minutes for station in STATIONS if station.short))
        long = hours(sum(station.minutes for station in STATIONS))
        return f"All {len(STATIONS)} stations: short way {short}, long way {long}"

    @property
    def _onward(self) -> str:
        if self._after is None:
            return '→ <a href="talk.ipynb">the talk</a>'
        jump = f"<br>short way: {self._link(self._jump)}" if self._jump else ""
        return f"→ {self._link(self._after)}{jump}"

    def _link(self, station: Station) -> str:
        tick = " ✓" if station.number in self.done else ""
        return f'<a href="{escape(station.file)}">{escape(name(station))}</a>{tick}'

    def _table(self) -> Table:
        rows: list[Row] = [
            (Cell(self._link(station), name(station)), station.asks, str(station.minutes),
             "short and long" if station.short else "long",
             "you are here" if station == self.here else "✓ done" if station.number in self.done else "")
            for station in STATIONS
        ]  # fmt: skip
        return Table(("station", "question", "minutes", "way", "you"), rows, css=LEFT, labels=True)


def station_map(number: str) -> StationMap:
    """The map with "you are here" at one notebook, by its number: "05". Errors: KlpteachError for one that is not there.

    >>> print(station_map("05"))
    You are here: 05 The bug. 35 minutes; from here to the end 4 h 20.
    Before: 04 Patching what is not there. Next: 06 The same bug in another dress. Short way: 07 Three ways out.
    All 11 stations: short way 2 h 50, long way 7 h 30.
    """
    stations = {station.number: station for station in STATIONS}
    here = stations[one_of(number, stations, "notebook")]
    return StationMap(here, done())


def done() -> frozenset[str]:
    """The notebooks whose exercises are all solved, with any seed."""
    solved = {key.rpartition(":")[0] for key, attempt in book.recall().attempts.items() if attempt.solved}
    if not solved:
        return frozenset()
    return frozenset(one.number for one in notebooks() if one.exercises and solved >= one.exercises.keys())


def name(station: Station) -> str:
    return f"{station.number} {station.title}"


def hours(minutes: int) -> str:
    """Minutes as one says them.

    >>> hours(55), hours(120), hours(410)
    ('55 minutes', '2 h', '6 h 50')
    """
    whole, rest = divmod(minutes, 60)
    return f"{whole} h {rest:02}".removesuffix(" 00") if whole else f"{rest} minutes"


def picture(stations: Sequence[Station], here: Station, ticked: Collection[str]) -> str:
    """The line of stations as SVG: squares on the short way, circles elsewhere, a ring where the reader is."""
    step = (_WIDE - 118) / max(len(stations) - 1, 1)
    xs = {station.number: round(46 + step * place) for place, station in enumerate(stations)}
    short = [xs[station.number] for station in stations if station.short]
    parts = [
        f'<rect x=".5" y=".5" width="{_WIDE - 1}" height="{_HIGH - 1}" rx="8" fill="{_PAPER}" stroke="{_GREY}"/>',
        f'<path d="M46 {_RAIL}H{max(xs.values())}" stroke="{_GREY}" stroke-width="5"/>',
        *(f'<path d="M{a} 52C{a + 30} 27 {b - 30} 27 {b} 52" fill="none" stroke="{_SHORT}" stroke-width="4"/>'
          for a, b in itertools.pairwise(short)),
    ]  # fmt: skip
    for station in stations:
        parts += _stop(xs[station.number], station, station == here, station.number in ticked)
    edge = f'text-anchor="middle" fill="{_INK}" stroke="{_PAPER}" stroke-width="6" paint-order="stroke"'
    at = min(max(xs[here.number], 62), _WIDE - 62)
    parts.append(f'<text x="{at}" y="23" font-size="17" font-weight="700" {edge}>you are here</text>')
    size = f'viewBox="0 0 {_WIDE} {_HIGH}" width="{_WIDE}" height="{_HIGH}"'
    font = "system-ui,-apple-system,Segoe UI,DejaVu Sans,sans-serif"
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="{font}">{"".join(parts)}</svg>'


def _stop(x: int, station: Station, here: bool, ticked: bool) -> list[str]:
    fill, edge, round_ = (_SHORT, _SHORT, 5) if station.short else ("#ffffff", _GREY, 13)
    ring = f'<circle cx="{x}" cy="{_RAIL}" r="22" fill="#ffffff" stroke="{_INK}" stroke-width="4"/>'
    box = f'x="{x - 13}" y="{_RAIL - 13}" width="26" height="26" rx="{round_}"'
    tick = f'<path d="M{x - 7} {_RAIL}l5 6 9 -12" fill="none" stroke="{"#fff" if station.short else _DONE}" stroke-width="4"/>'
    label = f'x="{x + (24 if here else 18)}" y="88" font-size="18" font-weight="{700 if here else 500}" fill="{_INK}"'
    return [
        *([ring] if here else []),
        f'<rect {box} fill="{fill}" stroke="{edge}" stroke-width="4"/>',
        *([tick] if ticked else []),
        f"<text {label}>{escape(station.number)}</text>",
    ]
