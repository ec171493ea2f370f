"""The explorer's picture as strings: a recording's step in, HTML and SVG out; no widget, no state, no randomness.

Three forms of the same facts: explorer_html() for a live page, twin_html() for a saved notebook whose HTML passes a
sanitizer, plain_text() for a terminal. Everything that comes from a file goes through escape().
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from .. import messages
from ..history import History, Load, State, Sum, is_look, patch_line
from ..klp import parse_symbol
from ..recording import Recording, hexa
from ..verdict import SYMBOLS, Verdict, count, verdict

if TYPE_CHECKING:
    from ..elf import ModuleFile

BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#CC79A7",
    "#56B4E9",
)  # Okabe and Ito
LETTERS = {
    "file": "·",
    "written": "w",
    "kept": "k",
    "stale": "S",
    "cleared": "c",
    "foreign": "F",
    "absent": "–",
    "unknown": "?",
}
MEANING = {
    "file": "as in the file",
    "written": "written by this step",
    "kept": "unchanged, its target is loaded",
    "stale": "stale, from load {n} of the target",
    "cleared": "put back to the file's bytes",
    "foreign": "written by something else",
    "absent": "livepatch not loaded",
    "unknown": "not looked at",
}
_TONE = {
    "works": "good",
    "cleared": "good",
    "refused": "bad",
    "in-use": "bad",
    "oops": "bad",
    "stale": "warn",
    "exists": "warn",
    "foreign": "warn",
    "info": "calm",
    "unknown": "calm",
}
_MAP_LEGEND = "hatched: freed &nbsp; dashed: refused, would have been there &nbsp; arrows: where the sites point"
_LEFT = 'style="text-align:left"'  # Jupyter sets table cells to the right
MAX_ROWS, MAX_COLUMNS, MAX_SITES, MAX_OLD_LINES = 6, 3, 5, 2


# -- colours: live ones follow the page's theme, fixed ones are for an image that stands alone -------------------------------


def _palette(live: bool) -> dict[str, str]:
    """Named colours. Text in a colour is mixed with the foreground, so that it can be read on light and on dark."""
    bg, fg = ("var(--jp-layout-color1,#fff)", "var(--jp-ui-font-color1,#1a1a1a)") if live else ("#ffffff", "#1a1a1a")

    def mix(colour: str, percent: int, other: str) -> str:
        return f"color-mix(in srgb,{colour} {percent}%,{other})" if live else _blend(colour, other, percent / 100)

    named = {"blue": BLUE, "orange": ORANGE, "green": GREEN, "verm": VERMILION, "purple": PURPLE, "sky": SKY}
    greys = {"bg": bg, "fg": fg, "soft": mix(fg, 72, bg), "line": mix(fg, 18, bg), "pane": mix(fg, 4, bg)}
    tints = {f"{name}-tint": mix(colour, 17, bg) for name, colour in named.items()}
    inks = {f"{name}-ink": mix(colour, 68, fg) for name, colour in named.items()}
    return {**greys, **named, **tints, **inks}


def _blend(colour: str, other: str, share: float) -> str:
    """
    >>> _blend("#000000", "#ffffff", .5)
    '#808080'
    """
    pairs = ((int(colour[i : i + 2], 16), int(other[i : i + 2], 16)) for i in (1, 3, 5))
    return "#" + "".join(f"{round(a * share + b * (1 - share)):02x}" for a, b in pairs)


_SVG_CSS = """
text{{font:13px system-ui,-apple-system,"Segoe UI",sans-serif;fill:{fg}}}
.m{{font-family:ui-monospace,"DejaVu Sans Mono",monospace}}
.ax{{font-size:11.5px;fill:{soft}}}
.soft{{fill:{soft}}}
.b{{font-weight:600}}
.halo{{paint-order:stroke;stroke:{bg};stroke-width:3px;stroke-linejoin:round}}
.grid{{stroke:{line};stroke-width:1}}
.span{{fill:none;stroke:{soft};stroke-width:1;stroke-dasharray:1 3}}
.target{{fill:{blue-tint};stroke:{blue};stroke-width:1.6}}
.patch{{fill:{orange-tint};stroke:{orange};stroke-width:1.6}}
.other{{fill:{purple-tint};stroke:{purple};stroke-width:1.6}}
.ghost{{stroke:{soft};stroke-width:1.4;stroke-dasharray:3 3}}
.tried{{stroke:{verm};stroke-width:2;stroke-dasharray:6 3}}
.unseen{{stroke-dasharray:2 3}}
.now{{fill:{sky-tint};fill-opacity:.5;stroke:{sky};stroke-width:1.2}}
.hatch{{stroke:{soft};stroke-width:1.6;stroke-opacity:.55}}
.written{{stroke:{green};fill:none;stroke-width:2}}
.kept{{stroke:{soft};fill:none;stroke-width:1.4}}
.stale{{stroke:{verm};fill:none;stroke-width:2;stroke-dasharray:5 3}}
.h-written{{fill:{green}}}
.h-kept{{fill:{soft}}}
.h-stale{{fill:{verm}}}
.t-written{{fill:{green-ink}}}
.t-kept{{fill:{soft}}}
.t-stale{{fill:{verm-ink}}}
.good{{fill:{green-ink}}}
.bad,.warn{{fill:{verm-ink}}}
.calm{{fill:{soft}}}
"""
_CSS = """
.kx{{color:{fg};background:{bg};border:1px solid {line};border-radius:8px;
    font:14px/1.45 var(--jp-ui-font-family,system-ui,sans-serif);overflow:hidden;text-align:left}}
.kx .v{{padding:10px 16px;border-bottom:1px solid {line};font-size:15px;min-height:46px}}
.kx .v strong{{font-size:17px;margin-right:2px}}
.kx .note{{display:block;font-size:13px;margin-top:2px;color:{blue-ink}}}
.kx .good strong{{color:{green-ink}}}
.kx .bad strong,.kx .warn strong{{color:{verm-ink}}}
.kx .ask strong{{color:{blue-ink}}}
.kx{{container-type:inline-size}}
.kx .panes{{display:grid;grid-template-columns:minmax(0,1fr) minmax(0,1.2fr)}}
.kx .pane{{padding:10px 14px;min-width:0;overflow-x:auto}}
.kx .pane+.pane{{border-left:1px solid {line}}}
.kx .wide{{grid-column:1/3;border-left:0!important;border-top:1px solid {line};background:{pane}}}
@container (max-width:1080px){{.kx .fc{{display:none}} .kx td i{{display:block;text-align:right;line-height:1.1}}}}
@container (max-width:700px){{.kx .panes{{display:block}}}}
.kx h4{{margin:0 0 6px;font-size:13px;font-weight:600;color:{soft}}}
.kx code,.kx .dm,.kx .sum{{font-family:var(--jp-code-font-family,ui-monospace,monospace);font-size:12px;color:inherit;
    background:none;padding:0}}
.kx table{{border-collapse:separate;border-spacing:3px;font-size:12px;margin:0;table-layout:auto}}
.kx th,.kx td{{text-align:left;vertical-align:top;font-weight:400;padding:3px 5px;white-space:nowrap;background:none}}
.kx thead th{{font-weight:600;color:{soft}}}
.kx thead th.cur{{color:{fg};border-bottom:2px solid {sky}}}
.kx tbody tr,.kx thead tr{{background:none!important}}
.kx td{{border:1.5px solid {line};border-radius:3px}}
.kx td code{{font-size:11.5px}}
.kx td i{{font-style:normal;font-size:11px;font-weight:700;margin-left:5px}}
@container (min-width:1320px){{.kx code,.kx td code,.kx .sum,.kx .dm,.kx table{{font-size:13px}}}}
.kx small{{color:{soft};font-size:11.5px}}
.kx tr.sel th[scope=row]{{box-shadow:inset 3px 0 0 {blue}}}
.kx tbody th{{padding-left:8px}}
.kx td.file,.kx td.absent,.kx td.unknown{{border-style:dotted;color:{soft}}}
.kx td.written{{border-color:{green};background:{green-tint}}}
.kx td.kept{{border-color:{soft}}}
.kx td.stale{{border:2px dashed {verm};background:{verm-tint}}}
.kx td.cleared{{border:2px double {green};}}
.kx td.foreign{{border:2px dotted {purple};background:{purple-tint}}}
.kx .sum{{margin:8px 0 6px;padding:7px 10px;background:{pane};border-radius:5px;line-height:1.6;overflow-wrap:anywhere}}
.kx .sum em{{font-style:normal;color:{soft};font-family:var(--jp-ui-font-family,system-ui,sans-serif)}}
.kx .dm{{line-height:1.5}}
.kx .dm div{{padding-left:20px;text-indent:-20px;overflow-wrap:anywhere;white-space:pre-wrap}}
.kx .dm .old{{color:{soft}}}
.kx .dm .cur{{font-weight:600}}
.kx svg{{display:block;max-width:620px}}
"""


def _style(live: bool) -> str:
    colours = _palette(live)
    svg = _SVG_CSS.format_map(colours)
    if not live:
        return f"<style>{svg}</style>"
    scoped = "}".join(_scope(rule) for rule in svg.strip().split("}"))
    return f"<style>{_CSS.format_map(colours)}{scoped}</style>".replace("\n", "")


def _scope(rule: str) -> str:
    """Put one CSS rule under .kx svg, so that it touches nothing else on the page."""
    if "{" not in rule:
        return rule
    selector, _, body = rule.partition("{")
    return ",".join(f".kx svg {one.strip()}" for one in selector.split(",")) + "{" + body


# -- the story's rows ---------------------------------------------------------------------------------------------------------


def shorten(text: str, width: int) -> str:
    """Cut in the middle.

    >>> shorten("echo 0 > /sys/kernel/livepatch/lp/enabled", 25)
    'echo 0 > /sy…h/lp/enabled'
    """
    if len(text) <= width:
        return text
    tail = (width - 1) // 2
    return text[: width - 1 - tail] + "…" + text[len(text) - tail :]


def events(recording: Recording) -> list[int]:
    """The steps that do something; commands that only look are left out, unless there is nothing else."""
    found = [i for i, step in enumerate(recording) if not is_look(step.command)]
    return found or list(range(len(recording)))


def _window(recording: Recording, step: int) -> tuple[list[int], list[int], int]:
    """Rows of the map: steps up to now, the next ones, and how many earlier ones are left out."""
    rows = sorted({*events(recording), step})
    now = rows.index(step)
    first = max(0, min(now - MAX_ROWS + 2, len(rows) - MAX_ROWS))
    shown = rows[first : first + MAX_ROWS]
    return [i for i in shown if i <= step], [i for i in shown if i > step], first


@dataclass(frozen=True)
class Box:
    """One mapping's place in a row: what is drawn, in which style, under which name."""

    load: Load
    style: str  # target, patch, other, ghost, tried
    label: str
    seen: bool = True


@dataclass(frozen=True)
class Arrow:
    """Sites of one livepatch that point into one load of a target: how many, and in which state."""

    patch: Load
    target: Load
    kind: str
    label: str


def _role(history: History, module: str) -> str:
    if any(key.startswith(f"{module}:") for key in history.sites) or any(
        module in (step.livepatch or {}) for step in history.recording
    ):
        return "patch"
    targets = {history.target(key) for key in history.sites}
    targets |= {
        obj
        for step in history.recording
        for patch in (step.livepatch or {}).values()
        for obj in patch.get("objects", {})
    }
    return "target" if module in targets else "other"


def _pointers(history: History, step: int) -> list[Arrow]:
    """The arrows of a row: site states, counted by livepatch, target load and kind."""
    groups: dict[tuple[str, str, int, str], int] = {}
    for key in history.sites:
        state, target = history.states(key)[step], history.target(key)
        if target and state.load and state.kind in ("written", "kept", "stale"):
            group = (key.partition(":")[0], target, state.load, state.kind)
            groups[group] = groups.get(group, 0) + 1
    found = []
    refused = patch_line(history.recording[step], messages.INIT_FAILED)
    for (patch, target, number, kind), sites in groups.items():
        source = history.load_at(patch, step)
        aim = next((load for load in history.loads if load.module == target and load.number == number), None)
        if source and aim and source.extents and aim.extents:
            words = {"written": "written", "kept": "point here"}.get(
                kind, "nonzero: refused" if (patch, target) in refused else f"stale, from load {number}"
            )
            found.append(Arrow(source, aim, kind, f"{count(sites)} {words}"))
    return found


def _boxes(history: History, step: int, seen: int) -> list[Box]:
    """What a row shows: the modules that are there, ghosts of what was removed or is still pointed to, a refused attempt."""
    looked = history.recording[seen].modules is not None
    there = [load for load in history.loads if load.at(step) and load.extents]
    tried = [load for load in history.attempts_in(step) if load.refused and load.extents]
    pointed = [arrow.target for arrow in _pointers(history, seen) if arrow.kind == "stale"]
    gone = [
        load
        for load in history.loads
        if not load.refused and load.last is not None and load.last == step - 1 and load.extents
    ]
    ghosts = {id(load): load for load in [*pointed, *gone] if not load.at(step)}
    covered = {load.extents for load in tried}
    boxes = [Box(load, "ghost", f"{load.module}, freed") for load in ghosts.values() if load.extents not in covered]
    boxes += [Box(load, _role(history, load.module), load.module + ("" if looked else " ?"), looked) for load in there]
    return boxes + [Box(load, "tried", f"{load.module} ✗") for load in tried]


# -- address axis: proportional inside a mapping, gaps compressed -------------------------------------------------------------


class Axis:
    """Maps addresses to x. Pages of mappings are drawn up to a limit, far gaps are cut and marked.

    >>> axis = Axis([(0x1000, 0x3000), (0x900000, 0x902000)], 0, 100)
    >>> axis.x(0x1000), axis.x(0x902000), len(axis.breaks)
    (0.0, 100.0, 1)
    """

    LONG, GAP = 16, 2.0  # pages: a longer mapping grows slowly, a wider gap is cut

    def __init__(self, extents: Iterable[tuple[int, int]], left: float, right: float) -> None:
        spans = sorted(set(extents))
        self.points = sorted({edge for span in spans for edge in span}) or [0, 1]
        weights, self._cut = [], []
        for start, end in zip(self.points, self.points[1:], strict=False):
            pages, used = (end - start) / 0x1000, any(a <= start and end <= b for a, b in spans)
            weights.append(self._weight(pages, used))
            self._cut.append(not used and pages > self.GAP)
        scale, x = (right - left) / (sum(weights) or 1), left
        self._xs = [left]
        for weight in weights:
            x += weight * scale
            self._xs.append(x)
        self.breaks = [(self._xs[i] + self._xs[i + 1]) / 2 for i, cut in enumerate(self._cut) if cut]

    def _weight(self, pages: float, used: bool) -> float:
        if not used:
            return min(pages, self.GAP)
        return pages if pages <= self.LONG else self.LONG + (pages - self.LONG) ** 0.5

    def x(self, address: int) -> float:
        for i, (start, end) in enumerate(zip(self.points, self.points[1:], strict=False)):
            if start <= address <= end:
                return self._xs[i] + (self._xs[i + 1] - self._xs[i]) * (address - start) / (end - start)
        return self._xs[0] if address < self.points[0] else self._xs[-1]


# -- the map --------------------------------------------------------------------------------------------------------------------

WIDTH, LEFT, RIGHT, MAX_HEIGHT = 440, 12, 428, 500
_CHAR = 8.1  # px of a bold 13 px letter, on the safe side


class _Map:
    """Draws one map; `out` collects SVG elements from back to front."""

    def __init__(self, history: History, step: int, ask: bool, live: bool) -> None:
        self.history, self.recording, self.step, self.ask, self.live = history, history.recording, step, ask, live
        self.past, self.future, self.hidden = _window(self.recording, step)
        self.axis = Axis([extent for load in history.loads for extent in load.extents], LEFT, RIGHT)
        digest = hashlib.sha256(
            f"{self.recording.scenario} {self.recording.release} {self.recording.proposals} {step} {ask}".encode()
        )
        self.id = f"kx{digest.hexdigest()[:8]}"
        self.out: list[str] = []
        self._fit()

    def _fit(self) -> None:
        """Leave out the earliest rows until the current one is in sight without scrolling."""
        heights = [self._row(index, 0) for index in self.past]
        self.out.clear()
        while len(heights) > 2 and sum(heights) + 24 * len(self.future) > MAX_HEIGHT:
            heights.pop(0)
            self.past.pop(0)
            self.hidden += 1

    def svg(self) -> str:
        top = self._axis_labels()
        y = top
        for index in self.past:
            y = self._row(index, y)
        for index in self.future:
            self._text(LEFT, y + 14, f"{index + 1}  {shorten(self.recording[index].command, 48)}", "m calm")
            y += 24
        grid = "".join(
            f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top - 4:.0f}" y2="{y:.0f}"/>' for x in self._grid()
        )
        title = escape(_words(self.history, self.past, self.hidden, self.step, self.ask))
        pattern = (
            f'<defs><pattern id="{self.id}" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
            '<line class="hatch" x1="0" x2="0" y1="0" y2="7"/></pattern></defs>'
        )
        size = 'width="100%"' if self.live else f'width="{WIDTH * 1.4:.0f}" height="{(y + 8) * 1.4:.0f}"'
        style = "" if self.live else _style(live=False) + f'<rect width="{WIDTH}" height="{y + 8:.0f}" fill="#ffffff"/>'
        return (
            f'<svg role="img" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 8:.0f}" {size}><title>{title}</title>'
            f"{style}{pattern}{grid}{''.join(self.out)}</svg>"
        )

    def _text(self, x: float, y: float, text: str, css: str = "", anchor: str = "start") -> None:
        self.out.append(f'<text x="{x:.1f}" y="{y:.1f}" class="{css}" text-anchor="{anchor}">{escape(text)}</text>')

    def _grid(self) -> list[float]:
        return [self.axis.x(point) for point in self._starts()]

    def _starts(self) -> list[int]:
        """First addresses of the modules in the rows shown up to now."""
        found = {box.load.extents[0].start for i in self.past for box in self._row_boxes(i)}
        return sorted(found)

    def _row_boxes(self, index: int) -> list[Box]:
        if self.ask and index == self.step:
            return []
        return _boxes(self.history, index, self.history.seen(index))

    def _axis_labels(self) -> float:
        """Addresses above the map, each on the first of three lines where there is room."""
        ends, lines = [-99.0] * 3, 1
        for address in self._starts():
            width, x = 18 * 7.0, self.axis.x(address)
            x = min(x, RIGHT - width + 8)
            line = next((i for i, end in enumerate(ends) if x > end + 6), None)
            if line is not None:
                ends[line], lines = x + width, max(lines, line + 1)
                self._text(x, 12 + 13 * line, hexa(address), "m ax")
        for x in self.axis.breaks if self._starts() else ():
            self._text(x, 12 + 13 * lines, "≈", "ax b", "middle")
        if self.hidden:
            self._text(LEFT, 28 + 13 * (lines - 1) + 4, f"… {count(self.hidden, 'earlier step')}", "soft ax")
            lines += 1
        return 13 * lines + 12

    def _row(self, index: int, y: float) -> float:
        boxes, now = self._row_boxes(index), index == self.step
        arrows = [] if self.ask and now else _pointers(self.history, self.history.seen(index))
        lanes = self._lanes(boxes)
        below = [arrow for arrow in arrows if arrow.kind != "kept"] if len(arrows) > 1 else []
        band = y + 22 + 32 * (max(lanes.values(), default=-1) + 1) + (14 if not boxes else 0)
        height = band - y + (15 if arrows else 0) + 14 * len(below)
        if now:
            self.out.append(f'<rect class="now" x="3" y="{y:.1f}" width="{WIDTH - 6}" height="{height:.1f}" rx="5"/>')
        self._command(index, y, now)
        places = {id(box.load): y + 22 + 32 * lanes[number] for number, box in enumerate(boxes)}
        for arrow in arrows:
            self._arrow(arrow, places, band + 8, beside=len(arrows) == 1)
        for number, arrow in enumerate(below):
            self._text(
                LEFT + 6,
                band + 24 + 14 * number,
                f"{arrow.patch.module} → {arrow.target.module}: {arrow.label}",
                f"ax t-{arrow.kind}",
            )
        for number, box in enumerate(boxes):
            self._box(box, y + 22 + 32 * lanes[number])
        return y + height + 8

    def _command(self, index: int, y: float, now: bool) -> None:
        step, judged = self.recording[index], verdict(self.recording, index, self.history)
        self._text(LEFT, y + 15, f"{index + 1}  {shorten(step.command, 41)}", f"m{' b' if now else ''}")
        mark = "?" if now and self.ask else judged.symbol + (f" {step.errno}".replace("-", "−") if step.errno else "")
        self._text(
            RIGHT,
            y + 15,
            mark + (" ◄ now" if now else ""),
            f"b {'calm' if now and self.ask else _TONE[judged.kind]}",
            "end",
        )
        if not (now and self.ask) and step.modules is None and not self._row_boxes(index):
            self._text(LEFT + 20, y + 30, "addresses not looked at", "ax")

    def _span(self, load: Load) -> tuple[float, float]:
        return self.axis.x(load.extents[0].start), self.axis.x(load.extents[-1].end)

    def _lanes(self, boxes: list[Box]) -> dict[int, int]:
        """A lane for each box, so that neither boxes nor their names meet; a box on its own ghost shares the lane."""
        taken: list[list[tuple[float, float]]] = []
        lanes: dict[int, int] = {}
        order = sorted(range(len(boxes)), key=lambda n: (boxes[n].style == "ghost", boxes[n].load.extents[0].start))
        for number in order:
            left, right = self._label_span(boxes[number])
            lane = next(
                (i for i, row in enumerate(taken) if all(right < a - 2 or left > b + 2 for a, b in row)), len(taken)
            )
            if lane == len(taken):
                taken.append([])
            taken[lane].append((left, right))
            lanes[number] = lane
        return lanes

    def _label(self, box: Box) -> str:
        """The label, cut so that it stays inside a box that is wide enough for a part of it."""
        left, right = self._span(box.load)
        room = int((right - left - 6) / _CHAR)
        if room >= len(box.label) or room < 7 or len(box.load.extents) > 1:
            return box.label
        if box.style == "ghost":
            return "freed"
        mark = box.label[len(box.load.module) :]
        return shorten(box.load.module, room - len(mark)) + mark

    def _label_span(self, box: Box) -> tuple[float, float]:
        left, right = self._span(box.load)
        width = len(self._label(box)) * _CHAR + 4
        if len(box.load.extents) > 1:  # the name stands above, from the left edge or to the right one
            return (
                (left, max(right, left + width))
                if left + width <= WIDTH
                else (min(left, RIGHT - width), max(right, RIGHT))
            )
        if right - left >= width:
            return left, right
        return (left, right + width) if right + width <= WIDTH - 2 else (left - width, right)

    def _box(self, box: Box, y: float) -> None:
        left, right = self._span(box.load)
        parted = len(box.load.extents) > 1  # several mappings: the name stands above them
        top, height = (y + 13, 13) if parted else (y, 26)
        if parted:
            self.out.append(f'<line class="span" x1="{left:.1f}" x2="{right:.1f}" y1="{y + 19.5}" y2="{y + 19.5}"/>')
        fill = f' fill="url(#{self.id})"' if box.style in ("ghost", "tried") else ""
        for extent in box.load.extents:
            x, width = self.axis.x(extent.start), max(self.axis.x(extent.end) - self.axis.x(extent.start), 3)
            css = box.style + ("" if box.seen else " unseen")
            self.out.append(
                f'<rect class="{css}"{fill} x="{x:.1f}" y="{top}" width="{width:.1f}" height="{height}" rx="3"/>'
            )
        (first, last), label = self._label_span(box), self._label(box)
        if parted:
            self._text(first, y + 10, label, "b halo")
        elif first < left:
            self._text(left - 5, y + 17, label, "b halo", "end")
        elif last > right:
            self._text(right + 5, y + 17, label, "b halo")
        else:
            self._text((left + right) / 2, y + 17, label, "b halo", "middle")

    def _arrow(self, arrow: Arrow, places: Mapping[int, float], y: float, beside: bool) -> None:
        """From the livepatch's box to the target's, below both; a single arrow has its words beside it."""
        (a0, a1), (b0, b1) = self._span(arrow.patch), self._span(arrow.target)
        x1 = a1 - 14 if b0 > a0 else a0 + 14
        x2 = b0 + min(14, (b1 - b0) / 2) if b0 > a0 else b1 - min(14, (b1 - b0) / 2)
        top1, top2 = places.get(id(arrow.patch), y - 34) + 26, self._target_top(arrow, places, y)
        low, tail = y + 5, top2 + 9
        self.out.append(
            f'<path class="{arrow.kind}" d="M{x1:.1f} {top1:.1f} C{x1:.1f} {low:.1f} {x2:.1f} {low:.1f} {x2:.1f} {tail:.1f}"/>'
            f'<polygon class="h-{arrow.kind}" points="{x2:.1f},{top2:.1f} {x2 - 4.5:.1f},{tail:.1f} {x2 + 4.5:.1f},{tail:.1f}"/>'
        )
        if beside:
            right = max(x1, x2) + 10 + len(arrow.label) * 6 < RIGHT + 8
            x, anchor = (
                (max(x1, x2) + 10, "start") if right else (max(min(x1, x2) - 10, LEFT + len(arrow.label) * 6.4), "end")
            )
            self._text(x, y + 4, arrow.label, f"ax halo t-{arrow.kind}", anchor)

    def _target_top(self, arrow: Arrow, places: Mapping[int, float], y: float) -> float:
        """The lower edge of what stands in the target's place: its box, its ghost, or the attempt that covers the ghost."""
        if id(arrow.target) in places:
            return places[id(arrow.target)] + 26
        same = [
            top
            for load in self.history.loads
            if load.extents == arrow.target.extents
            for top in [places.get(id(load))]
            if top
        ]
        return (same[0] if same else y - 34) + 26


def alt_text(history: History, step: int, ask: bool = False) -> str:
    """The map in words, from the rows that it shows, with their addresses."""
    drawn = _Map(history, step, ask, live=True)
    return _words(history, drawn.past, drawn.hidden, step, ask)


def _words(history: History, past: list[int], hidden: int, step: int, ask: bool) -> str:
    said = (
        [f"Address map, time downwards, steps {past[0] + 1} to {step + 1} of {len(history.recording)}."] if past else []
    )
    if hidden:
        said.append(f"{count(hidden, 'earlier step')} not drawn.")
    for index in past:
        if ask and index == step:
            said.append(f"{index + 1}, {history.recording[index].command}: outcome hidden.")
            continue
        seen = history.seen(index)
        words = {"ghost": "freed range", "tried": "refused, would have been"}
        parts = [
            f"{box.load.module} {words.get(box.style, '')} at {hexa(box.load.extents[0].start)}".replace("  ", " ")
            for box in _boxes(history, index, seen)
        ]
        parts += [
            f"{arrow.patch.module}: {arrow.label}, in {arrow.target.module} at {hexa(arrow.target.extents[0].start)}"
            for arrow in _pointers(history, seen)
        ]
        said.append(f"{index + 1}, {history.recording[index].command}: {'; '.join(parts) or 'no addresses known'}.")
    return " ".join(said)


# -- bytes ----------------------------------------------------------------------------------------------------------------------


def _columns(history: History, step: int) -> list[int]:
    """Steps with a column: at which a site was there and looked at; the latest, and always the current one."""
    past = [i for i in sorted({*events(history.recording), step}) if i <= step]
    useful = [
        i
        for i in past
        if i == step
        or any(history.states(key)[history.seen(i)].kind not in ("absent", "unknown") for key in history.sites)
    ]
    if len(useful) > MAX_COLUMNS:  # the latest, and the one at which the bytes were last changed
        changed = [i for i in useful[:-1] if any(history.states(key)[history.seen(i)].changed for key in history.sites)]
        kept = {step, *changed[-1:]}
        kept |= set([i for i in useful if i not in kept][-(MAX_COLUMNS - len(kept)) :])
        useful = sorted(kept)
    return useful


def _rows(history: History, step: int) -> list[str]:
    """The sites worth a row: the failing one, foreign ones, one of each livepatch, of each type and state, then in order."""
    seen = history.seen(step)
    keys = [
        key
        for key in history.sites
        if any(state.kind not in ("absent", "unknown") for state in history.states(key)[: seen + 1])
    ]
    alive = [key for key in keys if history.states(key)[seen].kind != "absent"] or keys

    def rank(key: str) -> tuple[bool, ...]:
        site, state, owner = history.sites[key], history.states(key)[seen], key.partition(":")[0]
        kind = (owner, history.target(key), site.type if site else 0, state.kind)
        new_owner, new_kind = owner not in kinds, kind not in kinds
        kinds.update((owner, kind))
        return (key != history.failing(step), state.kind != "foreign", not new_owner, not new_kind)

    kinds: set[object] = set()
    ranked = sorted([(rank(key), number, key) for number, key in enumerate(alive)])
    chosen = [key for _, _, key in ranked[:MAX_SITES]]
    return chosen[:1] + [key for key in alive if key in chosen[1:]]


def _hex(value: bytes, pad: str = "<br>") -> str:
    """Bytes in groups of four: two lines for eight."""
    return pad.join(value[i : i + 4].hex(" ") for i in range(0, len(value), 4))


def letter(state: State) -> str:
    """The letter of a state, with the load that stale bytes are from.

    >>> letter(State("stale", b"x", 1))
    'S1'
    """
    return LETTERS[state.kind] + (str(state.load) if state.kind == "stale" and state.load else "")


def _meaning(state: State) -> str:
    return MEANING[state.kind].format(n=state.load or "an earlier time")


def symbol_label(history: History, key: str) -> str:
    """What a site is for: the relocation's type without its prefix, and the symbol with its position if it needs one."""
    site, file = history.sites.get(key), history.files.get(f"{key.partition(':')[0]}.ko")
    if site is None or file is None:
        return f"→ {history.target(key) or '?'}"
    symbol = parse_symbol(site.symbol)
    name = f"{symbol.name}{f',{symbol.sympos}' if symbol.sympos else ''}" if symbol else site.symbol
    return f"{file.type_name(site.type).replace('R_X86_64_', '').replace('R_PPC64_', '')} → {name}"


def _cell(state: State, css: str = "") -> str:
    value = f"<code>{_hex(state.value)}</code>" if state.value is not None else ""
    return f'<td class="{state.kind}{css}" title="{_meaning(state)}">{value}<i>{letter(state)}</i></td>'


def _heading(history: History, index: int) -> str:
    words = {"insmod": "insmod", "rmmod": "rmmod", "echo": "disable", "poke": "poke", "modprobe": "modprobe"}
    step = history.recording[index]
    verb = words.get(step.command.split(" ")[0], step.command.split(" ")[0])
    seen = history.seen(index)
    return f"{index + 1} {escape(verb)}{' ✗' if step.refused and step.errno != -11 else ''}" + (
        f" (seen at {seen + 1})" if seen != index else ""
    )


def bytes_pane(history: History, step: int, ask: bool = False) -> str:
    """The table of sites over time, its legend, and the sum of the first row."""
    keys = _rows(history, step - 1 if ask and step else step)
    if not keys:
        looked = any(earlier.sites is not None for earlier in history.recording.steps[: history.seen(step) + 1])
        said = "No livepatch with relocation sites is loaded." if looked else "The sites were not looked at up to here."
        return f"<h4>Relocation sites</h4><p><small>{said}</small></p>"
    columns, with_file = _columns(history, step), any(history.file_bytes(key) is not None for key in keys)
    owners = list(dict.fromkeys(key.partition(":")[0] for key in keys))
    total = sum(key.partition(":")[0] in owners for key in history.sites)
    head = "".join(
        f'<th scope="col"{" class=cur" if i == step else ""}>{f"{i + 1} ?" if ask and i == step else _heading(history, i)}</th>'
        for i in columns
    )
    body, used = [], {"file"} if with_file else set()
    for number, key in enumerate(keys):
        states = [history.states(key)[history.seen(i)] for i in columns if not (ask and i == step)]
        used |= {state.kind for state in states}
        body.append(
            _site_row(history, key, states, number == 0, with_file, len(owners) > 1)
            + ('<td class="unknown">?</td>' if ask else "")
        )
    named = escape(owners[0]) if len(owners) == 1 else f"{len(owners)} livepatches"
    shown = f"{len(keys)} of {total} relocation sites" if len(keys) < total else count(total, "relocation site")
    legend = " &nbsp; ".join(
        f"<b>{LETTERS[kind]}{'n' if kind == 'stale' else ''}</b> {MEANING[kind].format(n='n')}"
        for kind in LETTERS
        if kind in used
    )
    return (
        f'<h4>{shown} in {named}, over time</h4><table><thead><tr><th scope="col">site</th>'
        f"{'<th scope=col class=fc>file</th>' if with_file else ''}{head}</tr></thead>"
        f"<tbody>{'</tr>'.join([*body, ''])}</tbody></table>"
        f'{"" if ask else sum_html(history, keys[0], step)}<p style="margin:4px 0 0"><small>{legend}</small></p>'
    )


def _site_row(
    history: History, key: str, states: list[State], selected: bool, with_file: bool, with_owner: bool
) -> str:
    owner, _, place = key.partition(":")
    name = f"<code>{escape(place)}</code><br><small>{escape(shorten(symbol_label(history, key), 26))}</small>"
    if with_owner:
        name += f"<br><small>{escape(shorten(owner, 22))}</small>"
    in_file = history.file_bytes(key)
    cells = (
        (_cell(State("file", in_file), " fc") if in_file is not None else '<td class="fc"></td>') if with_file else ""
    )
    return f'<tr{" class=sel" if selected else ""}><th scope="row">{name}</th>{cells}{"".join(map(_cell, states))}'


def sum_html(history: History, key: str, step: int) -> str:
    """The arithmetic of one site, spelled out; what the kernel did with the result comes last."""
    seen = history.seen(step)
    found, state = history.sum_at(key, seen), history.states(key)[seen]
    if found is None or state.kind in ("absent", "unknown"):
        return ""
    failing = key == history.failing(step)
    when = {
        "written": "written now",
        "kept": "still good",
        "stale": "still there",
        "cleared": "was written, now cleared",
        "foreign": "was written",
        "file": "will be written",
    }
    lines = [
        f"<em>{escape(key.partition(':')[2])}, {'to be written now' if failing else when[state.kind]}: "
        f"{escape(symbol_label(history, key))}</em>",
        *(_sum_line(found)),
        *_outcome(found, state, failing),
    ]
    old = sorted({i + 1 for i in (found.S_step, found.P_step) if i != seen})
    if old and not found.from_val:
        lines.append(f"<em>addresses as seen at step {', '.join(map(str, old))}</em>")
    return f'<div class="sum">{"<br>".join(lines)}</div>'


def _sum_line(found: Sum) -> Iterator[str]:
    addend = f"{'−' if found.A < 0 else '+'} {abs(found.A)}"
    yield (
        f"S + A − P = {hexa(found.S)} {addend} − {hexa(found.P)}"
        if found.relative
        else f"S + A = {hexa(found.S)} {addend}"
    )
    yield f"= 0x{found.value:0{2 * len(found.stored)}x} <em>stored as</em> {found.stored.hex(' ')}"


def _outcome(found: Sum, state: State, failing: bool) -> Iterator[str]:
    value = state.value or b""
    if failing:
        same = "the very same bytes" if value == found.stored else "other bytes"
        yield f"<em>The kernel asks: zero? It finds</em> {value.hex(' ')} <em>({same}) → refuse</em>"
    elif state.kind == "stale":
        load = f"load {state.load}" if state.load else "an earlier load"
        yield f"<em>S was a symbol of {load}; that memory is no longer the target's</em>"
    elif state.kind == "foreign":
        yield f"<em>now there:</em> {value.hex(' ')}<em>, which is no result of this sum</em>"


# -- dmesg, verdict -------------------------------------------------------------------------------------------------------------


def dmesg_pane(recording: Recording, step: int, ask: bool = False) -> str:
    """The kernel's lines up to now, this step's marked by ► and weight; earlier ones beyond a few are counted."""
    old = [line for earlier in recording.steps[:step] for line in earlier.lines]
    rows = (
        [f'<div class="old">  … {count(len(old) - MAX_OLD_LINES, "earlier line")}</div>']
        if len(old) > MAX_OLD_LINES
        else []
    )
    rows += [f'<div class="old">  {escape(line)}</div>' for line in old[-MAX_OLD_LINES:]]
    if ask:
        rows.append('<div class="cur">► ?</div>')
    else:
        rows += [f'<div class="cur">► {escape(line)}</div>' for line in recording[step].lines]
        if not recording[step].lines:
            rows.append('<div class="old">► (no new line)</div>')
        if recording[step].out:
            rows += [
                f'<div class="old">  $ {escape(line)}</div>'
                for line in (recording[step].out or "").rstrip().split("\n")[:6]
            ]
    return f'<h4>dmesg</h4><div class="dm">{"".join(rows)}</div>'


def verdict_html(judged: Verdict, note: str = "", before: str = "") -> str:
    """The verdict line: symbol, outcome, reason, and a note of the controls where there is one."""
    extra = f'<span class="note">{escape(note)}</span>' if note else ""
    lead = f'<span class="note">{escape(before)}</span>' if before else ""
    return (
        f'<div class="v {_TONE[judged.kind]}" role="status">{lead}<strong>{judged.symbol} {escape(judged.headline)}</strong> '
        f"<span>{escape(judged.because)}</span>{extra}</div>"
    )


def question_html(recording: Recording, step: int, note: str = "") -> str:
    extra = f'<span class="note">{escape(note)}</span>' if note else ""
    return (
        f'<div class="v ask" role="status"><strong>? What will happen?</strong> '
        f"<span>Step {step + 1}: <code>{escape(recording[step].command)}</code>. "
        f"Choose, then press Show.</span>{extra}</div>"
    )


# -- the whole ------------------------------------------------------------------------------------------------------------------


def explorer_html(
    recording: Recording,
    step: int,
    module_files: Mapping[str, ModuleFile] | None = None,
    ask: bool = False,
    *,
    note: str = "",
    before: str = "",
    history: History | None = None,
) -> str:
    """One step of a recording as HTML: verdict, map, bytes, dmesg.

    step counts from 0. ask hides the step's outcome. note and before are lines of the controls (plain text) in the verdict.
    Errors: IndexError for a step that is not there.
    """
    history = history or History(recording, module_files)
    if not 0 <= step < len(recording):
        raise IndexError(f"step {step} of a recording with {len(recording)} steps")
    line = (
        question_html(recording, step, note) if ask else verdict_html(verdict(recording, step, history), note, before)
    )
    return (
        f'{_style(live=True)}<div class="kx">{line}<div class="panes">'
        f'<div class="pane"><h4>Module address space, time runs down</h4>'
        f"{map_svg(history, step, ask)}<small>{_MAP_LEGEND}</small></div>"
        f'<div class="pane">{bytes_pane(history, step, ask)}</div>'
        f'<div class="pane wide">{dmesg_pane(recording, step, ask)}</div></div></div>'
    )


def error_html(message: str) -> str:
    """A message where the verdict stands, for what went wrong in the controls themselves."""
    line = f'<div class="v bad" role="alert"><strong>! </strong><span>{escape(message)}</span></div>'
    return f'{_style(live=True)}<div class="kx">{line}</div>'


def map_svg(history: History, step: int, ask: bool = False, live: bool = True) -> str:
    """The address map as an SVG element; with live=False in fixed colours, for an image."""
    return _Map(history, step, ask, live).svg()


def twin_html(
    recording: Recording, module_files: Mapping[str, ModuleFile] | None = None, *, history: History | None = None
) -> str:
    """The whole story as static HTML that a sanitizer lets through: an img, tables, and a <details> a step."""
    history = history or History(recording, module_files)
    last = len(recording) - 1
    if last < 0:
        return "<p>An empty recording.</p>"
    image = base64.b64encode(map_svg(history, last, live=False).encode()).decode()
    where = f"{recording.arch}, {recording.kernel.get('release', recording.release)}, {recording.source}"
    chosen = f"; with {', '.join(recording.proposals)}" if recording.proposals else ""
    return (
        f"<p><b>{escape(recording.title or recording.scenario)}</b> ({escape(where)}{escape(chosen)})</p>"
        f'<img alt="{escape(alt_text(history, last))}" src="data:image/svg+xml;base64,{image}">'
        f"{_twin_steps(history)}{_twin_sites(history, last)}{''.join(_twin_details(history))}"
    )


def _twin_steps(history: History) -> str:
    rows = []
    for index in events(history.recording):
        step, judged = history.recording[index], verdict(history.recording, index, history)
        rows.append(
            f"<tr><td>{index + 1}</td><td {_LEFT}><code>{escape(step.command)}</code></td>"
            f"<td {_LEFT}>{judged.symbol} <b>{escape(judged.headline)}</b> {escape(judged.because)}</td></tr>"
        )
    head = f"<tr><th>step</th><th {_LEFT}>command</th><th {_LEFT}>what happened</th></tr>"
    return f"<table><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table>"


def _twin_sites(history: History, step: int) -> str:
    keys, columns = _rows(history, step), _columns(history, step)
    if not keys:
        return ""
    head = "".join(f"<th>{_heading(history, i)}</th>" for i in columns)
    rows = []
    for key in keys:
        states = [history.states(key)[history.seen(i)] for i in columns]
        cells = "".join(
            f"<td><code>{_hex(s.value, ' ') if s.value is not None else ''}</code> {letter(s)}</td>" for s in states
        )
        rows.append(f"<tr><td {_LEFT}><code>{escape(key)}</code> {escape(symbol_label(history, key))}</td>{cells}</tr>")
    used = {history.states(key)[history.seen(i)].kind for key in keys for i in columns}
    legend = "; ".join(
        f"{LETTERS[k]}{'n' if k == 'stale' else ''} {MEANING[k].format(n='n')}" for k in LETTERS if k in used
    )
    return f"<table><thead><tr><th {_LEFT}>site</th>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table><p>{legend}</p>"


def _twin_details(history: History) -> Iterator[str]:
    for index in events(history.recording):
        step = history.recording[index]
        lines = escape("\n".join(step.lines)) or "(no new line in dmesg)"
        yield f"<details><summary>Step {index + 1}: <code>{escape(step.command)}</code></summary><pre>{lines}</pre></details>"


def plain_text(
    recording: Recording, module_files: Mapping[str, ModuleFile] | None = None, *, history: History | None = None
) -> str:
    """The story for a terminal: a line a step, outcome first.

    >>> from klpteach.scenarios import simulate
    >>> plain_text(simulate("reload")).splitlines()[3][:51]
    '3  rmmod nfsd_demo: ! Removed, and stale bytes stay'
    """
    history = history or History(recording, module_files)
    lines = [f"{recording.title or recording.scenario} ({recording.arch}, {recording.release}, {recording.source})"]
    lines += [
        f"{index + 1}  {recording[index].command}: {verdict(recording, index, history)}" for index in events(recording)
    ]
    return "\n".join(lines)


assert set(_TONE) == set(SYMBOLS) and set(LETTERS) == set(MEANING)
