"""What notebook 07 asks: what each way out does not reach, a way round one of them, a fix and a policy of the reader's own."""

from __future__ import annotations

import random
import re
from functools import lru_cache
from typing import Any

from ...model.errno import EAGAIN, EEXIST, ENOEXEC
from ...model.kernel import Kernel
from ...model.step import Step
from ...reading.differences import first_difference
from ...scenarios.scenario import TARGET
from ...scenarios.simulate import simulate
from ...views.reply import Reply
from ..exercise import Exercise, Problem
from ..question import questions, refused_or_loads
from .own_clear import problem as own_clear
from .own_policy import let_in, own_policy
from .ways import stories_without_a_way

TITLE = "three ways out"
ARCHES = ("x86_64", "ppc64le")
MOST = 12  # commands that a reader may give


def who_takes_a_foreign_byte() -> str:
    """Which clearing lets the target be loaded again after a stranger wrote to a site: "rfc", "checked", "both", "neither"."""
    ways = {"rfc": "clear-relocations", "checked": "clear-checked"}
    good = [name for name, proposal in ways.items() if not simulate("foreign-write", "6.1", [proposal])[-1].errno]
    return "both" if len(good) == 2 else (good or ["neither"])[0]


def when_they_differ() -> str:
    """init-fails under deny-removal and under clear-checked: "bytes" (the failed load leaves other bytes) or "later"."""
    left, right = (simulate("init-fails", "6.1", [name]) for name in ("deny-removal", "clear-checked"))
    return "bytes" if first_difference(left, right) == 1 and left[1].errno == right[1].errno else "later"


def whose_memory() -> str:
    """Whose bytes a clearing changes, of the two modules that a removal concerns, as the model has it."""
    before, after = simulate("reload", "6.1", ["clear-checked"])[1:3]
    return "livepatch" if all(key.startswith("livepatch_") for key, was in (before.sites or {}).items()
                              if was != (after.sites or {})[key]) else "target"  # fmt: skip


QUESTIONS = questions("""
damaged-on-ppc64le
In a livepatch for ppc64le one relocation stands 8 bytes too far. The kernel is 6.1 as released. Does it notice?
- refused: It refuses the file, as x86_64 does
  ppc64le checks the word behind a call, and nothing else. At the wrong place there is no call, so it does not even look.
- loads: It loads without a word => it loads without a word
  No zero check there. What x86_64 would lose without its check, ppc64le never had.

disable-first
Removal is denied: rmmod says that nfsd_demo is in use. You disable the livepatch and try again. Can nfsd_demo go and
come back?
- loads: Yes => yes, but without the fix
  The reference belongs to the patched state. No longer patched, no longer held. But now the fix is off.
- refused: No: it stays until the livepatch is removed as well
  The livepatch may stay in memory; what holds the target is that it is patched.

foreign-byte
While all is loaded, a stranger overwrites a site: eight bytes 0x1122334455667788. Then nfsd_demo goes and comes. Which
clearing lets it back in?
- both: Both: they write zeros
  6.3 compares before it clears. What is not its own it does not touch.
- rfc: The RFC of 2019 only => the RFC only
  The RFC writes zeros over whatever is there. 6.3 finds foreign bytes, warns, and leaves them; then the check for zeros
  refuses.
- checked: The one of 6.3 only
  The other way round: the one that checks is the one that refuses.
- neither: Neither
  The RFC does not look. It wipes what it finds at the site away, and nobody hears of it.

whose-memory
rmmod nfsd_demo. Your function is called, and gets a bytearray to put ten zeros back into. Of whose memory is that?
- target: Of nfsd_demo's: it is the one that goes
  Its memory is given back as a whole in the next moment; nobody tidies it up. And it never held those bytes.
- livepatch: Of the livepatch's, which stays => it is the livepatch's
  As in the report: the one that is refused and the one whose bytes are meant are two modules. So clear() is handed a
  section of the livepatch.
- both: Some of either
  What nfsd_demo holds of others is ordinary, and goes with it. Only the livepatch stays behind with old addresses.

same-minus-19
nfsd_demo's first load ends with −19, on a kernel that denies removal and on one that clears. Is there a difference yet,
before the next load?
- later: No: both have nothing but a failed load
  The same errno, the same lines. But one of them has stale bytes in the livepatch, and the next load finds them.
- bytes: Yes, in the livepatch's bytes => yes, in the livepatch's bytes
  A reference cannot put bytes back. Clearing is called on this way out as well.

no-way-out
Nine stories on x86_64, four ways out: remove the check, deny removal, the RFC, 6.3. One story ends badly under all four.
Which?
- half-way: Patching fails half way, and then all is well
  Three of the four refuse the next load. Without the check it is let in, and the old bytes are overwritten.
- foreign-write: A stranger wrote to a site => the stranger's write
  Refused by 6.3, and an oops in use under the other three. No way out can give back what it did not write.
- corrupted: A damaged livepatch is loaded
  It should be refused, and three of the four refuse it: they keep the check.
- init-fails: init() fails, and then a good load
  Only denial has nothing to say to that. Both clearings take the bytes back, and without the check nobody asks.
""", {
    "damaged-on-ppc64le": lambda: refused_or_loads("corrupted", arch="ppc64le"),
    "disable-first": lambda: refused_or_loads("disabled", "6.1", ["deny-removal"]),
    "foreign-byte": who_takes_a_foreign_byte, "whose-memory": whose_memory, "same-minus-19": when_they_differ,
    "no-way-out": lambda: " ".join(stories_without_a_way()),
})  # fmt: skip


def _way_round(livepatch: str) -> list[str]:
    return [f"insmod {livepatch}.ko", "insmod nfsd_demo_failinit.ko", TARGET]


@lru_cache(maxsize=1)
def _defeatable() -> list[tuple[str, str]]:
    """(architecture, livepatch) where that way leads there; on ppc64le a livepatch that calls nothing has no such bytes."""
    livepatches = ("livepatch_nfsd_demo", "livepatch_stacked", "livepatch_cumul1")
    pairs = [(arch, livepatch) for arch in ARCHES for livepatch in livepatches]
    return [(arch, patch) for arch, patch in pairs if judge_defeat(_way_round(patch), arch, patch) is None]


def _defeat(rng: random.Random) -> Problem:
    arch, livepatch = rng.choice(_defeatable())
    answer = _way_round(livepatch)
    return Problem(
        ask=f"{'An' if arch == 'x86_64' else 'A'} {arch} machine with Linux 6.1 and deny-removal, freshly booted. Find commands after which a good "
        f"`{TARGET}` is refused with −8, although removal is denied. Use `{livepatch}.ko`. You may load "
        "(insmod FILE.ko), remove (rmmod NAME) and disable (echo 0 > /sys/kernel/livepatch/NAME/enabled). The files are in "
        "data/ko; damaged ones and pokes do not count.",
        answer=answer,
        shown=repr(answer),
        form='a list of commands, ["insmod …", "…"]',
        hints=("A reference holds a module that is there. Which module was never there, and left bytes all the same?",
               f"Notebook 05 has a target whose init() fails: `insmod nfsd_demo_failinit.ko`. {livepatch} must be waiting for it."),
        steps=(f"{livepatch} is loaded first. No target, no reference.",
               "nfsd_demo_failinit.ko comes. The livepatch writes its relocations; then init() fails, and the module is gone. No reference outlives it.",
               "The good nfsd_demo.ko finds the bytes: −8. Nothing was ever removed."),
        judge=lambda commands: judge_defeat(commands, arch, livepatch),
        because="Nothing was removed, so nothing could be denied.")  # fmt: skip


def judge_defeat(commands: Any, arch: str = "x86_64", livepatch: str = "livepatch_nfsd_demo") -> Reply | str | None:
    """Run a reader's commands under deny-removal: None where a good nfsd_demo.ko was refused with ENOEXEC."""
    given = [commands] if isinstance(commands, str) else commands
    lines = [line.strip() for one in given for line in re.split(r"[\n;]", one) if line.strip()]
    if not lines or len(lines) > MOST:
        return Reply("?", "A few commands.", f"Give between 1 and {MOST}.")
    if any("+" in line or line.startswith("poke") for line in lines):
        what = "That is a damaged file, or a stranger's write."
        return Reply("?", what, "Any kernel may refuse it. Use whole files.")
    kernel = Kernel(arch, "6.1", ["deny-removal"])
    steps = [kernel.run(line) for line in lines]
    if kernel.find_module(livepatch) is None:
        return f"{livepatch} is not loaded in the end. {_last(steps)}"
    refused = [step for step in steps if step.command == TARGET and step.errno == ENOEXEC]
    return None if refused else _last(steps)


def _last(steps: list[Step]) -> str:
    """What came of the commands, from the first that did not work."""
    bad = next((step for step in steps if step.errno), None)
    if bad is None:
        return "Every command worked: nothing was refused."
    known: dict[int | None, str] = {EAGAIN: "in use: that is how removal is denied", EEXIST: "it is loaded already"}
    says = known.get(bad.errno, bad.lines[0] if bad.lines else "and no line in dmesg")
    return f"`{bad.command}` gives {bad.errno} ({says}). A good nfsd_demo.ko was not refused with −8."


EXERCISES = {"clear": Exercise("your own clear_relocate_add()", own_clear),
             "defeat-denial": Exercise("a way round denied removal", _defeat),
             "let-in": Exercise("what only the check catches", let_in),
             "own-policy": Exercise("your own policy", own_policy)}  # fmt: skip
