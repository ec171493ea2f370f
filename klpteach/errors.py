"""What goes wrong, as one exception a kind. Every message is one line: what happened, what the kernel would say, what to try."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from contextlib import suppress
from operator import index
from typing import TypeVar

_T = TypeVar("_T")

_LONGEST = 1000  # characters of an error; the longest list of names that one gives, that of the stories, has 650
_LONGEST_NAME = 80  # of a reader's argument in it


def printable(text: str, keep: str = "\n\xa0") -> str:
    """A text that may hold a stranger's names, fit to be shown: control characters and lone surrogates are spelled out.

    >>> printable("a\\x1b[31mb")
    'a\\\\x1b[31mb'
    """
    if text.isprintable():
        return text
    spelled = lambda found: "".join(
        c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in found[0]
    )
    return re.sub(r"[^ -~]+", spelled, text)  # a character at a time, a text of 10 MB would take 100


def one_line(text: str, longest: int = _LONGEST) -> str:
    """The same as one line of limited length; what is left out is the middle, so that the advice at the end stays.

    >>> one_line("no story " + "x" * 100 + ". Try: reload", 31)
    'no story xxxxxx … . Try: reload'
    """
    if len(text) > 2 * longest:  # so much is not spelled out first
        text = text[:longest] + text[-longest:]
    text, half = printable(text, keep=""), longest // 2
    return text if len(text) <= longest else f"{text[:half]} … {text[half + 3 - longest :]}"


def quoted(value: object) -> str:
    """A reader's argument as an error repeats it: text and small numbers as they are written, anything else by its type.

    >>> quoted("6.1"), quoted(5), quoted(bytearray(b"6.1")), quoted(10**100)
    ("'6.1'", '5', '<bytearray>', '<int>')
    """
    if isinstance(value, str):
        return one_line(str.__repr__(value), _LONGEST_NAME)
    if value is None or type(value) in (bool, float) or (type(value) is int and abs(value) < 1 << 64):
        return repr(value)
    return f"<{type(value).__name__}>"


def some(names: Sequence[str], most: int = 3, between: str = ", ") -> str:
    """The first of a stranger's names, each as long as a line bears, and how many more there are.

    >>> some(["a", "b", "c", "d"]), some(["a", "b"])
    ('a, b, c and 1 more', 'a, b')
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return between.join(one_line(name, 2 * _LONGEST_NAME) for name in names[:most]) + more


class KlpteachError(ValueError):
    """The base of all errors that a user of klpteach can cause; the command line prints it and exits with 2."""

    def __init__(self, message: object = "") -> None:
        super().__init__(one_line(str(message)))

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows of it (IPython asks): the line. The way through this package is not the reader's."""
        return [f"{type(self).__name__}: {self}"]


class ModuleFormatError(KlpteachError):
    """A file is not a kernel module that can be loaded. The only exception that reading a module file raises.

    >>> raise ModuleFormatError("empty.ko: 0 bytes long")
    Traceback (most recent call last):
    klpteach.errors.ModuleFormatError: empty.ko: 0 bytes long
    """


class RecordingError(KlpteachError):
    """A recording cannot be read, or asks for a command or a file that does not exist."""


class PolicyError(KlpteachError):
    """An unknown release or proposal, or a mix of proposals that makes no sense."""


class ScenarioError(KlpteachError):
    """An unknown story, or a command that no kernel of ours understands."""


class LoadRefused(KlpteachError):
    """The kernel would refuse this module.

    `errno` is the negative errno that init_module() returns, `dmesg` the lines printed before.

    >>> LoadRefused("refused", errno=-8).errno
    -8
    """

    def __init__(self, message: str, errno: int, dmesg: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.errno = errno
        self.dmesg = tuple(dmesg)


# -- what a reader's arguments may be ---------------------------------------------------------------------------------


def one_of(value: object, known: Collection[str], what: str, error: type[KlpteachError] = KlpteachError) -> str:
    """An argument that must be one of these names, whatever type it has. Errors: `error`, which lists them.

    >>> one_of("6.1", ["5.3", "6.1"], "release")
    '6.1'
    >>> one_of(6.1, ["5.3", "6.1"], "release")
    Traceback (most recent call last):
    klpteach.errors.KlpteachError: unknown release 6.1; there are 5.3, 6.1.
    """
    if isinstance(value, str) and value in known:
        return value
    raise error(f"unknown {what} {quoted(value)}; there are {', '.join(known)}.")


def whole(value: object, what: str, error: type[KlpteachError] = KlpteachError) -> int:
    """An argument that must be a whole number, of any type that counts. Errors: `error`.

    >>> whole(2.5, "seed")
    Traceback (most recent call last):
    klpteach.errors.KlpteachError: seed=2.5 is no whole number of 64 bits; try seed=1.
    """
    with suppress(TypeError):
        if not isinstance(value, bool) and abs(found := index(value)) < 1 << 63:  # type: ignore[arg-type]
            return found
    raise error(f"{what}={quoted(value)} is no whole number of 64 bits; try {what}=1.")


def of_type(value: object, kind: type[_T], what: str, error: type[KlpteachError] = KlpteachError) -> _T:
    """An argument that must be an object of ours. Errors: `error`; what: where such an object comes from.

    >>> of_type("x.json", dict, "what simulate() returns")
    Traceback (most recent call last):
    klpteach.errors.KlpteachError: 'x.json' is no dict: give what simulate() returns.
    """
    if isinstance(value, kind):
        return value
    raise error(f"{quoted(value)} is no {kind.__name__}: give {what}.")
