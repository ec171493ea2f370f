"""Notebook 06b: what its tables say of four machines is what recordings of real kernels show."""

from __future__ import annotations

import pytest

import klpteach as kt
from klpteach.course import nb06b
from klpteach.course.nb06b.machines import MACHINES, Machine, by_arch
from klpteach.errors import KlpteachError
from klpteach.reading.history import History
from klpteach.reading.slots import old_slots
from klpteach.scenarios.recorded import evidence
from klpteach.scenarios.scenario import TARGET
from klpteach.scenarios.simulate import simulate

RELOAD = {"x86_64": "reload--6.1--REFUSED", "ppc64le": "reload--6.1-stock--REFUSED", "arm64": "reload--7.3-stock--LOADS",
          "s390x": "reload--6.1-stock--LOADS"}  # fmt: skip
MOVED = {"x86_64": "moved--6.1--REFUSED", "ppc64le": "moved--6.1-stock--REFUSED", "arm64": "moved--7.3-stock--LOADS",
         "s390x": "twin--6.1-stock--LOADS"}  # fmt: skip


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.arch)
def test_the_fourth_command_ends_and_speaks_as_the_recorded_kernel_did(machine: Machine) -> None:
    column = [row[1 + MACHINES.index(machine)] for row in nb06b.four_machines().rows]
    last = evidence(RELOAD[machine.arch], machine.arch)[3]
    assert column[4] == ("ENOEXEC (−8)" if last.errno else "0")
    said, recorded = str(column[3]).strip("`").split(", loc "), last.lines[0].split(", loc ")
    assert said[0] == recorded[0]  # a hashed pointer is another one at each boot


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.arch)
def test_elsewhere_a_load_comes_to_what_the_recorded_kernel_shows(machine: Machine) -> None:
    words = str(nb06b.endings().rows[MACHINES.index(machine)][3])
    told = evidence(MOVED[machine.arch], machine.arch)
    index = [i for i, step in enumerate(told) if step.command == TARGET][1]
    assert bool(told[index].errno) == words.startswith("refused")
    assert len(old_slots(History(told), index)) == (4 if machine.arch == "s390x" else 0)
    assert ("4 slots" in words) == (machine.arch == "s390x")


def test_the_end_of_arm64_is_told_as_it_was_recorded() -> None:
    told = evidence("far--7.3-stock--OOPS", "arm64")
    shown = [str(row[1]) for row in nb06b.the_other_end("arm64").rows]
    hung = [i for i, step in enumerate(told) if step.label == "hung"]
    assert [i for i, words in enumerate(shown) if words == "it never comes back"] == hung != []
    assert shown[3] == "killed" and told[3].oops


def test_a_slot_keeps_its_address_until_the_marks_are_forgotten() -> None:
    stale, mended = (
        nb06b.slot_and_symbol(simulate("twin", "6.1", proposals, "s390x"), "demo_banner").rows[-1]
        for proposals in ((), ("clear-got",))
    )
    assert stale[2] != "the same" and mended[2] == "the same" and stale[1] != mended[1]


def test_what_is_not_there_is_said_with_what_is() -> None:
    with pytest.raises(KlpteachError, match="no machine 'riscv' here; there are x86_64, ppc64le, arm64, s390x"):
        by_arch("riscv")
    with pytest.raises(KlpteachError, match="no slot for 'nothing'"):
        nb06b.slot_and_symbol(simulate("twin", "6.1", arch="s390x"), "nothing")


def test_a_blank_answer_is_no_try_and_costs_no_hint():
    assert [kt.check("got-slot", blank).mark for blank in ("", " ")] == ["?", "?"]
