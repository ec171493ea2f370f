"""The recordings of real kernels, by name: what a notebook shows where the model is not evidence enough."""

from __future__ import annotations

from functools import lru_cache

from ..files.samples import data_dir
from ..model.recording import Recording


@lru_cache(maxsize=16)
def evidence(name: str, arch: str = "x86_64") -> Recording:
    """A recording of a real kernel by its file's name, without .json. Errors: RecordingError where there is none.

    >>> evidence("reload--6.1--REFUSED").source
    'real kernel'
    """
    return Recording.load(data_dir() / "recordings" / arch / f"{name}.json")
