"""The reader's own clear(): tried on what real kernels held and took back, then put into the model's kernel for nine stories.

clear(memory, base, relocations) gets what apply() of notebook 03 gets: a bytearray with a section of the livepatch, the
address at which the section stands, and a list of (offset, type, S, A). Its target is going. It puts the places back and
returns 0; a place that does not hold what apply() wrote is somebody else's, and what then happens is the reader's choice, as
it was the kernel's: the RFC of 2019 wrote zeros all the same, Linux 6.3 stops there (-8).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from copy import copy
from dataclasses import replace
from typing import Any

from ...errors import KlpteachError
from ...model import arch as architectures
from ...model.errno import ENOEXEC, Refused
from ...model.image import Arch, Loading
from ...model.policy import behaviour
from ...model.step import hexa
from ...reading.outcome import ENDINGS, outcome_of
from ...scenarios.questions import told
from ...scenarios.simulate import get, simulate
from ...views.reply import Reply
from ...views.table import LEFT, Table
from ..checks import as_bytes
from ..choices import ASKS, committed
from ..exercise import Problem
from .removals import MERGED, RFC, Place, Removal, removals
from .ways import NINE

Clear = Callable[[bytearray, int, list[tuple[int, int, int, int]]], Any]
DISTANCES, WIDE = (2, 4, 24), (1, 24)
WORKED = """def clear(memory, base, relocations):
    for offset, kind, S, A in relocations:
        width = 8 if kind in (1, 24) else 4
        value = S + A - (base + offset if kind in (2, 4, 24) else 0)
        if memory[offset:offset + width] != value.to_bytes(9, "little", signed=True)[:width]:
            return -8
        memory[offset:offset + width] = bytes(width)
    return 0"""
ROWS = {"": "6.1 as it is", "clear-relocations": RFC, "clear-checked": MERGED}


def judge(clear: Any) -> str | Reply | None:
    """What is wrong with a reader's clear(), at its first wrong byte; right where it does as one of the two kernels did."""
    if not callable(clear):
        return Reply("?", "That is no function.", "Give clear itself, without brackets; or, by hand, eight bytes.")
    ours = [one for kind in (RFC, MERGED) for one in removals(kind)]
    for number, one in enumerate(one for one in ours if not one.strange):
        step = "Step 1 of 3, the plain reload" if not number else "Step 2 of 3, every other removal"
        if wrong := _wrong(clear, one, (0, None)):
            return f"{step}: {one.name}, step {one.step}: {wrong}"
    strange = {kind: next(one for one in removals(kind) if one.strange) for kind in (RFC, MERGED)}
    if not _wrong(clear, strange[RFC], None):
        return Reply(
            "✓",
            "Right, as the RFC of 2019 did it.",
            f"{_count(ours)} A stranger's bytes you wipe away, as it did. {_row}",
        )
    if wrong := _wrong(clear, strange[MERGED], (-8,)):
        one = strange[MERGED]
        return (f"Step 3 of 3, a stranger has written to a site: {one.name}, step {one.step}: {wrong} (The RFC of 2019 wrote "
                "zeros there as well, and to every site.)")  # fmt: skip
    return Reply(
        "✓", "Right, as Linux 6.3 does it.", f"{_count(ours)} At a stranger's bytes you stop, as it does. {_row}"
    )


_row = 'Now `nb07.my_row(clear, "your name")`: nine stories with your function in the kernel.'


def _count(ours: list[Removal]) -> str:
    kernels = len({one.name for one in ours})
    return f"{len(ours)} sections, in recordings of {kernels} runs of real kernels, each byte the same."


def _wrong(clear: Clear, one: Removal, results: tuple[Any, ...] | None) -> str | None:
    """The first wrong byte, or a result that is not one of these."""
    memory = one.memory()
    said = called(clear, memory, one.base, one.relocations, one.section)
    if isinstance(said, str):
        return said
    right = one.memory(after=True)
    at = next((n for n, (mine, theirs) in enumerate(zip(memory, right, strict=True)) if mine != theirs), None)
    if at is not None:
        return _told(one, at, memory, right)
    if results is not None and said not in results:
        return f"every byte is right, and clear() returns {said!r}; here it is {results[0]}."
    return None


def _told(one: Removal, at: int, memory: bytearray, right: bytearray) -> str:
    place = one.place_at(at)
    if place is None:
        return f"the first wrong byte is {one.section}+{at:#x}, where there is no site: yours {memory[at]:02x}, it was {right[at]:02x}."
    span = slice(place.site.offset, place.site.offset + place.site.width)
    return (f"the first wrong byte is {one.section}+{at:#x}. It belongs to a site of type {place.site.type}, which held "
            f"{place.before.hex(' ')}: yours {memory[span].hex(' ')}, the kernel's {right[span].hex(' ')}.")  # fmt: skip


def called(clear: Clear, memory: bytearray, base: int, relocations: list[tuple[int, int, int, int]], where: str) -> Any:
    """What clear() returns; a sentence where it fails, returns text, or changes the length."""
    length = len(memory)
    try:
        said = clear(memory, base, relocations)
    except Exception as error:
        return f"clear() on {where} ends in {type(error).__name__}: {error}"
    if len(memory) != length:
        return f"clear() has made {where} {len(memory)} bytes long; it has {length}."
    return f"clear() returns {said!r}, and not a number." if isinstance(said, str) else said


# -- in the model's kernel ------------------------------------------------------------------------------------------------


def kernel_with(clear: Clear) -> Arch:
    """x86_64 with a reader's function for the code that takes relocations back; what it returns but 0 or None ends the section."""
    cpu = copy(architectures.of("x86_64"))

    def clear_relocate_add(me: Loading, relsec: int) -> None:
        file, target = me.image.file, int(me.image.file.shdrs["info"][relsec])
        listed = [
            (offset, kind, int(me.image.symbols[symbol]), addend)
            for offset, kind, symbol, addend in file.rela(relsec).tolist()
        ]
        place = me.image.bytes_of(target)
        memory = bytearray(place)
        said = called(clear, memory, me.image.address[target], listed, file.section_names[target])
        if isinstance(said, str):
            raise KlpteachError(said)
        place.data[:] = bytes(memory)
        if said not in (0, None, ...):  # dots: not written yet
            raise Refused(ENOEXEC)

    setattr(cpu, "clear_relocate_add", clear_relocate_add)  # noqa: B010 (mypy: a method is not to be assigned to)
    return cpu


def my_row(clear: Clear, name: str = "yours") -> Table:
    """Nine stories told by a 6.1 whose clearing is the reader's: a row of the table of consequences, below three known ones.

    Half a second. Errors: KlpteachError where clear() fails.

    >>> def nothing(memory, base, relocations):
    ...     return 0
    >>> [cell.rstrip("*") for cell in my_row(nothing, "nobody").rows[-1][1:4]]
    ['R', 'R', 'R']
    """
    if not callable(clear):
        raise KlpteachError('give the function itself: my_row(clear, "your name"), without brackets behind clear.')
    known = committed("x86_64", "6.1")
    rows = [
        [words, *(known[tuple(filter(None, [key]))][story].letter for story in NINE)] for key, words in ROWS.items()
    ]
    kinds = [_kind(clear, story) for story in NINE]
    mine = [
        ENDINGS[kind].letter + ("" if kind == ASKS[story].wish else "*")
        for kind, story in zip(kinds, NINE, strict=True)
    ]
    rows.append([str(name), *mine])
    used = {cell[0] for row in rows for cell in row[1:]}
    meanings = "; ".join(
        f"{end.letter} {end.meaning}" for end in reversed(list(ENDINGS.values())) if end.letter in used
    )
    same = next((row[0] for row in rows[:-1] if row[1:] == mine), None)
    note = f"Your row is that of {same}." if same else "No row above is the same as yours."
    heads = ("x86_64, 6.1", *(story.replace("-", " ") for story in NINE))
    caption = f"{meanings}. *: not as wished. The first three rows are of kernels that ran; the last is the model with your function."
    return Table(heads, rows, caption, [len(rows) - 1], note=note, css=LEFT, labels=True)


def _kind(clear: Clear, story: str) -> str:
    rules = replace(behaviour("6.1"), clear="unchecked")
    tale = told(get(ASKS[story].story["x86_64"]))
    return outcome_of(simulate(tale, "6.1", quietly=True, rules=rules, cpu=kernel_with(clear))).kind


# -- the exercise ---------------------------------------------------------------------------------------------------------


def problem(rng: random.Random) -> Problem:
    """Write clear(); by hand, two sites of one section, one of which somebody has changed. Another seed has others."""
    one = rng.choice(
        [one for one in removals(MERGED) if not one.strange and len([p for p in one.places if p.site.width == 4]) > 1]
    )
    two = [place for place in one.places if place.site.width == 4][:2]
    at, bit = rng.randrange(2), rng.randrange(8)
    now = [place.before for place in two]
    now[at] = bytes([now[at][0] ^ 1 << bit]) + now[at][1:]
    right = b"".join(now) if at == 0 else bytes(4) + now[1]
    lines = "\n".join(_line(place, held, one) for place, held in zip(two, now, strict=True))
    return Problem(
        ask="A target is going. Write `clear(memory, base, relocations)`, which takes back what `apply` of notebook 03 wrote into "
        "one section; it gets the same three things. Put the file's zeros back and return 0. What you do at a place that does "
        "not hold what apply wrote is up to you: one kernel wiped it away and went on, another stops there and returns -8. It "
        "is tried on every removal that was recorded on kernels that clear.\n\n"
        f"By hand instead, as Linux 6.3 does it: two sites of `{one.section}`, in the order of the file. What do they hold in the "
        f"end?\n\n{lines}",
        answer=_worked,
        shown=WORKED,
        form="the function itself: clear; or eight bytes, like '00 00 00 00 6d 73 00 00'",
        hints=("What apply wrote is S + A, minus P = base + offset for types 2, 4 and 24, in 4 bytes, or 8 for types 1 and 24. Work "
               "it out again and compare: that is all that can tell your bytes from a stranger's.",
               "`if memory[offset:offset + width] != wanted: return -8`, before `memory[offset:offset + width] = bytes(width)`. "
               "Without the `if` you are the RFC."),
        steps=("the width and the value are those of apply", "compare with what is there; another value is not yours to wipe",
               f"by hand: {right.hex(' ')}. The {'first' if at == 0 else 'second'} does not hold its sum"
               + (", so 6.3 stops before it, and the second stays, too" if at == 0 else "; the first was cleared before that")),
        judge=lambda answer: _by_hand(answer, right, at) if isinstance(answer, (str, bytes, bytearray)) else judge(answer))  # fmt: skip


def _line(place: Place, held: bytes, one: Removal) -> str:
    P = one.base + place.site.offset
    return (f"    {one.section}+{place.site.offset:#x}: type {place.site.type}, S = {hexa(place.S)}, A = {place.site.addend}, "
            f"P = {hexa(P)}, holds {held.hex(' ')}")  # fmt: skip


def _by_hand(answer: str | bytes | bytearray, right: bytes, at: int) -> Reply | str:
    given = as_bytes(bytes(answer) if isinstance(answer, bytearray) else answer)
    if given is None or len(given) != 8:
        return "By hand: eight bytes, the four of the first site and then the four of the second."
    if given == right:
        return Reply("✓", "Right, by hand.", "clear() would do so for every site; then it earns a row of the table.")
    if at == 0 and given == right[:4] + bytes(4):
        return "The first is right. But 6.3 goes no further in this section: what comes behind it?"
    if given == bytes(8):
        return "So the RFC of 2019 left them. 6.3 compares first: one of the two does not hold its sum."
    return "Work out S + A (for types 2 and 4 minus P) for each, lowest byte first, and compare."


def _worked(memory: bytearray, base: int, relocations: list[tuple[int, int, int, int]]) -> int:
    scope: dict[str, Any] = {}
    exec(WORKED, scope)
    return int(scope["clear"](memory, base, relocations))
