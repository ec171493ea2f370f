"""What notebook 08 asks: dependencies and their price, a target that cannot be had, one livepatch an object, code that could go."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ...discussion.costs import removable
from ...reading.outcome import outcome_of
from ...scenarios.simulate import simulate
from ...views.reply import Reply
from ..checks import plain, same
from ..exercise import Exercise, Problem
from ..question import questions
from .many_modules import FORTY, IN_USE, LIVEPATCH, loaded, needed_by

TITLE = "dependencies and one-fixes-all"
DEPEND, HALF, SPLIT = ["hard-dependencies"], ["half-loaded"], ["split-per-object"]


def how_many_of_forty() -> str:
    """The answer's key: how many modules are loaded after the livepatch for forty, on a machine that uses three."""
    there = loaded(IN_USE, proposals=DEPEND)
    if len(there) == len(loaded(IN_USE)):
        return "same"
    return "forty" if len(there) <= len({*FORTY, *needed_by(IN_USE)}) + 1 else "more"


def absent_hardware() -> str:
    """What becomes of a livepatch that depends on five targets when one init() says no such device."""
    story = simulate("no-hardware", "6.1", DEPEND)
    if not story[-1].errno:
        return "skips"
    return "dirty" if len(story[-1].modules or ()) > len(story[-2].modules or ()) else "clean"


def what_half_loading_helps() -> str:
    """Which of absent hardware and a missing package half-loading gets over."""
    names = ("no-hardware", "not-installed")
    good = [name for name in names if outcome_of(simulate(name, "6.1", HALF)).kind != "refused"]
    return {2: "both", 0: "neither"}.get(len(good), good[0] if good else "")


def together_or_apart() -> str:
    """Whether the two parts of one fix come into force "together" or "apart" when the livepatch is split."""
    return "apart" if outcome_of(simulate("spanning", "6.1", SPLIT)).kind == "apart" else "together"


def edition_after_the_race() -> str:
    """The edition in force for nfsd_demo when a newer one came while it was loading: "1", "2" or "none"."""
    enabled = simulate("race", "6.1", SPLIT)[-1].livepatch or {}
    found = [number for number in "12" if any(name.startswith(f"livepatch_cumul{number}") for name in enabled)]
    return found[-1] if found else "none"


def size_of_what_could_go() -> str:
    """How much of 6.1.192 could go without late patching, as a range."""
    lines = removable()[0]
    return "tens" if lines < 100 else "hundreds" if lines < 1000 else "thousands"


QUESTIONS = questions("""
three-of-forty
A livepatch patches forty modules. Your machine uses three of them, and six modules are loaded in all. The livepatch
depends on its targets. You say `modprobe livepatch_all`. How many modules are loaded then?
- same: 7: the six, and the livepatch
  So it is today. A dependency is no wish: modprobe loads what is named, used or not.
- forty: Between 40 and 45: the targets, and a few
  A target has dependencies of its own, and those have theirs. modprobe loads them all.
- more: More than 80 => more than 80, for three in use
  The targets pull in what they need, and that again what it needs.

hardware-absent
The livepatch depends on five targets. The init() of one says −19, no such device: there is none in this machine. You
say `modprobe livepatch_five`. What happens?
- skips: The livepatch loads and leaves that one out
  A dependency that can be left out is not a dependency. modprobe gives up at the first that fails.
- clean: It is refused, and the machine is as before
  modprobe loads one after the other, and takes nothing back.
- dirty: It is refused, and modules that were pulled in stay => refused, and what was pulled in stays
  What came before the failing one is loaded, initialised and stays.

half-helps
Two troubles: hardware that is absent, and a package that is not installed. Half-load the targets that nobody uses:
relocate them, and do not run their init(). Which trouble does that end?
- both: Both: nothing of the target has to run
  A module that is not on the disk cannot be loaded by half either.
- no-hardware: Absent hardware only => absent hardware, and no more
  No init(), so nothing that could miss its device. But a file there must be.
- not-installed: A missing package only
  Where would the half of it come from?
- neither: Neither
  It is init() that looks for the hardware, and init() does not run.

two-parts
nfsd_demo and lockd_demo are loaded, and one fix changes both. The livepatch is split: one module for each. When do the
two parts come into force?
- together: Together: the kernel waits until both parts are loaded
  Within one livepatch it does: that is what the transition is for. Two livepatches have two transitions.
- apart: One after the other => one after the other
  Each part is a livepatch of its own, with a transition of its own. In between there is a mixture.

race-edition
Split again. nfsd_demo is coming, and waits for its part of edition 1. Now edition 2 is loaded. Then the wait ends.
Which edition is in force in nfsd_demo?
- 1: Edition 1 => edition 1, and nobody says so
  Which part to fetch was decided when the module came. Nobody asks again.
- 2: Edition 2: the newest wins
  It would have to be asked for. The request was made before edition 2 was there.
- none: None: edition 1 was replaced
  Edition 2 could not replace what was not loaded yet.

quantify
Suppose that every target is there before the livepatch, and stays. Code that waits for targets could be deleted from
the kernel. How many lines, roughly?
- tens: Less than 100
  It is more: two hooks, their error paths, and a copy of the module's ELF tables for later.
- hundreds: A few hundred => a few hundred
  The volume is modest. The argument was about order: what has to happen before what.
- thousands: Thousands
  It was felt to be large. What stays is larger: symbols, ftrace, transitions, callbacks, replace.
""", {
    "three-of-forty": how_many_of_forty, "hardware-absent": absent_hardware, "half-helps": what_half_loading_helps,
    "two-parts": together_or_apart, "race-edition": edition_after_the_race, "quantify": size_of_what_could_go,
})  # fmt: skip


@dataclass(frozen=True)
class Shop:
    """The customers of a seed: what each uses, and what the livepatch patches."""

    targets: tuple[str, ...]
    uses: Mapping[str, tuple[str, ...]]


ASKED = "modules that nobody asked for"
NAMES = ("bank", "bakery", "hospital", "lighthouse", "newspaper", "observatory", "railway", "theatre")


def shop(seed: int) -> Shop:
    """Four customers and a livepatch for 12 to 18 modules: those of the exercise with this seed."""
    return _shop(random.Random(f"{ASKED}:{seed}"))


def _shop(rng: random.Random) -> Shop:
    targets = tuple(sorted(rng.sample(FORTY, rng.randint(12, 18))))
    names = sorted(rng.sample(NAMES, 4))
    return Shop(targets, {name: tuple(sorted(rng.sample(FORTY, rng.randint(3, 8)))) for name in names})


def new_modules(uses: Sequence[str], targets: Sequence[str]) -> int:
    """How many modules modprobe of the livepatch adds, the livepatch not counted: asked of the model."""
    before = loaded(uses, targets, DEPEND, patch=False)
    return len(set(loaded(uses, targets, DEPEND)) - set(before) - {LIVEPATCH})


def _pulled_in(rng: random.Random) -> Problem:
    there = _shop(rng)
    answer = {name: new_modules(uses, there.targets) for name, uses in there.uses.items()}
    first, uses = next(iter(there.uses.items()))
    wanted, here = needed_by(there.targets), needed_by(uses)
    least = min(there.uses, key=lambda name: len(needed_by(there.uses[name])))
    return Problem(
        ask=f"A livepatch for {len(there.targets)} modules depends on them. Four customers load it, each with other modules "
        "in use. For each customer: how many modules does one machine get that it did not have before? The livepatch does "
        "not count. The data: `nb08.patched(seed)` are the targets, `nb08.customers(seed)` says what each customer uses, "
        f"`nb08.modules_dep()` what each module needs, directly or not.\n\nBy hand, one customer will do. {least} uses these, "
        f"each with what it needs:\n\n{_listed(there.uses[least])}\n\nand the targets are:\n\n{_listed(there.targets)}",
        answer=answer,
        form=f"a number for each customer: {{'{least}': 7, …}}, a Series or text; by hand one of them, like \"{least} 7\"",
        hints=("Two sets for each customer: what modprobe wants there, and what is there already. Both grow by what they need.",
               "`needs[needs.module.isin(names)].needs` is all that the names need. Take set differences, not differences of counts."),
        judge=lambda given: _judge(given, there, answer),
        steps=("`needs = nb08.modules_dep(); full = lambda names: set(names) | set(needs[needs.module.isin(names)].needs)`",
               f"`wanted = full(nb08.patched(seed))`: {len(wanted)} modules, for {len(there.targets)} targets",
               f"{first} uses {len(uses)} modules; with what they need {len(here)} are there; {len(wanted - here)} of those wanted are not",
               "`nb08.customers(seed).groupby('customer').uses.apply(lambda used: len(wanted - full(used)))`"),
        because=f"For {len(there.targets)} targets modprobe wants {len(wanted)} modules, "
        "whoever the customer is.")  # fmt: skip


def _slips(there: Shop, answer: Mapping[str, int]) -> list[tuple[dict[str, int], str]]:
    """Wrong answers that are easily come by, and what their giver may have thought."""
    wanted, targets, each = needed_by(there.targets), set(there.targets), there.uses.items()
    targets_only = {n: len(targets - needed_by(u)) for n, u in each}
    wrong = [
        (targets_only, "You counted targets only. They need others, which come too."),
        ({n: len(targets - set(u)) for n, u in each}, "Neither side has what it needs: see `modules_dep()`."),
        ({n: len(wanted - set(u)) for n, u in each}, "What a module in use needs is loaded already."),
        ({n: c + 1 for n, c in answer.items()}, "One too many everywhere: the livepatch does not count."),
        (dict.fromkeys(there.uses, len(wanted)), "That is all that modprobe wants. Some of it is there."),
    ]
    return [(dict(numbers), words) for numbers, words in wrong if numbers != answer]


def _listed(names: Iterable[str]) -> str:
    """A line a module: its name, and what it needs, directly or not."""
    return "\n".join(f"    {name:<13} {' '.join(sorted(needed_by([name]) - {name}))}".rstrip() for name in names)


def _as_numbers(given: object) -> object:
    """A dict of the customers, also from a Series, from text, or from one pair."""
    given = plain(given.to_dict() if hasattr(given, "to_dict") else given)  # a Series: its index are the customers
    text = " ".join(map(str, given)) if isinstance(given, (list, tuple)) else given
    if isinstance(text, str):
        return {name.casefold(): number for name, number in re.findall(r"([A-Za-z]+)\W+(\d+)", text)}
    return given


def _judge(given: object, there: Shop, answer: Mapping[str, int]) -> Reply | str | None:
    answers = _as_numbers(given)
    if isinstance(answers, Mapping) and len(answers) == 1 and (name := next(iter(answers))) in answer:
        if same(answers[name], answer[name]):
            return Reply(
                "✓",
                "Right, by hand.",
                f"The other three in the same way; modprobe wants {len(needed_by(there.targets))} in all.",
            )
        slips = ((numbers.get(name), words) for numbers, words in _slips(there, answer))
        return next((words for number, words in slips if same(answers[name], number)), f"Not for {name}.")
    if not isinstance(answers, Mapping) or set(answers) != set(answer):
        return f"Give a number for each of {', '.join(answer)}."
    if same(answers, dict(answer)):
        return None
    known = next((words for numbers, words in _slips(there, answer) if same(answers, numbers)), "")
    right = sum(same(answers[name], count) for name, count in answer.items())
    return known or f"{right} of {len(answer)} customers are right."


EXERCISES = {"pulled-in": Exercise(ASKED, _pulled_in)}
