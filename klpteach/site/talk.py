"""The talk as a page: every step of every slide one under another; the script shows one at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..course.talk.stage import head_html, stage_style
from .cells import cells, markdown
from .tellings import framed

_KEYS = (
    '<div class="deck-keys"><button type="button" id="slide-back">Back</button><button type="button" id="slide-next" class="pri">'
    'Next</button><span id="slide-number"></span><button type="button" id="slide-notes">Notes</button>'
    '<span class="note"><kbd>→</kbd> <kbd>Enter</kbd> next, <kbd>←</kbd> back, <kbd>n</kbd> notes</span></div>'
)


def talk_html(path: Path) -> str:
    """The cells of talk.ipynb, run here without a kernel, as slides; what to say stands below the first still of each."""
    names: dict[str, Any] = {}
    slides = ""
    for cell in cells(path):
        before = set(names["talk"].slides) if "talk" in names else set()
        if cell["cell_type"] == "code":
            exec(compile(cell["source"], path.name, "exec"), names)  # the course's own notebook, as make slides does
        made = [slide for title, slide in names["talk"].slides.items() if title not in before] if names else []
        notes = cell["metadata"].get("talk", {}).get("notes", "")
        stills = [still for slide in made for still in stills_of(slide)] or [_words(cell["source"])]
        for number, still in enumerate(stills):
            slides += f'<section class="slide">{still}{markdown_notes(notes) if number == 0 else ""}</section>'
    return f'{stage_style()}<div class="deck">{slides}</div>{_KEYS}'


def stills_of(slide: Any) -> list[str]:
    """A slide's pages, each with its title and where it stands."""
    stills = slide.stills()
    places = [f"{number} of {len(stills)}" if len(stills) > 1 else "" for number in range(1, len(stills) + 1)]
    return [
        f'<div class="klp-room"><div class="klp-slide {slide.css}">{head_html(slide.title, slide.text, place)}'
        f'<div class="klp-main">{framed(still)}</div></div></div>'
        for place, still in zip(places, stills, strict=True)
    ]


def markdown_notes(notes: str) -> str:
    return f'<aside class="notes" aria-label="Notes for the speaker">{markdown(notes)}</aside>' if notes else ""


def _words(source: str) -> str:
    return f'<div class="klp-words">{markdown(source).replace("<h1", "<h2").replace("</h1>", "</h2>")}</div>'
