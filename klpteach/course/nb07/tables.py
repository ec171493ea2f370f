"""The tables of notebook 07: who said what about a way out, and who was for and against."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ...discussion.thread import Statement, positions, read_thread
from ...errors import KlpteachError
from ...model.policy import PROPOSALS
from ...views.mail import mail_cell, mail_link
from ...views.shown import Shown, escape
from ...views.table import Cell, Table

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


# The mail with the best argument for a way out, and against it, by its day; the others are folded.
BEST = {
    "remove-check": ("2019-06-20", "2019-06-25"), "deny-removal": ("2018-06-02", "2019-07-19"),
    "clear-relocations": ("2022-07-20", "2018-06-02"),
}  # fmt: skip


class Camps(Shown):
    """For and against each way out: the best argument of each side as a table, the other voices in a fold."""

    def __init__(self, *proposals: str) -> None:
        best, more = [], []
        for name in proposals:
            first, others = zip(*(_voices(name, side, at) for at, side in enumerate(("for", "against"))), strict=True)
            best.append((PROPOSALS[name].label, *first))
            more.append((PROPOSALS[name].label, *others))
        heads = ("way out", "for", "against")
        self.best, self.more = Table(heads, best, labels=True), Table(heads, more, labels=True)

    def to_html(self) -> str:
        return f"{self.best.to_html()}<details><summary>All who spoke</summary>{self.more.to_html()}</details>"

    def to_text(self) -> str:
        return self.best.to_text()


def both_camps(*proposals: str) -> Camps:
    """For and against each way out, as data/thread.csv has them: a row a proposal, each voice with its mail.

    Errors: KlpteachError for a name that is no proposal.
    """
    if strange := next((name for name in proposals if name not in PROPOSALS), None):
        raise KlpteachError(f"unknown proposal {strange!r}; there are {', '.join(PROPOSALS)}.")
    return Camps(*proposals)


def _voices(proposal: str, position: str, side: int) -> tuple[Cell, Cell]:
    """The best argument of one side, then all of that side."""
    said = list(positions(proposal, position))
    if not said:
        return (Cell("no mail was found", "no mail was found"),) * 2
    day = BEST.get(proposal, ("", ""))[side]
    best = next((mail for mail in said if mail.date == day), said[0])
    return _cell([best]), _cell(said)


def _cell(said: Sequence[Statement]) -> Cell:
    html = "<br>".join(f"{_link(mail)}: {escape(_words(mail))}" for mail in said)
    return Cell(html, "; ".join(f"{mail.person}, {mail.date}: {_words(mail)}" for mail in said))


def _words(mail: Statement) -> str:
    return mail.says + (f": “{mail.quote}”" if mail.quote else "")


def _link(mail: Statement) -> str:
    text = f"{mail.person}, {mail.date}"
    return mail_link(mail.message_id, text) if mail.message_id else escape(text)
