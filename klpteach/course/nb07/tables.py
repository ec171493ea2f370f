"""The tables of notebook 07: who said what about a way out, who was for and against, what obj->mod holds after a refusal."""

from __future__ import annotations

from collections.abc import Collection

from ...discussion.thread import Statement, positions, read_thread
from ...errors import KlpteachError
from ...model.policy import PROPOSALS
from ...views.mail import mail_cell
from ...views.table import Cell, Table
from .ways import object_after_refusal

HEADS = ("when", "who", "about", "", "in short", "in their words", "where")


def positions_on(*proposals: str, people: Collection[str] = (), since: str = "", until: str = "9999") -> Table:
    """The statements about these proposals, oldest first; only of these people, and from `since` to `until`, if given.

    Where: the list, with a link to the mail; or the issue, where it was no mail.

    >>> positions_on("remove-check", since="2019-06-20", until="2019-06-22").rows[1][-2]
    '“revert it for now, right?”'
    """
    found = [s for s in read_thread() if s.proposal in proposals and since <= s.date <= until]
    rows = [_row(s) for s in found if not people or s.person in people]
    kept = [n for n in range(len(HEADS)) if any(row[n] for row in rows) and (n != 2 or len(proposals) > 1)]
    return Table([HEADS[n] for n in kept], [[row[n] for n in kept] for row in rows])


def _row(s: Statement) -> tuple[str | Cell, ...]:
    quote = f"“{s.quote}”" if s.quote else ""
    where = mail_cell(s.message_id, s.where) if s.message_id else s.where
    date, person = s.date.replace("-", "\u2011"), s.person.replace(" ", "\u00a0")  # neither is broken between two lines
    return (date, person, s.proposal, s.position, s.says, quote, where)


def both_camps(*proposals: str) -> Table:
    """For and against each way out, as data/thread.csv has them: a row a proposal, each voice with its month.

    Errors: KlpteachError for a name that is no proposal.
    """
    if strange := next((name for name in proposals if name not in PROPOSALS), None):
        raise KlpteachError(f"unknown proposal {strange!r}; there are {', '.join(PROPOSALS)}.")
    rows = [(PROPOSALS[name].label, _voices(name, "for"), _voices(name, "against")) for name in proposals]
    return Table(("way out", "for", "against"), rows)


def _voices(proposal: str, position: str) -> str:
    said = [f"{mail.person} ({mail.date[:7]}): {mail.says}" for mail in positions(proposal, position)]
    return "; ".join(said) or "no mail was found"


def after_refusal(*releases: str) -> Table:
    """What the livepatch holds of its target after the refused reload, by release.

    >>> [row[1] for row in after_refusal("5.3", "6.1").rows]
    ['nfsd_demo', 'NULL']
    """
    held = zip(releases, map(object_after_refusal, releases), strict=True)
    rows = [(release, name or "NULL", "yes" if there else "no") for release, (name, there) in held]
    return Table(("kernel", "obj->mod names", "is nfsd_demo loaded?"), rows)
