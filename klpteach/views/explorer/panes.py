"""The explorer's picture as strings: a recording's step in, HTML and SVG out; no widget, no state, no randomness.

saved.py tells the same to a saved notebook and a terminal. Everything that comes from a file goes through escape().
"""

from __future__ import annotations

from ...model.recording import Recording
from ...reading.history import History
from ...reading.loads import Files
from ...reading.steps import count
from ...reading.verdict import Verdict, verdict
from ..shown import escape
from ..style import TONE, style
from .map_svg import map_svg
from .sites import MAX_COLUMNS, MAX_SITES, bytes_pane
from .stubs import stubs_pane

_MAP_TITLE = "Module address space, time runs down"
_MAP_LEGEND = "<span>hatched: freed</span><span>dashed: refused, would have been there</span><span>arrows: where the sites point</span>"
MAX_OLD_LINES, MAX_NEW_LINES = 2, 9
MAP_HEIGHT = 300  # px of rows: the current one is in sight on a small screen, with the controls above it


def explorer_html(recording: Recording, step: int, module_files: Files | None = None, ask: bool = False,
                  *, note: str = "", before: str = "", history: History | None = None,
                  styled: bool = True) -> str:  # fmt: skip
    """One step of a recording as HTML: verdict, map, bytes, dmesg.

    step counts from 0. ask hides the step's outcome. note and before are lines of the controls (plain text) in the verdict.
    styled: with its <style>; a page that changes often has that once, in its own place (a browser restyles all for it).
    Errors: IndexError for a step that is not there.
    """
    history = history or History(recording, module_files)
    if not 0 <= step < len(recording):
        raise IndexError(f"step {step} of a recording with {len(recording)} steps")
    judged = None if ask else verdict(recording, step, history)
    line = verdict_html(judged, note, before) if judged else question_html(recording, step, note)
    css = style(live=True) if styled else ""
    return f'{css}<div class="kx">{line}{panes_html(history, step, ask)}</div>'


def panes_html(history: History, step: int, ask: bool = False) -> str:
    """Map, bytes, the table of stubs where there is one, and dmesg below at full width."""
    stubs, css, table, most = stubs_pane(history, step, ask), "", "", (MAX_SITES, MAX_COLUMNS)
    if stubs:
        css, table, most = " with-stubs", f'<div class="pane table">{stubs}</div>', (3, 2)
    sites = bytes_pane(history, step, ask, max_sites=most[0], max_columns=most[1], file=not stubs)
    dmesg = f'<div class="pane wide">{dmesg_pane(history.recording, step, ask)}</div>'
    return f'<div class="panes{css}">{map_pane(history, step, ask)}<div class="pane">{sites}</div>{table}{dmesg}</div>'


def map_pane(history: History, step: int, ask: bool = False) -> str:
    """The address map with its heading and legend."""
    return f'<div class="pane map"><h4>{_MAP_TITLE}</h4>{map_svg(history, step, ask, max_height=MAP_HEIGHT)}<p class="legend">{_MAP_LEGEND}</p></div>'


def error_html(message: str, styled: bool = True) -> str:
    """A message where the verdict stands, for what went wrong in the controls themselves."""
    line = f'<div class="v bad" role="alert"><strong>! </strong><span>{escape(message)}</span></div>'
    return f'{style(live=True) if styled else ""}<div class="kx">{line}</div>'


def without_trace(lines: list[str]) -> list[str]:
    """Long output of one step, cut: of a trace its first line, where it was (NIP), and what follows."""
    if len(lines) <= MAX_NEW_LINES:
        return lines
    end = next((i for i in range(len(lines) - 1, 2, -1) if lines[i].startswith("---[ end trace")), None)
    if end is None:
        half = MAX_NEW_LINES - 2
        return [*lines[:half], f"… {count(len(lines) - half - 1, 'line')}", lines[-1]]
    start = int(lines[0].startswith("------------[ cut here"))
    oops = not lines[start].startswith("WARNING")
    nip = [line for line in lines[start:end] if oops and line.startswith(("NIP [", "RIP:"))][:1]
    rest = [line for line in lines[end + 1 :] if line.strip()][:4]
    return [lines[start], *nip, f"… {count(end - start - len(nip), 'line')} of the trace", *rest]


def dmesg_pane(recording: Recording, step: int, ask: bool = False, max_old: int = MAX_OLD_LINES) -> str:
    """The kernel's lines up to now, this step's marked by ► and weight; earlier ones beyond a few are counted."""
    now, earlier = recording[step], [line for before in recording.steps[:step] for line in before.lines]
    old = [f"  {line}" for line in earlier[len(earlier) - max_old :]] if max_old else []
    if len(earlier) > max_old:
        old.insert(0, f"  … {count(len(earlier) - max_old, 'earlier line')}")
    new = ["?"] if ask else without_trace(now.lines)
    out = [] if new else ["► (no new line)"]
    if now.out and not ask:
        out += [f"  $ {line}" for line in now.out.rstrip().split("\n")[:6]]
    rows = [("old", line) for line in old] + [("cur", f"► {line}") for line in new] + [("old", line) for line in out]
    shown = "".join(f'<div class="{css}">{escape(line)}</div>' for css, line in rows)
    return f'<h4>dmesg</h4><div class="dm">{shown}</div>'


def verdict_html(judged: Verdict, note: str = "", before: str = "") -> str:
    """The verdict line: symbol, outcome, reason, and a note of the controls where there is one."""
    said = f"<strong>{judged.symbol} {escape(judged.headline)}</strong> <span>{escape(judged.because)}</span>"
    return f'<div class="v {TONE[judged.kind]}" role="status">{note_html(before)}{said}{note_html(note)}</div>'


def question_html(recording: Recording, step: int, note: str = "") -> str:
    """The question that stands in the verdict's place while the outcome is hidden."""
    said = f"Step {step + 1}: <code>{escape(recording[step].command)}</code>. Choose, then press Show."
    asks = "<strong>? What will happen?</strong>"
    return f'<div class="v ask" role="status">{asks} <span>{said}</span>{note_html(note)}</div>'


def note_html(text: str) -> str:
    return f'<span class="note">{escape(text)}</span>' if text else ""
