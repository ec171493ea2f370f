"""The tables of notebook 08: what keeps a livepatch out, how a story ends, the code that could go, an exercise's data."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ...discussion.costs import Cost, read_costs
from ...model.policy import PROPOSALS
from ...model.recording import Recording
from ...reading.outcome import ENDINGS, outcome_of
from ...scenarios.simulate import simulate, stories
from ...views.figures.code import code
from ...views.table import Folded, Table
from ..nb07.tables import positions_on
from .many_modules import NEEDS, needed_by
from .questions import shop

HINDRANCES = ("no-hardware", "not-installed", "blacklisted")
CHOICES = ((), ("hard-dependencies",), ("half-loaded",), ("split-per-object",))


def hindrances(names: Sequence[str] = HINDRANCES, choices: Sequence[Sequence[str]] = CHOICES) -> Table:
    """What each choice comes to where one of five targets cannot be had: a letter and words.

    >>> hindrances(["no-hardware"], [(), ("hard-dependencies",)]).rows
    [['a target whose hardware is absent', 'W works', 'R refused']]
    """
    heads = ["", *(PROPOSALS[chosen[0]].label if chosen else "6.1 as it is" for chosen in choices)]
    ends = {name: [_end(simulate(name, "6.1", chosen)) for chosen in choices] for name in names}
    return Table(heads, [[stories()[name].title, *cells] for name, cells in ends.items()])


def _end(story: Recording) -> str:
    ending = ENDINGS[outcome_of(story).kind]
    return f"{ending.letter} {ending.words}"


def in_the_end(story: Recording) -> str:
    """Which modules are loaded after the last command, and which livepatches are in force, as a sentence.

    >>> in_the_end(simulate("no-hardware", "6.1", ["hard-dependencies"]))
    'Loaded: lockd_demo, nfsd_demo. In force: nothing.'
    """
    last = story[-1]
    there = [row["name"] for row in last.modules or ()]
    enabled = [name for name, shown in (last.livepatch or {}).items() if str(shown.get("enabled")) == "1"]
    return f"Loaded: {', '.join(there) or 'nothing'}. In force: {', '.join(enabled) or 'nothing'}."


def what_was_said(proposal: str) -> Folded:
    """The statements about a proposal, folded."""
    table = positions_on(proposal)
    return Folded(f"What was said, in {len(table.rows)} statements", table)


def which_lines() -> Folded:
    """The functions that could go, as a picture, folded: names that a livepatch developer knows."""
    return Folded("Which lines: function by function, for kernel developers", code())


def could_go() -> Table:
    """What late patching costs on 6.1.192: what could go without it, and for comparison what two series added."""
    costs = read_costs()
    tiers = {tier: [cost for cost in costs if cost.tier == tier] for tier in "AB"}
    sums = [(sum(c.removed or 0 for c in rows), sum(c.code_removed or 0 for c in rows)) for rows in tiers.values()]
    rows = [
        ["A: every target is loaded first and stays", *map(str, sums[0]), _first_items(tiers["A"])],
        ["B: then every relocation is written at load", *map(str, sums[1]), _first_items(tiers["B"])],
        ["A and B", *(str(a + b) for a, b in zip(*sums, strict=True)), ""],
    ]
    for proposal in ("clear-checked", "split-per-object"):
        cost = next(cost for cost in costs if proposal in cost.proposals)
        rows.append([f"for comparison: {cost.item}", f"+{cost.added} −{cost.removed}", "", cost.note])
    return Table(("", "lines", "of them code", "for instance"), rows)


def _first_items(costs: Sequence[Cost]) -> str:
    largest = sorted(costs, key=lambda cost: -(cost.removed or 0))
    return ", ".join(f"`{cost.item}`" for cost in largest[:3]) + ", …"


def modules_dep() -> pd.DataFrame:
    """modules.dep as a table: one row a module and a module that it needs, directly or not.

    >>> modules_dep().query("module == 'lockd'").needs.tolist()
    ['grace', 'sunrpc']
    """
    rows = [(name, other) for name in sorted(NEEDS) for other in sorted(needed_by([name]) - {name})]
    return pd.DataFrame(rows, columns=["module", "needs"])


def customers(seed: int = 1) -> pd.DataFrame:
    """The customers of a seed: one row a customer and a module in use there."""
    rows = [(name, module) for name, uses in shop(seed).uses.items() for module in uses]
    return pd.DataFrame(rows, columns=["customer", "uses"])


def patched(seed: int = 1) -> pd.Series[str]:
    """The targets of the livepatch of a seed."""
    return pd.Series(shop(seed).targets, name="target")
