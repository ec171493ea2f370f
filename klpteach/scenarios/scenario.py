"""A story: commands for a shell, and what is true of the machine that they are typed on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ..arguments import check_fields
from ..errors import ScenarioError
from ..model.state import Machine
from ..model.step import Command


@dataclass(frozen=True)
class Scenario:
    """A story: its name, a title, what it asks, and the commands; a leading ~ means: do not look after this one.

    init_errno: what each module's own init() returns, 0 unless named. vmlinux: which symbols of the kernel itself the
    livepatches look up. Errors: ScenarioError.
    """

    name: str
    title: str
    question: str
    commands: tuple[str, ...]
    init_errno: Mapping[str, int] = field(default_factory=dict)
    machine: Machine = field(default_factory=Machine)
    vmlinux: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_fields(self, ScenarioError)

    @property
    def files(self) -> list[str]:
        """The module files that it loads."""
        commands = (Command.parse(line) for line in self.commands)
        return [command.file for command in commands if command.loads]


def disable(livepatch: str) -> str:
    return f"echo 0 > /sys/kernel/livepatch/{livepatch}/enabled"


LIVEPATCH = "livepatch_nfsd_demo"
TARGET, PATCH, GONE, DISABLE = "insmod nfsd_demo.ko", f"insmod {LIVEPATCH}.ko", "rmmod nfsd_demo", disable(LIVEPATCH)


def by_name(stories: Iterable[Scenario]) -> Mapping[str, Scenario]:
    return {story.name: story for story in stories}
