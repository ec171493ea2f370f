"""Stories that exist to be recorded on real kernels: corners that the course does not walk through one by one."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache

from ..files.corrupt import CORRUPTIONS
from .by_tools import by_tools
from .course import AFTER_THE_FIX
from .plt import PLT_EVIDENCE
from .scenario import DISABLE, GONE, LIVEPATCH, PATCH, TARGET, Scenario, by_name, disable

# marked is a defect of a target, section-not-alloc ends the kernel: in stories of their own.
CATALOGUE = [kind for kind in CORRUPTIONS if kind not in ("marked", "section-not-alloc")]
# What says something on ppc64le; the others need what only x86_64 has.
CATALOGUE_PPC64LE = [kind for kind in CATALOGUE if kind != "overflow-nonzero" and not kind.startswith("function-")]
CATALOGUE_S390X = [kind for kind in CATALOGUE if kind != "overflow-nonzero"]


def _target_first(kinds: Iterable[str]) -> Iterator[str]:
    """Every bad livepatch, loaded while its target is there: its own load says what is wrong."""
    yield TARGET
    for kind in kinds:
        yield from (f"insmod {LIVEPATCH}+{kind}.ko", f"~{DISABLE}", f"~rmmod {LIVEPATCH}")


def _livepatch_first(kinds: Iterable[str]) -> Iterator[str]:
    """The same, loaded first: now the target's load is refused, and a second try may be refused for another reason."""
    for kind in kinds:
        yield f"~insmod {LIVEPATCH}+{kind}.ko"
        yield from (TARGET, TARGET, f"~{GONE}", f"~{DISABLE}", f"~rmmod {LIVEPATCH}")


def _walk(seed: int, length: int = 30) -> Iterator[str]:
    """Whatever comes: modules come and go, livepatches are disabled, wanted or not. The same seed, the same walk."""
    rng = random.Random(seed)
    targets = ["nfsd_demo", "lockd_demo", "filler4k"]
    patches = [LIVEPATCH, "livepatch_stacked", "livepatch_cumul1", "livepatch_cumul2"]
    for _ in range(length):
        name = rng.choice([*targets, *targets, *patches])
        commands = [f"insmod {name}.ko", f"rmmod {name}"]
        if name in patches:
            commands.append(disable(name))
        yield rng.choice(commands)


# fmt: off
def _x86_64() -> Iterator[Scenario]:
    yield Scenario("catalogue", "every bad livepatch, target first", "What does each defect say?",
                   tuple(_target_first(CATALOGUE)))
    yield Scenario("catalogue-late", "every bad livepatch, target later", "And when the target comes?",
                   tuple(_livepatch_first(CATALOGUE)))
    for seed in (1, 2, 3, 4):
        yield Scenario(f"walk-{seed}", f"a random walk, seed {seed}", "Does the model know everything?",
                       tuple(_walk(seed)))
    yield Scenario("position", "a function that shares its name", "Which of the two is patched?",
                   (TARGET, "insmod livepatch_pos.ko", GONE, TARGET, disable("livepatch_pos")))
    yield Scenario("vmlinux", "a livepatch for vmlinux and a module", "Which relocations follow the module?",
                   ("insmod livepatch_vmlinux.ko", TARGET, GONE, TARGET, disable("livepatch_vmlinux"),
                    "rmmod livepatch_vmlinux"), vmlinux=("saved_command_line",))
    yield Scenario("callback-fails-early", "pre_patch says no to the livepatch", "Can it be loaded later?",
                   (TARGET, "insmod livepatch_callbacks.ko pre_patch_ret=-19", "insmod livepatch_callbacks.ko"))
    yield Scenario("percpu", "per-CPU and read-only-after-init data", "Are these relocations different?",
                   ("insmod percpu_demo.ko", "insmod livepatch_percpu.ko", "rmmod percpu_demo",
                    "insmod percpu_demo.ko"))
    yield Scenario("same-name", "a module of that name is loaded", "Which lines come before the refusal?",
                   (TARGET, "insmod nfsd_demo+marked.ko", PATCH))
    yield Scenario("overflow-nonzero", "an overflow at a place that is not zero", "Which of the two is told?",
                   (TARGET, f"insmod {LIVEPATCH}+overflow-nonzero.ko"))
    yield Scenario("no-alloc", "a livepatch section that is not kept", "What happens when its target is there?",
                   (TARGET, f"insmod {LIVEPATCH}+section-not-alloc.ko"))
    yield Scenario("busy", "a target comes and goes during a transition", "Which lines are missing?",
                   ("insmod busy_demo.ko block_transition=1", "insmod livepatch_busy.ko", TARGET, GONE,
                    disable("livepatch_busy"), "echo 0 > /sys/module/busy_demo/parameters/block_transition",
                    "rmmod livepatch_busy", TARGET))
    yield from AFTER_THE_FIX.values()
    yield from by_tools()


def _ppc64le() -> Iterator[Scenario]:
    yield Scenario("no-nop", "a call without a nop", "What does the check say about a livepatch that really is wrong?",
                   (TARGET, "insmod livepatch_no_nop.ko"))
    yield Scenario("catalogue", "every bad livepatch, target first", "What does each defect say?",
                   tuple(_target_first(CATALOGUE_PPC64LE)))
    yield Scenario("catalogue-late", "every bad livepatch, target later",
                   "And when the target comes, and comes again?", tuple(_livepatch_first(CATALOGUE_PPC64LE)))


def _arm64() -> Iterator[Scenario]:
    yield from PLT_EVIDENCE


def _s390x() -> Iterator[Scenario]:
    yield Scenario("catalogue", "every bad livepatch, target first", "What does each defect say?",
                   tuple(_target_first(CATALOGUE_S390X)))
    yield Scenario("catalogue-late", "every bad livepatch, target later", "And when the target comes?",
                   tuple(_livepatch_first(CATALOGUE_S390X)))
# fmt: on

_BY_ARCH = {"x86_64": _x86_64, "ppc64le": _ppc64le, "arm64": _arm64, "s390x": _s390x}


@lru_cache
def evidence(arch: str = "x86_64") -> Mapping[str, Scenario]:
    """The stories that are recorded besides the course's own, by name; made when somebody asks for them.

    >>> "no-nop" in evidence("ppc64le"), "busy" in evidence("ppc64le")
    (True, False)
    """
    return by_name(_BY_ARCH[arch]())
