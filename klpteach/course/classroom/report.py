"""What a class has answered: a row a student, from the progress texts that they handed in.

Texts come from strangers. Each is read for itself: what is no progress text has a row that says so, and stops no other. A
student's file may hold more than the text (a mail around it, a call of kt.progress() around it, several texts): all are
taken in. A progress.json, as a reader's notebooks keep it, is read as well.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from glob import glob
from pathlib import Path

from ...errors import KlpteachError, printable
from ...files.json_text import from_json
from ...files.on_disk import encoding_of, open_to_read
from ...views.shown import escape
from ...views.table import LEFT, Cell, Row, Table
from ..notebooks import Notebook, notebooks
from ..progress import Attempt, Progress, from_text
from ..question import Question
from ..sheet import progress_rows

_LONGEST = 16 << 20  # bytes of a file; progress.py makes no text that is longer
_SHOWN, _LETTERS = 20, 60  # how many items of a cell, and of how many letters
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would run a cell that begins so


@dataclass(frozen=True)
class Student:
    """One file: the name that it is known by, what its owner answered, and why nothing could be read, if so."""

    name: str
    progress: Progress
    refused: str = ""


def read_class(paths: Sequence[str]) -> list[Student]:
    """A Student for each file, in the order given. A pattern that no shell has spelled out (*.txt) is spelled out here.

    A file's name without its ending is the student; where two are called the same, the folders tell them apart.
    """
    files = [Path(found) for path in paths for found in _spelled_out(path)]
    stems = [file.stem for file in files]
    return [_student(str(f).removesuffix(f.suffix) if stems.count(f.stem) > 1 else f.stem, f) for f in files]


def class_table(students: Sequence[Student]) -> Table:
    """Under each notebook: how many predictions were made and how many exercises solved, and the same in all."""
    course = _course()
    every = [f"{len(one.questions)} {len(one.exercises)}" for one in course]
    asked, solvable = sum(len(one.questions) for one in course), sum(len(one.exercises) for one in course)
    rows: list[Row] = [["(there are)", *every, str(asked), str(asked), str(solvable)]]
    for student in students:
        row = list(progress_rows(course, student.progress))
        sums = [sum(r.predicted for r in row), sum(r.right for r in row), sum(r.solved for r in row)]
        cells = [f"{r.predicted} {r.solved}" for r in row]
        rows.append([_name(student), *(["?"] * (len(row) + 3) if student.refused else [*cells, *map(str, sums)])])
    heads = ["student", *(one.number for one in course), "predicted", "right at first", "solved"]
    note = "Under a notebook's number: predictions made, exercises solved."
    return Table(heads, rows, note=note, css=LEFT, labels=True)


def class_csv(students: Sequence[Student]) -> str:
    """A column for each prediction and each exercise, for a spreadsheet. What this version does not know is in `other`."""
    course, out = _course(), io.StringIO()
    asked = [f"{one.number} {name}" for one in course for name in (*one.questions, *one.exercises)]
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["student", "predicted", "right at first", "solved", *asked, "other", "refused"])
    for student in students:
        row = list(progress_rows(course, student.progress))
        sums = [str(sum(counts)) for counts in zip(*((r.predicted, r.right, r.solved) for r in row), strict=True)]
        if student.refused:  # nobody knows, which is not 0
            sums = ["?"] * len(sums)
        cells = (
            student.name,
            *sums,
            *_answers(course, student.progress),
            _other(course, student.progress),
            student.refused,
        )
        writer.writerow(map(_inert, cells))
    return out.getvalue()


def _course() -> list[Notebook]:
    """The notebooks, whose questions ask the model once and not once a student."""
    return [
        one._replace(questions={name: _once(asked) for name, asked in one.questions.items()}) for one in notebooks()
    ]


def _once(question: Question) -> Question:
    return replace(question, answer=cache(question.answer))


def _spelled_out(path: str) -> list[str]:
    if os.path.exists(path) or not re.search(r"[*?\[]", path):
        return [path]
    return sorted(glob(path)) or [path]


def _student(name: str, file: Path) -> Student:
    try:
        return Student(printable(name, keep=""), _read(file))
    except OSError as error:
        return Student(printable(name, keep=""), Progress(), f"cannot be read ({error.strerror})")
    except KlpteachError as error:
        return Student(printable(name, keep=""), Progress(), str(error))


def _read(file: Path) -> Progress:
    with open_to_read(file) as stream:
        raw = stream.read(_LONGEST + 1)
    if len(raw) > _LONGEST:
        raise KlpteachError(f"This is longer than any progress text: more than {_LONGEST >> 20} MB.")
    text = raw.decode(encoding_of(raw), "replace").removeprefix("\ufeff")  # PowerShell's > is UTF-16
    return _from_json(text) if text.lstrip().startswith("{") else from_text(text)


def _from_json(text: str) -> Progress:
    try:
        return Progress.from_json(from_json(text))
    except (ValueError, TypeError, KeyError, AttributeError):
        raise KlpteachError("This is no progress.json: it is damaged, or something else.") from None


def _name(student: Student) -> Cell:
    text = f"{student.name} (refused)" if student.refused else student.name
    return Cell(escape(text), text)


def _answers(course: Iterable[Notebook], progress: Progress) -> Iterator[str]:
    """What was chosen for each prediction and how each exercise went, in the course's order."""
    attempts: dict[str, list[str]] = {}
    for key, attempt in progress.attempts.items():
        name, _, seed = key.rpartition(":")
        attempts.setdefault(name, []).append(f"seed {seed}: {_went(attempt)}")
    for one in course:
        for name, question in one.questions.items():
            first, *then = progress.predictions.get(name) or [""]
            right = "right" if first == question.answer() else "wrong"
            yield _some([f"{first} ({right})", *then], ", then ") if first else ""
        yield from (_some(attempts.get(name, ()), "; ") for name in one.exercises)


def _went(attempt: Attempt) -> str:
    wrong = f"{len(attempt.wrong)} wrong" if attempt.wrong else ""
    return ", ".join(
        filter(None, ("solved" if attempt.solved else "", wrong, "answer shown" if attempt.looked else ""))
    )


def _other(course: Iterable[Notebook], progress: Progress) -> str:
    """Predictions and exercises of another version of the course: none is lost without a word."""
    known = {name for one in course for name in (*one.questions, *one.exercises)}
    names = [name for name in progress.predictions if name not in known]
    names += [key for key in progress.attempts if key.rpartition(":")[0] not in known]
    return _some(names, ", ")


def _some(items: Sequence[str], between: str) -> str:
    """Not more than a cell bears: a text may name thousands."""
    more = f"{between}and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return between.join(item if len(item) <= _LETTERS else f"{item[:_LETTERS]}…" for item in items[:_SHOWN]) + more


def _inert(cell: str) -> str:
    text = printable(cell, keep="")
    return f"'{text}" if text.startswith(_FORMULA) else text
