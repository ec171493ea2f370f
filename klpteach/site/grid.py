"""The table of consequences as a page: a table a kernel, a button a cell, and what shows only some of them."""

from __future__ import annotations

from collections.abc import Sequence

from ..discussion.consequences import QUESTIONS, Consequence, by_kernel, read_consequences
from ..model.policy import PROPOSALS
from ..reading.outcome import ENDINGS
from ..views.shown import escape
from .tellings import mixes, tellings

_ASKS = {question.key: question for question in QUESTIONS}


def label(proposals: str) -> str:
    return " + ".join(PROPOSALS[name].label for name in proposals.split("+")) if proposals else "as released"


def grid_html(rows: Sequence[Consequence] | None = None) -> str:
    """Filters, a place for the chosen cell's words, the tables, the legend. rows: default data/consequences.csv."""
    found = by_kernel(read_consequences() if rows is None else rows)
    kernels = [f"{mine[0].arch} {mine[0].release}" for mine in found]
    names = list(dict.fromkeys(name for mine in found for row in mine for name in row.chosen))
    tables = "".join(_table(kernel, mine) for kernel, mine in zip(kernels, found, strict=True))
    legend = "".join(
        f'<li><b class="k-{ending.kind}">{ending.letter}</b>{escape(ending.meaning)}</li>'
        for ending in ENDINGS.values()
    )
    return (
        '<form class="flt">'
        + _select("kernel", "Kernel", [("", "all"), *((name, name) for name in kernels)], kernels[0])
        + _select("proposal", "Proposal", [("", "all"), *((name, PROPOSALS[name].label) for name in names)], "")
        + '<label>Story <input type="search" name="words"></label>'
        '<label><input type="checkbox" name="bad"> only what nobody wishes for</label></form>'
        '<p id="cell-says" role="status">Choose a cell: what it came to stands here.</p>'
        f'{tables}<h2>Letters</h2><ul class="leg">{legend}<li><b>*</b>not what one would wish for: thick border</li></ul>'
    )


def _select(name: str, words: str, options: Sequence[tuple[str, str]], chosen: str) -> str:
    inside = "".join(
        f'<option value="{escape(value)}"{" selected" if value == chosen else ""}>{escape(text)}</option>'
        for value, text in options
    )
    return f'<label>{words} <select name="{name}">{inside}</select></label>'


def _table(kernel: str, rows: Sequence[Consequence]) -> str:
    columns = list(dict.fromkeys(row.proposals for row in rows))
    cells = {(row.question, row.proposals): row for row in rows}
    heads = "".join(f'<th scope="col" data-mix="{name}">{escape(label(name))}</th>' for name in columns)
    body = ""
    for question in QUESTIONS:
        mine = [cells.get((question.key, name)) for name in columns]
        if any(mine):
            cols = "".join(_cell(row) if row else '<td class="none"></td>' for row in mine)
            body += f'<tr><th scope="row">{escape(question.asks)}</th>{cols}</tr>'
    return (
        f'<div class="scroll" role="region" aria-label="{kernel}"><table class="cons" data-kernel="{kernel}"><caption>{kernel}</caption>'
        f'<thead><tr><th scope="col">story</th>{heads}</tr></thead><tbody>{body}</tbody></table>'
        '<p class="note none" hidden>No row is left by these filters.</p></div>'
    )


def _cell(row: Consequence) -> str:
    words = ENDINGS[row.kind].words
    says = f"{_ASKS[row.question].asks}, {label(row.proposals)}, {row.arch} {row.release}: {words}."
    says += f" {row.says}." if row.says else ""
    link = link_to(_ASKS[row.question].story[row.arch], row)
    marks = f' data-link="{link}"' if link else ""
    return (
        f'<td data-mix="{row.proposals}" class="k-{row.kind}{"" if row.as_wished else " no"}"><button type="button" '
        f'data-says="{escape(says)}"{marks}>{row.letter}<span class="sr"> {escape(words)}</span></button></td>'
    )


def link_to(story: str, row: Consequence) -> str:
    """Where the explorer's page shows the story of a cell; "" where these pages do not tell it."""
    if (story, row.release) not in tellings(row.arch) or row.chosen not in mixes(row.arch):
        return ""
    return f"arch={row.arch}&amp;story={story}&amp;release={row.release}&amp;mix={row.proposals.replace('+', '%2B')}"
