"""The user's own folders, as the XDG Base Directory Specification has them: a path that is not absolute does not count."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from ..errors import KlpteachError


def user_folder(variable: str, below: str) -> Path:
    """$VARIABLE where that is an absolute path, else the folder `below` home. Errors: KlpteachError where there is no home.

    >>> user_folder("NO_SUCH_VARIABLE", ".cache") == home() / ".cache"
    True
    """
    given = os.environ.get(variable, "")
    return Path(given) if os.path.isabs(given) else home() / below


def home() -> Path:
    """$HOME where that is an absolute path, else the home of the password database. Errors: KlpteachError for neither.

    A relative one would be another folder for every notebook.
    """
    found = os.path.expanduser("~") if os.environ.get("HOME", "~") else ""  # of an empty one Python makes /
    if not os.path.isabs(found):
        with suppress(ImportError, KeyError):  # pwd is not on Windows
            import pwd

            found = pwd.getpwuid(os.getuid()).pw_dir
    if not os.path.isabs(found):
        raise KlpteachError("there is no home folder: HOME is no absolute path.")
    return Path(found)
