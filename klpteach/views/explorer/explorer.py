"""The explorer: a recording under your fingers, or two side by side. Core ipywidgets only.

One HTML of fixed height shows what panes.py and two_kernels.py make of a step; the controls choose architecture, story,
release, proposals and step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import ipywidgets as w

from ...errors import KlpteachError, PolicyError, RecordingError, ScenarioError, one_of, quoted, whole
from ...model import policy
from ...model.arch import ARCHITECTURES
from ...model.recording import Recording
from ...reading.differences import first_difference, what_changed
from ...reading.history import History
from ...scenarios.simulate import get, stories
from ..shown import Shown, escape
from ..style import style
from . import saved
from .controls import KernelChoice, StepChoice, checkbox, dropdown, impossible, run, show, titles, witness
from .panel import panel_style
from .panes import error_html, explorer_html
from .two_kernels import compare_html, outcome

GONE = (
    "<b>The kernel of this picture is gone</b> (restarted, or shut down): this is what it showed last, and no control answers. "
    "Run the cell right above once more (Shift+Enter)."
)
_ANSWERS = (("it works", "works"), ("it is refused", "refused"), ("the kernel oopses", "oops"))
_KIND_OF_ANSWER = {"refused": "refused", "in-use": "refused", "exists": "refused", "oops": "oops"}
Compare = Recording | tuple[str, Iterable[str]]


def explore(story: str | Recording = "reload", release: str = "6.1", proposals: Iterable[str] = (),
            recording: Recording | None = None, *, arch: str = "x86_64", compare: Compare | None = None,
            history: History | None = None, step: int = 1) -> Explorer:  # fmt: skip
    """An explorer to display. arch, story, release and proposals name what the model runs first; the controls change them.

    compare: a second kernel beside it, at the same step: (release, proposals), or beside a recording another recording.
    recording: show this one (real or the model's) instead; then there is only the step to choose. history: the same,
    with module files that are not the course's own. A recording may stand in the story's place, too. step: where it opens,
    the first is 1. Errors: ScenarioError, PolicyError; RecordingError for a recording without steps.
    """
    named, shown = ("reload", story) if isinstance(story, Recording) else (story, recording)
    _check_kinds(recording=(shown, Recording), history=(history, History))
    get(named, arch)
    one_of(release, policy.RELEASES, "release", PolicyError)
    chosen, opens_at = tuple(policy.names_of(proposals)), whole(step, "step", ScenarioError)
    found = Explorer(named, release, chosen, shown, history, arch, _beside(compare))
    found.step = min(max(opens_at, 1), found.steps) - 1
    return found


def _check_kinds(**given: tuple[object, type]) -> None:
    for name, (value, kind) in given.items():
        if not isinstance(value, kind | None):
            raise ScenarioError(f"{name}={quoted(value)} is no {kind.__name__}.")


def _check_steps(*shown: History | None) -> None:
    """A recording without steps can be replayed, but there is nothing to draw. Errors: RecordingError."""
    for history in shown:
        if history is not None and not len(history.recording):
            raise RecordingError(
                f"{quoted(history.recording.scenario)} has no steps, so nothing to show: is it the right recording?"
            )


def _beside(compare: object) -> Compare | None:
    """What stands beside, as the explorer takes it. Errors: ScenarioError for neither of the two forms, PolicyError."""
    if compare is None or isinstance(compare, Recording):
        return compare
    if not isinstance(compare, tuple | list) or len(compare) != 2:
        raise ScenarioError(f"compare={quoted(compare)} is no second kernel; try compare=('6.12', []).")
    return one_of(compare[0], policy.RELEASES, "release", PolicyError), tuple(policy.names_of(compare[1]))


class Explorer(Shown):
    """The controls and the picture. `view` is the widget; `step`, `recording` and `history` say what is shown.

    `other` is the history of the right-hand kernel, None where there is one kernel only.
    """

    def __init__(self, story: str, release: str, proposals: tuple[str, ...], recording: Recording | None,
                 history: History | None, arch: str = "x86_64", compare: Compare | None = None) -> None:  # fmt: skip
        self.fixed = recording is not None or history is not None
        self.shown: set[int] = set()  # steps whose outcome the reader has asked for
        self.note, self.before, self._listening = "", "", True
        self._elsewhere: Callable[[], object] | None = None
        fixed = history or History(recording or Recording("empty")) if self.fixed else None
        self.history = fixed or run(story, release, proposals, arch)
        self.other: History | None = None
        if isinstance(compare, Recording):
            self.other = History(compare)
        elif compare:
            self.other = run(story, compare[0], tuple(compare[1]), arch)
        _check_steps(self.history, self.other)
        self.picture = w.HTML(layout=w.Layout(height="auto", margin="0", width="100%"))
        self._build(story, release, proposals, arch, compare)
        self._draw()

    @property
    def recording(self) -> Recording:
        return self.history.recording

    @property
    def step(self) -> int:
        """The step that is shown, from 0."""
        return int(self.slider.value) - 1

    @step.setter
    def step(self, value: int) -> None:
        self.slider.value = value + 1

    @property
    def steps(self) -> int:
        """How many steps there are to choose from: those of the longer recording."""
        return max(len(self.recording), len(self.other.recording) if self.other else 0, 1)

    # -- controls -----------------------------------------------------------------------------------------------------

    def _build(self, story: str, release: str, proposals: tuple[str, ...], arch: str, compare: Compare | None) -> None:
        walk = self.walk = StepChoice(self.steps, _ANSWERS)
        self.slider, self.back, self.next, self.ask = walk.slider, walk.back, walk.next, walk.ask
        self.answer, self.show, self.question = walk.answer, walk.show, walk.question
        fixed = self.fixed
        self.arch = dropdown(ARCHITECTURES, None if fixed else arch, "Machine", "155px")
        self.story = dropdown(titles(arch, "reload" if fixed else story), None if fixed else story, "Story", "330px")
        right = compare if isinstance(compare, tuple) else ("6.1" if release == "6.12" else "6.12", ())
        self.left = KernelChoice("Left", None if fixed else release, proposals, arch)
        self.right = KernelChoice("Right", None if fixed else right[0], right[1], arch)
        self.release, self.boxes = self.left.release, self.left.boxes
        self.compare = checkbox("Compare two kernels", self.other is not None, width="auto")
        self._show_sides()
        self._connect()
        top = w.Box([self.arch, self.story, w.Box().add_class("kc-space"), self.compare]).add_class("kc-row")
        self.who = walk.who  # who says so: a kernel, or the model alone
        choice = [] if fixed else [top, self.left.view, self.right.view]
        self.controls = [*choice, walk.view, self.question]
        look = w.HTML(style(live=True) + panel_style(), layout=w.Layout(display="none"))  # once: a new one restyles all
        self.gone = w.HTML(GONE).add_class("kc-gone")
        self.view = w.VBox([self.gone, *self.controls, look, self.picture]).add_class("kc")

    def _connect(self) -> None:
        self.back.on_click(self._on(lambda _: self._walk(-1)))
        self.next.on_click(self._on(lambda _: self._walk(+1)))
        self.show.on_click(self._on(lambda _: self._reveal()))
        self.slider.observe(self._on(lambda _: self._silent(self.step)), "value")
        self.ask.observe(self._on(lambda _: self._asked()), "value")
        if self.fixed:
            return
        self.arch.observe(self._on(lambda change: self._other_arch(change["new"])), "value")
        self.story.observe(self._on(lambda _: self._new_story()), "value")
        self.compare.observe(self._on(lambda _: self._compared()), "value")
        for side in (self.left, self.right):
            side.release.observe(self._on(self._released(side)), "value")
            for name, box in side.boxes.items():
                box.observe(self._on(self._toggle(side, name)), "value")

    @contextmanager
    def quietly(self) -> Iterator[None]:
        """Controls that are set in here are set by us, not by the reader: nobody listens."""
        before, self._listening = self._listening, False
        try:
            yield
        finally:
            self._listening = before

    def _on(self, callback: Callable[[Any], None]) -> Callable[[Any], None]:
        """A callback that is quiet while we set controls, and shows an error, which would vanish in the kernel's log."""

        def heard(event: Any) -> None:
            if not self._listening:
                return
            try:
                callback(event)
            except Exception as error:
                said = str(error) if isinstance(error, KlpteachError) else f"{type(error).__name__}: {error}"
                self._take_back(event)
                self._say_error(f"This did not work: {said}")

        return heard

    def _say_error(self, said: str) -> None:
        if self._elsewhere:
            self.note = said
            self._elsewhere()
        else:
            self.picture.value = error_html(said, styled=False)

    def _take_back(self, event: Any) -> None:
        """After an error: the control goes back to what is shown, so that both still agree."""
        if isinstance(event, dict) and event["owner"] is not self.slider:
            with self.quietly():
                event["owner"].value = event["old"]
            if event["owner"] is self.arch:
                self._choices_for(event["old"])
            self._show_sides()

    def _go(self, step: int) -> None:
        """Set the slider to a step of what is told now, and draw."""
        with self.quietly():
            self.walk.reach(self.steps)
            self.step = step
        self._draw()

    # -- what the reader does: the step -------------------------------------------------------------------------------

    def _walk(self, by: int) -> None:
        if 0 <= self.step + by < self.steps:
            self._silent(self.step + by)
        else:  # the button stays enabled: a disabled one would lose the focus
            self.note = "This is the last step." if by > 0 else "This is the first step."
            self._draw()

    def _silent(self, step: int) -> None:
        """Go to a step, with nothing said about how."""
        self.note = self.before = ""
        self._go(step)

    def _asked(self) -> None:
        self.shown.clear()
        self._silent(self.step)

    def _reveal(self) -> None:
        self.shown.add(self.step)
        if self.answer.value:
            kind = outcome(self.history, self.step)[0]
            right = _KIND_OF_ANSWER.get(kind, "works") == self.answer.value
            expected = next(words for words, value in _ANSWERS if value == self.answer.value)
            self.before = f"You expected: {expected}. {'So it is.' if right else 'It came out differently:'}"
        self._draw()

    # -- what the reader does: the kernel -----------------------------------------------------------------------------

    def _new_story(self) -> None:
        self._run_both()
        self.shown.clear()
        self._silent(0)

    def _other_arch(self, arch: str) -> None:
        dropped = ", ".join(self._choices_for(arch))
        self._again(f"Machine {arch}", self._run_both, extra=f" Not on this machine: {dropped}." if dropped else "")

    def _choices_for(self, arch: str) -> list[str]:
        """Stories and proposals of an architecture; returns the labels of proposals that had to go off."""
        with self.quietly():
            seen = [self.left, self.right] if self.compare.value else [self.left]  # what is hidden need not be sent now
            dropped = list(dict.fromkeys(label for side in seen for label in side.for_arch(arch)))
            story = self.story.value if self.story.value in stories(arch) else "reload"
            self.story.options, self.story.value = titles(arch), story
        return dropped

    def _compared(self) -> None:
        with self.quietly():
            self.right.for_arch(self.arch.value)
        self.other = self._run(self.right) if self.compare.value else None
        self._show_sides()
        self._silent(min(self.step, self.steps - 1))

    def _show_sides(self) -> None:
        show(self.left.title, self.compare.value)
        show(self.right.view, self.compare.value)

    def _released(self, side: KernelChoice) -> Callable[[Any], None]:
        return lambda change: self._other_kernel(side, f"Kernel {change['new']}")

    def _toggle(self, side: KernelChoice, name: str) -> Callable[[Any], None]:
        def toggled(change: Any) -> None:
            others = [other for other in side.chosen if other != name]
            reason = impossible(name, others, self.arch.value) if change["new"] else None
            if reason:
                with self.quietly():
                    side.boxes[name].value = False
                self.note, self.before = f"Not switched on: {reason}", ""
                self._draw()
            else:
                self._other_kernel(side, f"{policy.PROPOSALS[name].label}, {'on' if change['new'] else 'off'}")

        return toggled

    def _other_kernel(self, side: KernelChoice, what: str) -> None:
        if side is self.right:
            self._again(f"Right: {what}", lambda: setattr(self, "other", self._run(side)), right=True)
        else:
            name = "Left: " if self.other else ""
            self._again(f"{name}{what}", lambda: setattr(self, "history", self._run(side)))

    def _again(self, what: str, tell: Callable[[], None], *, right: bool = False, extra: str = "") -> None:
        """Tell the same story again; stay at the step, or go to the first one that comes out differently, and say so."""
        old, at = (self.other if right and self.other else self.history).recording, self.step
        tell()
        new = (self.other if right and self.other else self.history).recording
        first = first_difference(old, new)
        step = min(at if first is None or first >= at else first, self.steps - 1)
        self.note, self.before = what_changed(what, first, at, step) + extra, ""
        if step != at:
            self.shown.clear()
        self._go(step)

    def _run(self, side: KernelChoice) -> History:
        return run(self.story.value, side.release.value, side.chosen, self.arch.value)

    def _run_both(self) -> None:
        self.history = self._run(self.left)
        self.other = self._run(self.right) if self.compare.value else None

    # -- the picture --------------------------------------------------------------------------------------------------

    def _draw(self) -> None:
        hidden, one, two = bool(self.ask.value) and self.step not in self.shown, self.history, self.other
        if hidden:
            with self.quietly():
                self.answer.value = None
        self.question.layout.display = "flex" if hidden else "none"
        if not self.fixed:
            self._say_who(hidden)
        self.walk.stand(self.step, self.steps)
        if self._elsewhere:
            self._elsewhere()
            return
        say: dict[str, Any] = {"ask": hidden, "note": self.note, "before": self.before, "styled": False}
        if two:
            self.picture.value = compare_html(one, two, self.step, **say)
        else:
            self.picture.value = explorer_html(one.recording, self.step, history=one, **say)

    def shown_elsewhere(self, draw: Callable[[], object]) -> None:
        """Another picture takes the place of this one: `draw` is called, now and whenever something has changed."""
        self._elsewhere = draw
        draw()

    def _say_who(self, hidden: bool) -> None:
        """Under the controls: which kernel did what is shown. Not before the reader has answered: a name tells the end."""
        sides = (("Left: ", self.history), ("Right: ", self.other)) if self.other else (("", self.history),)
        lines = (f"{side}{witness(one, min(self.step, len(one.recording) - 1))}" for side, one in sides if one)
        self.who.value = "" if hidden else "<br>".join(map(escape, lines))
        for choice in (self.left, self.right) if self.other else (self.left,):
            choice.tell(self.story.value, self.arch.value)

    def to_widget(self) -> w.VBox:
        return self.view

    def to_html(self) -> str:
        one, two = self.history, self.other
        return saved.compare_twin_html(one, two) if two else saved.twin_html(one.recording, history=one)

    def to_text(self) -> str:
        one, two = self.history, self.other
        return saved.compare_plain_text(one, two) if two else saved.plain_text(one.recording, history=one)
