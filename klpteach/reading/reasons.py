"""Why the kernel refused a load: the sentences after the headline, worked out from its lines and from the sites."""

from __future__ import annotations

from ..model import messages
from ..model.step import Step, hexa
from .history import History
from .steps import no_stub_left, nonzero_line, nop_line, patch_line
from .stubwords import no_nop, no_slot, wasted
from .words import count

_PLAIN: tuple[tuple[messages.Message, str], ...] = (
    (messages.UNKNOWN_SYMBOL, "It needs {name}, and nothing that is loaded exports it."),
    (messages.NOT_FOUND, "livepatch looked for {name} in the target and did not find it."),
    (messages.AMBIGUOUS, "{object} has {name} more than once, and the livepatch does not say which one it means."),
    (messages.NO_SUCH_POSITION, "The livepatch asks for {name} number {pos} in {object}; there are not so many."),
    (messages.NOT_A_LIVEPATCH, "It asks to be a livepatch, but its modinfo has no livepatch tag."),
    (messages.NOT_MARKED, "A livepatch relocation uses {name}, which is not marked as a livepatch symbol."),
    (messages.BAD_SYMBOL_NAME, "The livepatch symbol {name} is not named as .klp.sym.OBJECT.SYMBOL,POSITION."),
    (messages.BAD_SECTION_NAME, "The section {name} is not named as .klp.rela.OBJECT.SECTION."),
    (messages.VMLINUX_SYMBOL, "A relocation section for a module uses {name}, a symbol of the kernel itself."),
    (messages.OVERFLOW, "The sum {val} does not fit into the bytes of a relocation of type {type}."),
    (messages.UNKNOWN_RELA, "It has a relocation of type {type}, which this kernel does not know."),
    (messages.UNKNOWN_ADD, "It has a relocation of type {type}, which this kernel does not know."),
    (messages.NO_STUBS, "{module} has no .stubs section, and every module on ppc64le needs one."),
    (messages.REL24_RANGE, "A call in {module} would have to reach further than 32 MiB."),
    (messages.REL32_RANGE, "A 32-bit distance in {module} does not reach its target."),
    (messages.STUB_RANGE, "A stub of {module} would be too far from its TOC."),
    (messages.BLACKLISTED, "The administrator does not want {module} to be loaded."),
    (messages.TOO_LATE, "{patch} is enabled and can no longer patch it, and this proposal makes that a condition."),
    (messages.TARGET_ABSENT, "Its target {target} is not loaded, and this proposal makes that a condition."),
)


def why_refused(history: History, index: int) -> str:
    """Why the load in a step was refused, in one to three sentences; "" where neither lines nor sites tell."""
    step = history.recording[index]
    if nonzero_line(step):
        return _nonzero(history, index)
    if nop_line(step):
        return _no_nop(history, index)
    if no_stub_left(step):
        return no_slot(history, index)
    own = _init_failed(history, index) if step.errno is not None else ""  # a program's exit says nothing of init()
    return own or _from_dmesg(step)


def _nonzero(history: History, index: int) -> str:
    key, failed = history.failing(index), patch_line(history.recording[index], messages.INIT_FAILED)
    if not failed:
        return "A relocation's place in the module's own file was not zero. That is the damage which the check is for."
    patch, module = failed[0]
    state = history.last_look(key, index) if key else None
    place = f" at {key.partition(':')[2]}" if key else ""
    said = f"The bytes of {patch}{place} were not zero"
    if state is not None and state.kind == "foreign":
        return f"{said}: something else wrote there."
    if state is None or state.load is None:
        return f"{said}."
    return f"{said}: they are from load {state.load}. {_same_place(history, index, module, state.load)}"


def _no_nop(history: History, index: int) -> str:
    key, failed = history.failing(index), patch_line(history.recording[index], messages.INIT_FAILED)
    state = history.last_look(key, index) if key else None
    moved = _same_place(history, index, failed[0][1], state.load) if failed and state and state.load else ""
    return " ".join(filter(None, (no_nop(history, index), moved, wasted(history, index))))


def _same_place(history: History, index: int, module: str, number: int) -> str:
    now, old = history.attempt_at(module, index), history.load(module, number)
    if now is None or old is None or now.base is None or old.base is None:
        return ""
    if now.base == old.base:
        return (
            f"{module} came back to the same address: the old bytes were even the right ones, and still it is refused."
        )
    what = "the old call leads" if history.recording.arch == "ppc64le" else "the old bytes point"
    return f"{module} would now be at {hexa(now.base)}, not at {hexa(old.base)}: {what} elsewhere."


def _init_failed(history: History, index: int) -> str:
    step = history.recording[index]
    file = next((word for word in step.command.split()[1:] if word.endswith(".ko")), "")
    applied = patch_line(step, messages.APPLYING)
    if not applied:
        return "Its own init() failed. " if file in history.recording.init_errno else ""
    module = applied[0][1]
    kinds = [history.states(key)[history.seen(index)].kind for key in history.sites_for(module)]
    tail = ""
    if "stale" in kinds:
        tail = f" {count(kinds.count('stale'))} stay behind, stale: no rmmod was needed for that."
    elif "file" in kinds or "cleared" in kinds:
        again = "as in the file" if history.recording.arch == "ppc64le" else "zero"
        tail = f" The sites are {again} again."
    return f"Its own init() failed. livepatch had patched {module} before; it was undone.{tail}"


def _from_dmesg(step: Step) -> str:
    for line in step.lines:
        for message, words in _PLAIN:
            fields = message.match(line)
            if fields:
                return words.format(**fields)
    bad = [text for level, text in step.dmesg if level is None or level <= 4]
    return f"The kernel says: {bad[-1]}" if bad else ""
