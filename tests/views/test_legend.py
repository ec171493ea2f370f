"""One legend: whatever stands for a word in explorer, figures and tables is in it, with one meaning in each place."""

from __future__ import annotations

import re

import pytest
from conftest import ROOT
from markup import check_markup

import klpteach as kt
from klpteach.discussion.consequences import WHO
from klpteach.reading.outcome import ENDINGS
from klpteach.reading.verdict import SYMBOLS
from klpteach.views.figures import layout
from klpteach.views.legend import COLOURS, groups
from klpteach.views.style import LETTERS, STUB_LETTERS

GROUPS = {words: dict(signs) for words, signs in groups()}


@pytest.mark.parametrize(
    ("where", "used"),
    [
        ("a verdict", set(SYMBOLS.values())),
        ("the bytes of a place", {letter + "n" * (kind == "stale") for kind, letter in LETTERS.items()}),
        ("how a story ends", {ending.letter for ending in ENDINGS.values()} | {"*"}),
        ("who says so", set(WHO)),
    ],
)
def test_every_sign_that_is_used_is_in_the_legend_and_no_other(where, used):
    assert set(GROUPS[where]) == used


def test_a_stub_has_the_letters_of_bytes_and_one_of_its_own():
    shared = {kind: letter for kind, letter in STUB_LETTERS.items() if kind in LETTERS}
    assert shared == {kind: LETTERS[kind] for kind in shared}
    assert set(STUB_LETTERS.values()) - set(LETTERS.values()) == {"K"} <= set(GROUPS["a stub or slot"])


def test_a_section_in_memory_has_the_letter_of_its_flag():
    letters = {kind: letter for kind, (*_, letter) in layout._KINDS.items()}
    assert (letters["code"], letters["data"], letters["read-only data"]) == ("X", "W", "A")
    assert {"X", "W", "A"} <= set(GROUPS["flags of a section"])


@pytest.mark.parametrize("signs", GROUPS.values(), ids=GROUPS)
def test_no_two_signs_of_a_group_mean_the_same(signs):
    assert len(set(signs.values())) == len(signs)


def test_the_legend_is_plain_markup_and_says_the_same_in_words():
    shown = kt.legend()
    check_markup(shown.to_html())
    for says in [says for signs in GROUPS.values() for says in signs.values()] + [words for *_, words in COLOURS]:
        assert says in repr(shown) and says.replace("'", "&#x27;") in shown.to_html()


def test_every_notebooks_map_leads_to_the_section_that_has_it():
    page, link = kt.station_map("05").to_html(), re.compile(r'href="(00-[^"#]*)#([^"]*)"')
    file, anchor = link.search(page).groups()
    text = (ROOT / "notebooks" / file).read_text()
    assert f"## {anchor.replace('-', ' ')}" in text and "kt.legend()" in text
