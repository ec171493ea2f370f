"""The exercise of exercises: the reader's own lines of C, and a real kernel that judges them (klpteach.vm.trial)."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import partial

from ...reading.outcome import ENDINGS
from ...views.reply import Reply
from ...vm.trial import Row, Told, try_patch
from ...vm.trial.compile import Base
from ..choices import ASKS, every_story
from ..exercise import Problem

_HOW = (
    'Write a patch against Debian\'s source of that kernel, then `kt.check({name!r}, "my.patch")`. It is built and booted, and '
    "tells every story: ten minutes the first time, two later; Linux with QEMU, gcc, git and apt is needed. By hand: `klpteach vm "
    'try my.patch --kernel {kernel}`. Where that cannot be had, `kt.exercise("design")` asks the model instead.'
)


def mend_half_way(_: object = None) -> Problem:
    """A load that fails half way leaves the failing livepatch's relocations written: the hole of section 3."""
    return Problem(
        ask="On 6.12 a load that fails half way leaves bytes behind, and from then on the module is refused. Mend it in C.\n\n"
        + _HOW.format(name="mend-half-way", kernel="6.12"),
        answer=row_of_ours("6.12", ("clear-also-on-error",)),
        form='the name of your patch file, like "my.patch"; or the row that kt.try_patch() gave you',
        hints=("`kt.source(\"klp_module_coming\", \"6.12\")` shows the function. Which patches does its error path take back, and "
               "which has written as well?",
               "`klp_cleanup_module_patches_limited()` stops before the patch that failed. 6.12 has a function that clears one "
               "object's relocations: `klp_clear_object_relocs()`. Call it for that object before the others are taken back."),
        steps=("In klp_module_coming() the label for errors is reached with `patch` and `obj` of the one that failed.",
               "Its relocations are written by klp_init_object_loaded(), before what failed; the cleanup takes back all before it.",
               'One call there clears them: `kt.patch_of("clear-also-on-error", "6.12")` shows our lines; '
               "they pass all stories but the two of a stranger's bytes, which no clearing can mend."),
        judge=partial(judge, kernel="6.12", story="half-way", ours=("clear-also-on-error",)),
        because="We found no public patch that does this; yours may be worth a mail to live-patching@vger.kernel.org.",
        shown='kt.patch_of("clear-also-on-error", "6.12")',
    )  # fmt: skip


def mend_stubs(_: object = None) -> Problem:
    """ppc64le's table of stubs, from which every move of the target takes new slots and none comes back."""
    return Problem(
        ask="On ppc64le each move of the target takes new slots of the livepatch's table of stubs, until there is none. Mend it.\n\n"
        + _HOW.format(name="mend-stubs", kernel="ppc64le-6.12"),
        answer=row_of_ours("ppc64le-6.12", ("reuse-stub",)),
        form='the name of your patch file, like "my.patch"; or the row that kt.try_patch("my.patch", "ppc64le-6.12") gave you',
        hints=("`stub_for_addr()` in arch/powerpc/kernel/module_64.c looks for a stub by the address that it leads to. What does "
               "a call of the last load lead to now?",
               "The call itself still names its stub: a branch that was written once can be followed back to its slot. Let a call "
               "that lies in the table keep its slot, and write the new address into it."),
        steps=("apply_relocate_add() asks stub_for_addr() for every call out of the module, also when it is done anew.",
               "Where the instruction at the place is a branch into this module's .stubs already, the slot that it leads to is its own.",
               "So create_stub() may write that slot anew, and none is taken. `kt.patch_of(\"reuse-stub\", \"6.12\", \"ppc64le\")` shows our "
               "lines, about twenty."),
        judge=partial(judge, kernel="ppc64le-6.12", story="many-moves", ours=("reuse-stub",)),
        because="Forty moves, and the table is as full as after the first. The counter that came in 6.18 makes no room.",
        shown='kt.patch_of("reuse-stub", "6.12", "ppc64le")',
    )  # fmt: skip


def row_of_ours(kernel: str, ours: Iterable[str]) -> Row:
    """The row that our own patch earns, as the model has it."""
    base = Base.named(kernel)
    told = (Told(one.question, one.kind, one.says) for one in every_story(ours, base.arch, base.release))
    return Row(f"{'+'.join(ours)}.patch", "", base.release, base.release, tuple(told), base.arch)


def judge(answer: object, kernel: str, story: str, ours: Iterable[str]) -> Reply | str | None:
    """What a patch's row says: whether the story comes out as wished, and nothing is worse than before or than in our patch.

    Errors: HostError where it cannot be tried here, does not fit or does not compile.
    """
    base = Base.named(kernel)
    if isinstance(answer, Row):
        row = answer
    elif isinstance(answer, str | os.PathLike):
        row = try_patch(answer, kernel)
    else:
        return Reply("?", "This cannot be checked.", 'Give the name of a patch file, like "my.patch".')
    if (row.arch, row.release) != (base.arch, base.release):
        return Reply(
            "?", "This cannot be checked.", f"The row is of {row.arch} {row.release}; the kernel here is {kernel}."
        )
    wished = {one.question for one in every_story(ours, base.arch, base.release) if one.as_wished}
    bad = [one for one in row.told if one.question in wished and one.kind != ASKS[one.question].wish]
    if not bad:
        return None
    first = next((one for one in bad if one.question == story), bad[0])
    kind = ENDINGS[first.kind].words if first.kind in ENDINGS else first.kind
    more = f" So do {len(bad) - 1} more." if len(bad) > 1 else ""
    return (
        f"{ASKS[first.question].asks}: {kind}{f' ({first.says})' if first.says else ''}. It should end otherwise.{more}"
    )
