"""Which answers are approved: the name of a file beside this one, and what gives its lines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import constants
import damaged
import edge_values
import told_stories

HERE = Path(__file__).parent
TABLES: dict[str, Callable[[], Iterator[str]]] = {
    **{f"damaged-{'-'.join(one).replace(' ', '-')}": partial(damaged.lines, *one) for one in damaged.SAMPLES},
    **{f"stories-{'-'.join(one)}": partial(told_stories.lines, *one) for one in told_stories.KERNELS},
    "edges-relocation_types": edge_values.relocation_types,
    "edges-recordings": edge_values.recordings,
    "edges-comparisons": edge_values.comparisons,
    "constants": constants.lines,
    "edges-modules": edge_values.modules,
    "edges-library": edge_values.library,
}


def place(name: str) -> Path:
    return HERE / f"{name}.txt"


def text(name: str) -> str:
    """The answers as they are now. No library's own error may be among them: it is raised here."""
    return "".join(f"{line}\n" for line in TABLES[name]())
