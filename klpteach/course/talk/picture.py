"""The explorer's step as a room sees it: the verdict, a row a step with modules and bytes, and the kernel's last lines.

Every step of the story has its row from the beginning, so nothing moves while the talk goes on; what has not happened yet is
a command only. The sites that are followed stay the same ones, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ...model.recording import Recording
from ...model.step import hexa
from ...reading.calls import is_call, words_of
from ...reading.history import History
from ...reading.sites import State
from ...reading.steps import nop_line
from ...reading.verdict import verdict
from ...views.explorer.instructions import short
from ...views.explorer.map import shorten
from ...views.explorer.panes import without_trace
from ...views.explorer.sites import chosen_sites, legend, letter, symbol_label
from ...views.shown import escape
from ...views.style import TONE
from .modules import Modules
from .row import command_cells
from .slots import runs_out, slots_table

SITES, LINES, ROWS = 3, 3, 6
NOP_BYTES = "00 00 00 60"


def picture_html(history: History, step: int, note: str = "") -> str:
    """One step of a story, for a screen of 1920 by 1080 px that is scaled as a whole. step counts from 0.

    note: a line of the controls, plain text.
    """
    table = slots_table(history, step) if runs_out(history) else rows_table(history, step)
    return f'<div class="sg">{verdict_html(history, step, note)}{table}{log_html(history.recording, step)}</div>'


def verdict_html(history: History, step: int, note: str = "") -> str:
    """The outcome in large letters, and why."""
    judged = verdict(history.recording, step, history)
    said = f"<strong>{judged.symbol} {escape(judged.headline)}</strong><span>{escape(judged.because)}</span>"
    said += f"<em>{escape(note)}</em>" if note else ""
    return f'<div class="sg-v {TONE[judged.kind]}">{said}</div>'


def log_html(recording: Recording, step: int, most: int = LINES) -> str:
    """The last lines of the kernel's log that this step wrote; how many it left out is said."""
    lines = [line for line in without_trace(recording[step].lines) if not line.startswith(("… ", "---"))]
    warned = lines[:1] if len(lines) > most and lines[0].startswith(("WARNING", "BUG", "Oops")) else []
    shown = [*warned, *lines[len(lines) - most + len(warned) :]] if len(lines) > most else lines
    rows = "".join(f"<div>► {escape(line)}</div>" for line in shown) or "<div>► (no new line)</div>"
    return f'<div class="sg-log" aria-label="kernel log">{rows}</div>'


def in_sight(history: History, step: int, rows: int = ROWS) -> list[int]:
    """The steps that have a row: all, or as many about the current one."""
    count = len(history.recording)
    first = max(0, min(step - rows + 2, count - rows))
    return list(range(first, min(first + rows, count)))


def followed(history: History, limit: int = SITES) -> list[str]:
    """The sites that have a column through the whole story: first the one that makes a load fail, and none of eight bytes."""
    failing = [key for key in map(history.failing, range(len(history.recording))) if key]
    keys = dict.fromkeys([*failing[:1], *chosen_sites(history, len(history.recording) - 1, 8)])
    fit = [key for key in keys if is_call(history, key) or _width(history, key) <= 4]
    return fit[: limit - any(is_call(history, key) for key in fit[:1])]  # a call is wider: it says its instructions


def _width(history: History, key: str) -> int:
    return max((len(state.value) for state in history.states(key) if state.value), default=0)


def rows_table(history: History, step: int) -> str:
    """Modules and bytes, a row a step; where a load fails, what the kernel finds, would write and accepts."""
    keys, rows = followed(history), in_sight(history, step)
    modules, used, body = Modules(history, rows), set[str](), ""
    for index in rows:
        cells = command_cells(history, index, step)
        if index > step:
            body += f'<tbody class="later"><tr>{cells}<td colspan="{1 + len(keys)}"></td></tr></tbody>'
            continue
        states = [state_at(history, key, index) for key in keys]
        used |= {state.kind for state in states}
        cells += f'<td class="mods">{modules.row(index, index == step)}</td>'
        cells += "".join(
            byte_cell(history, key, one, not n) for n, (key, one) in enumerate(zip(keys, states, strict=True))
        )
        asked = "".join(_question(history, keys, step)) if index == step else ""
        body += f'<tbody class="{"now" if index == step else "past"}"><tr>{cells}</tr>{asked}</tbody>'
    heads = "".join(_site_head(history, key) for key in keys)
    head = f'<thead><tr><td colspan="2"></td><th scope="col" class="mods">{modules.head()}</th>{heads}</tr></thead>'
    return f'<table class="sg-t">{head}{body}</table>{legend_html(used)}'


def _site_head(history: History, key: str) -> str:
    label, place = symbol_label(history, key).partition("→")[2], key.partition(":")[2]
    return f'<th scope="col"><code>{escape(shorten(place, 16))}</code><small>→{escape(shorten(label, 15))}</small></th>'


def state_at(history: History, key: str, index: int) -> State:
    """A site's bytes after a step; before its livepatch is there, those of the file."""
    state = history.states(key)[history.observed_at(index)]
    if state.kind != "absent":
        return state
    in_file = history.file_bytes(key, 8 if is_call(history, key) else None)
    return State("file", in_file) if in_file else state


def byte_cell(history: History, key: str, state: State, large: bool) -> str:
    """The bytes of one site at one time, and the letter of their state."""
    if state.value is None:
        return f'<td class="b s-{state.kind}">{letter(state)}</td>'
    words = [state.value]
    if is_call(history, key):
        words = [state.value[:4], state.value[4:8]]
    said = [f"{word.hex(' ')}{_name_of(history, key, word) if large else ''}" for word in words if word]
    size = "" if large else " few"
    return f'<td class="b s-{state.kind}{size}"><div><code>{"<br>".join(said)}</code><i>{letter(state)}</i></div></td>'


def _name_of(history: History, key: str, word: bytes) -> str:
    """What an instruction is, beside its bytes."""
    if not is_call(history, key):
        return ""
    return f" <em>{escape(short(words_of(word)[0], history.arch.name))}</em>"


def _question(history: History, keys: Sequence[str], step: int) -> Iterator[str]:
    """Two rows below a load that failed for the first site: what would be written, what the kernel takes, and so."""
    key = history.failing(step)
    if not keys or key != keys[0]:
        return
    seen, rest = history.observed_at(step), max(len(keys) - 1, 1)
    value = history.states(key)[seen].value or b""
    if nop_line(history.recording[step]):
        found, said = "the word after the call", "its own word, from load 1"
        rows = ((found, value[4:8].hex(" "), "s-stale", said), ("wants a nop", NOP_BYTES, "s-file", ""))
        left = ""
    else:
        sum_ = history.sum_at(key, seen)
        if sum_ is None:
            return
        same = "the very same bytes it finds" if value == sum_.stored else "other bytes than it finds"
        rows = (("would write", sum_.stored.hex(" "), "s-would", same), ("accepts only", bytes(len(sum_.stored)).hex(" "), "s-file", ""))  # fmt: skip
        minus = f"<br>&nbsp; − {hexa(sum_.P)}" if sum_.relative else ""
        what = "S + A − P" if sum_.relative else "S + A"
        sign = "−" if sum_.A < 0 else "+"
        left = f"{what}<br>= {hexa(sum_.S)} {sign} {abs(sum_.A)}{minus}<br>= 0x{sum_.value:0{2 * len(sum_.stored)}x}"
    for number, (words, bytes_, css, why) in enumerate(rows):
        first = f'<td colspan="2" rowspan="2" class="sum"><code>{left}</code></td>' if not number else ""
        so = why if not number else '<strong class="bad">→ refuses</strong>'
        yield f'<tr>{first}<td class="q">{words}</td><td class="b {css}"><code>{bytes_}</code></td><td class="so" colspan="{rest}">{so}</td></tr>'


def legend_html(kinds: set[str]) -> str:
    """The letters in use; a sign and its meaning stay on one line."""
    said = "".join(f"<span><b>{sign}</b> {meaning}</span>" for sign, meaning in legend(kinds))
    return f'<div class="sg-legend">{said}</div>'
