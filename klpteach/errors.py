"""What goes wrong, as one exception a kind. Every message is one line: what happened, what the kernel would say, what to try."""

from __future__ import annotations

import re
from collections.abc import Sequence


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


class KlpteachError(ValueError):
    """The base of all errors that a user of klpteach can cause; the command line prints it and exits with 2."""

    def __init__(self, message: object = "") -> None:
        super().__init__(printable(str(message), keep=""))


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
