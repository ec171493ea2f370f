#!/usr/bin/env python3
"""Run a notebook's code cells twice, in another order for each seed: shuffled.py NOTEBOOK SEED…

Exit 1 with the cell that fails, or whose output is not the one that is committed. A cell declares what it needs by the names
it uses: it comes after a cell that gives them. Else any order must do. What a cell shows may depend on what the reader has
answered before (a hint, a tick, the list of answers): such a cell, one that calls REMEMBERS, must only not fail.
"""

from __future__ import annotations

import ast
import os
import random
import re
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

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


# What answers back by what was answered before.
REMEMBERS = re.compile(r"\b(predict|exercise|check\w*|worked|progress|self_check)\(")


def shows(outputs: Iterable[Any]) -> list[str]:
    """The lines that a reader sees, whatever is shown first: printed text, and of other things the text that stands for them."""
    texts = (output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs)
    return sorted(line for text in texts for line in text.replace("Out[0]: ", "").splitlines() if line.strip())


def run(shell: Any, source: str) -> tuple[bool, list[str]]:
    """Whether a cell ran, and what it showed."""
    from IPython.utils.capture import capture_output

    with capture_output() as caught:
        result = shell.run_cell(source, store_history=False, silent=False)
    return result.success, shows([{"text": caught.stdout}, *({"data": output.data} for output in caught.outputs)])


def main(path: Path, seeds: list[int]) -> int:
    import pandas as pd
    from IPython.core.interactiveshell import InteractiveShell

    pd.set_option("display.max_columns", 20)  # as under Jupyter
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    sources, committed = [cell.source for cell in cells], [shows(cell.outputs) for cell in cells]
    os.chdir(path.parent)
    shell = InteractiveShell.instance()
    for seed in seeds:
        shell.reset()
        with tempfile.TemporaryDirectory() as fresh:
            os.environ["KLPTEACH_PROGRESS"] = f"{fresh}/progress.json"
            numbers = order(sources, seed)
            for number in numbers:
                success, shown = run(shell, sources[number])
                if success and (shown == committed[number] or REMEMBERS.search(sources[number])):
                    continue
                where = f"{path.name}, seed {seed}, order {numbers}: code cell {number}"
                print(
                    f"{where}\n{sources[number]}",
                    "-- shows",
                    *shown,
                    "-- committed",
                    *committed[number],
                    sep="\n",
                    file=sys.stderr,
                )
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve(), [int(seed) for seed in sys.argv[2:]]))
