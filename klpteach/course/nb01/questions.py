"""What notebook 01 asks: whose bytes, which numbers, and two exercises: find S behind a log, decode a word of ppc64le."""

from __future__ import annotations

import random
import re
from typing import Any

from ...model.recording import Recording
from ...model.step import hexa
from ...scenarios.recorded import evidence
from ...scenarios.scenario import GONE, PATCH, TARGET, Scenario
from ...scenarios.simulate import simulate
from ...views.explorer.instructions import instruction
from ..ds_form import DSForm
from ..exercise import Exercise, Problem
from ..question import questions
from .val import BOOTS, MASK64, first_site, place, reason, symbol_values, val_is

TITLE = "reading the report"


def whose_bytes() -> str:
    """In whose memory the sites are, asked of the recording: "target" or "livepatch"."""
    owners = {key.partition(":")[0] for key in evidence("reload--6.1--REFUSED")[3].sites or {}}
    return "livepatch" if owners == {"livepatch_nfsd_demo"} else "target"


def loc_again() -> str:
    """How loc behaves over three boots and two tries in one: the place is the same in all of them."""
    by_boot = [{reason(step)["loc"] for step in evidence(name) if reason(step)} for name in BOOTS]
    if any(len(locs) > 1 for locs in by_boot):
        return "always-new"
    return "same" if len(set.union(*by_boot)) == 1 else "per-boot"


QUESTIONS = questions("""
whose-bytes
The last line names nfsd twice and refuses it. In whose memory are the bytes that were not zero?
- target: In nfsd's, the module that is being loaded
  You may have read the refusal as a verdict on nfsd. Its file is fine, and its memory was filled a moment ago;
  livepatch writes addresses of the target into itself, never into the target.
- livepatch: In livepatch_nfsd's, which has been there all the time => the livepatch's own memory
  A livepatch's relocations are places in the livepatch. The target is refused for what its guest has kept.
- kernel: In the kernel's own text
  Calls are redirected through ftrace, not by relocations; what is relocated here is the livepatch's own code and data.

loc-again
The same kernel, without address randomisation, is booted three times. The site stands at the same address in all three.
In one of them the reload is tried twice. What is loc?
- same: The same number everywhere
  You took loc for an address. It has sixteen digits and looks like one; it is a hash of one, with a key drawn at boot.
- per-boot: Another number in every boot, the same for both tries => another number in every boot, the same for both tries
  It is a hash of the address, with a key drawn at boot. Within one boot it tells whether two lines mean the same place.
- always-new: Another number each time it is printed
  The key is drawn once a boot, so one place keeps its number until the next boot.

val-stale-or-new
nfsd_demo came back to another address and was refused. The line ends in `val ffffffffc020d00c`. On 6.1, what is val?
- found: What it found there: the old bytes, as a number
  The line says that an existing value is nonzero, so the number behind it looks like that value. It is not: what was
  found is never printed.
- old: Where the symbol was at the first load, plus the addend
  The first load is over, and nothing remembers its sum but the bytes in place. The kernel prints what it has at hand:
  the new one.
- new: Where the symbol is now, plus the addend => it is S + A, with the new S
  Up to 6.2 the check stands before P is subtracted, so the line shows a sum that is never stored as it is.
- distance: The distance that it wanted to store, S + A − P
  That is what would have been stored. But up to 6.2 the check stands before the subtraction. Keep this answer for 6.12.

val-on-6.12
A kernel 6.12 refuses as well, after something else wrote to a site. Its line ends in `val ffffffffffffc031`. What is
val now?
- found: What it found there: the old bytes, as a number
  Still not. What was found is not printed on any release.
- old: Where the symbol was at the first load, plus the addend
  An address of a module begins with ffffffffc or ffffffffa. This number is small and negative: it is a distance.
- new: Where the symbol is now, plus the addend
  That was right for 6.1. Since 6.3 the check comes after P has been subtracted.
- distance: The distance that it wanted to store, S + A − P => it is S + A − P
  Since 6.3 the check comes last, right before the write, so it prints what would be written.

e8410018
On ppc64le the kernel expected a nop behind a call, and got e8410018. What is e8410018?
- stale: Half of an old address, left from the first load
  On x86_64 it would be. Here the value that depends on the address is in the call before it; this word is the same
  after every load.
- damage: Damage: no instruction at all
  It decodes well, as you will see field by field: a load of register 2 from the stack.
- restore: An instruction that the kernel itself put there at the first load => `ld r2,24(r1)`, put there by the kernel
  The loader replaces the nop by `ld r2,24(r1)`, which puts a register back after the call. On the second load it looks
  for the nop again.
""", {
    "whose-bytes": whose_bytes, "loc-again": loc_again,
    "val-stale-or-new": lambda: val_is(evidence("moved--6.1--REFUSED")),
    "val-on-6.12": lambda: val_is(evidence("foreign-write--6.12--REFUSED")),
    "e8410018": lambda: "restore" if instruction(0xE8410018) == "ld r2,24(r1)" else "damage",
})  # fmt: skip


def _story(rng: random.Random) -> Recording:
    """A refused reload on a machine where other modules came first or in between; since 6.3 a stranger has to help."""
    release = rng.choice(("5.3", "6.1", "6.3", "6.12"))
    slots: list[list[str]] = [[], [], []]
    for file in ("filler4k.ko", "filler64k.ko", "lockd_demo.ko", "filler1m.ko"):
        rng.choice(slots).append(f"insmod {file}")
    poke = ("poke livepatch_nfsd_demo:{site} 1122334455667788",) if release in ("6.3", "6.12") else ()
    commands = (*slots[0], TARGET, *slots[1], PATCH, *poke, GONE, *slots[2], TARGET)
    return simulate(Scenario("log", "a log", "", commands), release)


def _symbol(rng: random.Random) -> Problem:
    story = _story(rng)
    P, S, A, val = place(story), symbol_values(story)[-1], first_site(story).addend, int(reason(story[-1])["val"], 16)
    assert S is not None
    old = story.release in ("5.3", "6.1")
    line = next(line for line in story[-1].lines if "nonzero" in line).replace(", loc", ",\n        loc")  # fits a page
    sum_ = f"{hexa(val)} + {-A}" + ("" if old else f" + {hexa(P)}")
    wrong = (
        (val, "That is val as it stands. The addend is in it."),
        (val + A & MASK64, "The addend went in with its sign; to take it out you subtract it: minus minus four."),
        (val - A + P & MASK64, "You added P. This line is from before 6.3: P had not been subtracted yet."),
        (val - A & MASK64, "Since 6.3 val is a distance: P has been subtracted, so it must come back."),
    )
    return Problem(
        ask=f"A reload was refused, and its first line is\n\n    {line}\n\nThe livepatch's relocation for this place: type 2, "
        f"addend A = {A}. The place is P = `{hexa(P)}`. At which address was the symbol, S, to be found this time?",
        answer=S,
        form="an address that begins with 0x",
        hints=("Does the line say Skipping? That tells whether P has been subtracted yet.",
               "val = S + A up to 6.2, val = S + A − P since 6.3; "
               "solve for S, and keep 64 bits: `& 0xffffffffffffffff`."),
        slips=[(number, words) for number, words in wrong if number != S],
        steps=(f'The line {"says" if old else "does not say"} "Skipping": Linux {"6.2 or older" if old else "6.3 or newer"}.',
               f"So val is {'S + A' if old else 'S + A − P'}.",
               f"S = {'val − A' if old else 'val − A + P'} = {sum_}, in 64 bits."),
        because="A symbol at a round address is a good sign: functions and tables are aligned.")  # fmt: skip


def _word(rng: random.Random) -> Problem:
    opcode, RT, RA = rng.choice((58, 62)), rng.randrange(2, 32), rng.choice((1, 1, 12, 31))
    found = DSForm(opcode, RT, RA, rng.choice((-4, -2, 3, 4, 6, 14)), 0)
    name, swapped = found.text.partition(" ")[0], found._replace(RT=found.RA, RA=found.RT)
    return Problem(
        ask=f"On a ppc64le machine the log says `Expected nop after call, got {found.word:08x}`. Which instruction is that? "
        "Write it as objdump does, like `ld r2,24(r1)`.",
        answer=found.text,
        form="the instruction in quotes, the offset in bytes, decimal or with 0x",
        judge=lambda answer: _judge_word(answer, found, swapped.text),
        hints=("`from klpteach.course import nb01`, then `nb01.word_fields(0x…)` cuts a word into its fields: opcode 6 bits, "
               "RT 5, RA 5, DS 14, XO 2. Opcode 58 is ld, 62 is std.",
               f"The opcode is {found.opcode}; DS counts words of four bytes, and its highest bit is a sign."),
        steps=(f"opcode = `0x{found.word:08x} >> 26` = {found.opcode}, and the last two bits are 0: {name}",
               f"the next five bits: RT = {found.RT}; the five after them: RA = {found.RA}",
               f"the next 14 bits with their sign: DS = {found.DS}; times 4 is {4 * found.DS}"))  # fmt: skip


def _judge_word(answer: Any, found: DSForm, swapped: str) -> str | None:
    def tidy(text: str) -> str:
        """One spelling of all: blanks, %, the r before a number and 0x do not matter."""
        name, _, rest = text.casefold().replace("%", " ").strip().partition(" ")
        rest = re.sub(r"\br(?=\d)", "", "".join(rest.split()))
        return f"{name} {re.sub(r'0x[0-9a-f]+', lambda number: str(int(number[0], 16)), rest)}"

    given = tidy(str(answer))
    if given == tidy(found.text):
        return None
    offset, unsigned = f"{4 * found.DS}(", f"{4 * (found.DS & 0x3FFF)}("
    slips = (
        (swapped, "The two registers are the other way round: RT comes first in the word, RA stands in the brackets."),
        (found.text.replace(offset, f"{found.DS}("), "DS counts words of four bytes."),
        (found.text.replace(offset, unsigned), "DS has a sign: with its highest of 14 bits set it is negative."),
    )
    return next((words for wrong, words in slips if given == tidy(wrong)), "")


EXERCISES = {"symbol-behind-a-log": Exercise("the symbol behind a log", _symbol),
             "decode-a-word": Exercise("decode what stood behind the call", _word)}  # fmt: skip
