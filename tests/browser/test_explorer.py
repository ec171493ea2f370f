"""The explorer in JupyterLab: what a reader does with it, and that the page shows what the model says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from klpteach import simulate

from .conftest import ROOT, notebook
from .lab import LabPage
from .servers import Server

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


def test_the_page_does_not_jump_while_steps_and_proposals_change(lab: LabPage, explorer: Any) -> None:
    top = "element => element.getBoundingClientRect().top"
    explorer.get_by_role("button", name="Next", exact=True).first.scroll_into_view_if_needed()
    height, before = explorer.bounding_box()["height"], explorer.evaluate(top)
    for role, name in [("button", "Next")] * 3 + [("checkbox", "deny removal"), ("button", "Back")]:
        press(explorer, role, name)
        assert abs(explorer.evaluate(top) - before) < 2 and abs(explorer.bounding_box()["height"] - height) < 2, name


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
