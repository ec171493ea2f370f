"""What tests of HTML share: markup that is balanced, the texts of a map with their places, recordings whose names are scripts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from html import unescape
from html.parser import HTMLParser

from klpteach.model.recording import Recording, Step

EVIL = "<script>alert(1)</script>"
_TEXT = re.compile(r'<text x="([\d.-]+)" y="([\d.-]+)" class="([^"]*)" text-anchor="(\w+)">([^<]*)<')


class Balanced(HTMLParser):
    """Fails where an element is closed that was not opened last."""

    VOID = frozenset({"img", "br", "rect", "line", "path", "polygon", "meta"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, tag


def check_markup(text: str, where: object = "") -> None:
    parser = Balanced()
    try:
        parser.feed(text)
    except AssertionError as error:
        raise AssertionError(f"{error} is closed but was not opened last {where}") from None
    assert parser.open == [], where


Place = tuple[str, float, float, float, float]  # a text, and its left, top, right and lower edge


def texts_of_map(svg: str) -> Iterator[Place]:
    """The texts of an address map in px, as wide as they are in DejaVu Sans, which is wider than most fonts of a browser."""
    for x, y, css, anchor, escaped in _TEXT.findall(svg):
        classes, text = css.split(), unescape(escaped)
        size = 11.5 if "ax" in classes else 13
        width = _width(text, "m" in classes, "b" in classes) * size
        left = float(x) - {"start": 0, "middle": width / 2, "end": width}[anchor]
        yield text, left, float(y) - 0.73 * size, left + width, float(y) + 0.2 * size


@lru_cache(maxsize=4096)
def _width(text: str, mono: bool, bold: bool) -> float:
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    family = "DejaVu Sans Mono" if mono else "DejaVu Sans"
    font = FontProperties(family=family, weight="bold" if bold else "normal", size=100)
    return text_to_path.get_text_width_height_descent(text, font, False)[0] / 100


def texts_of_figure(figure) -> list[Place]:
    """The texts of a matplotlib figure, in pixels from below."""
    (axes,) = figure.axes
    figure.draw_without_rendering()
    found = ((text.get_text(), text.get_window_extent()) for text in axes.texts if text.get_text().strip())
    return [(text, box.x0, box.y0, box.x1, box.y1) for text, box in found]


def overlaps(places, wide: float = 1, high: float = 1) -> list[tuple[str, str]]:
    """The pairs of texts that stand on each other, by more than so many pixels."""
    places = list(places)
    return [
        (one[0], other[0])
        for number, one in enumerate(places)
        for other in places[number + 1 :]
        if min(one[3], other[3]) - max(one[1], other[1]) > wide and min(one[4], other[4]) - max(one[2], other[2]) > high
    ]


def hostile() -> Recording:
    """A recording made by hand in which every name that a file can choose is a script."""
    module = {"name": EVIL, "size": 4096, "refcount": 0, "used_by": [EVIL], "state": "Live", "base": 0xFFFFFFFFC0201000, "taint": "OEK"}  # fmt: skip
    target = {**module, "name": f"{EVIL}t", "base": 0xFFFFFFFFC0301000}
    site = f"{EVIL}:{EVIL}+0x1"
    objects = {f"{EVIL}t": {"patched": 1, "functions": [EVIL]}}
    patch = {EVIL: {"enabled": 1, "transition": 0, "objects": objects}}
    sections, symbols = {EVIL: {EVIL: 0xFFFFFFFFC0201000}}, {EVIL: [(0xFFFFFFFFC0201000, "t", EVIL)]}
    line = f"livepatch: failed to initialize patch '{EVIL}' for module '{EVIL}t' (-8)"
    written = {"sites": {site: b"\1\2\3\4"}, "livepatch": patch}
    steps = [
        Step(f"insmod {EVIL}t.ko", 0, modules=[target], sites={}),
        Step(f"insmod {EVIL}.ko", 0, [(4, f"{EVIL}: hello")], modules=[module, target], sections=sections, symbols=symbols, **written),
        Step(f"rmmod {EVIL}t", 0, modules=[module], out=EVIL, **written),
        Step(f"insmod {EVIL}t.ko", -8, [(4, line)], modules=[module], **written),
    ]  # fmt: skip
    return Recording(EVIL, EVIL, EVIL, {"arch": "x86_64", "release": f"6.1{EVIL}"}, proposals=[EVIL], steps=steps)


def hostile_ppc64le() -> Recording:
    """The same on ppc64le, with a table of stubs whose functions and module are scripts."""
    recording = hostile()
    recording.kernel = {"arch": "ppc64le", "release": "6.1.0", "variant": EVIL}
    for step in recording.steps[1:]:
        for row in step.modules:
            row["base"] = 0xC008000000000000 + (row["base"] & 0xFFFFFFF)
        base = next(row["base"] for row in step.modules if row["name"] == EVIL)
        step.sections = {EVIL: {EVIL: base, ".stubs": base + 0x100}}
        step.sites = {f"{EVIL}:{EVIL}+0x0": bytes.fromhex("01010048180041e8")}
        entries = [
            {"index": 0, "funcdata": "0xc0000000000460e0", "symbol": EVIL},
            {"index": 1, "funcdata": hex(base + 0x100000), "symbol": f"{EVIL} [{EVIL}t]"},
        ]
        step.stubs = {EVIL: {"num_stubs": 1, "used": 1, "past_end_used": 1, "entries": entries}}
    return recording
