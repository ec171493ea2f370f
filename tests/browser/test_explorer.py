"""The explorer in JupyterLab: what a reader does with it, and that the page shows what the model says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from klpteach import simulate

from .conftest import ROOT, guarded, notebook
from .lab import LabPage
from .outputs import ask
from .servers import TOKEN, Server, notebook_7

SITE = "livepatch_nfsd_demo:.text+0x17"


@pytest.fixture(scope="module")
def lab(browser: Any, lab_server: Server) -> Iterator[LabPage]:
    """Notebook 00 after Run All."""
    with notebook(browser, lab_server, ROOT / "notebooks" / "00-start-here.ipynb") as lab:
        yield lab.run_all()


@pytest.fixture
def explorer(lab: LabPage) -> Any:
    """Its explorer, made anew: the cell runs once more."""
    lab.run_cell("kt.explore(")
    output = lab.output("kt.explore(")
    output.get_by_role("button", name="Next", exact=True).first.wait_for()
    return output


def shown(explorer: Any) -> dict[str, str]:
    """What the picture shows: the verdict, the words of the map, the bytes."""
    return {
        "verdict": explorer.locator(".kx .v").first.inner_text(),
        "map": explorer.locator(".kx svg title").first.text_content(),
        "bytes": " ".join(explorer.locator(".kx .pane").nth(1).inner_text().split()),
    }


def press(explorer: Any, role: str, name: str) -> None:
    """Use a control by its name, and wait until the picture is another one."""
    before = explorer.locator(".kx").inner_html()
    explorer.get_by_role(role, name=name, exact=True).first.click()
    explorer.page.wait_for_function(
        "([element, html]) => element.querySelector('.kx').innerHTML !== html", arg=[explorer.element_handle(), before]
    )


def of_cells(path: Path, *sources: str) -> Path:
    """A notebook of one explorer a cell."""
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    cells = [new_code_cell(f"import klpteach as kt\n{source}") for source in sources]
    nbformat.write(new_notebook(cells=cells, metadata=kernel), path)
    return path


def hexed(value: bytes) -> str:
    return value[:4].hex(" ")


def test_next_walks_to_the_refusal_and_shows_the_models_bytes(explorer: Any) -> None:
    story = simulate("reload", "6.1")
    for _ in range(3):
        press(explorer, "button", "Next")
    seen = shown(explorer)
    assert "✗" in seen["verdict"] and "refused" in seen["verdict"] and "−8" in seen["verdict"]
    assert hexed(story[3].sites[SITE]) in seen["bytes"]
    assert story[3].lines[0] in explorer.inner_text()


def test_a_proposal_changes_map_bytes_and_verdict(explorer: Any) -> None:
    for _ in range(3):
        press(explorer, "button", "Next")
    refused = shown(explorer)
    press(explorer, "checkbox", "clear on removal (RFC)")
    cleared = shown(explorer)
    assert "clear on removal (RFC), on: step 3 is the first" in cleared["verdict"]
    press(explorer, "button", "Next")
    loaded = shown(explorer)
    assert "✓" in loaded["verdict"] and all(loaded[part] != refused[part] for part in refused)
    fixed = simulate("reload", "6.1", ["clear-relocations"])
    assert hexed(fixed[2].sites[SITE]) == "00 00 00 00" and "00 00 00 00" in cleared["bytes"]


def test_an_impossible_mix_is_refused_with_the_reason(explorer: Any) -> None:
    press(explorer, "checkbox", "clear on removal (RFC)")
    box = explorer.get_by_role("checkbox", name="clear, checked (6.3)", exact=True).first
    press(explorer, "checkbox", "clear, checked (6.3)")
    assert "Not switched on" in shown(explorer)["verdict"]
    assert not box.is_checked()


def test_the_controls_stay_in_place_and_the_box_is_as_high_as_its_story(lab: LabPage, explorer: Any) -> None:
    top = "element => element.querySelector('.kc').getBoundingClientRect().top"
    blank = """element => { const box = element.querySelector('.kc').getBoundingClientRect(), inside = element.querySelector('.kx');
      return [box.bottom - inside.getBoundingClientRect().bottom, inside.scrollHeight - inside.clientHeight]; }"""
    explorer.evaluate("element => element.querySelector('.kc').scrollIntoView()")
    before = explorer.evaluate(top)
    for role, name in [("button", "Next")] * 2 + [("checkbox", "deny removal"), ("button", "Back")]:
        press(explorer, role, name)
        assert abs(explorer.evaluate(top) - before) < 2, name
        below, cut = explorer.evaluate(blank)
        assert 0 <= below < 8 and cut <= 1, (name, below, cut)  # nothing blank below the picture, and nothing cut off


def test_the_keyboard_alone_walks_and_switches(lab: LabPage, explorer: Any) -> None:
    explorer.get_by_role("button", name="Next", exact=True).first.focus()
    for key in ("Enter", "Space"):  # the explorer of 00 opens at step 2
        before = shown(explorer)["map"]
        lab.page.keyboard.press(key)
        lab.page.wait_for_function(
            "([element, words]) => element.querySelector('.kx svg title').textContent !== words",
            arg=[explorer.element_handle(), before],
        )
    assert "refused" in shown(explorer)["verdict"]


def test_beside_back_and_next_stands_which_step_of_how_many(explorer: Any) -> None:
    at = explorer.locator(".kc-where").first
    assert at.inner_text() == "Step 2 of 4"  # the explorer of 00 opens there
    press(explorer, "button", "Next")
    assert at.inner_text() == "Step 3 of 4"
    button, words = explorer.get_by_role("button", name="Next", exact=True).first.bounding_box(), at.bounding_box()
    assert 0 <= words["x"] - button["x"] - button["width"] < 40 and abs(words["y"] - button["y"]) < button["height"]


def test_proposals_stand_in_groups_and_none_touches_another_control(explorer: Any) -> None:
    assert "Proposals" in explorer.locator(".kc-kernel").first.inner_text()
    heads = explorer.locator(".kc-side").first.locator("h5:visible").all_inner_texts()
    assert heads == ["Leave or drop the check", "Take back or use again", "Keep the module", "Forbid lateness", "Split"]
    touching = explorer.evaluate("""element => {
      const boxes = [...element.querySelectorAll('.kc :is(select,button,.widget-checkbox)')].filter(one => one.checkVisibility())
        .map(one => [one.textContent.trim().slice(0, 20), one.getBoundingClientRect()]);
      return boxes.flatMap(([name, a], n) => boxes.slice(n + 1).filter(([, b]) =>
        a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1).map(([other]) => `${name} on ${other}`));
    }""")
    assert touching == []
    lefts = explorer.evaluate("""element => [...element.querySelectorAll('.kc-side')].filter(one => one.checkVisibility()).map(side =>
      [...side.querySelectorAll('.kc-group')].filter(one => one.checkVisibility()).map(group =>
        new Set([...group.querySelectorAll('input')].filter(one => one.checkVisibility()).map(one => Math.round(one.getBoundingClientRect().left))).size))""")
    assert lefts and all(size == 1 for side in lefts for size in side)  # aligned


def test_a_proposal_is_explained_under_the_mouse_and_under_the_keyboards_focus(lab: LabPage, explorer: Any) -> None:
    tip = explorer.locator(".kt-deny-removal").first
    assert not tip.is_visible()
    explorer.get_by_text("deny removal", exact=True).first.hover()
    assert tip.is_visible() and "hold a reference" in tip.inner_text()
    lab.page.mouse.move(2, 2)
    explorer.get_by_role("checkbox", name="half-load targets", exact=True).first.focus()
    lab.page.keyboard.press("Shift+Tab")
    lab.page.keyboard.press("Shift+Tab")  # over depend on targets
    assert tip.is_visible()


def test_end_goes_to_the_last_step_of_a_longer_story_too(lab: LabPage, explorer: Any) -> None:
    explorer.locator(".kc select").nth(1).select_option(label="reload at another address")
    explorer.locator(".kc-where", has_text="Step 1 of 5").first.wait_for()
    explorer.locator(".noUi-handle").first.focus()
    lab.page.keyboard.press("End")
    explorer.locator(".kc-where", has_text="Step 5 of 5").first.wait_for()
    lab.page.keyboard.press("Home")
    explorer.locator(".kc-where", has_text="Step 1 of 5").first.wait_for()


IN_SIGHT = """element => {
  element.querySelector('.kc').scrollIntoView();
  const view = document.querySelector('.jp-WindowedPanel-outer, .jp-Notebook').getBoundingClientRect();
  const box = what => element.querySelector(what)?.getBoundingClientRect();
  return Object.fromEntries(Object.entries({controls: '.kc-where', verdict: '.kx .v', row: '.kx rect.now', column: '.kx th.cur'})
    .map(([name, what]) => [name, box(what) && box(what).bottom <= view.bottom + 1 && box(what).right <= view.right + 1 && box(what).top >= view.top - 1]));
}"""
LEGENDS = """element => [...element.querySelectorAll('.kx .legend span')].filter(one => one.checkVisibility()).filter(one => one.getClientRects().length > 1 || one.offsetHeight > 24).map(one => one.textContent)"""


@pytest.mark.parametrize(
    ("size", "seen"), [((1366, 768), ("verdict", "row", "controls")), ((900, 900), ("verdict", "column", "controls"))]
)
def test_on_a_small_screen_what_matters_is_in_sight_with_the_controls(
    lab: LabPage, explorer: Any, size: tuple[int, int], seen: tuple[str, ...]
) -> None:
    while "of 4" in (at := explorer.locator(".kc-where").first.inner_text()) and at != "Step 4 of 4":
        press(explorer, "button", "Next")
    lab.page.set_viewport_size({"width": size[0], "height": size[1]})
    try:
        lab.page.wait_for_timeout(300)
        found = explorer.evaluate(IN_SIGHT)
        assert all(found[what] for what in seen), found
        assert explorer.evaluate(LEGENDS) == []
    finally:
        lab.page.set_viewport_size({"width": 1400, "height": 1000})


def test_text_is_as_large_on_ppc64le_as_on_x86_64(lab: LabPage, explorer: Any) -> None:
    size = "element => element.querySelector('.kx svg text').getScreenCTM().a"
    mine = explorer.evaluate(size)
    explorer.locator(".kc select").first.select_option(label="ppc64le")
    explorer.locator(".kx .stubs, .kx .asm, .kx svg title", has_text="0xc008").first.wait_for(state="attached")
    assert explorer.evaluate(size) == pytest.approx(mine, rel=0.02)
    sizes = "element => [...element.querySelectorAll('.kx td code, .kx .dm, .kx .sum')].map(one => parseFloat(getComputedStyle(one).fontSize))"
    assert min(explorer.evaluate(sizes)) >= 11.5


def test_two_kernels_have_the_same_columns_rows_and_scale(explorer: Any) -> None:
    press(explorer, "checkbox", "Compare two kernels")
    sides = explorer.evaluate("""element => [...element.querySelectorAll('.kx .side')].map(side => ({
      columns: [...side.querySelectorAll('thead th')].map(one => one.textContent.split(' ')[0]),
      rows: side.querySelectorAll('tbody tr').length, scale: side.querySelector('svg').getScreenCTM().a,
      page: side.querySelector('svg .target')?.getBoundingClientRect().width, left: side.querySelector('svg .target')?.getBoundingClientRect().left - side.getBoundingClientRect().left}))""")
    left, right = sides
    assert left["columns"] == right["columns"] and left["rows"] == right["rows"] and left["scale"] == right["scale"], (
        sides
    )


def test_after_a_restart_it_says_that_it_is_a_picture_and_which_cell_to_run(lab: LabPage, explorer: Any) -> None:
    gone = explorer.locator(".kc-gone").first
    assert not gone.is_visible()
    lab.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
    gone.wait_for()
    assert "what it showed last" in gone.inner_text() and "Run the cell right above" in gone.inner_text()
    lab.run_all()


def test_two_explorers_on_a_page_share_nothing(browser: Any, lab_server: Server, tmp_path: Path) -> None:
    with notebook(
        browser, lab_server, of_cells(tmp_path / "two.ipynb", "kt.explore('reload')", "kt.explore('moved')")
    ) as lab:
        lab.run_all()
        one, two = lab.output("kt.explore('reload')"), lab.output("kt.explore('moved')")
        before = two.locator(".kx").first.inner_html()
        press(one, "button", "Next")
        press(one, "checkbox", "deny removal")
        assert two.locator(".kx").first.inner_html() == before
        assert two.locator(".kc-where").first.inner_text() == "Step 1 of 5"
        assert not two.get_by_role("checkbox", name="deny removal", exact=True).first.is_checked()


def test_a_wide_sidebar_and_a_zoom_of_200_percent_cut_nothing_off(
    browser: Any, lab_server: Server, tmp_path: Path
) -> None:
    path = of_cells(
        tmp_path / "narrow.ipynb", "kt.explore('reload', step=4)", "kt.explore('moved', '6.12', arch='ppc64le', step=8)"
    )
    with notebook(browser, lab_server, path) as lab:
        lab.run_all()
        lab.command("filebrowser:activate")
        for size in ({"width": 1400, "height": 1000}, {"width": 700, "height": 500}):
            lab.page.set_viewport_size(size)
            lab.page.wait_for_timeout(300)
            assert ask(lab.page, "clipped") == [], size
            for source in ("reload", "moved"):
                assert lab.output(source).evaluate(LEGENDS) == []


def test_it_works_in_notebook_7_as_in_jupyterlab(browser: Any, tmp_path: Path) -> None:
    pytest.importorskip("notebook", reason="Notebook 7 is missing. Try: pip install notebook")
    of_cells(tmp_path / "seven.ipynb", "kt.explore('reload')")
    theirs = "reading 'schema'"  # Notebook 7.6.5 says so of a notebook with nothing but 1+1 in it
    with notebook_7(tmp_path, tmp_path / "home") as server, guarded(browser, theirs) as page:
        page.goto(f"{server.url}notebooks/seven.ipynb?token={TOKEN}")
        page.locator(".jp-CodeCell .cm-content").first.click(timeout=240_000)
        page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").first.wait_for(timeout=240_000)
        page.keyboard.press("Shift+Enter")
        output = page.locator(".jp-Cell-outputArea").first
        output.get_by_role("button", name="Next", exact=True).wait_for(timeout=120_000)
        for _ in range(3):
            press(output, "button", "Next")
        assert "refused" in shown(output)["verdict"] and output.locator(".kc-where").inner_text() == "Step 4 of 4"
