#!/usr/bin/env python3
"""The talk as static slides: every step of every explorer a page, reveal.js beside them; no kernel, no network.

build.py [--cut 20|40] [--reveal FOLDER] OUT    writes OUT/index.html and OUT/reveal.js/
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

import nbformat
from nbconvert import SlidesExporter
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from traitlets.config import Config

HERE = Path(__file__).resolve().parent
TALK = HERE.parent / "talk.ipynb"
VENDORED = ("dist", "plugin/notes", "LICENSE")


def slides(notebook: Any, cut: int) -> Iterator[Any]:
    """The cells of the slides: a page for each still of each cell, and the speaker's notes behind the first."""
    names: dict[str, Any] = {}
    for cell in notebook.cells:
        before = set(names["talk"].slides) if "talk" in names else set()
        if cell.cell_type == "code":
            exec(compile(cell.source, TALK.name, "exec"), names)
        if f"cut-{cut}" not in cell.metadata.tags:
            continue
        made = [new for title, new in names["talk"].slides.items() if title not in before] if "talk" in names else []
        pages = [page for slide in made if cell.cell_type == "code" for page in pages_of(slide)] or [cell.source]
        for number, page in enumerate(pages):
            yield page_cell(page, cell.cell_type)
            if number == 0:
                yield new_markdown_cell(cell.metadata.talk.notes, metadata={"slideshow": {"slide_type": "notes"}})


def pages_of(slide: Any) -> Iterator[str]:
    """A slide's stills as HTML, each with its title and where it stands."""
    from klpteach.course.talk.stage import head_html

    stills = slide.stills()
    for number, still in enumerate(stills, start=1):
        place = f"{number} of {len(stills)}" if len(stills) > 1 else ""
        yield head_html(slide.title, slide.text, place) + still


def page_cell(page: str, kind: str) -> Any:
    """One slide: Markdown as it is, HTML as the output of a cell without a source."""
    metadata = {"slideshow": {"slide_type": "slide"}}
    if kind == "markdown":
        return new_markdown_cell(page, metadata=metadata)
    return new_code_cell(
        "#", metadata=metadata, outputs=[new_output("display_data", {"text/html": page, "text/plain": ""})]
    )


def html(cut: int = 40) -> str:
    """The page that holds all slides. It asks for reveal.js in the folder of that name beside it."""
    config = Config()
    config.SlidesExporter.template_name = "klpteach"
    config.SlidesExporter.extra_template_basedirs = [str(HERE / "nbconvert" / "templates")]
    config.SlidesExporter.reveal_url_prefix = "reveal.js"
    config.SlidesExporter.reveal_theme = "white"  # the default one asks the network for its letters
    config.SlidesExporter.exclude_input = True
    config.SlidesExporter.exclude_output_prompt = True
    config.SlidesExporter.exclude_anchor_links = True
    talk = new_notebook(cells=list(slides(nbformat.read(TALK, as_version=4), cut)))
    talk.metadata.title = escape("Why can't a livepatched module come back?", quote=False)
    page, _ = SlidesExporter(config=config).from_notebook_node(talk)
    return str(page)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--cut", type=int, choices=(20, 40), default=40)
    parser.add_argument("--reveal", type=Path, default=HERE.parents[1] / "build/npm/node_modules/reveal.js")
    given = parser.parse_args(argv)
    if not (given.reveal / "dist" / "reveal.js").exists():
        print(f"no reveal.js in {given.reveal}. Try: make slides (it asks npm for it).", file=sys.stderr)
        return 2
    given.out.mkdir(parents=True, exist_ok=True)
    for name in VENDORED:
        source, target = given.reveal / name, given.out / "reveal.js" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, target, dirs_exist_ok=True) if source.is_dir() else shutil.copy(source, target)
    (given.out / "index.html").write_text(html(given.cut), encoding="utf-8")
    print(f"{given.out / 'index.html'}: open it in a browser. Enter or an arrow key goes on, S opens the notes.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
