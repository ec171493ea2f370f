"""The tables of notebook 07: who was for and against a way out, and what obj->mod holds after a refusal."""

from __future__ import annotations

from ...discussion.thread import Statement, positions
from ...errors import KlpteachError
from ...model.policy import PROPOSALS
from ...views.table import Table
from .ways import object_after_refusal

_FOR, _AGAINST = "for", "against"


def both_camps(*proposals: str) -> Table:
    """For and against each way out, as data/thread.csv has them: a row a proposal, each voice with its month.

    Errors: KlpteachError for a name that is no proposal.

    >>> both_camps("deny-removal").rows[0][0]
    'deny removal'
    """
    strange = next((name for name in proposals if name not in PROPOSALS), None)
    if strange:
        raise KlpteachError(f"unknown proposal {strange!r}; there are {', '.join(PROPOSALS)}.")
    rows = [(PROPOSALS[name].label, _voices(name, _FOR), _voices(name, _AGAINST)) for name in proposals]
    return Table(("way out", "for", "against"), rows)


def _voices(proposal: str, position: str) -> str:
    said = [_voice(statement) for statement in positions(proposal, position)]
    return "; ".join(said) or "no mail was found"


def _voice(statement: Statement) -> str:
    return f"{statement.person} ({statement.date[:7]}): {statement.says}"


def after_refusal(*releases: str) -> Table:
    """What the livepatch holds of its target after the refused reload, by release.

    >>> [row[1] for row in after_refusal("5.3", "6.1").rows]
    ['nfsd_demo', 'NULL']
    """
    rows = []
    for release in releases:
        name, there = object_after_refusal(release)
        rows.append((release, name or "NULL", "yes" if there else "no"))
    return Table(("kernel", "obj->mod names", "is nfsd_demo loaded?"), rows)
