"""The stories that the course walks through, on x86_64; those of ppc64le are in stubs.py, those about proposals in proposals.py."""

from __future__ import annotations

import random
from collections.abc import Iterator

from .scenario import DISABLE, GONE, LIVEPATCH, PATCH, TARGET, Scenario, by_name, disable

# fmt: off
SCENARIOS = by_name((
    Scenario("reload", "remove and reload", "A patched module is removed and loaded again. Does it load?",
             (TARGET, PATCH, GONE, TARGET)),
    Scenario("late", "patched late, then reloaded",
             "The livepatch is there before its target. Does the second load work like the first?",
             (PATCH, TARGET, GONE, TARGET)),
    Scenario("moved", "reload at another address", "Another module takes the freed place. Does a new address help?",
             (TARGET, PATCH, GONE, "insmod lockd_demo.ko", TARGET)),
    Scenario("init-fails", "init() fails, then a good load",
             "Nobody removed anything: the first load failed by itself. Does the next one work?",
             (PATCH, "insmod nfsd_demo_failinit.ko", TARGET), {"nfsd_demo_failinit.ko": -19}),
    Scenario("retry", "try again, and again", "The reload was refused. Does it help to try once more?",
             (TARGET, PATCH, GONE, TARGET, TARGET)),
    Scenario("workaround", "disable, unload, start over", "How does a system get out of it?",
             (TARGET, PATCH, GONE, TARGET, DISABLE, f"rmmod {LIVEPATCH}", TARGET, PATCH)),
    Scenario("disabled", "disable first, then reload",
             "A disabled livepatch stays loaded. Do its old bytes still hurt?", (TARGET, PATCH, DISABLE, GONE, TARGET)),
    Scenario("cumulative", "one patch for two modules, replaced",
             "A cumulative livepatch replaces another. Which bytes are left behind?",
             (TARGET, "insmod livepatch_cumul1.ko", "insmod livepatch_cumul2.ko", "rmmod livepatch_cumul1",
              "insmod lockd_demo.ko", GONE, TARGET, "rmmod lockd_demo", "insmod lockd_demo.ko")),
    Scenario("stacked", "two livepatches, one target",
             "Two livepatches patch one module. What happens to both when it goes and comes?",
             (TARGET, PATCH, "insmod livepatch_stacked.ko", GONE, TARGET)),
    Scenario("dependency", "an ordinary dependency",
             "This livepatch uses an exported symbol of its target. What may be removed?",
             ("insmod livepatch_dep_demo.ko", TARGET, "insmod livepatch_dep_demo.ko", GONE,
              disable("livepatch_dep_demo"), "rmmod livepatch_dep_demo", GONE, TARGET)),
    Scenario("foreign-write", "somebody else wrote there",
             "One byte of a site was changed by a stranger. What does clearing do?",
             (TARGET, PATCH, f"poke {LIVEPATCH}:{{site}} 1122334455667788", GONE, TARGET)),
))


def _moves(times: int) -> Iterator[str]:
    """Reload after reload, with another module that takes the place and gives it back. Looked at every tenth time."""
    yield from (TARGET, PATCH)
    for number in range(times):
        yield f"~{GONE}"
        yield "~insmod lockd_demo.ko" if number % 2 == 0 else "~rmmod lockd_demo"
        yield TARGET if number % 10 == 9 else f"~{TARGET}"


# Where 6.12 still has a hole, and where it has none.
AFTER_THE_FIX = by_name((
    Scenario("half-way", "the second livepatch of two fails", "What is undone, and what stays?",
             (PATCH, "insmod livepatch_stacked+function-missing.ko", TARGET, TARGET)),
    Scenario("callback-fails", "pre_patch says no to a loading target", "What is left when the last step fails?",
             ("insmod livepatch_callbacks.ko pre_patch_ret=-19", TARGET, TARGET,
              "echo 0 > /sys/module/livepatch_callbacks/parameters/pre_patch_ret", TARGET)),
    Scenario("fifty-moves", "fifty reloads at changing addresses", "Does any of them work?", tuple(_moves(50))),
))
# fmt: on


def busy(seed: int) -> Scenario:
    """The reload on a busy machine: while the target is away, other modules may come and take its place.

    The same seed is the same story.

    >>> busy(7) == busy(7)
    True
    """
    rng = random.Random(seed)
    commands = [f"insmod {file}" for file in rng.sample(["filler4k.ko", "filler64k.ko"], rng.randint(0, 2))]
    commands += [TARGET, PATCH, GONE]
    if rng.random() < 0.75:
        commands.append("insmod lockd_demo.ko")
    title, question = f"reload on a busy machine, seed {seed}", "Where does the module land, and does it matter?"
    return Scenario(f"busy-{seed}", title, question, (*commands, TARGET))
