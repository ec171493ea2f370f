"""What happens to a machine of the fleet, as commands that a kernel of the model runs, and its answers, counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from operator import add
from typing import NamedTuple

from ..arguments import check_fields
from ..errors import ScenarioError
from ..model.errno import ENODEV
from ..model.kernel import Kernel
from ..model.layout import ONE_BLOCK, SEPARATE
from ..model.module import LIVE
from ..model.step import Step

ROOM = 0x1000000  # bytes from one place to the next; a sixteenth for each kind of memory


@dataclass(frozen=True)
class Cast:
    """Which of the course's modules play: two targets, two editions of a cumulative livepatch, a hotfix.

    The two editions take turns all year. damage is a name of klpteach.files.corrupt.CORRUPTIONS: what a damaged hotfix has.
    places: how many addresses each target goes round. It comes back to where it was, unless another module has taken that
    place; then it goes on to the next. On ppc64le each place costs stubs. Simplified: in a kernel the allocator decides,
    and a machine that runs long may have more places than you give it here.
    """

    targets: tuple[str, ...] = ("nfsd_demo", "lockd_demo")
    editions: tuple[str, str] = ("livepatch_cumul1", "livepatch_cumul2")
    hotfix: str = "livepatch_stacked"
    damage: str = "offset-off-by-8"
    places: int = 2

    def __post_init__(self) -> None:
        check_fields(self, ScenarioError)
        if not 1 <= len(self.targets) <= 7 or not 1 <= self.places <= 100:  # a machine's masks have 8 bits, with a sign
            raise ScenarioError(
                f"{len(self.targets)} targets at {self.places} places: 1 to 7 at 1 to 100 can be played."
            )

    def bit(self, target: str) -> int:
        """The target's bit in the masks of Condition."""
        return 1 << self.targets.index(target)

    def is_target(self, name: str) -> bool:
        return name in self.targets


class Event(NamedTuple):
    """Something that happens to a machine. failing: targets whose init() says -ENODEV, since their hardware is not there.

    kind: "start", "start-moved" (another module has taken its place), "fail" (a start that fails by itself), "stop",
    "edition", "hotfix", "damaged", "withdraw" (disable and remove every livepatch: the way out of a refused reload).
    """

    kind: str
    module: str = ""
    failing: frozenset[str] = frozenset()


class Effects(NamedTuple):
    """What the model answered to the commands of one event, counted.

    pulled_in: targets that came with a livepatch, unasked. damaged_*: loads of a damaged livepatch.
    """

    refused_loads: int = 0
    refused_removals: int = 0
    refused_livepatches: int = 0
    damaged_refused: int = 0
    damaged_accepted: int = 0
    pulled_in: int = 0
    oopses: int = 0


def commands(kernel: Kernel, event: Event, cast: Cast) -> Iterator[str]:
    """The commands of an event; the next is asked for when the one before has been run."""
    mod = kernel.find_module(event.module)
    live, installed = mod is not None and mod.state == LIVE, event.module in livepatches(kernel)
    start = f"modprobe {event.module}" if mod is None else f"insmod {event.module}.ko"  # half-loaded: let it go on
    match event.kind:
        case "start" | "start-moved" | "fail" if not live:
            yield start
        case "stop" if live:
            yield f"rmmod {event.module}"
        case "hotfix" if not installed:
            yield f"modprobe {event.module}"
        case "damaged" if not installed:
            yield f"modprobe {event.module}+{cast.damage}"
        case "edition" if not installed:
            yield f"modprobe {event.module}"
            yield from _remove_idle(kernel)
        case "withdraw":
            for name in [name for name, in_force in livepatches(kernel).items() if in_force][::-1]:
                yield f"echo 0 > /sys/kernel/livepatch/{name}/enabled"
            yield from _remove_idle(kernel)


def places(kernel: Kernel, target: str, cast: Cast) -> list[dict[str, int]]:
    """The places that a target goes round: kind of memory -> address. Far from where the other modules are put."""
    first = cast.targets.index(target) * cast.places + 1
    starts = [kernel.arch.modules_start + number * ROOM for number in range(first, first + cast.places)]
    kinds = (*ONE_BLOCK, *SEPARATE)
    return [{kind: start + number * ROOM // 16 for number, kind in enumerate(kinds)} for start in starts]


def _place(kernel: Kernel, event: Event, cast: Cast) -> None:
    """Say where the targets will be put: each where it was before, unless the event moves it."""
    if not kernel.placement:
        kernel.placement = {target: places(kernel, target, cast)[0] for target in cast.targets}
    if event.kind == "start-moved" and kernel.find_module(event.module) is None:
        there = places(kernel, event.module, cast)
        after = there.index(dict(kernel.placement[event.module])) + 1
        kernel.placement = {**kernel.placement, event.module: there[after % len(there)]}


def livepatches(kernel: Kernel) -> dict[str, bool]:
    """The livepatches that an administrator has loaded, oldest first, and whether each is in force."""
    if kernel.split:
        return {one.name: one.enabled and bool(one.parts) for one in kernel.split.installed}
    active = {patch.name for patch in kernel.klp.patches if patch.enabled}
    return {mod.name: mod.name in active for mod in kernel.modules if mod.file.is_livepatch}


def _remove_idle(kernel: Kernel) -> Iterator[str]:
    """rmmod of every livepatch that patches nothing any more."""
    for name in [name for name, in_force in livepatches(kernel).items() if not in_force]:
        yield f"rmmod {name}"


def perform(kernel: Kernel, event: Event, cast: Cast) -> Effects:
    """Run an event's commands on a kernel and count what it answered."""
    failing = {*event.failing, event.module} if event.kind == "fail" else event.failing
    _place(kernel, event, cast)
    usual = dict(kernel.init_errno)
    kernel.init_errno.update({f"{name}.ko": ENODEV for name in failing})
    before, total = _targets(kernel, cast), Effects()
    for command in commands(kernel, event, cast):
        step = kernel.run(command)
        total = Effects(*map(add, total, _answer(step, event, cast)))
        if step.oops:
            return total
    kernel.init_errno = usual
    if event.kind in ("edition", "hotfix", "damaged"):
        total = total._replace(pulled_in=len(_targets(kernel, cast) - before))
    return total


def _targets(kernel: Kernel, cast: Cast) -> set[str]:
    return {mod.name for mod in kernel.modules if cast.is_target(mod.name)}


def _answer(step: Step, event: Event, cast: Cast) -> Effects:
    """One command's errno, as a count of one of the things that the fleet counts."""
    verb, name = step.did.verb, step.did.what.removesuffix(".ko")
    if step.oops:
        return Effects(oopses=1)
    if event.kind == "damaged" and verb == "modprobe":
        return Effects(damaged_refused=1) if step.errno else Effects(damaged_accepted=1)
    if not step.errno or verb == "echo":
        return Effects()
    if verb == "rmmod":
        return Effects(refused_removals=int(cast.is_target(name)))
    if not cast.is_target(name):
        return Effects(refused_livepatches=1)
    failed_by_itself = step.errno == ENODEV and (event.kind == "fail" or name in event.failing)
    return Effects() if failed_by_itself else Effects(refused_loads=1)
