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
from .stage import SCREEN, outside, press, ready, smallest, walk, where

TALK = ROOT / "notebooks" / "talk.ipynb"
SAID = {"SPEAKER": "A. Speaker", "EVENT": "A Conference", "DATE": "2026-11-26"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Voila, as `make talk SPEAKER=… EVENT=… DATE=…` starts it."""
    pytest.importorskip("voila", reason="voila is missing. Try: make test-browser")
    copy = Path(shutil.copy(TALK, tmp_path_factory.mktemp("talk")))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SAID.items():
            patch.setenv(f"KLPTEACH_{name}", value)
        with voila(copy, tmp_path_factory.mktemp("home")) as server:
            yield server


@pytest.fixture(scope="module")
def opened(browser: Any, server: Server) -> Iterator[Any]:
    """The talk on a projector, watched to the end."""
    with guarded(browser, viewport=SCREEN) as page:
        # At a reload Voila asks for the old kernel's end, without the cookie that it wants itself: 403.
        page.route("**/voila/api/shutdown/*", lambda route: route.fulfill(status=204))
        page.goto(server.url, timeout=240_000)
        ready(page)
        yield page


@pytest.fixture
def page(opened: Any) -> Any:
    """The same page at its title, with the long cut."""
    opened.keyboard.press("Home")
    opened.wait_for_function("() => document.querySelector('.klp-shown').matches('.klp-title')")
    if "20 minutes" in opened.locator(".klp-title .klp-choice", has_text="●").inner_text():
        opened.locator(".klp-title .klp-choice").nth(1).click()
        opened.wait_for_function("() => location.hash.startsWith('#/1/')")
    return opened


@cache
def slides() -> dict[str, Any]:
    """The slides that the notebook's cells make, by title."""
    names: dict[str, Any] = {}
    for cell in nbformat.read(TALK, as_version=4).cells:
        if cell.cell_type == "code":
            exec(cell.source, names)
    return dict(names["talk"].slides)


def titles(seen: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(state["title"] for state in seen))[1:-1]  # without the title page and the last words


def test_forty_minutes_by_keyboard_pass_every_step_and_no_text_is_small_or_lost(page: Any) -> None:
    seen = []
    for state in walk(page):
        assert smallest(page)[0] >= 18, (state, smallest(page))
        assert outside(page) == [], state
        seen.append(state)
    assert titles(seen) == list(slides())
    ends = {state["title"]: state["verdict"] for state in seen}
    for title, slide in slides().items():
        explorer = getattr(slide, "explorer", None)
        assert sum(state["title"] == title for state in seen) == getattr(explorer, "steps", 1), title
        if explorer is not None:
            errno = explorer.recording[-1].errno
            assert (f"(−{-errno})" in ends[title]) == bool(errno), (title, ends[title])


def test_twenty_minutes_by_a_presenters_buttons_leave_the_long_slides_out(page: Any) -> None:
    page.keyboard.press("Tab")  # from Next to the first of the two cuts
    page.keyboard.press("Enter")
    page.wait_for_function("() => location.hash.startsWith('#/0/')")
    seen = list(walk(page, "PageDown"))
    assert titles(seen) == [title for title, slide in slides().items() if slide.cut == 20]
    assert seen[1]["place"] == "1 of 7"
    assert press(page, "PageUp")["title"] == titles(seen)[-1]


def test_the_title_page_names_speaker_event_and_date(page: Any) -> None:
    assert page.locator(".klp-title address").inner_text().split("\n") == list(SAID.values())


@pytest.mark.parametrize("place", [(5, 5), (960, 300), (960, 640), (1900, 1070), (400, 60)])
def test_a_click_anywhere_leaves_the_keyboard_to_the_talk(page: Any, place: tuple[int, int]) -> None:
    to(page, "Four bytes, two loads")
    page.mouse.click(*place)
    assert press(page, "ArrowRight")["step"] == 1
    page.mouse.click(*place)
    assert press(page, "Enter")["step"] == 2
    assert press(page, "ArrowLeft")["step"] == 1
    press(page, "ArrowLeft")


def test_a_number_jumps_and_zero_is_the_title_page(page: Any) -> None:
    for digits, title in (("3", list(slides())[2]), ("12", list(slides())[11])):
        page.keyboard.type(digits)
        page.wait_for_function("title => document.querySelector('.klp-shown h2')?.textContent === title", arg=title)
    page.keyboard.press("0")
    page.wait_for_function("() => document.querySelector('.klp-shown').matches('.klp-title')")


def to(page: Any, title: str) -> None:
    """Jump to a slide, and to its first kernel and step."""
    page.keyboard.type(str(list(slides()).index(title) + 1))
    page.keyboard.press("Enter")
    page.wait_for_function("title => document.querySelector('.klp-shown h2')?.textContent === title", arg=title)
    chosen = page.locator(".klp-shown.klp-live .klp-choice")
    if chosen.count() and not chosen.first.inner_text().startswith("●"):
        chosen.first.click()
        page.wait_for_function("() => document.querySelector('.klp-shown .klp-choice').textContent.startsWith('●')")
    if where(page)["step"] > 0:
        page.locator(".klp-shown .klp-step").first.click()
        page.wait_for_function("() => document.querySelector('.klp-shown .klp-step').matches('.klp-now')")


def verdict(page: Any, words: str) -> None:
    page.wait_for_function("words => document.querySelector('.klp-shown .sg-v').textContent.includes(words)", arg=words)


def test_arrows_switch_the_kernel_and_c_compares(page: Any) -> None:
    to(page, "Three ways out")
    press(page, "ArrowRight", "ArrowRight", "ArrowRight")
    verdict(page, "ENOEXEC")
    page.keyboard.press("ArrowDown")
    verdict(page, "Loaded and patched")
    page.keyboard.press("ArrowDown")
    verdict(page, "in use")
    page.keyboard.press("c")
    verdict(page, "They part at step 3")
    assert smallest(page)[0] >= 18 and outside(page) == []
    page.keyboard.press("c")
    verdict(page, "in use")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    verdict(page, "stale bytes stay")  # the step stays where it is, and there these two kernels differ


def test_a_vote_takes_the_rooms_answer_and_says_what_the_model_says(page: Any) -> None:
    vote = next(slide for slide in slides().values() if hasattr(slide, "question"))
    to(page, vote.title)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    second = list(vote.question.options)[1]
    page.locator(".klp-shown .klp-words", has_text=vote.question.reply(second).text[:60]).wait_for()
    assert smallest(page)[0] >= 18 and outside(page) == []


def test_there_are_notes_at_every_step_on_this_screen_and_in_a_second_window(page: Any) -> None:
    to(page, "Four bytes, two loads")
    with page.expect_popup() as opening:
        page.keyboard.press("s")
    notes = opening.value
    for number, command in enumerate(
        ["insmod nfsd_demo.ko", "insmod livepatch_nfsd_demo.ko", "rmmod nfsd_demo"], start=1
    ):
        notes.get_by_text(f"Step {number} of 4: {command}.").wait_for()
        assert "Nobody takes the bytes back" in notes.locator("body").inner_text()
        press(page, "ArrowRight")
    notes.keyboard.press("ArrowLeft")  # the window steers, too
    notes.get_by_text("Step 3 of 4").wait_for()
    notes.close()
    page.keyboard.press("n")
    page.locator(".klp-said", has_text="Step 3 of 4: rmmod nfsd_demo.").wait_for()
    page.keyboard.press("n")
    press(page, "Home")
    page.keyboard.press("n")
    page.locator(".klp-said", has_text="You need the keyboard and nothing else").wait_for()  # how to give the talk
    page.keyboard.press("n")


def test_a_screen_reader_hears_the_verdict_from_a_region_that_stays(page: Any) -> None:
    to(page, "Four bytes, two loads")
    region = page.get_by_role("status").and_(page.locator(".klp-heard")).element_handle()
    heard = []
    for _ in range(3):
        press(page, "ArrowRight")
        said = where(page)["verdict"][:12]
        page.wait_for_function(
            "([region, said]) => region.isConnected && region.textContent.includes(said)", arg=[region, said]
        )
        heard.append(region.text_content())
    assert len(set(heard)) == 3 and "refused" in heard[-1]


def test_a_reload_comes_back_to_the_same_slide_step_and_kernel(page: Any) -> None:
    to(page, "Three ways out")
    page.keyboard.press("ArrowDown")
    page.wait_for_function("() => location.hash.split('/')[4] === '1'")
    before = press(page, "ArrowRight", "ArrowRight")
    page.reload(timeout=240_000)
    page.wait_for_function(
        "hash => document.querySelector('.klp-shown .klp-now')?.textContent.startsWith('3') && location.hash === hash",
        arg=before["hash"],
        timeout=300_000,
    )
    after = where(page)
    assert after["title"] == "Three ways out" and after["step"] == 2 and after["verdict"] == before["verdict"]


def test_a_lost_kernel_is_said_in_words_with_the_way_back(browser: Any, server: Server) -> None:
    context = browser.new_context(viewport=SCREEN)  # not guarded: the page complains of a kernel that is gone
    page = context.new_page()
    page.goto(server.url, timeout=240_000)
    ready(page)
    assert page.locator(".klp-lost").is_hidden()
    page.route(
        "**/api/kernels/*", lambda route: route.fulfill(status=404, body="{}")
    )  # what the server says of one that is gone
    lost = page.get_by_role("alert").filter(has_text="The kernel is lost")
    lost.wait_for(timeout=30_000)
    assert "F5" in lost.inner_text()
    context.close()


def test_in_jupyterlab_the_focus_goes_from_slide_to_slide_as_well(browser: Any, lab_server: Server) -> None:
    state = "() => document.activeElement.closest('.klp-slide')?.querySelector('h1,h2').textContent"
    with notebook(browser, lab_server, TALK) as lab:
        lab.run_all()
        first, vote, live = list(slides())[:3]
        lab.page.locator(".klp-title .klp-next").focus()
        for key, title in (("Enter", first), ("Enter", vote)):
            lab.page.keyboard.press(key)
            lab.page.wait_for_function(f"title => ({state})() === title", arg=title)
        lab.page.keyboard.press("Enter")  # commits to the first answer
        lab.page.wait_for_function("() => document.activeElement.textContent.trim() === 'Next'")
        lab.page.keyboard.press("Enter")
        lab.page.wait_for_function(f"title => ({state})() === title", arg=live)
        for _ in range(3):
            lab.page.keyboard.press("Enter")
        lab.page.locator(".klp-live .sg-v", has_text="Reload refused").first.wait_for()
