"""A question with radio buttons: choose, commit, and only then see the answer. Core ipywidgets only."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

from ..views.reply import Reply, inline
from ..views.shown import Shown, escape
from .question import Question


class Prediction(Shown):
    """One question in a notebook. Its saved output (without a kernel) is the question, its options, and the answer in a fold.

    choice is what was committed to before: it is shown again, with its reply. commit is called with a choice when the
    reader commits to it, and gives the reply; without it nothing is kept.
    """

    def __init__(
        self, name: str, question: Question, choice: str | None = None, commit: Callable[[str], Reply] | None = None
    ) -> None:
        self.name, self.question, self.choice, self.commit = name, question, choice, commit or question.reply

    @cached_property
    def box(self) -> Any:
        """The widget; ipywidgets is imported when it is first shown."""
        import ipywidgets as widgets

        options = [(label, key) for key, label in self.question.options.items()]
        choices = widgets.RadioButtons(options=options, value=self.choice, layout={"width": "max-content"})
        tooltip = "Commit to this answer and see what the model says"
        button = widgets.Button(description="Commit", tooltip=tooltip, disabled=self.choice is None)
        reply = widgets.HTML(self._before())

        def chosen(change: Any) -> None:
            button.disabled, reply.value = change["new"] is None, ""

        choices.observe(chosen, "value")
        button.on_click(lambda _: setattr(reply, "value", self._committed(choices.value).to_html()))
        ask = widgets.HTML(f"<p><strong>Predict.</strong> {inline(self.question.ask)}</p>")
        return widgets.VBox([ask, choices, button, reply])

    def _before(self) -> str:
        if self.choice is None:
            return ""
        reply = self.question.reply(self.choice)
        before = f"You committed to: {self.question.options[self.choice]}."
        return Reply(reply.mark, reply.headline, f"{reply.text} {before}").to_html()

    def _committed(self, choice: str) -> Reply:
        try:
            return self.commit(choice)
        except Exception as error:  # an error in a callback would vanish in the kernel's log
            return Reply("?", "This did not work.", f"{type(error).__name__}: {error}")

    def to_html(self) -> str:
        """The question, its options with the key that commits to each where buttons are dead, and a fold with the replies."""
        labels = {key: inline(label) for key, label in self.question.options.items()}
        options = "".join(f"<li>{label} <code>{escape(key)}</code></li>" for key, label in labels.items())
        said = {key: self.question.reply(key).to_html() for key in labels}
        replies = "".join(f"<p><em>{label}:</em></p>{said[key]}" for key, label in labels.items())
        return (
            f"<p><strong>Predict.</strong> {inline(self.question.ask)}</p><ul>{options}</ul>"
            f"<details><summary>Chosen? Then open this.</summary>{replies}</details>"
        )

    def to_text(self) -> str:
        labels = "; ".join(f"{key}: {label}" for key, label in self.question.options.items())
        before = f"\nYou committed to {self.choice}: {self.question.reply(self.choice)}" if self.choice else ""
        return f"Predict. {self.question.ask}\n{labels}\nCommit: predict({self.name!r}, '…'){before}"

    def to_widget(self) -> Any:
        try:
            return self.box
        except ImportError:  # without ipywidgets the question is there to be read
            return None
