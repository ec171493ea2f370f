"""What notebook 04 asks: patching a module that is not there, and the order in which everything has to happen."""

from __future__ import annotations

import random
from functools import lru_cache

from ...model.kernel import Kernel
from ...scenarios.recorded import evidence
from ...scenarios.simulate import simulate
from ..checks import in_order, shuffled
from ..exercise import Exercise, Problem
from ..question import questions
from .klp_arch import CALL, EVENTS, NATIVE, RELOCATE, REPLACE, ends, play, swapped
from .sequence import Event, coming_and_going

TITLE = "patching what is not there"


@lru_cache(maxsize=2)
def events(release: str = "6.1") -> tuple[Event, ...]:
    """What happens when a patched module comes and goes, as the model does it."""
    return tuple(coming_and_going(release))


def livepatch_alone() -> str:
    """What becomes of a livepatch whose target is not loaded: "refused", "loads", or its target is "pulled" in."""
    step = simulate("late", "6.1")[0]
    if step.errno:
        return "refused"
    return "pulled" if step.module("nfsd_demo") else "loads"


def when_patched() -> str:
    """Whether all of the patching happens "before" the target's init(), all "after" it, or is "split" by it."""
    coming = [event.what for event in events() if event.phase == "coming"]
    init = coming.index("init()")
    work = [n for n, what in enumerate(coming) if what.endswith(("written", "redirected", "callback"))]
    if all(n < init for n in work):
        return "before"
    return "after" if all(n > init for n in work) else "split"


def ambiguous_name() -> str:
    """Whether a livepatch with `demo_dup,0` is loaded: "refused", or "loads"."""
    kernel = Kernel(release="6.1")
    kernel.insmod("nfsd_demo.ko")
    return "refused" if kernel.insmod("livepatch_nfsd_demo+symbol-ambiguous.ko").errno else "loads"


def second_try() -> str:
    """How the target's load ended after pre_patch no longer said no: on a real 6.1, the last step of callback-fails."""
    return "refused" if evidence("callback-fails--6.1--REFUSED")[-1].errno else "loads"


def who_patches_lockd() -> str:
    """Which livepatch is applied to lockd_demo, which comes after the second replaced the first: "1", "2" or "both"."""
    line = " ".join(simulate("cumulative", "6.1")[4].lines)
    found = [number for number in "12" if f"livepatch_cumul{number}'" in line]
    return "both" if len(found) == 2 else found[0]


def early_site() -> str:
    """When a real 6.12 writes a site that belongs to vmlinux: "once", with the "target", or "never"."""
    values = [list((step.sites or {}).values())[2] for step in evidence("vmlinux--6.12--LOADS")[:4]]
    if not any(map(any, values)):
        return "never"
    return "once" if len(set(values)) == 1 else "target"


def replaced_then_relocated() -> str:
    """What is at the place of a call that was first replaced and then relocated: "cli", "call" or "neither"."""
    code = play([REPLACE, RELOCATE])[-1].code
    if code == NATIVE:
        return "cli"
    return "call" if code.startswith(CALL[:3]) else "neither"


QUESTIONS = questions("""
nobody-there
Nothing but the kernel is loaded. You load the livepatch for nfsd_demo. What happens?
- refused: Refused: its symbols cannot be found
  That is what becomes of an ordinary undefined symbol. A livepatch symbol is marked, and the loader passes over it.
- pulled: It loads, and the kernel loads nfsd_demo for it
  The kernel asks for no module here: the file's `depends=` is empty, and nothing in it names a dependency.
- loads: It loads, and its holes stay empty => it loads, and the holes stay empty
  The loader leaves marked symbols alone. The names wait in the livepatch until somebody can say what they mean.

two-of-a-name
nfsd_demo has two functions named `demo_dup`. A livepatch asks for `demo_dup,0`. What does the kernel do?
- loads: It takes the first
  The first is position 1. Position 0 promises that there is one only, and the kernel holds you to it.
- refused: It refuses: the name is not unique => it refuses
  0 does not mean the first. It means: there is only one, so anything else is a mistake.

seven-events
nfsd_demo is loaded, its livepatch is there. Seven events: state COMING, relocations written, a line in the log, the
callback pre_patch, functions redirected, the callback post_patch, the module's own init(). Where does init() come?
- after: Right after COMING: a module must be set up before it can be patched
  Then init() would run the old functions, with the bug that the patch is for.
- split: Between pre_patch and post_patch
  The names suggest that something is between them. What is between them is the redirection, not init().
- before: Last => init() is the last of the seven
  The module is patched before its own code runs for the first time. Not even init() sees the old functions.

second-try
pre_patch has refused nfsd_demo once. You tell it to say yes, and load nfsd_demo again. What does 6.1 do?
- loads: It loads: the reason is gone
  The reason is gone, the bytes are not. They were written before pre_patch was asked, and nobody took them back.
- refused: It refuses it, for another reason => it is refused, with −8 this time
  The relocations came before the callback. When the callback says no, they stay: the check finds them.

clobber
At load the seven bytes of a call became `cli` and a nop. Now the relocation that belonged to the call is written over
four of them. No check is there. What do the seven bytes say?
- cli: Still cli and a nop: the CPU passes over the nop
  The nop is one instruction of six bytes. Four of them are overwritten, so it is no nop any more.
- call: The call again, now with its address
  A call begins with `ff 14 25`. Those three bytes are gone, and a relocation does not write them.
- neither: Neither => neither: an instruction that nobody wrote
  The first half of one instruction and the second half of another. The CPU reads it all the same.

early-site
livepatch_vmlinux.ko, on a real 6.12, has sites of two kinds: two belong to nfsd_demo, one to vmlinux. The livepatch is
loaded, then nfsd_demo is loaded, removed and loaded again. When do the bytes of the third site change?
- target: When nfsd_demo comes and goes, like the others
  Each site follows its own object. vmlinux is always there: it neither comes nor goes.
- once: Once, with the livepatch's own load => once, when the livepatch is loaded
  Since 5.8 the module loader writes those against vmlinux with all other relocations, and nobody touches them again.
- never: Never
  Then the code would call address 0. What the livepatch takes from vmlinux it needs as much as the rest.

which-edition
Edition 1 patches nfsd_demo and lockd_demo; lockd_demo is not loaded. Edition 2 replaces edition 1. Now lockd_demo
comes. Who patches it?
- 1: Edition 1, which promised it first
  A replaced livepatch is out of the list that the kernel walks when a module comes.
- both: Both, in the order of their loading
  Without replace that is what happens: they are stacked. Replace takes the older ones out of the list.
- 2: Edition 2 alone => edition 2 alone
  Replace takes the older livepatches out of the kernel's list. What they knew, the new one has to know.
""", {
    "nobody-there": livepatch_alone, "two-of-a-name": ambiguous_name, "seven-events": when_patched,
    "early-site": early_site, "second-try": second_try, "clobber": replaced_then_relocated, "which-edition": who_patches_lockd,
})  # fmt: skip


def _order(rng: random.Random) -> Problem:
    release, phase = "6.12", rng.choice(["coming", "going", "going"])  # another release than the notebook's figure
    chosen = [event.what for event in events(release) if event.phase == phase]
    while len(chosen) > 7:
        chosen.remove(rng.choice([what for what in chosen[1:-1] if "relocations" not in what]))
    letters, right = shuffled(rng, chosen)
    lines = "\n".join(f"    {letter}  {what}" for letter, what in letters.items())
    return Problem(
        ask=f"nfsd_demo is {phase}, on {release}, and its livepatch is enabled. Put these in order:\n\n{lines}",
        answer=right,
        form=f'the letters in order, like "{"".join(sorted(right))}"',
        hints=("Relocations first, then the callback that may say no, then the redirection." if phase == "coming" else
               "The module's own code ends first; its functions are redirected until then.",
               f"It begins with “{chosen[0]}” and ends with “{chosen[-1]}”."),
        steps=[f"{right[number]}: {what}" for number, what in enumerate(chosen)],
        judge=in_order(right),
        because="That is the order of kernel/module/main.c and kernel/livepatch/core.c.")  # fmt: skip


# How a swap ends, whether the kernel has the check, what is asked, and what is said to a right answer.
_SWAPS = (
    ("corrupt", False, "On a kernel without the check: which swap makes the CPU run bytes that nobody wrote?",
     "Both write the same bytes, and the replacement is meant to have the last word."),
    ("refused", True, "On a kernel with the check: which swap ends in a refused load?",
     "The relocation finds the replacement where it wants zeros."),
    ("old", False, "Which swap lets the target's init() run a function that is not patched yet?",
     "That is why livepatch is told while a module is COMING, not when it is LIVE."),
)  # fmt: skip


def _swap(rng: random.Random) -> Problem:
    wanted, check, question, because = rng.choice(_SWAPS)
    outcomes = [ends(swapped(n), check) for n in range(len(EVENTS) - 1)]
    letters, right = shuffled(rng, EVENTS)
    lines = "\n".join(f"    {letter}  {what}" for letter, what in letters.items())
    neighbours = ["".join(sorted(right[n : n + 2])) for n in range(len(outcomes))]

    def judge(answer: object) -> str | None:
        if not isinstance(answer, (str, list, tuple, set)):
            return 'Give two letters, like "ab".'
        given = "".join(sorted("".join(map(str, answer)).replace(",", "").replace(" ", "").casefold()))
        if given not in neighbours:
            return "These two are not neighbours in the right order."
        found = outcomes[neighbours.index(given)]
        return None if found == wanted else f"With these two swapped it ends like this: {_SAID[found]}."

    return Problem(
        ask=f"Below are five events, shuffled. Put them in their right order; then swap two neighbours. {question}\n\n{lines}",
        answer=neighbours[outcomes.index(wanted)],
        form='two letters, like "ab"',
        hints=("First find the right order: what belongs to the livepatch's own load comes before what waits for the target.",
               "Ask of each pair whether the two touch the same bytes, or whether code runs between them."),
        steps=(f"The right order: {right}.",
               *(f"{right[n]} and {right[n + 1]} swapped: {_SAID[found]}." for n, found in enumerate(outcomes))),
        judge=judge,
        because=because)  # fmt: skip


_SAID = {
    "right": "the patched function runs, and its bytes are right",
    "corrupt": "the CPU runs bytes that nobody wrote",
    "old": "init() runs a function that is not patched yet",
    "refused": "the load is refused",
}

EXERCISES = {"order": Exercise("coming and going, in order", _order), "swap": Exercise("which swap corrupts", _swap)}
