"""The discussion as data: who said what about which proposal, and what came when (data/thread.csv, data/timeline.csv).

People are quoted with at most 15 words, where the words were read in an archived mail; the rest is a paraphrase.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields

from .rows import read_rows

# Proposals that only one side spoke about, as far as mails were found: why.
ONE_SIDED = {
    "clear-checked": "It was merged in 6.3. The objections of 2019 were against clearing as such: see clear-relocations.",
    "tolerate-r2": "It was merged in 6.3. No mail against it was found.",
    "reuse-stub": "Nobody proposed it. It is an experiment of this course, run on real kernels.",
    "clear-got": "Nobody proposed it. It is an experiment of this course; the same change was run on a real 6.12 for s390x.",
    "half-loaded": "An idea to soften hard-dependencies, sketched at the conference of 2019. No mail for or against was found.",
    "no-late-patching": "Nobody spoke against it by mail, and nobody posted the code that was asked for.",
    "refuse-unpatched": "A sketch of August 2019 that nobody wrote. No mail against it was found.",
}


@dataclass(frozen=True)
class Statement:
    """One person's position on one proposal. date: YYYY-MM-DD, or YYYY-MM where the day is not known.

    position: "for", "against" or "asks". says is a paraphrase; quote is the person's own words, or empty. message_id is
    empty where it is not known.
    """

    date: str
    person: str
    message_id: str
    where: str
    proposal: str
    position: str
    says: str
    quote: str


@dataclass(frozen=True)
class Event:
    """One row of the timeline. date: YYYY, YYYY-MM or YYYY-MM-DD. version: the first kernel release that has it, or empty."""

    date: str
    what: str
    version: str
    commit: str
    person: str
    message_id: str
    source: str


def read_thread() -> tuple[Statement, ...]:
    """Every statement, in time's order. Errors: KlpteachError where data/thread.csv is missing or has other columns."""
    return tuple(Statement(**row) for row in read_rows("thread.csv", [field.name for field in fields(Statement)]))


def read_timeline() -> tuple[Event, ...]:
    """What happened, in time's order. Errors: KlpteachError where data/timeline.csv is missing or has other columns."""
    return tuple(Event(**row) for row in read_rows("timeline.csv", [field.name for field in fields(Event)]))


def positions(proposal: str, position: str | None = None) -> Iterator[Statement]:
    """The statements about a proposal: all, or those "for", "against", "asks"."""
    return (s for s in read_thread() if s.proposal == proposal and position in (None, s.position))
