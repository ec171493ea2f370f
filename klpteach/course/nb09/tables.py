"""The tables of notebook 09: forty moves on real kernels, a mix in every story, a fleet's year."""

from __future__ import annotations

from collections.abc import Sequence

from ...discussion.consequences import OWN_BUILD, SHIPPED, WHO
from ...fleet import Tally
from ...model.policy import PROPOSALS
from ...reading.outcome import ENDINGS
from ...scenarios.recorded import evidence
from ...scenarios.scenario import TARGET
from ...views.frames import COLUMNS, FLEXIBILITY
from ...views.table import Folded, Table, bar_table
from ..choices import ASKS, every_story
from .designs import kernels

FORTY = ("6.1-stock", "6.1-clear", "6.1-tolerate", "6.1-reuse", "6.12-stock", "6.12-reuse")
YEAR = ("days down", "not asked for", "unpatched")


def forty_moves(kernels: Sequence[str] = FORTY) -> Table:
    """Forty reloads at other addresses on real ppc64le kernels: how many worked, and the table of stubs at the end."""
    rows = []
    for name in kernels:
        story = evidence(f"moved-40--{name}--{'LOADS' if 'reuse' in name else 'STUBS'}", "ppc64le")
        loads = [step for step in story if step.command.lstrip("~") == TARGET][1:]
        worked = f"{sum(step.errno == 0 for step in loads)} of {len(loads)}"
        kernel = name.replace("-stock", " unmodified").replace("-", " with ", 1)
        last = [table for step in story for table in (step.stubs or {}).values()][-1]
        rows.append([kernel, worked, f"{last['used']} of {last['num_stubs']}", str(last["past_end_used"])])
    return Table(("ppc64le kernel", "reloads that worked", "slots in use", "stubs behind the end"), rows)


def in_every_story(*proposals: str) -> Table:
    """A choice of proposals in every story on each kernel: a letter, * for what nobody wishes, and ● or ◐ where a kernel did it.

    A proposal that an architecture does not know is left out there. Errors: PolicyError for an impossible choice.

    >>> in_every_story("clear-checked").rows[0]
    ['reload at the same address', 'W ◐', 'W ◐', 'R* ◐', 'W ◐']
    """
    cells = {(kernel, row.question): row for kernel in kernels() for row in every_story(proposals, *kernel)}
    real = [row.mark for row in cells.values() if row.recording]
    letters = {at: row.letter + (f" {row.mark}" if row.recording else "") for at, row in cells.items()}
    asked = [key for key in ASKS if any((kernel, key) in cells for kernel in kernels())]
    rows = [[ASKS[key].asks, *(letters.get((kernel, key), "") for kernel in kernels())] for key in asked]
    starred = [number for number, row in enumerate(rows) if any("*" in cell for cell in row)]
    found = {row.kind for row in cells.values()}
    meanings = "; ".join(f"{end.letter} {end.meaning}" for kind, end in ENDINGS.items() if kind in found)
    chosen = [PROPOSALS[name] for name in proposals]
    title = " + ".join(p.label + (f" ({p.arch} only)" if p.arch else "") for p in chosen) or "as released"
    marks = "; ".join(f"{mark}: {WHO[mark]} ({real.count(mark)})" for mark in (SHIPPED, OWN_BUILD) if mark in real)
    caption = f"{title}. {meanings}. *: not as wished. Of {len(cells)}: {marks}."
    return Table(["", *(f"{arch} {release}" for arch, release in kernels())], rows, caption, starred)


def all_stories(*proposals: str) -> Folded:
    """in_every_story(), folded."""
    table = in_every_story(*proposals)
    return Folded(f"All {len(table.rows)} stories, kernel by kernel", table)


def left_over(*proposals: str) -> list[str]:
    """The stories that do not come out as wished under a choice of proposals: a line each, and on which kernels.

    >>> left_over("clear-checked", "reuse-stub")[0]
    'patching fails half way, then all is well: refused on x86_64 6.1, 6.12'
    """
    lines: dict[tuple[str, str], dict[str, list[str]]] = {}
    for arch, release in kernels():
        for row in every_story(proposals, arch, release):
            if not row.as_wished:
                where = lines.setdefault((ASKS[row.question].asks, ENDINGS[row.kind].words), {})
                where.setdefault(arch, []).append(release)
    said = {at: ", ".join(f"{arch} {', '.join(found)}" for arch, found in where.items()) for at, where in lines.items()}
    return [f"{asks}: {words} on {where}" for (asks, words), where in said.items()]


def year(tallies: Sequence[Tally], columns: Sequence[str] = YEAR, per: int = 100) -> Table:
    """What a year did to so many machines, a row a choice. Striped bars: something forbidden, forced or left open."""
    heads = [(name, "striped" if name in FLEXIBILITY else "solid") for name in columns]
    rows = [(_label(tally), [per * tally.per_machine(COLUMNS[name][0]) for name in columns]) for tally in tallies]
    days = tallies[0].days if tallies else 0
    said = "; ".join(f"{name}: {COLUMNS[name][1]}" for name in columns)
    return bar_table(
        heads,
        rows,
        f"For each {per} machines, in {days} days. Solid bars: what breaks; striped: what is forbidden, forced or left open. "
        f"Each column has its own scale. {said}.",
    )


def _label(tally: Tally) -> str:
    """A mix by the labels that the other tables and the explorers have."""
    return " + ".join(PROPOSALS[name].label for name in tally.proposals) or tally.name
