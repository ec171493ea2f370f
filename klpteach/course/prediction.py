"""A question with radio buttons: choose, commit, and only then see the answer. Core ipywidgets only."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from ..views.reply import Reply, inline
from .desk import commit
from .question import Question


class Prediction:
    """One question in a notebook. Its saved output (without a kernel) is the question, its options, and the answer in a fold.

    choice is what was committed to before: it is shown again, with its reply.
    """

    def __init__(self, name: str, question: Question, choice: str | None = None) -> None:
        self.name, self.question, self.choice = name, question, choice

    @cached_property
    def box(self) -> Any:
        """The widget; ipywidgets is imported when it is first shown."""
        import ipywidgets as widgets

        self.choices = widgets.RadioButtons(
            options=[(label, key) for key, label in self.question.options.items()],
            value=self.choice,
            layout=widgets.Layout(width="max-content"),
        )
        self.commit = widgets.Button(
            description="Commit",
            tooltip="Commit to this answer and see what the model says",
            disabled=self.choice is None,
        )
        self.reply = widgets.HTML(self._before())
        self.choices.observe(self._chosen, "value")
        self.commit.on_click(self._committed)
        ask = widgets.HTML(f"<p><strong>Predict.</strong> {inline(self.question.ask)}</p>")
        return widgets.VBox([ask, self.choices, self.commit, self.reply])

    def _before(self) -> str:
        if self.choice is None:
            return ""
        reply = self.question.reply(self.choice)
        said = f"You committed to: {self.question.options[self.choice]}."
        return Reply(reply.mark, reply.headline, f"{reply.text} {said}")._repr_html_()

    def _chosen(self, change: Any) -> None:
        self.commit.disabled = change["new"] is None
        self.reply.value = ""

    def _committed(self, _: Any) -> None:
        try:
            self.reply.value = commit(self.name, self.choices.value)._repr_html_()
        except Exception as error:  # an error in a callback would vanish in the kernel's log
            self.reply.value = Reply("?", "This did not work.", f"{type(error).__name__}: {error}")._repr_html_()

    def _twin(self) -> str:
        options = "".join(f"<li>{inline(label)}</li>" for label in self.question.options.values())
        replies = "".join(
            f"<p><em>{inline(label)}:</em></p>{self.question.reply(key)._repr_html_()}"
            for key, label in self.question.options.items()
        )
        return (
            f"<p><strong>Predict.</strong> {inline(self.question.ask)}</p><ul>{options}</ul>"
            f"<details><summary>Chosen? Then open this.</summary>{replies}</details>"
        )

    def __repr__(self) -> str:
        labels = "; ".join(f"{key}: {label}" for key, label in self.question.options.items())
        before = f"\nYou committed to {self.choice}: {self.question.reply(self.choice)}" if self.choice else ""
        return f"Predict. {self.question.ask}\n{labels}\nCommit: predict({self.name!r}, '…'){before}"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        """The widget where one can be shown, the question as HTML and as text where not."""
        data: dict[str, Any] = {"text/html": self._twin(), "text/plain": repr(self)}
        try:
            bundle = self.box._repr_mimebundle_()
        except ImportError:
            return data
        return dict(bundle[0] if isinstance(bundle, tuple) else bundle or {}) | data
