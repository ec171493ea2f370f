"""The tables of notebook 07: who was for and against a way out, what obj->mod holds, and what a way out adds to the kernel."""

from __future__ import annotations

from ..costs import read_costs
from ..lessons.ways import object_after_refusal
from ..policy import PROPOSALS
from ..thread import Statement, positions
from .wordtable import WordTable

_FOR, _AGAINST = "for", "against"


def both_camps(*proposals: str) -> WordTable:
    """For and against each way out, as data/thread.csv has them: a row a proposal, each voice with its month.

    >>> both_camps("deny-removal").rows[0][0]
    'deny removal'
    """
    rows = [(PROPOSALS[name].label, _voices(name, _FOR), _voices(name, _AGAINST)) for name in proposals]
    return WordTable(("way out", "for", "against"), rows)


def _voices(proposal: str, position: str) -> str:
    said = [_voice(statement) for statement in positions(proposal, position)]
    return "; ".join(said) or "no mail was found"


def _voice(statement: Statement) -> str:
    return f"{statement.person} ({statement.date[:7]}): {statement.says}"


def after_refusal(*releases: str) -> WordTable:
    """What the livepatch holds of its target after the refused reload, by release.

    >>> [row[1] for row in after_refusal("5.3", "6.1").rows]
    ['nfsd_demo', 'NULL']
    """
    rows = []
    for release in releases:
        name, there = object_after_refusal(release)
        rows.append((release, name or "NULL", "yes" if there else "no"))
    return WordTable(("kernel", "obj->mod names", "is nfsd_demo loaded?"), rows)


def size_of_ways() -> WordTable:
    """How many lines each way out adds and takes away, where somebody wrote it (data/costs.csv).

    >>> [row[1:3] for row in size_of_ways().rows if row[0] == "clear, checked (6.3)"]
    [('+126', '−50')]
    """
    rows = [
        (PROPOSALS[cost.proposals[0]].label, f"+{cost.added}", f"−{cost.removed}" if cost.removed else "", cost.item)
        for cost in read_costs()
        if not cost.tier and cost.added and cost.proposals[0] in ("clear-relocations", "clear-checked", "tolerate-r2")
    ]
    return WordTable(("way out", "lines added", "taken away", "what was counted"), rows)
