"""Where two tellings of the same story part: the first step that comes out differently."""

from __future__ import annotations

from ..model.recording import Recording
from ..model.step import Step


def first_difference(old: Recording, new: Recording) -> int | None:
    """The first step that comes out differently, to a reader: errno, dmesg, the bytes at a site, or the stubs.

    Counts from 0; None where all steps come out the same.

    >>> from klpteach.scenarios.simulate import simulate
    >>> first_difference(simulate("reload"), simulate("reload", proposals=["clear-checked"]))
    2
    """
    for index, (a, b) in enumerate(zip(old, new, strict=False)):
        if _seen(a) != _seen(b):
            return index
    return min(len(old), len(new)) if len(old) != len(new) else None


def _seen(step: Step) -> tuple[object, ...]:
    stubs = [(name, t["num_stubs"], t["used"], t["past_end_used"]) for name, t in (step.stubs or {}).items()]
    return step.command, step.errno, step.oops, step.lines, step.sites, stubs


def what_changed(what: str, first: int | None, at: int, step: int) -> str:
    """A sentence for the reader who stood at step `at` and is now at `step`; `first` is the first that differs.

    >>> what_changed("Kernel 6.12", 2, 3, 2)
    'Kernel 6.12: step 3 is the first that comes out differently.'
    """
    if first is None:
        return f"{what}: this story comes out the same."
    if step != at:
        return f"{what}: step {first + 1} is the first that comes out differently."
    if first == at:
        return f"{what}: this step comes out differently."
    return f"{what}: from step {first + 1} on it comes out differently."
