"""What the address map shows, row by row: the boxes of mappings, the arrows of sites, and the axis that they stand on."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from weakref import WeakKeyDictionary

from ...model import messages
from ...model.memory import PAGE
from ...model.recording import Recording
from ...model.step import hexa
from ...reading.history import History
from ...reading.loads import Load
from ...reading.steps import count, is_look, patch_line, patch_of

MAX_ROWS = 6


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


def window(recording: Recording, step: int) -> tuple[list[int], list[int], int]:
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
    if history.sites_in(module) or module in history.objects:
        return "patch"
    patched = {name for objects in history.objects.values() for name in objects}
    return "target" if module in patched or history.sites_for(module) else "other"


_arrows: WeakKeyDictionary[History, dict[int, list[Arrow]]] = WeakKeyDictionary()  # a row is asked for many times


def pointers(history: History, step: int) -> list[Arrow]:
    """The arrows of a row: site states, counted by livepatch, target load and kind."""
    known = _arrows.setdefault(history, {})
    if step not in known:
        known[step] = _pointers(history, step)
    return known[step]


def _pointers(history: History, step: int) -> list[Arrow]:
    groups: Counter[tuple[str, str, int, str]] = Counter()
    for key in history.sites:
        state, target = history.states(key)[step], history.target(key)
        if target and state.load and state.kind in ("written", "kept", "stale"):
            groups[patch_of(key), target, state.load, state.kind] += 1
    found = []
    refused = patch_line(history.recording[step], messages.INIT_FAILED)
    for (patch, target, number, kind), sites in groups.items():
        source, aim = history.load_at(patch, step), history.load(target, number)
        if source and aim and source.extents and aim.extents:
            nonzero = (patch, target) in refused and history.arch.zero_sites
            stale = "nonzero: refused" if nonzero else f"stale, from load {number}"
            words = {"written": "written", "kept": "point here", "stale": stale}[kind]
            found.append(Arrow(source, aim, kind, f"{count(sites)} {words}"))
    return found


def boxes(history: History, step: int, seen: int) -> list[Box]:
    """What a row shows: the modules that are there, ghosts of what was removed or is still pointed to, a refused attempt."""
    looked = history.recording[seen].modules is not None
    placed, mark = [load for load in history.loads if load.extents], "" if looked else " ?"
    tried = [load for load in placed if load.refused and load.first == step]
    pointed = [arrow.target for arrow in pointers(history, seen) if arrow.kind == "stale"]
    gone = [load for load in placed if not load.refused and load.last == step - 1]
    covered, past = {load.extents for load in tried}, dict.fromkeys([*pointed, *gone])
    ghosts = [load for load in past if not load.at(step) and load.extents not in covered]
    found = [Box(load, "ghost", f"{load.module}, freed") for load in ghosts]
    found += [Box(x, _role(history, x.module), x.module + mark, looked) for x in placed if x.at(step)]
    return found + [Box(load, "tried", f"{load.module} ✗") for load in tried]


def in_words(history: History, past: list[int], hidden: int, step: int, ask: bool) -> str:
    """The rows `past` as sentences; `hidden` is the number of earlier ones that are not drawn."""
    steps, words = len(history.recording), {"ghost": " freed range", "tried": " refused, would have been"}
    said = [f"Address map, time downwards, steps {past[0] + 1} to {step + 1} of {steps}."] if past else []
    if hidden:
        said.append(f"{count(hidden, 'earlier step')} not drawn.")

    def at(load: Load) -> str:
        return f"{load.module} at {hexa(load.extents[0].start)}"

    for index in past:
        seen = history.observed_at(index)
        shown = boxes(history, index, seen)
        parts = [f"{b.load.module}{words.get(b.style, '')} at {hexa(b.load.extents[0].start)}" for b in shown]
        parts += [f"{arrow.patch.module}: {arrow.label}, in {at(arrow.target)}" for arrow in pointers(history, seen)]
        outcome = "outcome hidden" if ask and index == step else "; ".join(parts) or "no addresses known"
        said.append(f"{index + 1}, {history.recording[index].command}: {outcome}.")
    return " ".join(said)


class Axis:
    """Maps addresses to x. Pages of mappings are drawn up to a limit, far gaps are cut and marked.

    >>> axis = Axis([(0x1000, 0x3000), (0x900000, 0x902000)], 0, 100)
    >>> axis.x(0x1000), axis.x(0x902000), len(axis.breaks)
    (0.0, 100.0, 1)
    """

    LONG, GAP = 16, 2.0  # pages: a longer mapping grows slowly, a wider gap is cut

    def __init__(self, extents: Iterable[tuple[int, int]], left: float, right: float, page: int = PAGE) -> None:
        spans = sorted(set(extents))
        self.points = sorted({edge for span in spans for edge in span}) or [0, 1]
        gaps = [(start, end, any(a <= start and end <= b for a, b in spans)) for start, end in pairwise(self.points)]
        weights = [self._weight((end - start) / page, used) for start, end, used in gaps]
        cuts = [not used and (end - start) / page > self.GAP for start, end, used in gaps]
        scale = (right - left) / (sum(weights) or 1)
        self._xs = list(accumulate((weight * scale for weight in weights), initial=left))
        self.breaks = [(a + b) / 2 for (a, b), cut in zip(pairwise(self._xs), cuts, strict=True) if cut]

    def _weight(self, pages: float, used: bool) -> float:
        return min(pages, self.LONG) + max(pages - self.LONG, 0) ** 0.5 if used else min(pages, self.GAP)

    def x(self, address: int) -> float:
        """The place of an address; outside of all mappings the nearer end of the axis."""
        after = bisect_right(self.points, address)
        if after in (0, len(self.points)):
            return self._xs[max(after - 1, 0)]
        (start, end), (left, right) = self.points[after - 1 : after + 1], self._xs[after - 1 : after + 1]
        return left + (right - left) * (address - start) / (end - start)


@dataclass(frozen=True)
class Name:
    """A box's name: its text, where it stands and how it is aligned there (start, middle, end); left, right: box and name."""

    text: str
    x: float
    anchor: str
    left: float
    right: float

    @classmethod
    def of(cls, box: Box, axis: Axis, letter: float, pad: float, edge: float) -> Name:
        """In the box where it fits, cut if need be; beside a small box; above a module that has several mappings.

        letter, pad: what a letter and the space about a name take on the axis; edge: how far to the right a name may reach.
        """
        left, right = axis.x(box.load.extents[0].start), axis.x(box.load.extents[-1].end)
        parted = len(box.load.extents) > 1
        text = box.label if parted else _cut(box, int((right - left - pad) / letter))
        width = len(text) * letter + pad
        if parted:
            start = left if left + width <= edge else min(left, edge - width)
            return cls(text, start, "start", start, max(right, start + width))
        if right - left >= width:
            return cls(text, (left + right) / 2, "middle", left, right)
        if right + pad + width <= edge:
            return cls(text, right + pad, "start", left, right + pad + width)
        return cls(text, left - pad, "end", left - pad - width, right)


def _cut(box: Box, room: int) -> str:
    """The name that fits into so many letters; whole where the box is too small for any, since it stands beside it then."""
    if room >= len(box.label) or room < 7:
        return box.label
    if box.style == "ghost":
        return "freed"
    mark = box.label[len(box.load.module) :]
    return shorten(box.load.module, room - len(mark)) + mark


def lanes(shown: Sequence[Box], names: Sequence[Name], gap: float) -> list[int]:
    """A lane for each box, so that neither boxes nor their names meet: what is there above, ghosts of what was there below."""
    found = [0] * len(shown)
    taken: list[list[Name]] = [[] for _ in shown]
    for number in sorted(range(len(shown)), key=lambda n: (shown[n].style == "ghost", shown[n].load.extents[0].start)):
        name = names[number]
        free = (all(name.right < other.left - gap or name.left > other.right + gap for other in lane) for lane in taken)
        found[number] = next(lane for lane, is_free in enumerate(free) if is_free)
        taken[found[number]].append(name)
    return found
