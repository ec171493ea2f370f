"""What real kernels take back when a target goes: the sections of a livepatch at a removal, before it and after."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ...files.klp import Site
from ...files.module_file import ModuleFile
from ...model import messages
from ...model.recording import Recording
from ...reading.history import History
from ...reading.steps import patch_of
from ...reading.sums import sum_at
from ...scenarios.recorded import evidence, named

RFC, MERGED = "the RFC of 2019", "Linux 6.3"
# Which kernels were recorded that clear: (release, variant). 6.12 and 7.3 are Debian's, the others are of our own build.
CLEARING = {RFC: (("6.1", "clear-relocations"),), MERGED: (("6.12", ""), ("7.3", ""), ("6.1", "clear-checked"))}
STRANGER = "foreign-write"
_MISMATCH = (messages.MISMATCH, messages.MISMATCH_619)


@dataclass(frozen=True)
class Place:
    """A site of a livepatch: S + A (− P) says what apply() wrote; before and after are a real kernel's bytes."""

    site: Site
    S: int
    before: bytes
    after: bytes


@dataclass(frozen=True)
class Removal:
    """One section of a livepatch when its target goes: whose recording, in which step (1 is the first), and its places."""

    name: str
    step: int
    section: str
    base: int
    places: Sequence[Place]
    file: ModuleFile

    @property
    def relocations(self) -> list[tuple[int, int, int, int]]:
        """(offset, type, S, A), in the order of the file."""
        return [(one.site.offset, one.site.type, one.S, one.site.addend) for one in self.places]

    def memory(self, after: bool = False) -> bytearray:
        """The section's bytes before the removal, or after it: the file's, and at the sites those that were recorded."""
        held = bytearray(self.file.section_bytes(self.file.section_names.index(self.section)))
        for one in self.places:
            held[one.site.offset : one.site.offset + one.site.width] = one.after if after else one.before
        return held

    @property
    def strange(self) -> bool:
        """Whether somebody else wrote to one of its sites before: there the two kinds of kernels differ."""
        return self.name.startswith(f"{STRANGER}--") and self.section == ".text"

    def place_at(self, offset: int) -> Place | None:
        """The site that a byte belongs to."""
        return next((p for p in self.places if p.site.offset <= offset < p.site.offset + p.site.width), None)


@lru_cache(maxsize=4)
def removals(kind: str) -> Sequence[Removal]:
    """Every section that real kernels of a kind (RFC, MERGED) cleared, in all their recordings; a second.

    Of two that ask the same, the first.
    """
    seen: dict[Any, Removal] = {}
    for name in recorded(kind):
        for one in removals_in(evidence(name), name):
            seen.setdefault((one.section, one.base, bytes(one.memory()), tuple(one.relocations)), one)
    return tuple(seen.values())


def recorded(kind: str) -> list[str]:
    """The recordings of kernels that clear in one of the two ways, on x86_64; those of the plain reload come first."""
    known = sorted(named("x86_64"), key=lambda one: one.story != "reload")
    return [one.name for kernel in CLEARING[kind] for one in known if (one.release, one.variant) == kernel]


def removals_in(recording: Recording, name: str) -> Iterator[Removal]:
    """The sections that a kernel clears in one recording: where a module goes, and bytes changed or a line says why not."""
    history = History(recording)
    for number, step in enumerate(recording):
        gone = step.did.what if step.did.verb == "rmmod" and step.errno == 0 and step.sites and number else None
        found: dict[tuple[str, str], list[Any]] = {}
        for key in history.sites_for(gone) if gone else ():
            before, after = ((recording[at].sites or {}).get(key) for at in (number - 1, number))
            total = sum_at(history, key, number - 1)
            if before and after and total:
                place = Place(total.site, total.S, before[: total.site.width], after[: total.site.width])
                found.setdefault((patch_of(key), total.site.section), []).append((total.P - total.site.offset, place))
        stopped = any(form.match(line) for form in _MISMATCH for line in step.lines)
        for (patch, section), places in found.items():
            mine = [place for _, place in places]
            if stopped or any(one.before != one.after for one in mine):
                yield Removal(name, number + 1, section, places[0][0], mine, history.files[f"{patch}.ko"])
