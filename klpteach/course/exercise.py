"""An exercise: a seed gives a problem, the same seed the same problem; the check asks the model, never a hidden constant."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ..errors import KlpteachError, whole
from ..views.reply import Reply
from .checks import same

Judge = Callable[[Any], "Reply | str | None"]


@dataclass(frozen=True)
class Problem:
    """One problem: what is asked, the answer, two hints (the second stronger) and the way to the answer in steps.

    form says what an answer looks like. slips: (wrong answer, what its giver may have thought). judge replaces the
    comparison with the answer: None is right, a sentence is what is wrong; a Reply marked ? does not count as a try.
    because comes with a right answer. shown is the answer as text where its repr would not help.
    """

    ask: str
    answer: Any
    steps: Sequence[str]
    hints: Sequence[str]
    form: str = ""
    slips: Sequence[tuple[Any, str]] = ()
    judge: Judge | None = None
    because: str = ""
    shown: str = ""

    def reply(self, answer: Any) -> Reply:
        """What the model says to an answer, without hints. A reader's mistake comes back as words, never as an error."""
        try:
            verdict = self.judge(answer) if self.judge else self._compared(answer)
        except Exception as error:
            says = str(error) if isinstance(error, KlpteachError) else f"Give {self.form or 'another answer'}."
            return Reply("?", "This cannot be checked.", says)
        if isinstance(verdict, Reply):
            return verdict
        return Reply("✓", "Right.", self.because) if verdict is None else Reply("✗", "Not yet.", verdict)

    def _compared(self, answer: Any) -> str | None:
        if same(answer, self.answer):
            return None
        return next((words for wrong, words in self.slips if same(answer, wrong)), "")


@dataclass(frozen=True)
class Exercise:
    """A family of problems: a title, and a function that makes one from a seeded random.Random.

    seeded is False where there is one problem only.
    """

    title: str
    make: Callable[[random.Random], Problem]
    seeded: bool = True

    def problem(self, seed: int = 1) -> Problem:
        """The problem of a seed. Errors: KlpteachError for a seed that is no whole number."""
        number = whole(seed, "seed")
        return _made(self.make, self.title, number if self.seeded else 1)


@lru_cache(maxsize=64)
def _made(make: Callable[[random.Random], Problem], title: str, seed: int) -> Problem:
    return make(random.Random(f"{title}:{seed}"))  # seeded by text: the same in every Python since 3.2
