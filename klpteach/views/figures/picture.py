"""A figure as a notebook's output: a PNG that is as wide as the page and carries its words with it."""

from __future__ import annotations

from base64 import b64encode
from html import escape

from ...model.recording import Recording
from . import reuse as figures


class Picture:
    """A PNG with alternative text. In a terminal, and to a screen reader, the words are the picture."""

    def __init__(self, png: bytes, alt: str) -> None:
        self.png, self.alt = png, alt

    def __repr__(self) -> str:
        return self.alt

    def _repr_html_(self) -> str:
        source = b64encode(self.png).decode()
        return f'<img alt="{escape(self.alt)}" src="data:image/png;base64,{source}" style="max-width:100%;width:900px;background:#fff">'


def reuse(recording: Recording) -> Picture:
    """Address-space reuse across rmmod and reload, to be looked at: figures.reuse() with its alternative text.

    >>> from klpteach.scenarios.simulate import simulate
    >>> "nfsd_demo refused at 0xffffffffc0201000" in repr(reuse(simulate("reload")))
    True
    """
    return Picture(figures.png(figures.reuse(recording)), figures.alt_text(recording))
