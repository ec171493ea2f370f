"""What the course says back: a mark and a few sentences, for a notebook and for a terminal; and text as small HTML."""

from __future__ import annotations

import re

from .shown import Shown, escape

COLOURS = {"✓": "#009E73", "✗": "#D55E00"}
CALM = "#0072B2"
_AS_TYPED = (
    "font-family:var(--jp-code-font-family,monospace)"  # columns stay columns where a page gives pre another font
)


class Reply(Shown):
    """A few sentences with a mark: ✓ right, ✗ not, ? a hint or a question back.

    >>> Reply("✓", "Right.", "It is refused.")
    ✓ Right. It is refused.
    """

    def __init__(self, mark: str, headline: str, text: str = "") -> None:
        self.mark, self.headline, self.text = mark, headline, text

    def to_text(self) -> str:
        return f"{self.mark} {self.headline} {self.text}".rstrip().replace("`", "")

    def to_html(self) -> str:
        head = f"<strong>{escape(self.mark)} {inline(self.headline)}</strong>"
        return framed(f"{head} {inline(self.text)}", COLOURS.get(self.mark, CALM))


def framed(inner: str, colour: str = CALM) -> str:
    """HTML with a coloured line at its left: the course's own voice."""
    return f'<div style="border-left:4px solid {colour};padding:4px 12px;margin:4px 0;max-width:60em">{inner}</div>'


def inline(text: str) -> str:
    """A sentence as HTML: escaped, `so` as code.

    >>> inline("`a<b` & c")
    '<code>a&lt;b</code> &amp; c'
    """
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def prose(text: str) -> str:
    """Paragraphs parted by empty lines as HTML; one whose lines all begin with four blanks is shown as it is."""
    parts = [part for part in re.split(r"\n\s*\n", text.strip("\n")) if part.strip()]
    return "".join(_paragraph(part.split("\n")) for part in parts)


def _paragraph(lines: list[str]) -> str:
    if all(line.startswith("    ") for line in lines):
        return f'<pre style="{_AS_TYPED}">{escape(chr(10).join(line[4:] for line in lines))}</pre>'
    return f"<p>{inline(' '.join(lines))}</p>"
