"""The kinds of slide: words, a vote, the live explorer. Each is a widget, and still pictures for a page without a kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import Any, Protocol

import ipywidgets as w

from ...reading.history import History
from ...scenarios.simulate import simulate
from ...views.explorer import panes as html
from ...views.explorer import two_kernels as comparison
from ...views.explorer.explorer import Explorer
from ...views.reply import Reply, inline
from ...views.shown import Shown
from ..prediction import Prediction
from ..question import Question
from .stage import head_html, stage_style

Kernels = Mapping[str, tuple[str, Iterable[str]]]  # what the audience reads -> release and proposals


class Drawn(Protocol):
    """Anything that has HTML for a notebook: a Picture, a table."""

    def _repr_html_(self) -> str: ...


Show = Drawn | str | Sequence[str]  # a drawing, lines as they are, or points


def words_html(show: Show) -> str:
    """What a slide of words shows: a drawing, lines of a log, or points.

    >>> words_html("a < b"), words_html(["one", "`two`"])
    ('<pre>a &lt; b</pre>', '<ul><li>one</li><li><code>two</code></li></ul>')
    """
    if isinstance(show, str):
        return f"<pre>{escape(show)}</pre>" if show else ""
    if isinstance(show, Sequence):
        return f"<ul>{''.join(f'<li>{inline(point)}</li>' for point in show)}</ul>"
    return show._repr_html_()


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
        self.view = (w.VBox if column else w.HBox)(self.buttons, layout=w.Layout(margin="0 0 0 14px"))
        self._mark()

    def choose(self, key: Any) -> None:
        self.value = key
        self._mark()
        self.changed()

    def _mark(self) -> None:
        for button, (label, key) in zip(self.buttons, self.options.items(), strict=True):
            button.description = f"{'●' if key == self.value else '○'} {label}"


class Slide(Shown):
    """One idea: a title, a sentence, Back and Next. cut is the shortest talk, in minutes, that it belongs to."""

    css = "klp-idea"

    def __init__(self, title: str, text: str, cut: int, show: Show = "") -> None:
        self.title, self.text, self.cut, self.show = title, text, cut, show
        self.gone: Callable[[int], object] = lambda by: None  # the talk's: leave this slide for another
        self.head = w.HTML()
        self.back = w.Button(description="Back", layout=w.Layout(width="90px"))
        self.next = w.Button(description="Next", button_style="primary", layout=w.Layout(width="90px"))
        self.back.add_class("klp-back"), self.next.add_class("klp-next")
        self.next.on_click(lambda _: self.move(+1) or self.gone(+1))
        self.back.on_click(lambda _: self.move(-1) or self.gone(-1))
        self.view = w.VBox([self.head, *self.body()])
        self.view.add_class("klp-slide").add_class(self.css)
        self.stand("")

    def stand(self, place: str) -> None:
        """Say where in the talk the slide stands."""
        self.head.value = stage_style() + head_html(self.title, self.text, place)

    @property
    def first(self) -> Any:
        """The control that has the focus when the slide is entered."""
        return self.next

    def row(self, *more: Any) -> Any:
        layout = w.Layout(align_items="center", flex_flow="row wrap", margin="2px 0 6px")
        return w.HBox([self.back, self.next, *more], layout=layout)

    def body(self) -> list[Any]:
        """Everything below the title."""
        return [self.row(), w.HTML(self.words())]

    def words(self) -> str:
        return f'<div class="klp-words">{words_html(self.show)}</div>'

    def move(self, by: int) -> bool:
        """Go a step on or back within the slide; False where there is none left."""
        return False

    def stills(self) -> list[str]:
        """The slide as pages without a kernel, in the order in which Next shows them."""
        return [self.words()]

    def saved(self) -> str:
        """What is below the title in a saved notebook: HTML that passes a sanitizer."""
        return self.words()

    def plain(self) -> str:
        if isinstance(self.show, Sequence) and not isinstance(self.show, str):
            return "\n".join(f"- {point}" for point in self.show)
        return str(self.show)

    def to_text(self) -> str:
        return "\n".join(part for part in (self.title, self.text, self.plain()) if part)

    def to_html(self) -> str:
        return head_html(self.title, self.text, f"{self.cut} minutes and longer") + self.saved()

    def to_widget(self) -> Any:
        return self.view


class Vote(Slide):
    """A question of the course, answered by the room: Tab goes from answer to answer, Enter commits to one."""

    css = "klp-vote"

    def __init__(self, title: str, question: Question, name: str, cut: int) -> None:
        self.name, self.question = name, question
        super().__init__(title, question.ask, cut)

    def body(self) -> list[Any]:
        options = {label: key for key, label in self.question.options.items()}
        self.choices = Choice(options, None, self._committed, column=True)
        self.reply = w.HTML()
        return [self.choices.view, self.row(), self.reply]

    @property
    def first(self) -> Any:
        return self.choices.buttons[0]

    def _committed(self) -> None:
        self.reply.value = self._html_of(self.question.reply(self.choices.value))
        self.next.focus()

    @staticmethod
    def _html_of(reply: Reply) -> str:
        return f'<div class="klp-words">{reply.to_html()}</div>'

    def stills(self) -> list[str]:
        options = "".join(f"<li>{inline(label)}</li>" for label in self.question.options.values())
        asked = f'<div class="klp-words"><ul>{options}</ul></div>'
        return [asked, asked + self._html_of(self.question.reply(self.question.answer()))]

    def saved(self) -> str:
        return Prediction(self.name, self.question).to_html()

    def plain(self) -> str:
        return "\n".join(f"{key}: {label}" for key, label in self.question.options.items())


class Live(Slide):
    """The explorer on stage: Next walks through the story, Tab and Enter switch the kernel, Space compares.

    kernels: what can be switched to; the first is the one that the others are compared with.
    """

    css = "klp-live"

    def __init__(self, title: str, text: str, explorer: Explorer, kernels: Kernels, cut: int) -> None:
        self.explorer, self.kernels = explorer, dict(kernels)
        super().__init__(title, text, cut)

    def body(self) -> list[Any]:
        picture, tools = self.explorer.picture, w.VBox(self.explorer.view.children[:-1])
        picture.layout.height, picture.layout.margin = "auto", "4px 0 0 0"
        picture.add_class("klp-picture")
        tools.layout.display = "none"
        labels = {label: label for label in self.kernels}
        self.kernel = Choice(labels, next(iter(labels), None), self._switched)
        self.compare = w.Checkbox(False, description="Compare", indent=False, layout=w.Layout(width="auto"))
        self.compare.add_class("klp-compare")
        self.compare.layout.display = None if len(self.kernels) > 1 else "none"
        more = w.Checkbox(False, description="All controls", indent=False, layout=w.Layout(width="auto"))
        self.compare.observe(lambda _: self._switched(keep=True), "value")
        more.observe(lambda change: setattr(tools.layout, "display", None if change["new"] else "none"), "value")
        return [self.row(self.kernel.view, self.compare, more), tools, picture]

    def _switched(self, keep: bool = False) -> None:
        """Tell the story on the chosen kernel. The step stays where two kernels are compared, or when keep says so."""
        base, chosen = next(iter(self.kernels.values())), self.kernels[self.kernel.value]
        explorer, both = self.explorer, bool(self.compare.value)
        step = explorer.step
        with explorer.picture.hold_sync():  # one new picture, not one a checkbox
            explorer.compare.value = both
            switch(explorer.left, *(base if both else chosen))
            if both:
                switch(explorer.right, *chosen)
            if both or keep:
                explorer.step = min(step, explorer.steps - 1)

    def move(self, by: int) -> bool:
        target = self.explorer.step + by
        if not 0 <= target < self.explorer.steps:
            return False
        self.explorer.step = target
        return True

    def stills(self) -> list[str]:
        first, *others = [self._history(*kernel) for kernel in self.kernels.values()] or [self.explorer.history]
        alone = [html.explorer_html(first.recording, step, history=first) for step in range(len(first.recording))]
        return alone + [comparison.compare_html(first, other, len(first.recording) - 1) for other in others]

    def _history(self, release: str, proposals: Iterable[str]) -> History:
        return History(simulate(self.explorer.story.value, release, proposals, self.explorer.arch.value))

    def saved(self) -> str:
        return str(self.explorer._repr_mimebundle_()["text/html"])

    def plain(self) -> str:
        return str(self.explorer._repr_mimebundle_()["text/plain"])


def switch(side: Any, release: str, proposals: Iterable[str]) -> None:
    """Set one kernel of an explorer: off first, so that no mix on the way is an impossible one."""
    wanted = set(proposals)
    for name, box in side.boxes.items():
        if box.value and name not in wanted:
            box.value = False
    side.release.value = release
    for name in wanted:
        side.boxes[name].value = True
