"""A table to be read: cells are sentences and kernel lines, so they wrap and stand at the left, unlike a DataFrame's."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import wrap

from .reply import inline

_CELL = 'style="text-align:left;vertical-align:top;white-space:normal;max-width:44em;overflow-wrap:break-word"'


class WordTable:
    """Rows of text under headings, as HTML in a notebook and as aligned text in a terminal.

    Cells are escaped; `so` is code. marked: numbers of rows (from 0) that are set bold; each should say why in words too.

    >>> WordTable(("who", "says"), [("rmmod", "`in use`")])
    who    says
    -----  ------
    rmmod  in use
    """

    def __init__(
        self, heads: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "", marked: Sequence[int] = ()
    ) -> None:
        self.heads, self.rows, self.caption, self.marked = tuple(heads), list(rows), caption, set(marked)

    def _repr_html_(self) -> str:
        head = "".join(f'<th scope="col" {_CELL}>{inline(name)}</th>' for name in self.heads)
        body = "".join(self._row(number, row) for number, row in enumerate(self.rows))
        caption = f"<p>{inline(self.caption)}</p>" if self.caption else ""
        return f"{caption}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def _row(self, number: int, row: Sequence[str]) -> str:
        bold, end = ("<strong>", "</strong>") if number in self.marked else ("", "")
        return "<tr>" + "".join(f"<td {_CELL}>{bold}{_cell(text)}{end}</td>" for text in row) + "</tr>"

    def __repr__(self) -> str:
        rows = [[plain(cell) for cell in row] for row in (self.heads, *self.rows)]
        widths = [min(max(map(len, column)), 72) for column in zip(*rows, strict=True)]
        rows.insert(1, ["-" * width for width in widths])
        lines = [plain(self.caption)] if self.caption else []
        for row in rows:
            lines += _aligned(row, widths)
        return "\n".join(lines)


def plain(text: str) -> str:
    """A cell without its code marks."""
    return text.replace("`", "") if text.count("`") % 2 == 0 else text


def _cell(text: str) -> str:
    """Leading blanks are depth: they must survive HTML."""
    depth = len(text) - len(text.lstrip(" "))
    return "&nbsp;" * 2 * depth + inline(text.lstrip(" "))


def _aligned(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    cells = [wrap(cell, width, drop_whitespace=True) or [""] for cell, width in zip(row, widths, strict=True)]
    for cell, text in zip(cells, row, strict=True):
        cell[0] = " " * (len(text) - len(text.lstrip(" "))) + cell[0].lstrip(" ")
    height = max(map(len, cells))
    rows = ([cell[n] if n < len(cell) else "" for cell in cells] for n in range(height))
    return ["  ".join(part.ljust(width) for part, width in zip(row, widths, strict=True)).rstrip() for row in rows]
