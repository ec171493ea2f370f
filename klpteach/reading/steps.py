"""What a single step says of itself: signs in its command and in its dmesg lines. And how the name of a site is read."""

from __future__ import annotations

from dataclasses import dataclass

from ..model import messages
from ..model.step import Step

LOOKS = ("boot", "cat", "lsmod", "modinfo", "busybox", "fill", "stk", "vmi", "uname", "ls", "dmesg")


@dataclass(frozen=True)
class NopLine:
    """What restore_r2() printed (ppc64le): the word it found where it wants a nop, and where that is."""

    patch: str
    got: int
    symbol: str
    offset: int


def nop_line(step: Step) -> NopLine | None:
    """The kernel's line about the word after a call, None where it printed none."""
    found = next(filter(None, map(messages.EXPECTED_NOP.match, step.lines)), None)
    symbol, _, rest = (found or {}).get("where", "").partition("+")
    if not found or not rest:
        return None
    return NopLine(found["module"], int(found["insn"], 16), symbol, int(rest.partition("/")[0], 16))


def no_stub_left(step: Step) -> bool:
    """Whether stub_for_addr() warned: every slot of .stubs is taken (ppc64le)."""
    return any(messages.STUB_WARNING.match(line) for line in step.lines)


def is_look(command: str) -> bool:
    """Whether a command only looks: it changes nothing."""
    return command.startswith(LOOKS)


def nonzero_line(step: Step) -> dict[str, str] | None:
    """type, loc and val of the kernel's line about a nonzero relocation target, None where it printed none."""
    forms = (messages.NONZERO_SKIPPING, messages.NONZERO, messages.NONZERO_619)
    return next((found for line in step.lines for form in forms if (found := form.match(line))), None)


def patch_line(step: Step, message: messages.Message) -> list[tuple[str, str]]:
    """(patch, module) of every line of this step that the message printed."""
    found = (message.match(line) for line in step.lines)
    return [(match["patch"], match["module"]) for match in found if match]


def patch_of(site: str) -> str:
    """The livepatch that a site is in.

    >>> patch_of("livepatch_nfsd_demo:.text+0x15")
    'livepatch_nfsd_demo'
    """
    return site.partition(":")[0]
