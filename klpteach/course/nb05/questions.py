"""What notebook 05 asks: three explanations that sound right, where one's own code refuses, and a seed that brings the module
back to its old place.
"""

from __future__ import annotations

import random
from functools import lru_cache
from typing import Any

from ...model.step import hexa
from ...scenarios.course import busy
from ...scenarios.recorded import evidence
from ...scenarios.simulate import simulate
from ...views.reply import Reply
from ..checks import as_number
from ..exercise import Exercise, Problem
from ..nb01.val import val_is
from ..question import questions, refused_or_loads

TITLE = "the bug"


def what_is_asked() -> str:
    """What a reload asks of bytes that are the right ones already: "zero" where it is refused all the same."""
    return {"refused": "zero", "loads": "same"}[refused_or_loads("reload")]


QUESTIONS = questions("""
same-address
nfsd_demo comes back to exactly the same address, so every byte that the kernel wants to write is there already. What does
it ask about those bytes?
- same: Are they what I am about to write?
  You may have thought that identical bytes cannot hurt. The check never compares: it asks whether the bytes are zero.
- mine: Have I written them myself?
  Nothing is written down about that: neither the livepatch nor the loader has a flag for it. Only the bytes are there.
- zero: Are they zero? => it asks whether they are zero, and it is refused
  The check asks for zero, not for another value; the right bytes are as bad as wrong ones.

other-address
Another module takes the freed place first, so nfsd_demo must go elsewhere. Does the new address help?
- loads: It loads: other bytes are written
  The new address changes what the kernel wants to write, not what it finds. It finds the old bytes, and stops.
- refused: Refused, as before => it is refused
  Where the module lands decides the value that would be written; the check looks at what is there.

val-moved
The refusal prints `val ffffffffc020d00c`. At the first load the symbol was at 0xffffffffc0203010, now it is at
0xffffffffc020d010, and the addend is −4. Whose number is it?
- old: The first load's: what was found in the livepatch
  0xffffffffc0203010 − 4 would be that of the first load, and what was found is never printed.
- new: This load's: what was about to be written => this load's S + A
  `val` is what the kernel has in its hand: the new sum. What it found in the way is not printed.
- distance: Neither: it is a distance
  A distance is a small number, up or down. This is an address of a module: up to 6.2 P has not been subtracted yet.

init-fails
This time nobody runs rmmod. The module's own init() fails at its first load; then you load a good build. What now?
- loads: It loads: nothing was ever removed
  The livepatch writes its relocations before init() runs. A module that never arrived leaves them behind as well.
- refused: Refused => it is refused
  The bytes are written while the module is coming, before its init() has a say.
""", {
    "same-address": what_is_asked, "other-address": lambda: refused_or_loads("moved"),
    "init-fails": lambda: refused_or_loads("init-fails"), "val-moved": lambda: val_is(evidence("moved--6.1--REFUSED")),
})  # fmt: skip


def bases(seed: int, release: str = "6.1") -> tuple[int, int, bool]:
    """busy(seed) in the model: nfsd_demo's first base, its base on the reload, and whether the reload is refused."""
    story = simulate(busy(seed), release)
    loads = [(step.placement or {})["nfsd_demo"] for step in story if step.command == "insmod nfsd_demo.ko"]
    before, after = (next(iter(place.values())) for place in loads)
    return before, after, story[-1].errno == -8


WHY = {
    "address": "the module has its old address again, so the old bytes are right",
    "zero": "the kernel wants zeros there, whatever it is about to write",
    "file": "the file is the same, so its bytes are known to be good",
}
_REASONS = "; ".join(f'why="{key}": {text}' for key, text in WHY.items())
_YES, _NO = ("true", "yes", "y", "1"), ("false", "no", "n", "0")


def _truth(said: Any) -> bool | None:
    """True or False, also as text in any case; None for anything else."""
    text = str(said).strip().casefold()
    return True if text in _YES else False if text in _NO else None


@lru_cache(maxsize=8)
def place_matters(release: str) -> bool:
    """Whether a reload at the old base ends otherwise than one elsewhere, in the model."""
    ends = {(first == again): refused for first, again, refused in (bases(seed, release) for seed in range(12))}
    return len(set(ends.values())) > 1


def judge_seed(answer: Any, release: str = "6.1") -> Reply:
    """A seed, or (seed, whether it matters), or with the reason too, tried in the model."""
    parts = [*answer] if isinstance(answer, (tuple, list)) else [answer]
    seed = as_number(parts[0]) if parts and not isinstance(parts[0], bool) else None
    if seed is None or len(parts) > 3:
        return Reply("?", "A seed is a whole number.", "Try kt.check_seed(1).")
    before, after, refused = bases(seed, release)
    places = f"first at {hexa(before)}, then at {hexa(after)}"
    if before != after:
        return Reply("✗", "Another place.", f"Seed {seed} puts it {places}. Try another seed.")
    if len(parts) == 1 or parts[1] is None:
        ask = f"Does it matter on {release} that it is the same? Say matters=True or matters=False."
        return Reply("?", "The same place.", f"Seed {seed} puts it {places}. {ask}")
    matters = _truth(parts[1])
    if matters is None:
        return Reply("?", "That is neither yes nor no.", "Say matters=True or matters=False.")
    ends = f"On {release} the reload at the same base is {'refused like every other' if refused else 'fine, like every other'}"
    why = str(parts[2]).strip().casefold() if len(parts) > 2 and parts[2] is not None else ""
    if why not in WHY:
        return Reply("?", "And why?", f"Choose one. {_REASONS}.")
    if matters != place_matters(release):
        return Reply("✗", "Look at a seed with another place, too.", "Does that one end otherwise?")
    if why != "zero":
        return Reply("✗", "Not for that reason.", f"It is true or not that {WHY[why]}; the kernel never asks for it.")
    return Reply("✓", "It does not matter.", f"{ends}: {WHY[why]}.")


def _seed(_: random.Random) -> Problem:
    seed = next(seed for seed in range(1000) if len(set(bases(seed)[:2])) == 1)
    return Problem(
        ask="kt.check_seed(1) is the reload on a busy machine: depending on the number, other modules are loaded before it, or "
        "come while the target is away. Find a number with which nfsd_demo comes back to its old base, and say whether that "
        f"matters, and why: {_REASONS}.",
        answer=(seed, False, "zero"),
        shown=f'kt.check_seed({seed}, matters=False, why="zero")',
        form='a seed, whether it matters, and why, like (3, True, "file")',
        hints=("With most seeds another module takes the place first; go through 0, 1, 2, …",
               "Let Python go through them: `for seed in range(9): print(seed, kt.check_seed(seed))`."),
        steps=(f"`kt.check_seed(0)`, `kt.check_seed(1)`, …: the first with one base for both loads is {seed}.",
               "It ends like all the others: the place decides nothing, since the kernel asks for zeros."),
        judge=judge_seed)  # fmt: skip


# Recordings of real kernels in which a reload is refused; the reader's apply() is put in the kernel's place.
_REFUSED = ("reload", "moved", "late", "init-fails")


def refused_at(name: str) -> tuple[int, int]:
    """In which step (1 is the first) a recorded kernel refused, and the offset in .text of the byte that it stumbled over."""
    recording = evidence(f"{name}--6.1--REFUSED")
    step = next(number for number, one in enumerate(recording, 1) if one.errno == -8)
    key, value = next(iter((recording[step - 1].sites or {}).items()))
    return step, int(key.partition("+")[2], 16) + next(n for n, byte in enumerate(value) if byte)


def _own_bug(rng: random.Random) -> Problem:
    name = rng.choice(_REFUSED)
    step, byte = refused_at(name)
    commands = "\n".join(f"    {n}  {one.command}" for n, one in enumerate(evidence(f"{name}--6.1--REFUSED"), 1))
    return Problem(
        ask="You have written apply() yourself, and it does what the kernel did. Put it in the kernel's place:\n\n"
        f"{commands}\n\nAt which command does your own function return -8, and which byte of the livepatch's .text is the first "
        f'that stops it? `nb05.replay_mine(apply, "{name}--6.1--REFUSED")` shows both. By hand: the kernel walks the table of '
        "section 1 from above; which of its sites is the first that is not zero?",
        answer=(step, byte),
        shown=f"({step}, {byte:#x})",
        form='the number of the command and the offset, like (2, 0x1c) or "2, 0x1c"',
        hints=("apply() walks the relocations in the order of the file, and stops at the first place that is not zero.",
               "Its memory is the livepatch's, which stays while nfsd_demo comes and goes: who has put zeros back?"),
        slips=(((step - 1, byte), "In that step it writes, or nobody calls it; the place is nonzero from then on."),),
        steps=("apply() is called when livepatch and target are both there, so at each load of the target.",
               f"At its first call the places are zero, and it fills them. Nobody calls anything that empties them, so the next "
               f"call, command {step}, finds .text+{byte:#x} nonzero.",
               "The function is right, call by call. The bug is what nobody calls when the target goes."),
        judge=lambda answer: _judge_own_bug(answer, step, byte),
        because="The function is right, call by call; what is missing is one that takes back what it wrote. In notebook 07 you "
        "write it.")  # fmt: skip


def _judge_own_bug(answer: Any, step: int, byte: int) -> str | None:
    parts = answer.replace("(", "").replace(")", "").split(",") if isinstance(answer, str) else answer
    given = (
        [as_number(part.strip() if isinstance(part, str) else part) for part in parts]
        if isinstance(parts, (list, tuple))
        else []
    )
    if len(given) != 2:
        return "Give two numbers: the command's and the offset."
    if given == [step, byte]:
        return None
    if given[1] == byte:
        return "The byte is right, the command is not: before that one, nobody looks."
    return "The command is right, the byte is not: which site comes first?" if given[0] == step else ""


EXERCISES = {"own-bug": Exercise("the bug in your own code", _own_bug),
             "same-base": Exercise("a seed that brings it back to the same base", _seed, seeded=False)}  # fmt: skip
