#!/usr/bin/env python3
"""Run notebooks and write them as they are committed: outputs of a fresh run, no widget state, nothing of this machine.

run_notebooks.py notebooks/*.ipynb            run and write
run_notebooks.py --check notebooks/*.ipynb    run and compare; exit 1 where the outputs differ
"""

from __future__ import annotations

import copy
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


def executed(path: Path) -> Any:
    """The notebook as a fresh kernel runs it, normalised."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=120,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,  # a slow machine flushes one print in two pieces
        resources={"metadata": {"path": str(path.parent)}},
    )
    with tempfile.TemporaryDirectory() as fresh:  # what somebody has answered must not be seen in what is committed
        client.execute(env={**os.environ, "KLPTEACH_PROGRESS": f"{fresh}/progress.json"})
    return normalised(notebook)


def normalised(notebook: Any) -> Any:
    """Without what differs from run to run, or makes GitHub refuse a notebook: widget state and views, versions, timings."""
    notebook = copy.deepcopy(notebook)
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
            "language_info": {
                "file_extension": ".py",
                "mimetype": "text/x-python",
                "name": "python",
                "pygments_lexer": "ipython3",
            },
        }
    )
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:02}"
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(WIDGET_VIEW, None)
            output.get("metadata", {}).pop(WIDGET_VIEW, None)
    return notebook


def main(argv: list[str]) -> int:
    check, paths = "--check" in argv, [Path(name) for name in argv if not name.startswith("--")]
    different = []
    for path in paths:
        fresh = executed(path)
        if check and nbformat.read(path, as_version=4) != fresh:
            different.append(path.name)
        if not check:
            nbformat.write(fresh, path)
        print(f"{path.name}: {'differs' if path.name in different else 'fine'}", flush=True)
    return int(bool(different))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
