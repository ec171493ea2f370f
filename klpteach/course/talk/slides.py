"""The kinds of slide: words, a vote, the live explorer. Each is a widget, and still pictures for a page without a kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import Any, Protocol, runtime_checkable

import ipywidgets as w

from ...reading.history import History
from ...reading.verdict import verdict
from ...scenarios.simulate import simulate
from ...views.explorer.explorer import Explorer
from ...views.reply import Reply, inline
from ...views.shown import Shown
from ..prediction import Prediction
from ..question import Question
from .choice import Choice
from .picture import picture_html
from .stage import head_html
from .two import two_html

Kernels = Mapping[str, tuple[str, Iterable[str]]]  # what the audience reads -> release and proposals


@runtime_checkable
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


class Slide(Shown):
    """One idea: a title, a sentence, Back and Next. cut is the shortest talk, in minutes, that it belongs to."""

    css = "klp-idea"

    def __init__(self, title: str, text: str, cut: int, show: Show = "") -> None:
        self.title, self.text, self.cut, self.show = title, text, cut, show
        self.gone: Callable[[int], object] = lambda by: None  # the talk's: leave this slide for another
        self.head = w.HTML()
        self.back = w.Button(description="Back").add_class("klp-back")
        self.next = w.Button(description="Next").add_class("klp-next")
        self.next.on_click(lambda _: self.move(+1) or self.gone(+1))
        self.back.on_click(lambda _: self.move(-1) or self.gone(-1))
        self.stage = w.VBox([self.head, *self.body()]).add_class("klp-slide").add_class(self.css)
        self.view = w.VBox([self.stage]).add_class("klp-room")
        self.stand("", True)

    def stand(self, place: str, shown: bool) -> None:
        """Say where in the talk the slide stands, and whether it is in the cut."""
        self.head.value = head_html(self.title, self.text, place)
        (self.stage.remove_class if shown else self.stage.add_class)("klp-left-out")

    @property
    def first(self) -> Any:
        """The control that has the focus when the slide is entered."""
        return self.next

    def row(self, *more: Any) -> Any:
        """The last row of the slide: Back, Next, and what else there is to press."""
        return w.HBox([self.back, self.next, *more]).add_class("klp-row")

    def body(self) -> list[Any]:
        """Everything below the title."""
        return [w.HTML(self.words()).add_class("klp-main"), self.row()]

    def words(self) -> str:
        return f'<div class="klp-words">{words_html(self.show)}</div>'

    def move(self, by: int) -> bool:
        """Go a step on or back within the slide; False where there is none left."""
        return False

    def stills(self) -> list[str]:
        """The slide as pages without a kernel, in the order in which Next shows them."""
        return [self.words()]

    def labels(self) -> list[tuple[str, str]]:
        """What stands on the button of each still where there are several, and what it does in words."""
        return [("", "") for _ in self.stills()]

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
        self.reply = w.HTML().add_class("klp-main")
        return [self.choices.view, self.reply, self.row()]

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
        options = "".join(f"<li>○ {inline(label)}</li>" for label in self.question.options.values())
        asked = f'<ul class="klp-choices">{options}</ul>'
        return [asked, asked + self._html_of(self.question.reply(self.question.answer()))]

    def labels(self) -> list[tuple[str, str]]:
        return [("?", "the question"), ("!", "the answer")]

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
        self.picture = w.HTML().add_class("klp-main")
        self.where, self.strip = w.HTML().add_class("klp-where"), w.HBox().add_class("klp-strip")
        tools = w.VBox(self.explorer.controls).add_class("klp-tools")
        tools.layout.display = self.explorer.ask.layout.display = "none"  # on a stage the room is asked by a vote
        labels = {label: label for label in self.kernels}
        self.kernel = Choice(labels, next(iter(labels), None), self._switched)
        self.compare, more = (w.Checkbox(False, description=said, indent=False) for said in ("Compare", "All controls"))
        self.compare.add_class("klp-compare")
        self.compare.layout.display = None if len(self.kernels) > 1 else "none"
        self.compare.observe(lambda _: self._switched(keep=True), "value")
        more.observe(lambda change: setattr(tools.layout, "display", None if change["new"] else "none"), "value")
        self.explorer.shown_elsewhere(self._draw)
        space = w.HBox().add_class("klp-space")
        return [self.picture, tools, self.row(self.where, self.strip, space, self.kernel.view, self.compare, more)]

    def _draw(self) -> None:
        """The explorer has changed: draw what it shows, and say on the buttons where in the story that is."""
        one, two, step = self.explorer.history, self.explorer.other, self.explorer.step
        longer = max((one, *([two] if two else [])), key=lambda history: len(history.recording))
        self.picture.value = two_html(one, two, step) if two else picture_html(one, step, self.explorer.note)
        self.where.value = f"Step {step + 1} of {self.explorer.steps}"
        if len(self.strip.children) != self.explorer.steps:
            self.strip.children = [self._step_button(number) for number in range(self.explorer.steps)]
        for number, button in enumerate(self.strip.children):
            button.description, button.tooltip = (
                step_label(longer, number, number <= step),
                longer.recording[number].command,
            )
            for css, on in (("klp-now", number == step), ("klp-seen", number <= step)):
                (button.add_class if on else button.remove_class)(css)
        (self.strip.add_class if self.explorer.steps > 7 else self.strip.remove_class)("klp-many")

    def _step_button(self, number: int) -> Any:
        button = w.Button().add_class("klp-step")
        button.on_click(lambda _: setattr(self.explorer, "step", number))
        return button

    def _switched(self, keep: bool = False) -> None:
        """Tell the story on the chosen kernel. The step stays where two kernels are compared, or when keep says so."""
        base, chosen = next(iter(self.kernels.values())), self.kernels[self.kernel.value]
        explorer, both = self.explorer, bool(self.compare.value)
        step = explorer.step
        with self.picture.hold_sync():  # one new picture, not one a checkbox
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

    def _histories(self) -> list[History]:
        """The story on each kernel of the slide, the first of them told step by step."""
        return [self._history(*kernel) for kernel in self.kernels.values()] or [self.explorer.history]

    def stills(self) -> list[str]:
        first, *others = self._histories()
        alone = [picture_html(first, step) for step in range(len(first.recording))]
        return alone + [two_html(first, other, len(first.recording) - 1) for other in others]

    def labels(self) -> list[tuple[str, str]]:
        first = self._histories()[0]
        steps = [(step_label(first, i, True), step.command) for i, step in enumerate(first.recording)]
        base, *others = self.kernels or ("",)
        return steps + [(f"{base} ↔ {other}", f"Compare {base} with {other}") for other in others]

    def _history(self, release: str, proposals: Iterable[str]) -> History:
        return History(simulate(self.explorer.story.value, release, proposals, self.explorer.arch.value))

    def saved(self) -> str:
        return str(self.explorer._repr_mimebundle_()["text/html"])

    def plain(self) -> str:
        return str(self.explorer._repr_mimebundle_()["text/plain"])


def step_label(history: History, number: int, seen: bool) -> str:
    """A step's number, and its sign once it has been shown.

    >>> from klpteach.scenarios.simulate import simulate
    >>> step_label(History(simulate("reload")), 3, True)
    '4 ✗'
    """
    return f"{number + 1} {verdict(history.recording, number, history).symbol}" if seen else f"{number + 1}"


def switch(side: Any, release: str, proposals: Iterable[str]) -> None:
    """Set one kernel of an explorer: off first, so that no mix on the way is an impossible one."""
    wanted = set(proposals)
    for name, box in side.boxes.items():
        if box.value and name not in wanted:
            box.value = False
    side.release.value = release
    for name in wanted:
        side.boxes[name].value = True
