"""Address-space reuse across rmmod and reload: addresses from left to right, time downwards, a row a command."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, Rectangle

from ...model.recording import Recording
from ...model.step import hexa
from ...reading.history import History
from ...reading.loads import Load
from ..explorer.map import Arrow, Axis, Box, Name, boxes, events, lanes, pointers, shorten
from ..style import BLUE, GREEN, ORANGE, PURPLE, VERMILION
from .base import INK, PALE, SIZE, SOFT, Drawing, canvas

_FACE = {"target": ("#d9e9f4", BLUE), "patch": ("#fbf0d9", ORANGE), "other": ("#f6e9f1", PURPLE),
         "ghost": ("#ffffff", SOFT), "tried": ("#ffffff", VERMILION)}  # fmt: skip
# a line of an arrow, and a darker colour for its words, which can be read
_LINE = {"written": (GREEN, "-", "#00664b"), "kept": (SOFT, "-", SOFT), "stale": (VERMILION, (0, (4, 2)), "#9a4400")}
# Across, the axis is 1 wide; downwards, a row of one lane is 1 high, which is 1.5 inches.
_LETTER, _WORD, _DIGIT, _PAD = 0.0115, 0.0089, 0.0101, 0.006  # of a name, an arrow's words, an address; about a name
_BOX, _LANE, _LINE_HEIGHT = 0.36, 0.46, 0.16


def reuse(recording: Recording, history: History | None = None) -> Drawing:
    """Draw what was where, command by command: a hatched range where memory was given back, arrows where sites point.

    12 x 6 inches for up to four commands, taller for more. The same recording gives the same figure.
    """
    history = history or History(recording)
    axis = Axis([extent for load in history.loads for extent in load.extents], 0.0, 1.0)
    rows = [_Row(history, axis, index) for index in events(recording)]
    height = sum(row.height for row in rows)
    figure, axes = canvas(max(6.0, 1.5 * height))
    y = 0.0
    for row in rows:
        row.draw(axes, y)
        y += row.height
    _addresses(axes, axis, {box.load.extents[0].start for row in rows for box in row.boxes})
    axes.set(xlim=(-0.01, 1.01), ylim=(height + 0.08, -0.35))
    return Drawing(figure, reuse_alt(recording, history), reuse_rows(recording, history))


def reuse_rows(recording: Recording, history: History | None = None) -> list[dict[str, Any]]:
    """A dict for every range of every row: step, command, module, load, what, start, end, sites.

    sites says in words how the sites of livepatches point into the range; "" where none does.
    """
    history = history or History(recording)
    words = {"ghost": "freed", "tried": "refused"}
    found = []
    for index in events(recording):
        seen = history.observed_at(index)
        said = {(a.target.module, a.target.extents): f"{a.label} ({a.patch.module})" for a in pointers(history, seen)}
        for box in boxes(history, index, seen):
            row = {"step": index + 1, "command": recording[index].command, "module": box.load.module,
                   "load": box.load.number, "what": words.get(box.style, "loaded")}  # fmt: skip
            sites = said.get((box.load.module, box.load.extents), "")
            found += [{**row, "start": one.start, "end": one.end, "sites": sites} for one in box.load.extents]
    return found


def reuse_alt(recording: Recording, history: History | None = None) -> str:
    """The figure in words, with the addresses of the recording."""
    history = history or History(recording)
    said, table = ["Address space across the story, time downwards."], reuse_rows(recording, history)
    for index in events(recording):
        mine = [row for row in table if row["step"] == index + 1]
        firsts = [next(group) for _, group in groupby(mine, lambda row: (row["module"], row["load"]))]
        placed = [(f"{row['module']} {row['what']} at {hexa(row['start'])}", row["sites"]) for row in firsts]
        parts = [", ".join(filter(None, pair)) for pair in placed]
        said.append(f"Step {index + 1}, {recording[index].command}: {'; '.join(parts) or 'no addresses known'}.")
    return " ".join(said)


class _Row:
    """A command, the boxes below it in lanes, and below these the words of the arrows."""

    def __init__(self, history: History, axis: Axis, index: int) -> None:
        seen = history.observed_at(index)
        self.step, self.number, self.axis = history.recording[index], index + 1, axis
        self.boxes = boxes(history, index, seen)
        self.names = [Name.of(box, axis, _LETTER, _PAD, 1.0) for box in self.boxes]
        self.lanes = lanes(self.boxes, self.names, _PAD)
        self.arrows = [arrow for arrow in pointers(history, seen) if arrow.kind != "kept"]
        self.depth = _LANE * max(self.lanes, default=0)
        self.height = 1 + self.depth
        if len(self.arrows) > 1:
            self.height += _LINE_HEIGHT * (len(self.arrows) - 0.4)  # their words stand below all of them

    def draw(self, axes: Axes, y: float) -> None:
        outcome = f" → {self.step.errno}".replace("-", "−") if self.step.errno else ""
        command = f"{self.number}  {shorten(self.step.command, 60)}{outcome}"
        colour = VERMILION if self.step.refused else INK
        axes.text(0, y + 0.02, command, family="monospace", size=SIZE - 1, va="top", color=colour)
        tops = [y + 0.32 + _LANE * lane for lane in self.lanes]
        for box, name, top in zip(self.boxes, self.names, tops, strict=True):
            _draw_box(axes, self.axis, box, None if self._stood_on(box, top, tops) else name, top)
        floors = {box.load: top + _BOX for box, top in zip(self.boxes, tops, strict=True)}
        floor = y + 0.32 + _BOX + self.depth
        for number, arrow in enumerate(self.arrows):
            source, alone = _floor(floors, arrow.patch, floor), len(self.arrows) == 1
            _draw_arrow(axes, self.axis, arrow, source, _floor(floors, arrow.target, floor))
            words = _Words(self.axis, arrow, arrow.label if alone else f"{arrow.target.module}: {arrow.label}")
            lower = [name for name, low in zip(self.names, floors.values(), strict=True) if low > source]
            met = any(words.left < name.right and name.left < words.right for name in lower)
            lines = number if alone else number + 0.6
            words.draw(axes, (source if alone and not met else floor) + 0.07 + _LINE_HEIGHT * lines)

    def _stood_on(self, ghost: Box, top: float, tops: list[float]) -> bool:
        """Whether something else stands in its lane where this range was freed: then its hatching says enough."""
        here = (box for box, other in zip(self.boxes, tops, strict=True) if other == top and box.style != "ghost")
        taken = [extent for box in here for extent in box.load.extents]
        meets = (a.start < b.end and b.start < a.end for a in ghost.load.extents for b in taken)
        return ghost.style == "ghost" and any(meets)


def _floor(floors: dict[Load, float], load: Load, otherwise: float) -> float:
    """The lower edge of a load's box, or of what stands in its place."""
    return next((floor for other, floor in floors.items() if other.extents == load.extents), otherwise)


def _draw_box(axes: Axes, axis: Axis, box: Box, name: Name | None, top: float) -> None:
    face, edge = _FACE[box.style]
    parted = len(box.load.extents) > 1
    low, height = (top + _BOX / 2, _BOX / 2) if parted else (top, _BOX)  # several mappings: the name stands above them
    depth = 1 if box.style == "ghost" else 2
    look: dict[str, Any] = {"facecolor": face, "edgecolor": edge, "linewidth": 2, "zorder": depth}
    if box.style in ("ghost", "tried"):
        look |= {"hatch": "//", "linestyle": "--"}
    for extent in box.load.extents:
        left, right = axis.x(extent.start), axis.x(extent.end)
        axes.add_patch(Rectangle((left, low), max(right - left, 0.004), height, **look))
    if name is None:
        return
    align = {"start": "left", "middle": "center", "end": "right"}[name.anchor]
    text: dict[str, Any] = {"size": SIZE, "weight": "bold", "zorder": 4, "ha": align}
    if parted:
        ends = [axis.x(box.load.extents[0].start), axis.x(box.load.extents[-1].end)]
        axes.plot(ends, [low + height / 2] * 2, color=edge, linewidth=1, linestyle=":", zorder=0)
        axes.text(name.x, top + 0.15, name.text, va="bottom", **text)
    else:
        halo = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.5}
        axes.text(name.x, top + 0.18, name.text, va="center", bbox=halo, **text)


def _draw_arrow(axes: Axes, axis: Axis, arrow: Arrow, source: float, aim: float) -> None:
    """From below the livepatch's box to below the target's; a target in a lower lane is met at its side."""
    colour, line, _ = _LINE[arrow.kind]
    start, end, inward = _ends(axis, arrow)
    bend = min(0.25, 0.05 / max(abs(end - start), 0.01)) * (-1 if end < start else 1)  # a long arrow is a flat one
    tip = (end - inward, aim + 0.02) if aim <= source else (end, aim - _BOX / 2)
    axes.add_patch(FancyArrowPatch((start + inward, source + 0.02), tip, connectionstyle=f"arc3,rad={bend}", arrowstyle="-|>",
                                   mutation_scale=18, color=colour, linestyle=line, linewidth=2, zorder=3))  # fmt: skip


class _Words:
    """An arrow's words, on from where it starts; at the figure's edge they keep inside."""

    def __init__(self, axis: Axis, arrow: Arrow, label: str) -> None:
        start, end, _ = _ends(axis, arrow)
        width = _WORD * len(label)
        left = start + 0.035 if end < start else start - 0.035 - width
        self.label, self.colour = label, _LINE[arrow.kind][2]
        self.left = max(0.0, min(left, 1 - width))
        self.right = self.left + width
        self.to_right = left == self.left and end > start  # they end where the arrow starts

    def draw(self, axes: Axes, y: float) -> None:
        x, align = (self.right, "right") if self.to_right else (self.left, "left")
        axes.text(x, y, self.label, size=SIZE - 1, color=self.colour, ha=align, va="top", zorder=4)


def _ends(axis: Axis, arrow: Arrow) -> tuple[float, float, float]:
    """Where an arrow starts and ends, at the edges that face each other, and how far inwards it goes there."""
    source, aim = arrow.patch.extents, arrow.target.extents
    start, end = axis.x(source[0].start), axis.x(aim[-1].end)
    if end > start:
        start, end = axis.x(source[-1].end), axis.x(aim[0].start)
    return start, end, 0.02 if end < start else -0.02


def _addresses(axes: Axes, axis: Axis, starts: set[int]) -> None:
    """Where modules begin, with the address where there is room for it; ≈ where a gap is cut."""
    taken = -1.0
    for start in sorted(starts):
        x, width = axis.x(start), 18 * _DIGIT
        left = x if x + width <= 1 else x - width
        if left > taken:
            taken = left + width + 0.02
            align = "left" if left == x else "right"
            axes.axvline(x, color=PALE, linewidth=1, zorder=-1)
            axes.text(x, -0.12, hexa(start), family="monospace", size=SIZE - 1, va="bottom", ha=align)
    for cut in axis.breaks:
        axes.text(cut, -0.05, "≈", size=SIZE, ha="center", va="center")
