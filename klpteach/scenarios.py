"""The stories of the course as command lists, and the one call that runs a story in the model."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .elf import ModuleFile
from .errors import ScenarioError
from .kernel import Kernel
from .klp import sites
from .recording import Recording


@dataclass(frozen=True)
class Scenario:
    """A story: its name, a title, what it asks, the commands, and what each module's own init() returns (0 unless named)."""

    name: str
    title: str
    question: str
    commands: tuple[str, ...]
    init_errno: Mapping[str, int] = field(default_factory=dict)


TARGET, PATCH = "insmod nfsd_demo.ko", "insmod livepatch_nfsd_demo.ko"
GONE, DISABLE = "rmmod nfsd_demo", "echo 0 > /sys/kernel/livepatch/livepatch_nfsd_demo/enabled"

SCENARIOS: Mapping[str, Scenario] = {
    s.name: s
    for s in (
        Scenario(
            "reload",
            "remove and reload",
            "A patched module is removed and loaded again. Does it load?",
            (TARGET, PATCH, GONE, TARGET),
        ),
        Scenario(
            "late",
            "patched late, then reloaded",
            "The livepatch is there before its target. Does the second load work like the first?",
            (PATCH, TARGET, GONE, TARGET),
        ),
        Scenario(
            "moved",
            "reload at another address",
            "Another module takes the freed place. Does a new address help?",
            (TARGET, PATCH, GONE, "insmod lockd_demo.ko", TARGET),
        ),
        Scenario(
            "init-fails",
            "init() fails, then a good load",
            "Nobody removed anything: the first load failed by itself. Does the next one work?",
            (PATCH, "insmod nfsd_demo_failinit.ko", TARGET),
            {"nfsd_demo_failinit.ko": -19},
        ),
        Scenario(
            "retry",
            "try again, and again",
            "The reload was refused. Does it help to try once more?",
            (TARGET, PATCH, GONE, TARGET, TARGET),
        ),
        Scenario(
            "workaround",
            "disable, unload, start over",
            "How does a system get out of it?",
            (TARGET, PATCH, GONE, TARGET, DISABLE, "rmmod livepatch_nfsd_demo", TARGET, PATCH),
        ),
        Scenario(
            "disabled",
            "disable first, then reload",
            "A disabled livepatch stays loaded. Do its old bytes still hurt?",
            (TARGET, PATCH, DISABLE, GONE, TARGET),
        ),
        Scenario(
            "cumulative",
            "one patch for two modules, replaced",
            "A cumulative livepatch replaces another. Which bytes are left behind?",
            (
                TARGET,
                "insmod livepatch_cumul1.ko",
                "insmod livepatch_cumul2.ko",
                "rmmod livepatch_cumul1",
                "insmod lockd_demo.ko",
                GONE,
                TARGET,
                "rmmod lockd_demo",
                "insmod lockd_demo.ko",
            ),
        ),
        Scenario(
            "stacked",
            "two livepatches, one target",
            "Two livepatches patch one module. What happens to both when it goes and comes?",
            (TARGET, PATCH, "insmod livepatch_stacked.ko", GONE, TARGET),
        ),
        Scenario(
            "dependency",
            "an ordinary dependency",
            "This livepatch uses an exported symbol of its target. What may be removed?",
            (
                "insmod livepatch_dep_demo.ko",
                TARGET,
                "insmod livepatch_dep_demo.ko",
                GONE,
                "echo 0 > /sys/kernel/livepatch/livepatch_dep_demo/enabled",
                "rmmod livepatch_dep_demo",
                GONE,
                TARGET,
            ),
        ),
        Scenario(
            "foreign-write",
            "somebody else wrote there",
            "One byte of a site was changed by a stranger. What does clearing do?",
            (TARGET, PATCH, "poke livepatch_nfsd_demo:{site} 1122334455667788", GONE, TARGET),
        ),
    )
}


def get(name: str) -> Scenario:
    """A story by name. Errors: ScenarioError, which lists the names."""
    from .evidence import EVIDENCE  # it is made of Scenarios

    found = SCENARIOS.get(name) or EVIDENCE.get(name)
    if found is None:
        raise ScenarioError(f"unknown story {name!r}; there are {', '.join([*SCENARIOS, *EVIDENCE])}.")
    return found


def busy(seed: int) -> Scenario:
    """The reload on a busy machine: while the target is away, other modules may come and take its place.

    The same seed is the same story.

    >>> busy(7) == busy(7)
    True
    """
    rng = random.Random(seed)
    before = [f"insmod {file}" for file in rng.sample(["filler4k.ko", "filler64k.ko"], rng.randint(0, 2))]
    between = ["insmod lockd_demo.ko"] * (rng.random() < 0.75)
    return Scenario(
        f"busy-{seed}",
        f"reload on a busy machine, seed {seed}",
        "Where does the module land, and does it matter?",
        (*before, TARGET, PATCH, GONE, *between, TARGET),
    )


def simulate(
    scenario: str | Scenario,
    release: str = "6.1",
    proposals: Iterable[str] = (),
    arch: str = "x86_64",
    *,
    ko: str | os.PathLike[str] | None = None,
) -> Recording:
    """Run a story in the model, to its end or to an oops, and return the recording.

    Errors: ScenarioError, PolicyError, ModuleFormatError.

    >>> story = simulate("reload", release="6.1")
    >>> [step.errno for step in story]
    [0, 0, 0, -8]
    """
    story = get(scenario) if isinstance(scenario, str) else scenario
    kernel = Kernel(arch, release, proposals, ko=ko, scenario=story.name, title=story.title)
    kernel.init_errno.update(story.init_errno)
    kernel.recording.init_errno = dict(story.init_errno)
    for command in commands_for(story, kernel.ko):
        if kernel.run(command.lstrip("~")).oops:
            break
    return kernel.recording


def commands_for(story: Scenario, folder: Path) -> list[str]:
    """The story's commands, with {site} in `poke MODULE:{site} HEX` replaced by the first site that livepatch writes there.

    A site's place is known only when the module has been built. Errors: ScenarioError where the file has none.
    """
    return [_with_site(command, folder) for command in story.commands]


def _with_site(command: str, folder: Path) -> str:
    if "{site}" not in command:
        return command
    module = command.split()[1].partition(":")[0]
    site = next(sites(ModuleFile.open(folder / f"{module}.ko")), None)
    if site is None:
        raise ScenarioError(f"{command}: {module} has no livepatch relocation site.")
    return command.replace("{site}", site.key)
