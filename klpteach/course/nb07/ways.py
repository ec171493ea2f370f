"""What notebook 07 weighs: the ways out beside each other, each cell run by the model; and a reader's own policy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache

from ...discussion.consequences import Consequence, Question, told
from ...errors import KlpteachError, PolicyError
from ...files.corrupt import CORRUPTIONS
from ...model.kernel import Kernel
from ...model.policy import Behaviour, behaviour
from ...model.step import Step
from ...reading.outcome import ENDINGS, Outcome, outcome_of
from ...scenarios.scenario import TARGET
from ...scenarios.simulate import get, simulate
from ..choices import ASKS, computed, question_of

NINE = ("reload", "moved", "init-fails", "half-way", "corrupted", "foreign-write", "disabled", "stacked", "cumulative")
WAYS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "x86_64": ((), ("remove-check",), ("deny-removal",), ("clear-relocations",), ("clear-checked",)),
    "ppc64le": ((), ("remove-check",), ("deny-removal",), ("clear-relocations",), ("tolerate-r2",)),
}
_PLAIN = (True, False)
# What a reader may switch, and to what.
CHOICES: Mapping[str, tuple[object, ...]] = {
    "check_zero": _PLAIN, "clear": ("no", "unchecked", "checked"),
    "tolerate_r2": _PLAIN, "stubs": ("search", "reuse", "count"),
    "pin_targets": _PLAIN, "depend_on_targets": _PLAIN, "half_load": _PLAIN,
    "split_per_object": _PLAIN, "late_patching": _PLAIN, "refuse_unpatched": _PLAIN,
}  # fmt: skip
Policy = Mapping[str, object] | Iterable[str]


def nine_stories(arch: str = "x86_64") -> list[Consequence]:
    """Nine stories on 6.1, each way out: run in the model (about a second). In the order of data/consequences.csv."""
    keys = (key for key in ASKS if key in NINE)
    return [computed(key, arch, "6.1", chosen) for key in keys for chosen in WAYS[arch]]


def stories_without_a_way(arch: str = "x86_64") -> list[str]:
    """Which of the nine stories none of the ways out, beside the kernel as released, brings to the wished end.

    >>> stories_without_a_way("x86_64")
    ['foreign-write']
    """
    saved = {row.question for row in nine_stories(arch) if row.proposals and row.as_wished}
    return [key for key in NINE if key not in saved]


def rules_of(policy: Policy, arch: str, release: str) -> Behaviour:
    """What a policy makes of a kernel: names of proposals, or switches of klpteach.model.policy.Behaviour with their values.

    Errors: PolicyError, which says what there is to choose from.
    """
    if not isinstance(policy, Mapping):
        return behaviour(release, tuple(policy), arch)
    for name, value in policy.items():
        if name not in CHOICES:
            raise PolicyError(f"unknown switch {name!r}; there are {', '.join(CHOICES)}.")
        if value not in CHOICES[name] or (isinstance(value, bool) != isinstance(CHOICES[name][0], bool)):
            raise PolicyError(f"{name}={value!r} is not to be had; choose {' or '.join(map(repr, CHOICES[name]))}.")
    if arch == "ppc64le" and policy.get("clear") == "checked":
        raise PolicyError("clear='checked' was written for x86_64 only; ppc64le knows 'no' and 'unchecked'.")
    rules = replace(behaviour(release, arch=arch), **policy)
    rules = replace(rules, depend_on_targets=rules.depend_on_targets or rules.half_load)
    rules = replace(rules, late_patching=rules.late_patching and not rules.refuse_unpatched)
    if rules.split_per_object and (rules.depend_on_targets or not rules.late_patching):
        needs = "it needs late_patching, and no dependencies."
        raise PolicyError(f"split_per_object brings each part with its target: {needs}")
    return rules


def outcomes(keys: Iterable[str], arch: str, release: str, policy: Policy) -> list[tuple[Question, Outcome]]:
    """What a policy comes to in each of these stories. Errors: PolicyError, KlpteachError for an unknown story."""
    rules, found = rules_of(policy, arch, release), []
    for question in map(question_of, keys):
        story = told(get(question.story[arch], arch), arch)
        found.append((question, outcome_of(simulate(story, release, (), arch, quietly=True, rules=rules))))
    return found


def verdict_on(results: Iterable[tuple[Question, Outcome]]) -> str | None:
    """What is wrong with a policy, in a sentence or two; None where every story came out as wished."""
    results = list(results)
    bad = [(question, outcome) for question, outcome in results if outcome.kind != question.wish]
    if not bad:
        return None
    question, outcome = bad[0]
    says = f" ({outcome.says})" if outcome.says else ""
    first = f"`{question.key}` ({question.asks}): {ENDINGS[outcome.kind].meaning}{says}."
    return f"{len(results) - len(bad)} of {len(results)} stories come out as wished. The first that does not, {first}"


def load_damaged(defect: str, proposals: Iterable[str] = (), release: str = "6.1") -> Step:
    """Load the sample livepatch with a defect of klpteach.files.corrupt, its target being there."""
    kernel = Kernel(release=release, proposals=proposals)
    kernel.run(TARGET)
    return kernel.insmod(f"livepatch_nfsd_demo+{defect}.ko")


@lru_cache(maxsize=1)
def damaged() -> Mapping[str, tuple[Step, Step]]:
    """Every defect -> what 6.1 says to it, and 6.1 without the check; those that leave no Step (an oops) are left out."""
    found = {}
    for defect in CORRUPTIONS:
        try:
            one, other = load_damaged(defect), load_damaged(defect, ["remove-check"])
        except KlpteachError:
            continue
        if not one.oops and not other.oops:
            found[defect] = (one, other)
    return found


def caught_by_the_check() -> list[str]:
    """The defects that 6.1 refuses and that a kernel without the check lets in."""
    return [defect for defect, (one, other) in damaged().items() if one.errno and not other.errno]
