"""The explorer's choices of a kernel: its release and the proposals that are switched on. Core ipywidgets only."""

from __future__ import annotations

from collections.abc import Iterable

import ipywidgets as w

from ...model import policy

PLAIN = {"description_width": "initial"}


def dropdown(options: Iterable[object], value: object, description: str, width: str) -> w.Dropdown:
    """A worded dropdown of one size."""
    return w.Dropdown(
        options=list(options), value=value, description=description, style=PLAIN, layout=w.Layout(width=width)
    )


class KernelChoice:
    """One kernel to choose: a release and a checkbox a proposal. `side` is said in the names of the controls.

    All proposals have a box; those that mean nothing on an architecture are hidden and off.
    """

    def __init__(self, side: str, release: str | None, proposals: Iterable[str], arch: str) -> None:
        self.side, chosen = side, set(proposals)
        self.title = w.HTML(f"<b>{side}</b>", layout=w.Layout(width="44px"))
        self.release = dropdown(policy.RELEASES, release, "Kernel", "130px")
        self.boxes = {name: self._box(proposal, name in chosen) for name, proposal in policy.PROPOSALS.items()}
        row = w.HBox(list(self.boxes.values()), layout=w.Layout(flex_flow="row wrap", flex="1 1 0"))
        self.view = w.HBox([self.title, self.release, row], layout=w.Layout(align_items="flex-start"))
        self.for_arch(arch)

    def _box(self, proposal: policy.Proposal, on: bool) -> w.Checkbox:
        tip = f"{self.side} kernel: {proposal.summary}" if self.side else proposal.summary
        space = w.Layout(width="auto", margin="0 14px 0 0")
        return w.Checkbox(on, description=proposal.label, tooltip=tip, indent=False, layout=space)

    @property
    def chosen(self) -> tuple[str, ...]:
        """The proposals that are on, in the order of policy.PROPOSALS."""
        return tuple(name for name, box in self.boxes.items() if box.value)

    def for_arch(self, arch: str) -> list[str]:
        """Show the boxes of an architecture; those of another go off. Returns the labels of those that were on."""
        there, dropped = policy.available(arch), []
        for name, box in self.boxes.items():
            box.layout.display = None if name in there else "none"
            if box.value and name not in there:
                box.value = False
                dropped.append(policy.PROPOSALS[name].label)
        return dropped

    def titled(self, on: bool) -> None:
        """Whether the side's name stands before the controls."""
        self.title.layout.display = None if on else "none"


class StepChoice:
    """The slider, Back and Next, and what asks before it tells: a box, radio buttons, a button that shows."""

    def __init__(self, steps: int, answers: Iterable[tuple[str, str]]) -> None:
        small = w.Layout(width="72px")
        self.slider = w.IntSlider(
            min=1, max=steps, value=1, description="Step", style=PLAIN, layout=w.Layout(width="260px")
        )
        self.back = w.Button(description="Back", tooltip="One step back", layout=small)
        self.next = w.Button(description="Next", tooltip="One step on", button_style="primary", layout=small)
        self.ask = w.Checkbox(False, description="Ask me first", indent=False, layout=w.Layout(width="130px"))
        self.answer = w.RadioButtons(
            options=tuple(answers),
            value=None,
            description="I expect:",
            style=PLAIN,
            layout=w.Layout(width="auto"),
            orientation="horizontal",
        )
        self.show = w.Button(description="Show", tooltip="Show what happened", layout=small)
        self.view = w.HBox([self.slider, self.back, self.next, self.ask], layout=w.Layout(align_items="center"))
        self.question = w.HBox([self.answer, self.show], layout=w.Layout(display="none", align_items="center"))


def impossible(name: str, others: Iterable[str], arch: str) -> str | None:
    """Why a proposal does not go with the others, asked from both sides."""
    chosen = [*others, name]
    reasons = (
        policy.why_impossible(one, [other for other in chosen if other != one], arch) for one in reversed(chosen)
    )
    return next((reason for reason in reasons if reason), None)
