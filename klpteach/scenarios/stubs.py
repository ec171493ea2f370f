"""The stories of ppc64le: a call needs a stub, the table of stubs has an end, and nothing is ever given back."""

from __future__ import annotations

from collections.abc import Iterable

from .scenario import GONE, LIVEPATCH, TARGET, Scenario, by_name

OTHERS = tuple(f"insmod {name}.ko" for name in ("lockd_demo", "filler4k", "filler64k", "filler1m"))
ROOM = "insmod room_demo.ko"


def _reloads(livepatch: str, between: Iterable[str]) -> tuple[str, ...]:
    """Load both, then for each of `between` remove the target, do that ("": nothing), and load the target again."""
    commands = [TARGET, f"insmod {livepatch}.ko"]
    for other in between:
        commands += [GONE, other, TARGET]
    return tuple(filter(None, commands))


def _room_taken(livepatch: str, times: int) -> tuple[str, ...]:
    """Reloads with address space taken in between; looked at only when the target is back."""
    return ROOM, TARGET, f"insmod {livepatch}.ko", *(f"~{GONE}", "~fill 3", TARGET) * times


# fmt: off
STUB_STORIES = by_name((
    Scenario("same-address", "five reloads at the same address",
             "Nothing else is loaded in between. How long does it go well?", _reloads(LIVEPATCH, [""] * 5)),
    Scenario("moved", "reloads at other addresses",
             "Each time another module takes the freed place. How many slots has the table of stubs?",
             _reloads(LIVEPATCH, OTHERS)),
    Scenario("moved-40", "forty reloads, address space taken in between",
             "Forty reloads, each time elsewhere. How many succeed?", _room_taken(LIVEPATCH, 40)),
    Scenario("data-only", "a livepatch that calls nothing",
             "This livepatch only uses data of its target. Is its reload refused as well?",
             _reloads("livepatch_data_only", ("", *OTHERS[:2]))),
    Scenario("sibling", "a livepatch with a plain branch",
             "Its only call is a branch that does not come back: no nop. Is the reload refused?",
             _reloads("livepatch_sibling", ("", *OTHERS[:2]))),
    Scenario("one-call", "a livepatch with one call", "One call needs one stub. How many moves does the table bear?",
             _reloads("livepatch_one_call", OTHERS)),
    Scenario("sibling-moved", "a plain branch, moved again and again",
             "No nop, no check. But does the table of stubs bear it?", _reloads("livepatch_sibling", OTHERS)),
    Scenario("edge", "a table of stubs at the end of a page",
             "Behind the last stub nothing can be read. What does the search for a free one do?",
             _reloads("livepatch_edge", OTHERS[:3])),
    Scenario("sections", "a livepatch with a section a function",
             "Stubs are counted for each section. How many moves does this table bear?",
             _room_taken("livepatch_sections", 10)),
    Scenario("half-way", "a livepatch that fails half way",
             "The first section was written, the second was refused. What does the next load find?",
             ("insmod livepatch_half_way.ko", TARGET, TARGET, "insmod nfsd_demo_v2.ko")),
))
# fmt: on
