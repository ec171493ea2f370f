"""The tables of notebook 08: what keeps a livepatch out, a race step by step, the code that could go, an exercise's data."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ...discussion.costs import Cost, read_costs
from ...model.policy import PROPOSALS
from ...model.recording import Recording
from ...reading.outcome import ENDINGS, outcome_of
from ...scenarios.simulate import simulate, stories
from ...views.table import Table
from .many_modules import NEEDS, needed_by
from .questions import shop

HINDRANCES = ("no-hardware", "not-installed", "blacklisted")
CHOICES = ((), ("hard-dependencies",), ("half-loaded",), ("split-per-object",))


def hindrances(names: Sequence[str] = HINDRANCES, choices: Sequence[Sequence[str]] = CHOICES) -> Table:
    """What each choice comes to where one of five targets cannot be had: a letter, words, how many modules are left loaded.

    >>> hindrances(["no-hardware"], [(), ("hard-dependencies",)]).rows
    [['a target whose hardware is absent', 'W works, 2 loaded', 'R refused, 2 loaded']]
    """
    heads = ["", *(PROPOSALS[chosen[0]].label if chosen else "6.1 as it is" for chosen in choices)]
    ends = {name: [_end(simulate(name, "6.1", chosen)) for chosen in choices] for name in names}
    return Table(heads, [[stories()[name].title, *cells] for name, cells in ends.items()])


def _end(story: Recording) -> str:
    ending = ENDINGS[outcome_of(story).kind]
    return f"{ending.letter} {ending.words}, {len(story[-1].modules or ())} loaded"


def in_force(story: Recording) -> Table:
    """After each command: its errno, the loaded modules, and the livepatches that are in force.

    >>> in_force(simulate("race", "6.1", ["split-per-object"])).rows[-1][2:]
    ['livepatch_cumul1__nfsd_demo nfsd_demo', 'livepatch_cumul1__nfsd_demo']
    """
    coming, rows = {"Loading": " (Coming)"}, []
    for step in story:
        names = [row["name"] + coming.get(row["state"], "") for row in step.modules or ()]
        enabled = [name for name, shown in (step.livepatch or {}).items() if str(shown.get("enabled")) == "1"]
        found = (" ".join(each) or "nothing" for each in (names, enabled))
        rows.append([f"`{step.command}`", str(step.errno), *found])
    return Table(("command", "errno", "loaded", "in force"), rows)


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
