"""Where the course's own files are: data/ and notebooks/, of the repository or of an installed package (see setup.py)."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from ..errors import KlpteachError, one_of, quoted
from .corrupt import corrupt
from .elf_h import ARCH_OF_MACHINE
from .module_file import ModuleFile

_PACKAGE = Path(__file__).resolve().parents[1]
_HOMES = (
    _PACKAGE,
    _PACKAGE.parent,
)  # a wheel carries both folders inside the package; in a checkout they stand beside it
INIT_ERRNO = {"nfsd_demo_failinit.ko": -19}  # what a sample's own init() returns: no file tells, and code is not run


def data_dir() -> Path:
    """The folder with ko/ and recordings/: $KLPTEACH_DATA, else the package's own, else in a parent of the working directory.

    The last is for a package that was copied without its data: a notebook runs in the repository's notebooks/. Errors:
    KlpteachError.
    """
    given, here = os.environ.get("KLPTEACH_DATA"), Path.cwd()
    places = [Path(given)] if given else [home / "data" for home in (*_HOMES, here, *here.parents)]
    found = next((place for place in places if (place / "ko").is_dir()), None)
    if found is None:
        raise KlpteachError(f"no sample modules in {places[0]}. Set KLPTEACH_DATA to the repository's data folder.")
    return found


def notebooks_dir() -> Path:
    """The folder with the course's notebooks. Errors: KlpteachError.

    >>> (notebooks_dir() / "00-start-here.ipynb").exists()
    True
    """
    places = [home / "notebooks" for home in (*_HOMES, data_dir().parent)]
    found = next((place for place in places if (place / "glossary.md").is_file()), None)
    if found is None:
        raise KlpteachError(f"no notebooks in {places[0]}. Try: pip install of the whole repository.")
    return found


def ko_dir(
    arch: str = "x86_64", release: str = "6.1", root: str | os.PathLike[str] | None = None, variant: str = "stock"
) -> Path:
    """The folder of modules built for a release; 5.3 and 6.3 use those of 6.1, which have the same layout.

    variant: of the kernel. On x86_64 stock is Debian's; in the small ones that are built here struct module is another, so
    they have modules of their own.

    >>> ko_dir(variant="deny-removal").name, ko_dir("ppc64le", variant="reuse").name
    ('x86_64-6.1-small', 'ppc64le-6.1')
    """
    built_for = release if release in ("6.1", "6.12", "7.3") else "6.1"
    small = "-small" if arch == "x86_64" and variant != "stock" else ""
    return (Path(root) if root else data_dir() / "ko") / f"{arch}-{built_for}{small}"


def ko_dir_with(
    files: Mapping[str, str | None], arch: str, release: str, root: str | os.PathLike[str] | None = None
) -> Path:
    """The folder that has these very modules (name -> sha256): ARCH-RELEASE, or one beside it whose name goes on with -….

    A kernel that is built small has another struct module, so modules of its own. None has them all: ARCH-RELEASE.

    >>> ko_dir_with({}, "x86_64", "6.1").name
    'x86_64-6.1'
    """
    first = ko_dir(arch, release, root)
    folders = [first, *sorted(first.parent.glob(f"{first.name}-*"))]
    wanted = {
        name: digest for name, digest in files.items() if plain_name(name) == name
    }  # a damaged one is made on the spot
    return next((folder for folder in folders if all(_sha256(folder / name) == wanted[name] for name in wanted)), first)


def _sha256(path: Path) -> str:
    try:
        return _digest(path, path.stat().st_mtime_ns)
    except OSError:
        return "no file"


@lru_cache(maxsize=512)
def _digest(path: Path, _mtime: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def sample(filename: str, arch: str = "x86_64", release: str = "6.1") -> Path:
    """A sample module's path, for an architecture and a release. Errors: KlpteachError for what is no name.

    >>> sample("nfsd_demo.ko").name
    'nfsd_demo.ko'
    """
    for name in (filename, release):
        if not isinstance(name, str) or not name:
            raise KlpteachError(f"{quoted(name)} is no name; try sample('nfsd_demo.ko', release='6.1').")
    return ko_dir(one_of(arch, ARCH_OF_MACHINE.values(), "architecture"), release) / filename


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
    if plain_name(filename) == filename or os.path.exists(folder / filename):
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
