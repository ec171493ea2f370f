"""The whole story without a live page: static HTML for a saved notebook, and plain text for a terminal."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from ...model.recording import Recording
from ...model.step import hexa
from ...reading.calls import call_at, is_call
from ...reading.history import History
from ...reading.loads import Files
from ...reading.reasons import goes_to
from ...reading.verdict import verdict
from ..shown import escape
from ..table import LEFT, Cell, Row, Table
from .instructions import instruction
from .map import events
from .map_svg import alt_text, map_svg
from .sites import chosen_sites, columns, counted, grouped, heading, legend, letter, symbol_label
from .stubs import table_at, title
from .two_kernels import kernel_label

COLUMNS = 6  # steps of the bytes: more than in the explorer, since nobody can go back on a saved page


def twin_html(recording: Recording, module_files: Files | None = None, *, history: History | None = None) -> str:
    """The whole story as static HTML that a sanitizer lets through: an img, tables, and a <details> a step."""
    history = history or History(recording, module_files)
    last = len(recording) - 1
    if last < 0:
        return "<p>An empty recording.</p>"
    image = base64.b64encode(map_svg(history, last, live=False).encode()).decode()
    where = f"{recording.arch}, {recording.kernel.get('release', recording.release)}, {recording.source}"
    if recording.proposals:
        where += f"; with {', '.join(recording.proposals)}"
    page = f"<p><b>{escape(recording.title or recording.scenario)}</b> ({escape(where)})</p>"
    page += f'<img alt="{escape(alt_text(history, last))}" src="data:image/svg+xml;base64,{image}">'
    page += _verdicts([history], ["what happened"])
    page += _twin_sites(history, last) + _twin_call(history, last) + _twin_stubs(history, last)
    for index in events(recording):
        lines = escape("\n".join(recording[index].lines)) or "(no new line in dmesg)"
        command = f"Step {index + 1}: <code>{escape(recording[index].command)}</code>"
        page += f"<details><summary>{command}</summary><pre>{lines}</pre></details>"
    return page


def _number(text: str) -> Cell:
    """A cell that stands where Jupyter puts a number, at the right."""
    return Cell(escape(text), css="")


def _verdicts(histories: Sequence[History], names: Sequence[str]) -> str:
    """A row a step: its command, and what came of it in each history; a story that ended early has cells that say so."""
    steps = max((history.recording for history in histories), key=len)
    rows = [
        [_number(f"{index + 1}"), Cell(f"<code>{escape(steps[index].command)}</code>"), *(_judged(one, index) for one in histories)]
        for index in events(steps)
    ]  # fmt: skip
    return Table((_number("step"), "command", *names), rows, css=LEFT).to_html()


def _judged(history: History, index: int) -> Cell:
    if index >= len(history.recording):
        return Cell("(ended)")
    judged = verdict(history.recording, index, history)
    return Cell(f"{judged.symbol} <b>{escape(judged.headline)}</b> {escape(judged.because)}")


def _twin_sites(history: History, step: int) -> str:
    keys, shown = chosen_sites(history, step), columns(history, step, COLUMNS)
    if not keys:
        return ""
    rows, used = [], set()
    for key in keys:
        states = [history.states(key)[history.observed_at(i)] for i in shown]
        used |= {state.kind for state in states}
        cells = [Cell(f"<code>{grouped(s.value or b'', ' ')}</code> {letter(s)}", css="") for s in states]
        rows.append([Cell(f"<code>{escape(key)}</code> {escape(symbol_label(history, key))}"), *cells])
    heads: Row = ["site", *(Cell(heading(history, i), css="") for i in shown)]
    meanings = "; ".join(f"{sign} {meaning}" for sign, meaning in legend(used))
    rows_of, total = counted(history, keys)
    some = f"{rows_of} of the {total} sites are shown. " if rows_of < total else ""
    return Table(heads, rows, note=some + meanings, css=LEFT).to_html()


def _twin_call(history: History, step: int) -> str:
    key = next((key for key in chosen_sites(history, step) if is_call(history, key)), None)
    call = call_at(history, key, history.observed_at(step)) if key else None
    if key is None or call is None:
        return ""
    placed = [(call.address + 4 * i, word) for i, word in enumerate(call.words)]
    words = "\n".join(f"{hexa(at)}  {word:08x}  {instruction(word, at, history.arch.name)}" for at, word in placed)
    leads = escape(goes_to(history, key, history.observed_at(step))) or "as in the file"
    return f"<p>The call at <code>{escape(key)}</code>, {leads}:</p><pre>{escape(words)}</pre>"


def _twin_stubs(history: History, step: int) -> str:
    table = table_at(history, step)
    if table is None:
        return ""
    rows: list[Row] = []
    for slot in table.slots:
        past, load = " past the end" if slot.past_end else "", f", load {slot.load}" if slot.load else ""
        leads = Cell(f"<code>{escape(slot.function) or '–'}</code>{load}")
        rows.append([_number(f"{slot.index}{past}"), leads, slot.state])
    return f"<p>{title(table)}</p>" + Table((_number("slot"), "leads to", "state"), rows, css=LEFT).to_html()


def compare_twin_html(left: History, right: History) -> str:
    """Two kernels in the same story as static HTML: their verdicts side by side, then each story as twin_html() tells it."""
    names, stories = [kernel_label(history.recording) for history in (left, right)], ""
    for name, history in zip(names, (left, right), strict=True):
        told = twin_html(history.recording, history=history)
        stories += f"<details><summary>{escape(name)}</summary>{told}</details>"
    recording = max(left.recording, right.recording, key=len)
    title = escape(recording.title or recording.scenario)
    return f"<p><b>{title}</b>: two kernels</p>{_verdicts((left, right), names)}{stories}"


def compare_plain_text(left: History, right: History) -> str:
    """Two stories for a terminal, one after the other."""
    return "\n\n".join(plain_text(history.recording, history=history) for history in (left, right))


def plain_text(recording: Recording, module_files: Files | None = None, *, history: History | None = None) -> str:
    """The story for a terminal: a line a step, outcome first."""
    history = history or History(recording, module_files)
    lines = [f"{recording.title or recording.scenario} ({recording.arch}, {recording.release}, {recording.source})"]
    lines += [f"{i + 1}  {recording[i].command}: {verdict(recording, i, history)}" for i in events(recording)]
    return "\n".join(lines)
