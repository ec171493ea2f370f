"""What a single step says of itself, in its command and its dmesg lines; and numbers and names as a sentence has them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..model import messages
from ..model.errno import errno_name
from ..model.step import Step

LOOKS = ("boot", "cat", "lsmod", "modinfo", "busybox", "fill", "stk", "vmi", "uname", "ls", "dmesg")


def is_look(command: str) -> bool:
    """Whether a command only looks: it changes nothing."""
    return command.startswith(LOOKS)


def patch_of(site: str) -> str:
    """The livepatch that a site, LIVEPATCH:SECTION+0xOFFSET, is in."""
    return site.partition(":")[0]


def patch_line(step: Step, message: messages.Message) -> list[tuple[str, str]]:
    """(patch, module) of every line of this step that the message printed."""
    found = (message.match(line) for line in step.lines)
    return [(match["patch"], match["module"]) for match in found if match]


def nonzero_line(step: Step) -> dict[str, str] | None:
    """type, loc and val of the kernel's line about a nonzero relocation target, None where it printed none."""
    forms = (messages.NONZERO_SKIPPING, messages.NONZERO, messages.NONZERO_619)
    return next((found for line in step.lines for form in forms if (found := form.match(line))), None)


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


def patch_folder_twice(step: Step) -> bool:
    """Whether -EEXIST is of a livepatch that names one object or function twice, and not of a module that is there."""
    return any(map(messages.DUPLICATE_FOLDER.match, step.lines))


def no_stub_left(step: Step) -> bool:
    """Whether stub_for_addr() warned: every slot of .stubs is taken (ppc64le)."""
    forms = (messages.STUB_WARNING_612, messages.STUB_WARNING)
    return any(form.match(line) for form in forms for line in step.lines)


def errno_words(number: int | None) -> str:
    """An errno as the headline shows it: ENOEXEC (−8)."""
    return f"{errno_name(number)} (−{-number})" if number else ""


def count(number: int, thing: str = "site") -> str:
    """1 site, 2 sites."""
    return f"1 {thing}" if number == 1 else f"{number} {thing}s"


def every(number: int) -> str:
    """all 10 sites, both sites, the one site."""
    return {1: "the one site", 2: "both sites"}.get(number, f"all {number} sites")


def listed(names: Iterable[str]) -> str:
    """Names in a sentence: a; a and b; a, b and c."""
    *most, last = ["", *names]
    return " and ".join(filter(None, [", ".join(filter(None, most)), last]))
