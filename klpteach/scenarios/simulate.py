"""The stories of the course as command lists, and the one call that runs a story in the model."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import ScenarioError
from ..files.klp import sites
from ..files.module_file import ModuleFile
from ..files.samples import ko_dir, plain_name
from ..model.errno import ENODEV
from ..model.kernel import Kernel
from ..model.modprobe import Machine
from ..model.recording import Recording


@dataclass(frozen=True)
class Scenario:
    """A story: its name, a title, what it asks, the commands; what each module's own init() returns (0 unless named),
    what is true of the machine it happens on, and which symbols of the kernel itself its livepatches look up."""

    name: str
    title: str
    question: str
    commands: tuple[str, ...]
    init_errno: Mapping[str, int] = field(default_factory=dict)
    machine: Machine = field(default_factory=Machine)
    vmlinux: tuple[str, ...] = ()


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


AFTER_THE_FIX = ("half-way", "callback-fails", "fifty-moves")  # where 6.12 still has a hole, and where it has none


def stories(arch: str = "x86_64", release: str | None = None) -> Mapping[str, Scenario]:
    """The stories of the course on an architecture, by name: those above, those after the fix, those about proposals.

    The same name may stand for other commands on another architecture: what moves a module differs. release: only those
    whose modules were built for it.

    >>> list(stories("ppc64le"))[:3], stories("ppc64le")["moved"] == stories("x86_64")["moved"]
    (['reload', 'late', 'moved'], False)
    >>> "edge" in stories("ppc64le", "6.12"), "edge" in stories("ppc64le", "6.1")
    (True, False)
    """
    from .evidence import EVIDENCE  # these are made of Scenarios
    from .proposals import PROPOSAL_STORIES
    from .stubs import STUB_STORIES

    if arch == "ppc64le":
        shared = {name: story for name, story in SCENARIOS.items() if name != "dependency"}
        found = {**shared, **STUB_STORIES, **PROPOSAL_STORIES}
    else:
        found = {**SCENARIOS, **{name: EVIDENCE[name] for name in AFTER_THE_FIX}, **PROPOSAL_STORIES}
    folder = ko_dir(arch, release) if release else None
    return {name: story for name, story in found.items() if folder is None or has_files(story, folder)}


def has_files(story: Scenario, folder: Path) -> bool:
    """Whether all module files that a story loads are in a folder."""
    words = (command.lstrip("~").split() for command in story.commands)
    wanted = {plain_name(w[1]) if w[0] == "insmod" else f"{w[1]}.ko" for w in words if w[0] in ("insmod", "modprobe")}
    return all((folder / name).exists() for name in wanted)


def get(name: str, arch: str = "x86_64") -> Scenario:
    """A story by name, also one that is there only to be recorded. Errors: ScenarioError, which lists the names."""
    from .evidence import evidence

    known = {**evidence(arch), **stories(arch)}
    if name not in known:
        raise ScenarioError(f"unknown story {name!r}; there are {', '.join([*stories(arch), *evidence(arch)])}.")
    return known[name]


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
    quietly: bool = False,
) -> Recording:
    """Run a story in the model, to its end or to an oops, and return the recording.

    quietly: do not look after commands with a leading ~, as a recorder does; the model is quick enough to look always.
    Errors: ScenarioError, PolicyError, ModuleFormatError.

    >>> story = simulate("reload", release="6.1")
    >>> [step.errno for step in story]
    [0, 0, 0, -8]
    """
    story = get(scenario, arch) if isinstance(scenario, str) else scenario
    kernel = Kernel(arch, release, proposals, ko=ko, scenario=story.name, title=story.title, machine=story.machine)
    kernel.init_errno.update(story.init_errno)
    no_device = {f"{name}.ko": ENODEV for name in story.machine.without_hardware}  # so that a replay knows it
    kernel.recording.init_errno = {**story.init_errno, **no_device}
    kernel.recording.vmlinux = {name: kernel.vmlinux_function(name) for name in story.vmlinux}
    kernel.vmlinux.update({name: [address] for name, address in kernel.recording.vmlinux.items()})
    for command in commands_for(story, kernel.ko):
        kernel.looking = not (quietly and command.startswith("~"))
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
