"""The life of one relocation site: its bytes after every command, what they mean, and whom they point to."""

from __future__ import annotations

from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from ...errors import RecordingError
from ...model.recording import Recording
from ...model.step import hexa
from ...reading.history import History
from ...reading.steps import patch_of
from ..explorer.map import events, shorten
from ..explorer.sites import symbol_label
from ..style import BLUE, GREEN, LETTERS, MEANING, ORANGE, PURPLE, VERMILION
from .base import INK, SIZE, SOFT, Drawing, canvas

_LOOK = {
    "file": (SOFT, "#ffffff", "-"),
    "written": (GREEN, "#cfeae0", "-"),
    "kept": (BLUE, "#e3eff7", "-"),
    "stale": (VERMILION, "#f9dfcd", "--"),
    "cleared": (ORANGE, "#faeccb", "-"),
    "foreign": (PURPLE, "#f3e2ec", "--"),
}


def life(recording: Recording, site: str | None = None, history: History | None = None) -> Drawing:
    """Draw a site ("MODULE:SECTION+0xOFF"; default: the first) from command to command, time downwards.

    Errors: RecordingError where the recording has no such site.
    """
    history = history or History(recording)
    key = _chosen(history, site)
    rows = life_rows(recording, key, history)
    figure, axes = canvas(0.9 + 0.95 * len(rows))
    width = max((len(row["bytes"]) for row in rows if row["bytes"]), default=4)
    for number, row in enumerate(rows):
        _row(axes, number, row, width)
    axes.text(0, -0.2, key, size=SIZE, family="monospace", weight="bold", va="bottom", color=INK)
    axes.text(1, -0.2, symbol_label(history, key), size=SIZE - 1, va="bottom", ha="right", color=SOFT)
    axes.set_xlim(-0.005, 1.0)
    axes.set_ylim(len(rows) - 0.1, -0.45)
    return Drawing(figure, life_alt(key, rows), [{**row, "bytes": (row["bytes"] or b"").hex(" ")} for row in rows])


def life_rows(recording: Recording, key: str, history: History | None = None) -> list[dict[str, Any]]:
    """A dict a command: step, command, errno, bytes (None where not looked at), state, load, means.

    >>> from klpteach.scenarios.simulate import simulate
    >>> rows = life_rows(simulate("reload"), "livepatch_nfsd_demo:.text+0x17")
    >>> [(row["step"], row["state"]) for row in rows]
    [(1, 'absent'), (2, 'written'), (3, 'stale'), (4, 'stale')]
    """
    history = history or History(recording)
    rows = []
    for index in events(recording):
        state = history.states(key)[history.observed_at(index)]
        errno = recording[index].errno
        rows.append({"step": index + 1, "command": recording[index].command, "errno": errno, "bytes": state.value,
                     "state": state.kind, "load": state.load, "means": _means(history, key, index)})  # fmt: skip
    return rows


def life_alt(key: str, rows: list[dict[str, Any]]) -> str:
    """The figure in words."""
    said = [f"The bytes at {key}, command by command."]
    for row in rows:
        value = f"{row['bytes'].hex(' ')}, " if row["bytes"] is not None else ""
        errno = f" fails with {row['errno']}" if row["errno"] else ""
        said.append(f"Step {row['step']}, {row['command']}{errno}: {value}{row['means']}.")
    return " ".join(said)


def _chosen(history: History, site: str | None) -> str:
    known = list(history.sites)
    if not known or (site is not None and site not in known):
        some = ", ".join(known[:4]) or "none"
        raise RecordingError(f"no site {site or ''} in this recording; there are {some} …")
    return site or known[0]


def _means(history: History, key: str, index: int) -> str:
    state = history.states(key)[history.observed_at(index)]
    said = MEANING[state.kind].format(n=state.load)
    target = history.target(key)
    load = history.load(target, state.load) if target and state.load else None
    where = f": {load.module} at {hexa(load.base)}" if load and load.base and state.kind in _POINTING else ""
    if history.failing(index) and patch_of(key) == patch_of(str(history.failing(index))):
        return f"{said}{where}; the load is refused"
    return f"{said}{where}"


_POINTING = ("written", "kept", "stale")


def _row(axes: Axes, number: int, row: dict[str, Any], width: int) -> None:
    failed = bool(row["errno"])
    means, _, refused = row["means"].partition("; ")
    outcome = f" → {row['errno']}{', refused' if refused else ''}".replace("-", "−") if failed else ""
    command = f"{row['step']}  {shorten(row['command'], 58)}{outcome}"
    axes.text(
        0, number + 0.08, command, family="monospace", size=SIZE - 1, va="center", color=VERMILION if failed else INK
    )
    cell = min(0.052, 0.42 / width)
    if row["bytes"] is None:
        axes.text(0.03, number + 0.5, LETTERS[row["state"]], size=SIZE, va="center", color=SOFT)
        axes.text(cell * width + 0.09, number + 0.5, means, size=SIZE - 1, va="center", color=SOFT)
        return
    edge, face, line = _LOOK[row["state"]]
    for place, byte in enumerate(row["bytes"]):
        box = Rectangle((0.03 + place * cell, number + 0.28), cell * 0.92, 0.44, facecolor=face, edgecolor=edge,
                        linewidth=2, linestyle=line)  # fmt: skip
        axes.add_patch(box)
        axes.text(0.03 + (place + 0.46) * cell, number + 0.5, f"{byte:02x}", family="monospace", size=SIZE, ha="center", va="center")  # fmt: skip
    axes.text(
        0.045 + width * cell, number + 0.5, LETTERS[row["state"]], size=SIZE, weight="bold", va="center", color=edge
    )
    axes.text(cell * width + 0.09, number + 0.5, means, size=SIZE - 1, va="center", color=INK)
