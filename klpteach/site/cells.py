"""A notebook as a page: text, code and saved outputs; explorers, predictions and exercises in a form that works by itself."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..course.checks import shown
from ..course.exercise import Problem
from ..course.notebooks import find_exercise, find_question
from ..course.sheet import worked_sheet
from ..errors import KlpteachError
from ..views.reply import inline, prose
from ..views.shown import escape
from .shell import explorer

_NOTEBOOK = re.compile(r'href="([\w-]+)\.(?:ipynb|md)(?=["#])')
_ANCHOR = re.compile(r'<a class="anchor-link".*?</a>')
_BELOW = "<!-- what is asked stands at the cell that checks it -->"
_EXERCISES = {"check_fix": "fix", "check_seed": "same-base"}  # names from before check() had a name


def cells(path: Path) -> list[Mapping[str, Any]]:
    """The cells of a notebook file, with their source as one text."""
    found = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [{**cell, "source": "".join(cell["source"])} for cell in found]


def title_of(path: Path) -> str:
    """A notebook's question: its first heading."""
    heading = next(line for line in cells(path)[0]["source"].splitlines() if line.startswith("# "))
    return str(heading).removeprefix("# ")


def notebook_html(path: Path) -> str:
    """All cells of a notebook as HTML."""
    return "".join(cell_html(cell) for cell in cells(path))


def cell_html(cell: Mapping[str, Any]) -> str:
    if cell["cell_type"] == "markdown":
        return f'<div class="md">{markdown(cell["source"])}</div>'
    code = f'<div class="src">{highlighted(cell["source"])}</div>' if cell["source"].strip() else ""
    live = [made for call in calls(cell["source"]) if (made := alive(call))]
    kept = [one for one in cell["outputs"] if not live or one["output_type"] == "stream"]
    return code + "".join([*map(output_html, kept), *live])


def markdown(text: str) -> str:
    """Markdown as HTML, with Jupyter's ids at headings, and links to notebooks turned to their pages."""
    from nbconvert.filters.markdown import markdown2html

    html = _ANCHOR.sub("", str(markdown2html(text)))
    return _NOTEBOOK.sub(r'href="\1.html', html)


def highlighted(source: str) -> str:
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import PythonLexer

    return str(highlight(source, PythonLexer(), HtmlFormatter(nowrap=False)))


def output_html(output: Mapping[str, Any]) -> str:
    """What a cell has shown: its HTML where it has any, else its text."""
    data = output.get("data", {})
    if "text/html" in data:
        shown = _NOTEBOOK.sub(r'href="\1.html', "".join(data["text/html"]))
        return f'<div class="out">{shown}</div>'
    text = "".join(output.get("text", data.get("text/plain", "")))
    return f'<div class="out"><pre>{escape(text)}</pre></div>' if text else ""


# -- what a cell calls ----------------------------------------------------------------------------------------------------


def calls(source: str) -> Iterator[ast.Call]:
    """The calls whose value a cell shows: its last expression, and those on lines of their own.

    >>> [ast.unparse(call) for call in calls('story = 1\\nkt.predict("reload")')]
    ["kt.predict('reload')"]
    """
    tree = ast.parse("\n".join(line for line in source.splitlines() if not line.startswith(("%", "!"))))
    yield from (one.value for one in tree.body if isinstance(one, ast.Expr) and isinstance(one.value, ast.Call))


def alive(call: ast.Call) -> str:
    """A call as a part of the page that works without a kernel; "" for one whose saved output says all."""
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    made: Mapping[str, Callable[[ast.Call], str]] = {
        "explore": _explorer, "predict": _prediction, "check": _exercise, "check_fix": _exercise, "check_seed": _exercise,
        "exercise": lambda call: _BELOW,
    }  # fmt: skip
    try:
        return made[name](call) if name in made else ""
    except (ValueError, TypeError, KlpteachError):  # arguments that are computed: the saved output stays
        return ""


def _arguments(call: ast.Call) -> tuple[list[Any], dict[str, Any]]:
    named = {word.arg or "": ast.literal_eval(word.value) for word in call.keywords}
    return [ast.literal_eval(value) for value in call.args], named


def _explorer(call: ast.Call) -> str:
    given, named = _arguments(call)
    if right := named.pop("compare", None):
        named["right"] = (right[0], tuple(right[1]))
    return explorer(*given, **named)


def _prediction(call: ast.Call) -> str:
    given, _ = _arguments(call)
    return prediction(given[0])


def prediction(name: str) -> str:
    """A question as a form; the replies wait in templates. Without a script: the question and its replies in a fold."""
    question = find_question(name)
    options = "".join(
        f'<label><input type="radio" name="{name}" value="{escape(key)}"> <span>{inline(words)}</span></label>'
        for key, words in question.options.items()
    )
    said = {key: question.reply(key).to_html() for key in question.options}
    replies = "".join(f'<template data-reply="{escape(key)}">{html}</template>' for key, html in said.items())
    fold = "".join(f"<p><em>{inline(question.options[key])}:</em></p>{html}" for key, html in said.items())
    return (
        f'<form class="pred" data-question="{name}"><fieldset><legend>Predict. {inline(question.ask)}</legend>{options}'
        f'</fieldset><button class="pri">Commit</button><div class="said" role="status"></div>{replies}</form>'
        f"<noscript><p><b>Predict.</b> {inline(question.ask)}</p><details><summary>Chosen? Then open this.</summary>{fold}"
        "</details></noscript>"
    )


def _exercise(call: ast.Call) -> str:
    kind = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    seed = next((ast.literal_eval(word.value) for word in call.keywords if word.arg == "seed"), 1)
    name = _EXERCISES[kind] if kind in _EXERCISES else ast.literal_eval(call.args[0])
    found = find_exercise(name)
    return exercise_html(found.title, found.problem(seed))


def exercise_html(title: str, problem: Problem) -> str:
    """What is asked, then hints and the worked answer, each in a fold of its own."""
    hints = "".join(
        f"<details><summary>Hint {number}</summary><p>{inline(hint)}</p></details>"
        for number, hint in enumerate(problem.hints, 1)
    )
    slips = "".join(f"<li><code>{escape(shown(wrong))}</code>: {inline(words)}</li>" for wrong, words in problem.slips)
    wrong = f"<details><summary>Another answer than expected?</summary><ul>{slips}</ul></details>" if slips else ""
    form = f'<p class="note">An answer is {inline(problem.form)}.</p>' if problem.form else ""
    worked = worked_sheet("Worked answer", problem)
    because = f"<p>{inline(problem.because)}</p>" if problem.because else ""
    return (
        f'<div class="folds"><p><b>Exercise: {inline(title)}</b></p>{prose(problem.ask)}{form}{hints}'
        f"<details><summary>Worked answer</summary>{worked.html}{because}</details>{wrong}"
        '<p class="note">Nothing runs on this page: try it on paper, or in the notebook, where the model checks it.</p></div>'
    )
