"""The consequences of every proposal as a figure: a letter and a colour in each cell. One of the rooms that import matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ...discussion.consequences import QUESTIONS, Consequence, read_consequences
from ...model.policy import PROPOSALS
from ...reading.outcome import KINDS, MEANINGS, WORDS
from ..style import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION, blend
from .base import INK, SOFT, Drawing, canvas

SIZE, LEFT = 15, -9.5  # points; where the words begin, in cells
COLOURS = {
    "oops": INK,
    "corrupt": VERMILION,
    "unpatched": PURPLE,
    "refused": ORANGE,
    "pinned": BLUE,
    "apart": SOFT,
    "loads-more": SKY,
    "works": GREEN,
}
LIGHT_INK = ("oops", "pinned", "apart")  # white letters stand out on these, black ones on the others


def consequences_picture(
    arch: str = "x86_64", release: str = "6.1", rows: Sequence[Consequence] | None = None
) -> Drawing:
    """One kernel's table as a picture with its words and its data. rows: default data/consequences.csv.

    >>> consequences_picture().alt[:52]
    'What each choice comes to on x86_64 6.1, 18 stories.'
    """
    mine = of_kernel(arch, release, rows)
    return Drawing(consequences_figure(arch, release, mine), alt_text(mine), [asdict(row) for row in mine])


def of_kernel(arch: str, release: str, rows: Sequence[Consequence] | None = None) -> list[Consequence]:
    """The cells of one kernel."""
    return [r for r in (read_consequences() if rows is None else rows) if (r.arch, r.release) == (arch, release)]


def consequences_figure(
    arch: str = "x86_64", release: str = "6.1", rows: Sequence[Consequence] | None = None
) -> Figure:
    """A row a story, a column a choice of proposals; full colour and a frame where nobody would wish for it."""
    mine = of_kernel(arch, release, rows)
    columns = list(dict.fromkeys(row.proposals for row in mine))
    questions = [q for q in QUESTIONS if any(row.question == q.key for row in mine)]
    figure, axes = canvas(5.8 + 0.42 * len(questions), 14.0)
    for row in mine:
        y = next(number for number, question in enumerate(questions) if question.key == row.question)
        _cell(axes, columns.index(row.proposals), y, row)
    for number, question in enumerate(questions):
        axes.text(-0.15, number + 0.5, question.asks, size=SIZE, ha="right", va="center", color=INK)
    for number, name in enumerate(columns):
        axes.text(number + 0.35, -0.2, label(name), size=SIZE, rotation=40, ha="left", va="bottom", color=INK)
    _legend(axes, len(questions), {row.kind for row in mine})
    axes.text(LEFT, -3.4, f"{arch}, kernel {release}", size=SIZE + 4, weight="bold", ha="left", va="bottom")
    axes.set_xlim(LEFT - 0.1, len(columns) + 4.5)
    axes.set_ylim(len(questions) + 1.8 + 0.8 * len({row.kind for row in mine}), -6.4)
    return figure


def label(proposals: str) -> str:
    """A column's name: the proposals' labels, as the explorer has them.

    >>> label(""), label("deny-removal+clear-checked")
    ('as released', 'deny removal + clear, checked (6.3)')
    """
    return " + ".join(PROPOSALS[name].label for name in proposals.split("+")) if proposals else "as released"


def alt_text(rows: Sequence[Consequence]) -> str:
    """The figure in words: for every choice how many stories come out as wished, and each that does not."""
    if not rows:
        return "No cells."
    stories = len({row.question for row in rows})
    said = [f"What each choice comes to on {rows[0].arch} {rows[0].release}, {stories} stories."]
    for name in dict.fromkeys(row.proposals for row in rows):
        mine = [row for row in rows if row.proposals == name]
        said.append(
            f"{label(name).capitalize()}: {sum(r.as_wished for r in mine)} of {len(mine)} as wished{_bad(mine)}."
        )
    return " ".join(said)


def _bad(rows: Sequence[Consequence]) -> str:
    asks = {question.key: question.asks for question in QUESTIONS}
    parts = [
        f"{WORDS[kind]}: {', '.join(found)}"
        for kind in KINDS
        if (found := [asks[row.question] for row in rows if row.kind == kind and not row.as_wished])
    ]
    return "; " + "; ".join(parts) if parts else ""


def _cell(axes: Axes, x: int, y: int, row: Consequence) -> None:
    face = blend(COLOURS[row.kind], "#ffffff", 0.25) if row.as_wished else COLOURS[row.kind]
    ink = "#ffffff" if row.kind in LIGHT_INK and not row.as_wished else INK
    edge = "#dddddd" if row.as_wished else INK
    axes.add_patch(Rectangle((x + 0.04, y + 0.06), 0.92, 0.88, facecolor=face, edgecolor=edge, linewidth=1.2))
    weight = "normal" if row.as_wished else "bold"
    axes.text(x + 0.5, y + 0.52, KINDS[row.kind], size=SIZE, weight=weight, ha="center", va="center", color=ink)


def _legend(axes: Axes, top: int, kinds: set[str]) -> None:
    shown = [kind for kind in KINDS if kind in kinds]
    note = "pale: as whoever tells the story would wish; full colour, bold and framed: not"
    axes.text(LEFT + 3, top + 0.9 + 0.8 * len(shown), note, size=SIZE - 1, ha="left", va="center", color=SOFT)
    for number, kind in enumerate(shown):
        x, y = LEFT + 3, top + 0.9 + 0.8 * number
        colour = COLOURS[kind]
        axes.add_patch(Rectangle((x, y - 0.3), 0.6, 0.6, facecolor=colour, edgecolor=INK, linewidth=1))
        ink = "#ffffff" if kind in LIGHT_INK else INK
        axes.text(x + 0.3, y + 0.02, KINDS[kind], size=SIZE - 1, weight="bold", ha="center", va="center", color=ink)
        axes.text(x + 0.8, y + 0.02, MEANINGS[kind], size=SIZE - 1, ha="left", va="center", color=INK)
