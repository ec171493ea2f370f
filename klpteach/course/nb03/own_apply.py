"""The reader's own apply(): tried on what real kernels wrote into a livepatch, section by section, command by command.

apply(memory, base, relocations) gets a bytearray with a section of the livepatch, the address at which the section stands,
and a list of (offset, type, S, A). It fills the places in and returns 0, or returns -8 at the first place that is not zero.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ...files.klp import Site
from ...files.module_file import ModuleFile
from ...files.samples import sample
from ...model.recording import Recording
from ...model.step import Step
from ...reading.history import History
from ...reading.sums import sum_at
from ...scenarios.recorded import evidence
from ...views.reply import Reply
from ...views.table import LEFT, Row, Table
from ..checks import as_bytes
from ..exercise import Problem

LIVEPATCH = "livepatch_nfsd_demo"
RECORDED = ("reload--6.1--REFUSED", "late--6.1--REFUSED", "reload--6.12--LOADS", "moved--6.12--LOADS")
Apply = Callable[[bytearray, int, list[tuple[int, int, int, int]]], Any]
WORKED = """def apply(memory, base, relocations):
    for offset, kind, S, A in relocations:
        width = 8 if kind in (1, 24) else 4
        if any(memory[offset:offset + width]):
            return -8
        value = S + A - (base + offset if kind in (2, 4, 24) else 0)
        memory[offset:offset + width] = value.to_bytes(9, "little", signed=True)[:width]
    return 0"""


@dataclass(frozen=True)
class Section:
    """A section of the livepatch at one step: its address, and its sites with S and the bytes that the real kernel has there."""

    name: str
    base: int
    sites: Sequence[tuple[Site, int, bytes]]

    @property
    def relocations(self) -> list[tuple[int, int, int, int]]:
        return [(site.offset, site.type, S, site.addend) for site, S, _ in self.sites]


def sections(recording: Recording, step: int) -> list[Section]:
    """The sections that the kernel relocates in a step (0 is the first); none where it relocates nothing."""
    now = recording[step]
    if not _relocates(now):
        return []
    history = History(recording)
    found: dict[tuple[str, int], list[Any]] = {}
    for key, stored in (now.sites or {}).items():
        if total := sum_at(history, key, step):
            base = total.P - total.site.offset
            found.setdefault((total.site.section, base), []).append((total.site, total.S, stored))
    return [Section(name, base, sites) for (name, base), sites in found.items()]


def _relocates(step: Step) -> bool:
    """Whether this command brings livepatch and target together."""
    both = any(f"insmod {name}" in step.command for name in (LIVEPATCH, "nfsd_demo"))
    return both and any(map(any, (step.sites or {}).values()))


def in_file(recording: Recording, name: str) -> bytearray:
    """The bytes of a section of the livepatch, as they are in the file of that recording's kernel."""
    file = ModuleFile.open(sample(f"{LIVEPATCH}.ko", release=recording.release))
    return bytearray(file.section_bytes(file.section_names.index(name)))


def judge(apply: Any, recording: Recording) -> str | Reply | None:
    """What is wrong with a reader's apply(), at its first wrong byte; None where it does as the kernel did."""
    first = next(step for step in range(len(recording)) if sections(recording, step))
    found = sections(recording, first)
    if isinstance(apply, (str, bytes, bytearray)):
        return _by_hand(apply, found[0])
    if not callable(apply):
        return "Give the function itself, apply, without brackets; or, by hand, the four bytes of the first site."
    for section in found:
        before = in_file(recording, section.name)
        memory = bytearray(before)
        said = _called(apply, memory, section)
        if isinstance(said, str):
            return said
        if wrong := _first_wrong(before, memory, section):
            return f"Step 1 of 3, what is written: {wrong}"
        if said:
            return (
                f"Step 2 of 3, the result: all places were zero in {section.name}, and apply() returns {said!r}, not 0."
            )
        again = bytearray(memory)
        said = _called(apply, again, section)
        if said != -8 or again != memory:
            return (f"Step 3 of 3, the check: called once more on the same {section.name}, where nothing is zero now, a real "
                    f"kernel writes nothing and returns -8; apply() returns {said!r}.")  # fmt: skip
    return None


def _called(apply: Apply, memory: bytearray, section: Section) -> Any:
    """What apply() returns; a sentence where it fails or changes the length."""
    length = len(memory)
    try:
        said = apply(memory, section.base, section.relocations)
    except Exception as error:
        return f"apply() on {section.name} ends in {type(error).__name__}: {error}"
    return (
        said if len(memory) == length else f"apply() has made {section.name} {len(memory)} bytes long; it has {length}."
    )


def _first_wrong(before: bytes | bytearray, memory: bytes | bytearray, section: Section) -> str | None:
    right = bytearray(before)
    for site, _, stored in section.sites:
        right[site.offset : site.offset + site.width] = stored
    wrong = next((n for n, (mine, theirs) in enumerate(zip(memory, right, strict=True)) if mine != theirs), None)
    if wrong is None:
        return None
    for site, _, stored in section.sites:
        if site.offset <= wrong < site.offset + site.width:
            mine = bytes(memory[site.offset : site.offset + site.width]).hex(" ")
            return (f"the first wrong byte is {section.name}+{wrong:#x}. It belongs to a site of type {site.type}: yours "
                    f"{mine}, in the kernel's memory {stored.hex(' ')}.")  # fmt: skip
    return f"the first wrong byte is {section.name}+{wrong:#x}, where there is no site: {memory[wrong]:02x}, in the file {right[wrong]:02x}."


def _by_hand(answer: str | bytes | bytearray, section: Section) -> Reply | str:
    site, _, stored = section.sites[0]
    if as_bytes(bytes(answer) if isinstance(answer, bytearray) else answer) == stored:
        return Reply(
            "✓", "Right, by hand.", "The kernel does that sum for each of ten places; apply() would do it for you."
        )
    return f"By hand: four bytes, the lowest first, for the site at {section.name}+{site.offset:#x}: S + A − P."


def problem(rng: random.Random) -> Problem:
    """Write apply(); another seed is another recording."""
    recording = evidence(name := rng.choice(RECORDED))
    step = next(step for step in range(len(recording)) if sections(recording, step))
    site, S, stored = sections(recording, step)[0].sites[0]
    base = sections(recording, step)[0].base
    return Problem(
        ask="Write `apply(memory, base, relocations)`: what `apply_relocate_add()` does with one section. memory is a bytearray, "
        "the section as it is in the file; base is the address at which it stands; relocations is a list of (offset, type, S, A). "
        "Write each value into memory and return 0. At a place that is not zero, write nothing more and return -8. It is "
        f"compared with a real kernel ({name}, step {step + 1}): first the bytes, then the result, then a second call on the same "
        "memory.\n\n"
        f"By hand instead: the bytes of the first site, offset {site.offset:#x}, type {site.type}, S = {S:#x}, A = {site.addend}, "
        f"base = {base:#x}.",
        answer=_worked,
        shown=WORKED,
        form="the function itself: apply; or the bytes of the first site, like '6d 73 00 00'",
        hints=("`memory[offset:offset + width] = number.to_bytes(width, \"little\")` writes a number that is not negative. Types 1 "
               "and 24 are 8 bytes wide, 2, 4, 10 and 11 are 4; 2, 4 and 24 subtract P = base + offset.",
               "A negative number first becomes one that is not: `value & 0xffffffff` for four bytes, 16 times f for eight. Before "
               "you write: `if any(memory[offset:offset + width]): return -8`."),
        steps=("the width from the type, 4 or 8", "P = base + offset; subtract it for types 2, 4 and 24",
               f"the first site: {stored.hex(' ')}", "look before you write: any byte that is not zero ends it with -8"),
        judge=lambda answer: judge(answer, recording),
        because="Every byte is the one in the kernel's memory, and so is the refusal.")  # fmt: skip


def _worked(memory: bytearray, base: int, relocations: list[tuple[int, int, int, int]]) -> int:
    scope: dict[str, Any] = {}
    exec(WORKED, scope)
    return int(scope["apply"](memory, base, relocations))


@dataclass(frozen=True)
class Replayed:
    """One command: what the real kernel answered and holds at the first site, and what the reader's apply() does there."""

    step: Step
    kernel: bytes | None
    mine: bytes | None
    returned: Any
    differs: bool


def replayed(apply: Apply, recording: Recording) -> Iterator[Replayed]:
    """The commands of a recording, with the reader's function in the kernel's place; the livepatch's memory is kept between them."""
    memory: dict[str, bytearray] = {}
    first = next(key for step in recording for key in step.sites or ())
    section, offset = first.partition(":")[2].split("+")
    at = int(offset, 16)
    for number, step in enumerate(recording):
        returned = None
        if step.sites:
            memory = memory or {
                name: in_file(recording, name) for name in {k.partition(":")[2].split("+")[0] for k in step.sites}
            }
        for one in sections(recording, number):
            returned = returned or _called(apply, memory[one.name], one)
        kernel = (step.sites or {}).get(first)
        mine = bytes(memory[section][at : at + len(kernel)]) if kernel else None
        refused = returned == -8
        yield Replayed(step, kernel, mine, returned, mine != kernel or refused != (step.errno == -8))


def replay_mine(apply: Apply, name: str = "reload--6.1--REFUSED") -> Table:
    """A real kernel's recording beside the reader's own apply(): errno and the bytes at the first site, command by command."""
    recording = evidence(name)
    rows: list[Row] = []
    for one in replayed(apply, recording):
        said = "" if one.returned is None else str(one.returned)
        cells = [("not in memory" if value is None else f"`{value.hex(' ')}`") for value in (one.kernel, one.mine)]
        mark = "no" if one.differs else "yes"
        rows.append((f"`{one.step.command}`", str(one.step.errno), cells[0], said, cells[1], mark))
    first = next(key for step in recording for key in step.sites or ())
    heads = (
        "command",
        "kernel's errno",
        f"kernel's bytes at `{first.partition(':')[2]}`",
        "apply() returns",
        "your bytes there",
        "the same?",
    )
    return Table(heads, rows, f"{name}: a real kernel, and your apply() in its place.", css=LEFT)
