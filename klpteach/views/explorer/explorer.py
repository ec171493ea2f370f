"""The explorer: a recording under your fingers, or two side by side. Core ipywidgets only.

One HTML of fixed height shows what views.html and views.comparison make of a step; the controls choose architecture,
story, release, proposals and step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

import ipywidgets as w

from ...errors import KlpteachError
from ...model import policy
from ...model.recording import Recording
from ...reading.differences import first_difference, what_changed
from ...reading.history import History
from ...scenarios.simulate import stories
from ..style import style
from . import panes as html
from . import saved as twin
from . import two_kernels as comparison
from .controls import KernelChoice, StepChoice, dropdown, impossible
from .tellings import titles, told

HEIGHT = "780px"
ARCHITECTURES = ("x86_64", "ppc64le")
_ANSWERS = (("it works", "works"), ("it is refused", "refused"), ("the kernel oopses", "oops"))
_KIND_OF_ANSWER = {"refused": "refused", "in-use": "refused", "exists": "refused", "oops": "oops"}
Compare = Recording | tuple[str, Iterable[str]]


def explore(
    story: str = "reload",
    release: str = "6.1",
    proposals: Iterable[str] = (),
    recording: Recording | None = None,
    *,
    arch: str = "x86_64",
    compare: Compare | None = None,
    history: History | None = None,
) -> Explorer:
    """An explorer to display. arch, story, release and proposals name what the model runs first; the controls change them.

    compare: a second kernel beside it, at the same step: (release, proposals), or beside a recording another recording.
    recording: show this one (real or the model's) instead; then there is only the step to choose. history: the same,
    with module files that are not the course's own. Errors: ScenarioError, PolicyError.
    """
    return Explorer(story, release, tuple(proposals), recording, history, arch, compare)


class Explorer:
    """The controls and the picture. `view` is the widget; `step`, `recording` and `history` say what is shown.

    `other` is the history of the right-hand kernel, None where there is one kernel only.
    """

    def __init__(
        self,
        story: str,
        release: str,
        proposals: tuple[str, ...],
        recording: Recording | None,
        history: History | None,
        arch: str = "x86_64",
        compare: Compare | None = None,
    ) -> None:
        self.fixed = recording is not None or history is not None
        self.shown: set[int] = set()  # steps whose outcome the reader has asked for
        self.note, self.before = "", ""
        self._quiet = False  # the controls are being set by us, not by the reader
        if self.fixed:
            self.history = history or History(recording or Recording("empty"))
        else:
            self.history = told(story, release, proposals, arch)
        self.other = self._second(story, release, arch, compare)
        self.picture = w.HTML(layout=w.Layout(height=HEIGHT, overflow="auto", margin="4px 0 0 0", width="100%"))
        self._build(story, release, proposals, arch, compare)
        self._draw()

    def _second(self, story: str, release: str, arch: str, compare: Compare | None) -> History | None:
        if compare is None:
            return None
        if isinstance(compare, Recording):
            return History(compare)
        return told(story, compare[0], tuple(compare[1]), arch)

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
        fixed = self.fixed
        self.walk = StepChoice(self.steps, _ANSWERS)
        self.slider, self.back, self.next = self.walk.slider, self.walk.back, self.walk.next
        self.ask, self.answer, self.show, self.question = (
            self.walk.ask,
            self.walk.answer,
            self.walk.show,
            self.walk.question,
        )
        self.arch = dropdown(ARCHITECTURES, None if fixed else arch, "Machine", "155px")
        self.story = dropdown(titles(arch, "reload" if fixed else story), None if fixed else story, "Story", "330px")
        right = compare if isinstance(compare, tuple) else ("6.1" if release == "6.12" else "6.12", ())
        self.left = KernelChoice("Left", None if fixed else release, proposals, arch)
        self.right = KernelChoice("Right", None if fixed else right[0], right[1], arch)
        self.release, self.boxes = self.left.release, self.left.boxes
        self.compare = w.Checkbox(
            self.other is not None, description="Compare two kernels", indent=False, layout=w.Layout(width="auto")
        )
        self._show_sides()
        self._connect()
        top = w.HBox([self.arch, self.story, self.compare], layout=w.Layout(align_items="center", flex_flow="row wrap"))
        choice = [] if fixed else [top, self.left.view, self.right.view]
        look = w.HTML(style(live=True), layout=w.Layout(display="none"))  # once: a new one restyles the whole page
        self.view = w.VBox([*choice, self.walk.view, self.question, look, self.picture])

    def _connect(self) -> None:
        self.back.on_click(self._guard(lambda _: self._walk(-1)))
        self.next.on_click(self._guard(lambda _: self._walk(+1)))
        self.show.on_click(self._guard(lambda _: self._reveal()))
        self.slider.observe(self._guard(lambda _: self._moved()), "value")
        self.ask.observe(self._guard(lambda _: self._asked()), "value")
        if self.fixed:
            return
        self.arch.observe(self._guard(lambda change: self._other_arch(change["new"])), "value")
        self.story.observe(self._guard(lambda _: self._new_story()), "value")
        self.compare.observe(self._guard(lambda _: self._compared()), "value")
        for side in (self.left, self.right):
            side.release.observe(self._guard(self._released(side)), "value")
            for name, box in side.boxes.items():
                box.observe(self._guard(self._toggle(side, name)), "value")

    def _guard(self, callback: Callable[[Any], None]) -> Callable[[Any], None]:
        """An error in a callback would vanish in the kernel's log: show it where the verdict stands."""

        @wraps(callback)
        def guarded(event: Any) -> None:
            if self._quiet:
                return
            try:
                callback(event)
            except Exception as error:
                said = str(error) if isinstance(error, KlpteachError) else f"{type(error).__name__}: {error}"
                self._take_back(event)
                self.picture.value = html.error_html(f"This did not work: {said}", styled=False)

        return guarded

    def _take_back(self, event: Any) -> None:
        """After an error: the control goes back to what is shown, so that both still agree."""
        if isinstance(event, dict) and event["owner"] is not self.slider:
            self._set(event["owner"], value=event["old"])
            if event["owner"] is self.arch:
                self._choices_for(event["old"])
            self._show_sides()

    def _set(self, widget: Any, **traits: Any) -> None:
        """Set a control without hearing it as the reader's choice."""
        self._quiet = True
        try:
            for name, value in traits.items():
                setattr(widget, name, value)
        finally:
            self._quiet = False

    # -- what the reader does: the step -------------------------------------------------------------------------------

    def _walk(self, by: int) -> None:
        target = self.step + by
        if 0 <= target < self.steps:
            self._set(self.slider, value=target + 1)
            self._moved()
        else:  # the button stays enabled: a disabled one would lose the focus
            self.note = "This is the last step." if by > 0 else "This is the first step."
            self._draw()

    def _moved(self) -> None:
        self.note = self.before = ""
        self._draw()

    def _asked(self) -> None:
        self.shown.clear()
        self._moved()

    def _reveal(self) -> None:
        self.shown.add(self.step)
        if self.answer.value:
            kind = comparison.outcome(self.history, self.step)[0]
            right = _KIND_OF_ANSWER.get(kind, "works") == self.answer.value
            expected = next(words for words, value in _ANSWERS if value == self.answer.value)
            self.before = f"You expected: {expected}. {'So it is.' if right else 'It came out differently:'}"
        self._draw()

    # -- what the reader does: the kernel -----------------------------------------------------------------------------

    def _new_story(self) -> None:
        self._tell_all()
        self.shown.clear()
        self.note = self.before = ""
        self._set(self.slider, value=1, max=self.steps)
        self._draw()

    def _other_arch(self, arch: str) -> None:
        dropped = self._choices_for(arch)
        off = f" Not on this machine: {', '.join(dropped)}." if dropped else ""
        self._retell(f"Machine {arch}", lambda: self._tell_all(), extra=off)

    def _choices_for(self, arch: str) -> list[str]:
        """Stories and proposals of an architecture; returns the labels of proposals that had to go off."""
        self._quiet = True
        try:
            seen = [self.left, self.right] if self.compare.value else [self.left]  # what is hidden need not be sent now
            dropped = list(dict.fromkeys(label for side in seen for label in side.for_arch(arch)))
            story = self.story.value if self.story.value in stories(arch) else "reload"
            self.story.options, self.story.value = titles(arch), story
        finally:
            self._quiet = False
        return dropped

    def _compared(self) -> None:
        self._quiet = True
        self.right.for_arch(self.arch.value)
        self._quiet = False
        self.other = self._tell(self.right) if self.compare.value else None
        self._show_sides()
        self.note = self.before = ""
        self._set(self.slider, value=min(self.step + 1, self.steps), max=self.steps)
        self._draw()

    def _show_sides(self) -> None:
        on = bool(self.compare.value)
        self.left.titled(on)
        self.right.view.layout.display = None if on else "none"

    def _released(self, side: KernelChoice) -> Callable[[Any], None]:
        return lambda change: self._other_kernel(side, f"Kernel {change['new']}")

    def _toggle(self, side: KernelChoice, name: str) -> Callable[[Any], None]:
        def toggled(change: Any) -> None:
            others = [other for other in side.chosen if other != name]
            reason = impossible(name, others, self.arch.value) if change["new"] else None
            if reason:
                self._set(side.boxes[name], value=False)
                self.note, self.before = f"Not switched on: {reason}", ""
                self._draw()
                return
            self._other_kernel(side, f"{policy.PROPOSALS[name].label}, {'on' if change['new'] else 'off'}")

        return toggled

    def _other_kernel(self, side: KernelChoice, what: str) -> None:
        if side is self.right:
            self._retell(f"Right: {what}", lambda: setattr(self, "other", self._tell(side)), right=True)
        else:
            name = "Left: " if self.other else ""
            self._retell(f"{name}{what}", lambda: setattr(self, "history", self._tell(side)))

    def _retell(self, what: str, tell: Callable[[], None], *, right: bool = False, extra: str = "") -> None:
        """Tell the same story again; stay at the step, or go to the first one that comes out differently, and say so."""
        old, at = (self.other if right and self.other else self.history).recording, self.step
        tell()
        new = (self.other if right and self.other else self.history).recording
        first = first_difference(old, new)
        step = min(at if first is None or first >= at else first, self.steps - 1)
        self.before = ""
        self.note = what_changed(what, first, at, step) + extra
        if step != at:
            self.shown.clear()
        self._set(self.slider, max=self.steps, value=step + 1)
        self._draw()

    def _tell(self, side: KernelChoice) -> History:
        return told(self.story.value, side.release.value, side.chosen, self.arch.value)

    def _tell_all(self) -> None:
        self.history = self._tell(self.left)
        self.other = self._tell(self.right) if self.compare.value else None

    # -- the picture --------------------------------------------------------------------------------------------------

    def _draw(self) -> None:
        hidden = bool(self.ask.value) and self.step not in self.shown
        if hidden:
            self._set(self.answer, value=None)
        self.question.layout.display = "flex" if hidden else "none"
        said: dict[str, Any] = {"ask": hidden, "note": self.note, "before": self.before, "styled": False}
        if self.other:
            self.picture.value = comparison.compare_html(self.history, self.other, self.step, **said)
        else:
            self.picture.value = html.explorer_html(self.recording, self.step, history=self.history, **said)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        """The widget for a live page, and for a saved notebook the whole story as HTML and as text."""
        bundle = self.view._repr_mimebundle_()
        data: dict[str, Any] = dict(bundle[0] if isinstance(bundle, tuple) else bundle or {})
        if self.other:
            data["text/html"] = twin.compare_twin_html(self.history, self.other)
            data["text/plain"] = twin.compare_plain_text(self.history, self.other)
        else:
            data["text/html"] = twin.twin_html(self.recording, history=self.history)
            data["text/plain"] = twin.plain_text(self.recording, history=self.history)
        return data
