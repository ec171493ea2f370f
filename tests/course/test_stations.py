"""The map of stations is the notebooks: their questions, their order, minutes that a reader needs, links that lead on."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import nbformat
import pytest
from conftest import ROOT
from markup import check_markup

import klpteach as kt
from klpteach.course.nb01 import mail
from klpteach.course.notebooks import STATIONS, Station, notebooks
from klpteach.course.stations import picture, station_map
from klpteach.discussion.thread import lore, read_thread, read_timeline

pytestmark = pytest.mark.usefixtures("blank")
every_station = pytest.mark.parametrize("station", STATIONS, ids=lambda station: station.number)
FOLDER = ROOT / "notebooks"
CELLS = {path.name: nbformat.read(path, as_version=4).cells for path in sorted(FOLDER.glob("*.ipynb"))}
# A reader who works: words a minute of text and output, minutes for a prediction, an exercise, something to step through.
WORDS, PREDICTION, EXERCISE, EXPLORER = 150, 1.5, 8, 3


def prose(name: str) -> str:
    return "\n".join(cell.source for cell in CELLS[name] if cell.cell_type == "markdown")


def minutes(station: Station) -> float:
    """What a station costs at the reader's pace, counted from the notebook as it is committed."""
    said = [output.get("text") or output.get("data", {}).get("text/plain", "") for cell in CELLS[station.file]
            for output in cell.get("outputs", [])]  # fmt: skip
    words = len(prose(station.file).split()) + len("".join(said).split())
    asked = next(one for one in notebooks() if one.number == station.number)
    code = "".join(cell.source for cell in CELLS[station.file] if cell.cell_type == "code")
    solved = sum(f'"{name}"' in code for name in asked.exercises)  # what is for an evening stands in a fold
    walked = sum(bool(re.search(r"explore\(|paste\(|bring\(", cell.source)) for cell in CELLS[station.file])
    return words / WORDS + PREDICTION * len(asked.questions) + EXERCISE * solved + EXPLORER * walked


def test_every_notebook_is_a_station_and_the_talk_is_none() -> None:
    assert [station.file for station in STATIONS] == [name for name in CELLS if name != "talk.ipynb"]
    assert [station.file.partition("-")[0] for station in STATIONS] == [station.number for station in STATIONS]


@every_station
def test_a_station_asks_what_its_notebook_asks(station: Station) -> None:
    assert prose(station.file).splitlines()[0] == f"# {station.asks}"
    asked = next(one for one in notebooks() if one.number == station.number)
    assert asked.title.casefold() == station.title.casefold()


@every_station
def test_the_minutes_are_those_of_a_reader_who_predicts_and_solves(station: Station) -> None:
    assert abs(minutes(station) - station.minutes) <= max(10, 0.25 * station.minutes), minutes(station)


def test_the_whole_way_is_six_to_seven_hours_and_a_half() -> None:
    assert 360 <= sum(station.minutes for station in STATIONS) <= 450


@every_station
def test_the_map_stands_at_the_top_with_you_are_here(station: Station) -> None:
    first = [cell for cell in CELLS[station.file] if cell.cell_type == "code"][:2]
    assert any(f'kt.station_map("{station.number}")' in cell.source for cell in first)
    assert station_map(station.number).to_html().count("You are here") == 1


@every_station
def test_the_map_is_plain_html_whose_links_lead_to_notebooks(station: Station) -> None:
    page = station_map(station.number).to_html()
    check_markup(page)
    assert not re.search(r"<script|<svg|class=|onclick", page)
    assert {link.partition("#")[0] for link in re.findall(r'href="([^"]+)"', page)} <= set(CELLS)


def test_next_leads_through_all_of_them() -> None:
    for here, after in pairwise(STATIONS):
        found = re.search(r"\*\*Next:\*\* \[[^]]*\]\(([^)]+)\)", prose(here.file))
        assert found and found[1] == after.file, here.file


def test_the_minutes_in_the_first_paragraph_are_the_tables() -> None:
    for station in STATIONS:
        told = re.search(r"About (\d+) minutes|takes about (\d+) minutes", prose(station.file).partition("\n1. ")[0])
        assert told and int(told[1] or told[2]) == station.minutes, station.file


def test_the_readme_says_the_same_minutes() -> None:
    text = (ROOT / "README.md").read_text()
    for station in STATIONS:
        assert re.search(
            rf"\({FOLDER.name}/{re.escape(station.file)}\) \| {re.escape(station.asks)} \| {station.minutes} \|", text
        )


def test_what_is_solved_is_ticked() -> None:
    assert "✓" not in station_map("01").to_html()
    kt.check("fix", "clear-checked")
    assert "✓ done" in station_map("01").to_html() and "Done: 00" in station_map("01").alt


def test_a_hostile_title_cannot_become_markup() -> None:
    evil = Station("00", 'x".ipynb', "<b>", "<script>", 5, short=True)
    assert "<b>" not in picture([evil, *STATIONS], evil, {"<i>"})
    with pytest.raises(kt.KlpteachError, match="unknown notebook '<b>'"):
        station_map("<b>")


# -- the mail --------------------------------------------------------------------------------------------------------------


def test_each_point_of_the_mail_leads_to_a_section_that_is_there() -> None:
    for point in mail.POINTS:
        assert point.where
        for place in point.where:
            _, section, title = re.match(r"(\w+)\.(\d+) (.*)", place).groups()
            file = mail.address(place).partition("#")[0]
            assert re.search(rf"^## {section}\. {re.escape(title)}$", prose(file), re.M), place


def test_the_mail_is_quoted_in_few_words_and_its_three_voices_are_mails() -> None:
    assert all(len(point.quote.split()) <= 12 for point in mail.POINTS)
    known = {row.message_id for row in (*read_thread(), *read_timeline())}
    assert {voice[3] for voice in mail.VOICES.values()} <= known
    page = mail.mail_map().to_html()
    check_markup(page)
    assert page.count("<li>") == len(mail.POINTS) and all(lore(voice[3]) in page for voice in mail.VOICES.values())


@pytest.mark.parametrize("name", CELLS)
def test_a_message_id_in_a_notebook_is_a_link_and_known_as_data(name: str) -> None:
    known: dict[str, Any] = {lore(row.message_id): row for row in (*read_thread(), *read_timeline()) if row.message_id}
    text = prose(name)
    for link in re.findall(r"\((https://lore\.kernel\.org/[^)]*)\)", text):
        assert link in known, link
    bare = re.sub(r"\]\([^)]*\)", "](…)", text)
    assert not re.search(r"[\w.+-]+@(?!vger)[\w-]+(\.\w+)*", bare), "a Message-ID that is no link"
