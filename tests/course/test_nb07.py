"""Notebook 07: the ways out against real kernels where one was recorded, and every exercise with right and wrong answers."""

import random
import re

import pytest
from conftest import ROOT
from markup import check_markup

import klpteach as kt
from klpteach.course import nb07 as nb07_shows
from klpteach.course.choices import question_of
from klpteach.course.nb07 import own_policy, patches, tables, ways
from klpteach.course.nb07 import questions as nb07
from klpteach.course.notebooks import find_exercise, find_question
from klpteach.discussion.consequences import read_consequences
from klpteach.discussion.costs import costs_of
from klpteach.discussion.thread import positions
from klpteach.errors import PolicyError
from klpteach.scenarios.recorded import evidence
from klpteach.views.shown import escape

SEEDS = range(20)


def step_of(recording, command):
    return next(step for step in recording if command in step.command)


@pytest.mark.parametrize("arch", ["x86_64", "ppc64le"])
def test_the_picture_of_the_notebook_is_a_part_of_the_committed_table(arch):
    committed = {(r.arch, r.release, r.proposals, r.question): r for r in read_consequences()}
    rows = ways.nine_stories(arch)
    assert len(rows) == 45
    for row in rows:
        assert row == committed[arch, "6.1", row.proposals, row.question]


def test_a_damaged_file_is_noticed_by_the_real_x86_kernel_and_not_by_the_real_ppc64le_kernel():
    damaged = "livepatch_nfsd_demo+offset-off-by-8.ko"
    ppc = step_of(evidence("catalogue--6.1-stock--REFUSED", "ppc64le"), damaged)
    x86 = step_of(evidence("catalogue--6.1--REFUSED"), damaged)
    assert (ppc.errno, x86.errno) == (0, -8)
    assert find_question("damaged-on-ppc64le").answer() == "loads"


def test_what_the_check_alone_catches_is_refused_by_the_real_kernel_with_its_line():
    catalogue = evidence("catalogue--6.1--REFUSED")
    for defect in ways.caught_by_the_check():
        step = step_of(catalogue, f"+{defect}.ko")
        assert step.errno == -8 and "existing value is nonzero" in " ".join(step.lines)


def test_a_stranger_is_warned_of_and_refused_by_the_real_6_12_and_by_the_checked_clearing():
    real = evidence("foreign-write--6.12--REFUSED")
    model = kt.simulate("foreign-write", "6.1", ["clear-checked"])
    assert [step.errno for step in real] == [step.errno for step in model]
    assert find_question("foreign-byte").answer() == "rfc"


def test_what_the_notebook_says_of_lines_is_what_was_counted():
    notebook = (ROOT / "notebooks" / "07-three-ways-out.ipynb").read_text()
    for proposal in ("clear-relocations", "clear-checked", "tolerate-r2"):
        for cost in costs_of(proposal):
            assert f"+{cost.added} −{cost.removed}" in notebook


def _voices(text: str) -> int:
    """How many people speak in a cell: each is named before the words."""
    return len(re.findall(r"[A-Z]\w+ \w+, 20\d\d-\d\d-\d\d: ", text))


def test_both_camps_are_heard_on_each_of_the_three_ways():
    camps = tables.both_camps("remove-check", "deny-removal", "clear-relocations")
    for table in (camps.best, camps.more):
        assert all(_voices(cell.text) for row in table.rows for cell in row[1:])
        assert all("lore.kernel.org" in cell.html for row in table.rows for cell in row[1:])
    assert all(_voices(cell.text) == 1 for row in camps.best.rows for cell in row[1:]), "one voice a side"
    assert "no mail" in tables.both_camps("tolerate-r2").best.rows[0][2].text
    check_markup(camps.to_html())


def test_the_best_argument_of_a_side_is_one_of_that_sides_mails():
    for name, days in tables.BEST.items():
        for side, day in zip(("for", "against"), days, strict=True):
            assert day in {mail.date for mail in positions(name, side)}


@pytest.mark.parametrize("seed", SEEDS)
def test_denied_removal_is_defeated_and_what_does_not_defeat_it_is_explained(seed):
    problem = find_exercise("defeat-denial").problem(seed)
    livepatch = problem.answer[0]
    assert problem.reply(problem.answer).mark == "✓"
    assert problem.reply("\n".join(problem.answer)).mark == "✓"
    tries = {
        "in use": ["insmod nfsd_demo.ko", livepatch, "rmmod nfsd_demo", "insmod nfsd_demo.ko"],
        "nothing was refused": [livepatch, "insmod nfsd_demo.ko"],
        "is not loaded in the end": ["insmod nfsd_demo.ko"],
        "already": [livepatch, "insmod nfsd_demo.ko", "insmod nfsd_demo.ko"],
    }
    for words, commands in tries.items():
        reply = problem.reply(commands)
        assert reply.mark == "✗" and words in reply.text, (words, reply)
    assert "Notebook 05" in kt.check("defeat-denial", [livepatch], seed).text + problem.hints[1]


@pytest.mark.parametrize(
    "answer", [[], ["insmod x.ko"] * 13, ["poke livepatch_nfsd_demo:.text+0x17 00"], ["insmod livepatch_nfsd_demo+marked.ko"], ["fly"], 7, None]
)  # fmt: skip
def test_what_is_no_sequence_of_whole_files_is_no_try(answer):
    assert find_exercise("defeat-denial").problem(1).reply(answer).mark == "?"


def test_commands_may_stand_in_one_text_with_semicolons():
    problem = find_exercise("defeat-denial").problem(1)
    assert problem.reply("; ".join(problem.answer)).mark == "✓"
    assert problem.reply(["; ".join(problem.answer)]).mark == "✓"


def test_the_damaged_livepatch_is_the_exception_where_it_is_among_the_stories():
    for seed in range(1, 9):
        ask = find_exercise("own-policy").problem(seed).ask
        assert ("but the damaged livepatch refused" in ask) == (": must be refused" in ask)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_files_that_only_the_check_catches_are_found_and_the_others_are_explained(seed):
    problem = find_exercise("let-in").problem(seed)
    assert problem.reply(problem.answer).mark == "✓" and problem.reply(sorted(problem.answer)).mark == "✓"
    listed = [line.split()[0] for line in problem.ask.splitlines() if line.startswith("    ")]
    assert len(listed) == 5 and problem.answer < set(listed)
    for other in set(listed) - problem.answer:
        reply = problem.reply({*problem.answer, other})
        assert (
            reply.mark == "✗" and other in reply.text and ("refused by both" in reply.text or "as well" in reply.text)
        )
    assert problem.reply(set()).text == f"{len(problem.answer)} more."
    assert problem.reply({"no-such-defect"}).mark == "?"
    files = ", ".join(f"livepatch_nfsd_demo+{name}.ko".upper() for name in problem.answer)
    assert problem.reply(files).mark == problem.reply(" ".join(problem.answer)).mark == "✓"
    assert problem.reply(7).mark == problem.reply(None).mark == "?"


@pytest.mark.parametrize("seed", SEEDS)
def test_a_policy_that_passes_is_accepted_and_the_released_kernel_is_not(seed):
    problem = find_exercise("own-policy").problem(seed)
    assert problem.answer and problem.reply(problem.answer).mark == "✓"
    reply = problem.reply({})
    assert reply.mark == "✗" and "of 4 stories" in reply.text
    assert all(f"    {switch} " in problem.ask for switch in problem.answer)


@pytest.mark.parametrize("name", [["clear-checked"], "clear-checked", [], None])
def test_a_name_is_not_taken_for_a_policy(name):
    assert kt.check("own-policy", name, 1).mark == "?"


def test_switches_and_the_proposal_of_the_same_name_are_one_policy():
    keys = ("reload", "init-fails", "corrupted", "foreign-write", "disabled")
    pairs = {
        "clear-checked-kept": {"clear": "checked"},
        "clear-relocations": {"clear": "unchecked"},
        "deny-removal": {"pin_targets": True},
        "remove-check": {"check_zero": False},
        "refuse-unpatched": {"refuse_unpatched": True},
        "half-loaded": {"half_load": True},
        "split-per-object": {"split_per_object": True},
    }
    for proposal, switches in pairs.items():
        by_name = [outcome for _, outcome in ways.outcomes(keys, "x86_64", "6.1", [proposal])]
        assert by_name == [outcome for _, outcome in ways.outcomes(keys, "x86_64", "6.1", switches)], proposal


@pytest.mark.parametrize(
    ("switches", "arch", "says"),
    [
        ({"clean": "no"}, "x86_64", "check_zero"),
        ({"clear": "maybe"}, "x86_64", "unchecked"),
        ({"pin_targets": 1}, "x86_64", "True"),
        ({"clear": "checked"}, "ppc64le", "x86_64 only"),
        ({"split_per_object": True, "half_load": True}, "x86_64", "no dependencies"),
        ({"release": "6.3"}, "x86_64", "unknown switch"),
    ],
)
def test_an_impossible_policy_says_what_there_is(switches, arch, says):
    with pytest.raises(PolicyError, match=says):
        ways.outcomes(["reload"], arch, "6.1", switches)
    assert own_policy.judge_policy(switches, ["reload"], arch).mark == "?"


@pytest.mark.parametrize("name", sorted(nb07.EXERCISES))
def test_a_seed_is_a_problem(name):
    def asked(seed):
        return nb07.EXERCISES[name].make(random.Random(f"x:{seed}")).ask

    assert [asked(seed) for seed in range(8)] == [asked(seed) for seed in range(8)]
    assert len({asked(seed) for seed in range(8)}) > 1


def test_a_name_that_is_no_story_or_no_proposal_is_one_clear_line():
    with pytest.raises(kt.KlpteachError, match="reload"):
        question_of("relaod")
    with pytest.raises(kt.KlpteachError, match="deny-removal"):
        tables.both_camps("deny-everything")


@pytest.mark.parametrize("name", sorted(patches.ASKED))
def test_a_patch_stands_beside_the_line_that_the_model_needs_for_it(name):
    function, switch = patches.ASKED[name]
    shown = kt.patch_of(name)
    html = nb07_shows.as_patches(name).to_html()
    assert f"rules.{switch}" in patches.in_model(name) and function.__name__ in html
    check_markup(html)
    assert f"{shown.size.added} lines come, {shown.size.removed} go" in html
    assert all(escape(line) in html for piece in shown.pieces for line in piece.lines)


def test_a_proposal_whose_line_is_not_known_is_one_clear_line():
    with pytest.raises(kt.KlpteachError, match=r"no line of the model is shown for '<b>'; there are remove-check"):
        nb07_shows.as_patches("<b>")
