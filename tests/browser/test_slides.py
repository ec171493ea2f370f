"""The static slides, opened from the disk: no kernel, no server, no network; and they look as the live ones."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from klpteach import simulate

from .conftest import ROOT, guarded
from .outputs import ask, violations
from .servers import voila
from .stage import LOOK, SCREEN, SHOWN, outside, press, ready, smallest, walk, where

TALK = ROOT / "notebooks" / "talk.ipynb"
# The parts whose looks are compared, by slide: (how many times → from the title page, the parts).
PARTS = {
    0: ["h1", ".klp-sub", ".klp-next", "svg text"],
    1: ["h2", ".klp-head p", ".klp-head small", ".klp-words pre"],
    3: [".sg-v strong", ".sg-v span", ".sg-t th[scope=row]", ".sg-t th[scope=row] code", ".sg-t .sign", ".sg-t td.b", ".sg-t td.b code",
        ".sg-t td.few code", ".sg-legend span", ".sg-log div", ".klp-step", ".klp-where"],
    9: [".klp-words table", ".klp-words thead th", ".klp-words tbody th", ".klp-words td"],
    12: [".klp-words table", ".klp-words td"],
    13: [".klp-words li"],
}  # fmt: skip


def build(out: Path, *more: str) -> Path:
    """The slides as `make slides` builds them."""
    subprocess.run(
        [sys.executable, ROOT / "notebooks" / "slides" / "build.py", out, *more], check=True, capture_output=True
    )
    return out / "index.html"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("slides"))


@pytest.fixture(scope="module")
def page(browser: Any, built: Path) -> Iterator[Any]:
    with guarded(browser, viewport=SCREEN) as page:
        page.goto(built.as_uri())
        ready(page)
        yield page


def drawn(page: Any) -> None:
    """Wait until the page has been drawn twice: a key that is pressed while the window changes its size may be lost."""
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


@pytest.fixture
def first(page: Any) -> Any:
    drawn(page)
    page.keyboard.press("Home")
    page.wait_for_function(f"() => {SHOWN}.matches('.klp-title')")
    return page


def test_forty_minutes_by_keyboard_no_text_is_small_or_lost_and_the_models_lines_are_there(first: Any) -> None:
    texts = []
    for state in walk(first):
        assert smallest(first)[0] >= 18, (state, smallest(first))
        assert outside(first) == [], state
        texts.append(first.evaluate(f"() => {SHOWN}.innerText"))
    assert len(texts) > 40 and "In one sentence" in texts[-1]
    said = "\n".join(texts)
    for step in simulate("reload", "6.1"):
        assert all(line in said for line in step.lines[-3:]), step.command
    assert "6.1 + clear on removal (RFC)" in said


def test_the_short_cut_is_shorter(browser: Any, tmp_path: Path) -> None:
    with guarded(browser, viewport=SCREEN) as page:
        page.goto(build(tmp_path, "--cut", "20").as_uri())
        ready(page)
        titles = list(dict.fromkeys(state["title"] for state in walk(page, "Enter")))
    assert len(titles) == 9 and "Nobody ran rmmod" not in titles  # seven slides between the title and the last words


@pytest.mark.parametrize("size", [(1280, 720), (3840, 2160), (1024, 768)])
def test_on_any_screen_it_is_the_same_picture_larger_or_smaller(first: Any, size: tuple[int, int]) -> None:
    press(first, "3", "ArrowRight", "ArrowRight", "ArrowRight")
    first.set_viewport_size({"width": size[0], "height": size[1]})
    try:
        assert outside(first) == []
        assert smallest(first)[0] >= 18 * min(size[0] / 1920, size[1] / 1080)
    finally:
        first.set_viewport_size(SCREEN)


def test_static_slides_look_as_live_ones_part_by_part(browser: Any, built: Path, tmp_path: Path) -> None:
    pytest.importorskip("voila", reason="voila is missing. Try: make test-browser")
    root = tmp_path / "talk"
    root.mkdir()
    with (
        voila(Path(shutil.copy(TALK, root)), tmp_path / "home") as server,
        guarded(browser, viewport=SCREEN) as live,
        guarded(browser, viewport=SCREEN) as static,
    ):
        live.goto(server.url, timeout=240_000)
        static.goto(built.as_uri())
        ready(live)
        ready(static)
        for number, parts in PARTS.items():
            looks = []
            for one in (static, live):
                if number:
                    one.keyboard.type(f"{number}\n")
                    one.wait_for_function(
                        f"n => {SHOWN}.querySelector('small')?.textContent.startsWith(n + ' ')", arg=number
                    )
                looks.append(one.evaluate(LOOK, parts))
            assert all(looks[0].values()), (number, looks[0])
            assert [*differing(*looks)] == [], number


def differing(one: dict[str, Any], other: dict[str, Any]) -> Iterator[str]:
    """PART: PROPERTY, and both values, where two looks differ."""
    for part, styles in one.items():
        for name, value in styles.items():
            if value != (other[part] or {}).get(name):
                yield f"{part}: {name} {value} / {(other[part] or {}).get(name)}"


def test_a_click_a_number_and_a_reload_keep_slide_and_step(browser: Any, built: Path) -> None:
    with guarded(browser, viewport=SCREEN) as page:
        page.goto(built.as_uri())
        ready(page)
        press(page, "3", "ArrowRight", "ArrowRight")
        page.mouse.click(960, 300)
        before = press(page, "ArrowRight")
        page.reload()
        ready(page)
        page.wait_for_function("hash => location.hash === hash", arg=before["hash"])
        assert before["step"] == 3 and where(page)["verdict"] == before["verdict"]


def test_a_step_that_has_not_been_shown_keeps_its_outcome_to_itself(browser: Any, built: Path) -> None:
    with guarded(browser, viewport=SCREEN) as page:
        page.goto(built.as_uri())
        ready(page)
        page.keyboard.type("3\n")
        last = page.locator(".klp-shown .klp-step").last
        assert where(page)["title"] == "Four bytes, two loads" and last.inner_text() == "4"
        press(page, "ArrowRight", "ArrowRight", "ArrowRight")
        assert last.inner_text() == "4 ✗"


def test_every_slide_of_the_talk_has_notes_for_the_speaker(page: Any) -> None:
    said = page.evaluate(
        "() => [...document.querySelectorAll('.klp-slide')].map(one => one.querySelector('.klp-notes')?.textContent.trim().length ?? 0)"
    )
    assert len(said) == 15 and min(said) > 40


def test_axe_finds_nothing_wrong_and_every_picture_has_words(first: Any) -> None:
    ends: dict[str, str] = {}  # the last page of each slide: the fullest picture
    for state in walk(first):
        ends[state["title"]] = state["hash"]
    assert len(ends) == 15
    for title, hash_ in ends.items():
        first.evaluate("hash => { location.hash = hash; location.reload(); }", hash_)
        first.wait_for_timeout(50)
        ready(first)
        found = violations(first, ".klp-slide.klp-shown")
        assert not found, title + "\n" + "\n".join(found)
        assert all("0x" in words for words in ask(first, "pictures", ".klp-slide.klp-shown"))
