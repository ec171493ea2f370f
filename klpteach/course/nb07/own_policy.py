"""Two exercises of notebook 07: damaged files that only the check catches, and a policy of the reader's own."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from typing import Any

from ...errors import PolicyError
from ...files.corrupt import CORRUPTIONS
from ...model.policy import behaviour
from ...views.reply import Reply
from ..checks import as_names
from ..choices import ASKS, committed
from ..exercise import Problem
from .ways import CHOICES, NINE, caught_by_the_check, damaged, outcomes, verdict_on

# What each switch does, in a few words.
SAYS = {
    "check_zero": "refuse a place that is not zero", "clear": "take relocations back when a target goes",
    "tolerate_r2": "accept an ld r2 behind a call", "stubs": "how a call finds its stub",
    "pin_targets": "deny the removal of what is patched", "depend_on_targets": "load every target first",
    "half_load": "load targets, do not run their init()", "split_per_object": "a livepatch for each target",
    "late_patching": "patch what comes later", "refuse_unpatched": "refuse what would run unpatched",
}  # fmt: skip
ONLY_ON = {"tolerate_r2": "ppc64le", "stubs": "ppc64le", "check_zero": "x86_64"}
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
    names = as_names(answer)
    if names is None:
        return Reply("?", "That is no list of names.", f"There are {', '.join(chosen)}.")
    given = {name.rpartition("+")[2] for name in names}
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
    damaged_one = ", but the damaged livepatch refused" if "corrupted" in keys else ""
    return Problem(
        ask=f"Make a policy for Linux 6.1 on {arch} under which each of these stories ends as wished: all loaded, and "
        f"nothing refused, held or unpatched{damaged_one}. Set some of the switches below; the rest stay as 6.1 has them. The model runs all "
        f"four.\n\n{listed}\n\nThe switches:\n\n{_switches(arch)}",
        answer=switches_of(solution, arch),
        shown=repr(switches_of(solution, arch)),
        form='switches, like {"check_zero": False, "pin_targets": True}',
        hints=("Start with the story that the fewest ways out survive: notebook 07's picture, or `kt.consequences_grid()`, names them.",
               f"`{keys[-1]}` is the hard one. Which columns have a W there, and in the other rows, too?"),
        steps=("Go through the rows, and strike every column that does not end as wished.",
               f"What is left, among others: {' with '.join(solution)}. As switches: {switches_of(solution, arch)}. You may have found another; the model's word counts."),
        judge=lambda policy: judge_policy(policy, keys, arch),
        because="Every story ended as wished. What it would cost to write is another question.")  # fmt: skip


MUST = {"x86_64": "corrupted", "ppc64le": "moved"}  # what the easy ways out do not survive
POOL = (*NINE, "many-moves", "target-later", "one-in-use", "race", "spanning")


def _stories(rng: random.Random, arch: str) -> tuple[tuple[str, ...], list[str]]:
    """A choice that works, and four stories, the hardest last: one that must be there, one that the released kernel fails."""
    table, must = committed(arch, "6.1"), MUST[arch]
    passed = {chosen: {key for key, row in rows.items() if row.as_wished} for chosen, rows in table.items()}
    solution = rng.choice([one for one in passed if {"reload", must} <= passed[one] and _in_switches(one, arch)])
    fails = {key: sum(key not in good for good in passed.values()) for key in POOL}
    mine = [key for key in POOL if key in passed[solution] and key != must]
    first = rng.choice([key for key in mine if key not in passed[()]])
    keys = [must, first, *rng.sample([key for key in mine if key != first], 2)]
    return solution, sorted(keys, key=lambda key: fails[key])


def switches_of(chosen: Iterable[str], arch: str) -> dict[str, object]:
    """What a choice of proposals sets, as far as a reader may set it.

    >>> switches_of(["deny-removal", "remove-check"], "x86_64")
    {'check_zero': False, 'pin_targets': True}
    """
    rules, stock = behaviour("6.1", tuple(chosen), arch), behaviour("6.1", arch=arch)
    return {name: getattr(rules, name) for name in CHOICES if getattr(rules, name) != getattr(stock, name)}


def _in_switches(chosen: tuple[str, ...], arch: str) -> bool:
    """Whether a choice can be said in switches, so that it ends in each story as it does by name."""
    try:
        return all(outcome.kind == committed(arch, "6.1")[chosen][question.key].kind
                   for question, outcome in outcomes(NINE, arch, "6.1", switches_of(chosen, arch)))  # fmt: skip
    except PolicyError:
        return False


def _switches(arch: str) -> str:
    stock, lines = behaviour("6.1", arch=arch), []
    for name, values in CHOICES.items():
        if name in ONLY_ON and ONLY_ON[name] != arch:
            continue
        may = [value for value in values if (arch, value) != ("ppc64le", "checked")]
        lines.append(f"    {name:<18} {'|'.join(map(str, may)):<22} 6.1: {getattr(stock, name)!s:<8} {SAYS[name]}")
    return "\n".join(lines)


def judge_policy(policy: Any, keys: list[str], arch: str = "x86_64") -> Reply | str | None:
    """Run the stories under a reader's policy: None where all came out as wished."""
    if not isinstance(policy, Mapping):
        says = "A name is somebody else's policy. Give switches with their values, like {'check_zero': False}."
        return Reply("?", "Which switches?", says)
    try:
        return verdict_on(outcomes(keys, arch, "6.1", policy))
    except PolicyError as error:
        return Reply("?", "There is no such kernel.", str(error))
