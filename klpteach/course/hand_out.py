"""The notebooks for a reader who has the package and no checkout: a copy to run and to change."""

from __future__ import annotations

import filecmp
import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from ..errors import KlpteachError
from ..files.on_disk import copy_file, draft_in
from ..files.samples import data_dir, notebooks_dir

_EVIDENCE = re.compile(r"\]\(\.\./data/([\w./-]+)\)")  # a notebook's links to recordings and tables


def hand_out(folder: Path) -> list[Path]:
    """Copy the notebooks to FOLDER/notebooks, and what they link to in data/ beside them. Returns the copied notebooks.

    Nothing is written over: a notebook that is there already may hold a reader's work, and so may what is in data/. All is
    copied aside first, so that a full disk leaves the folder as it was. Errors: KlpteachError, OSError.
    """
    evidence = sorted(_evidence())
    _check_nothing_is_lost(folder, evidence)
    with draft_in(folder) as draft:
        for lesson in _lessons():
            copy_file(notebooks_dir() / lesson, draft / "notebooks" / lesson)
        for name in evidence:
            copy_file(data_dir() / name, draft / "data" / name)
        for name in evidence:
            copy = folder / "data" / name
            if not copy.exists():
                copy.parent.mkdir(parents=True, exist_ok=True)
                (draft / "data" / name).rename(copy)
        (draft / "notebooks").rename(folder / "notebooks")  # last: with it the course counts as handed out
    return sorted((folder / "notebooks").glob("*.ipynb"))


def _lessons() -> Iterator[Path]:
    """What is in notebooks/, without what JupyterLab and Python leave there."""
    source = notebooks_dir()
    for path in source.rglob("*"):
        name = path.relative_to(source)
        if path.is_file() and not any(part.startswith(".") or part == "__pycache__" for part in name.parts):
            yield name


def _evidence() -> set[str]:
    """What the notebooks link to in data/."""
    texts = (path.read_text(encoding="utf-8") for path in notebooks_dir().glob("*.ipynb"))
    return {name for text in texts for name in _EVIDENCE.findall(text)}


def _check_nothing_is_lost(folder: Path, evidence: Collection[str]) -> None:
    """Errors: KlpteachError where something is there that is not the course's, byte for byte."""
    target, data = folder / "notebooks", folder / "data"
    if os.path.lexists(target):
        raise KlpteachError(f"{target} is there already, and may hold your own work. Try another folder.")
    there = [data] if data.is_symlink() or not data.is_dir() else data.rglob("*")
    for path in filter(os.path.lexists, there):
        name = path.relative_to(data).as_posix()
        if path.is_symlink() or not (_is_ours(path, name) if name in evidence else path.is_dir()):
            raise KlpteachError(f"{path} is there already, and is not the course's. Try another folder.")


def _is_ours(path: Path, name: str) -> bool:
    return path.is_file() and filecmp.cmp(path, data_dir() / name, shallow=False)
