"""The notebooks as they are committed: a fresh run gives the same outputs, and they keep the course's rules."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from conftest import ROOT
from packaging.requirements import Requirement
from run_notebooks import executed, normalised

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
SPELLED = "lief,parm,stange"  # a library, a kernel word, a name
VENV = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
LOCKED = [Requirement(line) for line in (ROOT / "constraints.txt").read_text().splitlines()]


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def prose(path: Path) -> str:
    return "\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")


def not_locked() -> str | None:
    """Which package is not the locked one: then pictures and tables may differ by a pixel or a space."""
    from importlib.metadata import version

    ours = [r for r in LOCKED if r.name in ("matplotlib", "pandas", "numpy", "ipywidgets")]
    here = [r for r in ours if r.marker is None or r.marker.evaluate()]
    others = (
        f"{r.name} {version(r.name)} is here, locked is {r.specifier}"
        for r in here
        if version(r.name) not in r.specifier
    )
    return next(others, None)


@every_notebook
def test_a_fresh_run_gives_the_committed_outputs(path: Path) -> None:
    if reason := not_locked():
        pytest.skip(reason)
    committed, fresh = read(path), executed(path)
    for number, (old, new) in enumerate(zip(committed.cells, fresh.cells, strict=True)):
        assert old == new, f"{path.name}, cell {number}. Try: make notebooks"
    assert committed == fresh


@every_notebook
def test_every_cell_shows_the_same_when_run_twice_and_in_another_order(path: Path) -> None:
    script, seeds = ROOT / "tests" / "shuffled.py", range(1, int(os.environ.get("KLPTEACH_ORDERS", "2")) + 1)
    run = subprocess.run(
        [sys.executable, script, path, *map(str, seeds)], capture_output=True, text=True, timeout=300 * len(seeds)
    )
    assert run.returncode == 0, run.stderr[-2000:]


def test_prose_and_docstrings_are_spelled_right(tmp_path: Path) -> None:
    for path in NOTEBOOKS:
        (tmp_path / f"{path.stem}.md").write_text(prose(path))
    texts = [
        tmp_path,
        ROOT / "klpteach",
        ROOT / "notebooks" / "glossary.md",
        ROOT / "README.md",
        *ROOT.glob("data/*.*"),
    ]
    run = subprocess.run(["codespell", "-L", SPELLED, *texts], capture_output=True, text=True, env=VENV)
    assert run.returncode == 0, run.stdout


@every_notebook
def test_what_is_committed_has_no_widget_state_and_no_error(path: Path) -> None:
    notebook = read(path)
    assert notebook == normalised(notebook)
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert outputs and not any(output.output_type == "error" for output in outputs)


@every_notebook
def test_an_output_is_useful_where_widgets_are_dead(path: Path) -> None:
    for cell in read(path).cells:
        for output in cell.get("outputs", []):
            html = output.get("data", {}).get("text/html", "")
            assert not re.search(r"<script|<svg", html), "dropped in an untrusted notebook"
            if "explore(" in cell.source or "predict(" in cell.source:
                assert "<details" in html and len(output.data["text/plain"]) > 80


@every_notebook
def test_every_picture_has_words_for_it(path: Path) -> None:
    html = "".join(o.get("data", {}).get("text/html", "") for c in read(path).cells for o in c.get("outputs", []))
    for tag in re.findall(r"<img[^>]*>", html):
        alt = re.search(r'alt="([^"]*)"', tag)
        assert alt and len(alt[1]) > 40 and re.search(r"0x[0-9a-f]{16}|\d", alt[1]), tag[:120]


@every_notebook
def test_a_notebook_keeps_the_courses_rules(path: Path) -> None:
    cells, text = read(path).cells, prose(path)
    assert len(re.findall(r"^# ", text, re.M)) == 1 and re.match(r"# .*\?$", text.splitlines()[0])
    assert len(cells) <= 30 and len(text.split()) <= 1700
    assert not re.search(r"\b(simply|just|obviously|of course|trivial(ly)?)\b", text, re.I)
    for cell in cells:
        if cell.cell_type == "code":
            assert len(cell.source.splitlines()) <= 15 and "import *" not in cell.source
            assert cell.execution_count is not None or not cell.source.strip()
    assert "In one sentence" in text and "**Next:**" in text


@every_notebook
def test_a_notebook_imports_klpteach_and_what_it_shows_itself_and_nothing_deeper(path: Path) -> None:
    allowed = {"import klpteach as kt", f"from klpteach.course import nb{path.stem.partition('-')[0]}"}
    for cell in read(path).cells:
        if cell.cell_type == "code":
            found = [n for n in ast.walk(ast.parse(cell.source)) if isinstance(n, (ast.Import, ast.ImportFrom))]
            assert {ast.unparse(node) for node in found} <= allowed, cell.source


@every_notebook
def test_every_link_leads_somewhere(path: Path) -> None:
    headings = {re.sub(r"[^\w.,:?'-]+", "-", h.strip()) for h in re.findall(r"^#+ (.*)$", prose(path), re.M)}
    for target in re.findall(r"\]\(([^)]+)\)", prose(path)):
        if target.startswith("#"):
            assert target[1:] in headings, (target, headings)
        elif "://" not in target:
            assert (path.parent / target.partition("#")[0]).exists(), target


def test_the_readme_lists_every_notebook_and_links_only_to_what_is_there() -> None:
    text = (ROOT / "README.md").read_text()
    links = [target.partition("#")[0] for target in re.findall(r"\]\(([^)]+)\)", text) if "://" not in target]
    assert all((ROOT / target).exists() for target in links), links
    assert {f"notebooks/{path.name}" for path in NOTEBOOKS} <= set(links)


def test_the_readmes_example_prints_what_it_says() -> None:
    text = (ROOT / "README.md").read_text()
    code, printed = re.findall(r"```(?:python|text)\n(.*?)```", text, re.S)[:2]
    import contextlib
    import io

    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(code, {})
    assert said.getvalue() == printed


def test_the_readmes_picture_is_the_models_and_its_words_are_the_pictures() -> None:
    from klpteach import simulate
    from klpteach.views.figures.reuse import reuse

    story = simulate("reload", "6.1")
    alt = re.search(r"!\[(.*?)\]\(notebooks/reuse\.svg\)", (ROOT / "README.md").read_text())
    assert alt and alt[1] == reuse(story).alt
    if reason := not_locked():
        pytest.skip(reason)
    assert (ROOT / "notebooks" / "reuse.svg").read_text() == reuse(story).svg()
