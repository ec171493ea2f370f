"""One of several, chosen by a button each: what a vote and a live slide switch with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets as w


class Choice:
    """A row of buttons, one of them chosen; which one stands in its words: ● chosen, ○ not.

    Buttons, because Tab and Enter work on them everywhere: JupyterLab keeps the arrow keys for itself, and the widgets'
    radio buttons do not hear them.
    """

    def __init__(
        self, options: Mapping[str, Any], value: Any, changed: Callable[[], object], column: bool = False
    ) -> None:
        self.options, self.value, self.changed = dict(options), value, changed
        self.buttons = [w.Button(layout=w.Layout(width="auto")) for _ in self.options]
        for button, key in zip(self.buttons, self.options.values(), strict=True):
            button.add_class("klp-choice")
            button.on_click(lambda _, key=key: self.choose(key))
        self.view = (w.VBox if column else w.HBox)(self.buttons, layout=w.Layout(overflow="visible"))
        self.view.add_class("klp-choices")
        self._mark()

    def choose(self, key: Any) -> None:
        self.value = key
        self._mark()
        self.changed()

    def _mark(self) -> None:
        for button, (label, key) in zip(self.buttons, self.options.items(), strict=True):
            button.description = f"{'●' if key == self.value else '○'} {label}"
