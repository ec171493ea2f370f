"""The table of consequences for a terminal: `klpteach consequences`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..reading.outcome import KINDS, MEANINGS
from .consequences import QUESTIONS, Consequence

BAD = "*"  # behind a letter: not what one would wish for
WIDTH = 2 + max(len(question.asks) for question in QUESTIONS)


def by_kernel(rows: Iterable[Consequence]) -> list[list[Consequence]]:
    """The cells of each kernel, in the order of the table."""
    kernels: dict[tuple[str, str], list[Consequence]] = {}
    for row in rows:
        kernels.setdefault((row.arch, row.release), []).append(row)
    return list(kernels.values())


def grid(rows: Sequence[Consequence]) -> str:
    """One kernel as text: a line a question, a column a choice of proposals; * marks what nobody would wish for.

    >>> from klpteach.discussion.consequences import read_consequences
    >>> print(grid([row for row in read_consequences() if row.question == "reload"][:3]))
    x86_64 6.1
    1 as released
    2 remove-check
    3 deny-removal
                                               1  2  3
    reload at the same address                 R* W  P*
    """
    columns = list(dict.fromkeys(row.proposals for row in rows))
    cells = {(row.question, row.proposals): row for row in rows}
    lines = [f"{rows[0].arch} {rows[0].release}"]
    lines += [f"{number} {name or 'as released'}" for number, name in enumerate(columns, 1)]
    lines.append(" " * WIDTH + " ".join(f"{number:<2}" for number in range(1, len(columns) + 1)).rstrip())
    for question in QUESTIONS:
        mine = [cells[question.key, name] for name in columns if (question.key, name) in cells]
        if mine:
            lines.append(f"{question.asks:<{WIDTH}}" + " ".join(f"{letter(row):<2}" for row in mine).rstrip())
    return "\n".join(lines)


def letter(row: Consequence) -> str:
    """The cell's letter, with * where it is not what one would wish for."""
    return KINDS[row.kind] + BAD * (not row.as_wished)


def legend() -> str:
    """What the letters mean.

    >>> legend().splitlines()[0]
    'X  the kernel oopsed'
    """
    lines = [f"{KINDS[kind]}  {MEANINGS[kind]}" for kind in KINDS]
    return "\n".join([*lines, "*  not what one would wish for"])
