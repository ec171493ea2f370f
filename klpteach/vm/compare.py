"""Two recordings of one story: do they differ in more than where modules landed?

Between two boots addresses may change (freed init memory comes back when it likes), and hashed pointers always do. What
is left when both are taken away must be the same: errno, lines, module tables, flags, which sites hold zeros.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ..model.compare import Difference
from ..model.recording import Recording
from ..model.step import Step
from .host import HostError

_ADDRESS = re.compile(r"\b(?:0x)?[0-9a-f]{9,16}\b|(?<=val )[0-9a-f]+")


def without_addresses(recording: Recording) -> Recording:
    """The recording with every address taken out; of a site remains whether its bytes are zero."""
    return replace(recording, steps=[_step(step) for step in recording])


def _step(step: Step) -> Step:
    return replace(
        step,
        dmesg=[(level, _ADDRESS.sub("(address)", text)) for level, text in step.dmesg],
        modules=None if step.modules is None else [{**row, "base": 0} for row in step.modules],
        sections=None if step.sections is None else {m: dict.fromkeys(table, 0) for m, table in step.sections.items()},
        symbols=None
        if step.symbols is None
        else {m: [(0, k, n) for _, k, n in rows] for m, rows in step.symbols.items()},
        sites=None if step.sites is None else {key: bytes([any(value)]) for key, value in step.sites.items()},
    )


def compare(old: Path, new: Path) -> Iterator[tuple[str, int, list[Difference]]]:
    """(name, steps, differences) for two files, or for every recording that two folders share.

    Errors: HostError where there is nothing to compare, RecordingError for a file that is none.
    """
    pairs = [(old, new)] if old.is_file() else [(path, new / path.name) for path in sorted(old.glob("*.json"))]
    pairs = [(one, other) for one, other in pairs if other.exists()]
    if not pairs:
        raise HostError(f"{old} and {new} have no recording in common.")
    for one, other in pairs:
        ours, theirs = Recording.load(one), Recording.load(other)
        yield one.name, len(ours), without_addresses(ours).compare(without_addresses(theirs))
