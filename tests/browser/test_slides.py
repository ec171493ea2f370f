"""The static slides, opened from the disk: no kernel, no server, no network."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from klpteach import simulate

from .conftest import ROOT, guarded
from .outputs import ask, violations

REVEAL = ROOT / "build" / "npm" / "node_modules" / "reveal.js"
HERE = "() => Reveal.getCurrentSlide().innerText"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The slides as `make slides` builds them."""
    if not REVEAL.exists():
        pytest.skip("reveal.js is missing (npm). Try: make test-browser")
    out = tmp_path_factory.mktemp("slides")
    build = [sys.executable, ROOT / "notebooks" / "slides" / "build.py", out, "--reveal", REVEAL]
    subprocess.run(build, check=True, capture_output=True)
    return out / "index.html"


@pytest.fixture(scope="module")
def page(browser: Any, built: Path) -> Iterator[Any]:
    with guarded(browser, viewport={"width": 1920, "height": 1080}) as page:
        page.goto(built.as_uri())
        page.wait_for_function("() => window.Reveal?.isReady()")
        yield page


def walked(page: Any) -> Iterator[str]:
    """Every slide's text, Enter by Enter from the first."""
    page.evaluate("() => Reveal.slide(0)")
    while True:
        yield str(page.evaluate(HERE))
        if page.evaluate("() => Reveal.isLastSlide()"):
            return
        page.keyboard.press("Enter")


def test_enter_leads_from_the_first_slide_to_the_last(page: Any) -> None:
    texts = list(walked(page))
    assert len(texts) == page.evaluate("() => Reveal.getTotalSlides()") > 40
    assert "In one sentence" in texts[-1]


def test_every_step_of_the_story_is_a_page_with_the_models_lines(page: Any) -> None:
    texts = "\n".join(walked(page))
    for step in simulate("reload", "6.1"):
        assert all(line in texts for line in step.lines), step.command
    assert "6.1 + clear on removal (RFC)" in texts


def test_no_slide_is_taller_than_the_screen(page: Any) -> None:
    fits = "() => { const s = Reveal.getCurrentSlide(); return s.scrollHeight <= s.clientHeight + 2; }"
    assert [text.split("\n")[1] for text in walked(page) if not page.evaluate(fits)] == []


def test_every_slide_of_the_talk_has_notes_for_the_speaker(page: Any) -> None:
    assert page.evaluate("() => document.querySelectorAll('aside.notes').length") == 15


def test_axe_finds_nothing_wrong_and_every_picture_has_words(page: Any) -> None:
    last: dict[str, int] = {}  # the last page of each slide: the fullest picture
    for number, text in enumerate(walked(page)):
        last[text.split("\n")[1] if text[:1].isdigit() else text[:40]] = number
    assert len(last) == 15
    for title, number in last.items():
        page.evaluate("number => Reveal.slide(number)", number)
        found = violations(page, ".slides section.present")
        assert not found, title + "\n" + "\n".join(found)
        assert all("0x" in words for words in ask(page, "pictures", ".slides section.present"))


def test_without_reveal_js_the_build_says_what_to_try(tmp_path: Path) -> None:
    build = [sys.executable, ROOT / "notebooks" / "slides" / "build.py", tmp_path, "--reveal", tmp_path]
    done = subprocess.run(build, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "make slides" in done.stderr
