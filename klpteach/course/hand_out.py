"""The notebooks for a reader who has the package and no checkout: a copy to run and to change."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from ..errors import KlpteachError
from ..files.samples import data_dir, notebooks_dir

_EVIDENCE = re.compile(r"\]\(\.\./data/([\w./-]+)\)")  # a notebook's links to recordings and tables


def hand_out(folder: Path) -> list[Path]:
    """Copy the notebooks to FOLDER/notebooks, and what they link to in data/ beside them. Returns the copied notebooks.

    Nothing is written over: a notebook that is there already may hold a reader's work. Errors: KlpteachError, OSError.
    """
    source, target = notebooks_dir(), folder / "notebooks"
    if target.exists():
        raise KlpteachError(f"{target} is there already, and may hold your own work. Try another folder.")
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(".*", "__pycache__"))
    made = sorted(target.glob("*.ipynb"))
    for name in sorted({name for path in made for name in _EVIDENCE.findall(path.read_text(encoding="utf-8"))}):
        copy = folder / "data" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(data_dir() / name, copy)
    return made
