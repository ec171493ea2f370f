"""The stories by name, and the one call that runs a story in the model."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..arguments import checked
from ..errors import PolicyError, ScenarioError, one_of
from ..files.klp import sites
from ..files.module_file import ModuleFile
from ..files.samples import ko_dir, plain_name
from ..model.errno import ENODEV
from ..model.image import Arch
from ..model.kernel import Kernel
from ..model.policy import RELEASES, Behaviour
from ..model.recording import Recording
from ..model.step import Command
from .course import AFTER_THE_FIX, SCENARIOS
from .evidence import evidence
from .plt import PLT_STORIES
from .proposals import PROPOSAL_STORIES
from .scenario import Scenario
from .slots import SLOT_STORIES
from .stubs import STUB_STORIES

_OF_ARCH = {
    "x86_64": AFTER_THE_FIX,
    "ppc64le": STUB_STORIES,
    "arm64": PLT_STORIES,
    "s390x": {**AFTER_THE_FIX, **SLOT_STORIES},
}


def stories(arch: str = "x86_64", release: str | None = None) -> Mapping[str, Scenario]:
    """The stories of the course on an architecture, by name.

    The same name may stand for other commands on another architecture: what moves a module differs. release: only those
    whose modules were built for it.

    >>> list(stories("ppc64le"))[:3], stories("ppc64le")["moved"] == stories("x86_64")["moved"]
    (['reload', 'late', 'moved'], False)
    >>> "edge" in stories("ppc64le", "6.12"), "edge" in stories("ppc64le", "6.1")
    (True, False)
    """
    found = {**SCENARIOS, **_OF_ARCH[one_of(arch, _OF_ARCH, "architecture", PolicyError)], **PROPOSAL_STORIES}
    if arch in ("ppc64le", "arm64"):
        del found["dependency"]
    folder = None if release is None else ko_dir(arch, one_of(release, RELEASES, "release", PolicyError))
    return {name: story for name, story in found.items() if folder is None or has_files(story, folder)}


def has_files(story: Scenario, folder: Path) -> bool:
    """Whether all module files that a story loads are in a folder."""
    return all(os.path.exists(folder / plain_name(name)) for name in story.files)


def get(name: str, arch: str = "x86_64") -> Scenario:
    """A story by name, also one that is there only to be recorded. Errors: ScenarioError, which lists the names."""
    known = {**(told := stories(arch)), **evidence(arch), **told}
    return known[one_of(name, known, "story", ScenarioError)]


@checked(ScenarioError, but=("scenario", "release", "proposals", "arch"))
def simulate(
    scenario: str | Scenario, release: str = "6.1", proposals: Iterable[str] = (), arch: str = "x86_64", *,
    ko: str | os.PathLike[str] | None = None, quietly: bool = False, rules: Behaviour | None = None,
    cpu: Arch | None = None,
) -> Recording:  # fmt: skip
    """Run a story in the model, to its end (or to an oops, but where recorders go on after one), and return the recording.

    quietly: do not look after commands with a leading ~, as a recorder does; the model is quick enough to look always.
    rules: a behaviour of your own instead of the release's and the proposals'. cpu: hooks of your own instead of the
    architecture's.
    Errors: ScenarioError, PolicyError, ModuleFormatError.

    >>> story = simulate("reload", release="6.1")
    >>> [step.errno for step in story]
    [0, 0, 0, -8]
    """
    story = scenario if isinstance(scenario, Scenario) else get(scenario, arch)
    kernel = Kernel(
        arch, release, proposals, ko=ko, scenario=story.name, title=story.title, machine=story.machine, rules=rules,
        init_errno=story.init_errno, cpu=cpu,
    )  # fmt: skip
    # What no file tells stands in the recording, so that a replay knows it.
    no_device = {f"{name}.ko": ENODEV for name in story.machine.without_hardware}
    kernel.recording.init_errno = {**story.init_errno, **no_device}
    kernel.recording.vmlinux = kernel.add_to_vmlinux(story.vmlinux)
    for command in commands_for(story, kernel.ko):
        kernel.records_state = not (quietly and command.startswith("~"))
        if kernel.run(command).oops and not kernel.arch.tells_the_wreck:
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
    module = Command.parse(command).what.partition(":")[0]
    site = next(sites(ModuleFile.open(folder / f"{module}.ko")), None)
    if site is None:
        raise ScenarioError(f"{command}: {module} has no livepatch relocation site.")
    return command.replace("{site}", site.key)
