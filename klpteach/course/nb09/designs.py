"""A fix as a choice of proposals, and customers who each want something else."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass

from ...discussion.consequences import Consequence, read_consequences
from ...reading.outcome import ENDINGS
from ..choices import ASKS, Chosen, committed, every_story


def kernels() -> list[tuple[str, str]]:
    """(architecture, release) of every kernel that the committed table has."""
    return list(dict.fromkeys((row.arch, row.release) for row in read_consequences()))


@dataclass(frozen=True)
class Wishes:
    """A customer's kernel, and the stories that must come out as wished there."""

    arch: str
    release: str
    stories: tuple[str, ...]


def wishes(rng: random.Random) -> Wishes:
    """A customer whom the kernel as released does not satisfy, and one to four of the known choices do."""
    while True:
        arch, release = rng.choice(kernels())
        names = list(committed(arch, release)[()])
        chosen = set(rng.sample(names, rng.randint(4, 6)))
        if arch == "x86_64" and rng.random() < 0.7:
            chosen.add("corrupted")
        found = Wishes(arch, release, tuple(sorted(chosen, key=names.index)))
        good = satisfying(found)
        if 1 <= len(good) <= 4 and () not in good:
            return found


def satisfying(wanted: Wishes) -> list[Chosen]:
    """The known choices that satisfy a customer, as the committed table has them."""
    table = committed(wanted.arch, wanted.release)
    return [choice for choice, row in table.items() if all(row[name].as_wished for name in wanted.stories)]


def unmet(wanted: Wishes, choice: Chosen) -> list[Consequence]:
    """The stories that do not come out as the customer wishes. Errors: PolicyError for an impossible choice."""
    rows = every_story(choice, wanted.arch, wanted.release)
    return [row for row in rows if row.question in wanted.stories and not row.as_wished]


def in_words(rows: Iterable[Consequence]) -> str:
    """Bad ends in words.

    >>> in_words([row for row in every_story((), "x86_64", "6.1") if row.question == "reload"])
    'reload at the same address: refused'
    """
    return "; ".join(f"{ASKS[row.question].asks}: {ENDINGS[row.kind].words}" for row in rows)
