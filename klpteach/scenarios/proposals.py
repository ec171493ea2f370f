"""Stories that part the proposals: on today's kernels most of them are dull, and that is the point."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..model.modprobe import Machine
from .simulate import TARGET, Scenario

CUMULATIVE = "livepatch_five"  # patches five modules


def _stories() -> Iterator[Scenario]:
    both = (TARGET, f"modprobe {CUMULATIVE}")
    yield Scenario(
        "corrupted",
        "a damaged livepatch",
        "One relocation is 8 bytes off. Who notices?",
        (TARGET, "insmod livepatch_nfsd_demo+offset-off-by-8.ko"),
    )
    yield Scenario(
        "target-later",
        "the livepatch first, its target later",
        "Does the fix reach a module that is loaded after it?",
        ("modprobe livepatch_nfsd_demo", "modprobe nfsd_demo"),
    )
    yield Scenario(
        "one-in-use",
        "a cumulative livepatch, one target in use",
        "One of its targets is loaded. How many are afterwards?",
        both,
    )
    yield Scenario(
        "no-hardware",
        "a target whose hardware is absent",
        "Its init() finds no device. Can the machine be patched?",
        both,
        machine=Machine(without_hardware=frozenset({"kvm_demo"})),
    )
    yield Scenario(
        "not-installed",
        "a target that is not installed",
        "Its package is not on this machine. Can the machine be patched?",
        both,
        machine=Machine(not_installed=frozenset({"sunrpc_demo"})),
    )
    yield Scenario(
        "blacklisted",
        "a target that the administrator forbids",
        "module_blacklist= names it. Can the machine be patched?",
        both,
        machine=Machine(blacklist=frozenset({"fuse_demo"})),
    )
    yield Scenario(
        "spanning",
        "one fix for two loaded modules",
        "Both must change together. Do they?",
        (TARGET, "insmod lockd_demo.ko", "insmod livepatch_cumul1.ko"),
    )
    yield Scenario(
        "race",
        "a newer livepatch while a target is loading",
        "The target waits for its part of the old one. Which edition does it run in the end?",
        ("insmod livepatch_cumul1.ko", f"{TARGET} &", "insmod livepatch_cumul2.ko", "wait nfsd_demo"),
    )


PROPOSAL_STORIES: Mapping[str, Scenario] = {story.name: story for story in _stories()}
# Those that need no machine of their own and no proposal: real kernels have told them too.
ON_ANY_KERNEL = ("corrupted", "target-later", "one-in-use", "spanning")
