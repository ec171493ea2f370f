"""What the table of consequences asks: each question is a story, told by whoever loads livepatches as a user would."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from .scenario import Scenario

ARCHES = ("x86_64", "ppc64le")  # of data/consequences.csv: those on which proposals were built as kernels
EVERY_ARCH = (*ARCHES, "arm64", "s390x")


@dataclass(frozen=True)
class Question:
    """One row of the table: what is asked, which story answers it on each architecture, and what one would wish for."""

    key: str
    asks: str
    story: Mapping[str, str]
    wish: str = "works"


def _all(key: str, asks: str, wish: str = "works") -> Question:
    return Question(key, asks, dict.fromkeys(EVERY_ARCH, key), wish)


# fmt: off
QUESTIONS: tuple[Question, ...] = (
    _all("reload", "reload at the same address"),
    _all("moved", "reload at other addresses"),
    Question("many-moves", "40 or 50 reloads, each elsewhere",
             {"x86_64": "fifty-moves", "ppc64le": "moved-40", "arm64": "moved-40", "s390x": "fifty-moves"}),
    _all("init-fails", "init() fails, then a good load"),
    Question("half-way", "patching fails half way, then all is well",
             {"x86_64": "callback-fails", "ppc64le": "half-way", "arm64": "half-way", "s390x": "slot-half-way"}),
    _all("corrupted", "a damaged livepatch", wish="refused"),
    _all("foreign-write", "a stranger wrote to a site"),
    _all("disabled", "disable, then reload"),
    _all("stacked", "two livepatches on one target"),
    _all("cumulative", "a livepatch replaced, then reloads"),
    _all("target-later", "the target comes after the livepatch"),
    _all("one-in-use", "five targets, one in use"),
    _all("no-hardware", "hardware of one target absent"),
    _all("not-installed", "one target not installed"),
    _all("blacklisted", "one target forbidden"),
    _all("race", "a newer livepatch while a target loads"),
    _all("spanning", "one fix for two loaded modules"),
    Question("vmlinux", "a livepatch for vmlinux and a module", {"x86_64": "vmlinux"}),
    Question("data-only", "a livepatch that calls nothing", {"ppc64le": "data-only", "arm64": "data-only"}),
    Question("one-call", "a livepatch with one call, moved", {"ppc64le": "one-call", "arm64": "one-call"}),
    Question("edge", "stubs up to the end of a page, moved", {"ppc64le": "edge"}),
    Question("far", "reload out of a branch's reach", {"arm64": "far"}),
    Question("unaligned", "pointers in a packed table", {"arm64": "unaligned"}),
    Question("empty-place", "moved, and nothing at the old place", {"s390x": "empty-place"}),
    Question("hidden", "hidden symbols, moved", {"s390x": "hidden"}),
)
# fmt: on


def by_modprobe(story: Scenario) -> Scenario:
    """The story with its livepatches loaded as a user would: by modprobe, which alone looks for what a module needs.

    Without dependencies that is the same as insmod.
    """
    found = re.compile(r"(~?)insmod (livepatch_\w+)\.ko\b")
    return replace(story, commands=tuple(found.sub(r"\1modprobe \2", command) for command in story.commands))


# What has a function that can be run: reading it tells which code is in force, and whether that can be run at all.
USE = ("cat /proc/nfsd_demo", "cat /proc/lockd_demo", "cat /proc/kvm_demo")


# But on x86_64 a call that is not written leads to itself: who runs the damaged livepatch never comes back, and tells nothing.
NEVER_BACK = {("corrupted", arch) for arch in EVERY_ARCH if arch != "x86_64"}


def told(story: Scenario, arch: str = "x86_64") -> Scenario:
    """A story as the table of consequences tells it: livepatches by modprobe, and in the end the targets are used."""
    by_user = by_modprobe(story)
    use = () if (story.name, arch) in NEVER_BACK else USE
    return replace(by_user, commands=(*by_user.commands, *use))
