"""A problem, a worked answer and a progress table as the reader sees them: HTML in a notebook, text in a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape
from typing import NamedTuple

from ..views.reply import COLOURS, framed, inline, prose
from ..views.shown import Shown
from ..views.table import LEFT, Table
from .checks import shown
from .exercise import Problem
from .notebooks import Notebook
from .progress import Progress, to_text


class Sheet(Shown):
    """Something to read: a headline, HTML below it, and the same as text."""

    def __init__(self, headline: str, html: str, text: str, colour: str = "#0072B2") -> None:
        self.headline, self.html, self.text, self.colour = headline, html, text, colour

    def to_text(self) -> str:
        return f"{self.headline}\n{self.text}".replace("`", "")

    def to_html(self) -> str:
        return framed(f"<p><strong>{inline(self.headline)}</strong></p>{self.html}", self.colour)


def problem_sheet(headline: str, problem: Problem, call: str, note: str = "") -> Sheet:
    """What is asked, what an answer looks like, and the call that checks it."""
    form = f" In place of the dots: {problem.form}." if problem.form else ""
    tail = f"Check it with `{call}`.{form}{note}"
    return Sheet(headline, prose(problem.ask) + f"<p>{inline(tail)}</p>", f"{problem.ask}\n{tail}")


def worked_sheet(headline: str, problem: Problem) -> Sheet:
    """The way to the answer, step by step."""
    answer = problem.shown or shown(problem.answer)
    items = "".join(f"<li>{inline(step)}</li>" for step in problem.steps)
    block = f"<pre>{escape(answer)}</pre>" if "\n" in answer else f" <code>{escape(answer)}</code>"
    text = "\n".join([*(f"{n}. {step}" for n, step in enumerate(problem.steps, 1)), f"Answer: {answer}"])
    return Sheet(headline, f"<ol>{items}</ol><div>Answer:{block}</div>", text, COLOURS["✓"])


class Row(NamedTuple):
    """One notebook in the progress table."""

    notebook: str
    title: str
    predicted: int
    right: int
    questions: int
    solved: int
    exercises: int


def progress_rows(notebooks: Iterable[Notebook], progress: Progress) -> Iterator[Row]:
    """A row a notebook. right counts first commitments only."""
    solved = {key.rpartition(":")[0] for key, attempt in progress.attempts.items() if attempt.solved}
    for number, title, questions, exercises in notebooks:
        first = {name: progress.predictions[name][0] for name in questions if progress.predictions.get(name)}
        right = sum(questions[name].answer() == choice for name, choice in first.items())
        done = len(solved & exercises.keys())
        yield Row(number, title, len(first), right, len(questions), done, len(exercises))


def progress_sheet(notebooks: Iterable[Notebook], progress: Progress) -> Sheet:
    """The table of what is answered, and the text to copy out."""
    rows = [
        (f"{r.notebook} {r.title}", f"{r.predicted} of {r.questions}", str(r.right), f"{r.solved} of {r.exercises}")
        for r in progress_rows(notebooks, progress)
    ]
    table = Table(("notebook", "predicted", "right at first", "exercises solved"), rows, css=LEFT)
    text = to_text(progress)
    how = 'To go on elsewhere, copy this line; there, run `kt.progress("…")` with the line in the quotes.'
    line = f'<pre style="white-space:pre-wrap;word-break:break-all">{text}</pre>'
    html = f"{table.to_html()}<p>{inline(how)}</p>{line}"
    return Sheet("Your progress", html, f"{table.to_text()}\n{how}\n{text}")
