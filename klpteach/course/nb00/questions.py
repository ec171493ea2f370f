"""What notebook 00 asks: the reload of four commands, and one fix for it."""

from __future__ import annotations

import random
from typing import Any

from ...model.policy import PROPOSALS, available, behaviour
from ...scenarios.simulate import simulate
from ...views.reply import Reply
from ..exercise import Exercise, Problem
from ..question import questions, refused_or_loads

TITLE = "start here"


QUESTIONS = questions("""
reload
nfsd_demo is loaded, livepatched, removed. Now you load the same file again. What does Linux 6.1 do?
- loads: It loads, and is patched again
  You expected what most people do, since the file has not changed. But the livepatch has, in memory.
- refused: It refuses the module => it is refused
  The module is fine; what refuses it is something left behind in the livepatch.
- panics: It crashes
  No: the kernel notices, and refuses. A refusal is the kinder failure; later you meet kernels that do not notice.
""", {"reload": lambda: refused_or_loads("reload")})  # fmt: skip


def judge_fix(proposal: Any, release: str = "6.1") -> Reply:
    """Let the model try a proposal, or a list of them, on the reload. The explorer's labels are understood as well."""
    if not isinstance(proposal, (str, list, tuple, set)):
        return Reply("?", "A proposal is a name in quotes.", "Try kt.check_fix('deny-removal').")
    names = [_name(one) for one in ([proposal] if isinstance(proposal, str) else proposal)]
    behaviour(release, names)  # an impossible mix says why
    story = simulate("reload", release, names)
    refused = next((step for step in story if step.errno), None)
    if refused is None:
        return Reply("✓", "The reload works.", "Read on: what it costs is another question.")
    if refused.command.startswith("rmmod"):
        in_use = "rmmod itself says that the module is in use. Whether that is a fix is what they argued about; "
        return Reply("✗", "There is no reload.", f"{in_use}look for one that lets the module go and come back.")
    return Reply("✗", "Still refused.", refused.lines[0] if refused.lines else "")


def _name(text: Any) -> str:
    """A proposal's name, from its name or its label in any case."""
    tidy = str(text).strip().casefold()
    return next((name for name, one in PROPOSALS.items() if tidy in (name, one.label.casefold())), str(text))


def _fix(_: random.Random) -> Problem:
    works = [name for name in available(readings=False) if judge_fix(name).mark == "✓"]
    return Problem(
        ask="Name a proposal that lets the module go and come back: put it in quotes.",
        answer=works,
        shown=" or ".join(works),
        form='a name in quotes, like "deny-removal"; one of the three above will do, or any other that the explorer offers',
        hints=("The bytes must be zero when the module comes back, or nobody may look at them.",
               f"{len(works)} of the {len(available(readings=False))} do it. Tick them one by one in the explorer, and look at the last command."),
        steps=("The reload is refused because the check finds bytes that are not zero.",
               "So a fix must stop looking, put zeros back when the target goes, or not write late; one that keeps the target from going has no reload.",
               "The model tries every proposal on the four commands; these end without an error:"),
        judge=judge_fix)  # fmt: skip


EXERCISES = {"fix": Exercise("a fix that lets the reload work", _fix, seeded=False)}
