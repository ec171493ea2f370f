"""Which notebook has which questions and exercises: nb00/questions.py and so on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import NamedTuple

from ..errors import KlpteachError
from .exercise import Exercise
from .question import Question

NOTEBOOKS = ("nb00", "nb01", "nb02", "nb03", "nb04", "nb05", "nb06", "nb07", "nb08", "nb09")


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
    known: list[str] = []
    for notebook in notebooks():
        if name in notebook.questions:
            return notebook.questions[name]
        known += notebook.questions
    raise _unknown("question", name, known)


def find_exercise(name: str) -> Exercise:
    """An exercise by its name. Errors: KlpteachError with the nearest names.

    >>> find_exercise("fixx")
    Traceback (most recent call last):
    klpteach.errors.KlpteachError: no exercise 'fixx'; do you mean fix?
    """
    known: list[str] = []
    for notebook in notebooks():
        if name in notebook.exercises:
            return notebook.exercises[name]
        known += notebook.exercises
    raise _unknown("exercise", name, known)


def _unknown(kind: str, name: str, known: list[str]) -> KlpteachError:
    near = get_close_matches(str(name), known, 3) or known
    return KlpteachError(f"no {kind} {name!r}; do you mean {' or '.join(near)}?")
