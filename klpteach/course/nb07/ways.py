"""What notebook 07 weighs: the ways out beside each other, each cell run by the model; and a reader's own policy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache

from ...discussion.consequences import QUESTIONS, Consequence, Question, by_modprobe, consequence
from ...errors import KlpteachError, PolicyError
from ...files.corrupt import CORRUPTIONS
from ...model.kernel import Kernel
from ...model.policy import Behaviour
from ...model.recording import Recording, Step
from ...reading.outcome import ENDINGS, Outcome, outcome_of
from ...scenarios.simulate import TARGET, Scenario, commands_for, get, simulate

NINE = ("reload", "moved", "init-fails", "half-way", "corrupted", "foreign-write", "disabled", "stacked", "cumulative")
WAYS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "x86_64": ((), ("remove-check",), ("deny-removal",), ("clear-relocations",), ("clear-checked",)),
    "ppc64le": ((), ("remove-check",), ("deny-removal",), ("clear-relocations",), ("tolerate-r2",)),
}
# What a reader may switch, and to what; a plain switch is True or False.
CHOICES: Mapping[str, tuple[object, ...]] = {
    "check_zero": (True, False),
    "clear": ("no", "unchecked", "checked"),
    "tolerate_r2": (True, False),
    "stubs": ("search", "reuse", "count"),
    "pin_targets": (True, False),
    "depend_on_targets": (True, False),
    "half_load": (True, False),
    "split_per_object": (True, False),
    "late_patching": (True, False),
    "refuse_unpatched": (True, False),
}
Policy = Mapping[str, object] | Iterable[str]


@lru_cache(maxsize=4)
def truth(arch: str = "x86_64", release: str = "6.1") -> tuple[Consequence, ...]:
    """Nine stories, each way out: computed now, by the model (about a second). In the order of data/consequences.csv.

    >>> {row.proposals: row.as_wished for row in truth() if row.question == "corrupted"}["remove-check"]
    False
    """
    asked = [question for question in QUESTIONS if question.key in NINE]
    return tuple(consequence(question, arch, release, chosen) for question in asked for chosen in WAYS[arch])


def columns_without_a_flaw(arch: str = "x86_64") -> int:
    """How many ways out, beside the kernel as released, come out as wished in all nine stories."""
    flawed = {row.proposals for row in truth(arch) if not row.as_wished}
    return sum("+".join(chosen) not in flawed for chosen in WAYS[arch][1:])


def object_after_refusal(release: str) -> tuple[str | None, bool]:
    """After the refused reload: the module that obj->mod of the livepatch names, and whether that module is loaded.

    Source: klp_module_coming(), kernel/livepatch/core.c; the error path clears obj->mod since 4ff96fb52c69.

    >>> object_after_refusal("5.3"), object_after_refusal("6.1")
    (('nfsd_demo', False), (None, False))
    """
    kernel = Kernel(release=release)
    for command in get("reload").commands:
        kernel.run(command)
    mod = kernel.klp.patches[0].objects[0].mod
    return mod.name if mod else None, kernel.find_module("nfsd_demo") is not None


# -- a reader's own policy ----------------------------------------------------------------------------------------------------


def with_switches(rules: Behaviour, switches: Mapping[str, object], arch: str) -> Behaviour:
    """A kernel's behaviour with a reader's switches. Errors: PolicyError, which says what there is to choose from."""
    for name, value in switches.items():
        if name not in CHOICES:
            raise PolicyError(f"unknown switch {name!r}; there are {', '.join(CHOICES)}.")
        if value not in CHOICES[name] or (isinstance(value, bool) != isinstance(CHOICES[name][0], bool)):
            raise PolicyError(f"{name}={value!r} is not to be had; choose {' or '.join(map(repr, CHOICES[name]))}.")
    if arch == "ppc64le" and switches.get("clear") == "checked":
        raise PolicyError("clear='checked' was written for x86_64 only; ppc64le knows 'no' and 'unchecked'.")
    rules = replace(rules, **switches)  # type: ignore[arg-type]
    rules = replace(rules, depend_on_targets=rules.depend_on_targets or rules.half_load)
    rules = replace(rules, late_patching=rules.late_patching and not rules.refuse_unpatched)
    if rules.split_per_object and (rules.depend_on_targets or not rules.late_patching):
        raise PolicyError(
            "split_per_object brings each part with its target: it needs late_patching, and no dependencies."
        )
    return rules


def run(story: Scenario, arch: str, release: str, policy: Policy) -> Recording:
    """A story under a policy: names of proposals, or switches of klpteach.model.policy.Behaviour with their values.

    >>> [step.errno for step in run(get("reload"), "x86_64", "6.1", {"clear": "checked"})]
    [0, 0, 0, 0]
    """
    story = by_modprobe(story)
    if not isinstance(policy, Mapping):
        return simulate(story, release, policy, arch, quietly=True)
    kernel = Kernel(arch, release, scenario=story.name, title=story.title, machine=story.machine)
    kernel.rules = with_switches(kernel.rules, policy, arch)
    kernel.init_errno.update(story.init_errno)
    for command in commands_for(story, kernel.ko):
        kernel.looking = not command.startswith("~")
        if kernel.run(command.lstrip("~")).oops:
            break
    return kernel.recording


def asked(key: str) -> Question:
    """A row of the table of consequences by its key. Errors: KlpteachError, which lists the keys."""
    found = next((question for question in QUESTIONS if question.key == key), None)
    if found is None:
        raise KlpteachError(f"unknown story {key!r}; there are {', '.join(question.key for question in QUESTIONS)}.")
    return found


def tried(keys: Iterable[str], arch: str, release: str, policy: Policy) -> list[tuple[Question, Outcome]]:
    """What a policy comes to in each of these stories. Errors: PolicyError."""
    policy = policy if isinstance(policy, Mapping) else tuple(policy)
    questions = [asked(key) for key in keys]
    return [(q, outcome_of(run(get(q.story[arch], arch), arch, release, policy))) for q in questions]


def verdict_on(results: Iterable[tuple[Question, Outcome]]) -> str | None:
    """What is wrong with a policy, in a sentence or two; None where every story came out as wished."""
    results = list(results)
    bad = [(question, outcome) for question, outcome in results if outcome.kind != question.wish]
    if not bad:
        return None
    question, outcome = bad[0]
    said = f" ({outcome.says})" if outcome.says else ""
    return (
        f"{len(results) - len(bad)} of {len(results)} stories come out as wished. The first that does not, "
        f"`{question.key}` ({question.asks}): {ENDINGS[outcome.kind].meaning}{said}."
    )


# -- damaged files ------------------------------------------------------------------------------------------------------------


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
    """The defects that 6.1 refuses and that a kernel without the check lets in.

    >>> "offset-off-by-8" in caught_by_the_check()
    True
    """
    return [defect for defect, (one, other) in damaged().items() if one.errno and not other.errno]
