"""Stories that part the proposals: on today's kernels most of them are dull, and that is the point."""

from __future__ import annotations

from ..model.state import Machine
from .scenario import LIVEPATCH, TARGET, Scenario, by_name

CUMULATIVE = "livepatch_five"  # patches five modules
BOTH = (TARGET, f"modprobe {CUMULATIVE}")

# fmt: off
PROPOSAL_STORIES = by_name((
    Scenario("corrupted", "a damaged livepatch", "One relocation is 8 bytes off. Who notices?",
             (TARGET, f"insmod {LIVEPATCH}+offset-off-by-8.ko")),
    Scenario("target-later", "the livepatch first, its target later",
             "Does the fix reach a module that is loaded after it?", (f"modprobe {LIVEPATCH}", "modprobe nfsd_demo")),
    Scenario("one-in-use", "a cumulative livepatch, one target in use",
             "One of its targets is loaded. How many are afterwards?", BOTH),
    Scenario("no-hardware", "a target whose hardware is absent",
             "Its init() finds no device. Can the machine be patched?", BOTH,
             machine=Machine(without_hardware=frozenset({"kvm_demo"}))),
    Scenario("not-installed", "a target that is not installed",
             "Its package is not on this machine. Can the machine be patched?", BOTH,
             machine=Machine(not_installed=frozenset({"sunrpc_demo"}))),
    Scenario("blacklisted", "a target that the administrator forbids",
             "module_blacklist= names it. Can the machine be patched?", BOTH,
             machine=Machine(blacklist=frozenset({"fuse_demo"}))),
    Scenario("spanning", "one fix for two loaded modules", "Both must change together. Do they?",
             (TARGET, "insmod lockd_demo.ko", "insmod livepatch_cumul1.ko")),
    Scenario("race", "a newer livepatch while a target is loading",
             "The target waits for its part of the old one. Which edition does it run in the end?",
             ("insmod livepatch_cumul1.ko", f"{TARGET} &", "insmod livepatch_cumul2.ko", "wait nfsd_demo")),
))
# fmt: on
# Those that need no machine of their own and no proposal: real kernels have told them too.
ON_ANY_KERNEL = ("corrupted", "target-later", "one-in-use", "spanning")
