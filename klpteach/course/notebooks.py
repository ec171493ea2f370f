"""Which notebook has which questions and exercises: nb00/questions.py and so on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import NamedTuple, TypeVar

from ..errors import KlpteachError
from .exercise import Exercise
from .question import Question

NOTEBOOKS = ("nb00", "nb01", "nb02", "nb03", "nb04", "nb05", "nb06", "nb07", "nb08", "nb09")
Asked = TypeVar("Asked", Question, Exercise)


class Notebook(NamedTuple):
    """What one notebook asks. number is "05" for notebook 05; the progress table shows number and title."""

    number: str
    title: str
    questions: Mapping[str, Question]
    exercises: Mapping[str, Exercise]


def notebooks() -> Iterator[Notebook]:
    """Every notebook, in order. Each is imported when it is reached: whoever stops early imports no more.

    >>> next(notebooks()).title
    'start here'
    """
    for name in NOTEBOOKS:
        found = import_module(f".{name}.questions", __package__)
        yield Notebook(name.removeprefix("nb"), found.TITLE, found.QUESTIONS, found.EXERCISES)


def find_question(name: str) -> Question:
    """A question by its name. Errors: KlpteachError with the nearest names."""
    return _find("question", name, lambda notebook: notebook.questions)


def find_exercise(name: str) -> Exercise:
    """An exercise by its name. Errors: KlpteachError with the nearest names.

    >>> find_exercise("fixx")
    Traceback (most recent call last):
    klpteach.errors.KlpteachError: no exercise 'fixx'; do you mean fix?
    """
    return _find("exercise", name, lambda notebook: notebook.exercises)


def _find(kind: str, name: str, offered: Callable[[Notebook], Mapping[str, Asked]]) -> Asked:
    known: list[str] = []
    for there in map(offered, notebooks()):
        if name in there:
            return there[name]
        known += there
    near = get_close_matches(str(name), known, 3) or known
    raise KlpteachError(f"no {kind} {name!r}; do you mean {' or '.join(near)}?")
