"""The life of one relocation site: its bytes after every command, what they mean, and whom they point to."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from ...errors import RecordingError
from ...model.recording import Recording
from ...model.step import hexa
from ...reading.history import History
from ...reading.sites import State
from ...reading.steps import patch_of
from ..explorer.map import events, shorten
from ..explorer.sites import symbol_label
from ..style import BLUE, GREEN, LETTERS, MEANING, ORANGE, PURPLE, VERMILION
from .base import INK, SIZE, SOFT, Drawing, canvas

_LOOK = {
    "file": (SOFT, "#ffffff", "-"), "written": (GREEN, "#cfeae0", "-"), "kept": (BLUE, "#e3eff7", "-"),
    "stale": (VERMILION, "#f9dfcd", "--"), "cleared": (ORANGE, "#faeccb", "-"), "foreign": (PURPLE, "#f3e2ec", "--"),
}  # fmt: skip


def life(recording: Recording, site: str | None = None, history: History | None = None) -> Drawing:
    """Draw a site ("MODULE:SECTION+0xOFF"; default: the first) from command to command, time downwards.

    Errors: RecordingError where the recording has no such site.
    """
    history = history or History(recording)
    known = list(history.sites)
    if not known or (site is not None and site not in known):
        some = ", ".join(known[:4]) or "none"
        raise RecordingError(f"no site {site or ''} in this recording; there are {some} …")
    key = site or known[0]
    rows = life_rows(recording, key, history)
    figure, axes = canvas(0.9 + 0.95 * len(rows))
    width = max((len(row["bytes"]) for row in rows if row["bytes"]), default=4)
    for number, row in enumerate(rows):
        _row(axes, number, row, width)
    axes.text(0, -0.2, key, size=SIZE, family="monospace", weight="bold", va="bottom", color=INK)
    axes.text(1, -0.2, symbol_label(history, key), size=SIZE - 1, va="bottom", ha="right", color=SOFT)
    axes.set(xlim=(-0.005, 1.0), ylim=(len(rows) - 0.1, -0.45))
    return Drawing(figure, life_alt(key, rows), [{**row, "bytes": (row["bytes"] or b"").hex(" ")} for row in rows])


def life_rows(recording: Recording, key: str, history: History | None = None) -> list[dict[str, Any]]:
    """A dict a command: step, command, errno, bytes (None where not looked at), state, load, means."""
    history, rows = history or History(recording), []
    for index in events(recording):
        state, step = history.states(key)[history.observed_at(index)], recording[index]
        rows.append({"step": index + 1, "command": step.command, "errno": step.errno, "bytes": state.value,
                     "state": state.kind, "load": state.load, "means": _means(history, key, index, state)})  # fmt: skip
    return rows


def life_alt(key: str, rows: list[dict[str, Any]]) -> str:
    """The figure in words."""
    said = [f"The bytes at {key}, command by command."]
    for row in rows:
        value = f"{row['bytes'].hex(' ')}, " if row["bytes"] is not None else ""
        errno = f" fails with {row['errno']}" if row["errno"] else ""
        said.append(f"Step {row['step']}, {row['command']}{errno}: {value}{row['means']}.")
    return " ".join(said)


def _means(history: History, key: str, index: int, state: State) -> str:
    said, target = MEANING[state.kind].format(n=state.load), history.target(key)
    load = history.load(target, state.load) if target and state.load else None
    if load and load.base and state.kind in ("written", "kept", "stale"):
        said += f": {load.module} at {hexa(load.base)}"
    refused = patch_of(key) == patch_of(history.failing(index) or "")
    return f"{said}; the load is refused" if refused else said


def _row(axes: Axes, number: int, row: dict[str, Any], width: int) -> None:
    means, _, refused = row["means"].partition("; ")
    command, colour = f"{row['step']}  {shorten(row['command'], 58)}", INK
    if row["errno"]:
        command += f" → {row['errno']}{', refused' if refused else ''}".replace("-", "−")
        colour = VERMILION
    axes.text(0, number + 0.08, command, family="monospace", size=SIZE - 1, va="center", color=colour)
    cell = min(0.052, 0.42 / width)
    if row["bytes"] is None:
        axes.text(0.03, number + 0.5, LETTERS[row["state"]], size=SIZE, va="center", color=SOFT)
        axes.text(cell * width + 0.09, number + 0.5, means, size=SIZE - 1, va="center", color=SOFT)
        return
    edge, face, line = _LOOK[row["state"]]
    for place, byte in enumerate(row["bytes"]):
        axes.add_patch(Rectangle((0.03 + place * cell, number + 0.28), cell * 0.92, 0.44, facecolor=face,
                                 edgecolor=edge, linewidth=2, linestyle=line))  # fmt: skip
        x = 0.03 + (place + 0.46) * cell
        axes.text(x, number + 0.5, f"{byte:02x}", family="monospace", size=SIZE, ha="center", va="center")
    letter = LETTERS[row["state"]]
    axes.text(0.045 + width * cell, number + 0.5, letter, size=SIZE, weight="bold", va="center", color=edge)
    axes.text(cell * width + 0.09, number + 0.5, means, size=SIZE - 1, va="center", color=INK)
