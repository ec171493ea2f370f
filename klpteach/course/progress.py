"""What the reader has answered, in a small file, and as a text to copy out and in where nothing is kept (Binder).

The file is $KLPTEACH_PROGRESS, else klpteach/progress.json in the user's state folder. It never fails a cell: where it
cannot be written, answers live as long as the kernel does, and one line says so.
"""

from __future__ import annotations

import base64
import json
import os
import quopri
import re
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any

from ..errors import KlpteachError, one_line
from ..files.home import user_folder
from ..files.json_text import from_json
from ..files.on_disk import NoRegularFile, read_regular
from ..reading.log.pasted import unescaped

_PREFIX, _LONGEST = "klp1", 8 << 20  # bytes of JSON: more than 100,000 attempts
_LINE = re.compile(rf"{_PREFIX}\.([\w-]++)\.([0-9a-f]{{8}})", re.ASCII)
_MOST = 20  # texts in one mail: each may unpack to _LONGEST
_LARGEST = 4 * _LONGEST  # of a file, which has blanks between


@dataclass
class Attempt:
    """What happened with one problem: digests of the wrong answers, whether it was solved, whether its answer was shown."""

    wrong: list[str] = field(default_factory=list)
    solved: bool = False
    looked: bool = False


@dataclass
class Progress:
    """Committed predictions (name -> choices, the first one first) and attempts ("name:seed" -> Attempt)."""

    predictions: dict[str, list[str]] = field(default_factory=dict)
    attempts: dict[str, Attempt] = field(default_factory=dict)

    def attempt(self, name: str, seed: int) -> Attempt:
        return self.attempts.setdefault(f"{name}:{seed}", Attempt())

    def merge(self, other: Progress) -> None:
        """Take in what another progress has and this one has not."""
        for name, choices in other.predictions.items():
            self.predictions[name] = list(dict.fromkeys([*self.predictions.get(name, ()), *choices]))
        for key, theirs in other.attempts.items():
            ours = self.attempts.setdefault(key, Attempt())
            ours.solved, ours.looked = ours.solved or theirs.solved, ours.looked or theirs.looked
            ours.wrong = list(dict.fromkeys([*ours.wrong, *theirs.wrong]))

    def to_json(self) -> dict[str, Any]:
        attempts = {key: [a.wrong, int(a.solved), int(a.looked)] for key, a in self.attempts.items()}
        return {"predictions": self.predictions, "attempts": attempts}

    @classmethod
    def from_json(cls, raw: Any) -> Progress:
        """Errors: ValueError, TypeError, KeyError, AttributeError for anything that to_json() did not make."""
        predictions = {str(name): [str(c) for c in choices] for name, choices in raw["predictions"].items()}
        rows = raw["attempts"].items()
        return cls(predictions, {str(key): Attempt([str(d) for d in w], bool(s), bool(k)) for key, (w, s, k) in rows})


_kept = Progress()  # where no file can be written
_printed: set[str] = set()


def progress_path() -> Path:
    """Where answers are kept: $KLPTEACH_PROGRESS, else in $XDG_STATE_HOME, else in ~/.local/state.

    A symbolic link stays one: what it points to is read and replaced. Errors: KlpteachError without a home folder.
    """
    given = os.environ.get("KLPTEACH_PROGRESS")
    kept = Path(given) if given else user_folder("XDG_STATE_HOME", ".local/state") / "klpteach" / "progress.json"
    return Path(os.path.realpath(kept))


def recall() -> Progress:
    """Read the answers that are kept. A damaged file is set aside as progress.json.damaged, and a line says so, once."""
    found = Progress()
    try:
        path = progress_path()
        with _alone(path):
            found = _read(path)
    except (OSError, KlpteachError) as error:
        _tell_not_kept(error)
    found.merge(_kept)
    return found


def keep(progress: Progress) -> None:
    """Add to what is kept, whole or not at all: what another notebook has kept in the meantime stays.

    Never raises: where it cannot be written, it is kept until the kernel stops.
    """
    try:
        path = progress_path()
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(path):
            found = _read(path)
            found.merge(progress)
            _write(path, found)
    except (OSError, KlpteachError) as error:
        _kept.merge(progress)
        _tell_not_kept(error)


def forget() -> None:
    """Throw every answer away."""
    _kept.predictions.clear()
    _kept.attempts.clear()
    try:
        path = progress_path()
        with _alone(path):
            if path.is_file():
                path.unlink()
    except (OSError, KlpteachError) as error:
        _tell_not_kept(error)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One notebook at a time: the folder is locked, so no file is left. Where that cannot be done, go on without."""
    folder = None
    try:
        with suppress(OSError, ImportError):
            import fcntl  # not on Windows

            folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        if folder is not None:
            os.close(folder)


def _read(path: Path) -> Progress:
    """What is kept; nothing where no file can be read. Errors: OSError for a pipe or a device: nothing can be kept there."""
    try:
        return Progress.from_json(from_json(read_regular(path, _LARGEST)))
    except NoRegularFile as error:
        raise OSError(0, str(error)) from None
    except OSError:
        pass
    except (ValueError, TypeError, KeyError, AttributeError):
        _set_aside(path)
    return Progress()


def _write(path: Path, progress: Progress) -> None:
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(progress.to_json(), file, indent=1)
        os.replace(draft, path)
    except OSError:
        with suppress(OSError):
            os.unlink(draft)
        raise


def to_text(progress: Progress) -> str:
    """Progress as one short line of letters that survives copying, with a checksum; from_text() takes whatever it makes."""
    while len(text := json.dumps(progress.to_json(), separators=(",", ":"))) > _LONGEST:  # the latest will do
        progress = Progress(_later_half(progress.predictions), _later_half(progress.attempts))
    packed = zlib.compress(text.encode(), 9)
    body = base64.urlsafe_b64encode(packed).decode().rstrip("=")
    return f"{_PREFIX}.{body}.{_checksum(body)}"


def from_text(text: str) -> Progress:
    """The progress that a copied line holds, whatever a mail, a chat or a page made of it; of several lines, all of them together.

    A mail around it does no harm, nor does a call of kt.progress(). Errors: KlpteachError, where one is not whole.

    >>> from_text("klp1.abc.00000000")
    Traceback (most recent call last):
    klpteach.errors.KlpteachError: This is not a whole progress text: ...
    """
    found = dict.fromkeys(_LINE.findall(_letters(text))) if isinstance(text, str) else {}
    if not found or any(_checksum(body) != checksum for body, checksum in found):
        advice = f"Copy the line from {_PREFIX}. to its last letter, as kt.progress() shows it."
        raise KlpteachError(f"This is not a whole progress text: its checksum does not fit. {advice}")
    if len(found) > _MOST:
        raise KlpteachError(f"Here are {len(found)} progress texts. Give the latest one, or {_MOST} at most.")
    progress, *more = (_unpacked(body) for body, _ in found)
    for other in more:
        progress.merge(other)
    return progress


def _letters(text: str) -> str:
    """The letters that a progress text is of; gone are blanks, quotes, line ends and what stands for them in mails and pages."""
    if "=" in text:  # which is in no progress text: quoted-printable breaks lines with it, and spells signs
        text = quopri.decodestring(text.encode("utf-8", "replace")).decode("utf-8", "replace")
    return re.sub(r"[^\w.-]", "", unescaped(text), flags=re.ASCII)


def _unpacked(body: str) -> Progress:
    try:
        packed = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
        return Progress.from_json(from_json(zlib.decompressobj().decompress(packed, _LONGEST)))
    except (ValueError, TypeError, KeyError, AttributeError, zlib.error):
        what = "This progress text was made by another version of the course; it cannot be read."
        raise KlpteachError(what) from None


def digest(answer: Any) -> str:
    """A short name for an answer, so that the same wrong answer counts once however often its cell runs."""
    code = getattr(answer, "__code__", None)
    try:
        text = repr((code.co_code, code.co_consts, code.co_names)) if code else repr(answer)
    except Exception:  # a number of 5000 digits, or an object of the reader's own
        text = type(answer).__name__
    return sha256(text.encode("utf-8", "replace")).hexdigest()[:6]


def _later_half(kept: dict[str, Any]) -> dict[str, Any]:
    return dict(list(kept.items())[(len(kept) + 1) // 2 :])


def _checksum(body: str) -> str:
    return f"{zlib.crc32(body.encode('utf-8', 'replace')):08x}"


def _set_aside(path: Path) -> None:
    names = (path.with_name(f"{path.name}.damaged{number or ''}") for number in count())
    damaged = next(name for name in names if not name.exists())  # an earlier one stays
    try:
        os.replace(path, damaged)
    except OSError:
        return
    _tell_once(f"{path} was damaged; it is now {damaged.name}, and your progress begins anew.")


def _tell_not_kept(error: OSError | KlpteachError) -> None:
    why = f"{progress_path()} cannot be written ({error.strerror})." if isinstance(error, OSError) else error
    advice = "kt.progress() shows them as a text to copy out."
    _tell_once(f"Your answers are kept until this kernel stops: {why} {advice}")


def _tell_once(line: str) -> None:
    if line not in _printed:
        _printed.add(line)
        print(one_line(line))
