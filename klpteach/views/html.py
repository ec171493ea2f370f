"""The explorer's picture as strings: a recording's step in, HTML and SVG out; no widget, no state, no randomness.

Three forms of the same facts: explorer_html() for a live page, twin.twin_html() for a saved notebook whose HTML passes a
sanitizer, twin.plain_text() for a terminal. Everything that comes from a file goes through escape().
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING

from ..reading.history import History
from ..reading.verdict import Verdict, verdict
from ..reading.words import count
from ..recording import Recording
from .bytestable import bytes_pane
from .mapdrawing import map_svg
from .style import TONE, style

if TYPE_CHECKING:
    from ..elf import ModuleFile

_MAP_LEGEND = "hatched: freed &nbsp; dashed: refused, would have been there &nbsp; arrows: where the sites point"
MAX_OLD_LINES = 2


def explorer_html(
    recording: Recording,
    step: int,
    module_files: Mapping[str, ModuleFile] | None = None,
    ask: bool = False,
    *,
    note: str = "",
    before: str = "",
    history: History | None = None,
) -> str:
    """One step of a recording as HTML: verdict, map, bytes, dmesg.

    step counts from 0. ask hides the step's outcome. note and before are lines of the controls (plain text) in the verdict.
    Errors: IndexError for a step that is not there.
    """
    history = history or History(recording, module_files)
    if not 0 <= step < len(recording):
        raise IndexError(f"step {step} of a recording with {len(recording)} steps")
    line = (
        question_html(recording, step, note) if ask else verdict_html(verdict(recording, step, history), note, before)
    )
    return (
        f'{style(live=True)}<div class="kx">{line}<div class="panes">'
        f'<div class="pane"><h4>Module address space, time runs down</h4>'
        f"{map_svg(history, step, ask)}<small>{_MAP_LEGEND}</small></div>"
        f'<div class="pane">{bytes_pane(history, step, ask)}</div>'
        f'<div class="pane wide">{dmesg_pane(recording, step, ask)}</div></div></div>'
    )


def error_html(message: str) -> str:
    """A message where the verdict stands, for what went wrong in the controls themselves."""
    line = f'<div class="v bad" role="alert"><strong>! </strong><span>{escape(message)}</span></div>'
    return f'{style(live=True)}<div class="kx">{line}</div>'


def dmesg_pane(recording: Recording, step: int, ask: bool = False) -> str:
    """The kernel's lines up to now, this step's marked by ► and weight; earlier ones beyond a few are counted."""
    now, earlier = recording[step], [line for before in recording.steps[:step] for line in before.lines]
    old = [f"  {line}" for line in earlier[-MAX_OLD_LINES:]]
    if len(earlier) > MAX_OLD_LINES:
        old.insert(0, f"  … {count(len(earlier) - MAX_OLD_LINES, 'earlier line')}")
    new, out = ["?"] if ask else now.lines, []
    if not new:
        out.append("► (no new line)")
    if now.out and not ask:
        out += [f"  $ {line}" for line in now.out.rstrip().split("\n")[:6]]
    rows = [("old", line) for line in old] + [("cur", f"► {line}") for line in new] + [("old", line) for line in out]
    shown = "".join(f'<div class="{css}">{escape(line)}</div>' for css, line in rows)
    return f'<h4>dmesg</h4><div class="dm">{shown}</div>'


def verdict_html(judged: Verdict, note: str = "", before: str = "") -> str:
    """The verdict line: symbol, outcome, reason, and a note of the controls where there is one."""
    return (
        f'<div class="v {TONE[judged.kind]}" role="status">{_note(before)}<strong>{judged.symbol} '
        f"{escape(judged.headline)}</strong> <span>{escape(judged.because)}</span>{_note(note)}</div>"
    )


def question_html(recording: Recording, step: int, note: str = "") -> str:
    """The question that stands in the verdict's place while the outcome is hidden."""
    return (
        f'<div class="v ask" role="status"><strong>? What will happen?</strong> '
        f"<span>Step {step + 1}: <code>{escape(recording[step].command)}</code>. "
        f"Choose, then press Show.</span>{_note(note)}</div>"
    )


def _note(text: str) -> str:
    return f'<span class="note">{escape(text)}</span>' if text else ""
