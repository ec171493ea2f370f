"""Figures for the text of the notebooks; matplotlib is imported here and nowhere else.

Figures are made without pyplot, so none is left open. reuse() draws address-space reuse across rmmod and reload; rows()
is the same as a table, alt_text() the same in words.
"""

from __future__ import annotations

import io
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle

from ...model.recording import Recording
from ...model.step import hexa
from ...reading.history import History
from ..explorer.map import Arrow, Axis, Box, boxes, events, pointers, shorten
from ..style import BLUE, GREEN, ORANGE, PURPLE, VERMILION

GREY = "#555555"
_FACE = {
    "target": ("#d9e9f4", BLUE),
    "patch": ("#fbf0d9", ORANGE),
    "other": ("#f6e9f1", PURPLE),
    "ghost": ("#ffffff", GREY),
    "tried": ("#ffffff", VERMILION),
}
_LINE = {"written": (GREEN, "-"), "kept": (GREY, "-"), "stale": (VERMILION, (0, (4, 2)))}
SIZE = 15  # points: 14 or more can be read from the last row


def reuse(recording: Recording, history: History | None = None) -> Figure:
    """Address space from left to right, time downwards: a row a command, a hatched range where memory was given back.

    12 x 6 inches for up to four commands, taller for more. The same recording gives the same figure.
    """
    history = history or History(recording)
    shown = events(recording)
    figure = Figure(figsize=(12, max(6.0, 1.5 * len(shown))), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axis = Axis([extent for load in history.loads for extent in load.extents], 0.0, 1.0)
    for row, index in enumerate(shown):
        _row(axes, history, axis, row, index)
    _frame(axes, history, axis, shown)
    return figure


def rows(recording: Recording, history: History | None = None) -> list[dict[str, Any]]:
    """The figure as data: a dict for every range of every row: step, command, module, load, what, start, end, sites.

    sites says in words how the sites of livepatches point into the range; "" where none does.

    >>> from klpteach.scenarios.simulate import simulate
    >>> [(r["step"], r["what"]) for r in rows(simulate("reload")) if r["module"] == "nfsd_demo"]
    [(1, 'loaded'), (2, 'loaded'), (3, 'freed'), (4, 'refused')]
    """
    history = history or History(recording)
    words = {"ghost": "freed", "tried": "refused"}
    found = []
    for index in events(recording):
        seen = history.observed_at(index)
        said = {
            (arrow.target.module, arrow.target.extents): f"{arrow.label} ({arrow.patch.module})"
            for arrow in pointers(history, seen)
        }
        for box in boxes(history, index, seen):
            found += [
                {
                    "step": index + 1,
                    "command": recording[index].command,
                    "module": box.load.module,
                    "load": box.load.number,
                    "what": words.get(box.style, "loaded"),
                    "start": extent.start,
                    "end": extent.end,
                    "sites": said.get((box.load.module, box.load.extents), ""),
                }
                for extent in box.load.extents
            ]
    return found


def alt_text(recording: Recording, history: History | None = None) -> str:
    """The figure in words, with the addresses of the recording."""
    history = history or History(recording)
    said, table = ["Address space across the story, time downwards."], rows(recording, history)
    for index in events(recording):
        mine = [row for row in table if row["step"] == index + 1]
        parts = [
            f"{row['module']} {row['what']} at {hexa(row['start'])}{', ' + row['sites'] if row['sites'] else ''}"
            for number, row in enumerate(mine)
            if not number or (row["module"], row["load"]) != (mine[number - 1]["module"], mine[number - 1]["load"])
        ]
        said.append(f"Step {index + 1}, {recording[index].command}: {'; '.join(parts) or 'no addresses known'}.")
    return " ".join(said)


def svg(figure: Figure) -> str:
    """A figure as SVG text, byte for byte the same each time: fixed ids, no date."""
    out = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "klpteach", "svg.fonttype": "path"}):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return out.getvalue()


def png(figure: Figure, dpi: int = 100) -> bytes:
    """A figure as PNG bytes, without a software tag that would change with the version."""
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=dpi, metadata={"Software": None})
    return out.getvalue()


def _row(axes: Axes, history: History, axis: Axis, row: int, index: int) -> None:
    step = history.recording[index]
    outcome = f" → {step.errno}".replace("-", "−") if step.errno else ""
    axes.text(
        0,
        row + 0.02,
        f"{index + 1}  {shorten(step.command, 60)}{outcome}",
        family="monospace",
        size=SIZE - 1,
        va="top",
        color=VERMILION if step.refused else "#1a1a1a",
    )
    for box in boxes(history, index, history.observed_at(index)):
        _draw_box(axes, axis, box, row + 0.32)
    drawn = [arrow for arrow in pointers(history, history.observed_at(index)) if arrow.kind != "kept"]
    for number, arrow in enumerate(drawn):
        label = arrow.label if len(drawn) == 1 else f"{arrow.target.module}: {arrow.label}"
        _draw_arrow(axes, axis, arrow, label, row + 0.70, number)


def _draw_box(axes: Axes, axis: Axis, box: Box, top: float) -> None:
    face, edge = _FACE[box.style]
    hollow, parted = box.style in ("ghost", "tried"), len(box.load.extents) > 1
    low, height = (top + 0.18, 0.18) if parted else (top, 0.36)  # several mappings: the name stands above them
    for extent in box.load.extents:
        left, right = axis.x(extent.start), axis.x(extent.end)
        axes.add_patch(
            Rectangle(
                (left, low),
                max(right - left, 0.004),
                height,
                facecolor=face,
                edgecolor=edge,
                linewidth=2,
                hatch="//" if hollow else None,
                linestyle="--" if hollow else "-",
                zorder=1 if box.style == "ghost" else 2,
            )
        )
    left, right = axis.x(box.load.extents[0].start), axis.x(box.load.extents[-1].end)
    if parted:
        axes.plot([left, right], [low + height / 2] * 2, color=edge, linewidth=1, linestyle=":", zorder=0)
        axes.text(left, top + 0.15, box.label, size=SIZE, weight="bold", ha="left", va="bottom", zorder=4)
        return
    room = int((right - left) * 90)
    label = "freed" if box.style == "ghost" and room < len(box.label) else box.label
    if room < len(label):
        label = shorten(label, room) if room > 5 else ""
    if label:
        axes.text(
            (left + right) / 2,
            top + 0.18,
            label,
            size=SIZE,
            weight="bold",
            ha="center",
            va="center",
            zorder=4,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.5},
        )


def _draw_arrow(axes: Axes, axis: Axis, arrow: Arrow, label: str, y: float, number: int) -> None:
    colour, style = _LINE[arrow.kind]
    source, aim = arrow.patch.extents, arrow.target.extents
    start, end = axis.x(source[0].start), axis.x(aim[-1].end)
    if end > start:
        start, end = axis.x(source[-1].end), axis.x(aim[0].start)
    inward = 0.02 if end < start else -0.02
    bend = min(0.25, 0.05 / max(abs(end - start), 0.01)) * (-1 if end < start else 1)  # a long arrow is a flat one
    axes.add_patch(
        FancyArrowPatch(
            (start + inward, y),
            (end - inward, y),
            connectionstyle=f"arc3,rad={bend}",
            arrowstyle="-|>",
            mutation_scale=18,
            color=colour,
            linestyle=style,
            linewidth=2,
            zorder=3,
        )
    )
    side = "left" if end < start else "right"
    axes.text(
        start + (0.035 if side == "left" else -0.035),
        y + 0.05 + 0.16 * number,
        label,
        size=SIZE - 1,
        color=_dark(arrow.kind),
        ha=side,
        va="top",
        zorder=4,
    )


def _dark(kind: str) -> str:
    """A colour for words: the line's, darker, so that it can be read."""
    return {"written": "#00664b", "stale": "#9a4400"}.get(kind, GREY)


def _frame(axes: Axes, history: History, axis: Axis, shown: list[int]) -> None:
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(len(shown) + 0.08, -0.35)
    starts = sorted(
        {box.load.extents[0].start for index in shown for box in boxes(history, index, history.observed_at(index))}
    )
    ticks = [
        start for number, start in enumerate(starts) if not number or axis.x(start) - axis.x(starts[number - 1]) > 0.21
    ]
    for start in ticks:
        axes.axvline(axis.x(start), color="#dddddd", linewidth=1, zorder=-1)
        axes.text(
            axis.x(start),
            -0.12,
            hexa(start),
            family="monospace",
            size=SIZE - 1,
            va="bottom",
            ha="left" if axis.x(start) < 0.8 else "right",
        )
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    for cut in axis.breaks:
        axes.text(cut, -0.02, "≈", size=SIZE, ha="center", va="center")
