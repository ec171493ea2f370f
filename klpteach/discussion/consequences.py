"""What each proposal leads to, story by story: every cell is a story that the model ran, on each kernel.

A count of cells is no score. How often a story happens, and how bad its end is, depends on the machine: see the fleet. "As
wished" means what whoever tells the story wants; who holds that nobody needs rmmod will not mind a pinned module.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache
from itertools import product

from ..files.samples import ko_dir
from ..model.policy import PROPOSALS, possible
from ..reading.outcome import ENDINGS, outcome_of
from ..scenarios.scenario import Scenario
from ..scenarios.simulate import get, has_files, simulate
from .rows import read_rows

ARCHES, RELEASES = ("x86_64", "ppc64le"), ("6.1", "6.12")  # of data/consequences.csv
EVERY_ARCH = (*ARCHES, "s390x")


@dataclass(frozen=True)
class Question:
    """One row of the table: what is asked, which story answers it on each architecture, and what one would wish for."""

    key: str
    asks: str
    story: Mapping[str, str]
    wish: str = "works"


def _both(key: str, asks: str, wish: str = "works") -> Question:
    return Question(key, asks, dict.fromkeys(EVERY_ARCH, key), wish)


# fmt: off
QUESTIONS: tuple[Question, ...] = (
    _both("reload", "reload at the same address"),
    _both("moved", "reload at other addresses"),
    Question("many-moves", "40 or 50 reloads, each elsewhere", 
             {"x86_64": "fifty-moves", "ppc64le": "moved-40", "s390x": "fifty-moves"}),
    _both("init-fails", "init() fails, then a good load"),
    Question("half-way", "patching fails half way, then all is well",
             {"x86_64": "callback-fails", "ppc64le": "half-way", "s390x": "slot-half-way"}),
    _both("corrupted", "a damaged livepatch", wish="refused"),
    _both("foreign-write", "a stranger wrote to a site"),
    _both("disabled", "disable, then reload"),
    _both("stacked", "two livepatches on one target"),
    _both("cumulative", "a livepatch replaced, then reloads"),
    _both("target-later", "the target comes after the livepatch"),
    _both("one-in-use", "five targets, one in use"),
    _both("no-hardware", "hardware of one target absent"),
    _both("not-installed", "one target not installed"),
    _both("blacklisted", "one target forbidden"),
    _both("race", "a newer livepatch while a target loads"),
    _both("spanning", "one fix for two loaded modules"),
    Question("vmlinux", "a livepatch for vmlinux and a module", {"x86_64": "vmlinux"}),
    Question("data-only", "a livepatch that calls nothing", {"ppc64le": "data-only"}),
    Question("one-call", "a livepatch with one call, moved", {"ppc64le": "one-call"}),
    Question("empty-place", "moved, and nothing at the old place", {"s390x": "empty-place"}),
    Question("hidden", "hidden symbols, moved", {"s390x": "hidden"}),
    Question("edge", "stubs up to the end of a page, moved", {"ppc64le": "edge"}),
)
# Combinations that somebody might want, beside each proposal alone; those impossible on an architecture are left out.
MIXES: tuple[tuple[str, ...], ...] = (
    ("deny-removal", "clear-checked"), ("deny-removal", "reuse-stub"), ("deny-removal", "no-late-patching"),
    ("clear-relocations", "reuse-stub"),
)
# fmt: on


@dataclass(frozen=True)
class Consequence:
    """One cell of the table: where, which proposals, which question, and what it came to (see klpteach.reading.outcome).

    proposals: names with + between, "" for the kernel as released. as_wished: whether the kind is the one wished for.
    """

    arch: str
    release: str
    proposals: str
    question: str
    kind: str
    as_wished: bool
    says: str
    refused: str
    pinned: str
    unpatched: str
    unasked: int
    unasked_kib: int
    stale: int
    stubs: int
    slots: int
    past_end: int

    @property
    def chosen(self) -> tuple[str, ...]:
        return tuple(filter(None, self.proposals.split("+")))

    @property
    def letter(self) -> str:
        """The letter of its kind, with * where it is not what one would wish for."""
        return ENDINGS[self.kind].letter + ("" if self.as_wished else "*")


Rows = Sequence[Consequence]


def choices(arch: str) -> list[tuple[str, ...]]:
    """The columns of the table: nothing, each proposal alone, the mixes; as far as the architecture has them."""
    return [chosen for chosen in [(), *((name,) for name in PROPOSALS), *MIXES] if possible(chosen, arch)]


def cells(arch: str, release: str) -> Iterator[tuple[Question, tuple[str, ...]]]:
    """Every (question, proposals) that there is on a kernel: its story is known and its modules were built for it."""
    for question in QUESTIONS:
        if arch in question.story and has_files(get(question.story[arch], arch), ko_dir(arch, release)):
            yield from ((question, chosen) for chosen in choices(arch))


def compute(arches: Iterable[str] = ARCHES, releases: Iterable[str] = RELEASES,
            watch: Callable[[int], None] = lambda done: None) -> list[Consequence]:  # fmt: skip
    """Run every cell in the model: about 10 seconds for all. watch is called with the number of cells done so far."""
    found = []
    for arch, release in product(arches, releases):
        for question, chosen in cells(arch, release):
            found.append(consequence(question, arch, release, chosen))
            watch(len(found))
    return found


def consequence(question: Question, arch: str, release: str, chosen: tuple[str, ...] = ()) -> Consequence:
    """One cell, computed. Errors: PolicyError for an impossible mix."""
    story = by_modprobe(get(question.story[arch], arch))
    outcome = outcome_of(simulate(story, release, chosen, arch, quietly=True))
    values = asdict(outcome) | {"unasked": len(outcome.unasked)}
    values |= {key: " ".join(values[key]) for key in ("refused", "pinned", "unpatched")}
    wished = outcome.kind == question.wish
    return Consequence(arch, release, "+".join(chosen), question.key, as_wished=wished, **values)


def by_modprobe(story: Scenario) -> Scenario:
    """The story with its livepatches loaded as a user would: by modprobe, which alone looks for what a module needs.

    Without dependencies that is the same as insmod.
    """
    found = re.compile(r"(~?)insmod (livepatch_\w+)\.ko\b")
    return replace(story, commands=tuple(found.sub(r"\1modprobe \2", command) for command in story.commands))


# -- as a file ------------------------------------------------------------------------------------------------------------


def to_csv(rows: Iterable[Consequence]) -> str:
    """The table as text, one line a cell."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([getattr(row, key) for key in COLUMNS] for row in rows)
    return out.getvalue()


def of_kernel(arch: str, release: str, rows: Rows | None = None) -> list[Consequence]:
    """The cells of one kernel. rows: default data/consequences.csv."""
    return [r for r in (read_consequences() if rows is None else rows) if (r.arch, r.release) == (arch, release)]


@lru_cache
def read_consequences() -> tuple[Consequence, ...]:
    """The table computed last (data/consequences.csv). Errors: KlpteachError where it is missing or too old."""
    rows = read_rows("consequences.csv", COLUMNS, "Try: klpteach consequences")
    return tuple(map(_from_text, rows))


def _from_text(row: Mapping[str, str]) -> Consequence:
    kinds: dict[str, Callable[[str], object]] = {"int": int, "bool": lambda text: text == "True", "str": str}
    return Consequence(**{f.name: kinds[str(f.type)](row[f.name]) for f in fields(Consequence)})  # type: ignore[arg-type]


COLUMNS = [field.name for field in fields(Consequence)]

# -- for a terminal -------------------------------------------------------------------------------------------------------

WIDTH = 2 + max(len(question.asks) for question in QUESTIONS)


def by_kernel(rows: Iterable[Consequence]) -> list[list[Consequence]]:
    """The cells of each kernel, in the order of the table."""
    kernels: dict[tuple[str, str], list[Consequence]] = {}
    for row in rows:
        kernels.setdefault((row.arch, row.release), []).append(row)
    return list(kernels.values())


def grid(rows: Sequence[Consequence]) -> str:
    """One kernel as text: a line a question, a column a choice of proposals; * marks what nobody would wish for."""
    columns = list(dict.fromkeys(row.proposals for row in rows))
    cells = {(row.question, row.proposals): row for row in rows}
    lines = [f"{rows[0].arch} {rows[0].release}"]
    lines += [f"{number} {name or 'as released'}" for number, name in enumerate(columns, 1)]
    lines.append(" " * WIDTH + " ".join(f"{number:<2}" for number in range(1, len(columns) + 1)).rstrip())
    for question in QUESTIONS:
        mine = [cells[question.key, name] for name in columns if (question.key, name) in cells]
        if mine:
            lines.append(f"{question.asks:<{WIDTH}}" + " ".join(f"{row.letter:<2}" for row in mine).rstrip())
    return "\n".join(lines)


def legend() -> str:
    """What the letters mean."""
    lines = [f"{ending.letter}  {ending.meaning}" for ending in ENDINGS.values()]
    return "\n".join([*lines, "*  not what one would wish for"])
