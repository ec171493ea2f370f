"""A livepatch's table of stubs (ppc64le), a row a slot: where each led before the step, and where it leads now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from itertools import groupby

from ...reading.history import History
from ...reading.steps import count
from ...reading.stubs import Slot, StubTable
from ..style import STUB_LETTERS, STUB_MEANING
from .map import shorten

MAX_ROWS = 11


def chosen_table(history: History, step: int) -> str | None:
    """The livepatch whose table is shown: the first that this step changed, else the latest that has one."""
    there = [
        name
        for name in history.with_stubs
        if history.stubs(name, history.observed_at(step)) or _before(history, name, step)
    ]
    changed = [name for name in there if _changed(history, name, step)]
    return next(iter([*changed, *reversed(there)]), None)


def _before(history: History, name: str, step: int) -> StubTable | None:
    return history.stubs_before(name, step)


def _changed(history: History, name: str, step: int) -> bool:
    after, before = history.stubs(name, history.observed_at(step)), _before(history, name, step)
    if after is None or before is None:
        return after is not before
    return [slot.address for slot in after.slots] != [slot.address for slot in before.slots]


def stubs_pane(history: History, step: int, ask: bool = False) -> str:
    """The table before and after a step, slots past its end outside the frame; "" where there is no table."""
    name = chosen_table(history, step)
    if name is None:
        return ""
    before = _before(history, name, step)
    after = None if ask else history.stubs(name, history.observed_at(step))
    table = after or before
    if table is None:
        return ""
    pairs = list(_pairs(before, after))
    inside = [pair for pair in pairs if not _any(pair).past_end]
    behind = [pair for pair in pairs if _any(pair).past_end]
    if after and before and [*map(_seen_as, before.slots)] == [*map(_seen_as, after.slots)]:
        before = None  # nothing to set side by side
        pairs = [(None, slot) for slot in after.slots]
        inside = [pair for pair in pairs if not _any(pair).past_end]
        behind = [pair for pair in pairs if _any(pair).past_end]
    heads = ["slot", *(["before"] if before else []), *(["now"] if after else []), *(["?"] if ask else []), "used by"]
    head = "".join(f'<th scope="col">{word}</th>' for word in heads)
    rows = "".join(_rows(inside, bool(before), bool(after), ask))
    past = ""
    if behind:
        rows_behind = "".join(_row(pair, str(_any(pair).index), bool(before), bool(after), ask) for pair in behind)
        past = (
            f'<div class="past"><p>past the end: {count(40 * len(behind), "byte")} that are not the table\'s</p>'
            f"<table><tbody>{rows_behind}</tbody></table></div>"
        )
    return (
        f"<h4>{title(table)}</h4>{strip(table)}"
        f'<div class="stubs"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
        f"{past}{legend_html(pairs)}"
    )


def _seen_as(slot: Slot) -> tuple[int, str]:
    return slot.address, "kept" if slot.state == "written" else slot.state


def title(table: StubTable) -> str:
    """The table's name and how full it is."""
    past = f", {len(table.past_end)} past the end" if table.past_end else ""
    return f".stubs of {escape(shorten(table.module, 26))}: {table.used} of {table.num} slots used{past}"


def strip(table: StubTable) -> str:
    """The whole table as a row of cells, a bar at its end, in words for who cannot see it."""
    inside = [slot for slot in table.slots if not slot.past_end][-48:]
    ending = f'<span class="end">{"".join(map(_strip_cell, inside[-1:]))}<i class="bar"></i>'
    ending += f"{''.join(map(_strip_cell, table.past_end))}</span>"
    cells = "".join(map(_strip_cell, inside[:-1])) + ending
    return f'<div class="strip" role="img" aria-label="{escape(in_words(table))}">{cells}</div>'


def _strip_cell(slot: Slot) -> str:
    return f'<b class="s-{slot.state}">{STUB_LETTERS[slot.state]}</b>'


def in_words(table: StubTable) -> str:
    """The table in a sentence, for alternative text."""
    kinds = {state: sum(slot.state == state for slot in table.slots) for state in STUB_MEANING}
    told = ", ".join(f"{number} {_WORDS[state]}" for state, number in kinds.items() if number)
    past = f"; {count(len(table.past_end), 'stub')} past the end" if table.past_end else ""
    return f"Stub table of {table.module}, {table.num} slots: {told}{past}."


_WORDS = {"kernel": "to the kernel", "written": "new", "kept": "good", "stale": "stale", "free": "free"}


def _pairs(before: StubTable | None, after: StubTable | None) -> Iterator[tuple[Slot | None, Slot | None]]:
    old = {slot.index: slot for slot in before.slots} if before else {}
    new = {slot.index: slot for slot in after.slots} if after else {}
    for index in sorted({*old, *new}):
        yield old.get(index), new.get(index)


def _any(pair: tuple[Slot | None, Slot | None]) -> Slot:
    found = pair[1] or pair[0]
    assert found is not None
    return found


def _fold_key(pair: tuple[Slot | None, Slot | None]) -> object:
    """Neighbours with the same key share a row: the kernel's own stubs, and free slots."""
    states = tuple(slot.state if slot else "free" for slot in pair)
    return states if set(states) in ({"kernel"}, {"free"}, {"free", "kernel"}) else _any(pair).index


def _rows(pairs: Sequence[tuple[Slot | None, Slot | None]], old: bool, new: bool, ask: bool) -> Iterator[str]:
    groups = [list(group) for _, group in groupby(pairs, _fold_key)]
    if len(groups) > MAX_ROWS:  # the middle of a long table is counted, its ends are shown
        keep = MAX_ROWS // 2
        left_out = sum(map(len, groups[1 : len(groups) - keep]))
        groups = [groups[0], [], *groups[len(groups) - keep :]]
    for group in groups:
        if not group:
            yield f'<tr><td colspan="4" class="fold">… {count(left_out, "slot")} not shown</td></tr>'
            continue
        first, last = _any(group[0]).index, _any(group[-1]).index
        yield _row(group[0], f"{first}–{last}" if last > first else str(first), old, new, ask, [_any(p) for p in group])


def _row(
    pair: tuple[Slot | None, Slot | None], number: str, old: bool, new: bool, ask: bool, group: Sequence[Slot] = ()
) -> str:
    cells = ""
    if old:
        cells += _short(pair[0], pair[1]) if new else _cell(pair[0], group)
    if new:
        cells += _cell(pair[1], group)
    if ask:
        cells += '<td class="s-unknown">?</td>'
    calls = [call.partition(":")[2] for call in _any(pair).calls]
    used = f"{shorten(calls[0], 16)}{f' +{len(calls) - 1}' if len(calls) > 1 else ''}" if calls else ""
    told = f' title="{escape(", ".join(calls))}"' if len(calls) > 1 else ""
    return f'<tr><th scope="row">{number}</th>{cells}<td class="calls"{told}>{escape(used)}</td></tr>'


def _short(slot: Slot | None, now: Slot | None) -> str:
    """What a slot was before, in a word or two, since the whole stands beside it."""
    if slot is None or not slot.address:
        return '<td class="s-free">free</td>'
    if now and _seen_as(slot) == _seen_as(now):
        return '<td class="s-same">same</td>'
    return f'<td class="s-{slot.state}">load {slot.load or "?"}<i>{_letter(slot)}</i></td>'


def _letter(slot: Slot) -> str:
    return STUB_LETTERS[slot.state] + (str(slot.load) if slot.state == "stale" and slot.load else "")


def _cell(slot: Slot | None, group: Sequence[Slot]) -> str:
    if slot is None or slot.state == "free":
        return f'<td class="s-free">free<i>{STUB_LETTERS["free"]}</i></td>'
    if slot.state == "kernel":
        names = shorten(", ".join(one.function for one in group) or slot.function, 25)
        return f'<td class="s-kernel" title="{escape(", ".join(one.function for one in group))}">{escape(names)}</td>'
    load = f", load {slot.load}" if slot.load else ""
    danger = bool(slot.there_now and slot.calls)  # a call would end up in another module
    now = f"<br><small>{escape(shorten(slot.there_now, 16))} is there now</small>" if danger else ""
    name = escape(shorten(slot.function, 20))
    return f'<td class="s-{slot.state}"><code>{name}</code>{load}<i>{_letter(slot)}</i>{now}</td>'


def legend_html(pairs: Sequence[tuple[Slot | None, Slot | None]]) -> str:
    """What the letters mean, of the states that are in sight."""
    used = {slot.state for pair in pairs for slot in pair if slot}
    words = " &nbsp; ".join(
        f"<b>{STUB_LETTERS[state]}{'n' if state == 'stale' else ''}</b> {meaning}"
        for state, meaning in STUB_MEANING.items()
        if state in used
    )
    return f'<p style="margin:4px 0 0"><small>{words}</small></p>'
