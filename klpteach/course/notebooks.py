"""Which notebook has which questions and exercises: nb00/questions.py and so on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any, NamedTuple

from ..errors import KlpteachError
from .exercise import Exercise
from .question import Question

NOTEBOOKS = ("nb00", "nb01", "nb02", "nb03", "nb04", "nb05", "nb06", "nb07", "nb08", "nb09")


class Room(NamedTuple):
    """What one notebook asks. notebook is its number or name ("05"), title what the progress table says."""

    notebook: str
    title: str
    questions: Mapping[str, Question]
    exercises: Mapping[str, Exercise]


def rooms() -> Iterator[Room]:
    """Every notebook's room, in the order of the notebooks.

    >>> [room.notebook for room in rooms()][:1]
    ['00']
    """
    return map(_room, NOTEBOOKS)


def _room(name: str) -> Room:
    module = import_module(f"{__package__}.{name}.questions")
    number = name.removeprefix("nb")
    return Room(
        number, getattr(module, "TITLE", number), getattr(module, "QUESTIONS", {}), getattr(module, "EXERCISES", {})
    )


def find_question(name: str) -> Question:
    """A question by its name. Errors: KlpteachError with the nearest names."""
    found: Question = _find(name, "question")
    return found


def find_exercise(name: str) -> Exercise:
    """An exercise by its name. Errors: KlpteachError with the nearest names.

    >>> find_exercise("fixx")
    Traceback (most recent call last):
    klpteach.errors.KlpteachError: no exercise 'fixx'; do you mean fix?
    """
    found: Exercise = _find(name, "exercise")
    return found


def _find(name: str, kind: str) -> Any:
    known: list[str] = []
    for room in rooms():  # only as many rooms as are needed are imported
        table: Mapping[str, Any] = room.questions if kind == "question" else room.exercises
        if name in table:
            return table[name]
        known += table
    near = get_close_matches(str(name), known, 3) or known
    raise KlpteachError(f"no {kind} {name!r}; do you mean {' or '.join(near)}?")
