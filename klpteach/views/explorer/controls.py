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
        self.title = w.HTML(f"<b>{side}</b>", layout=_wide("44px"))
        self.release = dropdown(policy.RELEASES, release, "Kernel", "130px")
        self.boxes = {}
        for name, proposal in policy.PROPOSALS.items():
            tip = f"{side} kernel: {proposal.summary} (in Python: {name})"
            self.boxes[name] = checkbox(proposal.label, name in chosen, tooltip=tip, width="auto", margin="0 14px 0 0")
        row = w.HBox(list(self.boxes.values()), layout=w.Layout(flex_flow="row wrap", flex="1 1 0"))
        self.view = w.HBox([self.title, self.release, row], layout=w.Layout(align_items="flex-start"))
        self.for_arch(arch)

    @property
    def chosen(self) -> tuple[str, ...]:
        """The proposals that are on, in the order of policy.PROPOSALS."""
        return tuple(name for name, box in self.boxes.items() if box.value)

    def tell(self, story: str, arch: str) -> None:
        """Say beside each switch what it does, and which kernel with it alone has told this story."""
        for name, box in self.boxes.items():
            if self.release.value and name in policy.available(arch):
                seen = recording_of(story, arch, self.release.value, [name])
                who = (
                    f"a kernel with this patch told this story: {seen}" if seen else "no kernel with it told this story"
                )
                summary = policy.PROPOSALS[name].summary
                box.tooltip = f"{self.side} kernel: {summary} (in Python: {name}); {who}"

    def for_arch(self, arch: str) -> list[str]:
        """Show the boxes of an architecture; those of another go off. Returns the labels of those that were on."""
        there = policy.available(arch)
        dropped = [name for name in self.chosen if name not in there]
        for name, box in self.boxes.items():
            show(box, name in there)
            box.value = box.value and name in there
        return [policy.PROPOSALS[name].label for name in dropped]


class StepChoice:
    """The slider, Back and Next, and what asks before it tells: a box, radio buttons, a button that shows."""

    def __init__(self, steps: int, answers: Iterable[tuple[str, str]]) -> None:
        self.slider = w.IntSlider(value=1, min=1, max=steps, description="Step", style=_PLAIN, layout=_wide("260px"))
        self.back = w.Button(description="Back", tooltip="One step back", layout=_wide("72px"))
        self.next = w.Button(description="Next", tooltip="One step on", button_style="primary", layout=_wide("72px"))
        self.ask = checkbox("Ask me first", width="130px")
        self.answer = w.RadioButtons(options=tuple(answers), value=None, description="I expect:", style=_PLAIN,
                                     layout=_wide("auto"), orientation="horizontal")  # fmt: skip
        self.show = w.Button(description="Show", tooltip="Show what happened", layout=_wide("72px"))
        self.view = w.HBox([self.slider, self.back, self.next, self.ask], layout=w.Layout(align_items="center"))
        self.question = w.HBox([self.answer, self.show], layout=w.Layout(display="none", align_items="center"))


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
