"""The row of the table of consequences that a kernel earns: a kind a story, and which known row is nearest."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

from ...files.samples import data_dir
from ...reading.outcome import ENDINGS
from ...scenarios.questions import QUESTIONS

SCHEMA = "klpteach-row/1"
# What a recording cannot tell, since there is none: the guest did not come to its end.
NO_END = {"hangs": "hangs", "panics": "panics", "left-out": "left out"}


@dataclass(frozen=True)
class Told:
    """What one story came to. kind: a key of ENDINGS or of NO_END. says: the kernel's line, or the names behind the kind."""

    question: str
    kind: str
    says: str

    @property
    def words(self) -> str:
        return NO_END.get(self.kind) or ENDINGS[self.kind].words


@dataclass(frozen=True, repr=False)
class Row:
    """What a patch came to. patch: its file's name. kernel: the version that it was built from. told: a cell a question."""

    patch: str
    sha256: str
    release: str
    kernel: str
    told: tuple[Told, ...]
    arch: str = "x86_64"

    @property
    def kinds(self) -> dict[str, str]:
        return {one.question: one.kind for one in self.told}

    @property
    def nearest(self) -> tuple[str, int]:
        """The proposals of the known row that has most cells in common with this one ("" as released), and how many."""
        rows = known_rows(self.release, self.arch)
        same = Counter(
            {
                name: sum(self.kinds[q] == kind for q, kind in row.items() if q in self.kinds)
                for name, row in rows.items()
            }
        )
        return next(iter(same.most_common(1)), ("", 0))

    def __str__(self) -> str:
        rows = known_rows(self.release, self.arch)
        stock, where = rows.get("", {}), "" if self.arch == "x86_64" else f", {self.arch}"
        lines = [f"{self.patch} on Linux {self.kernel}{where}"]
        for one in self.told:
            if one.kind != "left-out":
                was = (
                    ""
                    if stock.get(one.question, one.kind) == one.kind
                    else f"as released: {_words(stock[one.question])}"
                )
                lines.append(f"{_asks(one.question):{WIDE}}  {one.words:20} {was:32} {one.says}".rstrip())
        return "\n".join([*lines, *self._end(rows)])

    def _end(self, rows: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
        """Which known row is nearest and where it differs; or that this kernel cannot be judged."""
        ended = Counter(one.kind for one in self.told if one.kind in NO_END)
        if left := ended.pop("left-out", 0):
            how = " and ".join(
                f"{kind} in {count} {'story' if count == 1 else 'stories'}" for kind, count in ended.items()
            )
            yield f"This kernel {how}, so the other {left} were left out: it earns no row."
        elif not rows:
            yield "The table of consequences has no rows of this kernel."
        else:
            nearest, same = self.nearest
            yield f"The nearest known row is {nearest or 'the kernel as released'}: {same} of {len(self.told)} cells are the same."
            for one in self.told:
                if (other := rows[nearest].get(one.question, one.kind)) != one.kind:
                    yield f"There {_asks(one.question)!r} is: {_words(other)}, here: {one.words}."

    __repr__ = __str__  # what a notebook shows

    def to_json(self) -> str:
        """One line: patch, kernel, the cells, the nearest known row."""
        nearest, same = self.nearest
        near = {"proposals": nearest, "same": same, "of": len(self.told)}
        return json.dumps({"schema": SCHEMA, **asdict(self), "nearest": near})

    @classmethod
    def load(cls, path: Path) -> Row:
        found = json.loads(path.read_text())
        told = tuple(Told(**one) for one in found["told"])
        return cls(
            found["patch"], found["sha256"], found["release"], found["kernel"], told, found.get("arch", "x86_64")
        )


WIDE = max(len(question.asks) for question in QUESTIONS)


def _asks(key: str) -> str:
    return next(question.asks for question in QUESTIONS if question.key == key)


def _words(kind: str) -> str:
    return ENDINGS[kind].words if kind in ENDINGS else kind or "not asked"


@lru_cache
def known_rows(release: str, arch: str = "x86_64") -> Mapping[str, Mapping[str, str]]:
    """Proposals -> question -> kind, as data/consequences.csv has them."""
    rows: dict[str, dict[str, str]] = {}
    with (data_dir() / "consequences.csv").open(newline="", encoding="utf-8") as file:
        for cell in csv.DictReader(file):
            if (cell["arch"], cell["release"]) == (arch, release):
                rows.setdefault(cell["proposals"], {})[cell["question"]] = cell["kind"]
    return rows
