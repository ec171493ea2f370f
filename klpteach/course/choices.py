"""What a choice of proposals comes to in the stories: run now by the model, or as the committed table has it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache

from ..discussion.consequences import QUESTIONS, Consequence, Question, cells, consequence, read_consequences
from ..errors import one_of
from ..model.policy import PROPOSALS, behaviour

Chosen = tuple[str, ...]
ASKS: Mapping[str, Question] = {question.key: question for question in QUESTIONS}


def question_of(key: str) -> Question:
    """A row of the table of consequences by its key. Errors: KlpteachError, which lists the keys."""
    return ASKS[one_of(key, ASKS, "story")]


@lru_cache(maxsize=1024)
def computed(key: str, arch: str, release: str, choice: Chosen = ()) -> Consequence:
    """One cell, run in the model. Errors: KlpteachError for an unknown story, PolicyError for an impossible choice."""
    return consequence(question_of(key), arch, release, choice)


@lru_cache(maxsize=8)
def committed(arch: str, release: str) -> Mapping[Chosen, Mapping[str, Consequence]]:
    """data/consequences.csv for one kernel: choice of proposals -> story -> what it came to.

    >>> committed("x86_64", "6.1")["remove-check",]["corrupted"].as_wished
    False
    """
    found: dict[Chosen, dict[str, Consequence]] = {}
    for row in read_consequences():
        if (row.arch, row.release) == (arch, release):
            found.setdefault(row.chosen, {})[row.question] = row
    return found


def known_on(arch: str, choice: Iterable[str]) -> Chosen:
    """The part of a choice that an architecture knows: the others have nothing to change there. A misspelt name stays.

    >>> known_on("ppc64le", ["clear-checked", "reuse-stub"]), known_on("x86_64", ["typo"])
    (('reuse-stub',), ('typo',))
    """
    return tuple(name for name in choice if name not in PROPOSALS or PROPOSALS[name].arch in (None, arch))


def every_story(choice: Iterable[str], arch: str, release: str) -> list[Consequence]:
    """What a choice comes to in every story of a kernel, run in the model: half a second. Errors: PolicyError."""
    chosen = known_on(arch, choice)
    behaviour(release, chosen, arch)  # an impossible choice is refused here, with its reason
    keys = dict.fromkeys(question.key for question, _ in cells(arch, release))
    return [computed(key, arch, release, chosen) for key in keys]
