"""Notebook 08: what dependencies pull in, against the files' own words, a second way of counting, and real kernels."""

import pytest

import klpteach as kt
from klpteach.course.nb07.tables import positions_on
from klpteach.course.nb08 import questions as nb08
from klpteach.course.nb08 import tables
from klpteach.course.nb08.many_modules import (
    FORTY,
    IN_USE,
    LIVEPATCH,
    NEEDS,
    cumulative,
    loaded,
    many_modules,
    needed_by,
)
from klpteach.course.nb08.module_grid import ModuleGrid, pulled_in
from klpteach.course.notebooks import find_exercise
from klpteach.discussion.costs import read_costs
from klpteach.scenarios.recorded import evidence

SEEDS = range(20)


def with_pandas(seed):
    """The worked answer, in pandas."""
    needs, targets = tables.modules_dep(), tables.patched(seed)
    full = lambda names: set(names) | set(needs[needs.module.isin(names)].needs)
    wanted = full(targets)
    return tables.customers(seed).groupby("customer").uses.apply(lambda used: len(wanted - full(used)))


@pytest.mark.parametrize("seed", SEEDS)
def test_the_answer_of_pandas_is_the_models_and_is_accepted(seed):
    answer = with_pandas(seed)
    assert answer.to_dict() == find_exercise("pulled-in").problem(seed).answer
    assert kt.check("pulled-in", answer, seed).mark == kt.check("pulled-in", answer.to_dict(), seed).mark == "✓"


@pytest.mark.parametrize("seed", SEEDS)
def test_a_wrong_count_is_rejected_and_its_thought_is_named(seed):
    problem = find_exercise("pulled-in").problem(seed)
    there = nb08.shop(seed)
    for wrong, words in nb08._slips(there, problem.answer):
        reply = problem.reply(wrong)
        assert reply.mark == "✗" and (
            words in reply.text or wrong in [w for w, _ in nb08._slips(there, problem.answer)]
        )
    first = next(iter(problem.answer))
    near = {**problem.answer, first: problem.answer[first] + 2}
    assert problem.reply(near).text == "3 of 4 customers are right."
    assert "a number for each of" in problem.reply({}).text and "a number for each of" in problem.reply(7).text


def test_a_seed_gives_its_problem_and_another_seed_another():
    shops = [nb08.shop(seed) for seed in SEEDS]
    assert shops == [nb08.shop(seed) for seed in SEEDS] and len({str(one) for one in shops}) == len(shops)
    asked = [find_exercise("pulled-in").problem(seed) for seed in SEEDS]
    assert len({str(problem.answer) for problem in asked}) == len(asked)


def test_three_of_forty_become_the_closure_of_all_and_one_livepatch():
    there = loaded(IN_USE, proposals=["hard-dependencies"])
    assert set(there) == needed_by(FORTY) | {LIVEPATCH} and len(there) == 92
    assert set(loaded(IN_USE)) == needed_by(IN_USE) | {LIVEPATCH}
    assert pulled_in().counts == {"in use": 6, "pulled in": 37, "needed": 48, "livepatch": 1}


def test_what_a_module_needs_is_loaded_before_it():
    there = loaded([], proposals=["hard-dependencies"])
    assert all(there.index(other) < there.index(name) for name in there[:-1] for other in NEEDS[name])


def test_the_made_livepatch_patches_each_target_and_keeps_it():
    kernel = many_modules(FORTY, ["hard-dependencies"])
    assert kernel.modprobe(LIVEPATCH).errno == 0
    (patch,) = kernel.klp.patches
    assert [obj.name for obj in patch.objects if obj.patched] == list(FORTY) and patch.replace
    assert kernel.rmmod("fuse").errno == -11
    assert [obj.name for obj in cumulative(FORTY).klp.objects] == list(FORTY)


@pytest.mark.parametrize("kernel", ["6.1", "6.12"])
def test_real_kernels_do_what_the_notebook_says_of_today(kernel):
    one = evidence(f"one-in-use--{kernel}--LOADS")
    assert [row["name"] for row in one[1].modules] == ["livepatch_five", "nfsd_demo"]
    assert sum("patching complete" in line for line in evidence(f"spanning--{kernel}--LOADS")[2].lines) == 1
    dependency = evidence(f"dependency--{kernel}--LOADS")
    assert [step.errno for step in dependency[:4]] == [-2, 0, 0, -11]


def test_the_sums_of_the_code_that_could_go_are_the_costs():
    rows = {row[0][:1]: row[1:3] for row in tables.could_go().rows[:2]}
    for tier, (lines, code) in rows.items():
        mine = [cost for cost in read_costs() if cost.tier == tier]
        assert (int(lines), int(code)) == (sum(c.removed for c in mine), sum(c.code_removed for c in mine))


def test_names_in_a_grid_are_escaped_and_an_empty_group_is_left_out():
    grid = ModuleGrid([("pulled in", "<b>", ["<script>"]), ("needed", "none", [])], "<i>")
    assert "<script>" not in grid._repr_html_() and "<i>" not in grid._repr_html_() and grid.counts == {"pulled in": 1}
    assert "none" not in repr(grid)


def test_both_camps_are_in_the_table_of_dependencies():
    rows = positions_on("hard-dependencies", "split-per-object").rows
    assert {"for", "against"} <= {row[3] for row in rows} and all(len(row) == 7 for row in rows)
    assert (
        positions_on("split-per-object", people=["Petr Mladek"], since="2022").rows[0][-2]
        == "“it is _not_ the way to go”"
    )


@pytest.mark.parametrize("seed", (1, 2, 3, 7, 2026))
def test_by_hand_one_customer_will_do_and_all_of_them_as_text(seed):
    answer = find_exercise("pulled-in").problem(seed).answer
    name, count = next(iter(answer.items()))
    for one in (f"{name} {count}", f"{name.upper()}: {count}", (name, count), {name: count}):
        assert kt.check("pulled-in", one, seed).mark == "✓", one
    assert kt.check("pulled-in", ", ".join(f"{who} {many}" for who, many in answer.items()), seed).mark == "✓"
    for wrong in (f"{name} {count + 1}", f"{name} many", "nobody 3", count):
        assert kt.check("pulled-in", wrong, seed).mark == "✗"
