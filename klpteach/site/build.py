"""Write the site: pages, script, and a pack of frames for every story on every kernel."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Collection
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from pathlib import Path

from ..errors import KlpteachError
from ..files.samples import data_dir, notebooks_dir
from . import pages
from .shell import asset, stylesheet
from .tellings import Name, kernels, names, pack_script

_EVIDENCE = re.compile(r'href="\.\./data/([\w./-]+)"')  # recordings that a notebook links to
_PICTURE = re.compile(r'src="([\w-]+\.svg)"')  # beside the notebooks
_MARK = "site.css"  # a folder with it was made here, and may be written over


def build(
    folder: Path, stories: Collection[str] = (), watch: Callable[[int, int], None] = lambda done, of: None
) -> int:
    """Write the whole site into a folder that is new, empty or an earlier site. Returns its size in bytes.

    stories: tell only these (default: all, some minutes on two cores). watch: called with packs done and packs in all.
    Errors: KlpteachError, OSError.
    """
    if missing := [name for name in ("nbconvert", "pygments") if find_spec(name) is None]:
        raise KlpteachError(f"the site needs {' and '.join(missing)}. Try: pip install 'klpteach[lab]'")
    if folder.exists() and any(folder.iterdir()) and not (folder / _MARK).exists():
        raise KlpteachError(f"{folder} holds something else. Try a new folder.")
    wanted = names(stories)
    if not wanted:
        raise KlpteachError(f"no story {' or '.join(stories)}; klpteach simulate lists them.")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _MARK).touch()  # before the work: an error says at once that nothing can be written here
    for part in ("data", "notebooks", "packs"):
        shutil.rmtree(folder / part, ignore_errors=True)  # of an earlier site
    _write_pages(folder, wanted)
    _write_packs(folder, wanted, watch)
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _write_pages(folder: Path, wanted: Collection[Name]) -> None:
    made = {
        "site.css": stylesheet(), "site.js": asset("site.js"), "kernels.js": _kernels_script(wanted), "index.html": pages.home_page(),
        "explorer.html": pages.explorer_page(), "consequences.html": pages.consequences_page(),
        "publish.html": pages.publish_page(), "notebooks/glossary.html": pages.glossary_page(),
        "notebooks/findings.html": pages.findings_page(), "notebooks/teaching.html": pages.teaching_page(),
        "notebooks/talk.html": pages.talk_page(),
        **{f"notebooks/{path.stem}.html": pages.lesson_page(path) for path in pages.lessons()},
    }  # fmt: skip
    for name, text in made.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
        for linked in _EVIDENCE.findall(text):
            (folder / "data" / linked).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(data_dir() / linked, folder / "data" / linked)
        for picture in _PICTURE.findall(text):
            shutil.copyfile(notebooks_dir() / picture, (folder / name).parent / picture)


def _kernels_script(wanted: Collection[Name]) -> str:
    return f"klp.kernels({json.dumps(kernels(wanted), ensure_ascii=False)})\n"


def _write_packs(folder: Path, wanted: Collection[Name], watch: Callable[[int, int], None]) -> None:
    longest_first = sorted(wanted, key=lambda name: ("moves" not in name[1] and "moved" not in name[1], name))
    with ProcessPoolExecutor(max_workers=os.cpu_count()) as pool:
        for done, (name, text) in enumerate(zip(longest_first, pool.map(pack_script, longest_first), strict=True), 1):
            path = folder / "packs" / name[0] / name[1] / f"{name[2]}.js"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="ascii")
            watch(done, len(longest_first))
