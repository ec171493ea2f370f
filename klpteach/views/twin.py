"""The whole story without a live page: static HTML for a saved notebook, and plain text for a terminal."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from html import escape
from typing import TYPE_CHECKING

from ..reading.history import History
from ..reading.verdict import verdict
from ..recording import Recording
from .addressmap import events
from .bytestable import chosen_sites, columns, grouped, heading, legend, letter, symbol_label
from .mapdrawing import alt_text, map_svg

if TYPE_CHECKING:
    from ..elf import ModuleFile

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
        f"{_twin_steps(history)}{_twin_sites(history, last)}{''.join(_twin_details(history))}"
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
        states = [history.states(key)[history.seen(i)] for i in shown]
        used |= {state.kind for state in states}
        cells = "".join(f"<td><code>{grouped(s.value or b'', ' ')}</code> {letter(s)}</td>" for s in states)
        body += f"<tr><td {_LEFT}><code>{escape(key)}</code> {escape(symbol_label(history, key))}</td>{cells}</tr>"
    meanings = "; ".join(f"{sign} {meaning}" for sign, meaning in legend(used))
    return f"<table><thead><tr><th {_LEFT}>site</th>{head}</tr></thead><tbody>{body}</tbody></table><p>{meanings}</p>"


def _twin_details(history: History) -> Iterator[str]:
    for index in events(history.recording):
        step = history.recording[index]
        lines = escape("\n".join(step.lines)) or "(no new line in dmesg)"
        yield f"<details><summary>Step {index + 1}: <code>{escape(step.command)}</code></summary><pre>{lines}</pre></details>"


def plain_text(
    recording: Recording, module_files: Mapping[str, ModuleFile] | None = None, *, history: History | None = None
) -> str:
    """The story for a terminal: a line a step, outcome first.

    >>> from klpteach.scenarios import simulate
    >>> plain_text(simulate("reload")).splitlines()[3][:51]
    '3  rmmod nfsd_demo: ! Removed, and stale bytes stay'
    """
    history = history or History(recording, module_files)
    lines = [f"{recording.title or recording.scenario} ({recording.arch}, {recording.release}, {recording.source})"]
    lines += [
        f"{index + 1}  {recording[index].command}: {verdict(recording, index, history)}" for index in events(recording)
    ]
    return "\n".join(lines)
