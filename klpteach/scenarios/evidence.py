"""Stories that exist to be recorded on real kernels: corners that the course does not walk through one by one.

A leading ~ means: do not look after this command.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping

from ..files.corrupt import CORRUPTIONS
from .by_tools import BY_TOOLS
from .simulate import DISABLE, GONE, PATCH, TARGET, Scenario

LIVEPATCH = "livepatch_nfsd_demo"
ENDS_THE_KERNEL = ("section-not-alloc",)  # an oops: in stories of their own
NOT_A_LIVEPATCH = ("marked",)  # a defect of a target
CATALOGUE = [kind for kind in CORRUPTIONS if kind not in (*ENDS_THE_KERNEL, *NOT_A_LIVEPATCH)]


def _disable(patch: str) -> str:
    return f"echo 0 > /sys/kernel/livepatch/{patch}/enabled"


def _target_first() -> Iterator[str]:
    """Every bad livepatch, loaded while its target is there: its own load says what is wrong."""
    yield TARGET
    for kind in CATALOGUE:
        yield f"insmod {LIVEPATCH}+{kind}.ko"
        yield f"~{_disable(LIVEPATCH)}"
        yield f"~rmmod {LIVEPATCH}"


def _livepatch_first() -> Iterator[str]:
    """The same, loaded first: now the target's load is refused, and a second try may be refused for another reason."""
    for kind in CATALOGUE:
        yield f"~insmod {LIVEPATCH}+{kind}.ko"
        yield from (TARGET, TARGET, f"~{GONE}", f"~{_disable(LIVEPATCH)}", f"~rmmod {LIVEPATCH}")


def _moves(times: int) -> Iterator[str]:
    """Reload after reload, with another module that takes the place and gives it back. Looked at every tenth time."""
    yield from (TARGET, PATCH)
    for number in range(times):
        look = "" if number % 10 == 9 else "~"
        yield f"~{GONE}"
        yield "~insmod lockd_demo.ko" if number % 2 == 0 else "~rmmod lockd_demo"
        yield f"{look}{TARGET}"


def _walk(seed: int, length: int = 30) -> Iterator[str]:
    """Whatever comes: modules come and go, livepatches are disabled, wanted or not. The same seed, the same walk."""
    rng = random.Random(seed)
    targets = ["nfsd_demo", "lockd_demo", "filler4k"]
    patches = [LIVEPATCH, "livepatch_stacked", "livepatch_cumul1", "livepatch_cumul2"]
    for _ in range(length):
        name = rng.choice([*targets, *targets, *patches])
        commands = [f"insmod {name}.ko", f"rmmod {name}", *([_disable(name)] if name in patches else [])]
        yield rng.choice(commands)


_BUSY = "/sys/module/busy_demo/parameters/block_transition"
_CALLBACKS = "/sys/module/livepatch_callbacks/parameters/pre_patch_ret"


def _stories() -> Iterator[Scenario]:
    yield Scenario(
        "catalogue", "every bad livepatch, target first", "What does each defect say?", tuple(_target_first())
    )
    yield Scenario(
        "catalogue-late", "every bad livepatch, target later", "And when the target comes?", tuple(_livepatch_first())
    )
    yield Scenario("fifty-moves", "fifty reloads at changing addresses", "Does any of them work?", tuple(_moves(50)))
    for seed in (1, 2, 3, 4):
        yield Scenario(
            f"walk-{seed}", f"a random walk, seed {seed}", "Does the model know everything?", tuple(_walk(seed))
        )
    yield Scenario("position", "a function that shares its name", "Which of the two is patched?",
                   (TARGET, "insmod livepatch_pos.ko", GONE, TARGET, _disable("livepatch_pos")))  # fmt: skip
    yield Scenario("vmlinux", "a livepatch for vmlinux and a module", "Which relocations follow the module?",
                   ("insmod livepatch_vmlinux.ko", TARGET, GONE, TARGET, _disable("livepatch_vmlinux"), "rmmod livepatch_vmlinux"),
                   vmlinux=("saved_command_line",))  # fmt: skip
    yield Scenario("callback-fails", "pre_patch says no to a loading target", "What is left when the last step fails?",
                   ("insmod livepatch_callbacks.ko pre_patch_ret=-19", TARGET, TARGET, f"echo 0 > {_CALLBACKS}", TARGET))  # fmt: skip
    yield Scenario("callback-fails-early", "pre_patch says no to the livepatch", "Can it be loaded later?",
                   (TARGET, "insmod livepatch_callbacks.ko pre_patch_ret=-19", "insmod livepatch_callbacks.ko"))  # fmt: skip
    yield Scenario("percpu", "per-CPU and read-only-after-init data", "Are these relocations different?",
                   ("insmod percpu_demo.ko", "insmod livepatch_percpu.ko", "rmmod percpu_demo", "insmod percpu_demo.ko"))  # fmt: skip
    yield Scenario("same-name", "a module of that name is loaded", "Which lines come before the refusal?",
                   (TARGET, "insmod nfsd_demo+marked.ko", PATCH))  # fmt: skip
    yield Scenario("overflow-nonzero", "an overflow at a place that is not zero", "Which of the two is told?",
                   (TARGET, f"insmod {LIVEPATCH}+overflow-nonzero.ko"))  # fmt: skip
    yield Scenario("no-alloc", "a livepatch section that is not kept", "What happens when its target is there?",
                   (TARGET, f"insmod {LIVEPATCH}+section-not-alloc.ko"))  # fmt: skip
    yield Scenario("half-way", "the second livepatch of two fails", "What is undone, and what stays?",
                   (PATCH, "insmod livepatch_stacked+function-missing.ko", TARGET, TARGET))  # fmt: skip
    yield Scenario("busy", "a target comes and goes during a transition", "Which lines are missing?",
                   ("insmod busy_demo.ko block_transition=1", "insmod livepatch_busy.ko", TARGET, GONE, _disable("livepatch_busy"),
                    f"echo 0 > {_BUSY}", "rmmod livepatch_busy", TARGET))  # fmt: skip


# -- ppc64le --------------------------------------------------------------------------------------------------------------

# Defects of klpteach.files.corrupt that say something on ppc64le; the others need what only x86_64 has, or an oops.
DEFECTS = [kind for kind in CORRUPTIONS if kind not in ("marked", "section-not-alloc", "overflow-nonzero")]
DEFECTS = [kind for kind in DEFECTS if not kind.startswith("function-")]


def _catalogue(late: bool) -> Iterator[str]:
    """Every bad livepatch: loaded while its target is there, or before it and then two tries to load the target."""
    if not late:
        yield TARGET
    for kind in DEFECTS:
        yield f"{'~' * late}insmod livepatch_nfsd_demo+{kind}.ko"
        yield from (TARGET, TARGET, f"~{GONE}") if late else ()
        yield from (f"~{DISABLE}", "~rmmod livepatch_nfsd_demo")


PPC64LE_EVIDENCE: Mapping[str, Scenario] = {
    s.name: s
    for s in (
        Scenario(
            "no-nop",
            "a call without a nop",
            "What does the check say about a livepatch that really is wrong?",
            (TARGET, "insmod livepatch_no_nop.ko"),
        ),
        Scenario(
            "catalogue",
            "every bad livepatch, target first",
            "What does each defect say?",
            tuple(_catalogue(late=False)),
        ),
        Scenario(
            "catalogue-late",
            "every bad livepatch, target later",
            "And when the target comes, and comes again?",
            tuple(_catalogue(late=True)),
        ),
    )
}
EVIDENCE: Mapping[str, Scenario] = {**{story.name: story for story in _stories()}, **BY_TOOLS}


def evidence(arch: str = "x86_64") -> Mapping[str, Scenario]:
    """The stories that are there only to be recorded, by name.

    >>> "no-nop" in evidence("ppc64le"), "busy" in evidence("ppc64le")
    (True, False)
    """
    return PPC64LE_EVIDENCE if arch == "ppc64le" else EVIDENCE
