"""One file an architecture: its relocation types as a table, and the kernel's loop over them."""

from __future__ import annotations

from functools import lru_cache

from ...errors import PolicyError
from .base import Arch

NAMES = ("x86_64", "ppc64le")


@lru_cache
def of(name: str) -> Arch:
    """An architecture by the kernel's name for it. Errors: PolicyError, which says what there is.

    >>> of("x86_64").name
    'x86_64'
    """
    if name == "x86_64":
        from .x86_64 import X86_64

        return X86_64()
    if name == "ppc64le":
        from .ppc64le import Ppc64le

        return Ppc64le()
    raise PolicyError(f"architecture {name!r} is not in the model; there are {' and '.join(NAMES)}.")
