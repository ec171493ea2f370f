"""Two kernels side by side at the same step of the same story: the explorer's compare view, as strings."""

from __future__ import annotations

from ...model.policy import PROPOSALS
from ...model.recording import Recording
from ...reading.history import History
from ...reading.verdict import verdict
from ..shown import escape
from ..style import style
from .map_svg import map_svg, two_maps
from .panes import dmesg_pane, note_html, question_html, verdict_html
from .sites import bytes_pane, chosen_sites, columns, symbol_label
from .stubs import strip, table_at, title

MAP_HEIGHT, SITES, COLUMNS = 190, 2, 2


def compare_html(left: History, right: History, step: int, ask: bool = False,
                 *, note: str = "", before: str = "", styled: bool = True) -> str:  # fmt: skip
    """One step of two recordings of the same story as HTML. A recording that ended earlier (an oops) shows its last step.

    step counts from 0. Errors: IndexError for a step that neither has.
    """
    if not 0 <= step < max(len(left.recording), len(right.recording)):
        raise IndexError(f"step {step} of recordings with {len(left.recording)} and {len(right.recording)} steps")
    same = _same(left, right, step, ask)
    head = f'<div class="same" role="status">{note_html(before)}{same}{note_html(note)}</div>'
    both = (left, right)
    at = tuple(min(step, len(history.recording) - 1) for history in both)
    maps = two_maps(left, right, (at[0], at[1]), ask, max_height=MAP_HEIGHT)
    tables = _same_tables(left, right, (at[0], at[1]))
    sides = "".join(
        f'<div class="side">{_side(history, step, ask, drawn, table)}</div>'
        for history, drawn, table in zip(both, maps, tables, strict=True)
    )
    css = style(live=True) if styled else ""
    return f'{css}<div class="kx">{head}<div class="sides">{sides}</div></div>'


def kernel_label(recording: Recording) -> str:
    """Which kernel a recording is of, in a few words.

    >>> from klpteach.scenarios.simulate import simulate
    >>> kernel_label(simulate("reload")), kernel_label(simulate("reload", "6.12", ["deny-removal"]))
    ('6.1 as it is', '6.12 + deny removal')
    """
    labels = [PROPOSALS[name].label if name in PROPOSALS else name for name in recording.proposals]
    variant = recording.kernel.get("variant", "stock")
    labels += [variant] if variant not in ("stock", "model") else []
    return " + ".join([recording.release, *labels]) if labels else f"{recording.release} as it is"


def outcome(history: History, step: int) -> tuple[str, str]:
    """Kind and headline of a step's verdict, of the last step where the recording ended before."""
    judged = verdict(history.recording, min(step, len(history.recording) - 1), history)
    return judged.kind, judged.headline


def _same(left: History, right: History, step: int, ask: bool) -> str:
    steps = max(left.recording, right.recording, key=len)
    where = f"Step {step + 1} of {len(steps)}: <code>{escape(steps[step].command)}</code>."
    if ask:
        return f"<b>? What will happen on each?</b> {where} Choose for the left one, then press Show."
    if step >= min(len(left.recording), len(right.recording)):
        return f"<b>≠ One kernel is gone.</b> {where}"
    same = outcome(left, step) == outcome(right, step)
    return f"<b>{'= The same outcome.' if same else '≠ Different outcomes.'}</b> {where}"


def _same_tables(left: History, right: History, at: tuple[int, int]) -> list[tuple[list[str], list[int]]]:
    """Sites and columns of both tables: the same relocations, by type and symbol, at the same steps."""
    shown = sorted({*columns(left, at[0], COLUMNS), *columns(right, at[1], COLUMNS)})[-COLUMNS:]
    mine, other = chosen_sites(left, at[0], SITES), chosen_sites(right, at[1], SITES)
    labels = [symbol_label(left, key) for key in mine] or [symbol_label(right, key) for key in other]
    found = []
    for history, step in zip((left, right), at, strict=True):
        named = {symbol_label(history, key): key for key in reversed(list(history.sites))}
        found.append(([named[label] for label in labels if label in named], [i for i in shown if i <= step] or [step]))
    return found


def _side(history: History, step: int, ask: bool, drawn: str, table: tuple[list[str], list[int]]) -> str:
    at = min(step, len(history.recording) - 1)
    ended = f" (ended at step {at + 1})" if step > at else ""
    label = f"<h3>{escape(kernel_label(history.recording))}{ended}</h3>"
    return label + side_html(history, at, ask, drawn=drawn, table=table)


def side_html(history: History, at: int, ask: bool = False, *, drawn: str = "",
              table: tuple[list[str], list[int]] | None = None) -> str:  # fmt: skip
    """What stands below a kernel's name: verdict, map, bytes and dmesg of a step, in half the width.

    drawn: its map, and table: sites and steps of its bytes, where both are those of the other kernel, too.
    """
    recording, slots = history.recording, table_at(history, at, ask)
    stubs = f"<h4>{title(slots)}</h4>{strip(slots)}" if slots else ""  # the table as one row of cells
    sites = bytes_pane(history, at, ask, max_sites=SITES, max_columns=COLUMNS, file=False, how=not stubs,
                       rows=table[0] if table else None, steps=table[1] if table else None)  # fmt: skip
    line = question_html(recording, at) if ask else verdict_html(verdict(recording, at, history))
    return (
        f'{line}<div class="pane map">{drawn or map_svg(history, at, ask, max_height=MAP_HEIGHT, least=1)}</div>'
        f'<div class="pane">{stubs}{sites}</div>'
        f'<div class="pane wide">{dmesg_pane(recording, at, ask, max_old=0)}</div>'
    )
