"""The link that gives each student of a JupyterHub a copy of the course and opens it (nbgitpuller's address)."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from urllib.parse import SplitResult, quote, urlencode, urlsplit

from ...errors import KlpteachError
from ..notebooks import STATIONS

_OF_A_USER = re.compile(r"/(hub|user|user-redirect)(/|$)")  # JupyterHub's own pages, behind its address
_BRANCH = re.compile(
    r"(?!.*(\.\.|//|@\{))[\w.][\w./@+-]*"
)  # of git's rules (git-check-ref-format) the ones that matter here


def class_link(hub: str, repo: str, branch: str, notebook: str = "00") -> str:
    """The address that a teacher gives to a class. The hub needs nbgitpuller, the repository has to be open to all.

    notebook: a number ("05"), a file name, or "talk". Source: nbgitpuller's handlers.py, whose copy of the repository is
    named like the last part of its address. Errors: KlpteachError, in one line.

    >>> class_link("https://hub.example.org/", "https://git.example.org/us/klpteach", "main", "05")
    'https://hub.example.org/hub/user-redirect/git-pull?repo=https%3A%2F%2Fgit.example.org%2Fus%2Fklpteach&branch=main&urlpath=lab%2Ftree%2Fklpteach%2Fnotebooks%2F05-the-bug.ipynb'
    """
    at, source = _address("--hub", hub), _address("--repo", repo)
    if found := _OF_A_USER.search(at.path):
        hub = f"{at.scheme}://{at.netloc}{at.path[: found.start()]}"
        raise KlpteachError(f"--hub is a page inside the hub. Try: --hub {hub}")
    copy = PurePosixPath(source.path).name
    if not copy:
        raise KlpteachError(
            f"--repo {repo} names no repository. Try: --repo {source.scheme}://{source.netloc}/OWNER/klpteach"
        )
    if not _BRANCH.fullmatch(branch):
        raise KlpteachError(f"--branch {branch!r} cannot be a branch or a tag of git.")
    opened = f"lab/tree/{copy}/notebooks/{_file(notebook)}"
    asked = urlencode({"repo": source.geturl(), "branch": branch, "urlpath": opened}, quote_via=quote, safe="")
    return f"{at.geturl()}/hub/user-redirect/git-pull?{asked}"


def _address(option: str, text: str) -> SplitResult:
    """An address of the web without what does not belong into a link for a class."""
    try:
        found = urlsplit(text)
        plain = found.scheme in ("http", "https") and bool(found.hostname) and (found.port or 1) > 0
    except ValueError:
        plain = False
    if not plain or re.search(r"[^!-~]", text):
        example = {"--hub": "https://hub.example.org", "--repo": "https://git.example.org/OWNER/klpteach"}[option]
        raise KlpteachError(f"{option} {text!r} is no address of the web. Try one like {example}")
    if "@" in found.netloc:
        raise KlpteachError(f"{option} holds a name or a password before the @: every student would read it.")
    if found.query or found.fragment:
        raise KlpteachError(f"{option} {text} goes on behind a ? or a #. Give the address before it.")
    return found._replace(path=found.path.rstrip("/"))


def _file(notebook: str) -> str:
    """The file of a notebook, by its number or its name."""
    files = {**{station.number: station.file for station in STATIONS}, "talk": "talk.ipynb"}
    if notebook in files.values():
        return notebook
    if notebook not in files:
        raise KlpteachError(f"no notebook {notebook!r}; there are {', '.join(files)}.")
    return files[notebook]
