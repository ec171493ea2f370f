"""What notebook 06 asks: where a call leads, which call is named, what must be put back, and how long the stubs last."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from typing import Any

from ...files.relocation_types import NOP
from ...model.recording import Recording
from ...reading.calls import call_at
from ...reading.history import History
from ...reading.steps import nop_line
from ...scenarios.scenario import TARGET
from ...scenarios.simulate import simulate
from ...views.reply import Reply
from ..checks import as_number, function_on
from ..ds_form import DSForm
from ..exercise import Exercise, Problem
from ..question import questions, refused_or_loads
from .restore import BRANCH, LIVEPATCH, PPC, Case, cases, some_loads, words_that_satisfy

TITLE = "the same bug in another dress"
FIRST_CALL = f"{LIVEPATCH}:.text+0x7c"


def _reload() -> Recording:
    return simulate("reload", "6.1", arch=PPC)


def where_the_call_leads() -> str:
    """Where the `bl` of the first call goes after the livepatch was loaded: to a "stub" of its own, or to the "function"."""
    call = call_at(History(_reload()), FIRST_CALL, 1)
    return "stub" if call and call.slot is not None else "function"


def which_call_is_named() -> str:
    """The call that the refused reload names, as the last digits of its place; "all" where it names more than one."""
    story = _reload()
    failing = History(story).failing(len(story) - 1)
    lines = sum("Expected nop" in line for line in story[-1].lines)
    return (failing or "").rpartition("0x")[2] if nop_line(story[-1]) and lines == 1 else "all"


def what_must_be_put_back() -> str:
    """ "zero", "nop", "either" or "neither": the word that a reload on 6.1 accepts behind a call."""
    good = words_that_satisfy()
    return {(0,): "zero", (NOP,): "nop", (0, NOP): "either"}.get(good, "neither")


def moves_that_work() -> int:
    """How many of the four reloads at another address succeed on 6.12."""
    return sum(step.command == TARGET and not step.errno for step in simulate("moved", "6.12", arch=PPC)) - 1


QUESTIONS = questions("""
bl-leads-to
The livepatch calls `demo_scale`, a function of nfsd_demo, some 320 KiB away. A `bl` reaches 32 MiB. Where does the `bl`
lead once both are loaded?
- function: To demo_scale: it is near enough
  It could, as far as the distance goes. But nobody would have kept r2 for the way back.
- stub: To a few instructions in the livepatch's own memory => to a stub in the livepatch
  The stub keeps r2, and it holds the whole 64-bit address, so that the distance does not matter either.
- target: To a few instructions in nfsd_demo's memory
  The target knows nothing of its livepatch, and nobody writes into it. The caller brings its own stub.

which-call
The livepatch has three calls into nfsd_demo: at .text+0x7c, .text+0x9c and .text+0xb0. Each has its `ld r2,24(r1)` from
the first load. Which one does the refused reload name?
- 7c: 0x7c, the first
  The first in the code and in the file. But ppc64le sorts its relocations before it writes them.
- 9c: 0x9c, the one in the middle
  Neither the first nor the last in the code; and in the order of symbol numbers it is the last.
- b0: 0xb0, the last => the one at 0xb0
  ppc64le sorts relocations by symbol number, the highest first. The line names a place, not the first place.
- all: All three, a line each
  The first refusal ends the load. Nobody looks at the others.

data-only
Another livepatch uses two variables of nfsd_demo and calls none of its functions. On 6.1: is its reload refused as
well?
- refused: Refused: its sites hold old addresses, too
  They do. But on ppc64le nobody asks what stood there: an address is written over whatever it finds.
- loads: It loads => it loads, each time
  The only check is the one for a nop behind a call. Without a call there is nothing to check.

put-back
Somebody wants to undo the relocation while nfsd_demo is away, so that the next load of 6.1 is content. Which word
belongs behind the call?
- zero: 0x00000000, as on x86_64
  On x86_64 the file holds zeros. Here the file holds a nop, and the loader compares with that. Zero is no instruction
  at all.
- nop: 0x60000000, a nop => 0x60000000, a nop
  To undo means to give back what the file had. That is zeros on x86_64, and a nop here.
- either: Either will do: both mean that nothing is there
  The loader compares the whole word with one value.

four-moves
Linux 6.12 has the fix. Now nfsd_demo is reloaded four times, each time at a new address. The table of stubs has 11
slots; 8 are used after the first load, 3 of them for nfsd_demo. How many of the four reloads succeed?
- 4: All four: old stubs are reused
  A stub is found again by the address it leads to. A new address is a new stub, and an old one is never given back.
- 1: One
  Three free slots, three calls: enough for one move. Nobody gives the old stubs back.
- 0: None
  The three free slots serve the first move. The second finds none.
""", {
    "bl-leads-to": where_the_call_leads, "which-call": which_call_is_named,
    "data-only": lambda: refused_or_loads("data-only", arch=PPC), "put-back": what_must_be_put_back,
    "four-moves": lambda: str(moves_that_work()),
})  # fmt: skip


def _encoded(rng: random.Random) -> Problem:
    forms = [DSForm.of(0xE8410018), *some_loads(rng, 4)]
    tests = [((form.RT, 4 * form.DS, form.RA), form.word) for form in forms]
    shown = "\n".join(f"    ld({rt}, {offset}, {ra})  ->  {word:#010x}" for (rt, offset, ra), word in tests[:2])
    return Problem(
        ask="Write `ld(rt, offset, ra)`: the word of the instruction `ld rt,offset(ra)`. From the left: 58 in 6 bits, RT in 5, "
        "RA in 5, the offset divided by four in 14, and 0 in 2. It is tried on words that a compiler put into the sample "
        f"modules, and on the one of this notebook:\n\n{shown}\n\nBy hand instead: the word of {forms[2].text}.",
        answer=lambda rt, offset, ra: DSForm(58, rt, ra, offset // 4, 0).word,
        shown="def ld(rt, offset, ra):\n    return 58 << 26 | rt << 21 | ra << 16 | offset & 0xfffc",
        form="the function itself: ld, without brackets; or one word, like 0xe8410018",
        hints=("A field that begins n bits from the right is shifted by n: 58 << 26, RT << 21, RA << 16.",
               "The offset is a multiple of 4, so its last two bits are 0 already: `offset & 0xfffc` puts it in place, its sign too."),
        steps=("58 << 26 is the opcode, rt << 21 and ra << 16 are the registers.",
               "The offset divided by four, moved up by two bits, is the offset itself; "
               "a negative one is cut to 16 bits.",
               "For ld r2,24(r1): 0xe8000000 + 0x00400000 + 0x00010000 + 0x00000018 = 0xe8410018."),
        judge=_or_by_hand(function_on(tests, "ld"), forms[2].word),
        because="These are the compiler's words, and the kernel's.")  # fmt: skip


def _decoded(rng: random.Random) -> Problem:
    form = some_loads(rng, 3)[rng.randrange(3)]
    right = (form.RT, 4 * form.DS, form.RA)
    bytes_ = form.word.to_bytes(4, "little").hex(" ")
    wrong = [
        ((form.RT, form.DS, form.RA), "DS counts words of four bytes: times 4."),
        ((form.RA, 4 * form.DS, form.RT), "The two registers are the other way round: RT comes first in the word."),
        ((form.RT, 4 * (form.DS & 0x3FFF), form.RA), "The offset has a sign, and its highest bit is set."),
    ]
    return Problem(
        ask=f"In a module's code these four bytes stand, in the order of memory. They are a load, `ld rt,offset(ra)`. Which?\n\n    {bytes_}",
        answer=right,
        form="(rt, offset, ra), three numbers; the report's word would be (2, 24, 1)",
        hints=("ppc64le is little-endian: turn the four bytes round to get the word.",
               f"The word is {form.word:#010x}. RT is `word >> 21 & 31`, RA is `word >> 16 & 31`, the offset `word & 0xfffc` with its sign."),
        slips=[(answer, words) for answer, words in wrong if answer != right],
        steps=(f"turned round: {form.word:#010x}",
               f"RT = word >> 21 & 31 = {form.RT}, RA = word >> 16 & 31 = {form.RA}",
               f"word & 0xfffc = {form.word & 0xFFFC:#x}, "
               f"as a signed 16-bit number {right[1]}: {form.text}"))  # fmt: skip


def _restore(rng: random.Random) -> Problem:
    release = rng.choice(("6.1", "6.12"))
    known, tests = dict(cases(release)), list(cases(release))
    rng.shuffle(tests)
    restored = "Anything else is refused, 0xe8410018 too.", "6.1 knows nothing but nop, and refuses."
    if release != "6.1":
        restored = "0xe8410018 is done already. Anything else is refused.", "since 6.3 that is fine (37251c7114e1)."
    first = next(case for case in tests if case[0] == (BRANCH, NOP))
    tests.remove(first)
    two = sorted(tests[1:], key=lambda case: not case[0][0] & 1)[:2]  # calls before plain branches
    return Problem(
        ask=f"Write `restore_r2(call, after)` as Linux {release} does it: `call` is the word at the call, `after` the word behind "
        "it. Give back the word that stands behind the call in the end, or -8 where the kernel refuses. It is tried on what the "
        f"sample livepatches bring, at their first load and at a reload:\n\n    {_call(first)}\n    {_call(tests[0])}\n\n"
        f"By hand instead: what does it give for these two?\n\n{_asked(two)}",
        answer=lambda call, after: known[call, after],
        shown=_code(release),
        form="the function itself: restore_r2, without brackets; or two results, like (0xe8410018, -8)",
        hints=("A plain branch (`b`, the last bit of the word is 0) never comes back: whatever is behind it stays as it is.",
               f"A nop becomes 0xe8410018. {restored[0]}"),
        steps=("`call & 1` is 0: a plain branch. It needs no r2, so `after` stays.",
               "`after` is 0x60000000: it becomes 0xe8410018.",
               f"`after` is 0xe8410018 already: {restored[1]}",
               "Anything else is refused: -8."),
        judge=_or_by_hand(function_on([first, *tests], "restore_r2"), *(result for _, result in two)),
        because=f"That is restore_r2() of {release}.")  # fmt: skip


def _asked(two: Sequence[Case]) -> str:
    return "\n".join(f"    restore_r2({call:#010x}, {after:#010x})" for (call, after), _ in two)


def _or_by_hand(judge: Callable[[Any], str | None], *right: int) -> Callable[[Any], Reply | str | None]:
    """A judge that takes the function, or these numbers in its place."""

    def either(answer: Any) -> Reply | str | None:
        given = re.findall(r"-?\w+", answer) if isinstance(answer, str) else answer
        numbers = [as_number(one) for one in (given if isinstance(given, (list, tuple)) else [given])]
        if callable(answer) or None in numbers or not numbers:
            return judge(answer)
        if [one if one is None or one < 0 else one & 0xFFFFFFFF for one in numbers] == list(right):
            return Reply("✓", "Right, by hand.", "The function would do so for every word.")
        return f"By hand: {len(right)} number{'s' * (len(right) > 1)}. Look at the bits one field at a time."

    return either


def _call(case: Case) -> str:
    (call, after), result = case
    return f"restore_r2({call:#010x}, {after:#010x})  ->  {result if result < 0 else f'{result:#010x}'}"


def _code(release: str) -> str:
    done = "" if release == "6.1" else "    if after == 0xe8410018:\n        return after\n"
    ends = "    return 0xe8410018 if after == 0x60000000 else -8"
    return f"def restore_r2(call, after):\n    if not call & 1:\n        return after\n{done}{ends}"


EXERCISES = {"encode-ld": Exercise("the word of a load", _encoded),
             "decode-ld": Exercise("a load out of four bytes", _decoded),
             "restore-r2": Exercise("write the restore", _restore)}  # fmt: skip
