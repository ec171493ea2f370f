"""What the figures share: a canvas without pyplot, PNG and SVG that never change, and a picture that brings its words and data.

Figures are made without pyplot, so none is left open.
"""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from ...errors import printable
from ..shown import Shown, escape
from ..style import SOFT_GREY

if TYPE_CHECKING:
    import pandas as pd

SIZE = 15  # points in a figure 12 inches wide: 14 or more can be read from the last row
INK, SOFT, PALE = "#1a1a1a", SOFT_GREY, "#dddddd"


class _PlainAxes(Axes):
    """Axes whose words are words: a name with $ in it is no formula."""

    def text(self, x: float, y: float, s: str, *args: Any, **kwargs: Any) -> Text:
        return super().text(x, y, printable(s), *args, parse_math=False, **kwargs)


def canvas(height: float, width: float = 12.0) -> tuple[Figure, Axes]:
    """An empty figure in inches, and axes that fill it, without frame or ticks."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(axes_class=_PlainAxes)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    return figure, axes


class Drawing(Shown):
    """A PNG as wide as the page, made from rows: `figure` to draw anew, `alt` its words, `rows` its data, table() a DataFrame.

    In a terminal, and to a screen reader, the words are the picture.
    """

    def __init__(self, figure: Figure, alt: str, rows: Sequence[Mapping[str, Any]]) -> None:
        self.figure, self.alt, self.rows, self.png = figure, alt, list(rows), png(figure)

    def to_text(self) -> str:
        return self.alt

    def to_html(self) -> str:
        source = b64encode(self.png).decode()
        return f'<img alt="{escape(self.alt)}" src="data:image/png;base64,{source}" style="max-width:100%;width:900px;background:#fff">'

    def table(self) -> pd.DataFrame:
        """The picture's data; addresses as text, with 0x and 16 digits."""
        from ..frames import table  # pandas is imported when a table is asked for

        return table(self.rows)

    def svg(self) -> str:
        """The picture as SVG text, byte for byte the same each time: fixed ids, no date."""
        out = io.StringIO()
        with mpl.rc_context({"svg.hashsalt": "klpteach", "svg.fonttype": "path"}):
            self.figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
        return out.getvalue()


def png(figure: Figure, dpi: int = 100) -> bytes:
    """A figure as PNG bytes, without a software tag that would change with the version."""
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=dpi, metadata={"Software": None})
    return out.getvalue()


def fits(text: str, inches: float, size: float = SIZE) -> bool:
    """Whether a text of that size in points has room in a width: a letter is about 0.56 of its size wide."""
    return len(text) * size * 0.56 / 72 < inches
