"""Files that a reader names: what is read whole is a regular file of limited size, and what is written is said to be so early.

A pipe, a device or a file of 100 GB would keep a command, or a cell, waiting for ever.
"""

from __future__ import annotations

import codecs
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from errno import EDQUOT, EFBIG, EISDIR, ENOENT, ENOSPC, ENXIO
from pathlib import Path
from typing import BinaryIO

from ..errors import KlpteachError, one_line

_KINDS = {stat.S_IFIFO: "a pipe", stat.S_IFDIR: "a directory", stat.S_IFSOCK: "a socket"}
DRAFT = ".klpteach-"  # how the name of a draft's folder begins
_WRITE = os.O_WRONLY | os.O_CREAT
AnyPath = str | os.PathLike[str]


class NoRegularFile(KlpteachError):
    """A pipe, a directory, a socket or a device."""


class TooLarge(KlpteachError):
    """A file of more bytes than are read."""


def read_regular(path: AnyPath, most: int, *, sized: bool = True) -> bytes:
    """The bytes of a regular file. Anything else is refused without waiting for it, and so is more than `most` bytes.

    sized=False: the size that the file tells is not believed: /proc says 0.
    Errors: NoRegularFile, TooLarge, OSError; ValueError for a path with a NUL in it. They do not name the file.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise NoRegularFile(f"is {_KINDS.get(stat.S_IFMT(status.st_mode), 'a device')}, not a file")
        if status.st_size > most:
            raise TooLarge(f"{status.st_size} bytes is more than the {most >> 20} MiB that klpteach reads")
        with open(handle, "rb", closefd=False) as stream:
            data = stream.read(status.st_size if sized else most + 1) or b""  # some files of /proc have no end
    finally:
        os.close(handle)
    if len(data) > most:
        raise TooLarge(f"more than the {most >> 20} MiB that klpteach reads")
    return data


@contextmanager
def open_to_read(path: AnyPath) -> Iterator[BinaryIO]:
    """A file to read once, from its beginning to its end. A shell's <(…) may be one, and a device.

    A pipe with a name is refused: whoever opens it waits for a writer, who need not come. Errors: OSError, which names the file.
    """
    with naming(path), open(path, "rb", opener=_at_once) as stream:
        if stat.S_ISFIFO(os.fstat(stream.fileno()).st_mode) and os.path.exists(os.path.realpath(path)):
            raise OSError(ENXIO, "a named pipe, which would be waited for; give a file")
        os.set_blocking(stream.fileno(), True)
        yield stream


def _at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)


def why_not(error: Exception) -> str:
    """Why a file cannot be read, of any error of read_regular(): the words behind its name.

    >>> why_not(FileNotFoundError(2, "No such file or directory"))
    'cannot be read (No such file or directory)'
    """
    if isinstance(error, KlpteachError):
        return str(error)
    return f"cannot be read ({error.strerror if isinstance(error, OSError) else error})"


def encoding_of(data: bytes) -> str:
    """The encoding of a text: UTF-32 and UTF-16 by their marks or by their zeros, else UTF-8.

    >>> encoding_of("livepatch".encode("utf-16")), encoding_of("livepatch".encode("utf-16-be")), encoding_of(b"livepatch")
    ('utf-16', 'utf-16-be', 'utf-8')
    """
    if data.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):  # the first begins as UTF-16's does
        return "utf-32"
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    head = data[:1000]
    zeros = [head[at::4].count(0) > len(head[at::4]) * 0.6 for at in range(4)]
    if len(head) > 7 and zeros[2] and zeros[3] and not zeros[0]:
        return "utf-32-le"
    if len(head) > 7 and zeros[0] and zeros[1] and not zeros[3]:
        return "utf-32-be"
    even, odd = head[0::2], head[1::2]
    if len(head) > 7 and odd.count(0) > len(odd) * 0.6 > even.count(0):
        return "utf-16-le"
    if len(head) > 7 and even.count(0) > len(even) * 0.6 > odd.count(0):
        return "utf-16-be"
    return "utf-8"


def named(path: Path) -> str:
    """A file as an error names it, shortened where no file can have such a name.

    >>> len(named(Path("x" * 5000)))
    255
    """
    return one_line(path.name or str(path), 255)  # NAME_MAX


# -- what is written ------------------------------------------------------------------------------------------------------


def check_spared(inputs: Iterable[AnyPath], out: AnyPath) -> None:
    """Before the work: a file that was read is not written over, by another name or link either. Errors: KlpteachError."""
    for given in inputs:
        same = os.path.realpath(given) == os.path.realpath(out)
        with suppress(OSError):  # not there
            same = same or os.path.samefile(given, out)
        if same:
            raise KlpteachError(f"--out {out} is {given} itself, which would be lost. Try another name.")


def check_can_write(path: AnyPath) -> None:
    """Before the work: whether a file can be written there, as far as that can be known. Errors: OSError, which names it."""
    folder = Path(path).parent
    with naming(path):
        if Path(path).is_dir():
            raise IsADirectoryError(EISDIR, os.strerror(EISDIR))
        if not folder.is_dir():
            raise FileNotFoundError(ENOENT, f"there is no folder {folder}")


def write_file(path: AnyPath, size: int, pieces: Iterable[bytes]) -> None:
    """Write a file of so many bytes. A pipe must have a reader; a symbolic link stays, its file is written.

    Where the disk is too full no half of a new file is left, and an old one is what it was. Errors: OSError, which names it.
    """
    new = not os.path.exists(path)
    with naming(path), _gone_if(new, path):
        try:
            handle = os.open(path, _WRITE | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY, 0o666)
        except OSError as error:
            raise OSError(ENXIO, "a pipe that nobody reads") if error.errno == ENXIO else error from None
        os.set_blocking(handle, True)
        with open(handle, "wb") as stream:
            regular = stat.S_ISREG(os.fstat(handle).st_mode)
            if regular:
                _reserve(handle, size)
            for piece in pieces:
                stream.write(piece)
            if regular:
                stream.truncate()


def _reserve(handle: int, size: int) -> None:
    """Let a file have so many bytes at least, before the first one is overwritten. Errors: OSError; then it is what it was."""
    before = os.fstat(handle).st_size
    try:
        os.posix_fallocate(handle, 0, max(size, 1))
    except OSError as error:
        if error.errno in (ENOSPC, EFBIG, EDQUOT):
            os.ftruncate(handle, before)
            raise
    except AttributeError:  # macOS has no such call
        pass


@contextmanager
def _gone_if(new: bool, path: AnyPath) -> Iterator[None]:
    try:
        yield
    except BaseException:  # Ctrl-C, too
        if new:
            with suppress(OSError):
                os.unlink(os.path.realpath(path))
        raise


@contextmanager
def draft_in(folder: Path) -> Iterator[Path]:
    """A folder inside this one, to write into and to move from when all is written; it is gone afterwards.

    The folder is made. After an error it is gone again, and an OSError of what was written there names the folder: the
    reader knows nothing of drafts.
    """
    made = [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=DRAFT, dir=folder, ignore_cleanup_errors=True) as draft:
            yield Path(draft)
    except BaseException as error:
        for one in made:
            with suppress(OSError):  # not empty, or not made
                one.rmdir()
        if isinstance(error, OSError) and _is_of(error, folder):
            raise OSError(error.errno, error.strerror, os.fspath(folder)) from None
        raise


def _is_of(error: OSError, folder: Path) -> bool:
    """Whether it names something in the folder, one of the folders around it, or nothing, as those of write() do."""
    named = Path(os.fsdecode(error.filename or folder))
    return named.is_relative_to(folder) or folder.is_relative_to(named)


def copy_file(source: Path, target: Path) -> None:
    """Copy what a file holds; folders are made. The error of a full disk does not name the source, as shutil's does."""
    data = source.read_bytes()
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)


@contextmanager
def naming(path: AnyPath) -> Iterator[None]:
    """An OSError in here names the file: those of read() and write() do not."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or os.fspath(path)
        raise
