"""What a notebook's package offers: each name is fetched from its module when it is first used, as `klpteach` itself does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def offer(package: str, names: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """A package's __getattr__ and __dir__ (PEP 562), from its modules and the names that each gives, parted by blanks.

    A module's name begins with dots, counted from the package. So a question costs no import of pandas or matplotlib.

    >>> from klpteach.course import nb06
    >>> "slots" in dir(nb06), nb06.slots.__module__
    (True, 'klpteach.course.nb06.tables')
    """
    where = {name: module for module, offered in names.items() for name in offered.split()}

    def fetch(name: str) -> Any:
        if name not in where:
            raise AttributeError(f"module {package!r} has no attribute {name!r}; there are {', '.join(sorted(where))}")
        return getattr(import_module(where[name], package), name)

    return fetch, lambda: sorted(where)
