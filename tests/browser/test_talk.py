"""The talk with nothing but a keyboard, in Voila and in JupyterLab."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
import pytest

from .conftest import ROOT, guarded, notebook
from .servers import Server, voila

TALK = ROOT / "notebooks" / "talk.ipynb"
STATE = """() => {
  const focus = document.activeElement, slide = focus?.closest('.klp-slide');
  if (!slide) return null;
  const inside = element => {
    const box = element.getBoundingClientRect();
    return box.top >= 0 && box.left >= 0 && box.bottom <= innerHeight && box.right <= innerWidth;
  };
  return {title: slide.querySelector('h2').textContent, tag: focus.tagName, on: focus.textContent.trim(),
    verdict: slide.querySelector('.kx .v, .kx .same')?.textContent ?? '', picture: slide.querySelector('.kx')?.innerHTML ?? '',
    inView: inside(focus) && inside(slide.querySelector('h2'))};
}"""
CHANGED = f"""before => {{
  const now = ({STATE})();
  return now && (!before || now.title !== before.title || now.picture !== before.picture || now.tag !== before.tag || now.on !== before.on);
}}"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Voila, as `make talk` starts it."""
    pytest.importorskip("voila", reason="voila is missing. Try: make test-browser")
    copy = Path(shutil.copy(TALK, tmp_path_factory.mktemp("talk")))
    with voila(copy, tmp_path_factory.mktemp("home")) as server:
        yield server


@pytest.fixture
def page(browser: Any, server: Server) -> Iterator[Any]:
    """The talk on a projector; the first slide has taken the focus by itself."""
    with guarded(browser, viewport={"width": 1920, "height": 1080}) as page:
        page.goto(server.url, timeout=90_000)
        page.wait_for_function(CHANGED, arg=None, timeout=60_000)
        yield page


@cache
def slides() -> dict[str, Any]:
    """The slides that the notebook's cells make, by title."""
    names: dict[str, Any] = {}
    for cell in nbformat.read(TALK, as_version=4).cells:
        if cell.cell_type == "code":
            exec(cell.source, names)
    return dict(names["talk"].slides)


def press(page: Any, *keys: str) -> dict[str, Any]:
    """Press keys, and after each wait until the focus or the picture is another."""
    for key in keys:
        before = page.evaluate(STATE)
        page.keyboard.press(key)
        page.wait_for_function(CHANGED, arg=before)
    return dict(page.evaluate(STATE))


def commit(page: Any) -> None:
    """Enter on an answer; the focus then stands on Next."""
    page.keyboard.press("Enter")
    page.wait_for_function("() => document.activeElement.textContent.trim() === 'Next'")


def press_until(page: Any, key: str, words: str) -> str:
    """Press a key and wait until the verdict of the slide that has the focus holds these words."""
    page.keyboard.press(key)
    verdict = "document.activeElement.closest('.klp-slide').querySelector('.kx .v, .kx .same').textContent"
    page.wait_for_function(f"words => {verdict}.includes(words)", arg=words)
    return str(page.evaluate(verdict))


def walk(page: Any, key: str) -> list[dict[str, Any]]:
    """Go through the talk to its last slide with one key; a vote takes Enter for the first answer."""
    seen, last = [page.evaluate(STATE)], list(slides())[-1]
    while seen[-1]["title"] != last:
        if seen[-1]["on"].startswith("○"):
            commit(page)
        seen.append(press(page, key))
        assert len(seen) < 100, "the talk does not end"
    return seen


def titles(seen: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(state["title"] for state in seen))


def test_enter_leads_through_every_slide_and_step_and_the_verdicts_are_the_models(page: Any) -> None:
    seen = walk(page, "Enter")
    assert titles(seen) == list(slides())
    assert [state["title"] for state in seen if not state["inView"]] == []
    ends = {state["title"]: state["verdict"] for state in seen}
    for title, slide in slides().items():
        explorer = getattr(slide, "explorer", None)
        assert sum(state["title"] == title for state in seen) == getattr(explorer, "steps", 1), title
        if explorer is not None:
            errno = explorer.recording[-1].errno
            assert (f"(−{-errno})" in ends[title]) == bool(errno), (title, ends[title])


def test_the_short_cut_leaves_the_long_slides_out_and_a_presenters_buttons_work(page: Any) -> None:
    press(page, "Tab", "Enter")
    page.wait_for_function("() => document.querySelector('.klp-head small').textContent.includes('of 7')")
    press(page, "Shift+Tab")
    seen = walk(page, "PageDown")
    assert titles(seen) == [title for title, slide in slides().items() if slide.cut == 20]
    assert press(page, "PageUp")["title"] == titles(seen)[-2]


def to_three_ways(page: Any) -> None:
    while (state := page.evaluate(STATE))["title"] != "Three ways out":
        if state["on"].startswith("○"):
            commit(page)
        press(page, "Enter")
    press(page, "Enter", "Enter", "Enter")


def test_tab_and_enter_vote_switch_compare_and_go_back(page: Any) -> None:
    assert press(page, "Enter")["on"].startswith("○")
    press(page, "Tab")
    commit(page)
    vote = next(slide for slide in slides().values() if hasattr(slide, "question"))
    second = list(vote.question.options)[1]
    assert vote.question.reply(second).text[:60] in page.locator(".klp-vote").first.inner_text()
    to_three_ways(page)
    press(page, "Tab", "Tab", "Tab")
    assert "EAGAIN" in press_until(page, "Enter", "in use")
    press(page, "Tab", "Tab")
    assert "step" in press_until(page, "Space", "Different outcomes").lower()
    press(page, *["Shift+Tab"] * 6)
    assert page.evaluate(STATE)["on"] == "Back"
    assert press(page, "Enter")["title"] == "Three ways out"


def test_the_arrow_keys_switch_and_c_compares(page: Any) -> None:
    to_three_ways(page)
    press_until(page, "ArrowDown", "Loaded")
    press_until(page, "ArrowDown", "in use")
    press_until(page, "c", "Different outcomes")
    press_until(page, "c", "in use")
    press_until(page, "ArrowUp", "stale bytes stay")


def test_in_jupyterlab_the_focus_goes_from_slide_to_slide_as_well(browser: Any, lab_server: Server) -> None:
    with notebook(browser, lab_server, TALK) as lab:
        lab.run_all()
        first, vote, live = list(slides())[:3]
        lab.page.locator(".klp-slide").first.get_by_role("button", name="Next").focus()
        assert lab.page.evaluate(STATE)["title"] == first
        assert press(lab.page, "Enter")["title"] == vote
        commit(lab.page)
        assert press(lab.page, "Enter")["title"] == live
        state = press(lab.page, "Enter", "Enter", "Enter")
        assert state["inView"] and "refused" in state["verdict"]
