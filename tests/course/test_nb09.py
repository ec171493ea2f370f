"""Notebook 09: logs and fixes, against real kernels and the committed table of consequences."""

import random

import pytest

import klpteach as kt
from klpteach.course.choices import ASKS, committed, every_story
from klpteach.course.nb09 import designs, logs, tables
from klpteach.course.nb09 import questions as nb09
from klpteach.course.nb09.stranger import right_bytes
from klpteach.course.notebooks import find_exercise
from klpteach.errors import PolicyError
from klpteach.fleet import Fleet, run_fleet
from klpteach.scenarios.recorded import evidence
from klpteach.views.table import bar_table
from klpteach.vm.trial import Row, Told
from klpteach.vm.trial.compile import Base

SEEDS = range(20)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_first_sign_and_its_cause_are_accepted_and_the_refusal_is_not(seed):
    problem = find_exercise("log-of-6.12").problem(seed)
    letter, line = problem.answer
    assert (
        kt.check("log-of-6.12", (letter, line), seed).mark
        == kt.check("log-of-6.12", [letter.upper(), line], seed).mark
        == "✓"
    )
    other = "abcde"[("abcde".index(letter) + 1) % 5]
    for wrong in ((letter, line + 1), (other, line), letter, ("z", line), None):
        reply = kt.check("log-of-6.12", wrong, seed)
        assert reply.mark == "✗" and len(reply.text) > 20, wrong
    assert "ordinary" in kt.check("log-of-6.12", ("z", 1), seed).text or line


def test_whoever_names_the_refusing_line_hears_that_something_came_before():
    found = next(log for log in map(logs.log, map(random.Random, SEEDS)) if log.cause == "b")
    assert "left by something before" in nb09._judge_log(("b", found.refusal), found)


def test_seeds_tell_of_every_cause_and_never_of_the_2019_bug():
    asked = [find_exercise("log-of-6.12").problem(seed) for seed in range(40)]
    assert {problem.answer[0] for problem in asked} == set(logs.CAUSES)
    assert len({problem.ask for problem in asked}) > 20
    assert all("Skipping" not in problem.ask for problem in asked)


@pytest.mark.parametrize(
    ("name", "arch", "cause", "sign"),
    [("callback-fails--6.12--REFUSED", "x86_64", "a", "callback failed"),
     ("foreign-write--6.12--REFUSED", "x86_64", "b", "does not match"),
     ("moved--6.12-stock--STUBS", "ppc64le", "c", "stub_for_addr"),
     ("half-way--6.12--REFUSED", "x86_64", "d", "not found in symbol table"),
     ("corrupted--6.12--REFUSED", "x86_64", "e", "nonzero")],
)  # fmt: skip
def test_the_first_sign_of_a_real_log_is_the_one_that_the_exercise_teaches(name, arch, cause, sign):
    real = logs.Log(tuple(logs._shown(evidence(name, arch))), cause)
    assert sign in real.lines[real.first_sign - 1]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_customers_fix_is_accepted_and_the_kernel_as_released_is_not_enough(seed):
    problem = find_exercise("design").problem(seed)
    assert problem.reply(problem.answer).mark == problem.reply(tuple(problem.answer)).mark == "✓"
    wanted = designs.wishes(random.Random(f"a fix for a customer:{seed}"))
    assert designs.unmet(wanted, ()) and not designs.unmet(wanted, tuple(problem.answer))
    known, good = committed(wanted.arch, wanted.release), designs.satisfying(wanted)
    reply = kt.check("design", next(choice for choice in known if choice and choice not in good), seed)
    assert reply.mark == "✗" and "stories come out as wished, but not these" in reply.text


def test_seeds_give_customers_on_every_kernel_with_other_wishes():
    wanted = [designs.wishes(random.Random(f"a fix for a customer:{seed}")) for seed in range(40)]
    assert {(one.arch, one.release) for one in wanted} == set(designs.kernels())
    assert len(set(wanted)) > 30 and any("corrupted" in one.stories for one in wanted)
    asked = [find_exercise("design").problem(seed).ask for seed in (1, 2, 1)]
    assert asked[0] == asked[2] != asked[1]


def test_an_impossible_or_empty_mix_is_answered_with_its_reason():
    for answer, words in ((["clear-checked", "clear-relocations"], "cannot be combined"), ([], "at least one"), (7, "at least one"), ("typo", "unknown proposal")):  # fmt: skip
        assert words in kt.check("design", answer, 1).text
    with pytest.raises(PolicyError):
        every_story(("half-loaded", "split-per-object"), "x86_64", "6.1")


def test_a_mix_of_one_is_what_the_committed_table_says():
    for mix in ((), ("clear-relocations",), ("deny-removal",)):
        assert every_story(mix, "x86_64", "6.12") == list(committed("x86_64", "6.12")[mix].values())


@pytest.mark.parametrize("mix", [(), ("clear-checked",), ("reuse-stub",)])
def test_a_mark_in_the_table_is_a_recording_of_that_kernel_which_did_the_same(mix):
    marked = [(kernel, row) for kernel in designs.kernels() for row in every_story(mix, *kernel) if row.recording]
    assert len(marked) > 40
    for (arch, release), row in marked:
        found = evidence(row.recording, arch)
        assert (found.source, found.arch, found.release) == ("real kernel", arch, release)
        if row.kind == "refused":
            assert found[row.step - 1].errno
    shown = [cell for row in tables.in_every_story(*mix).rows for cell in row[1:] if cell[-1:] in "●◐" and cell]
    assert len(shown) == len(marked)


def test_the_answers_about_6_12_are_those_of_real_kernels():
    half_way = evidence("half-way--6.12--REFUSED")
    assert [step.errno for step in half_way][2:] == [-22, -8] and nb09.whose_site() == "second"
    stale = {key.partition(":")[0] for key, value in half_way[3].sites.items() if any(value)}
    assert stale == {"livepatch_stacked"}, "the first livepatch is taken back, on the real kernel too"
    assert evidence("edge--6.12-stock--OOPS", "ppc64le")[-1].oops and nb09.third_move() == "oops"
    assert not evidence("reload--6.12--LOADS")[3].errno and nb09.what_became_of_the_rfc() == "waits"


@pytest.mark.parametrize("release", ["6.1", "6.12", "7.3"])
def test_right_bytes_are_refused_like_wrong_ones(release):
    story = right_bytes(release)
    before, after = story[1], story[-1]
    key = next(iter(before.sites))
    assert before.sites[key] == after.sites[key] and after.errno == -8 and "is nonzero" in after.lines[0]
    first, again = (next(iter((step.placement or {})["nfsd_demo"].items())) for step in (story[0], after))
    assert first == again, "its code (or the whole of it) is at the same address"


@pytest.mark.parametrize("shape", ["{0} {1}", "({0}, {1})", "{0},{1}"])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_log_is_answered_as_text_too(seed, shape):
    cause, line = find_exercise("log-of-6.12").problem(seed).answer
    assert kt.check("log-of-6.12", shape.format(cause.upper(), line), seed).mark == "✓"
    assert kt.check("log-of-6.12", (cause, str(line)), seed).mark == "✓"
    assert kt.check("log-of-6.12", (cause, str(line + 1)), seed).mark == "✗"


def test_what_is_left_over_is_what_has_a_star():
    mix = ("clear-checked", "reuse-stub")
    starred = [row[0] for row in tables.in_every_story(*mix).rows if any("*" in cell for cell in row)]
    assert {line.partition(":")[0] for line in tables.left_over(*mix)} == set(starred)
    assert tables.all_stories(*mix).inside.rows == tables.in_every_story(*mix).rows


@pytest.mark.parametrize("seed", SEEDS)
def test_a_fix_is_taken_as_text_too_in_any_case(seed):
    answer = find_exercise("design").problem(seed).answer
    assert (
        kt.check("design", ", ".join(answer).upper(), seed).mark
        == kt.check("design", " ".join(answer), seed).mark
        == "✓"
    )


def test_forty_moves_are_counted_from_recordings():
    rows = {row[0]: row[1] for row in tables.forty_moves().rows}
    assert rows["6.12 unmodified"] == "1 of 40" and rows["6.12 with reuse"] == "40 of 40"


def test_the_years_bars_are_the_tallies_and_a_name_is_escaped():
    tallies = run_fleet(Fleet(machines=100, days=30, mixes=((), ("deny-removal",))))
    table = tables.year(tallies, ["refused removals"])
    assert [row[1].value for row in table.rows] == [100 * tally.per_machine("refused_removals") for tally in tallies]
    html = bar_table([("<b>", "solid")], [("<i>", [0.0]), ("x", [3.0])])._repr_html_()
    assert "<i>" not in html and "<b>" not in html and html.count("width:100.0%") == 1


# -- the reader's own patch ------------------------------------------------------------------------------------------------


def row_of(kernel: str, chosen: tuple[str, ...], **but: str) -> Row:
    """The row that a kernel with these proposals earns, with some cells otherwise."""
    base = Base.named(kernel)
    told = [
        Told(one.question, but.get(one.question, one.kind), one.says)
        for one in every_story(chosen, base.arch, base.release)
    ]
    return Row("my.patch", "0" * 64, base.release, base.release, tuple(told), base.arch)


@pytest.mark.parametrize(("name", "kernel", "ours", "story"), [
    ("mend-half-way", "6.12", "clear-also-on-error", "half-way"), ("mend-stubs", "ppc64le-6.12", "reuse-stub", "many-moves"),
])  # fmt: skip
def test_a_patch_of_ones_own_is_right_where_its_kernel_ends_the_stories_as_ours_does(
    name: str, kernel: str, ours: str, story: str
) -> None:
    problem = find_exercise(name).problem()
    assert problem.reply(row_of(kernel, (ours,))).mark == "✓"
    unmended = problem.reply(row_of(kernel, ()))
    assert unmended.mark == "✗" and ASKS[story].asks in unmended.text
    worse = problem.reply(row_of(kernel, (ours,), reload="panics"))
    assert worse.mark == "✗" and "reload at the same address: panics" in worse.text


def test_what_is_no_patch_or_is_of_another_kernel_is_neither_right_nor_wrong(tmp_path) -> None:
    problem = find_exercise("mend-half-way").problem()
    for answer in (5, tmp_path / "none.patch", ..., row_of("6.1", ("clear-also-on-error",))):
        assert problem.reply(answer).mark == "?"
