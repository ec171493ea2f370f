"""The stories of ppc64le: a call needs a stub, the table of stubs has an end, and nothing is ever given back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .simulate import GONE, TARGET, Scenario

OTHERS = ("lockd_demo.ko", "filler4k.ko", "filler64k.ko", "filler1m.ko")
ROOM = "insmod room_demo.ko"


def _reloads(livepatch: str, between: Iterable[str], quietly: bool = False) -> tuple[str, ...]:
    """Load both, then for each of `between` remove the target, do that ("": nothing), and load the target again."""
    commands: list[str] = [TARGET, f"insmod {livepatch}.ko"]
    for other in between:
        commands += ["~" * quietly + GONE, *(["~" * quietly + other] if other else []), TARGET]
    return tuple(commands)


STUB_STORIES: Mapping[str, Scenario] = {
    s.name: s
    for s in (
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
    )
}
