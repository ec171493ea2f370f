"""The stories of arm64: everything loads again, but for what is too far away, and for what is not aligned."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .scenario import DISABLE, GONE, LIVEPATCH, PATCH, TARGET, Scenario, by_name, disable

SHOW = "cat /proc/nfsd_demo"
FAR, OTHER = "insmod nfsd_demo_far.ko", "insmod lockd_demo.ko"
OTHERS = (OTHER, *(f"insmod filler{size}.ko" for size in ("4k", "64k", "1m")))
TWO_MIB = ("insmod filler1m.ko", "insmod filler2m.ko")
# Largest first, so that no hole is left that the target could take.
FULL = tuple(f"~insmod filler{size}.ko" for size in ("64m", "32m", "16m", "8m", "4m", "2m", "1m", "512k", "256k", "128k",
                                                      "64k", "32k", "16k", "8k", "4k"))  # fmt: skip


def _reloads(livepatch: str, between: Iterable[str]) -> tuple[str, ...]:
    """Load both, then for each of `between` remove the target, do that ("": nothing), and load the target again."""
    commands = [TARGET, f"insmod {livepatch}.ko"]
    for other in between:
        commands += [GONE, other, TARGET]
    return tuple(filter(None, commands))


def _moves(times: int) -> Iterator[str]:
    """Reload after reload; each time another filler takes a place or gives it back. Looked at every tenth time."""
    sizes = ("4k", "8k", "16k", "32k", "64k", "128k", "256k", "512k")
    yield from (TARGET, PATCH)
    for number in range(times):
        filler = f"filler{sizes[number % len(sizes)]}"
        yield f"~{GONE}"
        yield f"~rmmod {filler}" if number // len(sizes) % 2 else f"~insmod {filler}.ko"
        yield TARGET if number % 10 == 9 else f"~{TARGET}"


# fmt: off
PLT_STORIES = by_name((
    Scenario("same-address", "five reloads at the same address", "Nothing is cleared, nothing is checked. What is refused?",
             _reloads(LIVEPATCH, [""] * 5)),
    Scenario("moved", "reloads at other addresses", "Each time another module takes the freed place. Which bytes stay old?",
             _reloads(LIVEPATCH, OTHERS)),
    Scenario("moved-40", "forty reloads, address space taken in between",
             "Forty reloads, each time elsewhere. How many succeed?", tuple(_moves(40))),
    Scenario("data-only", "a livepatch that calls nothing", "An address in two instructions, no branch. What reaches how far?",
             _reloads("livepatch_data_only", ("", *OTHERS[:2]))),
    Scenario("one-call", "a livepatch with one call", "One bl to the target. Is an entry of .plt used?",
             _reloads("livepatch_one_call", OTHERS)),
    Scenario("sibling", "a livepatch with a plain branch", "Its only call is a b that does not come back. Does that differ?",
             _reloads("livepatch_sibling", ("", *OTHERS[:2]))),
    Scenario("sections", "a livepatch with a section a function", "Entries are counted for each section. Is one used?",
             _reloads("livepatch_sections", OTHERS)),
    Scenario("fields", "every relocation type, moved", "What is left in an instruction of the value before?",
             _reloads("livepatch_fields", ("", *OTHERS))),
    Scenario("near", "references that reach 1 MiB", "The target comes back 3 MiB away. And when it comes near again?",
             (TARGET, "insmod livepatch_near.ko", GONE, OTHER, TARGET, GONE, *TWO_MIB, TARGET, TARGET,
              "rmmod filler1m", "rmmod filler2m", TARGET)),
    Scenario("unaligned", "pointers in a packed table", "The second pointer is at an odd address. Who writes it?",
             (TARGET, "insmod livepatch_unaligned.ko", SHOW, GONE, OTHER, TARGET, SHOW)),
    Scenario("far", "the target comes back far away", "A branch reaches 128 MiB. What happens beyond?",
             (TARGET, PATCH, GONE, FAR, SHOW, OTHER, GONE, DISABLE)),
    Scenario("far-first", "the target is far away when the livepatch comes", "Does it take a reload to break it?",
             (FAR, "insmod livepatch_one_call.ko", SHOW, OTHER)),
    Scenario("far-one-call", "one call, the target comes back far away", "One call, one entry of .plt. Is that enough?",
             (TARGET, "insmod livepatch_one_call.ko", GONE, FAR, SHOW, OTHER)),
    Scenario("far-sibling", "a plain branch, the target comes back far away", "Does a b need an entry, too?",
             (TARGET, "insmod livepatch_sibling.ko", GONE, FAR, OTHER)),
    Scenario("far-data-only", "no call, the target comes back far away", "How far does an adrp reach?",
             (TARGET, "insmod livepatch_data_only.ko", GONE, FAR, GONE, TARGET)),
    Scenario("far-full", "the 128 MiB beside the kernel are full", "Other modules took the room. Where does the target go?",
             (TARGET, PATCH, GONE, *FULL, TARGET, OTHER)),
    Scenario("veneer", "an adrp at the end of a page", "On a Cortex-A53 it must not stand there. What does the loader do?",
             (TARGET, "insmod livepatch_veneer.ko", GONE, OTHER, TARGET, GONE, *TWO_MIB, TARGET, "insmod kvm_demo.ko")),
    Scenario("half-way", "a livepatch that fails half way",
             "The first section was written, the second was refused. What does the next load find?",
             ("insmod livepatch_half_way.ko", TARGET, TARGET, OTHER, TARGET, "insmod nfsd_demo_v2.ko")),
))

# What is recorded besides: the last three want a kernel that writes .plt as it writes the other late relocations (poke).
PLT_EVIDENCE = (
    Scenario("unaligned-late", "pointers in a packed table, target later", "And when the livepatch is there first?",
             ("insmod livepatch_unaligned.ko", TARGET, SHOW, disable("livepatch_unaligned"), SHOW)),
    Scenario("tbz", "a branch that reaches 32 KiB", "Is there a module so near?",
             (TARGET, "insmod livepatch_tbz.ko", GONE, "insmod livepatch_tbz.ko", TARGET)),
    Scenario("got", "a reference through a GOT", "What does the loader say to a table that it does not make?",
             (TARGET, "insmod livepatch_got.ko", GONE, "insmod livepatch_got.ko", TARGET)),
    Scenario("new-build", "a later build of the target comes back", "Its functions are elsewhere. Which are called?",
             (TARGET, PATCH, GONE, "insmod nfsd_demo_v2.ko", SHOW)),
    Scenario("far-moves", "the near area is full, the target moves", "How many moves does a table of one entry bear?",
             (TARGET, "insmod livepatch_one_call.ko", GONE, *FULL, TARGET, GONE, TARGET, GONE, OTHER, TARGET, GONE,
              "insmod kvm_demo.ko", TARGET)),
    Scenario("far-same", "the near area is full, the target comes back to the same place",
             "Two calls, two entries, the same address each time. How long does it go well?",
             (TARGET, PATCH, GONE, *FULL, TARGET, GONE, TARGET, GONE, TARGET)),
    Scenario("veneer-again", "a veneer over a veneer", "The register is read from the place. What stands there by now?",
             (TARGET, "insmod livepatch_veneer.ko", GONE, *TWO_MIB, TARGET, GONE, OTHER, TARGET)),
)
# fmt: on
