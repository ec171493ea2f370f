"""What a reader calls: predict, exercise, check, worked, progress. Answers survive re-running and any order of cells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..views.reply import Reply
from . import progress as book
from .notebooks import find_exercise, find_question, rooms
from .sheet import Sheet, problem_sheet, progress_sheet, worked_sheet

if TYPE_CHECKING:
    from .prediction import Prediction


def predict(name: str, choice: str | None = None) -> Reply | Prediction:
    """Ask a question. With a choice (a key of its options) commit at once; without, show buttons.

    A committed answer is kept, and shown again when the cell runs again. Errors: KlpteachError for an unknown question or
    choice, which names the known ones.

    >>> predict("same-address", "loads")
    ✗ The kernel's answer: it is refused. You may have thought that identical bytes cannot hurt. ...
    """
    question = find_question(name)
    if choice is not None:
        return commit(name, choice)
    from .prediction import Prediction

    return Prediction(name, question, committed(name))


def commit(name: str, choice: str) -> Reply:
    """Commit to a choice and hear the answer; the first commitment is the one that counts."""
    reply, known = find_question(name).reply(choice), book.recall()
    choices = known.predictions.setdefault(name, [])
    if choice not in choices:
        choices.append(choice)
        book.keep(known)
    return reply


def committed(name: str) -> str | None:
    """What was committed to last, if it is still an option of the question."""
    choices = [c for c in book.recall().predictions.get(name, ()) if c in find_question(name).options]
    return choices[-1] if choices else None


def exercise(name: str, seed: int = 1) -> Sheet:
    """Show a problem. The same seed is the same problem. Errors: KlpteachError for an unknown exercise.

    >>> exercise("fix").headline
    'Exercise: a fix that lets the reload work'
    """
    found = find_exercise(name)
    headline = f"Exercise: {found.title}" + (f" (seed {seed})" if found.seeded else "")
    attempt = book.recall().attempt(name, seed)
    note = " ✓ You have solved this one." if attempt.solved else ""
    return problem_sheet(headline, found.problem(seed), _call("check", name, seed, "…, "), note)


def check(name: str, answer: Any = ..., seed: int = 1) -> Reply:
    """Check an answer with the model. A wrong one gets a hint, a second wrong one a stronger hint; ... asks how to answer.

    Errors: KlpteachError for an unknown exercise only; what is wrong with an answer is said in the reply.

    >>> check("fix", "clear-checked").mark, check("fix", "deny-removal").mark
    ('✓', '✗')
    """
    problem = find_exercise(name).problem(seed)
    if answer is ...:
        return Reply("?", "Your turn.", f"Put in place of the dots: {problem.form or 'your answer'}.")
    reply = problem.reply(answer)
    if reply.mark == "?":
        return reply
    known = book.recall()
    attempt, mark = known.attempt(name, seed), book.digest(answer)
    if reply.mark == "✓":
        attempt.solved = True
    elif mark not in attempt.wrong:
        attempt.wrong.append(mark)
    book.keep(known)
    return (
        reply
        if reply.mark == "✓"
        else _with_hint(reply, problem.hints, len(attempt.wrong), _call("worked", name, seed))
    )


def worked(name: str, seed: int = 1) -> Sheet:
    """Show the worked answer, step by step.

    >>> worked("fix").headline
    'Worked answer: a fix that lets the reload work'
    """
    found, known = find_exercise(name), book.recall()
    known.attempt(name, seed).looked = True
    book.keep(known)
    return worked_sheet(
        f"Worked answer: {found.title}" + (f" (seed {seed})" if found.seeded else ""), found.problem(seed)
    )


def progress(text: str | None = None, *, forget: bool = False) -> Sheet:
    """Show what is answered, notebook by notebook, and a short text to copy out. With such a text: take it in.

    forget=True starts anew. Errors: KlpteachError for a text that is not whole.
    """
    if forget:
        book.forget()
    if text is not None:
        known = book.recall()
        known.merge(book.from_text(text))
        book.keep(known)
    return progress_sheet(rooms(), book.recall())


def _call(verb: str, name: str, seed: int, answer: str = "") -> str:
    seeded = find_exercise(name).seeded
    return f'kt.{verb}("{name}", {answer}seed={seed})' if seeded else f'kt.{verb}("{name}"{", …" if answer else ""})'


def _with_hint(reply: Reply, hints: Any, tries: int, worked_call: str) -> Reply:
    hint = hints[min(tries, len(hints)) - 1] if hints else ""
    more = f"`{worked_call}` shows the way." if tries > 1 else ""
    return Reply(reply.mark, reply.headline, " ".join(part for part in (reply.text, hint, more) if part))
