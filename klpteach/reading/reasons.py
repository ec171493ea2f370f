"""Why the kernel refused a load, and what became of the stubs: the sentences after a verdict's headline."""

from __future__ import annotations

from ..model import messages
from ..model.step import Step, hexa
from .calls import call_at
from .history import History
from .sites import State
from .steps import count, errno_words, no_stub_left, nonzero_line, nop_line, patch_line, patch_of
from .stubs import StubTable

_PLAIN: tuple[tuple[messages.Message, str], ...] = (
    (messages.UNKNOWN_SYMBOL, "It needs {name}, and nothing that is loaded exports it."),
    (messages.NOT_FOUND, "livepatch looked for {name} in the target and did not find it."),
    (messages.AMBIGUOUS, "{object} has {name} more than once, and the livepatch does not say which one it means."),
    (messages.NO_SUCH_POSITION, "The livepatch asks for {name} number {pos} in {object}; there are not so many."),
    (messages.NOT_A_LIVEPATCH, "It asks to be a livepatch, but its modinfo has no livepatch tag."),
    (messages.NOT_MARKED, "A livepatch relocation uses {name}, which is not marked as a livepatch symbol."),
    (messages.NOT_MARKED_619, "A livepatch relocation uses {name}, which is not marked as a livepatch symbol."),
    (messages.BAD_SYMBOL_NAME, "The livepatch symbol {name} is not named as .klp.sym.OBJECT.SYMBOL,POSITION."),
    (messages.BAD_SECTION_NAME, "The section {name} is not named as .klp.rela.OBJECT.SECTION."),
    (messages.VMLINUX_SYMBOL, "A relocation section for a module uses {name}, a symbol of the kernel itself."),
    (messages.OVERFLOW, "The sum {val} does not fit into the bytes of a relocation of type {type}."),
    (messages.OVERFLOW_619, "The sum {val} does not fit into the bytes of a relocation of type {type}."),
    (messages.UNKNOWN_RELA, "It has a relocation of type {type}, which this kernel does not know."),
    (messages.UNKNOWN_ADD, "It has a relocation of type {type}, which this kernel does not know."),
    (
        messages.OVERFLOW_ARM64,
        "An instruction in {module} does not reach {val}: the field of a relocation of type {type} is too short.",
    ),
    (messages.UNSUPPORTED_RELA, "It has a relocation of type {type}, which this kernel does not know."),
    (messages.NO_PLT, "{module} has no .plt section, and every module on arm64 needs one."),
    (messages.NO_STUBS, "{module} has no .stubs section, and every module on ppc64le needs one."),
    (messages.REL24_RANGE, "A call in {module} would have to reach further than 32 MiB."),
    (messages.REL32_RANGE, "A 32-bit distance in {module} does not reach its target."),
    (messages.STUB_RANGE, "A stub of {module} would be too far from its TOC."),
    (messages.BLACKLISTED, "The administrator does not want {module} to be loaded."),
    (messages.WRITE_EXEC, "Its section {section} can be written and run, and this kernel wants no such section."),
    (
        messages.NO_MEMORY,
        "No hole in the module area is large enough for {size} bytes; what it had taken is given back.",
    ),
    (messages.NO_MEMORY_610, "No hole in the module area is large enough for it; what it had taken is given back."),
    (messages.DUPLICATE_NAME, "It names {name} twice, and sysfs takes one folder of a name."),
    (messages.DUPLICATE_NAME_65, "It names {name} twice, and sysfs takes one folder of a name."),
    (messages.HANDLER_FAILED, "ftrace is switched off or has {function} already, so it cannot be redirected."),
    (messages.BAD_PARAMETER, "Its parameter {name} takes no such value as `{value}`."),
    (messages.TOO_LATE, "{patch} is enabled and can no longer patch it, and this proposal makes that a condition."),
    (messages.NO_PART, "User space could not load the part of a livepatch that belongs to it."),
    (
        messages.GAVE_UP_WAITING,
        "It needs a symbol of {owner}, whose init has not run; after 30 seconds the kernel gives up.",
    ),
    (messages.TARGET_ABSENT, "Its target {target} is not loaded, and this proposal makes that a condition."),
)


def died_in_the_plt(step: Step) -> bool:
    """Whether a load ended in a store into read-only memory: on arm64 that of an entry of .plt."""
    return step.did.loads and any(messages.READ_ONLY.match(line) for line in step.lines[:1])


def why_refused(history: History, index: int) -> str:
    """Why the load in a step was refused, in one to three sentences; "" where neither lines nor sites tell."""
    step = history.recording[index]
    for happened, why in ((nonzero_line, _nonzero), (nop_line, _no_nop), (no_stub_left, _no_slot)):
        if happened(step):
            return why(history, index)
    if any(messages.PLT_WARNING.match(line) for line in step.lines):
        return "The livepatch's .plt has no entry left, and none is ever given back: the kernel warns and gives up."
    own = _init_failed(history, index) if step.errno is not None else ""  # a program's exit says nothing of init()
    return own or _from_dmesg(step)


def _nonzero(history: History, index: int) -> str:
    key, failed = history.failing(index), patch_line(history.recording[index], messages.INIT_FAILED)
    if not failed:
        return "A relocation's place in the module's own file was not zero. That is the damage which the check is for."
    patch, module = failed[0]
    state = history.last_look(key, index) if key else None
    said = f"The bytes of {patch}{_place(key)} were not zero"
    if state is not None and state.kind == "foreign":
        return f"{said}: something else wrote there."
    if state is None or state.load is None:
        return f"{said}."
    return f"{said}: they are from load {state.load}. {_same_place(history, index, module, state.load)}"


def _place(key: str | None) -> str:
    return f" at {key.partition(':')[2]}" if key else ""


def _same_place(history: History, index: int, module: str, number: int) -> str:
    now, old = history.attempt_at(module, index), history.load(module, number)
    if now is None or old is None or now.base is None or old.base is None:
        return ""
    if now.base == old.base:
        return (
            f"{module} came back to the same address: the old bytes were even the right ones, and still it is refused."
        )
    what = "the old bytes point" if history.arch.zero_sites else "the old call leads"
    return f"{module} would now be at {hexa(now.base)}, not at {hexa(old.base)}: {what} elsewhere."


def _init_failed(history: History, index: int) -> str:
    step = history.recording[index]
    applied = patch_line(step, messages.APPLYING)
    if not applied:
        return "Its own init() failed. " if step.did.file in history.recording.init_errno else ""
    module, seen, tail = applied[0][1], history.observed_at(index), ""
    kinds = [history.states(key)[seen].kind for key in history.sites_for(module)]
    if "stale" in kinds:
        left = kinds.count("stale")
        tail = f" {count(left)} {'stays' if left == 1 else 'stay'} behind, stale: no rmmod was needed for that."
    elif "file" in kinds or "cleared" in kinds:
        tail = f" The sites are {'zero' if history.arch.zero_sites else 'as in the file'} again."
    return f"Its own init() failed. livepatch had patched {module} before; it was undone.{tail}"


def _from_dmesg(step: Step) -> str:
    tried = ((words, message.match(line)) for line in step.lines for message, words in _PLAIN)
    known = next((words.format(**fields) for words, fields in tried if fields is not None), "")
    if known:
        return known
    bad = [text for level, text in step.dmesg if level is None or level <= 4]
    return f"The kernel says: {bad[-1]}" if bad else ""


def _no_nop(history: History, index: int) -> str:
    """Why restore_r2() refused, where the target would be now, and which slots the attempt took all the same."""
    key, failed = history.failing(index), patch_line(history.recording[index], messages.INIT_FAILED)
    state = history.last_look(key, index) if key else None
    moved = _same_place(history, index, failed[0][1], state.load) if failed and state and state.load else ""
    return " ".join(filter(None, (_word_found(history, index, key, state), moved, _wasted(history, index))))


def _word_found(history: History, index: int, key: str | None, state: State | None) -> str:
    """Which word restore_r2() found after which call, and where that is from."""
    said = nop_line(history.recording[index])
    if said is None:
        return ""
    if said.got != history.arch.restore_r2:
        found = f"After the call{_place(key)} stands {said.got:08x}, not nop ({history.arch.nop:08x})"
        return f"{found}: there is no place to restore r2. Only a nop may be written over."
    load = f" for load {state.load}" if state and state.load else ""
    return f"After the call{_place(key)} the kernel wants a nop. It finds ld r2,24(r1), which it wrote itself{load}."


def _wasted(history: History, step: int) -> str:
    """How many slots a refused load took all the same; "" where it took none."""
    tables = history.stubs_after(step)
    new = sum(table.taken - old.taken for name, table in tables.items() if (old := history.stubs_before(name, step)))
    if not new:
        return ""
    slots, table = "one more slot" if new == 1 else f"{new} more slots", next(iter(tables.values()))
    if newly_past_end(history, step):
        return f"Nothing of .stubs is undone: the table was full, and the failed attempt wrote {slots} past its end."
    return f"Nothing of .stubs is undone: the failed attempt took {slots}, {table.used} of {table.num} are used."


def _no_slot(history: History, step: int) -> str:
    """Why stub_for_addr() warned and gave up."""
    table = next((table for table in history.stubs_after(step).values() if table.used >= table.num), None)
    if table is None:
        return f"stub_for_addr() found no free slot in .stubs, warned, and the load ends with {errno_words(-2)}."
    past = f", and {count(len(table.past_end), 'stub')} stands past the end" if table.past_end else ""
    gone = f"{table.stale_inside} of them by stubs to loads that are gone{past}. No slot is ever given back."
    return f"No slot is left for a new call: {table.used} of {table.num} in {table.module} are taken, {gone}"


def newly_past_end(history: History, step: int) -> list[StubTable]:
    """The tables behind whose end this step wrote a stub."""
    found = [(table, history.stubs_before(name, step)) for name, table in history.stubs_after(step).items()]
    return [table for table, old in found if len(table.past_end) > (len(old.past_end) if old else 0)]


def stubs_taken_sentence(history: History, step: int, patches: set[str]) -> str:
    """After a load that worked: how many stubs it took, and how full the tables of these livepatches are; "" elsewhere."""
    said = []
    for name, table in sorted(history.stubs_after(step).items()):
        before = history.stubs_before(name, step)
        new = table.taken - before.taken if before else 0
        stale = f", {table.stale_inside} of them stale" if table.stale else ""
        if name in patches:
            took = f"It took {count(new, 'new stub') if new else 'no new stub'}"
            said.append(f"{took}: {table.used} of {table.num} slots used{stale}.")
    return " ".join(said)


def overrun_sentence(table: StubTable) -> str:
    """What it means that a stub was written past the end."""
    were = f"{count(len(table.past_end), 'stub')} {'was' if len(table.past_end) == 1 else 'were'}"
    full = f"All {count(table.num, 'slot')} of {table.module} were taken"
    bound = "stub_for_addr() looks at the bound only while it searches"
    return f"{full}, and {bound}: {were} written behind the table."


def died_in_the_search(history: History, step: int) -> bool:
    """Whether an oops came out of the search for a free slot: the trace says so, or a table was full."""
    if not history.arch.has_stubs or history.arch.slot_types or not history.recording[step].did.loads:
        return False
    if any("stub_for_addr" in line for line in history.recording[step].lines):
        return True
    tables = filter(None, (history.stubs_before(name, step) for name in history.with_stubs))
    return any(table.used >= table.num for table in tables)


def goes_to(history: History, key: str, step: int) -> str:
    """Where the branch at a site leads, in words: the stub, its function, and the load that it is from."""
    call = call_at(history, key, step)
    if call is None:
        return ""
    if call.slot is None:
        return "the start of the section" if call.words[0] & 0x03FFFFFC == 0 else ""
    table = history.stubs(patch_of(key), step)
    slot = next((slot for slot in table.slots if slot.index == call.slot), None) if table else None
    if slot is None or not slot.address:
        return f"stub {call.slot}"
    load, where = f", load {slot.load}" if slot.load else "", " past the end" if slot.past_end else ""
    return f"stub {slot.index}{where} → {slot.function}{load}"
