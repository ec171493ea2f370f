"""What notebook 05 asks: three explanations that sound right, and a seed that brings the module back to its old place."""

from __future__ import annotations

import random
from typing import Any

from ...model.step import hexa
from ...scenarios.course import busy
from ...scenarios.simulate import simulate
from ...views.reply import Reply
from ..exercise import Exercise, Problem
from ..question import questions, refused_or_loads

TITLE = "the bug"

QUESTIONS = questions("""
same-address
nfsd_demo would come back to exactly the same address, so every byte the kernel wants to write is there already. Will it
load?
- loads: Yes: nothing changes
  You may have thought that identical bytes cannot hurt. The check never compares: it asks whether the bytes are zero.
- refused: No: refused all the same => it is refused
  The check asks for zero, not for another value; the right bytes are as bad as wrong ones.

other-address
Another module takes the freed place first, so nfsd_demo must go elsewhere. Does the new address help?
- loads: It loads: other bytes are written
  The new address changes what the kernel wants to write, not what it finds. It finds the old bytes, and stops.
- refused: Refused, as before => it is refused
  Where the module lands decides the value that would be written; the check looks at what is there.

init-fails
This time nobody runs rmmod. The module's own init() fails at its first load; then you load a good build. What now?
- loads: It loads: nothing was ever removed
  The livepatch writes its relocations before init() runs. A module that never arrived leaves them behind as well.
- refused: Refused => it is refused
  The bytes are written while the module is coming, before its init() has a say.
""", {
    "same-address": lambda: refused_or_loads("reload"), "other-address": lambda: refused_or_loads("moved"),
    "init-fails": lambda: refused_or_loads("init-fails"),
})  # fmt: skip


def bases(seed: int, release: str = "6.1") -> tuple[int, int, bool]:
    """busy(seed) in the model: nfsd_demo's first base, its base on the reload, and whether the reload is refused."""
    story = simulate(busy(seed), release)
    loads = [(step.placement or {})["nfsd_demo"] for step in story if step.command == "insmod nfsd_demo.ko"]
    before, after = (next(iter(place.values())) for place in loads)
    return before, after, story[-1].errno == -8


def judge_seed(answer: Any, release: str = "6.1") -> Reply:
    """A seed, or (seed, whether it matters), tried in the model."""
    seed, matters = answer if isinstance(answer, (tuple, list)) and len(answer) == 2 else (answer, None)
    if not isinstance(seed, int):
        return Reply("?", "A seed is a whole number.", "Try kt.check_seed(1).")
    before, after, refused = bases(seed, release)
    places = f"first at {hexa(before)}, then at {hexa(after)}"
    if before != after:
        return Reply("✗", "Another place.", f"Seed {seed} puts it {places}. Try another seed.")
    if matters is None:
        ask = f"Does it matter on {release}? Say matters=True or matters=False."
        return Reply("?", "The same place.", f"Seed {seed} puts it {places}. {ask}")
    mark, reload = "✓" if matters != refused else "✗", f"On {release} the reload at the same base is"
    if refused:
        return Reply(mark, "It does not matter.", f"{reload} refused like every other.")
    return Reply(mark, "It matters.", f"{reload} fine.")


def _seed(_: random.Random) -> Problem:
    seed = next(seed for seed in range(1000) if len(set(bases(seed)[:2])) == 1)
    refused = bases(seed)[2]
    ends = "is refused like all the others" if refused else "works"
    return Problem(
        ask="busy(seed) is the reload on a busy machine. Find a seed with which nfsd_demo comes back to its old base, and say "
        "whether that matters.",
        answer=(seed, not refused),
        shown=f"kt.check_seed({seed}, matters={not refused})",
        form="(a seed, True or False)",
        hints=("With most seeds another module takes the place first; go through 0, 1, 2, …",
               "`for seed in range(9): print(seed, kt.check_seed(seed))`"),
        steps=(f"`simulate(busy(seed))` for seed 0, 1, …: the first with one base for both loads is {seed}.",
               f"Its last command {ends}: the place decides nothing."),
        judge=judge_seed)  # fmt: skip


EXERCISES = {"same-base": Exercise("a seed that brings it back to the same base", _seed, seeded=False)}
