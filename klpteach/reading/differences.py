"""Where two tellings of the same story part: the first step that comes out differently."""

from __future__ import annotations

from ..model.recording import Recording
from ..model.step import Step


def first_difference(old: Recording, new: Recording) -> int | None:
    """The first step that comes out differently, to a reader: errno, dmesg, the bytes at a site, or the stubs.

    Counts from 0; None where all steps come out the same.
    """
    both = enumerate(zip(map(seen, old), map(seen, new), strict=False))
    ended = min(len(old), len(new)) if len(old) != len(new) else None
    return next((index for index, (a, b) in both if a != b), ended)


def seen(step: Step) -> tuple[object, ...]:
    """What of a step counts for first_difference()."""
    stubs = [
        (name, {key: rows for key, rows in t.items() if key != "entries"}) for name, t in (step.stubs or {}).items()
    ]
    return step.command, step.errno, step.oops, step.label, step.lines, step.sites, stubs


def what_changed(what: str, first: int | None, at: int, step: int) -> str:
    """A sentence for the reader who stood at step `at` and is now at `step`; `first` is the first that differs."""
    if first is None:
        return f"{what}: this story comes out the same."
    if step != at:
        return f"{what}: step {first + 1} is the first that comes out differently."
    if first == at:
        return f"{what}: this step comes out differently."
    return f"{what}: from step {first + 1} on it comes out differently."
