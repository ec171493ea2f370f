"""Why the kernel refused a load: the sentences after the headline, worked out from its lines and from the sites."""

from __future__ import annotations

from .. import messages
from ..recording import Step, hexa
from .history import History
from .signs import nonzero_line, patch_line
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
    (messages.TARGET_ABSENT, "Its target {target} is not loaded, and this proposal makes that a condition."),
)


def why_refused(history: History, index: int) -> str:
    """Why the load in a step was refused, in one to three sentences; "" where neither lines nor sites tell."""
    step = history.recording[index]
    if nonzero_line(step):
        return _nonzero(history, index)
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


def _same_place(history: History, index: int, module: str, number: int) -> str:
    now, old = history.attempt_at(module, index), history.load(module, number)
    if now is None or old is None or now.base is None or old.base is None:
        return ""
    if now.base == old.base:
        return (
            f"{module} came back to the same address: the old bytes were even the right ones, and still it is refused."
        )
    return f"{module} would now be at {hexa(now.base)}, not at {hexa(old.base)}: the old bytes point elsewhere."


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
        tail = " The sites are zero again."
    return f"Its own init() failed. livepatch had patched {module} before; it was undone.{tail}"


def _from_dmesg(step: Step) -> str:
    for line in step.lines:
        for message, words in _PLAIN:
            fields = message.match(line)
            if fields:
                return words.format(**fields)
        if "Expected nop after call" in line:
            return "After a call the kernel expects a nop and finds the instruction that an earlier load had put there."
    bad = [text for level, text in step.dmesg if level is None or level <= 4]
    return f"The kernel says: {bad[-1]}" if bad else ""
