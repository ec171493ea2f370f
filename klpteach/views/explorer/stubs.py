"""A livepatch's table of stubs (of GOT and PLT on s390x), a row a slot: where each led before the step, and where it leads now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from ...reading.history import History
from ...reading.steps import count
from ...reading.stubs import Slot, StubTable
from ..shown import escape
from ..style import STUB_LETTERS, STUB_MEANING
from .map import shorten

MAX_ROWS = 11
_WORDS = {"kernel": "to the kernel", "written": "new", "kept": "good", "stale": "stale", "free": "free"}


class _Pair(NamedTuple):
    """One slot before the step and after it; `slot` is what is known of it last."""

    slot: Slot
    before: Slot | None
    now: Slot | None


_Columns = tuple[bool, bool, bool]  # whether a table has a column for before, for now, and for a question mark


def chosen_table(history: History, step: int) -> str | None:
    """The livepatch whose table is shown: the first that this step changed, else the latest that has one."""
    seen, names = history.observed_at(step), history.with_stubs
    tables = {name: (history.stubs_before(name, step), history.stubs(name, seen)) for name in names}
    changed = [name for name, (before, after) in tables.items() if _addresses(before) != _addresses(after)]
    there = [name for name, found in tables.items() if any(found)]
    return next(iter([*changed, *reversed(there)]), None)


def table_at(history: History, step: int, ask: bool = False) -> StubTable | None:
    """The chosen table after a step; as it was before where nobody has it after, or while the outcome is asked for."""
    name = chosen_table(history, step)
    if name is None:
        return None
    after = None if ask else history.stubs(name, history.observed_at(step))
    return after or history.stubs_before(name, step)


def _addresses(table: StubTable | None) -> list[int] | None:
    return [slot.address for slot in table.slots] if table else None


def stubs_pane(history: History, step: int, ask: bool = False) -> str:
    """The table before and after a step, slots past its end outside the frame; "" where there is no table."""
    table = table_at(history, step, ask)
    if table is None:
        return ""
    before = history.stubs_before(table.module, step)
    after = None if table is before else table
    if before and after and [*map(_leads, before.slots)] == [*map(_leads, after.slots)]:
        before = None  # nothing to set side by side
    old, new = ({slot.index: slot for slot in one.slots} if one else {} for one in (before, after))
    pairs = [_Pair((old | new)[index], old.get(index), new.get(index)) for index in sorted(old | new)]
    columns = (bool(before), bool(after), ask)
    titles = [title for title, shown in zip(("before", "now", "?"), columns, strict=True) if shown]
    head = "".join(f'<th scope="col">{word}</th>' for word in ("slot", *titles, "used by"))
    rows = "".join(_rows([pair for pair in pairs if not pair.slot.past_end], columns))
    past, behind = "", [_row([pair], columns) for pair in pairs if pair.slot.past_end]
    if behind:
        size = count(history.arch.stub_size * len(behind), "byte")
        past = f"<p>past the end: {size} that are not the table's</p><table><tbody>{''.join(behind)}</tbody></table>"
        past = f'<div class="past">{past}</div>'
    inside = f'<div class="stubs"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    used = {slot.state for pair in pairs for slot in pair[1:] if slot}
    signs = STUB_LETTERS | {"stale": STUB_LETTERS["stale"] + "n"}
    words = [
        f"<span><b>{signs[state]}</b> {meaning}</span>" for state, meaning in STUB_MEANING.items() if state in used
    ]
    legend = f'<p class="legend">{"".join(words)}</p>'
    return f"<h4>{title(table)}</h4>{strip(table)}{inside}{past}{legend}"


def _leads(slot: Slot) -> tuple[int, str]:
    """Where a slot leads and in which state; one that was written a step ago is the same as one that is kept."""
    return slot.address, "kept" if slot.state == "written" else slot.state


def title(table: StubTable) -> str:
    """The table's name and how full it is."""
    past = f", {len(table.past_end)} past the end" if table.past_end else ""
    return f"{table.section} of {escape(shorten(table.module, 26))}: {table.used} of {table.num} slots used{past}"


def strip(table: StubTable) -> str:
    """The whole table as a row of cells, a bar at its end, in words for who cannot see it."""
    cells = [f'<b class="s-{slot.state}">{STUB_LETTERS[slot.state]}</b>' for slot in table.slots]
    inside = len(cells) - len(table.past_end)
    shown, past = cells[:inside][-48:], "".join(cells[inside:])
    # the last cell, the bar and what is past it do not part at a line's end
    ending = f'<span class="end">{"".join(shown[-1:])}<i class="bar"></i>{past}</span>'
    label = escape(in_words(table))
    return f'<div class="strip" role="img" aria-label="{label}">{"".join(shown[:-1])}{ending}</div>'


def in_words(table: StubTable) -> str:
    """The table in a sentence, for alternative text."""
    kinds = {state: sum(slot.state == state for slot in table.slots) for state in STUB_MEANING}
    said = ", ".join(f"{number} {_WORDS[state]}" for state, number in kinds.items() if number)
    past = f"; {count(len(table.past_end), 'stub')} past the end" if table.past_end else ""
    return f"Stub table of {table.module}, {table.num} slots: {said}{past}."


def _fold_key(pair: _Pair) -> object:
    """Neighbours with the same key share a row: the kernel's own stubs, and free slots."""
    states = tuple(slot.state if slot else "free" for slot in pair[1:])
    return states if set(states) <= {"kernel", "free"} else pair.slot.index


def _rows(pairs: Sequence[_Pair], columns: _Columns) -> Iterator[str]:
    groups = [list(group) for _, group in groupby(pairs, _fold_key)]
    # The middle of a long table is counted, its ends are shown.
    middle = groups[1 : len(groups) - MAX_ROWS // 2] if len(groups) > MAX_ROWS else []
    yield from (_row(group, columns) for group in groups[:1])
    if middle:
        yield f'<tr><td colspan="4" class="fold">… {count(sum(map(len, middle)), "slot")} not shown</td></tr>'
    yield from (_row(group, columns) for group in groups[1 + len(middle) :])


def _row(group: Sequence[_Pair], columns: _Columns) -> str:
    """A slot, or several that are folded into one row."""
    (slot, before, now), last = group[0], group[-1].slot.index
    functions = ", ".join(pair.slot.function for pair in group)
    show_before, show_now, ask = columns
    cells = _cell(now, functions) if show_now else ""
    if show_before:
        cells = (_short(before, now) if show_now else _cell(before, functions)) + cells
    if ask:
        cells += '<td class="s-unknown">?</td>'
    calls = [call.partition(":")[2] for call in slot.calls]
    used, every = shorten(calls[0], 16) if calls else "", ""
    if len(calls) > 1:
        used, every = f"{used} +{len(calls) - 1}", f' title="{escape(", ".join(calls))}"'
    number = f"{slot.table} {slot.index}–{last}" if last > slot.index else f"{slot.table} {last}"
    return f'<tr><th scope="row">{number.strip()}</th>{cells}<td class="calls"{every}>{escape(used)}</td></tr>'


def _short(slot: Slot | None, now: Slot | None) -> str:
    """What a slot was before, in a word or two, since the whole stands beside it."""
    if slot is None or not slot.address:
        return '<td class="s-free">free</td>'
    if now and _leads(slot) == _leads(now):
        return '<td class="s-same">same</td>'
    return f'<td class="s-{slot.state}">load {slot.load or "?"}<i>{_letter(slot)}</i></td>'


def _letter(slot: Slot) -> str:
    return STUB_LETTERS[slot.state] + (str(slot.load) if slot.state == "stale" and slot.load else "")


def _cell(slot: Slot | None, functions: str) -> str:
    if slot is None or slot.state == "free":
        return f'<td class="s-free">free<i>{STUB_LETTERS["free"]}</i></td>'
    if slot.state == "kernel":
        return f'<td class="s-kernel" title="{escape(functions)}">{escape(shorten(functions, 25))}</td>'
    load, name, now = f", load {slot.load}" if slot.load else "", escape(shorten(slot.function, 20)), ""
    if slot.there_now and slot.calls:  # a call would end up in another module
        now = f"<br><small>{escape(shorten(slot.there_now, 16))} is there now</small>"
    return f'<td class="s-{slot.state}"><code>{name}</code>{load}<i>{_letter(slot)}</i>{now}</td>'
