"""Two exercises of notebook 07: damaged files that only the check catches, and a policy of the reader's own."""

from __future__ import annotations

import random
from typing import Any

from ...errors import PolicyError
from ...files.corrupt import CORRUPTIONS
from ...views.reply import Reply
from ..choices import ASKS, committed
from ..exercise import Problem
from .ways import NINE, caught_by_the_check, damaged, outcomes, verdict_on

_PLAIN = {
    "nonzero-last-site": "bytes under the last livepatch relocation are not zero",
    "overflow": "a type that no kernel address fits",
    "overflow-nonzero": "such a type, at a place that is not zero",
}


def let_in(rng: random.Random) -> Problem:
    """Five damaged files: which of them does the check for zeros catch, and nobody else?"""
    caught = caught_by_the_check()
    others = [defect for defect in damaged() if defect not in caught]
    chosen = rng.sample(caught, rng.choice((1, 2, 3)))
    chosen += rng.sample(others, 5 - len(chosen))
    rng.shuffle(chosen)
    right = frozenset(defect for defect in chosen if defect in caught)
    said = {defect: what.partition(":")[0].partition(", the bug")[0] for defect, (what, *_) in CORRUPTIONS.items()}
    said |= _PLAIN
    listed = "\n".join(f"    {defect:<22} {said[defect]}" for defect in chosen)
    return Problem(
        ask="Five damaged files, livepatch_nfsd_demo+NAME.ko, are loaded on 6.1 (x86_64) while nfsd_demo is there. Some are "
        f"refused by the check for zeros and by nothing else. Which?\n\n{listed}",
        answer=right,
        form='a set of names, {"…", "…"}',
        hints=("Only the check for zeros looks at the bytes at the place. Names, sections and symbols are judged by others.",
               "`nb07.load_damaged(NAME, ['remove-check'])` loads one of them on a kernel without the check."),
        steps=tuple(f"{defect}: {_fate(defect)}" for defect in chosen),
        judge=lambda answer: _judge_let_in(answer, chosen, right),
        because="Each of these writes to a wrong place, or twice. Nobody else looks at the place.")  # fmt: skip


def _fate(defect: str) -> str:
    with_check, without = damaged()[defect]
    if not with_check.errno:
        return "let in by 6.1 as well"
    return "let in without the check" if not without.errno else f"refused by both: {without.lines[-1]}"


def _judge_let_in(answer: Any, chosen: list[str], right: frozenset[str]) -> Reply | str | None:
    given = {answer} if isinstance(answer, str) else set(answer)
    if strange := sorted(str(name) for name in given if name not in chosen):
        return Reply("?", f"{strange[0]} is not in the list.", f"There are {', '.join(chosen)}.")
    if extra := next((name for name in chosen if name in given - right), None):
        return f"`{extra}` is {_fate(extra)}."
    return None if given == right else f"{len(right - given)} more."


def own_policy(rng: random.Random) -> Problem:
    """Four stories on one machine, and a policy to be found that all of them survive."""
    arch = rng.choice(("x86_64", "ppc64le"))
    solution, keys = _stories(rng, arch)
    wished = {key: ": must be refused" if ASKS[key].wish == "refused" else "" for key in keys}
    listed = "\n".join(f"    {key:<14} {ASKS[key].asks}{wished[key]}" for key in keys)
    return Problem(
        ask=f"Make a policy for Linux 6.1 on {arch} under which each of these stories ends with all loaded and nothing "
        f"refused, held or unpatched. Give switches of `Behaviour`, or names of proposals. The model runs them all.\n\n{listed}",
        answer=solution,
        shown=repr(list(solution)),
        form='switches, {"check_zero": False, "pin_targets": True}, or names, ["deny-removal"]',
        hints=("Start with the story that the fewest ways out survive: notebook 07's picture, or `kt.consequences_grid()`, names them.",
               f"`{keys[-1]}` is the hard one. Which columns have a W there, and in the other rows, too?"),
        steps=("Go through the rows, and strike every column that does not end as wished.",
               f"What is left, among others: {' with '.join(solution)}. You may have found another; the model's word counts."),
        judge=lambda policy: judge_policy(policy, keys, arch),
        because="Every story ended as wished. What it would cost to write is another question.")  # fmt: skip


MUST = {"x86_64": "corrupted", "ppc64le": "moved"}  # what the easy ways out do not survive
POOL = (*NINE, "many-moves", "target-later", "one-in-use", "race", "spanning")


def _stories(rng: random.Random, arch: str) -> tuple[tuple[str, ...], list[str]]:
    """A choice that works, and four stories, the hardest last: one that must be there, one that the released kernel fails."""
    table, must = committed(arch, "6.1"), MUST[arch]
    passed = {chosen: {key for key, row in rows.items() if row.as_wished} for chosen, rows in table.items()}
    solution = rng.choice([chosen for chosen in passed if {"reload", must} <= passed[chosen]])
    fails = {key: sum(key not in good for good in passed.values()) for key in POOL}
    mine = [key for key in POOL if key in passed[solution] and key != must]
    first = rng.choice([key for key in mine if key not in passed[()]])
    keys = [must, first, *rng.sample([key for key in mine if key != first], 2)]
    return solution, sorted(keys, key=lambda key: fails[key])


def judge_policy(policy: Any, keys: list[str], arch: str = "x86_64") -> Reply | str | None:
    """Run the stories under a reader's policy: None where all came out as wished."""
    names = [policy] if isinstance(policy, str) else policy
    try:
        return verdict_on(outcomes(keys, arch, "6.1", names))
    except PolicyError as error:
        return Reply("?", "There is no such kernel.", str(error))
