"""A notebook that was opened and not run: nobody trusts it, and no kernel stands behind its widgets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from klpteach import simulate

from .conftest import ROOT, notebook
from .lab import LabPage
from .outputs import OUTPUTS, ask
from .servers import Server

HOSTILE = '<img src="data:," onerror="window.ran = true"><script>window.ran = true</script><svg onload="window.ran = true"></svg>'


@pytest.fixture(scope="module")
def lab(browser: Any, lab_server: Server) -> Iterator[LabPage]:
    """Notebook 05, opened and not run."""
    with notebook(browser, lab_server, ROOT / "notebooks" / "05-the-bug.ipynb") as lab:
        yield lab


def test_the_story_is_there_without_running_anything(lab: LabPage) -> None:
    output = lab.output("kt.explore(")
    output.locator("details").last.wait_for()
    output.scroll_into_view_if_needed()
    assert output.locator("img").first.evaluate("image => image.complete && image.naturalWidth > 300")
    moved = simulate("moved", "6.12")
    for step in moved:
        assert step.command in output.text_content()
    output.get_by_text(f"Step 5: {moved[4].command}").click()
    assert moved[4].lines[-1] in output.locator("details").last.text_content()


def test_every_picture_without_a_kernel_has_words(lab: LabPage) -> None:
    course_map, *pictures = ask(lab.page, "pictures")
    assert course_map.startswith("Course map") and "You are at 05" in course_map
    assert pictures and all("0x" in words for words in pictures)


def test_a_script_in_an_output_does_not_run_before_the_reader_says_so(
    tmp_path: Path, lab_server: Server, browser: Any
) -> None:
    output = new_output("display_data", {"text/html": HOSTILE + "<b>shown</b>", "text/plain": ""})
    path = tmp_path / "hostile.ipynb"
    metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    nbformat.write(new_notebook(cells=[new_code_cell("1", outputs=[output])], metadata=metadata), path)
    with notebook(browser, lab_server, path) as lab:
        lab.page.locator(OUTPUTS).get_by_text("shown").wait_for()
        assert lab.page.evaluate("window.ran") is None


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_no_committed_output_holds_what_a_sanitizer_drops(path: Path) -> None:
    outputs = [o for cell in nbformat.read(path, 4).cells for o in cell.get("outputs", [])]
    html = "".join(o.get("data", {}).get("text/html", "") for o in outputs).lower()
    assert "<script" not in html and "onerror=" not in html and "javascript:" not in html
    assert "widget-view" not in json.dumps(outputs)
