"""The consequences of every proposal as a figure: a letter and a colour in each cell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.typing import FillStyleType

from ...discussion.consequences import MODEL, OWN_BUILD, QUESTIONS, SHIPPED, WHO, Consequence, Rows
from ...discussion.consequences import of_kernel as of_kernel
from ...model.policy import PROPOSALS
from ...reading.outcome import ENDINGS
from ..style import BLUE, BROWN, GREEN, ORANGE, PURPLE, SKY, VERMILION, YELLOW, blend
from .base import INK, SOFT, Drawing, canvas

SIZE, LEFT = 15, -9.5  # points; where the words begin, in cells
# From the worst ending to the best; a tenth one cannot be forgotten here.
COLOURS = dict(zip(ENDINGS, (INK, BROWN, VERMILION, YELLOW, PURPLE, ORANGE, BLUE, SOFT, SKY, GREEN), strict=True))


def consequences_picture(arch: str = "x86_64", release: str = "6.1", rows: Rows | None = None) -> Drawing:
    """One kernel's table as a picture with its words and its data. rows: default data/consequences.csv."""
    mine = of_kernel(arch, release, rows)
    return Drawing(consequences_figure(arch, release, mine), alt_text(mine), [asdict(row) for row in mine])


def consequences_figure(arch: str = "x86_64", release: str = "6.1", rows: Rows | None = None) -> Figure:
    """A row a story, a column a choice of proposals; full colour and a frame where nobody would wish for it.

    A dot says who says so; where it is the model alone the cell's edge is dashed.
    """
    mine = of_kernel(arch, release, rows)
    columns = list(dict.fromkeys(row.proposals for row in mine))
    questions = [q for q in QUESTIONS if any(row.question == q.key for row in mine)]
    figure, axes = canvas(6.8 + 0.42 * len(questions), 14.0)
    keys, kinds = [question.key for question in questions], {row.kind for row in mine}
    for row in mine:
        _cell(axes, columns.index(row.proposals), keys.index(row.question), row)
    for number, question in enumerate(questions):
        axes.text(-0.15, number + 0.5, question.asks, size=SIZE, ha="right", va="center", color=INK)
    for number, name in enumerate(columns):
        axes.text(number + 0.35, -0.2, label(name), size=SIZE, rotation=40, ha="left", va="bottom", color=INK)
    _legend(axes, len(questions), kinds)
    axes.text(LEFT, -3.4, f"{arch}, kernel {release}", size=SIZE + 4, weight="bold", ha="left", va="bottom")
    axes.set(xlim=(LEFT - 0.1, len(columns) + 4.5), ylim=(len(questions) + 4.6 + 0.8 * len(kinds), -6.4))
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
    said = [f"What each choice comes to on {rows[0].arch} {rows[0].release}, {stories} stories.", _seen(rows)]
    for name in dict.fromkeys(row.proposals for row in rows):
        mine = [row for row in rows if row.proposals == name]
        wished = f"{sum(row.as_wished for row in mine)} of {len(mine)} as wished"
        said.append("; ".join([f"{label(name).capitalize()}: {wished}", *_bad(mine)]) + ".")
    return " ".join(said)


def _seen(rows: Sequence[Consequence]) -> str:
    """How many endings were seen on which kernels.

    >>> _seen([])
    "0 endings: 0 seen on a distribution's kernel, 0 seen on a kernel of our own build, 0 the model's word."
    """
    counts = [f"{sum(row.mark == mark for row in rows)} {words}" for mark, words in WHO.items()]
    return f"{len(rows)} endings: {', '.join(counts)}."


def _bad(rows: Sequence[Consequence]) -> Iterator[str]:
    asks = {question.key: question.asks for question in QUESTIONS}
    for ending in ENDINGS.values():
        found = [asks[row.question] for row in rows if row.kind == ending.kind and not row.as_wished]
        if found:
            yield f"{ending.words}: {', '.join(found)}"


def _cell(axes: Axes, x: int, y: int, row: Consequence) -> None:
    face, edge, ink, weight = COLOURS[row.kind], INK, _ink(row.kind), "bold"
    if row.as_wished:
        face, edge, ink, weight = blend(face, "#ffffff", 0.25), "#dddddd", INK, "normal"
    line = "-" if row.recording else (0, (3, 2))
    box = Rectangle((x + 0.04, y + 0.06), 0.92, 0.88, facecolor=face, edgecolor=edge, linewidth=1.2, linestyle=line)
    axes.add_patch(box)
    letter = ENDINGS[row.kind].letter
    axes.text(x + 0.36, y + 0.52, letter, size=SIZE, weight=weight, ha="center", va="center", color=ink)
    _dot(axes, x + 0.78, y + 0.5, row.mark, ink)


def _dot(axes: Axes, x: float, y: float, mark: str, ink: str) -> None:
    """A filled dot, a half filled one, or a ring: drawn, since not every font has them."""
    fill: FillStyleType = "full" if mark == SHIPPED else "left" if mark == OWN_BUILD else "none"
    style = {"markerfacecoloralt": "none", "markerfacecolor": ink, "markeredgecolor": ink, "markeredgewidth": 0.9}
    axes.add_line(Line2D([x], [y], marker="o", markersize=6.5, fillstyle=fill, linestyle="none", **style))  # type: ignore[arg-type]


def _ink(kind: str) -> str:
    return (
        "#ffffff" if kind in ("oops", "oops-on-use", "pinned", "apart") else INK
    )  # white stands out on these, black elsewhere


def _legend(axes: Axes, top: int, kinds: set[str]) -> None:
    shown, note = [kind for kind in ENDINGS if kind in kinds], top + 0.9 + 0.8 * len(kinds)
    words = "pale: as whoever tells the story would wish; full colour, bold and framed: not"
    axes.text(LEFT + 3, note, words, size=SIZE - 1, ha="left", va="center", color=SOFT)
    for number, (mark, who) in enumerate(WHO.items()):
        y = note + 0.9 + 0.8 * number
        _dot(axes, LEFT + 3.3, y, mark, INK)
        axes.text(LEFT + 3.8, y + 0.02, who if mark != MODEL else f"{who}; the edge is dashed", size=SIZE - 1, ha="left",
                  va="center", color=INK)  # fmt: skip
    for number, kind in enumerate(shown):
        x, y, ending = LEFT + 3, top + 0.9 + 0.8 * number, ENDINGS[kind]
        axes.add_patch(Rectangle((x, y - 0.3), 0.6, 0.6, facecolor=COLOURS[kind], edgecolor=INK, linewidth=1))
        style: dict[str, Any] = {"size": SIZE - 1, "va": "center"}
        axes.text(x + 0.3, y + 0.02, ending.letter, weight="bold", ha="center", color=_ink(kind), **style)
        axes.text(x + 0.8, y + 0.02, ending.meaning, ha="left", color=INK, **style)
