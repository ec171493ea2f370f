"""What a relocation fills in, by its type, and where a story's outcome says so."""

from __future__ import annotations

import pytest

from klpteach.files.relocation_types import HOWTO, POINTER_TYPE, type_names
from klpteach.reading.kinds import what_it_fills
from klpteach.reading.outcome import outcome_of
from klpteach.scenarios.recorded import evidence
from klpteach.scenarios.simulate import simulate


@pytest.mark.parametrize(
    ("arch", "release", "story", "says"),
    [
        ("x86_64", "6.1", "corrupted", "a distance"),  # R_X86_64_PC32 to a variable
        ("ppc64le", "6.1", "corrupted", "a call"),  # R_PPC64_REL24
        ("arm64", "7.3", "corrupted", "half an address"),  # R_AARCH64_ADR_PREL_PG_HI21
        ("arm64", "7.3", "unaligned", "a pointer"),  # R_AARCH64_ABS64
        ("s390x", "6.1", "corrupted", "the way to a slot"),  # R_390_GOTENT
    ],
)
def test_an_outcome_says_what_was_never_written(arch: str, release: str, story: str, says: str) -> None:
    without = ["remove-check"] if arch == "x86_64" else []
    outcome = outcome_of(simulate(story, release, without, arch))
    assert outcome.says.endswith(f": the relocation of {says} was never written")


def test_so_it_does_for_a_real_kernel() -> None:
    recording = evidence("unaligned--7.3-stock--LOADS", "arm64")
    assert outcome_of(recording).says.endswith(": the relocation of a pointer was never written")


@pytest.mark.parametrize("machine", HOWTO)
def test_a_pointer_is_the_pointer_type_and_a_branch_is_no_address(machine: int) -> None:
    names = {kind: type_names(machine).get(kind, "") for kind in HOWTO[machine]}
    assert [kind for kind, name in names.items() if what_it_fills(name) == "a pointer"] == [POINTER_TYPE[machine]]
    assert {name for name in names.values() if what_it_fills(name) == "a call"}


@pytest.mark.parametrize("machine", HOWTO)
def test_what_the_kernel_takes_from_the_place_is_a_distance_a_half_or_a_call(machine: int) -> None:
    for kind, howto in HOWTO[machine].items():
        if howto.relative:
            assert what_it_fills(type_names(machine)[kind]) in ("a distance", "half an address", "a call"), howto
