"""The discussion as data: who said what about which proposal, and what came when (data/thread.csv, data/timeline.csv).

People are quoted with at most 15 words, where the words were read in an archived mail; the rest is a paraphrase.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from urllib.parse import quote

from .rows import read_rows

# Where a mail can be read that lore.kernel.org does not have: the list's archive begins in 2019, and a later mail quotes it.
_QUOTED_IN = {"20180602161151.apuhs2dygsexmcg2@treble": "alpine.LSU.2.21.1906241150000.31030@pobox.suse.cz"}

# Proposals that only one side spoke about, as far as mails were found: why.
ONE_SIDED = {
    "clear-checked": "It was merged in 6.3. The objections of 2019 were against clearing as such: see clear-relocations.",
    "tolerate-r2": "It was merged in 6.3. No mail against it was found.",
    "reuse-stub": "Nobody proposed it. It is an experiment of this course, run on real kernels.",
    "half-loaded": "Proposed by mail on 26 August 2019, before the conference; Joe Lawrence asked how. No mail against it was found.",
    "keep-plt": "Nobody proposed it. It is an experiment of this course; half of it, the alias, was run on a real 7.3 for arm64.",
    "clear-got": "Nobody proposed it. It is an experiment of this course; the same change was run on a real 6.12 for s390x.",
}


@dataclass(frozen=True)
class Statement:
    """One person's position on one proposal. date: YYYY-MM-DD, or YYYY-MM where the day is not known.

    position: "for", "against" or "asks". says is a paraphrase; quote is the person's own words, or empty. Where message_id is
    empty, `where` says why: it was no mail.
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


def lore(message_id: str) -> str:
    """The address at which a mail can be read; for one that the archive does not have, that of the mail which quotes it.

    >>> lore("Ytp+u2mGPk5+7Tvf@alley")
    'https://lore.kernel.org/r/Ytp%2Bu2mGPk5%2B7Tvf@alley'
    """
    return f"https://lore.kernel.org/r/{quote(_QUOTED_IN.get(message_id, message_id), safe='@=')}"
