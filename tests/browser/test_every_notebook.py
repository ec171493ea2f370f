"""Every notebook of the course, run in JupyterLab: what a reader sees, hears and can reach."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from klpteach import simulate
from klpteach.reading.verdict import SYMBOLS
from klpteach.scenarios.simulate import stories
from klpteach.views.style import LETTERS

from .conftest import ROOT, notebook
from .lab import LabPage
from .outputs import OUTPUTS, ask, violations
from .servers import Server

LARGEST_PART = 0x10000  # bytes: a page of ppc64le
RELEASES_OF = {"x86_64": ("6.1", "6.12"), "ppc64le": ("6.1", "6.12"), "arm64": ("7.3",), "s390x": ("6.1", "6.12")}
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module", params=NOTEBOOKS, ids=lambda path: path.stem)
def ran(request: pytest.FixtureRequest, browser: Any, lab_server: Server) -> Iterator[LabPage]:
    """A notebook after Run All; its page is watched to the end of the last test on it."""
    with notebook(browser, lab_server, request.param) as lab:
        yield lab.run_all()


def test_run_all_leaves_no_dead_widget(ran: LabPage) -> None:
    outputs = ran.page.locator(OUTPUTS)
    assert outputs.filter(has_text="Error displaying widget").count() == 0
    assert outputs.filter(has_text="Loading widget").count() == 0


@pytest.mark.parametrize("theme", ["Light", "Dark"])
def test_axe_finds_nothing_wrong_in_the_outputs(ran: LabPage, theme: str) -> None:
    ran.theme(theme)
    found = violations(ran.page)
    assert not found, "\n".join(found)


def test_every_control_has_a_name_and_a_state_that_a_program_can_read(ran: LabPage) -> None:
    assert ask(ran.page, "unnamed") == []
    assert ask(ran.page, "stateless") == []


def test_every_picture_has_words_with_numbers_of_the_model(ran: LabPage) -> None:
    for words in ask(ran.page, "pictures"):
        numbers = re.findall(r"0x[0-9a-f]{16}", words)
        assert numbers or re.search(r"\d", words), words
        assert [number for number in numbers if not in_the_model(int(number, 16))] == [], words


def in_the_model(address: int) -> bool:
    """Whether an address lies in a part of a module that some story of the course loads."""
    return any(0 <= address - base < LARGEST_PART for base in bases_of_the_model())


@cache
def bases_of_the_model() -> frozenset[int]:
    told = [
        simulate(name, release, arch=arch)
        for arch, releases in RELEASES_OF.items()
        for release in releases
        for name in stories(arch, release)
    ]
    placed = [step.placement or {} for story in told for step in story]
    return frozenset(base for step in placed for parts in step.values() for base in parts.values())


def test_no_state_is_told_by_colour_alone(ran: LabPage) -> None:
    assert ask(ran.page, "colourOnly", OUTPUTS, LETTERS, [*SYMBOLS.values(), "?"]) == []


def test_at_200_percent_nothing_is_cut_off(ran: LabPage) -> None:
    ran.page.set_viewport_size({"width": 700, "height": 500})
    try:
        assert ask(ran.page, "clipped") == []
    finally:
        ran.page.set_viewport_size({"width": 1400, "height": 1000})
