"""One file an architecture: the hooks that the kernel leaves to arch/*/kernel/module*.c, and its constants."""

from __future__ import annotations

from ...errors import PolicyError
from ..image import Arch
from .ppc64le import Ppc64le
from .s390x import S390x
from .x86_64 import X86_64

ARCHITECTURES: dict[str, Arch] = {arch.name: arch for arch in (X86_64(), Ppc64le(), S390x())}


def of(name: str) -> Arch:
    """An architecture by the kernel's name for it. Errors: PolicyError, which says what there is."""
    if name not in ARCHITECTURES:
        raise PolicyError(f"architecture {name!r} is not in the model; there are {' and '.join(ARCHITECTURES)}.")
    return ARCHITECTURES[name]
