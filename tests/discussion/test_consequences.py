"""The table of consequences: recomputed, held against recordings of real kernels, and shown."""

from __future__ import annotations

import re
from dataclasses import asdict, replace
from itertools import product
from pathlib import Path

import pytest

from klpteach import Recording, simulate
from klpteach.cli import main
from klpteach.course.talk.costs import costs
from klpteach.discussion.consequences import (
    ARCHES,
    OWN_BUILD,
    QUESTIONS,
    RELEASES,
    SHIPPED,
    WHO,
    Consequence,
    by_modprobe,
    cells,
    choices,
    compute,
    consequence,
    grid,
    legend,
    read_consequences,
    to_csv,
    told,
)
from klpteach.files.samples import data_dir
from klpteach.model.policy import kernel_of, possible
from klpteach.model.step import Step
from klpteach.reading.outcome import ENDINGS, outcome_of
from klpteach.scenarios.recorded import open_recorded
from klpteach.scenarios.simulate import get
from klpteach.views.figures.consequences import COLOURS, alt_text, consequences_picture, of_kernel
from klpteach.views.frames import consequences_grid, consequences_table

TABLE = read_consequences()
CELLS = {(row.arch, row.release, row.proposals, row.question): row for row in TABLE}
SEEN = ("kind", "refused", "pinned", "unpatched", "unasked", "unasked_kib", "stale", "past_end", "step")
RECORDED = [row for row in TABLE if row.recording]


# -- the table ----------------------------------------------------------------------------------------------------------------


def test_the_committed_table_is_what_the_model_computes_today() -> None:
    """Else: klpteach consequences --csv > data/consequences.csv, and look at what changed."""
    assert to_csv(compute()) == (data_dir() / "consequences.csv").read_text()


def test_the_table_read_back_is_the_table() -> None:
    assert to_csv(TABLE) == (data_dir() / "consequences.csv").read_text()
    assert len(CELLS) == len(TABLE)


@pytest.mark.parametrize("arch", ARCHES)
def test_every_story_is_there_for_every_choice_on_every_kernel(arch: str) -> None:
    asked = {question.key for question in QUESTIONS if arch in question.story}
    assert len(asked) >= 12
    for release in RELEASES:
        for chosen in choices(arch):
            there = {q for a, r, p, q in CELLS if (a, r, p) == (arch, release, "+".join(chosen))}
            assert asked - there <= (set() if release == "6.12" else {"edge"})
            assert possible(chosen, arch)


@pytest.mark.parametrize(("arch", "release"), list(product(ARCHES, RELEASES)))
def test_every_cell_that_names_a_recording_is_what_that_recording_comes_to(arch: str, release: str) -> None:
    for cell in RECORDED:
        if (cell.arch, cell.release) == (arch, release):
            assert_seen(cell)


@pytest.mark.parametrize(
    ("arch", "release"), [("x86_64", "7.3"), ("ppc64le", "7.3"), ("arm64", "7.3"), ("s390x", "6.1")]
)
def test_a_kernel_that_the_file_leaves_out_is_computed_and_comes_to_what_was_recorded(arch: str, release: str) -> None:
    rows = [consequence(question, arch, release) for question, chosen in cells(arch, release) if not chosen]
    assert {row.question for row in rows} >= {q.key for q in QUESTIONS if arch in q.story} - {"edge"}
    recorded = [row for row in rows if row.recording]
    assert len(recorded) >= 6
    for row in recorded:
        assert_seen(row)


def assert_seen(cell: Consequence) -> None:
    """That a cell is what its recording comes to."""
    recording = open_recorded(cell.recording, cell.arch)
    assert tells(recording, cell), cell.recording
    outcome = asdict(outcome_of(recording))
    outcome["unasked"] = len(outcome["unasked"])
    for key in ("refused", "pinned", "unpatched"):
        outcome[key] = " ".join(outcome[key])
    assert {key: outcome[key] for key in SEEN} == {key: getattr(cell, key) for key in SEEN}, cell


def tells(recording: Recording, cell: Consequence) -> bool:
    """Whether a recording is of the cell's story, told by insmod or by modprobe, with its use or without; on such a kernel."""
    (question,) = (question for question in QUESTIONS if question.key == cell.question)
    story = get(question.story[cell.arch], cell.arch)
    heard = told(replace(story, commands=tuple(step.command for step in recording if step.command != "boot"))).commands
    plain = [
        re.sub(r":\{site\}|:\.\w+\+0x[0-9a-f]+", "", command.lstrip("~")) for command in told(story, cell.arch).commands
    ]
    site = [re.sub(r":\.\w+\+0x[0-9a-f]+", "", command) for command in heard[: len(recording)]]
    variant = recording.kernel.get("variant", "stock").split("+")
    same = kernel_of(recording.release, variant, recording.arch) == kernel_of(cell.release, cell.chosen, cell.arch)
    return same and site == plain[: len(site)] and len(site) >= len(by_modprobe(story).commands) - 1


def test_how_many_cells_were_held_against_a_recording(capsys) -> None:
    kernels = {(cell.arch, cell.release, cell.proposals) for cell in RECORDED}
    with capsys.disabled():
        print(f" [{len(RECORDED)} of {len(TABLE)} cells on {len(kernels)} kernels have a recording]", end="")
    assert len(RECORDED) >= 60
    assert {(a, r, "") for a in ARCHES for r in RELEASES} <= kernels


def test_the_talks_table_of_costs_knows_every_ending() -> None:
    shown = costs({"spanning": "spanning"}, {"split": ("6.1", ["split-per-object"])})
    assert shown.loc["split", "spanning"] == "A fix in two steps"


# -- the reading ----------------------------------------------------------------------------------------------------------------


def test_the_reading_never_asks_for_a_proposal() -> None:
    import klpteach.reading.outcome

    text = Path(klpteach.reading.outcome.__file__).read_text()
    assert "policy" not in text and "rules" not in text and "recording.proposals" not in text
    story = simulate("target-later", "6.12", ["no-late-patching"])
    story.proposals, story.kernel = [], {**story.kernel, "variant": "?"}
    assert outcome_of(story).kind == "unpatched"


def test_a_module_that_runs_an_older_fix_counts_as_unpatched() -> None:
    outcome = outcome_of(simulate("race", "6.12", ["split-per-object"]))
    assert (outcome.kind, outcome.unpatched) == ("unpatched", ("nfsd_demo",))


def test_silent_corruption_names_the_place() -> None:
    outcome = outcome_of(simulate("corrupted", "6.1", ["remove-check"]))
    assert outcome.kind == "corrupt"
    assert re.fullmatch(r"\.text\+0x[0-9a-f]+: the relocation of a distance was never written", outcome.says)


def test_a_refusal_names_the_kernels_line_and_without_one_the_errno() -> None:
    assert "existing value is nonzero" in outcome_of(simulate("reload", "6.1")).says
    story = by_modprobe(get("not-installed"))
    assert outcome_of(simulate(story, "6.1", ["hard-dependencies"])).says == "ENOENT"


def test_stale_pointers_are_counted_where_a_disabled_livepatch_keeps_them() -> None:
    assert outcome_of(simulate("disabled", "6.12")).stale == 10
    assert outcome_of(simulate("reload", "6.12")).stale == 0
    assert outcome_of(simulate("reload", "6.1")).stale == 10


def test_modules_that_nobody_asked_for_are_counted_with_their_memory() -> None:
    story = simulate("one-in-use", "6.1", ["hard-dependencies"])
    outcome = outcome_of(story)
    sizes = [row["size"] for row in story[-1].modules if row["name"] in outcome.unasked]
    assert len(outcome.unasked) == 4 and outcome.unasked_kib * 1024 == sum(sizes)


def test_an_oops_is_worse_than_anything_else() -> None:
    outcome = outcome_of(simulate("edge", "6.12", arch="ppc64le"))
    assert outcome.kind == "oops" and outcome.says.startswith("BUG: Unable to handle")


def test_a_recording_that_was_not_looked_at_comes_to_nothing_bad() -> None:
    recording = simulate("reload", "6.12")
    recording.steps = [Step(step.command, step.errno) for step in recording.steps[:2]]
    assert outcome_of(recording).stale == 0


# -- shown ------------------------------------------------------------------------------------------------------------------------


def test_each_kind_has_a_letter_of_its_own_a_word_and_a_meaning() -> None:
    endings = ENDINGS.values()
    assert len({ending.letter for ending in endings}) == len({ending.words for ending in endings}) == len(ENDINGS)
    assert all(ending.words and ending.meaning for ending in endings) and set(COLOURS) == set(ENDINGS)
    assert list(ENDINGS)[-1] == "works" and len(legend().splitlines()) == len(ENDINGS) + 1 + len(WHO)


def test_the_grid_has_a_letter_for_every_cell() -> None:
    rows = of_kernel("ppc64le", "6.12")
    lines = grid(rows).splitlines()
    body = [line for line in lines if any(line.startswith(q.asks) for q in QUESTIONS)]
    assert sum(len(re.findall(r"(?<= )[A-Z]\*?[●◐○](?= |$)", line)) for line in body) == len(rows)


def test_the_command_prints_the_table_for_one_kernel(capsys) -> None:
    assert main(["consequences", "--arch", "x86_64", "--release", "6.12", "--csv"]) == 0
    lines = capsys.readouterr().out.splitlines()
    mine = [
        line for line in (data_dir() / "consequences.csv").read_text().splitlines() if line.startswith("x86_64,6.12,")
    ]
    assert lines[1:] == mine


def test_the_frames_have_a_row_a_cell_and_say_the_same() -> None:
    assert len(consequences_table()) == len(TABLE)
    shown = consequences_grid("x86_64", "6.1")
    assert shown.loc["reload at the same address", "deny-removal"][:-1] == "P* cannot be removed "
    assert shown.loc["reload at the same address", "as released"][-1] in (SHIPPED, OWN_BUILD)
    assert shown.notna().all().all()


@pytest.mark.parametrize("arch", ARCHES)
def test_the_figure_has_the_letters_of_the_table_and_its_words_the_numbers(arch: str) -> None:
    rows = of_kernel(arch, "6.12")
    picture = consequences_picture(arch, "6.12")
    known = {ending.letter for ending in ENDINGS.values()}
    letters = [text.get_text() for text in picture.figure.axes[0].texts if text.get_text() in known]
    wanted = [ENDINGS[kind].letter for kind in [*(row.kind for row in rows), *{row.kind for row in rows}]]
    assert sorted(letters) == sorted(wanted)
    released = [row for row in rows if not row.proposals]
    assert f"As released: {sum(r.as_wished for r in released)} of {len(released)} as wished" in alt_text(rows)
    assert all(text.get_size() >= 14 for text in picture.figure.axes[0].texts)


def test_the_picture_is_the_same_each_time_and_nothing_is_cut_off() -> None:
    one, two = consequences_picture("x86_64", "6.1"), consequences_picture("x86_64", "6.1")
    assert one.svg() == two.svg()
    renderer = one.figure.canvas.get_renderer()
    edge = one.figure.bbox
    for text in one.figure.axes[0].texts:
        box = text.get_window_extent(renderer)
        assert edge.x0 <= box.x0 and box.x1 <= edge.x1 and edge.y0 <= box.y0 and box.y1 <= edge.y1, text.get_text()
