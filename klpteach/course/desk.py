"""What a reader calls: predict, exercise, check, worked, progress. Answers survive re-running and any order of cells."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from ..arguments import checked
from ..views.reply import Reply
from . import progress as book
from .exercise import Exercise
from .nb00.questions import judge_fix
from .nb05.questions import judge_seed
from .notebooks import find_exercise, find_question, notebooks
from .prediction import Prediction
from .question import Question
from .sheet import Sheet, problem_sheet, progress_sheet, worked_sheet


def predict(name: str, choice: str | None = None) -> Reply | Prediction:
    """Ask a question. With a choice (a key of its options) commit at once; without, show buttons.

    A committed answer is kept, and shown again when the cell runs again. A choice that is not there is answered with those that
    are. Errors: KlpteachError for an unknown question, which names the known ones.

    >>> predict("same-address", "same")
    ✗ The kernel's answer: it asks whether they are zero, and it is refused. You may have thought that identical bytes ...
    >>> predict("same-address", "maybe")
    ? There is no such choice. Say one of same, mine, zero: kt.predict("same-address", "same").
    """
    question = find_question(name)
    if choice is not None:
        return _commit(name, choice) if _is_option(choice, question) else _not_an_option(name, question)
    known = [c for c in book.recall().predictions.get(name, ()) if c in question.options]
    return Prediction(name, question, known[-1] if known else None, partial(_commit, name))


def _is_option(choice: object, question: Question) -> bool:
    return isinstance(choice, str) and choice in question.options  # a list, say, cannot be looked up


def _not_an_option(name: str, question: Question) -> Reply:
    keys = list(question.options)
    return Reply("?", "There is no such choice.", f'Say one of {", ".join(keys)}: `kt.predict("{name}", "{keys[0]}")`.')


def _commit(name: str, choice: str) -> Reply:
    """Keep a choice and give the reply to it; every choice is kept, the first one is the one that counts."""
    reply, known = find_question(name).reply(choice), book.recall()
    choices = known.predictions.setdefault(name, [])
    if choice not in choices:
        choices.append(choice)
        book.keep(known)
    return reply


def exercise(name: str, seed: int = 1) -> Sheet:
    """Show a problem. The same seed is the same problem. Errors: KlpteachError for an unknown exercise.

    >>> exercise("fix").headline
    'Exercise: a fix that lets the reload work'
    """
    found = find_exercise(name)
    problem = found.problem(seed)
    note = " ✓ You have solved this one." if book.recall().attempt(name, seed).solved else ""
    call = _call("check", name, found, seed, "…")
    return problem_sheet(f"Exercise: {_title(found, seed)}", problem, call, note)


def check(name: str, answer: Any = ..., seed: int = 1) -> Reply:
    """Check an answer with the model. A wrong one gets a hint, a second wrong one a stronger hint; ... asks how to answer.

    Errors: KlpteachError for an unknown exercise only; what is wrong with an answer is said in the reply.

    >>> check("fix", "clear-checked").mark, check("fix", "deny-removal").mark
    ('✓', '✗')
    """
    found = find_exercise(name)
    problem = found.problem(seed)
    if answer is ... or (isinstance(answer, str) and not answer.strip()):
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
    if reply.mark == "✓":
        return reply
    tries, hints = len(attempt.wrong), problem.hints
    hint = hints[min(tries, len(hints)) - 1] if hints else ""
    more = f"`{_call('worked', name, found, seed)}` shows the way." if tries > 1 else ""
    return Reply(reply.mark, reply.headline, " ".join(filter(None, (reply.text, hint, more))))


def worked(name: str, seed: int = 1) -> Sheet:
    """Show the worked answer, step by step.

    >>> worked("fix").headline
    'Worked answer: a fix that lets the reload work'
    """
    found, known = find_exercise(name), book.recall()
    problem = found.problem(seed)
    known.attempt(name, seed).looked = True
    book.keep(known)
    return worked_sheet(f"Worked answer: {_title(found, seed)}", problem)


@checked(but=["text"])
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
    return progress_sheet(notebooks(), book.recall())


def check_fix(proposal: Any = ..., release: str = "6.1") -> Reply:
    """Exercise: name a proposal that makes the reload work, or a list of them. The model tries it."""
    if proposal is ... or release == "6.1":
        return check("fix", proposal)
    on_release = replace(find_exercise("fix").problem(), judge=lambda answer: judge_fix(answer, release))
    return on_release.reply(proposal)


def check_seed(seed: Any = ..., matters: Any = None, why: Any = None, release: str = "6.1") -> Reply:
    """Exercise: find a seed with which the busy machine's reload lands at the same base; say whether it matters, and why."""
    if seed is ...:
        turn = "Try numbers, kt.check_seed(1), until the module comes back to its old place; then say matters=True or False."
        return Reply("?", "Your turn.", turn)
    answer = (seed, matters, why)
    return check("same-base", answer) if release == "6.1" else judge_seed(answer, release)


def _title(found: Exercise, seed: int) -> str:
    return f"{found.title} (seed {seed})" if found.seeded else found.title


def _call(verb: str, name: str, found: Exercise, seed: int, answer: str = "") -> str:
    arguments = [f'"{name}"', answer, f"seed={seed}" if found.seeded else ""]
    return f"kt.{verb}({', '.join(filter(None, arguments))})"
