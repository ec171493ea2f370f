"""The notebooks in the order of the path, and which questions and exercises each has: nb00/questions.py and so on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import NamedTuple, TypeVar

from ..errors import KlpteachError, quoted, some
from .exercise import Exercise
from .question import Question

Asked = TypeVar("Asked", Question, Exercise)


class Station(NamedTuple):
    """A notebook as a stop on the way: its number ("05"), file, title and question, the minutes that it takes with its
    exercises, and whether the short way stops there too.
    """

    number: str
    file: str
    title: str
    asks: str
    minutes: int
    short: bool = False


# A new notebook is a row here and a folder nbNN. tests/course/test_stations.py says how the minutes are counted.
STATIONS = (
    Station("00", "00-start-here.ipynb", "Start here",
            "Can a livepatched module be removed and loaded again?", 20, short=True),
    Station("01", "01-reading-the-report.ipynb", "Reading the report", "What do the three lines say?", 40),
    Station("02", "02-a-real-ko.ipynb", "A real .ko", "What is a relocation on disk?", 40),
    Station("03", "03-loading-on-x86_64.ipynb", "Loading on x86_64", "How do four bytes become a call?", 45),
    Station("04", "04-patching-what-is-not-there.ipynb", "Patching what is not there",
            "How can a patch refer to an unloaded module?", 45),
    Station("05", "05-the-bug.ipynb", "The bug", "Why does the second load fail?", 35, short=True),
    Station("06", "06-the-same-bug-in-another-dress.ipynb", "The same bug in another dress",
            "Why does ppc64le complain about a nop?", 50),
    Station("06b", "06b-one-idea-four-machines.ipynb", "One idea, four machines",
            "Does every machine fail in the same way?", 30),
    Station("07", "07-three-ways-out.ipynb", "Three ways out", "What does each way out cost?", 60, short=True),
    Station("08", "08-dependencies-and-one-fixes-all.ipynb", "Dependencies and one-fixes-all",
            "What if the patch depended on its targets?", 30),
    Station("09", "09-stability-or-flexibility.ipynb", "Stability or flexibility",
            "What did they decide, and were they right?", 55, short=True),
)  # fmt: skip
NOTEBOOKS = tuple(f"nb{station.number}" for station in STATIONS)


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
        if isinstance(name, str) and name in there:
            return there[name]
        known += there
    near = get_close_matches(quoted(name).strip("'"), known, 3)
    meant = f"do you mean {' or '.join(near)}?" if near else f"there are {some(known, 6)}."
    raise KlpteachError(f"no {kind} {quoted(name)}; {meant}")
