"""A question with radio buttons: choose, commit, and only then see the answer. Core ipywidgets only."""

from __future__ import annotations

from html import escape
from typing import Any

import ipywidgets as widgets

from ..lessons import QUESTIONS, reveal


class Prediction:
    """One question in a notebook. Its saved output (without a kernel) is the question, its options, and the answer in a fold."""

    def __init__(self, name: str) -> None:
        self.name, self.question = name, QUESTIONS[name]
        self.choices = widgets.RadioButtons(
            options=[(label, key) for key, label in self.question.options.items()],
            value=None,
            layout=widgets.Layout(width="max-content"),
        )
        self.commit = widgets.Button(
            description="Commit", tooltip="Commit to this answer and see what the model says", disabled=True
        )
        self.reply = widgets.HTML()
        self.choices.observe(self._chosen, "value")
        self.commit.on_click(self._committed)
        ask = widgets.HTML(f"<p><strong>Predict.</strong> {escape(self.question.ask)}</p>")
        self.box = widgets.VBox([ask, self.choices, self.commit, self.reply])

    def _chosen(self, change: Any) -> None:
        self.commit.disabled = change["new"] is None
        self.reply.value = ""

    def _committed(self, _: Any) -> None:
        self.reply.value = reveal(self.name, self.choices.value)._repr_html_()

    def _twin(self) -> str:
        options = "".join(f"<li>{escape(label)}</li>" for label in self.question.options.values())
        replies = "".join(
            f"<p><em>{escape(label)}:</em></p>{reveal(self.name, key)._repr_html_()}"
            for key, label in self.question.options.items()
        )
        return (
            f"<p><strong>Predict.</strong> {escape(self.question.ask)}</p><ul>{options}</ul>"
            f"<details><summary>Chosen? Then open this.</summary>{replies}</details>"
        )

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        """The widget where one can be shown, the question as HTML and as text where not."""
        bundle = self.box._repr_mimebundle_()
        data = dict(bundle[0] if isinstance(bundle, tuple) else bundle)
        labels = "; ".join(f"{key}: {label}" for key, label in self.question.options.items())
        data |= {
            "text/html": self._twin(),
            "text/plain": f"Predict. {self.question.ask}\n{labels}\nCommit: predict({self.name!r}, '…')",
        }
        return data
