"""The explorer: a recording under your fingers. Core ipywidgets only, and they are imported here and nowhere else.

One HTML of fixed height shows what views.html makes of a step; the controls choose story, release, proposals and step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache, wraps
from typing import Any

import ipywidgets as w

from .. import policy
from ..errors import KlpteachError
from ..reading.history import History
from ..reading.verdict import verdict
from ..recording import Recording
from ..scenarios import SCENARIOS, simulate
from . import html, twin

HEIGHT = "740px"
_ANSWERS = (("it works", "works"), ("it is refused", "refused"), ("the kernel oopses", "oops"))
_KIND_OF_ANSWER = {"refused": "refused", "in-use": "refused", "exists": "refused", "oops": "oops"}


def explore(
    story: str = "reload",
    release: str = "6.1",
    proposals: Iterable[str] = (),
    recording: Recording | None = None,
    *,
    history: History | None = None,
) -> Explorer:
    """An explorer to display. story, release and proposals name what the model runs first; the controls change them.

    recording: show this one (real or the model's) instead; then there is only the step to choose. history: the same,
    with module files that are not the course's own. Errors: ScenarioError, PolicyError.
    """
    return Explorer(story, release, tuple(proposals), recording, history)


@lru_cache(maxsize=128)
def _told(story: str, release: str, proposals: tuple[str, ...]) -> History:
    return History(simulate(story, release, proposals))


class Explorer:
    """The controls and the picture. `view` is the widget; `step`, `recording` and `history` say what is shown."""

    def __init__(
        self, story: str, release: str, proposals: tuple[str, ...], recording: Recording | None, history: History | None
    ) -> None:
        self.fixed = recording is not None or history is not None
        self.history = history or (History(recording) if recording is not None else _told(story, release, proposals))
        self.shown: set[int] = set()  # steps whose outcome the reader has asked for
        self.note, self.before = "", ""
        self._quiet = False  # the controls are being set by us, not by the reader
        self.picture = w.HTML(layout=w.Layout(height=HEIGHT, overflow="auto", margin="4px 0 0 0", width="100%"))
        self._build(story, release, proposals)
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

    # -- controls -----------------------------------------------------------------------------------------------------

    def _build(self, story: str, release: str, proposals: tuple[str, ...]) -> None:
        plain = {"description_width": "initial"}
        self.slider = w.IntSlider(
            min=1,
            max=max(len(self.recording), 1),
            value=1,
            description="Step",
            style=plain,
            continuous_update=True,
            layout=w.Layout(width="260px"),
        )
        self.back = w.Button(description="Back", tooltip="One step back", layout=w.Layout(width="72px"))
        self.next = w.Button(
            description="Next", tooltip="One step on", button_style="primary", layout=w.Layout(width="72px")
        )
        self.ask = w.Checkbox(False, description="Ask me first", indent=False, layout=w.Layout(width="130px"))
        self.answer = w.RadioButtons(
            options=_ANSWERS,
            value=None,
            description="I expect:",
            style=plain,
            layout=w.Layout(width="auto"),
            orientation="horizontal",
        )
        self.show = w.Button(description="Show", tooltip="Show what happened", layout=w.Layout(width="72px"))
        self.question = w.HBox([self.answer, self.show], layout=w.Layout(display="none", align_items="center"))
        self.story = w.Dropdown(
            options=[(s.title, name) for name, s in SCENARIOS.items()],
            value=None if self.fixed else story,
            description="Story",
            style=plain,
            layout=w.Layout(width="290px"),
        )
        self.release = w.Dropdown(
            options=list(policy.RELEASES),
            value=None if self.fixed else release,
            description="Kernel",
            style=plain,
            layout=w.Layout(width="130px"),
        )
        self.boxes = {
            name: w.Checkbox(
                name in proposals,
                description=policy.PROPOSALS[name].label,
                tooltip=policy.PROPOSALS[name].summary,
                indent=False,
                layout=w.Layout(width="auto"),
            )
            for name in policy.available()
        }
        self._connect()
        walk = w.HBox([self.slider, self.back, self.next, self.ask], layout=w.Layout(align_items="center"))
        choice = [
            w.HBox([self.release, self.story]),
            w.HBox(list(self.boxes.values()), layout=w.Layout(flex_flow="row wrap")),
        ]
        self.view = w.VBox([*([] if self.fixed else choice), walk, self.question, self.picture])

    def _connect(self) -> None:
        self.back.on_click(self._guard(lambda _: self._walk(-1)))
        self.next.on_click(self._guard(lambda _: self._walk(+1)))
        self.show.on_click(self._guard(lambda _: self._reveal()))
        self.slider.observe(self._guard(lambda _: self._moved()), "value")
        self.ask.observe(self._guard(lambda _: self._asked()), "value")
        if self.fixed:
            return
        self.story.observe(self._guard(lambda _: self._new_story()), "value")
        self.release.observe(self._guard(lambda change: self._other_kernel(f"Kernel {change['new']}")), "value")
        for name, box in self.boxes.items():
            box.observe(self._guard(self._toggle(name)), "value")

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
                self.picture.value = html.error_html(f"This did not work: {said}")

        return guarded

    def _set(self, widget: Any, **traits: Any) -> None:
        """Set a control without hearing it as the reader's choice."""
        self._quiet = True
        try:
            for name, value in traits.items():
                setattr(widget, name, value)
        finally:
            self._quiet = False

    # -- what the reader does -----------------------------------------------------------------------------------------

    def _walk(self, by: int) -> None:
        target = self.step + by
        if 0 <= target < len(self.recording):
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
            kind = verdict(self.recording, self.step, self.history).kind
            right = _KIND_OF_ANSWER.get(kind, "works") == self.answer.value
            expected = next(words for words, value in _ANSWERS if value == self.answer.value)
            self.before = f"You expected: {expected}. {'So it is.' if right else 'It came out differently:'}"
        self._draw()

    def _new_story(self) -> None:
        self.history = self._tell()
        self.shown.clear()
        self.note = self.before = ""
        self._set(self.slider, value=1, max=len(self.recording))
        self._draw()

    def _toggle(self, name: str) -> Callable[[Any], None]:
        def toggled(change: Any) -> None:
            others = [other for other in self._chosen() if other != name]
            reason = _impossible(name, others) if change["new"] else None
            if reason:
                self._set(self.boxes[name], value=False)
                self.note, self.before = f"Not switched on: {reason}", ""
                self._draw()
                return
            self._other_kernel(f"{policy.PROPOSALS[name].label}, {'on' if change['new'] else 'off'}")

        return toggled

    def _other_kernel(self, what: str) -> None:
        """Tell the same story on another kernel; stay at the step, or go to the first one that comes out differently."""
        old, at = self.recording, self.step
        self.history = self._tell()
        first = _first_difference(old, self.recording)
        step = at if first is None or first >= at else first
        step = min(step, len(self.recording) - 1)
        self.before = ""
        if first is None:
            self.note = f"{what}: this story comes out the same."
        elif step != at:
            self.note = f"{what}: step {first + 1} is the first that comes out differently."
            self.shown.clear()
        else:
            self.note = (
                f"{what}: this step comes out differently."
                if first == at
                else f"{what}: from step {first + 1} on it comes out differently."
            )
        self._set(self.slider, max=len(self.recording), value=step + 1)
        self._draw()

    def _chosen(self) -> tuple[str, ...]:
        return tuple(name for name, box in self.boxes.items() if box.value)

    def _tell(self) -> History:
        return _told(self.story.value, self.release.value, self._chosen())

    # -- the picture --------------------------------------------------------------------------------------------------

    def _draw(self) -> None:
        hidden = bool(self.ask.value) and self.step not in self.shown
        if hidden:
            self._set(self.answer, value=None)
        self.question.layout.display = "flex" if hidden else "none"
        self.picture.value = html.explorer_html(
            self.recording, self.step, ask=hidden, note=self.note, before=self.before, history=self.history
        )

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        """The widget for a live page, and for a saved notebook the whole story as HTML and as text."""
        bundle = self.view._repr_mimebundle_()
        data: dict[str, Any] = dict(bundle[0] if isinstance(bundle, tuple) else bundle or {})
        data["text/html"] = twin.twin_html(self.recording, history=self.history)
        data["text/plain"] = twin.plain_text(self.recording, history=self.history)
        return data


def _impossible(name: str, others: Iterable[str]) -> str | None:
    """Why a proposal does not go with the others, asked from both sides."""
    chosen = [*others, name]
    reasons = (policy.why_impossible(one, [other for other in chosen if other != one]) for one in reversed(chosen))
    return next((reason for reason in reasons if reason), None)


def _first_difference(old: Recording, new: Recording) -> int | None:
    """The first step that comes out differently, to the reader: errno, dmesg, or the bytes at a site."""
    for index, (a, b) in enumerate(zip(old, new, strict=False)):
        if (a.command, a.errno, a.oops) != (b.command, b.errno, b.oops) or a.lines != b.lines or a.sites != b.sites:
            return index
    return min(len(old), len(new)) if len(old) != len(new) else None
