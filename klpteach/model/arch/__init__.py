"""One file an architecture: the hooks that the kernel leaves to arch/*/kernel/module*.c, and its constants."""

from __future__ import annotations

from ...errors import PolicyError, one_of
from ..image import Arch
from .arm64 import Arm64
from .ppc64le import Ppc64le
from .ppc64le_section import Section as Section
from .s390x import S390x
from .x86_64 import X86_64
from .x86_64 import check_zero as check_zero

ARCHITECTURES: dict[str, Arch] = {arch.name: arch for arch in (X86_64(), Ppc64le(), Arm64(), S390x())}


def of(name: str) -> Arch:
    """An architecture by the kernel's name for it. Errors: PolicyError, which says what there is."""
    return ARCHITECTURES[one_of(name, ARCHITECTURES, "architecture", PolicyError)]
