"""What came when, 2015 to 2026: kernel releases, mails and meetings, from data/timeline.csv, in two columns."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap
from typing import Any

from matplotlib.axes import Axes

from ...discussion.thread import Event, read_timeline
from ..style import BLUE, ORANGE, VERMILION
from .base import INK, PALE, SIZE, SOFT, Drawing, canvas

_KINDS = {"kernel": ("s", BLUE), "mail": ("o", ORANGE), "elsewhere": ("D", VERMILION)}
_LETTERS = 41  # a line of text beside a mark
# What the rest leads up to, set bold: the mail of the course, and what ended the bug of its report.
_BOLD = ("the mail of this course", "0c05e7bd2d01", "37251c7114e1")


def timeline(events: Sequence[Event] | None = None) -> Drawing:
    """Draw the events, oldest first, down the left column and on in the right one. Distances are not to scale."""
    rows = timeline_rows(events)
    half = (len(rows) + 1) // 2
    columns = (rows[:half], rows[half:])
    height = max(sum(_height(row) for row in column) for column in columns)
    figure, axes = canvas(1.0 + 0.31 * height)
    for number, column in enumerate(columns):
        _column(axes, 0.5 * number, column)
    for number, (kind, words) in enumerate(zip(_KINDS, ("in a kernel release", "mail", "elsewhere"), strict=True)):
        _mark(axes, 0.095 + 0.22 * number, height + 0.9, kind)
        axes.text(0.115 + 0.22 * number, height + 0.9, words, size=SIZE - 1, va="center", color=SOFT)
    axes.set(xlim=(0, 1), ylim=(height + 1.5, -0.6))
    return Drawing(figure, timeline_alt(rows), rows)


def timeline_rows(events: Sequence[Event] | None = None) -> list[dict[str, Any]]:
    """A dict an event: date, kind (kernel, mail, elsewhere), what, version, commit, person."""
    found, keys = read_timeline() if events is None else events, ("what", "version", "commit", "person")
    return [{"date": e.date, "kind": _kind(e), **{key: getattr(e, key) for key in keys}} for e in found]


def timeline_alt(rows: Sequence[dict[str, Any]]) -> str:
    """The figure in words."""
    if not rows:
        return "Timeline without events."
    head = f"Timeline, {rows[0]['date'][:4]} to {rows[-1]['date'][:4]}, {len(rows)} events."
    return " ".join([head, *(f"{row['date']}: {_text(row)}." for row in rows)])


def _kind(event: Event) -> str:
    if event.version or event.commit:
        return "kernel"
    return "mail" if event.source.startswith("mail") else "elsewhere"


def _text(row: dict[str, Any]) -> str:
    version = f"{row['version']}: " if row["version"] else ""
    return f"{version}{row['what']}" + (f" ({row['person']})" if row["person"] else "")


def _lines(row: dict[str, Any]) -> list[str]:
    return wrap(_text(row), _LETTERS - 6 * _is_bold(row))  # bold letters are wider


def _is_bold(row: dict[str, Any]) -> bool:
    return row["commit"] in _BOLD or row["what"] in _BOLD


def _height(row: dict[str, Any]) -> float:
    return max(len(_lines(row)), 1) * 0.86 + 0.55


def _mark(axes: Axes, x: float, y: float, kind: str) -> None:
    marker, colour = _KINDS[kind]
    axes.plot(x, y, marker=marker, color="white", markeredgecolor=colour, markeredgewidth=3, markersize=14, zorder=3)


def _column(axes: Axes, left: float, rows: Sequence[dict[str, Any]]) -> None:
    y, rail = 0.0, left + 0.095
    for row in rows:
        axes.text(rail - 0.018, y, row["date"], size=SIZE - 1, ha="right", va="center", color=SOFT)
        _mark(axes, rail, y, row["kind"])
        for number, line in enumerate(_lines(row)):
            weight = "bold" if _is_bold(row) else "normal"
            axes.text(rail + 0.02, y + 0.86 * number, line, size=SIZE - 1, va="center", color=INK, weight=weight)
        y += _height(row)
    axes.plot([rail, rail], [0, max(y - 0.9, 0)], color=PALE, linewidth=2, zorder=0)
