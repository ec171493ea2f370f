"""What each proposal leads to, story by story: every cell is a story that the model ran, on each kernel.

A count of cells is no score. How often a story happens, and how bad its end is, depends on the machine: see the fleet. "As
wished" means what whoever tells the story wants; who holds that nobody needs rmmod will not mind a pinned module.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from itertools import product

from ..arguments import checked
from ..errors import one_of
from ..files.samples import ko_dir
from ..model.policy import PROPOSALS, possible
from ..reading.outcome import ENDINGS, outcome_of
from ..scenarios.questions import ARCHES as ARCHES
from ..scenarios.questions import QUESTIONS as QUESTIONS
from ..scenarios.questions import Question as Question
from ..scenarios.questions import by_modprobe as by_modprobe
from ..scenarios.questions import told as told
from ..scenarios.recorded import recording_of
from ..scenarios.simulate import get, has_files, simulate
from .rows import read_rows

RELEASES = ("6.1", "6.12")  # of data/consequences.csv: those for which proposals were built as kernels
# Who says what a story comes to, for eyes without colour.
SHIPPED, OWN_BUILD, MODEL = "●", "◐", "○"
WHO = {
    SHIPPED: "seen on a distribution's kernel",
    OWN_BUILD: "seen on a kernel of our own build",
    MODEL: "the model's word",
}
# fmt: off
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
    step: the one of the story that shows it, from 1. recording: where a real kernel did the same, "" for the model's word.
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
    step: int
    recording: str

    @property
    def chosen(self) -> tuple[str, ...]:
        return tuple(filter(None, self.proposals.split("+")))

    @property
    def mark(self) -> str:
        """Who says so: ● a distribution's kernel, ◐ a kernel that was built with the proposals, ○ the model alone."""
        if not self.recording:
            return MODEL
        return OWN_BUILD if is_own_build(self.recording) else SHIPPED

    @property
    def evidence(self) -> str:
        """Who says so, in words: a recording's name and the step in it.

        >>> [row.evidence for row in read_consequences() if (row.release, row.question) == ("6.1", "vmlinux")][0]
        'a kernel did so: vmlinux--6.1-small--REFUSED, step 4'
        """
        kernel = "a kernel with this patch" if self.proposals else "a kernel"
        return (
            f"{kernel} did so: {self.recording}, step {self.step}"
            if self.recording
            else "the model says so, no kernel was asked"
        )

    @property
    def letter(self) -> str:
        """The letter of its kind, with * where it is not what one would wish for."""
        return ENDINGS[self.kind].letter + ("" if self.as_wished else "*")


Rows = Sequence[Consequence]


def is_own_build(recording: str) -> bool:
    """Whether a recording is of a kernel that was built here: its name says which variant, a distribution's has none.

    >>> is_own_build("reload--6.1--REFUSED"), is_own_build("reload--6.1-stock--REFUSED")
    (False, True)
    """
    return "-" in recording.split("--")[1]


def choices(arch: str) -> list[tuple[str, ...]]:
    """The columns of the table: nothing, each proposal alone in its first reading, the mixes; as far as the architecture has them."""
    alone = ((name,) for name, proposal in PROPOSALS.items() if proposal.reading_of is None)
    return [chosen for chosen in [(), *alone, *MIXES] if possible(chosen, arch)]


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
    story = told(get(question.story[arch], arch), arch)
    outcome = outcome_of(simulate(story, release, chosen, arch, quietly=True))
    values = asdict(outcome) | {"unasked": len(outcome.unasked)}
    values |= {key: " ".join(values[key]) for key in ("refused", "pinned", "unpatched")}
    wished = outcome.kind == question.wish
    seen = recording_of(story.name, arch, release, chosen, used=outcome.kind == "oops-on-use")
    return Consequence(arch, release, "+".join(chosen), question.key, as_wished=wished, recording=seen, **values)


# -- as a file ------------------------------------------------------------------------------------------------------------


def to_csv(rows: Iterable[Consequence]) -> str:
    """The table as text, one line a cell."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([getattr(row, key) for key in COLUMNS] for row in rows)
    return out.getvalue()


@checked(but=["arch", "release"])
def of_kernel(arch: str, release: str, rows: Rows | None = None) -> list[Consequence]:
    """The cells of one kernel. rows: default data/consequences.csv. Errors: KlpteachError for one that the rows are not of."""
    all_rows = read_consequences() if rows is None else rows
    one_of(arch, list(dict.fromkeys(row.arch for row in all_rows)) or ARCHES, "architecture")
    one_of(release, list(dict.fromkeys(row.release for row in all_rows if row.arch == arch)) or RELEASES, "release")
    return [row for row in all_rows if (row.arch, row.release) == (arch, release)]


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
    """One kernel as text: a line a question, a column a choice of proposals; * marks what nobody would wish for.

    Behind each letter stands who says so, as legend() has it.
    """
    columns = list(dict.fromkeys(row.proposals for row in rows))
    cells = {(row.question, row.proposals): row for row in rows}
    lines = [f"{rows[0].arch} {rows[0].release}"]
    lines += [f"{number} {name or 'as released'}" for number, name in enumerate(columns, 1)]
    lines.append(" " * WIDTH + " ".join(f"{number:<3}" for number in range(1, len(columns) + 1)).rstrip())
    for question in QUESTIONS:
        mine = [cells[question.key, name] for name in columns if (question.key, name) in cells]
        if mine:
            lines.append(f"{question.asks:<{WIDTH}}" + " ".join(f"{row.letter + row.mark:<3}" for row in mine).rstrip())
    return "\n".join(lines)


def legend() -> str:
    """What the letters mean."""
    lines = [f"{ending.letter}  {ending.meaning}" for ending in ENDINGS.values()]
    marks = [f"{mark}  {words}" for mark, words in WHO.items()]
    return "\n".join([*lines, "*  not what one would wish for", *marks])
