"""What the course's own figures share: a canvas without pyplot, sizes, and a picture that brings its words and its data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from .picture import Picture
from .reuse import png, svg

if TYPE_CHECKING:
    import pandas as pd

SIZE = 15  # points in a figure 12 inches wide: 14 or more can be read from the last row
INK, SOFT, PALE = "#1a1a1a", "#555555", "#dddddd"


class _PlainAxes(Axes):
    """Axes whose words are words: a name with $ in it is no formula."""

    def text(self, x: float, y: float, s: str, *args: Any, **kwargs: Any) -> Text:
        return super().text(x, y, s, *args, parse_math=False, **kwargs)


def canvas(height: float, width: float = 12.0) -> tuple[Figure, Axes]:
    """An empty figure in inches, and axes that fill it, without frame or ticks."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(axes_class=_PlainAxes)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    return figure, axes


class Drawing(Picture):
    """A picture made from rows: `figure` to draw anew, `alt` its words, `rows` its data, table() the same as a DataFrame."""

    def __init__(self, figure: Figure, alt: str, rows: Sequence[Mapping[str, Any]]) -> None:
        super().__init__(png(figure), alt)
        self.figure, self.rows = figure, list(rows)

    def table(self) -> pd.DataFrame:
        """The picture's data; addresses as text, with 0x and 16 digits."""
        from ..frames import table

        return table(self.rows)

    def svg(self) -> str:
        """The picture as SVG text, the same each time."""
        return svg(self.figure)


def fits(text: str, inches: float, size: float = SIZE, mono: bool = False) -> bool:
    """Whether a text of that size in points has room in a width: a letter is about 0.55 of its size wide, mono 0.62."""
    return len(text) * size * (0.62 if mono else 0.56) / 72 < inches
