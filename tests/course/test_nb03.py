"""Notebook 03: sums against real kernels' memory, and a corrupt module as objdump reads it."""

import pytest
from binutils import disassembled

import klpteach as kt
from klpteach.course.nb03 import loading
from klpteach.course.nb03 import questions as nb03
from klpteach.course.notebooks import find_exercise
from klpteach.scenarios.recorded import evidence
from klpteach.views.figures.layout import layout_rows

SEEDS = range(20)


@pytest.mark.parametrize("release", ["6.1--REFUSED", "6.12--LOADS"])
def test_the_drawn_addresses_are_those_of_a_real_kernel(release):
    step = evidence(f"reload--{release}")[1]
    file = kt.ModuleFile.open(kt.sample(f"{loading.LIVEPATCH}.ko", release=release.partition("-")[0]))
    rows = layout_rows(file, release.partition("-")[0], step.placement[loading.LIVEPATCH])
    drawn = {row["section"]: row["address"] for row in rows}
    assert len(drawn) > 15 and drawn.items() <= step.sections[loading.LIVEPATCH].items()


@pytest.mark.parametrize("name", loading.RECORDED)
def test_every_sum_is_what_stands_in_a_real_kernels_memory(name):
    recording = evidence(name)
    sums = [
        one
        for step in range(1, len(recording) + 1)
        for one in loading.written(recording, step)
        if not recording[step - 1].refused
    ]
    assert len({one.key for one in sums}) == 10 and recording.source == "real kernel"
    stale = {one.key for one in sums if one.stored != one.sum.stored}
    assert not stale


def test_the_notebooks_own_sum_is_the_recorded_one():
    seen = evidence("reload--6.1--REFUSED")[1].bytes_at(nb03.CALL)
    assert seen == ((0xFFFFFFFFC0201010 - 4 - 0xFFFFFFFFC020601C) & 0xFFFFFFFF).to_bytes(4, "little")


@pytest.mark.parametrize("seed", SEEDS)
def test_a_right_pc32_is_accepted_and_three_wrong_ones_get_a_hint(seed):
    one = find_exercise("pc32")
    assert one.problem(seed).reply(lambda S, A, P: ((S + A - P) & 0xFFFFFFFF).to_bytes(4, "little")).mark == "✓"
    for wrong in (
        lambda S, A, P: ((S - P) & 0xFFFFFFFF).to_bytes(4, "little"),
        lambda S, A, P: ((S + A - P) & 0xFFFFFFFF).to_bytes(4, "big"),
        lambda S, A, P: ((S + A) & 0xFFFFFFFF).to_bytes(4, "little"),
        lambda S, A, P: ...,
    ):
        reply = kt.check("pc32", wrong, seed)
        assert reply.mark == "✗" and "pc32(" in repr(reply)


@pytest.mark.parametrize("seed", SEEDS)
def test_going_backwards_finds_the_symbol_of_a_recorded_site(seed):
    problem = find_exercise("backwards").problem(seed)
    assert problem.answer in {one.sum.S for one in loading.recorded_calls()}
    assert problem.reply(hex(problem.answer)).mark == "✓" and problem.reply(problem.answer + 4).mark == "✗"
    assert all(problem.reply(wrong).text for wrong, _ in problem.slips)


@pytest.mark.parametrize("name", ["pc32", "backwards"])
def test_a_seed_gives_its_problem_and_another_seed_another(name):
    asked = [find_exercise(name).problem(seed).ask for seed in SEEDS]
    assert asked == [find_exercise(name).problem(seed).ask for seed in SEEDS] and len(set(asked)) > 8


@pytest.mark.parametrize("kernel", ["6.1", "6.12"])
def test_real_kernels_catch_the_relocation_that_is_off_by_8(kernel):
    recording = evidence(f"catalogue--{kernel}--REFUSED")
    step = recording[19]
    assert loading.DEFECT in step.command and step.errno == -8 and "existing value is nonzero" in step.lines[-1]
    if kernel == "6.1":
        assert loading.loaded_text(loading.DEFECT)[1][-1].partition("loc")[0] == step.lines[-1].partition("loc")[0]


def test_objdump_reads_the_three_rows_as_the_notebook_says():
    rows = {name: b"".join(row.values()) for name, row in loading.damage().items()}
    in_file, good, bad = (disassembled(code, 0xFFFFFFFFC0206015) for code in rows.values())
    assert [line.split()[0] for line in good] == ["mov", "call", "mov"] == [line.split()[0] for line in in_file]
    assert good[1] == "call 0xffffffffc0201010" == bad[1]
    assert bad[0] == "mov 0x0(%rip),%edi" and bad[2].startswith("iret")


def test_at_another_base_two_ends_that_move_together_change_nothing():
    moves = loading.moved(kt.ModuleFile.open(kt.sample("nfsd_demo.ko")))
    assert {move.changed for move in moves if move.own and move.relative} == {False}
    assert nb03.what_a_new_base_changes() == "leaving"
    assert sum(not move.changed for move in moves) * 2 in range(len(moves) - 6, len(moves) + 6), "the prose says: half"
