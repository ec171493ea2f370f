"""Logs of 6.12 in which something went wrong, and what it was: stories for the exercise of notebook 09."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from ...model.recording import Recording
from ...scenarios.scenario import GONE, PATCH, TARGET, Scenario
from ...scenarios.simulate import simulate

CAUSES: Mapping[str, str] = {
    "a": "a callback of the livepatch said no",
    "b": "somebody else wrote to a site",
    "c": "the table of stubs is full",
    "d": "a livepatch wants a function that this build of the target does not have",
    "e": "the file of the livepatch is damaged",
}
_ORDINARY = ("enabling patch", "starting patching", "patching complete", "applying patch", "reverting patch")
_OTHERS = ("filler4k", "filler64k", "filler1m")


@dataclass(frozen=True)
class Log:
    """The lines of livepatch and of the relocation code, with the letter of what happened."""

    lines: tuple[str, ...]
    cause: str

    @property
    def first_sign(self) -> int:
        """The number of the first line, from 1, that no good day prints."""
        return next(n for n, line in enumerate(self.lines, 1) if not any(words in line for words in _ORDINARY))

    @property
    def refusal(self) -> int | None:
        """The number of the line in which the check refuses; None where another reason ends the story."""
        return next((n for n, line in enumerate(self.lines, 1) if "existing value is nonzero" in line), None)


def log(rng: random.Random) -> Log:
    """A log. The same random numbers give the same log."""
    cause = rng.choice("aabbcdde")
    arch = "ppc64le" if cause == "c" else "x86_64"
    story = simulate(Scenario("log", "a log", "", tuple(_COMMANDS[cause](rng))), "6.12", arch=arch)
    return Log(tuple(_shown(story)), cause)


def _shown(story: Recording) -> Iterator[str]:
    for step in story:
        yield from (line for line in step.lines if line.startswith(("livepatch: ", "module: ", "WARNING: ")))


def _reloads(rng: random.Random) -> list[str]:
    return rng.randint(0, 2) * [GONE, TARGET]


def _callback(rng: random.Random) -> Iterator[str]:
    yield from rng.choice([(), (PATCH, TARGET, GONE), (f"insmod {rng.choice(_OTHERS)}.ko",)])
    yield "insmod livepatch_callbacks.ko pre_patch_ret=-19"
    yield from [TARGET] * rng.randint(2, 3)


def _stranger(rng: random.Random) -> Iterator[str]:
    yield from rng.choice([(TARGET, PATCH), (PATCH, TARGET)])
    yield from _reloads(rng)
    yield from ("poke livepatch_nfsd_demo:{site} 1122334455667788", GONE, f"insmod {rng.choice(_OTHERS)}.ko", TARGET)


def _full(rng: random.Random) -> Iterator[str]:
    yield from rng.choice([(TARGET, PATCH), (PATCH, TARGET)])
    yield from _reloads(rng)
    for other in rng.sample(_OTHERS, 3):
        yield from (GONE, f"insmod {other}.ko", TARGET)


def _missing(rng: random.Random) -> Iterator[str]:
    both = [PATCH, "insmod livepatch_stacked+function-missing.ko"]
    yield from rng.choice([both, both[1:], [*both, "insmod filler4k.ko"]])
    yield from [TARGET] * rng.randint(2, 3)


def _damaged(rng: random.Random) -> Iterator[str]:
    yield TARGET
    if rng.random() < 0.6:
        yield from ("insmod livepatch_stacked.ko", *_reloads(rng))
    yield from ["insmod livepatch_nfsd_demo+offset-off-by-8.ko"] * rng.randint(1, 2)


_COMMANDS: Mapping[str, Callable[[random.Random], Iterator[str]]] = {
    "a": _callback, "b": _stranger, "c": _full, "d": _missing, "e": _damaged,
}  # fmt: skip
