"""The stories that concern ppc64le, and on which kernels each is recorded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from ...corrupt import CORRUPTIONS
from ...scenarios import DISABLE, GONE, SCENARIOS, TARGET, Scenario
from ..qemu import Machine
from .variants import VARIANTS

PSERIES = Machine(
    "qemu-system-ppc64",
    ("-M", "pseries,x-vof=on", "-cpu", "power9", "-accel", "tcg,thread=single",
     "-chardev", "file,id=console,path=FOLDER/console", "-device", "spapr-vty,chardev=console,reg=0x30000000",
     "-chardev", "file,id=agent,path=FOLDER/agent", "-device", "spapr-vty,chardev=agent,reg=0x30001000"),
    'console=hvc0 panic=-1 loglevel=7 dyndbg="func move_module +p"',
)  # fmt: skip
OTHERS = ("lockd_demo.ko", "filler4k.ko", "filler64k.ko", "filler1m.ko")
ROOM = "insmod room_demo.ko"


def _reloads(livepatch: str, between: Iterable[str], quietly: bool = False) -> tuple[str, ...]:
    """Load both, then for each of `between` remove the target, do that ("": nothing), and load the target again."""
    commands: list[str] = [TARGET, f"insmod {livepatch}.ko"]
    for other in between:
        commands += ["~" * quietly + GONE, *(["~" * quietly + other] if other else []), TARGET]
    return tuple(commands)


# Defects of klpteach.corrupt that say something on ppc64le; the others need what only x86_64 has, or an oops.
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


STORIES: Mapping[str, Scenario] = {
    s.name: s
    for s in (
        *(SCENARIOS[name] for name in ("reload", "late", "init-fails", "workaround", "retry", "disabled", "stacked")),
        SCENARIOS["cumulative"],
        Scenario(
            "same-address",
            "five reloads at the same address",
            "Nothing else is loaded in between. How long does it go well?",
            _reloads("livepatch_nfsd_demo", [""] * 5),
        ),
        Scenario(
            "moved",
            "reloads at other addresses",
            "Each time another module takes the freed place. How many slots has the table of stubs?",
            _reloads("livepatch_nfsd_demo", [f"insmod {name}" for name in OTHERS]),
        ),
        Scenario(
            "moved-40",
            "forty reloads, address space taken in between",
            "Forty reloads, each time elsewhere. How many succeed?",
            (ROOM, *_reloads("livepatch_nfsd_demo", ["fill 3"] * 40, quietly=True)),
        ),
        Scenario(
            "data-only",
            "a livepatch that calls nothing",
            "This livepatch only uses data of its target. Is its reload refused as well?",
            _reloads("livepatch_data_only", ["", "insmod lockd_demo.ko", "insmod filler4k.ko"]),
        ),
        Scenario(
            "sibling",
            "a livepatch with a plain branch",
            "Its only call is a branch that does not come back: no nop. Is the reload refused?",
            _reloads("livepatch_sibling", ["", "insmod lockd_demo.ko", "insmod filler4k.ko"]),
        ),
        Scenario(
            "one-call",
            "a livepatch with one call",
            "One call needs one stub. How many moves does the table bear?",
            _reloads("livepatch_one_call", [f"insmod {name}" for name in OTHERS]),
        ),
        Scenario(
            "sibling-moved",
            "a plain branch, moved again and again",
            "No nop, no check. But does the table of stubs bear it?",
            _reloads("livepatch_sibling", [f"insmod {name}" for name in OTHERS]),
        ),
        Scenario(
            "edge",
            "a table of stubs at the end of a page",
            "Behind the last stub nothing can be read. What does the search for a free one do?",
            _reloads("livepatch_edge", [f"insmod {name}" for name in OTHERS[:3]]),
        ),
        Scenario(
            "sections",
            "a livepatch with a section a function",
            "Stubs are counted for each section. How many moves does this table bear?",
            (ROOM, *_reloads("livepatch_sections", ["fill 3"] * 10, quietly=True)),
        ),
        Scenario(
            "half-way",
            "a livepatch that fails half way",
            "The first section was written, the second was refused. What does the next load find?",
            ("insmod livepatch_half_way.ko", TARGET, TARGET, "insmod nfsd_demo_v2.ko"),
        ),
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

KERNELS = tuple(VARIANTS)
KERNELS_OF: Mapping[str, tuple[tuple[str, str], ...]] = {
    **{name: KERNELS for name in STORIES},
    **{
        name: (("6.1", "stock"), ("6.12", "stock"))
        for name in ("no-nop", "stacked", "cumulative", "catalogue", "catalogue-late")
    },
    "edge": (("6.12", "stock"), ("6.12", "reuse")),
}
