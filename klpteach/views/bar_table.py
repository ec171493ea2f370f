"""Numbers with a bar under each, a column a scale of its own: a figure that is a table, in HTML and as text."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from .reply import inline

_LEFT = 'style="text-align:left;vertical-align:top;white-space:nowrap"'
_CELL = 'style="text-align:left;vertical-align:top;min-width:6em"'
_SHADES = {"solid": "background:currentColor", "striped": "background:repeating-linear-gradient(135deg,currentColor 0 3px,transparent 3px 6px)"}  # fmt: skip


class BarTable:
    """Rows of numbers under headings (title, "solid" or "striped"). The longest bar of a column is its largest number.

    >>> BarTable([("days", "solid")], [("one", [10.0]), ("other", [0.25])])
           days
    one    10
    other  0.25
    """

    def __init__(
        self, heads: Sequence[tuple[str, str]], rows: Sequence[tuple[str, Sequence[float]]], caption: str = ""
    ) -> None:
        self.heads, self.rows, self.caption = list(heads), list(rows), caption

    def __repr__(self) -> str:
        lines = [["", *(title for title, _ in self.heads)], *([label, *map(short, row)] for label, row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        text = [
            "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip().removeprefix("\n")
            for line in lines
        ]
        return "\n".join([self.caption] * bool(self.caption) + text)

    def _repr_html_(self) -> str:
        most = [max(column) or 1.0 for column in zip(*(row for _, row in self.rows), strict=True)]
        head = "".join(f'<th scope="col" {_CELL}>{escape(title)}</th>' for title, _ in self.heads)
        body = "".join(
            f'<tr><th scope="row" {_LEFT}>{escape(label)}</th>'
            + "".join(_bar(n / m, short(n), shade) for n, m, (_, shade) in zip(row, most, self.heads, strict=True))
            + "</tr>"
            for label, row in self.rows
        )
        caption = f"<p>{inline(self.caption)}</p>" * bool(self.caption)
        table = f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table>"
        return f'{caption}<div style="overflow-x:auto">{table}</div>'


def _bar(part: float, text: str, shade: str) -> str:
    width = max(100 * part, 1.0) if part else 0.0
    bar = f'<div style="height:9px;width:{width:.1f}%;margin-top:2px;{_SHADES[shade]}"></div>' if width else ""
    return f"<td {_CELL}>{text}{bar}</td>"


def short(value: float) -> str:
    """A number, short: two digits below 10, none behind the point above.

    >>> short(0), short(0.0342), short(5.0), short(12345.6)
    ('0', '0.034', '5', '12,346')
    """
    return f"{value:,.0f}" if value >= 10 or not value else f"{value:.2g}"
