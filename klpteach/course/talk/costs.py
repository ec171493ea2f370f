"""What each way out comes to in each story, as a small table for a slide; read off by outcome_of(), not by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pandas as pd

from ...reading.outcome import ENDINGS, outcome_of
from ...scenarios.simulate import simulate


def costs(stories: Mapping[str, str], kernels: Mapping[str, tuple[str, Iterable[str]]]) -> pd.DataFrame:
    """One row a kernel (label -> release, proposals), one column a story (heading -> name); letter and words in a cell.

    >>> costs({"reload": "reload"}, {"6.1": ("6.1", ()), "RFC": ("6.1", ["clear-relocations"])})["reload"].tolist()
    ['R refused', 'W works']
    """
    rows = {}
    for label, (release, proposals) in kernels.items():
        ends = [ENDINGS[outcome_of(simulate(story, release, list(proposals))).kind] for story in stories.values()]
        rows[label] = [f"{ending.letter} {ending.words}" for ending in ends]
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(stories))
