"""A reader's own clear(): right where it does as one of two kinds of real kernels did, byte for byte; its row is the table's."""

from __future__ import annotations

import re

import nbformat
import pytest
from conftest import ROOT
from markup import check_markup

import klpteach as kt
from klpteach.course.nb07 import own_clear
from klpteach.course.nb07.removals import MERGED, RFC, recorded, removals
from klpteach.course.nb07.ways import NINE
from klpteach.course.notebooks import find_exercise
from klpteach.discussion.consequences import read_consequences
from klpteach.scenarios.recorded import evidence

pytestmark = pytest.mark.usefixtures("blank")
SEEDS = range(1, 9)
MASK = (1 << 64) - 1


def value(base, offset, kind, S, A):
    """S + A (- P), as the bytes of the site."""
    width = 8 if kind in (1, 24) else 4
    return ((S + A - (base + offset) * (kind in (2, 4, 24))) & MASK).to_bytes(8, "little")[:width]


def merged(memory, base, relocations):
    for offset, kind, S, A in relocations:
        wrote = value(base, offset, kind, S, A)
        if memory[offset : offset + len(wrote)] != wrote:
            return -8
        memory[offset : offset + len(wrote)] = bytes(len(wrote))
    return 0


def rfc(memory, base, relocations):
    for offset, kind, S, A in relocations:
        width = len(value(base, offset, kind, S, A))
        memory[offset : offset + width] = bytes(width)


def four_bytes_each(memory, base, relocations):
    for offset, *_ in relocations:
        memory[offset : offset + 4] = bytes(4)
    return 0


def past_the_stranger(memory, base, relocations):
    return min([merged(memory, base, [one]) for one in relocations], default=0)


@pytest.mark.parametrize("kind", [RFC, MERGED])
def test_it_is_compared_with_real_kernels_that_clear(kind):
    assert len(recorded(kind)) > 20
    assert all(evidence(name).source == "real kernel" for name in {one.name for one in removals(kind)})
    assert {one.strange for one in removals(kind)} == {True, False}
    assert len({place.site.type for one in removals(kind) for place in one.places}) >= 5


def test_the_sum_of_a_site_is_what_a_real_kernel_held_there_but_for_the_strangers():
    for one in removals(MERGED):
        for place, entry in zip(one.places, one.relocations, strict=True):
            assert (place.before == value(one.base, *entry)) or one.strange


@pytest.mark.parametrize(("clear", "said"), [(merged, "Linux 6.3"), (rfc, "the RFC of 2019")])
def test_both_ways_are_right_and_each_is_told_whose_it_is(clear, said):
    reply = kt.check("clear", clear)
    assert reply.mark == "✓" and said in repr(reply)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (
            lambda m, b, r: 0,
            r"Step 1 of 3.*first wrong byte is \.text\+0x17\..*yours f5 cf ff ff, the kernel's 00 00 00 00",
        ),
        (four_bytes_each, r"Step 2 of 3.*type 24"),
        (past_the_stranger, r"Step 3 of 3.*foreign-write"),
        (lambda m, b, r: rfc(m, b, r[1:]), "Step 1 of 3"),
        (lambda m, b, r: merged(m, b, r) or 1, "returns 1; here it is 0"),
        (lambda m, b, r: m.append(0), "bytes long"),
        (lambda m, b, r: 1 // 0, "ZeroDivisionError"),
        (lambda m, b, r: "done", "not a number"),
        (lambda m, b, r: m.__setitem__(0, m[0] ^ 1) or rfc(m, b, r), "where there is no site"),
    ],
)
def test_a_wrong_one_is_told_where(wrong, told):
    reply = kt.check("clear", wrong)
    assert reply.mark == "✗" and re.search(told, reply.text), reply


@pytest.mark.parametrize("seed", SEEDS)
def test_by_hand_the_bytes_of_two_sites_will_do(seed):
    problem = find_exercise("clear").problem(seed)
    right = re.search(r"by hand: ((?:[0-9a-f]{2} ?){8})", problem.steps[-1])[1].strip()
    assert kt.check("clear", right.upper(), seed).mark == kt.check("clear", bytes.fromhex(right), seed).mark == "✓"
    for wrong in ("00 " * 8, "00 00 00 00", "zeros", b"", right[::-1]):
        assert kt.check("clear", wrong, seed).mark == "✗"


@pytest.mark.parametrize(
    ("clear", "chosen"), [(merged, "clear-checked"), (rfc, "clear-relocations"), (lambda *_: 0, "")]
)
def test_the_row_is_the_one_of_the_table_of_consequences(clear, chosen):
    table = own_clear.my_row(clear, "me")
    known = {
        (r.proposals, r.question): r.letter for r in read_consequences() if (r.arch, r.release) == ("x86_64", "6.1")
    }
    assert table.rows[-1] == ["me", *(known[chosen, story] for story in NINE)]
    assert own_clear.ROWS[chosen] in table.note
    check_markup(table.to_html())


def test_the_row_of_an_unwritten_function_is_that_of_the_kernel_without_one():
    assert "6.1 as it is" in own_clear.my_row(lambda *_: ..., "me").note


def test_a_hostile_name_is_text_and_a_failing_function_one_clear_line():
    assert "<b>" not in own_clear.my_row(merged, "<b>").to_html()
    with pytest.raises(kt.KlpteachError, match="ZeroDivisionError"):
        own_clear.my_row(lambda *_: 1 // 0)
    with pytest.raises(kt.KlpteachError, match="without brackets"):
        own_clear.my_row(0)


def test_the_worked_answer_in_the_notebook_is_the_one_that_is_checked():
    cells = nbformat.read(ROOT / "notebooks" / "07-three-ways-out.ipynb", as_version=4).cells
    shown = "\n".join(f"    {line}" for line in own_clear.WORKED.split("\n"))
    assert any(shown in cell.source for cell in cells)
