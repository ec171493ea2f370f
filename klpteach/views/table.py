"""Tables to be read: cells are sentences and kernel lines, so they wrap and stand at the left, unlike a DataFrame's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Any

from .reply import inline
from .shown import Shown, escape
from .style import VERMILION

LEFT = "text-align:left"  # Jupyter sets table cells to the right
SENTENCES = f"{LEFT};vertical-align:top;white-space:normal;max-width:44em;overflow-wrap:break-word"
ONE_LINE = f"{LEFT};vertical-align:top;white-space:nowrap"
_BAR = f"{LEFT};vertical-align:top;min-width:6em"
_BYTES = f"font-family:monospace;{LEFT};white-space:pre;padding:3px 14px 3px 4px"
_WRONG = f"border:2px dashed {VERMILION};font-weight:bold;padding:0 1px"
_SHADES = {
    "solid": "background:currentColor",
    "striped": "background:repeating-linear-gradient(135deg,currentColor 0 3px,transparent 3px 6px)",
}
_WIDEST = 72  # letters of a column in a terminal


@dataclass(frozen=True)
class Cell:
    """A cell whose HTML is not just its text. css: instead of the table's; span: how many columns; value: what it shows."""

    html: str
    text: str = ""
    css: str | None = None
    span: int = 1
    value: Any = None


Row = Sequence[str | Cell]


class Folded(Shown):
    """Something that not every reader wants, behind a line that can be opened; in a terminal the line alone.

    >>> Folded("All of it", Table(("a",), [("1",)]))
    All of it (folded)
    """

    def __init__(self, summary: str, inside: Shown) -> None:
        self.summary, self.inside = summary, inside

    def to_html(self) -> str:
        return f"<details><summary>{escape(self.summary)}</summary>{self.inside.to_html()}</details>"

    def to_text(self) -> str:
        return f"{self.summary} (folded)"


class Table(Shown):
    """Rows under headings, as HTML in a notebook and as aligned text in a terminal.

    A cell that is a str is escaped, and `so` is code; leading blanks are depth. marked: numbers of rows (from 0) that are
    set bold; each should say why in words too. caption stands above, note below. css: of every cell. labels: the first
    cell of a row is its heading. ruled: in text, a line below the headings.

    >>> Table(("who", "says"), [("rmmod", "`in use`")])
    who    says
    -----  ------
    rmmod  in use
    """

    def __init__(self, heads: Row, rows: Sequence[Row], caption: str = "", marked: Sequence[int] = (), *,
                 note: str = "", css: str = SENTENCES, labels: bool = False, ruled: bool = True) -> None:  # fmt: skip
        self.heads, self.rows, self.caption, self.marked = tuple(heads), list(rows), caption, set(marked)
        self.note, self.css, self.labels, self.ruled = note, css, labels, ruled

    def to_html(self) -> str:
        head = "".join(self._cell('th scope="col"', name) for name in self.heads)
        body = "".join(self._row(number, row) for number, row in enumerate(self.rows))
        caption, note = (f"<p>{inline(text)}</p>" if text else "" for text in (self.caption, self.note))
        return f"{caption}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{note}"

    def _row(self, number: int, row: Row) -> str:
        first = 'th scope="row"' if self.labels else "td"
        cells = [self._cell("td" if place else first, cell, number in self.marked) for place, cell in enumerate(row)]
        return f"<tr>{''.join(cells)}</tr>"

    def _cell(self, tag: str, cell: str | Cell, bold: bool = False) -> str:
        shown = cell if isinstance(cell, Cell) else Cell("&nbsp;" * 2 * _depth(cell) + inline(cell.lstrip(" ")))
        css = self.css if shown.css is None else shown.css
        span = f' colspan="{shown.span}"' if shown.span > 1 else ""
        style = f' style="{css}"' if css else ""
        inner = f"<strong>{shown.html}</strong>" if bold else shown.html
        return f"<{tag}{span}{style}>{inner}</{tag[:2]}>"

    def to_text(self) -> str:
        whole = (self.heads, *self.rows)
        rows = [[cell.text if isinstance(cell, Cell) else plain(cell) for cell in row] for row in whole]
        widths = [min(max(map(len, column)), _WIDEST) for column in zip(*rows, strict=True)]
        if self.ruled:
            rows.insert(1, ["-" * width for width in widths])
        lines = [line for row in rows for line in _aligned(row, widths)]
        return "\n".join([*filter(None, [plain(self.caption)]), *lines, *filter(None, [plain(self.note)])])


def plain(text: str) -> str:
    """A cell without its code marks."""
    return text.replace("`", "") if text.count("`") % 2 == 0 else text


def _depth(text: str) -> int:
    return len(text) - len(text.lstrip(" "))


def _aligned(row: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    cells = [wrap(cell, width, drop_whitespace=True) or [""] for cell, width in zip(row, widths, strict=True)]
    for cell, text in zip(cells, row, strict=True):
        cell[0] = " " * _depth(text) + cell[0].lstrip(" ")
    for n in range(max(map(len, cells))):
        parts = [cell[n] if n < len(cell) else "" for cell in cells]
        yield "  ".join(part.ljust(width) for part, width in zip(parts, widths, strict=True)).rstrip()


def byte_table(heads: Sequence[str], rows: Sequence[tuple[str, Sequence[str | tuple[bytes, bytes]]]]) -> Table:
    """Rows of (label, cells); a cell is a text, or the bytes that are there and those that should be.

    >>> byte_table(("", "four bytes"), [("now", [(b"\\x90\\x00", b"\\x00\\x00")])])
         four bytes
    now  90* 00
    Framed (in text: *): not what it should be.
    """
    shown = ((label, (cell if isinstance(cell, str) else _bytes(*cell) for cell in cells)) for label, cells in rows)
    body: list[Row] = [[label, *cells] for label, cells in shown]
    note = "Framed (in text: *): not what it should be."
    return Table(heads, body, note=note, css=LEFT, labels=True, ruled=False)


def _bytes(now: bytes, right: bytes) -> Cell:
    pairs = [(f"{n:02x}", n == r) for n, r in zip(now, right, strict=True)]
    framed = [byte if good else f'<span style="{_WRONG}">{byte}</span>' for byte, good in pairs]
    starred = [byte if good else f"{byte}*" for byte, good in pairs]
    return Cell(" ".join(framed), " ".join(starred), _BYTES, value=now)


Named = Sequence[tuple[str, Sequence[float]]]


def bar_table(heads: Sequence[tuple[str, str]], rows: Named, caption: str = "") -> Table:
    """Numbers with a bar under each, a column a scale of its own, under headings (title, "solid" or "striped")."""
    most = [max(column) or 1.0 for column in zip(*(row for _, row in rows), strict=True)]
    shades = [shade for _, shade in heads]
    body: list[Row] = [[label, *map(_bar, row, most, shades)] for label, row in rows]
    titles = [Cell(escape(title), title, _BAR) for title, _ in heads]
    return Table(["", *titles], body, caption, css=ONE_LINE, labels=True, ruled=False)


def _bar(value: float, most: float, shade: str) -> Cell:
    size = f"height:9px;width:{max(100 * value / most, 1.0):.1f}%;margin-top:2px"
    bar = f'<div style="{size};{_SHADES[shade]}"></div>' if value else ""
    return Cell(short(value) + bar, short(value), _BAR, value=value)


def short(value: float) -> str:
    """A number, short: two digits below 10, none behind the point above.

    >>> short(0), short(0.0342), short(5.0), short(12345.6)
    ('0', '0.034', '5', '12,346')
    """
    return f"{value:,.0f}" if value >= 10 or not value else f"{value:.2g}"
