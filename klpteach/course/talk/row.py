"""The left of a row on stage: a step's number, its command without what does not tell modules apart, and its sign."""

from __future__ import annotations

from ...model.recording import Recording
from ...reading.history import History
from ...reading.verdict import verdict
from ...views.explorer.map import shorten
from ...views.shown import escape
from ...views.style import TONE


def command(recording: Recording, index: int, width: int = 19) -> str:
    """A command without what does not tell modules apart.

    >>> from klpteach.scenarios.simulate import simulate
    >>> command(simulate("reload"), 1)
    'insmod livepatch'
    """
    words = recording[index].command.replace("livepatch_nfsd_demo", "livepatch").replace(".ko", "")
    return shorten(words, width)


def command_cells(history: History, index: int, now: int) -> str:
    """Number, command and sign of a step; a step that is still to come has no sign."""
    judged = verdict(history.recording, index, history)
    sign = f'<td class="sign {TONE[judged.kind]}">{judged.symbol}</td>' if index <= now else '<td class="sign"></td>'
    whole, mark = escape(history.recording[index].command), "<small>◄ now</small>" if index == now else ""
    said = f"<b>{index + 1}</b> <code>{escape(command(history.recording, index))}</code>{mark}"
    return f'<th scope="row" title="{whole}">{said}</th>{sign}'
