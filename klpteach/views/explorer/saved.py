"""The whole story without a live page: static HTML for a saved notebook, and plain text for a terminal."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from html import escape
from typing import TYPE_CHECKING

from ...model.recording import Recording
from ...model.step import hexa
from ...reading.calls import call_at, is_call
from ...reading.history import History
from ...reading.reasons import goes_to
from ...reading.verdict import verdict
from .instructions import instruction
from .map import events
from .map_svg import alt_text, map_svg
from .sites import chosen_sites, columns, grouped, heading, legend, letter, symbol_label
from .stubs import chosen_table, title
from .two_kernels import kernel_label

if TYPE_CHECKING:
    from ...files.module_file import ModuleFile

_LEFT = 'style="text-align:left"'  # Jupyter sets table cells to the right


def twin_html(
    recording: Recording, module_files: Mapping[str, ModuleFile] | None = None, *, history: History | None = None
) -> str:
    """The whole story as static HTML that a sanitizer lets through: an img, tables, and a <details> a step."""
    history = history or History(recording, module_files)
    last = len(recording) - 1
    if last < 0:
        return "<p>An empty recording.</p>"
    image = base64.b64encode(map_svg(history, last, live=False).encode()).decode()
    where = f"{recording.arch}, {recording.kernel.get('release', recording.release)}, {recording.source}"
    chosen = f"; with {', '.join(recording.proposals)}" if recording.proposals else ""
    return (
        f"<p><b>{escape(recording.title or recording.scenario)}</b> ({escape(where)}{escape(chosen)})</p>"
        f'<img alt="{escape(alt_text(history, last))}" src="data:image/svg+xml;base64,{image}">'
        f"{_twin_steps(history)}{_twin_sites(history, last)}{_twin_call(history, last)}{_twin_stubs(history, last)}"
        f"{''.join(_twin_details(history))}"
    )


def _twin_steps(history: History) -> str:
    rows = []
    for index in events(history.recording):
        step, judged = history.recording[index], verdict(history.recording, index, history)
        rows.append(
            f"<tr><td>{index + 1}</td><td {_LEFT}><code>{escape(step.command)}</code></td>"
            f"<td {_LEFT}>{judged.symbol} <b>{escape(judged.headline)}</b> {escape(judged.because)}</td></tr>"
        )
    head = f"<tr><th>step</th><th {_LEFT}>command</th><th {_LEFT}>what happened</th></tr>"
    return f"<table><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table>"


def _twin_sites(history: History, step: int) -> str:
    keys, shown = chosen_sites(history, step), columns(history, step)
    if not keys:
        return ""
    head = "".join(f"<th>{heading(history, i)}</th>" for i in shown)
    body, used = "", set()
    for key in keys:
        states = [history.states(key)[history.observed_at(i)] for i in shown]
        used |= {state.kind for state in states}
        cells = "".join(f"<td><code>{grouped(s.value or b'', ' ')}</code> {letter(s)}</td>" for s in states)
        body += f"<tr><td {_LEFT}><code>{escape(key)}</code> {escape(symbol_label(history, key))}</td>{cells}</tr>"
    meanings = "; ".join(f"{sign} {meaning}" for sign, meaning in legend(used))
    return f"<table><thead><tr><th {_LEFT}>site</th>{head}</tr></thead><tbody>{body}</tbody></table><p>{meanings}</p>"


def _twin_call(history: History, step: int) -> str:
    """The instructions of the first call site in sight (ppc64le)."""
    key = next((key for key in chosen_sites(history, step) if is_call(history, key)), None)
    call = call_at(history, key, history.observed_at(step)) if key else None
    if key is None or call is None:
        return ""
    words = "\n".join(
        f"{hexa(call.address + 4 * i)}  {word:08x}  {instruction(word, call.address + 4 * i)}"
        for i, word in enumerate(call.words)
    )
    leads = goes_to(history, key, history.observed_at(step))
    return (
        f"<p>The call at <code>{escape(key)}</code>, {escape(leads) or 'as in the file'}:</p><pre>{escape(words)}</pre>"
    )


def _twin_stubs(history: History, step: int) -> str:
    """The table of stubs at the end of the story (ppc64le)."""
    name = chosen_table(history, step)
    table = (history.stubs(name, history.observed_at(step)) or history.stubs_before(name, step)) if name else None
    if table is None:
        return ""
    rows = "".join(
        f"<tr><td>{slot.index}{' past the end' if slot.past_end else ''}</td>"
        f"<td {_LEFT}><code>{escape(slot.function) or '–'}</code>{f', load {slot.load}' if slot.load else ''}</td>"
        f"<td {_LEFT}>{slot.state}</td></tr>"
        for slot in table.slots
    )
    head = f"<tr><th>slot</th><th {_LEFT}>leads to</th><th {_LEFT}>state</th></tr>"
    return f"<p>{title(table)}</p><table><thead>{head}</thead><tbody>{rows}</tbody></table>"


def compare_twin_html(left: History, right: History) -> str:
    """Two kernels in the same story as static HTML: their verdicts side by side, then each story as twin_html() tells it."""
    names = [kernel_label(history.recording) for history in (left, right)]
    longer = max(left, right, key=lambda history: len(history.recording))
    rows = ""
    for index in events(longer.recording):
        cells = "".join(f"<td {_LEFT}>{_cell(history, index)}</td>" for history in (left, right))
        rows += f"<tr><td>{index + 1}</td><td {_LEFT}><code>{escape(longer.recording[index].command)}</code></td>{cells}</tr>"
    heads = "".join(f"<th {_LEFT}>{escape(name)}</th>" for name in names)
    table = f"<table><thead><tr><th>step</th><th {_LEFT}>command</th>{heads}</tr></thead><tbody>{rows}</tbody></table>"
    stories = "".join(
        f"<details><summary>{escape(name)}</summary>{twin_html(history.recording, history=history)}</details>"
        for name, history in zip(names, (left, right), strict=True)
    )
    return f"<p><b>{escape(longer.recording.title or longer.recording.scenario)}</b>: two kernels</p>{table}{stories}"


def _cell(history: History, index: int) -> str:
    if index >= len(history.recording):
        return "(ended)"
    judged = verdict(history.recording, index, history)
    return f"{judged.symbol} <b>{escape(judged.headline)}</b> {escape(judged.because)}"


def compare_plain_text(left: History, right: History) -> str:
    """Two stories for a terminal, one after the other."""
    return "\n\n".join(plain_text(history.recording, history=history) for history in (left, right))


def _twin_details(history: History) -> Iterator[str]:
    for index in events(history.recording):
        step = history.recording[index]
        lines = escape("\n".join(step.lines)) or "(no new line in dmesg)"
        yield f"<details><summary>Step {index + 1}: <code>{escape(step.command)}</code></summary><pre>{lines}</pre></details>"


def plain_text(
    recording: Recording, module_files: Mapping[str, ModuleFile] | None = None, *, history: History | None = None
) -> str:
    """The story for a terminal: a line a step, outcome first.

    >>> from klpteach.scenarios.simulate import simulate
    >>> plain_text(simulate("reload")).splitlines()[3][:51]
    '3  rmmod nfsd_demo: ! Removed, and stale bytes stay'
    """
    history = history or History(recording, module_files)
    lines = [f"{recording.title or recording.scenario} ({recording.arch}, {recording.release}, {recording.source})"]
    lines += [
        f"{index + 1}  {recording[index].command}: {verdict(recording, index, history)}" for index in events(recording)
    ]
    return "\n".join(lines)
