"""The address map as SVG: boxes in lanes, one row a command, arrows below."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from ...model.step import hexa
from ...reading.history import History
from ...reading.loads import Load
from ...reading.steps import count
from ...reading.verdict import verdict
from ..shown import escape
from ..style import TONE, style
from .map import Arrow, Axis, Box, Name, boxes, in_words, lanes, pointers, shorten, window

WIDTH, LEFT, RIGHT, MAX_HEIGHT = 440, 12, 428, 500
_HATCH = (
    '<defs><pattern id="{}" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<line class="hatch" x1="0" x2="0" y1="0" y2="7"/></pattern></defs>'
)
_CHAR, _MONO = 8.1, 7.9  # px of a bold letter of 13 px, on the safe side, and of one of fixed width


class _Map:
    """Draws one map; `out` collects SVG elements from back to front."""

    def __init__(self, history: History, step: int, ask: bool, live: bool,
                 max_height: int = MAX_HEIGHT, least: int = 2) -> None:  # fmt: skip
        self.history, self.recording, self.step, self.ask, self.live = history, history.recording, step, ask, live
        self.past, self.future, self.hidden = window(self.recording, step)
        self.max_height, self.least = max_height, least
        if least == 1:  # a narrow map: what is now, not what will be
            self.future = []
        self.axis, told = self._axis(), self.recording
        name = f"{told.kernel} {told.scenario} {told.proposals} {step} {ask} {max_height}"
        self.id = f"kx{hashlib.sha256(name.encode()).hexdigest()[:8]}"
        self.out: list[str] = []
        self._fit()

    def _axis(self) -> Axis:
        """Over the modules of the rows in sight, and what they point to; the axis stays as it is while the rows do."""
        rows = [*self.past, *self.future]
        shown = {box.load for i in rows for box in boxes(self.history, i, self.history.observed_at(i))}
        return Axis([extent for load in shown for extent in load.extents], LEFT, RIGHT, self.history.arch.page)

    def _fit(self) -> None:
        """Leave out the earliest rows until the current one is in sight without scrolling."""
        heights = [self._row(index, 0) for index in self.past]
        self.out.clear()
        while len(heights) > self.least and sum(heights) + 24 * len(self.future) > self.max_height:
            heights.pop(0)
            self.past.pop(0)
            self.hidden += 1
        if self.least == 1:
            self.axis = self._axis()

    def svg(self) -> str:
        y = top = self._axis_labels()
        for index in self.past:
            y = self._row(index, y)
        for index in self.future:
            self._text(LEFT, y + 14, f"{index + 1}  {shorten(self.recording[index].command, 48)}", "m calm")
            y += 24
        xs = map(self.axis.x, self._starts())
        grid = "".join(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top - 4:.0f}" y2="{y:.0f}"/>' for x in xs)
        title = escape(in_words(self.history, self.past, self.hidden, self.step, self.ask))
        size = 'width="100%"' if self.live else f'width="{WIDTH * 1.4:.0f}" height="{(y + 8) * 1.4:.0f}"'
        css = "" if self.live else style(live=False) + f'<rect width="{WIDTH}" height="{y + 8:.0f}" fill="#ffffff"/>'
        svg = f'<svg role="img" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 8:.0f}" {size}>'
        return f"{svg}<title>{title}</title>{css}{_HATCH.format(self.id)}{grid}{''.join(self.out)}</svg>"

    def _text(self, x: float, y: float, text: str, css: str = "", anchor: str = "start") -> None:
        self.out.append(f'<text x="{x:.1f}" y="{y:.1f}" class="{css}" text-anchor="{anchor}">{escape(text)}</text>')

    def _starts(self) -> list[int]:
        """First addresses of the modules in the rows shown up to now."""
        return sorted({box.load.extents[0].start for i in self.past for box in self._row_boxes(i)})

    def _row_boxes(self, index: int) -> list[Box]:
        asked = self.ask and index == self.step
        return [] if asked else boxes(self.history, index, self.history.observed_at(index))

    def _axis_labels(self) -> float:
        """Addresses above the map, each on the first of three lines where there is room."""
        ends, lines = [-99.0] * 3, 1
        for address in self._starts():
            width, x = 18 * 7.0, self.axis.x(address)
            x = min(x, RIGHT - width + 8)
            line = next((i for i, end in enumerate(ends) if x > end + 6), None)
            if line is not None:
                ends[line], lines = x + width, max(lines, line + 1)
                self._text(x, 12 + 13 * line, hexa(address), "m ax")
        for x in self.axis.breaks if self._starts() else ():
            self._text(x, 12 + 13 * lines, "≈", "ax b", "middle")
        if self.hidden:
            lines += 2 if self.axis.breaks else 1  # below the marks of the gaps
            self._text(LEFT, 28 + 13 * (lines - 2) + 4, f"… {count(self.hidden, 'earlier step')}", "soft ax")
        return 13 * lines + 12

    def _row(self, index: int, y: float) -> float:
        shown, now = self._row_boxes(index), index == self.step
        arrows = [] if self.ask and now else pointers(self.history, self.history.observed_at(index))
        names = [Name.of(box, self.axis, _CHAR, 6, WIDTH - 4) for box in shown]
        lane = lanes(shown, names, gap=2)
        below = [arrow for arrow in arrows if arrow.kind != "kept"] if len(arrows) > 1 else []
        band = y + 22 + 32 * (max(lane, default=-1) + 1) + (0 if shown else 14)
        height = band - y + (15 if arrows else 0) + 14 * len(below)
        if now:
            self.out.append(f'<rect class="now" x="3" y="{y:.1f}" width="{WIDTH - 6}" height="{height:.1f}" rx="5"/>')
        self._command(index, y, now)
        tops = [y + 22 + 32 * number for number in lane]
        places = {box.load: top for box, top in zip(shown, tops, strict=True)}
        for arrow in arrows:
            self._arrow(arrow, places, band + 8, beside=len(arrows) == 1)
        for number, arrow in enumerate(below):
            words = f"{arrow.patch.module} → {arrow.target.module}: {arrow.label}"
            self._text(LEFT + 6, band + 24 + 14 * number, words, f"ax t-{arrow.kind}")
        for box, name, top in zip(shown, names, tops, strict=True):
            self._box(box, name, top)
        return y + height + 8

    def _command(self, index: int, y: float, now: bool) -> None:
        step, hidden, number = self.recording[index], now and self.ask, f"{index + 1}  "
        judged = verdict(self.recording, index, self.history)
        errno = f" {step.errno}".replace("-", "−") if step.errno else ""
        mark = ("?" if hidden else judged.symbol + errno) + (" ◄ now" if now else "")
        room = int((RIGHT - LEFT - len(mark) * _CHAR) / _MONO) - len(number)
        self._text(LEFT, y + 15, number + shorten(step.command, min(41, room)), f"m{' b' if now else ''}")
        self._text(RIGHT, y + 15, mark, f"b {'calm' if hidden else TONE[judged.kind]}", "end")
        if not hidden and step.modules is None and not self._row_boxes(index):
            self._text(LEFT + 20, y + 30, "addresses not looked at", "ax")

    def _span(self, load: Load) -> tuple[float, float]:
        return self.axis.x(load.extents[0].start), self.axis.x(load.extents[-1].end)

    def _box(self, box: Box, name: Name, y: float) -> None:
        left, right = self._span(box.load)
        parted = len(box.load.extents) > 1  # several mappings: the name stands above them
        top, height = (y + 13, 13) if parted else (y, 26)
        if parted:
            self.out.append(f'<line class="span" x1="{left:.1f}" x2="{right:.1f}" y1="{y + 19.5}" y2="{y + 19.5}"/>')
        fill = f' fill="url(#{self.id})"' if box.style in ("ghost", "tried") else ""
        for extent in box.load.extents:
            x, width = self.axis.x(extent.start), max(self.axis.x(extent.end) - self.axis.x(extent.start), 3)
            css, size = box.style + ("" if box.seen else " unseen"), f'width="{width:.1f}" height="{height}"'
            self.out.append(f'<rect class="{css}"{fill} x="{x:.1f}" y="{top}" {size} rx="3"/>')
        self._text(name.x, y + (10 if parted else 17), name.text, "b halo", name.anchor)

    def _arrow(self, arrow: Arrow, places: Mapping[Load, float], y: float, beside: bool) -> None:
        """From the livepatch's box to the target's, below both; a single arrow has its words beside it."""
        (a0, a1), (b0, b1) = self._span(arrow.patch), self._span(arrow.target)
        inwards = min(14, (b1 - b0) / 2)
        x1, x2 = (a1 - 14, b0 + inwards) if b0 > a0 else (a0 + 14, b1 - inwards)
        # its lower edge is that of what stands in its place: its box, its ghost, or the attempt that covers the ghost
        there = (load for load in (arrow.target, *self.history.loads) if load in places)
        aim = (places[load] for load in there if load.extents == arrow.target.extents)
        top1, top2 = places.get(arrow.patch, y - 34) + 26, next(aim, y - 34) + 26
        low, tail = y + 5, top2 + 9
        self.out.append(
            f'<path class="{arrow.kind}" d="M{x1:.1f} {top1:.1f} C{x1:.1f} {low:.1f} {x2:.1f} {low:.1f} {x2:.1f} {tail:.1f}"/>'
            f'<polygon class="h-{arrow.kind}" points="{x2:.1f},{top2:.1f} {x2 - 4.5:.1f},{tail:.1f} {x2 + 4.5:.1f},{tail:.1f}"/>'
        )
        if beside:
            x, anchor, letters = max(x1, x2) + 10, "start", len(arrow.label)
            if x + letters * 6 >= RIGHT + 8:
                x, anchor = max(min(x1, x2) - 10, LEFT + letters * 6.4), "end"
            self._text(x, y + 4, arrow.label, f"ax halo t-{arrow.kind}", anchor)


def map_svg(history: History, step: int, ask: bool = False, live: bool = True,
            *, max_height: int = MAX_HEIGHT, least: int = 2) -> str:  # fmt: skip
    """The address map as an SVG element; with live=False in fixed colours, for an image.

    max_height: of its rows, in px; earlier rows are left out, but never fewer than `least` shown.
    """
    return _Map(history, step, ask, live, max_height, least).svg()


def two_maps(
    left: History, right: History, steps: tuple[int, int], ask: bool = False, *, max_height: int
) -> tuple[str, str]:
    """The maps of two kernels on one axis, with the same rows: a page is as wide on both, and an address stands at one place.

    steps: the step of each, from 0.
    """
    one, two = (_Map(history, at, ask, True, max_height, 1) for history, at in zip((left, right), steps, strict=True))
    rows = min(len(one.past), len(two.past))
    extents = []
    for each in (one, two):
        each.hidden += len(each.past) - rows
        each.past = each.past[len(each.past) - rows :]
        shown = {box.load for i in each.past for box in boxes(each.history, i, each.history.observed_at(i))}
        extents += [extent for load in shown for extent in load.extents]
    one.axis = two.axis = Axis(extents, LEFT, RIGHT, left.arch.page)
    return one.svg(), two.svg()


def alt_text(history: History, step: int, ask: bool = False) -> str:
    """The map in words, from the rows that it shows, with their addresses."""
    drawn = _Map(history, step, ask, live=True)
    return in_words(history, drawn.past, drawn.hidden, step, ask)
