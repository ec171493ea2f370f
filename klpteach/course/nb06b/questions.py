"""What notebook 06b asks: which machines refuse, what s390x reads after a move, what breaks arm64, and what clearing helps."""

from __future__ import annotations

import random

from ...model.step import hexa
from ...reading.history import History
from ...reading.slots import old_slots
from ...scenarios.recorded import evidence
from ...scenarios.scenario import TARGET
from ...scenarios.simulate import simulate
from ..exercise import Exercise, Problem
from ..question import questions
from .machines import MACHINES, by_arch

TITLE = "one idea, four machines"
TWIN = "twin--6.1-stock--LOADS"


def which_refuse() -> str:
    """The machines on which the fourth command of the reload is refused."""
    refused = [machine.arch for machine in MACHINES if machine.told("reload")[3].errno]
    return {("x86_64", "ppc64le"): "two", (): "none", ("x86_64",): "one"}.get(tuple(refused), "all")


def what_the_moved_livepatch_reads() -> str:
    """s390x, another module at the old place: "refused", or whose data `cat` shows: "new", "other"."""
    told = evidence(TWIN, "s390x")
    load = next(step for step in told[4:] if step.command == TARGET)
    return "refused" if load.errno else "other" if (told[-1].out or "").startswith("twin_demo") else "new"


def what_ends_arm64() -> str:
    """What the far load of arm64 comes to: "loads", "refused", or "oops" where the command never came back."""
    step = next(step for step in by_arch("arm64").told("far")[3:] if step.did.loads)
    return "oops" if step.oops else "refused" if step.errno else "loads"


def does_clearing_help() -> str:
    """s390x with the RFC's clearing of sites: is the data right after a move?"""
    told = simulate("twin", "6.1", ["clear-relocations"], "s390x")
    return "no" if old_slots(History(told), len(told) - 1) else "yes"


QUESTIONS = questions("""
which-refuse
The same four commands on four machines: x86_64 and ppc64le with 6.1, arm64 with 7.3, s390x with 6.1. On how many of them
is the fourth command, the second load, refused?
- all: On all four: each livepatch holds old bytes
  Each does hold them. But a refusal needs somebody who looks.
- two: On x86_64 and ppc64le => x86_64 and ppc64le refuse, the other two load
  Only these two look at what stands at a site: one for zeros, one for a nop. arm64 and s390x write.
- one: On x86_64 only
  ppc64le looks as well: behind each call, for a nop.
- none: On none: each kernel has been mended
  6.1 is older than the mend of 6.3.

s390x-moved
s390x. While nfsd_demo is away, a module of the same shape, twin_demo, takes its old place. nfsd_demo comes back elsewhere,
and somebody reads /proc/nfsd_demo again. What does the livepatch print?
- refused: Nothing: the load is refused, as on x86_64
  s390x compares nothing with anything. The load succeeds, and the log looks as on a good day.
- new: nfsd_demo's line, as before: every site is written anew
  Every site is. But these do not hold the address of the data. They say where to find it.
- other: twin_demo's name and twin_demo's values => what belongs to twin_demo
  The code asks a slot of its GOT for the address. The slot was filled at the first load and is never filled again.

arm64-ends
arm64 looks at nothing, keeps nothing and writes every field anew. nfsd_demo comes back 128 MiB away, too far for a `bl`. So
the loader wants to add an entry to the livepatch's .plt. What becomes of the load?
- loads: It loads: that is what .plt is for
  It is, while a module is being loaded. This livepatch has been loaded long ago, and its .plt is read-only by now.
- refused: It is refused: overflow
  That is what happens to a branch that has no way out. A call has one, and the loader takes it.
- oops: The kernel oopses => an oops, and the loader never comes back
  The entry is a plain store into read-only memory. klp_mutex is held at that moment, and stays so.

clearing-on-s390x
The RFC of 2019 puts every site back when the target goes. Would that mend s390x?
- yes: Yes: then the next load starts from clean bytes
  The sites are written anew as it is. What is stale is the slot, and no site holds that.
- no: No: the sites were never the trouble => no, the slot stays as it is
  A site holds the way to the slot, which is the same before and after. To help, the flag that says "filled" must go.
""", {
    "which-refuse": which_refuse, "s390x-moved": what_the_moved_livepatch_reads, "arm64-ends": what_ends_arm64,
    "clearing-on-s390x": does_clearing_help,
})  # fmt: skip


def _slot(rng: random.Random) -> Problem:
    places = [0x3FF60000000 + 0x1000 * n for n in rng.sample(range(64), 3)]
    offset = 8 * rng.randrange(1, 64)
    loads = [places[0], *(rng.choice(places) for _ in range(2)), places[0] if rng.random() < 0.5 else places[2]]
    lines = "\n".join(f"    load {n}: nfsd_demo's data begins at {hexa(base)}" for n, base in enumerate(loads, 1))
    right = loads[0] + offset
    return Problem(
        ask=f"s390x. A livepatch was loaded before any of these loads of nfsd_demo. It reads `flags`, which is {offset:#x} bytes "
        f"behind the start of nfsd_demo's data, through its GOT. Which address does the slot hold in the end?\n\n{lines}",
        answer=right,
        form="a number, or its text: 0x3ff…",
        hints=("The slot is filled once. At which of the loads?",
               f"At the first: {hexa(loads[0])}, and the variable is {offset:#x} bytes on."),
        slips=[(loads[-1] + offset, "That is where flags is now. The slot was filled long before.")] if loads[-1] != loads[0] else [],
        steps=("got_initialized is not set: the first load fills the slot.", "Every later load finds it set.",
               f"{hexa(loads[0])} + {offset:#x} = {hexa(right)}"),
        because="Moving back to the first place would make it right again.",
    )  # fmt: skip


EXERCISES = {"got-slot": Exercise("what a slot holds", _slot)}
