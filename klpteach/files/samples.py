"""Where the course's own module files and recordings are: data/ of the repository, or KLPTEACH_DATA."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

from ..errors import KlpteachError
from .corrupt import corrupt
from .module_file import ModuleFile

INIT_ERRNO = {"nfsd_demo_failinit.ko": -19}  # what a sample's own init() returns: no file tells, and code is not run


def data_dir() -> Path:
    """The folder with ko/ and recordings/: $KLPTEACH_DATA, else beside the package, else in a parent of the working directory.

    The last is for an installed package: a notebook runs in the repository's notebooks/. Errors: KlpteachError.
    """
    given = os.environ.get("KLPTEACH_DATA")
    beside, here = Path(__file__).resolve().parents[2] / "data", Path.cwd()
    places = [Path(given)] if given else [beside, *(folder / "data" for folder in (here, *here.parents))]
    found = next((place for place in places if (place / "ko").is_dir()), None)
    if found is None:
        raise KlpteachError(f"no sample modules in {places[0]}. Set KLPTEACH_DATA to the repository's data folder.")
    return found


def ko_dir(arch: str = "x86_64", release: str = "6.1", root: str | os.PathLike[str] | None = None) -> Path:
    """The folder of modules built for a release; 5.3 and 6.3 use those of 6.1, which have the same layout."""
    built_for = release if release in ("6.1", "6.12", "7.3") else "6.1"
    return (Path(root) if root else data_dir() / "ko") / f"{arch}-{built_for}"


def sample(filename: str, arch: str = "x86_64", release: str = "6.1") -> Path:
    """A sample module's path.

    >>> sample("nfsd_demo.ko").name
    'nfsd_demo.ko'
    """
    return ko_dir(arch, release) / filename


def plain_name(filename: str) -> str:
    """The file that a defective one is made from: NAME.ko for NAME+DEFECT.ko, else the name itself.

    >>> plain_name("nfsd_demo+marked.ko"), plain_name("nfsd_demo.ko")
    ('nfsd_demo.ko', 'nfsd_demo.ko')
    """
    stem, plus, _ = filename.removesuffix(".ko").partition("+")
    return f"{stem}.ko" if plus else filename


def open_ko(folder: Path, filename: str) -> ModuleFile:
    """A module of a folder by name. NAME+DEFECT.ko is NAME.ko with a defect of klpteach.files.corrupt, made on the spot.

    Errors: ModuleFormatError, KlpteachError for an unknown defect.

    >>> open_ko(ko_dir(), "livepatch_nfsd_demo+symbol-missing.ko").filename
    'livepatch_nfsd_demo+symbol-missing.ko'
    """
    if plain_name(filename) == filename or (folder / filename).exists():
        return ModuleFile.open(folder / filename)
    return _corrupted(folder / plain_name(filename), filename.removesuffix(".ko").partition("+")[2], filename)


@lru_cache(maxsize=64)
def _corrupted(path: Path, defect: str, filename: str) -> ModuleFile:
    return ModuleFile(corrupt(ModuleFile.open(path).data, defect), filename)


@lru_cache
def exports(folder: Path) -> dict[str, int | None]:
    """What the kernel exports of that the modules in a folder need: name -> address, or None where only the name is known.

    vmlinux-exports.txt has a line a symbol: the name, or an address and the name.
    """
    try:
        lines = (folder / "vmlinux-exports.txt").read_text().split("\n")
    except OSError:
        return {}
    fields = [line.split() for line in lines if line.strip() and not line.startswith("#")]
    return {field[-1]: int(field[0], 16) if len(field) > 1 else None for field in fields}
