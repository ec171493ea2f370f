"""Two kernels in the same story, as a room sees them: the steps in the middle, each kernel's outcome and bytes at its side."""

from __future__ import annotations

from ...reading.history import History
from ...reading.verdict import verdict
from ...views.explorer.sites import symbol_label
from ...views.explorer.two_kernels import kernel_label, outcome
from ...views.shown import escape
from ...views.style import TONE
from .picture import byte_cell, followed, in_sight, legend_html, log_html, state_at
from .row import command


def two_html(left: History, right: History, step: int) -> str:
    """One step of two recordings of the same story; one that ended earlier shows its last step. step counts from 0."""
    sides, longer = (left, right), max((left, right), key=lambda history: len(history.recording))
    keys, used, body = _same_site(left, right), set[str](), ""
    for index in in_sight(longer, step, 6):
        said = f"<b>{index + 1}</b> <code>{escape(command(longer.recording, index))}</code>"
        whole = escape(longer.recording[index].command)
        if index > step:
            body += f'<tbody class="later"><tr><td colspan="3"></td><th scope="row" title="{whole}">{said}</th><td colspan="3"></td></tr></tbody>'
            continue
        cells = [_cells(history, key, index, used) for history, key in zip(sides, keys, strict=True)]
        equal = "=" if outcome(left, index) == outcome(right, index) else "≠"
        middle = f'<th scope="row" title="{whole}">{said}<em>{equal}</em></th>'
        css = "now" if index == step else "past"
        body += f'<tbody class="{css}"><tr>{"".join(cells[0])}{middle}{"".join(reversed(cells[1]))}</tr></tbody>'
    names = [f'<th scope="col" colspan="3">{escape(kernel_label(history.recording))}</th>' for history in sides]
    head = f'<thead><tr>{names[0]}<th scope="col">step</th>{names[1]}</tr></thead>'
    logs = "".join(log_html(history.recording, min(step, len(history.recording) - 1), 2) for history in sides)
    table = f'<table class="sg-t sg-two">{head}{body}</table>{legend_html(used)}'
    return f'<div class="sg">{_parting(left, right, step)}{table}<div class="sg-logs">{logs}</div></div>'


def _parting(left: History, right: History, step: int) -> str:
    """Where the two part, once that has been shown; else that they have been the same so far."""
    parted = next((i for i in range(step + 1) if outcome(left, i) != outcome(right, i)), None)
    if parted is None:
        return '<div class="sg-v calm"><strong>= The same so far</strong><span>Both kernels did the same at each step.</span></div>'
    said = " Then: ".join(outcome(history, step)[1].removesuffix(".") for history in (left, right))
    said = f"At step {step + 1}, left: {said.replace(' Then: ', '. Right: ')}."
    return f'<div class="sg-v warn"><strong>≠ They part at step {parted + 1}</strong><span>{escape(said)}</span></div>'


def _same_site(left: History, right: History) -> tuple[str | None, str | None]:
    """The site that is followed, by its type and symbol on both: its place differs between builds."""
    mine = next(iter([*followed(left), *followed(right)]), None)
    if mine is None:
        return None, None
    label = symbol_label(left if mine in left.sites else right, mine)
    found = [next((key for key in one.sites if symbol_label(one, key) == label), None) for one in (left, right)]
    return found[0], found[1]


def _cells(history: History, key: str | None, index: int, used: set[str]) -> list[str]:
    """Outcome, bytes and sign of a step, from the outside inwards."""
    at = min(index, len(history.recording) - 1)
    judged = verdict(history.recording, at, history)
    words = escape(judged.headline) if index == at else "(ended)"
    bytes_ = "<td></td>"
    if key:
        state = state_at(history, key, at)
        used.add(state.kind)
        bytes_ = byte_cell(history, key, state, large=False).replace(" few", " half")
    tone = TONE[judged.kind]
    return [f'<td class="out {tone}">{words}</td>', bytes_, f'<td class="sign {tone}">{judged.symbol}</td>']
