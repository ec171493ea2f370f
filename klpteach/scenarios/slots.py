"""The stories of s390x: nothing is refused and nothing is said, and a slot of the GOT keeps the address of an earlier load."""

from __future__ import annotations

from .scenario import GONE, LIVEPATCH, PATCH, TARGET, Scenario, by_name, disable

TWIN, LOOK, LOOK_AT_TWIN = "insmod twin_demo.ko", "cat /proc/nfsd_demo", "cat /proc/twin_demo"


def _moved(livepatch: str, *more: str) -> tuple[str, ...]:
    """The target is loaded again elsewhere, since twin_demo has taken its place; asked before and after."""
    return TARGET, f"insmod {livepatch}.ko", LOOK, GONE, TWIN, TARGET, LOOK, *more


# fmt: off
SLOT_STORIES = by_name((
    Scenario("same-place", "ten reloads at the same place", "Nothing else is loaded in between. Is anything wrong?",
             (TARGET, PATCH, LOOK, *(GONE, TARGET, LOOK) * 2, *(f"~{GONE}", f"~{TARGET}") * 7, GONE, TARGET, LOOK)),
    Scenario("twin", "reload, with another module at the old place",
             "Nobody complains. Whose data does the livepatch read?", _moved(LIVEPATCH)),
    Scenario("empty-place", "reload, with nothing at the old place",
             "Nobody complains. What does the livepatch read now?", (TARGET, PATCH, LOOK, GONE, TWIN, TARGET, "rmmod twin_demo", LOOK)),
    Scenario("slot-write", "a livepatch that writes, moved", "Whose data does it change?",
             _moved("livepatch_write", LOOK_AT_TWIN)),
    Scenario("slot-pointer", "a function's address, moved", "What is called?",
             (TARGET, "insmod livepatch_fnptr.ko", LOOK, GONE, TWIN, TARGET)),
    Scenario("slot-back", "away, and back to the first place", "Is it right again?",
             (TARGET, PATCH, GONE, TWIN, TARGET, LOOK, GONE, "rmmod twin_demo", TARGET, LOOK)),
    Scenario("swapped", "two modules back in the other order", "Is that enough to go wrong?",
             (TARGET, TWIN, PATCH, LOOK, GONE, "rmmod twin_demo", TWIN, TARGET, LOOK)),
    Scenario("new-build", "a newer build at the same place", "The place is the same. Are the addresses?",
             (TARGET, PATCH, LOOK, GONE, "insmod nfsd_demo_v2.ko", LOOK)),
    Scenario("slot-late", "patched late, then moved", "The slots are filled when the target comes. And the second time?",
             (PATCH, TARGET, LOOK, GONE, TWIN, TARGET, LOOK)),
    Scenario("slot-init-fails", "init() fails, then a good load elsewhere",
             "No live target was ever removed. Is the first good load right?",
             (PATCH, "insmod nfsd_demo_failinit.ko", TWIN, TARGET, LOOK), {"nfsd_demo_failinit.ko": -19}),
    Scenario("slot-half-way", "a load that fails half way, then a good one elsewhere",
             "The kernel cleans up nothing after the livepatch that failed. What does the next load find?",
             ("insmod livepatch_slot_half_way.ko", TARGET, TWIN, "insmod nfsd_demo_v2.ko", LOOK)),
    Scenario("hidden", "hidden symbols, moved", "Without a GOT, is the livepatch right?", _moved("livepatch_hidden")),
    Scenario("table", "a table of addresses, moved", "Is a pointer in data written anew?", _moved("livepatch_table")),
    Scenario("plt16", "a short call, more than 64 KiB away", "The call goes through the PLT. Where to?",
             (TARGET, "insmod filler4k.ko", "insmod filler1m.ko", "insmod livepatch_plt16.ko", LOOK, GONE, TWIN,
              "rmmod filler4k", TARGET)),
    Scenario("plt16-above", "a short call to a function above", "The test says that it is in reach. Is it?",
             ("insmod livepatch_plt16.ko", "insmod filler64k.ko", "insmod filler1m.ko", TARGET)),
    Scenario("plt64", "a call that always takes the PLT, moved", "Where does it lead?",
             (TARGET, "insmod livepatch_plt64.ko", LOOK, GONE, TWIN, TARGET)),
    Scenario("got20", "a GOT register, moved", "Is the old way of reading the GOT any better?",
             (TARGET, "insmod livepatch_got20.ko", LOOK, GONE, TWIN, TARGET)),
    Scenario("slot-way-out", "disable, unload, start over", "What makes it right again?",
             (*_moved(LIVEPATCH), disable(LIVEPATCH), LOOK, f"rmmod {LIVEPATCH}", PATCH, LOOK)),
))
# fmt: on
