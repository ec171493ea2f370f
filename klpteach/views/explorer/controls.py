"""The explorer's controls: which story, which kernel, which step, and the story that they choose. Core ipywidgets only."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import ipywidgets as w

from ...errors import ScenarioError
from ...files.samples import ko_dir, plain_name
from ...model import policy
from ...reading.history import History
from ...scenarios.recorded import evidence, recording_of
from ...scenarios.simulate import get, simulate, stories
from ..shown import escape
from .panel import groups

_PLAIN = {"description_width": "initial"}


def dropdown(options: Iterable[object], value: object, description: str, width: str) -> w.Dropdown:
    return w.Dropdown(options=list(options), value=value, description=description, style=_PLAIN, layout=_wide(width))


def checkbox(description: str, on: bool = False, *, tooltip: str = "", **layout: str) -> w.Checkbox:
    return w.Checkbox(on, description=description, tooltip=tooltip or None, indent=False, layout=w.Layout(**layout))


class KernelChoice:
    """One kernel to choose: a release and a checkbox a proposal. `side` is said in the names of the controls.

    All proposals have a box; those that mean nothing on an architecture are hidden and off.
    """

    def __init__(self, side: str, release: str | None, proposals: Iterable[str], arch: str) -> None:
        self.side, chosen = side, set(proposals)
        self.title = w.HTML(f"<b>{side}</b>")
        self.release = dropdown(policy.RELEASES, release, "Kernel", "140px")
        self.on = w.HTML()
        self.boxes = {}
        for name, proposal in policy.PROPOSALS.items():
            tip = f"{side} kernel: {proposal.summary} (in Python: {name})"
            self.boxes[name] = checkbox(proposal.label, name in chosen, tooltip=tip, width="auto").add_class(
                f"kb-{name}"
            )
        self.groups = {
            w.VBox([w.HTML(f"<h5>{title}</h5>"), *(self.boxes[name] for name in names)]).add_class("kc-group"): names
            for title, names in groups(self.boxes).items()
        }
        self.tips = w.HTML().add_class("kc-tips")
        self._told: tuple[str, str, str | None] | None = None
        kernel = w.VBox([self.title, self.release, self.on]).add_class("kc-kernel")
        self.view = w.Box([kernel, w.Box([*self.groups]).add_class("kc-groups"), self.tips]).add_class("kc-side")
        self.for_arch(arch)

    @property
    def chosen(self) -> tuple[str, ...]:
        """The proposals that are on, in the order of policy.PROPOSALS."""
        return tuple(name for name, box in self.boxes.items() if box.value)

    def tell(self, story: str, arch: str) -> None:
        """Say which proposals are on; and of each what it does, and which kernel with it alone has told this story."""
        said = [policy.PROPOSALS[name].label for name in self.chosen]
        self.on.value = f"<b>Proposals</b><small>{escape('on: ' + ', '.join(said) if said else 'none on')}</small>"
        if self._told == (story, arch, self.release.value):
            return  # the folder of recordings is looked at once a story, not at each step
        self._told = story, arch, self.release.value
        lines = "<i>What a proposal changes is said here: point at it, or go to it with Tab.</i>"
        for name, box in self.boxes.items():
            if self.release.value and name in policy.available(arch):
                seen = recording_of(story, arch, self.release.value, [name])
                who = (
                    f"a kernel with this patch told this story: {seen}" if seen else "no kernel with it told this story"
                )
                proposal = policy.PROPOSALS[name]
                box.tooltip = f"{self.side} kernel: {proposal.summary} (in Python: {name}); {who}"
                lines += f'<span class="kt-{name}"><b>{escape(proposal.label)}</b>: {escape(proposal.summary)}. In Python: <code>{name}</code>; {escape(who)}.</span>'
        self.tips.value = lines

    def for_arch(self, arch: str) -> list[str]:
        """Show the boxes of an architecture; those of another go off. Returns the labels of those that were on."""
        there = policy.available(arch)
        dropped = [name for name in self.chosen if name not in there]
        for name, box in self.boxes.items():
            show(box, name in there)
            box.value = box.value and name in there
        for group, names in self.groups.items():
            show(group, any(name in there for name in names))
        return [policy.PROPOSALS[name].label for name in dropped]


class StepChoice:
    """The slider, Back and Next, and what asks before it tells: a box, radio buttons, a button that shows."""

    def __init__(self, steps: int, answers: Iterable[tuple[str, str]]) -> None:
        self.slider = w.IntSlider(value=1, min=1, max=steps, description="Step", readout=False, style=_PLAIN,
                                  layout=_wide("200px")).add_class("kc-slider")  # fmt: skip
        self.back = w.Button(description="Back", tooltip="One step back")
        self.next = w.Button(description="Next", tooltip="One step on", button_style="primary")
        self.where = w.HTML().add_class("kc-where")
        self.ask = checkbox("Ask me first", width="auto")
        self.answer = w.RadioButtons(options=tuple(answers), value=None, description="I expect:", style=_PLAIN,
                                     layout=_wide("auto"), orientation="horizontal")  # fmt: skip
        self.show = w.Button(description="Show", tooltip="Show what happened")
        self.who = w.HTML().add_class("kc-who")
        self.view = w.Box([self.back, self.next, self.where, self.slider, self.who, self.ask]).add_class("kc-row")
        self.question = w.HBox([self.answer, self.show], layout=w.Layout(display="none", align_items="center"))
        self.question.add_class("kc-row").add_class("kc-question")

    def reach(self, steps: int) -> None:
        """Let the slider end at another step. It is drawn anew: the End key of one that is there knows its first range only."""
        if self.slider.max != steps:
            self.slider.max, parts = steps, self.view.children
            self.view.children = [part for part in parts if part is not self.slider]
            self.view.children = parts

    def stand(self, step: int, steps: int) -> None:
        """Say where in the story we are, in words beside the buttons."""
        self.where.value = f"Step {step + 1} of {steps}"


def _wide(width: str) -> w.Layout:
    return w.Layout(width=width)


def show(widget: w.Widget, on: bool) -> None:
    widget.layout.display = None if on else "none"


def impossible(name: str, others: Iterable[str], arch: str) -> str | None:
    """Why a proposal does not go with the others, asked from both sides."""
    chosen = [*others, name]
    pairs = ((one, [other for other in chosen if other != one]) for one in reversed(chosen))
    return next((reason for one, rest in pairs if (reason := policy.why_impossible(one, rest, arch))), None)


def witness(history: History, step: int) -> str:
    """Who says what the model's story shows up to a step: a recording's name and the step in it, or the model alone.

    A kernel counts if every command up to there ended on it as here: the recorded story may load livepatches by modprobe.

    >>> witness(run("reload", "6.1", (), "x86_64"), 3)
    'A kernel did so: reload--6.1-small--REFUSED, step 4.'
    """
    told = history.recording
    name = recording_of(told.scenario, told.arch, told.release, told.proposals)
    if name:
        pairs = zip(told.steps[: step + 1], evidence(name, told.arch).steps, strict=False)
        if all(seen.oops == said.oops and seen.errno in (None, said.errno) for said, seen in pairs):
            kernel = "A kernel with this patch" if told.proposals else "A kernel"
            return f"{kernel} did so: {name}, step {step + 1}."
    return "The model says so; no kernel was asked."


def titles(arch: str, also: str = "reload") -> list[tuple[str, str]]:
    """(title, name) of the stories of an architecture, and of one that is there only to be recorded if it is asked for.

    >>> titles("ppc64le")[0]
    ('remove and reload', 'reload')
    """
    found = [(story.title, name) for name, story in stories(arch).items()]
    return found if also in stories(arch) else [*found, (get(also, arch).title, also)]


@lru_cache(maxsize=64)
def run(story: str, release: str, proposals: tuple[str, ...], arch: str) -> History:
    """A story in the model, each once. Errors: ScenarioError (also where a module is not built), PolicyError.

    >>> run("reload", "6.1", (), "x86_64") is run("reload", "6.1", (), "x86_64")
    True
    """
    words, folder = {word for command in get(story, arch).commands for word in command.split()}, ko_dir(arch, release)
    missing = sorted(w for w in words if w.endswith(".ko") and not (folder / plain_name(w)).is_file())
    if missing:
        raise ScenarioError(f"this story needs {', '.join(missing)}, not built for {release} on {arch}.")
    return History(simulate(story, release, proposals, arch))
