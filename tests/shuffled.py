#!/usr/bin/env python3
"""Run a notebook's code cells twice, in another order each time: shuffled.py NOTEBOOK SEED; exit 1 with the cell that fails.

A cell declares what it needs by the names it uses: it comes after a cell that gives them. Else any order must do.
"""

from __future__ import annotations

import ast
import os
import random
import sys
from pathlib import Path

import nbformat


def gives(source: str) -> set[str]:
    """Names that a cell binds at its top level."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.alias):
            names.add((node.asname or node.name).partition(".")[0])
        elif isinstance(node, ast.FunctionDef):
            names.add(node.name)
    return names


def uses(source: str) -> set[str]:
    return {n.id for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}


def order(sources: list[str], seed: int) -> list[int]:
    """Every cell twice, as mixed as their needs allow: a cell waits until each name it uses was given once."""
    known_later = {name for source in sources for name in gives(source)}
    waiting = [number for number in range(len(sources)) for _ in range(2)]
    random.Random(seed).shuffle(waiting)
    have: set[str] = set()
    found: list[int] = []
    while waiting:
        ready = next(n for n in waiting if (uses(sources[n]) & known_later) - gives(sources[n]) <= have)
        waiting.remove(ready)
        found.append(ready)
        have |= gives(sources[ready])
    return found


def main(path: Path, seed: int) -> int:
    from IPython.core.interactiveshell import InteractiveShell

    sources = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    os.chdir(path.parent)
    shell = InteractiveShell.instance()
    numbers = order(sources, seed)
    for number in numbers:
        result = shell.run_cell(sources[number], store_history=False, silent=False)
        if not result.success:
            print(f"{path.name}, order {numbers}: code cell {number}\n{sources[number]}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve(), int(sys.argv[2])))
