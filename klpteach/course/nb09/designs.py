"""A fix as a mix of proposals, tried against every story on every kernel; and customers who each want something else.

For notebook 09. What a mix comes to is asked of the model; whether a real kernel did the same is looked up by what the mix
makes of a kernel, not by its name.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from ...discussion.consequences import (
    ARCHES,
    QUESTIONS,
    RELEASES,
    Consequence,
    Question,
    consequence,
    read_consequences,
)
from ...files.samples import data_dir, ko_dir
from ...model.policy import PROPOSALS, VARIANTS, Behaviour, behaviour
from ...reading.outcome import ENDINGS
from ...scenarios.simulate import get, has_files

Mix = tuple[str, ...]
KERNELS: tuple[tuple[str, str], ...] = tuple((arch, release) for arch in ARCHES for release in RELEASES)
ASKS: Mapping[str, Question] = {question.key: question for question in QUESTIONS}


def there(mix: Iterable[str], arch: str) -> Mix:
    """The part of a mix that an architecture knows: others have nothing to change there.

    >>> there(["clear-checked", "reuse-stub"], "ppc64le"), there(["typo"], "x86_64")
    (('reuse-stub',), ('typo',))
    """
    return tuple(name for name in mix if name not in PROPOSALS or PROPOSALS[name].arch in (None, arch))


@lru_cache(maxsize=128)
def tried(mix: Mix, arch: str, release: str) -> tuple[Consequence, ...]:
    """What a mix comes to in every story of a kernel, run in the model: half a second. Errors: PolicyError."""
    chosen = there(mix, arch)
    behaviour(release, chosen, arch)  # an impossible mix is refused here, with its reason
    asked = (q for q in QUESTIONS if arch in q.story and has_files(get(q.story[arch], arch), ko_dir(arch, release)))
    return tuple(consequence(question, arch, release, chosen) for question in asked)


def seen(mix: Mix, arch: str, release: str, question: str) -> Path | None:
    """The recording of a real kernel that behaves like this one under the mix, in the story of a question.

    >>> seen(("clear-checked",), "x86_64", "6.12", "reload").name, seen(("remove-check",), "x86_64", "6.12", "reload")
    ('reload--6.12--LOADS.json', None)
    """
    rules, story = behaviour(release, there(mix, arch), arch), ASKS[question].story[arch]
    folder = data_dir() / "recordings" / arch
    for name, real in _real_kernels(arch, release):
        if real == rules:
            return next(iter(sorted(folder.glob(f"{story}--{name}--*.json"))), None)
    return None


def _real_kernels(arch: str, release: str) -> Iterator[tuple[str, Behaviour]]:
    stock = behaviour(release, (), arch)
    yield (release if arch == "x86_64" else f"{release}-stock"), stock
    if arch == "ppc64le":
        for name, switches in VARIANTS.items():
            yield f"{release}-{name}", replace(stock, **switches)  # type: ignore[arg-type]


# -- customers --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Wishes:
    """A customer's kernel, and the stories that must come out as wished there."""

    arch: str
    release: str
    stories: tuple[str, ...]


def wishes(rng: random.Random) -> Wishes:
    """A customer whom the kernel as released does not satisfy, and one to four of the known choices do."""
    while True:
        arch, release = rng.choice(KERNELS)
        table = _table(arch, release)
        names = list(table[""])
        chosen = {*rng.sample(names, rng.randint(4, 6)), *["corrupted"] * (arch == "x86_64" and rng.random() < 0.7)}
        stories = tuple(sorted(chosen, key=names.index))
        good = [mix for mix, row in table.items() if all(row[name].as_wished for name in stories)]
        if 1 <= len(good) <= 4 and "" not in good:
            return Wishes(arch, release, stories)


def satisfying(wanted: Wishes) -> list[Mix]:
    """The known choices that satisfy a customer, as the committed table has them."""
    table = _table(wanted.arch, wanted.release)
    good = (mix for mix, row in table.items() if all(row[name].as_wished for name in wanted.stories))
    return [tuple(filter(None, mix.split("+"))) for mix in good]


@lru_cache(maxsize=8)
def _table(arch: str, release: str) -> dict[str, dict[str, Consequence]]:
    found: dict[str, dict[str, Consequence]] = {}
    for row in read_consequences():
        if (row.arch, row.release) == (arch, release):
            found.setdefault(row.proposals, {})[row.question] = row
    return found


def unmet(wanted: Wishes, mix: Mix) -> list[Consequence]:
    """The stories that do not come out as the customer wishes. Errors: PolicyError for an impossible mix."""
    return [
        row for row in tried(mix, wanted.arch, wanted.release) if row.question in wanted.stories and not row.as_wished
    ]


def told(rows: Sequence[Consequence]) -> str:
    """Bad ends in words.

    >>> told([row for row in tried((), "x86_64", "6.1") if row.question == "reload"])
    'reload at the same address: refused'
    """
    return "; ".join(f"{ASKS[row.question].asks}: {ENDINGS[row.kind].words}" for row in rows)
