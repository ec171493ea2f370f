"""What became of the stubs in a step, as sentences (ppc64le)."""

from __future__ import annotations

from .calls import NOP, RESTORE_R2, call_at
from .history import History
from .steps import nop_line
from .stubs import StubTable
from .words import count, errno_words


def used_up(history: History, step: int) -> int:
    """How many slots, the ones past the end among them, the step took."""
    return sum(
        _taken(after) - _taken(before)
        for name in history.with_stubs
        if (after := history.stubs(name, history.seen(step))) and (before := history.stubs_before(name, step))
    )


def _taken(table: StubTable) -> int:
    return table.used + len(table.past_end)


def _stale(table: StubTable) -> int:
    """Stale stubs inside the table."""
    return sum(not slot.past_end for slot in table.stale)


def new_past_end(history: History, step: int) -> list[StubTable]:
    """The tables behind whose end this step wrote a stub."""
    found = []
    for name in history.with_stubs:
        after, before = history.stubs(name, history.seen(step)), history.stubs_before(name, step)
        if after and len(after.past_end) > (len(before.past_end) if before else 0):
            found.append(after)
    return found


def after_load(history: History, step: int, patches: set[str]) -> str:
    """After a load that worked: how many stubs it took, and how full the tables of these livepatches are; "" elsewhere."""
    said = []
    for name in sorted(patches):
        table, before = history.stubs(name, history.seen(step)), history.stubs_before(name, step)
        if table is None:
            continue
        new = _taken(table) - _taken(before) if before else 0
        took = f"It took {count(new, 'new stub')}" if new else "It took no new stub"
        stale = f", {_stale(table)} of them stale" if table.stale else ""
        said.append(f"{took}: {table.used} of {table.num} slots used{stale}.")
    return " ".join(said)


def overrun(tables: list[StubTable]) -> str:
    """After a stub was written past the end: what that means."""
    table = tables[0]
    many = count(len(table.past_end), "stub")
    return (
        f"All {count(table.num, 'slot')} of {table.module} were taken, and stub_for_addr() looks at the bound only while "
        f"it searches: {many} {'was' if len(table.past_end) == 1 else 'were'} written behind the table."
    )


def no_slot(history: History, step: int) -> str:
    """Why stub_for_addr() warned and gave up."""
    full = [t for name in history.with_stubs if (t := history.stubs(name, history.seen(step))) and t.used >= t.num]
    if not full:
        return f"stub_for_addr() found no free slot in .stubs, warned, and the load ends with {errno_words(-2)}."
    table = full[0]
    past = f", and {count(len(table.past_end), 'stub')} stands past the end" if table.past_end else ""
    return (
        f"No slot is left for a new call: {table.used} of {table.num} in {table.module} are taken, {_stale(table)} of "
        f"them by stubs to loads that are gone{past}. No slot is ever given back."
    )


def in_the_search(history: History, step: int) -> bool:
    """Whether an oops came out of the search for a free slot: the trace says so, or a table was full."""
    if history.recording.arch != "ppc64le" or not history.recording[step].command.startswith(("insmod", "modprobe")):
        return False
    if any("stub_for_addr" in line for line in history.recording[step].lines):
        return True
    tables = [history.stubs_before(name, step) for name in history.with_stubs]
    return any(table is not None and table.used >= table.num for table in tables)


def no_nop(history: History, step: int) -> str:
    """Why restore_r2() refused: which word it found after which call, and where that is from. "" without its line."""
    said, key = nop_line(history.recording[step]), history.failing(step)
    if said is None:
        return ""
    place = f" at {key.partition(':')[2]}" if key else ""
    if said.got != RESTORE_R2:
        return (
            f"After the call{place} stands {said.got:08x}, not nop ({NOP:08x}): there is no place to restore r2. "
            "Only a nop may be written over."
        )
    state = history.last_look(key, step) if key else None
    load = f" for load {state.load}" if state and state.load else ""
    return f"After the call{place} the kernel wants a nop. It finds ld r2,24(r1), which it wrote itself{load}."


def wasted(history: History, step: int) -> str:
    """That a refused load took slots all the same; "" where it did not."""
    tables = [t for name in history.with_stubs if (t := history.stubs(name, history.seen(step)))]
    new = used_up(history, step)
    if not new or not tables:
        return ""
    slots = "one more slot" if new == 1 else f"{new} more slots"
    if new_past_end(history, step):
        return f"Nothing of .stubs is undone: the table was full, and the failed attempt wrote {slots} past its end."
    return (
        f"Nothing of .stubs is undone: the failed attempt took {slots}, {tables[0].used} of {tables[0].num} are used."
    )


def goes_to(history: History, key: str, step: int) -> str:
    """Where the branch at a site leads, in words: the stub, its function, and the load that it is from."""
    call = call_at(history, key, step)
    if call is None:
        return ""
    if call.slot is None:
        return "the start of the section" if call.words[0] & 0x03FFFFFC == 0 else ""
    table = history.stubs(key.partition(":")[0], step)
    slot = next((slot for slot in table.slots if slot.index == call.slot), None) if table else None
    if slot is None or not slot.address:
        return f"stub {call.slot}"
    load = f", load {slot.load}" if slot.load else ""
    where = " past the end" if slot.past_end else ""
    return f"stub {slot.index}{where} → {slot.function}{load}"
