"""A small table of bytes, one under the other, in which bytes that are not what they should be are framed and starred."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from .style import VERMILION

_MONO = "font-family:monospace;text-align:left;white-space:pre;padding:3px 14px 3px 4px"
_WRONG = f"border:2px dashed {VERMILION};font-weight:bold;padding:0 1px"
Cell = str | tuple[bytes, bytes]  # a text, or the bytes that are there and those that should be


class ByteRows:
    """Rows of bytes under headings: (label, cells). A byte that should be another is starred in text, framed in HTML.

    >>> ByteRows(("", "four bytes"), [("now", [(b"\\x90\\x00", b"\\x00\\x00")])])
         four bytes
    now  90* 00
    """

    def __init__(self, heads: Sequence[str], rows: Sequence[tuple[str, Sequence[Cell]]], note: str = "") -> None:
        self.heads, self.rows, self.note = heads, rows, note

    def __repr__(self) -> str:
        lines = [list(self.heads), *([label, *map(_text, cells)] for label, cells in self.rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        text = "\n".join(
            "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines
        )
        return text + (f"\n{self.note}" if self.note else "")

    def _repr_html_(self) -> str:
        head = "".join(f'<th style="text-align:left">{escape(one)}</th>' for one in self.heads)
        body = "".join(
            f'<tr><th style="text-align:left">{escape(label)}</th>{"".join(map(_html, cells))}</tr>'
            for label, cells in self.rows
        )
        note = f"<p>{escape(self.note)}</p>" if self.note else ""
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{note}"


def _text(cell: Cell) -> str:
    if isinstance(cell, str):
        return cell
    return " ".join(f"{now:02x}{'' if now == right else '*'}" for now, right in zip(*cell, strict=True))


def _html(cell: Cell) -> str:
    if isinstance(cell, str):
        return f'<td style="text-align:left">{escape(cell)}</td>'
    shown = (
        f"{now:02x}" if now == right else f'<span style="{_WRONG}">{now:02x}</span>'
        for now, right in zip(*cell, strict=True)
    )
    return f'<td style="{_MONO}">{" ".join(shown)}</td>'
