#!/usr/bin/env python3
"""The talk as static slides, one file: every step of every explorer; no kernel, no network, and it looks as the live one.

build.py [--cut 20|40] OUT    writes OUT/index.html
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

import nbformat
from nbconvert.filters.markdown import markdown2html

from klpteach.course.talk.stage import head_html, stage_style

HERE = Path(__file__).resolve().parent
TALK = HERE.parent / "talk.ipynb"
DECK = HERE / "voila" / "templates" / "klpteach" / "deck.js"


def slides(notebook: Any, cut: int) -> Iterator[str]:
    """The slides of a cut: the title page, a section for each cell, and the last words."""
    names: dict[str, Any] = {}
    said = ""
    for cell in notebook.cells:
        notes = cell.metadata.talk.notes
        if cell.cell_type == "markdown":
            if cell.source.startswith("# "):  # how to give the talk: the notes of the title page
                said = f"{notes}\n{cell.source.partition(chr(10))[2]}"
            else:
                words = f'<div class="klp-words">{markdown2html(cell.source)}</div>'
                yield section("klp-idea klp-closing", head_html("To take home", "", ""), [words], [("", "")], notes)
            continue
        before = set(names["talk"].slides) if names else set()
        exec(compile(cell.source, TALK.name, "exec"), names)
        talk = names["talk"]
        if not before:
            cover = talk.cover
            yield section(cover.css, cover.cover(), cover.stills(), cover.labels(), said)
        for slide in (new for title, new in talk.slides.items() if title not in before):
            if f"cut-{cut}" in cell.metadata.tags:
                yield section(slide.css, head_html(slide.title, slide.text, ""), slide.stills(), slide.labels(), notes)


def section(css: str, head: str, stills: list[str], labels: list[tuple[str, str]], notes: str) -> str:
    """One slide with the buttons that a live one has; a step that has not been shown keeps its sign to itself."""
    pages = "".join(f'<div class="klp-still">{still}</div>' for still in stills)
    steps = "".join(
        f'<button class="klp-step" title="{escape(words)}" data-seen="{escape(label)}">{escape(unseen(label))}</button>'
        for label, words in labels
    )
    many = " klp-many" if len(stills) > 7 else ""
    strip = f'<span class="klp-where"></span><span class="klp-strip{many}">{steps}</span>' if len(stills) > 1 else ""
    row = f'<div class="klp-row"><button class="klp-back">Back</button><button class="klp-next">Next</button>{strip}</div>'
    aside = f'<aside class="klp-notes" hidden>{escape(notes)}</aside>'
    return f'<section class="klp-slide {css}">{head}<div class="klp-main">{pages}</div>{row}{aside}</section>'


def unseen(label: str) -> str:
    """A step's label before the step was shown: its number alone."""
    return label if "↔" in label else label.partition(" ")[0]


def html(cut: int = 40) -> str:
    """The page that holds all slides, its style and its script."""
    found = list(slides(nbformat.read(TALK, as_version=4), cut))
    counted = [
        one.replace("<small></small>", f"<small>{n} of {len(found) - 1}</small>", 1) for n, one in enumerate(found)
    ]
    title = "Why can't a livepatched module come back?"
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>{stage_style()}'
    page = f"<body>{''.join(counted)}<script>{DECK.read_text(encoding='utf-8')}</script></body>"
    return f'<!doctype html><html lang="en"><head>{head}</head>{page}</html>'


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--cut", type=int, choices=(20, 40), default=40)
    given = parser.parse_args(argv)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "index.html").write_text(html(given.cut), encoding="utf-8")
    print(f"{given.out / 'index.html'}: open it in a browser. Enter or an arrow key goes on, S opens the notes.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
