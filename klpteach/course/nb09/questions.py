"""What notebook 09 asks: what was merged, what 6.12 still refuses, how stubs end, and a fix for somebody's wishes."""

from __future__ import annotations

import random
import re
from functools import partial
from textwrap import fill
from typing import Any

from ...discussion.thread import read_timeline
from ...fleet import Fleet, run_fleet
from ...model.policy import why_impossible
from ...reading.history import History
from ...scenarios.simulate import simulate
from ..checks import as_names, as_number
from ..choices import ASKS, every_story
from ..exercise import Exercise, Problem
from ..question import questions
from .designs import Wishes, in_words, satisfying, unmet, wishes
from .logs import CAUSES, Log, log
from .own_patch import mend_half_way, mend_stubs
from .stranger import right_bytes

TITLE = "stability or flexibility"
WISHED = {"works": "works", "refused": "is refused"}


def what_became_of_the_rfc() -> str:
    """What was agreed about the second RFC in October 2019, from data/timeline.csv: "merged", "waits" or "denied"."""
    said = " ".join(event.what for event in read_timeline() if event.date.startswith("2019-10"))
    return "waits" if "wait" in said else "denied" if "den" in said else "merged"


def whose_site() -> str:
    """In which module the second try of half-way finds what is not zero: "first", "second" or "target"."""
    recording = simulate("half-way", "6.12")
    key = History(recording).failing(len(recording) - 1) or ""
    return (
        "second" if key.startswith("livepatch_stacked") else "first" if key.startswith("livepatch_nfsd") else "target"
    )


def right_bytes_end() -> str:
    """How the load ends that finds the very bytes it is about to write, on 6.12: "loads" or "refused"."""
    return "refused" if right_bytes("6.12")[-1].errno else "loads"


def third_move() -> str:
    """How the third move ends where the table of stubs ends with its page: "loads", "refused" or "oops"."""
    last = simulate("edge", "6.12", arch="ppc64le")[-1]
    if last.oops:
        return "oops"
    return "refused" if last.errno else "loads"


def late_without_late_patching() -> str:
    """What becomes of a target that comes after a livepatch which leaves out late modules."""
    last = simulate("target-later", "6.12", ["no-late-patching"])[-1]
    if last.errno:
        return "refused"
    return "told" if any("nfsd_demo" in line and "livepatch" in line for line in last.lines) else "silent"


def who_runs_unpatched() -> str:
    """Which of two choices leaves machines without their fix for a day or more: "depend", "late", "both" or "none"."""
    mixes = (("hard-dependencies",), ("no-late-patching",))
    depend, late = (tally.unpatched_days > 0 for tally in run_fleet(Fleet(machines=300, days=120, mixes=mixes)))
    return {(True, True): "both", (True, False): "depend", (False, True): "late"}.get((depend, late), "none")


QUESTIONS = questions("""
what-became
October 2019. The second RFC is posted, and it works; the conference is over. What becomes of its clearing in that autumn?
- merged: It is merged
  The first patch of the RFC was. The clearing came three and a half years and nine versions later, by another author.
- denied: It is dropped, and removal is denied instead
  Denial had its own hole, and nobody posted it again.
- waits: It waits for a better answer => it waits
  Josh Poimboeuf had a bad feeling about it, and its author agreed to wait for the real solution. None came.

whose-again
6.12, with the fix. livepatch_nfsd_demo and livepatch_stacked wait for nfsd_demo; the second wants a function that
nfsd_demo does not have. The load ends with −22. You try once more: −8, not zero. In whose memory is that place?
- first: In livepatch_nfsd_demo's, which did nothing wrong
  It had been applied in full, so it is taken back in full: that is what "going" clears.
- second: In livepatch_stacked's, which failed => in that of the one that failed
  It had written before its function was looked up, and the loop that takes back stops before it.
- target: In nfsd_demo's
  It is a fresh copy of the file at each try. Only what stays between two tries can be stale.

right-bytes
6.12. nfsd_demo is away, the sites are zero again. A stranger writes into the first of them the very four bytes that the
next load will write; nfsd_demo comes back to its old address. Does it load?
- loads: It loads: what is to be written is there already
  The clearing compares, before it takes back. What writes still asks one thing only: is it zero?
- refused: It is refused => it is refused
  Nonzero is not the same as different. Right bytes are refused like wrong ones, on 6.12 as on 6.1.

third-move
ppc64le, 6.12. This table of stubs has seven slots, and ends where its page ends. The livepatch needs one more with each
move of its target. Two moves went well; all seven are taken. The third?
- loads: It loads: old stubs are used again
  A stub is found by the address it leads to. Nobody asks for the old address again.
- refused: It is refused with −2
  That is how it ends where memory goes on behind the table. Here the search for a free slot reads behind it.
- oops: The kernel oopses => an oops
  The search reads the next slot before it asks whether there is one. Behind it nothing is mapped.

late-without-late-patching
The livepatch for nfsd_demo is enabled and leaves out what is not loaded. Now nfsd_demo is loaded. What does the kernel
say?
- told: It loads, and a line says that it is not patched
  Somebody would have to write that line, and to keep the list of what was left out.
- silent: It loads, and no line says anything => not a word
  Leaving out means forgetting. The module comes up with the bug that the livepatch is for.
- refused: It is refused
  That is the other half of the idea, and a proposal of its own.

who-runs-unpatched
A year of many machines. Under which of these two does a machine run code that its livepatch should have replaced: if
livepatches depend on their targets, or if modules that come late are left unpatched?
- late: Only where late modules are left unpatched
  That one says so itself. But a livepatch that cannot be loaded at all patches nothing.
- depend: Only under dependencies
  Dependencies do it too; and the other one does it by its nature.
- both: Both => both
  One leaves out late modules. The other leaves out machines that lack one of its targets' hardware.
- none: Neither
  Both give up something, and it is the fix.
""", {
    "what-became": what_became_of_the_rfc, "whose-again": whose_site, "right-bytes": right_bytes_end, "third-move": third_move,
    "late-without-late-patching": late_without_late_patching, 
    "who-runs-unpatched": who_runs_unpatched,
})  # fmt: skip


def _log(rng: random.Random) -> Problem:
    found = log(rng)
    # a long line goes on under itself, so that it fits the page
    page = partial(fill, width=100, subsequent_indent=" " * 9, break_on_hyphens=False)
    lines = "\n".join(page(line, initial_indent=f"    {n:>2} ") for n, line in enumerate(found.lines, 1))
    causes = "\n".join(f"    {letter}  {words}" for letter, words in CAUSES.items())
    sign = found.first_sign
    return Problem(
        ask=f"A 6.12 kernel, with the fix. Lines of livepatch and of the relocation code; call traces are left out:\n\n{lines}\n\n"
        f"What happened, and which line shows it first?\n\n{causes}",
        answer=(found.cause, sign),
        form='a letter and the number of a line, like ("a", 1) or "a 1"',
        hints=("Read from the top. Every line is ordinary until one is not; the last refusal may be a consequence.",
               "A check that finds bytes tells that something wrote them. What failed before it had finished, or who else was there?"),
        steps=(f"Lines 1 to {sign - 1} are those of a good day.",
               f"Line {sign} is not: {found.lines[sign - 1].partition(', loc')[0]}",
               f"That is {found.cause}: {CAUSES[found.cause]}."),
        judge=lambda answer: _judge_log(answer, found),
        because=_AFTERWARDS[found.cause])  # fmt: skip


_AFTERWARDS = {
    "a": "Its relocations were written before the callback was asked. From then on the check speaks, and not the callback.",
    "b": "Clearing compares first. It warned, left the rest of the section alone, and the next load found it.",
    "c": "Nothing gives stubs back. Only a livepatch that is loaded anew has an empty table.",
    "d": "What the livepatch had written before it looked for the function stays; later tries are refused for another reason.",
    "e": "The livepatch's own load failed: nothing was ever applied from it.",
}


def _judge_log(answer: Any, found: Log) -> str | None:
    parts = re.findall(r"\w+", answer) if isinstance(answer, str) else answer
    line = as_number(parts[1]) if isinstance(parts, (tuple, list)) and len(parts) == 2 else None
    if line is None:
        return 'Give two things: a letter and the number of a line, like ("a", 1).'
    letter = str(parts[0]).strip().casefold()
    if letter not in CAUSES:
        return f"The letter is one of {', '.join(CAUSES)}."
    if letter == found.cause and line == found.first_sign:
        return None
    if line == found.refusal and line != found.first_sign:
        return "That is the line that refuses. The bytes it found were left by something before it."
    if letter == found.cause:
        return "The cause is right; another line shows it first."
    return "The line is right; it means something else." if line == found.first_sign else ""


def _design(rng: random.Random) -> Problem:
    wanted = wishes(rng)
    good = satisfying(wanted)
    lines = "\n".join(f"    {ASKS[name].asks}: {WISHED[ASKS[name].wish]}" for name in wanted.stories)
    return Problem(
        ask=f"A customer runs {wanted.release} on {wanted.arch} and wishes for this:\n\n{lines}\n\nDesign a fix: a list of "
        "proposals. It is tested in every story of that kernel, and must satisfy these.",
        answer=list(sorted(good, key=len)[0]),
        form='a list of proposals, like ["clear-relocations", "deny-removal"]',
        hints=(f"As released: {in_words(unmet(wanted, ()))}. Begin with what mends that.",
               f"`kt.consequences_grid({wanted.arch!r}, {wanted.release!r})` has each proposal alone. Which columns have no * in these rows?"),
        steps=(f"The kernel as released: {in_words(unmet(wanted, ()))}.",
               *(f"{' + '.join(mix)}: all {len(wanted.stories)} come out as wished." for mix in good)),
        judge=lambda answer: _judge_design(answer, wanted),
        because="Another customer would wish for something else.")  # fmt: skip


def _judge_design(answer: object, wanted: Wishes) -> str | None:
    mix = tuple(as_names(answer) or ())
    if not mix:
        return "Name at least one proposal."
    if reason := next(filter(None, (why_impossible(name, mix, wanted.arch) for name in mix)), None):
        return reason
    missed, everything = unmet(wanted, mix), every_story(mix, wanted.arch, wanted.release)
    if not missed:
        return None
    count = f"{sum(row.as_wished for row in everything)} of {len(everything)} stories come out as wished, but not these"
    return f"{count}: {in_words(missed)}."


EXERCISES = {
    "log-of-6.12": Exercise("a log of 6.12", _log),
    "design": Exercise("a fix for a customer", _design),
    "mend-half-way": Exercise("mend the load that fails half way", mend_half_way, seeded=False),
    "mend-stubs": Exercise("mend the table that runs out", mend_stubs, seeded=False),
}
