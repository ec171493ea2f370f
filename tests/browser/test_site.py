"""The static site, opened from the disk: no kernel, no server, no network."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from klpteach import explore, simulate
from klpteach.course.nb00.questions import QUESTIONS
from klpteach.reading.differences import first_difference, what_changed
from klpteach.reading.history import History
from klpteach.reading.verdict import verdict
from klpteach.site import build as site

from .conftest import guarded
from .outputs import AXE, SLIDER, ask

STORIES = ("reload", "init-fails")
PAGES = ("index", "explorer", "consequences", "publish", "notebooks/glossary", "notebooks/talk", "notebooks/00-start-here",
         "notebooks/05-the-bug", "notebooks/07-three-ways-out")  # fmt: skip
VERDICT = "section.ex .frame .v"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as `klpteach site` writes it, with two stories in its explorers."""
    pytest.importorskip("nbconvert", reason="nbconvert is missing. Try: make test-browser")
    folder = tmp_path_factory.mktemp("site")
    site.build(folder, STORIES)
    return folder


@pytest.fixture(scope="module")
def opened(browser: Any, built: Path) -> Iterator[Any]:
    """One page for the tests that only look; each goes where it wants."""
    with guarded(browser, viewport={"width": 1366, "height": 768}) as page:
        page.site = lambda name: page.goto((built / f"{name}.html").as_uri())
        yield page


@pytest.fixture
def explorer(opened: Any) -> Any:
    """The explorer's own page, with its packs open."""
    opened.site("explorer")
    opened.reload()
    opened.wait_for_selector("section.ex .where:text('Step 1 of 4')")
    return opened


def said(page: Any) -> str:
    return " ".join(page.inner_text(VERDICT).split())


def expected(release: str, proposals: tuple[str, ...], step: int, story: str = "reload") -> str:
    judged = verdict(recording := simulate(story, release, proposals), step, History(recording))
    return f"{judged.symbol} {judged.headline} {judged.because}"


def test_every_step_says_what_the_model_says_and_draws_what_the_notebook_draws(explorer: Any) -> None:
    live = explore("reload", "6.1")
    for step in range(4):
        if step:
            explorer.click(".next")
        live.step = step
        assert said(explorer) == expected("6.1", (), step)
        drawn = explorer.evaluate("() => document.querySelector('.frame').textContent")
        there = explorer.evaluate(
            "html => { const box = document.createElement('div'); box.innerHTML = html; return box.textContent; }",
            live.picture.value,
        )
        assert drawn == there


@pytest.mark.parametrize("proposals", [("clear-relocations",), ("remove-check",), ("deny-removal", "clear-checked")])
def test_a_switch_leads_to_the_first_step_that_differs_and_says_so(explorer: Any, proposals: tuple[str, ...]) -> None:
    explorer.keyboard.press("Tab")
    explorer.click("[data-step='3']")
    at, before = 3, simulate("reload", "6.1")
    for count, name in enumerate(proposals, 1):
        explorer.check(f"[name={name}][data-side='0']")
        after = simulate("reload", "6.1", proposals[:count])
        first = first_difference(before, after)
        step = at if first is None or first >= at else first
        note = explorer.inner_text(".frame .note")
        assert note.endswith(what_changed("", first, at, step)), note
        assert said(explorer) == f"{expected('6.1', proposals[:count], step)} {note}"
        at, before = step, after


def test_what_does_not_go_together_is_not_switched_on_and_the_reason_is_said(explorer: Any) -> None:
    explorer.check("[name=clear-relocations][data-side='0']")
    explorer.click("[name=clear-checked][data-side='0']")
    assert not explorer.is_checked("[name=clear-checked][data-side='0']")
    assert "choose one" in explorer.inner_text(".frame .note")


def test_two_kernels_stand_side_by_side_with_their_own_outcomes(explorer: Any) -> None:
    explorer.check("[name=two]")
    explorer.select_option("[name=release][data-side='1']", "6.12")
    explorer.keyboard.press("End")
    explorer.click("[data-step='3']")
    texts = [" ".join(text.split()) for text in explorer.locator(".side .v").all_inner_texts()]
    assert texts == [expected("6.1", (), 3), expected("6.12", (), 3)]
    assert "≠ Different outcomes." in explorer.inner_text(".same")
    assert explorer.evaluate("() => [...document.querySelectorAll('[id]')].length - new Set([...document.querySelectorAll('[id]')].map(e => e.id)).size") == 0  # fmt: skip


def test_a_prediction_in_the_explorer_comes_before_the_outcome(explorer: Any) -> None:
    explorer.check("[name=asks]")
    for _ in range(3):
        explorer.click(".next")
    assert "What will happen?" in said(explorer)
    assert "✗" not in explorer.inner_text("section.ex .frame") + explorer.inner_text(".strip-of")
    explorer.check("[name=answer][value=refused]")
    explorer.click(".ask button")
    assert "You expected: it is refused. So it is." in said(explorer)


def test_another_story_and_a_kernel_of_another_machine(explorer: Any) -> None:
    explorer.select_option("[name=story]", "init-fails")
    explorer.wait_for_selector("section.ex .where:text('Step 1 of 3')")
    explorer.check("[name=clear-checked][data-side='0']")
    explorer.select_option("[name=arch]", "ppc64le")
    explorer.wait_for_selector(".frame .note:has-text('Machine ppc64le')")
    assert "Not on this machine: clear, checked (6.3)." in explorer.inner_text(".frame .note")


def test_the_whole_of_it_works_by_keyboard_and_is_heard(explorer: Any) -> None:
    explorer.focus(".next")
    explorer.keyboard.press("Enter")
    explorer.keyboard.press("ArrowRight")
    assert explorer.evaluate("() => document.activeElement.className") == "next pri"
    heard = explorer.text_content("section.ex p[role=status]")
    assert heard.startswith("Step 3.") and expected("6.1", (), 2).partition(" ")[2] in heard
    explorer.focus("[name=deny-removal][data-side='0']")
    explorer.keyboard.press("Space")
    assert "deny removal, on" in explorer.text_content("section.ex p[role=status]")


def test_a_committed_prediction_is_answered_and_still_there_after_a_reload(opened: Any) -> None:
    opened.site("notebooks/00-start-here")
    form, question = opened.locator("form.pred").first, QUESTIONS["reload"]
    assert form.locator(".said").inner_text() == ""
    form.locator("[value=loads]").check()
    form.locator("button").click()
    assert question.reply("loads").headline.replace("`", "") in form.locator(".said").inner_text()
    opened.reload()
    assert form.locator("[value=loads]").is_checked() and "You committed" in form.locator(".said").inner_text()
    opened.site("index")
    assert "1 of " in opened.locator("[data-questions~=reload]").inner_text()


def test_exercises_have_hints_and_a_worked_answer_in_folds(opened: Any) -> None:
    opened.site("notebooks/00-start-here")
    folds = opened.locator(".folds details")
    assert folds.locator("summary").all_inner_texts()[:3] == ["Hint 1", "Hint 2", "Worked answer"]
    assert not folds.first.locator("p").is_visible()
    folds.first.locator("summary").click()
    assert folds.first.locator("p").is_visible()


def test_the_grid_shows_what_is_asked_for_and_leads_to_the_explorer(opened: Any) -> None:
    opened.site("consequences")
    rows = opened.locator("table.cons:visible tbody tr:visible")
    every = rows.count()
    opened.check("[name=bad]")
    opened.select_option("[name=proposal]", "clear-relocations")
    assert 0 < rows.count() < every
    opened.uncheck("[name=bad]")
    opened.fill("[name=words]", "reload at the same")
    assert rows.count() == 1
    opened.locator("table.cons:visible td[data-mix='clear-relocations'] button >> visible=true").click()
    assert "reload at the same address, clear on removal (RFC)" in opened.inner_text("#cell-says")
    opened.click("#cell-says a")
    opened.wait_for_selector("section.ex .where:text('of 4')")
    assert opened.is_checked("[name=clear-relocations][data-side='0']")


def test_the_talk_goes_on_by_keyboard_and_a_reload_stays_at_its_slide(opened: Any) -> None:
    opened.site("notebooks/talk")
    total = opened.locator(".slide").count()
    for _ in range(5):
        opened.keyboard.press("ArrowRight")
    opened.reload()
    assert opened.inner_text("#slide-number") == f"6 of {total}" and opened.locator(".slide:visible").count() == 1
    opened.keyboard.press("End")
    assert opened.inner_text("#slide-number") == f"{total} of {total}"


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_wrong_on_a_page(opened: Any, name: str, theme: str) -> None:
    if not AXE.exists():
        pytest.skip("axe-core is missing (npm). Try: make test-browser")
    opened.site(name)
    opened.evaluate("theme => { document.documentElement.dataset.theme = theme; }", theme)
    opened.evaluate(AXE.read_text())
    run = """() => axe.run(document, {preload: false, resultTypes: ['violations'], rules: {'empty-table-header': {enabled: false}}})
      .then(found => found.violations.flatMap(rule => rule.nodes.map(node => `${rule.id}: ${node.html.slice(0, 160)}: ${node.failureSummary}`)))"""
    found = [one for one in opened.evaluate(run) if not SLIDER.match(one)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("width", [390, 900])
def test_no_page_is_wider_than_the_window(opened: Any, width: int) -> None:
    opened.set_viewport_size({"width": width, "height": 800})
    try:
        wider = []
        for name in PAGES:
            opened.site(name)
            if opened.evaluate("() => document.documentElement.scrollWidth > innerWidth"):
                wider.append(name)
        assert wider == []
    finally:
        opened.set_viewport_size({"width": 1366, "height": 768})


def test_every_picture_has_words_and_every_control_a_name(opened: Any) -> None:
    for name in PAGES:
        opened.site(name)
        assert all(ask(opened, "pictures", "main")), name
        assert ask(opened, "unnamed", "main") == [], name


def test_every_link_leads_somewhere(built: Path) -> None:
    lost = []
    for path in built.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        for link in re.findall(r'(?:href|src)="(?!data:|https?:)([^"]*)"', text):
            name, _, anchor = link.partition("#")
            target = (path.parent / name).resolve() if name else path
            if not target.exists():
                lost.append(f"{path.name}: {link}")
            elif anchor and target.suffix == ".html" and "=" not in anchor:
                ids = re.findall(r'id="([^"]*)"', target.read_text(encoding="utf-8"))
                lost += [] if anchor in ids else [f"{path.name}: {link}"]
    assert lost == []


def test_without_javascript_the_picture_the_questions_and_their_answers_are_there(browser: Any, built: Path) -> None:
    with guarded(browser, java_script_enabled=False) as page:
        page.goto((built / "notebooks/00-start-here.html").as_uri())
        assert said(page) == expected("6.1", (), 1)  # 00 opens its explorer at step 2
        assert page.locator("form.pred").first.is_hidden() and page.locator("details summary").count() > 3


def test_a_first_picture_and_a_switch_are_timed(browser: Any, built: Path, capsys: Any) -> None:
    """No limit here: times depend on the machine. They are printed."""
    with guarded(browser, viewport={"width": 1400, "height": 900}) as page:
        page.goto((built / "index.html").as_uri())
        page.wait_for_selector(".where")
        first = page.evaluate("() => performance.getEntriesByName('first-contentful-paint')[0].startTime")
        switch = """() => new Promise(done => { const box = document.querySelector('[name=clear-relocations]'), begin = performance.now();
          box.click(); const script = performance.now() - begin;
          requestAnimationFrame(() => setTimeout(() => done([script, performance.now() - begin]))); })"""
        times = [page.evaluate(switch) for _ in range(20)]
    assert len(times) == 20 and first > 0
    script, painted = (round(median(column), 1) for column in zip(*times, strict=True))
    with capsys.disabled():
        print(
            f"\nsite: first picture {first:.0f} ms; a switch: script {script} ms, painted after {painted} ms (median of 20)"
        )
