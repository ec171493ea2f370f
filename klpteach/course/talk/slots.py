"""A livepatch's table of stubs that runs out, as a room sees it: a row a step, a column a slot, a bar where the table ends."""

from __future__ import annotations

from ...reading.history import History
from ...reading.stubs import Slot, StubTable
from ...reading.verdict import verdict
from ...views.explorer.map import shorten
from ...views.explorer.stubs import in_words
from ...views.shown import escape
from ...views.style import STUB_LETTERS, STUB_MEANING, TONE
from .row import command_cells

ROOM, THICK, THIN = 520, 74, 38  # px for the rows, and of a row with cells and one without


def runs_out(history: History) -> bool:
    """Whether the story is about the table itself: loads take slot after slot, and the module moves more than once.

    >>> from klpteach.scenarios.simulate import simulate
    >>> told = [simulate("reload", "6.1", arch="ppc64le"), simulate("moved", "6.12", arch="ppc64le")]
    >>> [runs_out(History(one)) for one in told]
    [False, True]
    """
    return bool(history.arch.restore_r2 and history.with_stubs) and len(history.recording) > 8


def slots_table(history: History, step: int) -> str:
    """The table after each step. A step that left it as it was has one thin line that says what happened."""
    name = history.with_stubs[0]
    tables = [history.stubs(name, history.observed_at(i)) for i in range(len(history.recording))]
    shown = _in_sight(tables, step)
    full = max((table for table in tables if table), key=lambda table: len(table.slots))
    kernels = sum(slot.state == "kernel" for slot in full.slots)
    num, past = full.num, len(full.past_end)
    own = f'<th scope="col" colspan="{kernels}">0–{kernels - 1}<small>kernel’s own</small></th>' if kernels else ""
    heads = own + "".join(f'<th scope="col">{number}</th>' for number in range(kernels, num))
    heads += '<th class="end"></th>' + ('<th scope="col" class="bad">past the end</th>' if past else "")
    body = "".join(_row(history, tables, index, step, (num, past)) for index in shown)
    widths = ["cmd", "sig", *["k"] * kernels, *["slot"] * (num - kernels), "bar", *["past"] * bool(past), "used"]
    columns = f"<colgroup>{''.join(f'<col class={css}>' for css in widths)}</colgroup>"
    head = f'{columns}<thead><tr><td colspan="2"></td>{heads}<th scope="col" class="used">used</th></tr></thead>'
    used = {slot.state for i in shown if i <= step and (table := tables[i]) for slot in table.slots}
    signs = STUB_LETTERS | {"stale": "S1", "written": "w1"}
    legend = "".join(f"<span><b>{signs[state]}</b> {words}</span>" for state, words in STUB_MEANING.items() if state in used and state != "free")  # fmt: skip
    return f'<table class="sg-t sg-slots">{head}{body}</table><div class="sg-legend">{legend}</div>'


def _in_sight(tables: list[StubTable | None], step: int) -> list[int]:
    """The latest rows up to now that there is room for; then those to come, as far as it goes."""
    thick = [i == step or (i < step and changed(tables, i)) for i in range(len(tables))]
    heights = [THICK if one else THIN for one in thick]
    shown, left = [step], ROOM - heights[step]
    for index in (*range(step - 1, -1, -1), *range(step + 1, len(tables))):
        if heights[index] > left:
            if index > step:
                break
            continue
        if index < step and index + 1 not in shown:
            continue
        shown, left = sorted([*shown, index]), left - heights[index]
    return shown


def changed(tables: list[StubTable | None], index: int) -> bool:
    """Whether a step took a slot or let one go stale."""
    before, after = tables[index - 1] if index else None, tables[index]
    return after is not None and (before is None or [*map(_leads, before.slots)] != [*map(_leads, after.slots)])


def _leads(slot: Slot) -> tuple[object, ...]:
    return slot.address, slot.load, "kept" if slot.state == "written" else slot.state


def _row(history: History, tables: list[StubTable | None], index: int, step: int, size: tuple[int, int]) -> str:
    table, (num, past), cells = tables[index], size, command_cells(history, index, step)
    css = "now" if index == step else "later" if index > step else "past"
    wide = num + 1 + bool(past)
    if index > step or table is None or not (changed(tables, index) or index == step):
        judged = verdict(history.recording, index, history)
        said = judged.because.partition(". ")[0] if judged.symbol == "✓" else judged.headline
        said = escape(said) if index <= step else ""
        return f'<tbody class="{css} thin"><tr>{cells}<td class="{TONE[judged.kind]}" colspan="{wide}">{said}</td><td></td></tr></tbody>'
    inside = "".join(_slot(slot) for slot in table.slots if not slot.past_end)
    behind = "".join(_slot(slot) for slot in table.past_end) or ("<td></td>" if past else "")
    more = f"<br>+ {len(table.past_end)} past" if table.past_end else ""
    tone = " bad" if table.used >= table.num else ""
    used = f'<td class="used{tone}">{table.used} of {table.num}{more}</td>'
    end = f'<td class="end" role="img" aria-label="{escape(in_words(table))}"></td>'
    return f'<tbody class="{css}"><tr>{cells}{inside}{end}{behind}{used}</tr></tbody>'


def _slot(slot: Slot) -> str:
    if slot.state == "kernel":
        return f'<td class="b s-kernel" title="{escape(slot.function)}">K</td>'
    if slot.state == "free":
        return '<td class="b s-file">free</td>'
    state = {"kept": "kept", "written": "written"}.get(slot.state, "stale")
    sign = STUB_LETTERS[slot.state] + str(slot.load or "")
    return f'<td class="b s-{state}">{escape(shorten(slot.function.removeprefix("demo_"), 7))}<i>{sign}</i></td>'
