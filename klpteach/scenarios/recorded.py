"""The recordings of real kernels, by name: what a notebook shows where the model is not evidence enough.

data/recordings/ARCH holds a file each; those of kernels with a proposal in them are packed, as near-equal JSON packs well:
data/recordings/ARCH-proposals.tar.xz. Both are found here by the file's name without .json.
"""

from __future__ import annotations

import lzma
import tarfile
import zlib
from collections.abc import Iterable, Mapping, Sequence, Set
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from ..errors import PolicyError, RecordingError
from ..files.samples import data_dir
from ..model.policy import Behaviour, kernel_of
from ..model.recording import MAX_BYTES, Recording

ARCHES = ("x86_64", "ppc64le")
MAX_PACKED = 1 << 30  # bytes of all members together, unpacked


def folder() -> Path:
    """data/recordings."""
    return data_dir() / "recordings"


def archive(arch: str) -> Path:
    """Where the recordings of an architecture's kernels with proposals are packed."""
    return folder() / f"{arch}-proposals.tar.xz"


def names(arch: str) -> list[str]:
    """Every recording of an architecture: the files, then what is packed.

    >>> "reload--6.1--REFUSED" in names("x86_64")
    True
    """
    loose = sorted(path.stem for path in (folder() / arch).glob("*.json"))
    return list(dict.fromkeys([*loose, *_packed(arch)]))


def open_recorded(name: str, arch: str | None = None) -> Recording:
    """A recording by its name, without .json; of the first architecture that has it, where none is given.

    Errors: RecordingError where there is none, or where the file or the archive is damaged.

    >>> open_recorded("reload--6.1-stock--REFUSED", "ppc64le").arch
    'ppc64le'
    """
    for one in (arch,) if arch else ARCHES:
        path = folder() / one / f"{name}.json"
        if path.exists():
            return Recording.load(path)
        if name in _packed(one):
            return Recording.parse(zlib.decompress(_packed(one)[name]), f"{name}.json")
    raise RecordingError(f"{name}: no such recording. Try: ls data/recordings/*, or a file's path")


@lru_cache(maxsize=16)
def evidence(name: str, arch: str = "x86_64") -> Recording:
    """A recording of a real kernel by name, kept for the next who asks. Errors: RecordingError where there is none.

    >>> evidence("reload--6.1--REFUSED").source
    'real kernel'
    """
    return open_recorded(name, arch)


# -- by what they tell ----------------------------------------------------------------------------------------------------


class Named(NamedTuple):
    """A recording's name, taken apart: STORY--RELEASE-VARIANT--OUTCOME; packed: whether it is in the archive."""

    name: str
    story: str
    release: str
    variant: str
    packed: bool


def named(arch: str) -> list[Named]:
    """The recordings of an architecture, those of kernels that were built with proposals first: they tell a story to its use.

    >>> [one for one in named("ppc64le") if one.name == "moved-40--6.1-reuse--LOADS"][0][1:4]
    ('moved-40', '6.1', 'reuse')
    """
    return list(_named(tuple(names(arch)), frozenset(_packed(arch))))


@lru_cache(maxsize=8)
def _named(known: Sequence[str], packed: Set[str]) -> tuple[Named, ...]:
    parts = ((name, *name.split("--")) for name in sorted(known, key=lambda name: name not in packed))
    kernels = ((part[0], part[1], *part[2].partition("-")[::2]) for part in parts if len(part) == 4)
    return tuple(Named(*kernel, kernel[0] in packed) for kernel in kernels)


def recording_of(story: str, arch: str, release: str, chosen: Iterable[str], used: bool = False) -> str:
    """The name of a recording in which a kernel that does the same as this one tells a story; "" where there is none.

    used: only one that goes on to use what was loaded, as those in the archive do.

    >>> recording_of("moved-40", "ppc64le", "6.1", ["reuse-stub"])
    'moved-40--6.1-reuse--LOADS'
    """
    index = _index(arch, tuple(named(arch)))
    found = index.get((story, kernel_of(release, chosen, arch)), ())
    return next((one.name for one in found if one.packed or not used), "")


@lru_cache(maxsize=8)
def _index(arch: str, recordings: tuple[Named, ...]) -> Mapping[tuple[str, Behaviour], Sequence[Named]]:
    found: dict[tuple[str, Behaviour], list[Named]] = {}
    for one in recordings:
        with suppress(PolicyError):  # a kernel that the model does not know is evidence for nothing here
            found.setdefault((one.story, kernel_of(one.release, one.variant.split("+"), arch)), []).append(one)
    return found


# -- the archive ----------------------------------------------------------------------------------------------------------


def _packed(arch: str) -> Mapping[str, bytes]:
    """Name -> JSON, packed again one by one, so that one is read without the others; {} where there is no archive."""
    path = archive(arch)
    try:
        about = path.stat()
    except OSError:
        return {}
    return unpack(path, about.st_mtime_ns, about.st_size)


@lru_cache(maxsize=4)
def unpack(path: Path, _mtime: int, _size: int) -> Mapping[str, bytes]:
    """The members NAME.json of an archive, in its order, each packed by zlib; read once as long as the file stays the same.

    Errors: RecordingError for an archive that is damaged or unpacks to too much.
    """
    found, total = dict[str, bytes](), 0
    try:
        with tarfile.open(path, "r|xz") as members:
            for member in members:
                if not member.isfile() or not member.name.endswith(".json"):
                    continue
                total += member.size
                if member.size > MAX_BYTES or total > MAX_PACKED:
                    raise RecordingError(f"{path.name}: {Path(member.name).name} is longer than klpteach reads.")
                body = members.extractfile(member)
                found[Path(member.name).stem] = zlib.compress(body.read() if body else b"", 1)
    except (OSError, EOFError, lzma.LZMAError, tarfile.TarError) as error:
        raise RecordingError(f"{path.name}: damaged ({error}). Is the download complete?") from None
    return found


def pack(recordings: Iterable[Path], path: Path) -> None:
    """Pack recordings: members NAME.json in the order of their names, with no date and no owner, so that the same give the same bytes."""
    with tarfile.open(path, "w:xz", format=tarfile.USTAR_FORMAT, preset=9) as packed:
        for one in sorted(recordings, key=lambda one: one.name):
            member = tarfile.TarInfo(one.name)
            member.size = one.stat().st_size
            with one.open("rb") as body:
                packed.addfile(member, body)
