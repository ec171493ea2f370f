"""Where the modules are, as one strip a step on one axis of addresses: each by its first mapping, by name, with its arrows."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from ...model.step import hexa
from ...reading.history import History
from ...reading.loads import Load
from ...views.explorer.map import Arrow, Axis, Box, boxes, in_words, pointers, shorten
from ...views.shown import escape

WIDTH, TOP, BOX, HEIGHT = 600, 4, 46, 84
_LETTER = 0.64  # of a bold letter's size, its width


def short_name(module: str, patch: bool) -> str:
    """What a box is called where there is one livepatch and the rest are samples.

    >>> short_name("livepatch_nfsd_demo", True), short_name("lockd_demo", False)
    ('livepatch', 'lockd')
    """
    return "livepatch" if patch else module.removesuffix("_demo")


class Modules:
    """The strips of a story's steps. `rows`: the steps in sight; the axis is theirs, and stays while they do."""

    def __init__(self, history: History, rows: Iterable[int]) -> None:
        self.history = history
        self.loads = {box.load for i in rows for box in self._boxes(i)}
        self.axis = Axis([load.extents[0] for load in self.loads], 2, WIDTH - 2, history.arch.page)

    def _boxes(self, index: int) -> list[Box]:
        """What is drawn of a step: a range that was freed only where nobody else is by now."""
        found = boxes(self.history, index, self.history.observed_at(index))
        there = [box for box in found if box.style != "ghost"]
        return [box for box in found if box in there or not any(_meet(box.load, other.load) for other in there)]

    def head(self) -> str:
        """The first address of each, above its left edge; the end of it where there is not room for all."""
        starts = sorted({load.extents[0].start for load in self.loads})
        lefts = [*(self.axis.x(start) for start in starts), WIDTH + 60]
        room = min((b - a for a, b in pairwise(lefts)), default=WIDTH)
        size, cut = (23, False) if room > 260 else (20, True)
        said = [f"…{hexa(start)[-8:]}" if cut else hexa(start) for start in starts]
        if room < 112:
            said = [text if n % 2 == 0 or lefts[n] - lefts[n - 1] > 112 else "" for n, text in enumerate(said)]
        texts = "".join(_text(x, 26, text, size, "m soft") for x, text in zip(lefts, said, strict=False))
        return _svg(texts, 34, "Addresses of the modules: " + ", ".join(map(hexa, starts)))

    def row(self, index: int, now: bool) -> str:
        """One step's strip: boxes, arrows below them and what they mean."""
        history, seen = self.history, self.history.observed_at(index)
        shown, arrows = self._boxes(index), pointers(history, seen)
        lines = "".join(
            f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="-40" y2="{HEIGHT + 40}"/>'
            for x in sorted({self.axis.x(load.extents[0].start) for load in self.loads})
        )
        drawn = "".join(map(self._box, shown)) + "".join(self._arrow(arrow) for arrow in arrows[:2])
        drawn += self._label(arrows)
        return _svg(lines + drawn, HEIGHT, in_words(history, [index], 0, index, False))

    def _span(self, load: Load) -> tuple[float, float]:
        left = self.axis.x(load.extents[0].start)
        return left, max(self.axis.x(load.extents[0].end), left + 12)

    def _box(self, box: Box) -> str:
        left, right = self._span(box.load)
        name = "freed" if box.style == "ghost" else short_name(box.load.module, box.style == "patch")
        if box.style == "tried":
            name = f"{name} ✗"
        name += box.label[len(box.load.module) :] if box.label.endswith(" ?") else ""
        size = min(28.0, (right - left - 8) / (len(name) * _LETTER))
        if size < 20:
            size, name = 20, shorten(name, max(int((right - left - 4) / (20 * _LETTER)), 3))
        rect = f'<rect class="{box.style}" x="{left:.1f}" y="{TOP}" width="{right - left:.1f}" height="{BOX}" rx="5"/>'
        return rect + _text((left + right) / 2, TOP + 33, name, size, "b halo", "middle")

    def _arrow(self, arrow: Arrow) -> str:
        (a0, a1), (b0, b1) = self._span(arrow.patch), self._span(arrow.target)
        inwards = min(40, (b1 - b0) / 2)
        x1, x2 = (a1 - 22, b0 + inwards) if b0 > a0 else (a0 + 22, b1 - inwards)
        foot = TOP + BOX + 2
        path = f"M{x1:.0f} {foot} C{x1 - 10:.0f} {foot + 30} {x2:.0f} {foot + 38} {x2:.0f} {foot + 14}"
        head = f"{x2:.0f},{foot} {x2 - 8:.0f},{foot + 15} {x2 + 8:.0f},{foot + 15}"
        return f'<path class="{arrow.kind}" d="{path}"/><polygon class="h-{arrow.kind}" points="{head}"/>'

    def _label(self, arrows: list[Arrow]) -> str:
        """Beside the arrow's foot; of several arrows the sum."""
        if not arrows:
            return ""
        first = arrows[0]
        words = "; ".join(arrow.label.partition(", from")[0].replace(": refused", "") for arrow in arrows)
        size, left = 22, self._span(first.patch)[0] + 34
        width = len(words) * size * 0.56
        x = min(left, WIDTH - width)
        return _text(max(x, 0), TOP + BOX + 29, words, size, f"b halo t-{first.kind}")


def _meet(one: Load, other: Load) -> bool:
    """Whether the first mappings of two loads have an address in common."""
    a, b = one.extents[0], other.extents[0]
    return a.start < b.end and b.start < a.end


def _text(x: float, y: float, text: str, size: float, css: str, anchor: str = "start") -> str:
    said = f'<text x="{x:.1f}" y="{y:.0f}" class="{css}" text-anchor="{anchor}" font-size="{size:.1f}">{escape(text)}</text>'
    return said if text else ""


def _svg(inside: str, height: int, words: str) -> str:
    frame = f'<svg role="img" viewBox="0 0 {WIDTH} {height}" xmlns="http://www.w3.org/2000/svg">'
    return f"{frame}<title>{escape(words)}</title>{inside}</svg>"
