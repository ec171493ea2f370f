"""A reader's own apply(): right where it does as real kernels did, byte for byte; else told at its first wrong byte."""

from __future__ import annotations

import pytest

import klpteach as kt
from klpteach.course.nb03 import own_apply
from klpteach.course.nb05.questions import _REFUSED, refused_at
from klpteach.course.notebooks import find_exercise
from klpteach.scenarios.recorded import evidence

pytestmark = pytest.mark.usefixtures("blank")
SEEDS = range(1, 9)
MASK = (1 << 64) - 1


def right(memory, base, relocations):
    for offset, kind, S, A in relocations:
        width = 8 if kind in (1, 24) else 4
        if any(memory[offset : offset + width]):
            return -8
        value = (S + A - (base + offset) * (kind in (2, 4, 24))) & MASK
        memory[offset : offset + width] = value.to_bytes(8, "little")[:width]
    return 0


def without_check(memory, base, relocations):
    for entry in relocations:
        memory[entry[0] : entry[0] + 4] = bytes(4)
        right(memory, base, [entry])
    return 0


def no_place(memory, base, relocations):
    return right(memory, 0, [(offset, 11 if kind in (2, 4) else kind, S, A) for offset, kind, S, A in relocations])


@pytest.mark.parametrize("seed", SEEDS)
def test_what_does_as_the_kernel_did_is_right(seed):
    assert kt.check("apply", right, seed).mark == "✓"


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (no_place, r"Step 1 of 3.*first wrong byte is \.text\+0x"),
        (lambda m, b, r: 0, "Step 1 of 3"),
        (lambda m, b, r: right(m, b, r) or 1, "Step 2 of 3"),
        (lambda m, b, r: right(m, b, r[:1]), "Step 1 of 3"),
        (without_check, "Step"),
        (lambda m, b, r: m.append(0), "bytes long"),
        (lambda m, b, r: 1 // 0, "ZeroDivisionError"),
    ],
)
def test_a_wrong_one_is_told_where(seed, wrong, told):
    import re

    reply = kt.check("apply", wrong, seed)
    assert reply.mark == "✗" and re.search(told, reply.text), reply


def test_what_it_is_compared_with_is_a_real_kernels_memory():
    for name in own_apply.RECORDED:
        recording = evidence(name)
        assert recording.source == "real kernel"
        (first, *_) = [step for step in range(len(recording)) if own_apply.sections(recording, step)]
        found = own_apply.sections(recording, first)
        assert sum(len(section.sites) for section in found) == 10
        assert {site.width for section in found for site, _, _ in section.sites} == {4, 8}


def test_by_hand_the_bytes_of_one_site_will_do():
    recording = evidence("reload--6.1--REFUSED")
    assert own_apply.judge("F5 CF FF FF", recording).mark == "✓"
    assert "By hand" in own_apply.judge("00 00 00 00", recording)
    assert "without brackets" in own_apply.judge(0, recording)


@pytest.mark.parametrize("name", _REFUSED)
def test_put_in_the_kernels_place_it_refuses_where_the_kernel_did(name):
    rows = list(own_apply.replayed(right, evidence(f"{name}--6.1--REFUSED")))
    assert not any(row.differs for row in rows)
    assert [number for number, row in enumerate(rows, 1) if row.returned == -8] == [refused_at(name)[0]]


def test_beside_a_kernel_that_clears_it_differs_from_the_rmmod_on():
    rows = list(own_apply.replayed(right, evidence("reload--6.12--LOADS")))
    assert [row.differs for row in rows] == [False, False, True, True]
    said = [row[-1] for row in own_apply.replay_mine(right, "reload--6.12--LOADS").rows]
    assert said == ["yes", "yes", "no", "no"]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_bug_in_ones_own_code_is_found_as_numbers_or_as_text(seed):
    step, byte = find_exercise("own-bug").problem(seed).answer
    for answer in ((step, byte), [str(step), hex(byte)], f"{step}, {byte:#x}", f"({step}, {byte})"):
        assert kt.check("own-bug", answer, seed).mark == "✓"
    for answer in ((step - 1, byte), (step, byte + 1), step, "no"):
        assert kt.check("own-bug", answer, seed).mark == "✗"
