"""Who said what about some proposals, from data/thread.csv, as a table to be read."""

from __future__ import annotations

from collections.abc import Collection

from ...discussion.thread import Statement, read_thread
from ...views.table import Table

HEADS = ("when", "who", "about", "", "in short", "in their words", "where")


def positions_on(*proposals: str, people: Collection[str] = (), since: str = "", until: str = "9999") -> Table:
    """The statements about these proposals, oldest first; only of these people, and from `since` to `until`, if given.

    Where: the list, or the issue, and the Message-ID where it is known.

    >>> positions_on("remove-check", since="2019-06-20", until="2019-06-20").rows[1][-2]
    '“revert for now?”'
    """
    found = [s for s in read_thread() if s.proposal in proposals and since <= s.date <= until]
    found = [s for s in found if not people or s.person in people]
    rows = [_row(s) for s in found]
    kept = [n for n in range(len(HEADS)) if any(row[n] for row in rows) and (n != 2 or len(proposals) > 1)]
    return Table([HEADS[n] for n in kept], [[row[n] for n in kept] for row in rows])


def _row(s: Statement) -> tuple[str, ...]:
    quote = f"“{s.quote}”" if s.quote else ""
    where = f"{s.where} `{s.message_id}`" if s.message_id else s.where
    date, person = s.date.replace("-", "\u2011"), s.person.replace(" ", "\u00a0")  # neither is broken between two lines
    return (date, person, s.proposal, s.position, s.says, quote, where)
