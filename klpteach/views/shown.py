"""What a notebook, a terminal and a live page show of a thing, said once."""

from __future__ import annotations

import html
from typing import Any

from ..errors import printable


def escape(text: str) -> str:
    """Text for HTML and SVG, where a control character or a lone surrogate would make the whole picture invalid."""
    return html.escape(printable(text, keep="\n\t\xa0"))


class Shown:
    """Shows to_html() in a notebook and to_text() in a terminal; on a live page, the ipywidget of to_widget() where it has one.

    A saved notebook holds the HTML and the text only. A dataclass that is Shown is declared with repr=False.
    """

    def to_html(self) -> str:
        raise NotImplementedError

    def to_text(self) -> str:
        raise NotImplementedError

    def to_widget(self) -> Any:
        return None

    def __repr__(self) -> str:
        return printable(self.to_text())

    def _repr_html_(self) -> str:
        return self.to_html()

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        shown: dict[str, Any] = {}
        widget = self.to_widget()
        if widget is not None:
            bundle = widget._repr_mimebundle_()  # ipywidgets 7 and 8 differ in what they return
            shown.update(bundle[0] if isinstance(bundle, tuple) else bundle or {})
        return shown | {"text/html": self.to_html(), "text/plain": repr(self)}
