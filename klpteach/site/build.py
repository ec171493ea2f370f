"""Write the site: pages, script, and a pack of frames for every story on every kernel."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from ..errors import KlpteachError
from ..files.on_disk import DRAFT, copy_file, draft_in
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
    """Write the whole site into a folder that is new, empty or an earlier site, which stays until all is written.

    Returns its size in bytes. stories: tell only these (default: all, some minutes on two cores). watch: called with packs done and packs in all.
    Errors: KlpteachError, OSError.
    """
    if missing := [name for name in ("nbconvert", "pygments") if find_spec(name) is None]:
        raise KlpteachError(f"the site needs {' and '.join(missing)}. Try: pip install 'klpteach[lab]'")
    if folder.exists() and not (folder / _MARK).exists() and not all(map(_is_draft, folder.iterdir())):
        raise KlpteachError(f"{folder} holds something else. Try a new folder.")
    wanted = names(stories)
    if not wanted:
        raise KlpteachError(f"no story {' or '.join(stories)}; klpteach simulate lists them.")
    with draft_in(folder) as draft:  # before the work: an error says at once that nothing can be written here
        new, old = draft / "new", draft / "old"
        old.mkdir()
        _write_pages(new, wanted)
        _write_packs(new, wanted, watch)
        for part in sorted(new.iterdir()):
            if (folder / part.name).exists():
                (folder / part.name).rename(old / part.name)  # of an earlier site
            part.rename(folder / part.name)
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _is_draft(path: Path) -> bool:
    """Whether a run left it that was killed."""
    return path.name.startswith(DRAFT)


def _write_pages(folder: Path, wanted: Collection[Name]) -> None:
    made: dict[str, Callable[[], str]] = {
        "site.css": stylesheet, "site.js": lambda: asset("site.js"), "kernels.js": lambda: _kernels_script(wanted), "index.html": pages.home_page,
        "explorer.html": pages.explorer_page, "consequences.html": pages.consequences_page,
        "publish.html": pages.publish_page, "notebooks/glossary.html": pages.glossary_page,
        "notebooks/findings.html": pages.findings_page, "notebooks/teaching.html": pages.teaching_page,
        "notebooks/talk.html": pages.talk_page,
        **{f"notebooks/{path.stem}.html": partial(pages.lesson_page, path) for path in pages.lessons()},
    }  # fmt: skip
    for name, page in made.items():  # each is written as it is made: a full disk is soon met
        text = page()
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
        for linked in _EVIDENCE.findall(text):
            copy_file(data_dir() / linked, folder / "data" / linked)
        for picture in _PICTURE.findall(text):
            copy_file(notebooks_dir() / picture, (folder / name).parent / picture)


def _kernels_script(wanted: Collection[Name]) -> str:
    return f"klp.kernels({json.dumps(kernels(wanted), ensure_ascii=False)})\n"


def _write_packs(folder: Path, wanted: Collection[Name], watch: Callable[[int, int], None]) -> None:
    longest_first = sorted(wanted, key=lambda name: ("moves" not in name[1] and "moved" not in name[1], name))
    for done, (name, text) in enumerate(zip(longest_first, _told(longest_first), strict=True), 1):
        path = folder / "packs" / name[0] / name[1] / f"{name[2]}.js"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="ascii")
        watch(done, len(longest_first))


def _told(wanted: Collection[Name]) -> Iterator[str]:
    """The packs in this order, on all cores where processes may share memory: in a container /dev/shm may be missing.

    Ctrl-C, which a terminal sends to them too, ends them without a word.
    """
    try:
        pool = ProcessPoolExecutor(initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_DFL))
    except OSError:
        yield from map(pack_script, wanted)
        return
    with pool:
        yield from pool.map(pack_script, wanted)
