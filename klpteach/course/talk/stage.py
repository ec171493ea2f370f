"""How a slide of the talk looks: drawn for a screen of 1920 by 1080 px and scaled as a whole, so nothing is ever set anew.

In the rules below `u` is one of those px: `74u` is 74 px on such a screen, and half of it on one of half the size.
"""

from __future__ import annotations

import re
from html import escape
from pathlib import Path

from ...views.style import palette

_UNIT = re.compile(r"(?<![\w.#-])(-?[\d.]+)u\b")


def stage_style() -> str:
    """The <style> of the talk. In a saved notebook that nobody trusts it is dropped, and nothing is lost but size."""
    colours = "".join(f"--{name}:{value};" for name, value in palette(live=True).items())
    rules = Path(__file__).with_name("stage.css").read_text(encoding="utf-8")
    scaled = "".join(map(str.strip, _UNIT.sub(r"calc(\1*var(--u))", rules).splitlines()))
    return f"<style>.klp-slide{{{colours}}}{scaled}</style>"


def head_html(title: str, text: str, place: str) -> str:
    """The words at the top of a slide: its idea in one line, where in the talk it stands, and a sentence.

    >>> head_html("A < B", "", "1 of 12")
    '<div class="klp-head"><small>1 of 12</small><h2>A &lt; B</h2></div>'
    """
    said = f"<p>{escape(text)}</p>" if text else ""
    return f'<div class="klp-head"><small>{escape(place)}</small><h2>{escape(title)}</h2>{said}</div>'
