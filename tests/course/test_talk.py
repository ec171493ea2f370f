"""The talk: its cuts, its notes, and what the slides do when a key is pressed; without a browser."""

from __future__ import annotations

from functools import cache
from typing import Any

import nbformat
import pytest
from conftest import ROOT

import klpteach as kt
from klpteach.course.talk.slides import Live, Slide, Vote
from klpteach.course.talk.talk import CUTS

CELLS = nbformat.read(ROOT / "notebooks" / "talk.ipynb", as_version=4).cells


@cache
def told() -> tuple[Any, list[tuple[Any, list[Slide]]]]:
    """The talk, and each code cell with the slides that it made."""
    names: dict[str, Any] = {}
    made: list[tuple[Any, list[Slide]]] = []
    for cell in CELLS:
        if cell.cell_type == "code":
            before = set(names["talk"].slides) if "talk" in names else set()
            exec(cell.source, names)
            made.append((cell, [slide for title, slide in names["talk"].slides.items() if title not in before]))
    return names["talk"], made


def test_it_has_12_to_15_cells_and_every_code_cell_is_one_slide() -> None:
    assert 12 <= len(CELLS) <= 15
    assert all(len(slides) == 1 for _, slides in told()[1])


def test_every_cell_has_notes_for_the_speaker_and_is_in_the_long_cut() -> None:
    assert all(len(cell.metadata.talk.notes) > 40 and "cut-40" in cell.metadata.tags for cell in CELLS)


def test_the_cuts_in_the_metadata_are_those_of_the_slides() -> None:
    for cell, (slide,) in told()[1]:
        assert cell.metadata.tags == [f"cut-{cut}" for cut in CUTS if slide.cut <= cut], slide.title


@pytest.mark.parametrize("cut", CUTS)
def test_a_cut_takes_no_longer_than_its_name_says(cut: int) -> None:
    minutes = sum(cell.metadata.talk.minutes for cell in CELLS if f"cut-{cut}" in cell.metadata.tags)
    assert cut - 5 <= minutes <= cut


def test_a_cell_that_runs_again_keeps_its_slides_place() -> None:
    talk = kt.Talk()
    for title in ("one", "two", "one"):
        talk.idea(title, "")
    assert list(talk.slides) == ["one", "two"]
    assert talk.go(talk.slides["one"], +1) is talk.slides["two"] and talk.go(talk.slides["two"], +1) is None


def test_next_leaves_a_live_slide_only_after_its_last_step() -> None:
    slide = kt.Talk().live("t", "", kt.explore("reload"))
    left: list[int] = []
    slide.gone = left.append
    for _ in range(4):
        slide.next.click()
    assert isinstance(slide, Live) and slide.explorer.step == 3 and left == [1]


def test_another_kernel_tells_the_models_story_and_compare_keeps_the_step() -> None:
    slide = kt.Talk().live("t", "", kt.explore("reload"), {"6.1": ("6.1", ()), "deny": ("6.1", ["deny-removal"])})
    assert isinstance(slide, Live)
    slide.explorer.step = 3
    slide.kernel.choose("deny")
    assert [step.errno for step in slide.explorer.recording] == [
        step.errno for step in kt.simulate("reload", "6.1", ["deny-removal"])
    ]
    at = slide.explorer.step
    slide.compare.value = True
    assert slide.explorer.step == at and slide.explorer.other is not None
    assert slide.explorer.recording.proposals == [] or slide.explorer.recording.proposals == ()


@pytest.mark.parametrize("choice", ["same", "zero"])
def test_a_vote_says_what_the_model_answers(choice: str) -> None:
    slide = kt.Talk().vote("t", "same-address")
    assert isinstance(slide, Vote)
    slide.choices.choose(choice)
    assert slide.question.reply(choice).headline[2:] in slide.reply.value.replace("&#x27;", "'")


def test_the_stills_show_every_step_and_every_kernel() -> None:
    for _, (slide,) in told()[1]:
        stills = slide.stills()
        if isinstance(slide, Live):
            assert len(stills) == len(slide.explorer.recording) + max(len(slide.kernels) - 1, 0), slide.title
        assert all("<script" not in still for still in stills)
