"""What the loader asks of an architecture: the hooks that the kernel, too, leaves to arch/*/kernel/module*.c."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import messages

if TYPE_CHECKING:
    from ...files.elf import ModuleFile
    from ..image import Image
    from ..policy import Behaviour

Array = np.ndarray[Any, np.dtype[Any]]
Log = Callable[[messages.Line], None]
Label = Callable[[int], str]
Resolve = Callable[[str], int | None]
MASK64 = 0xFFFFFFFFFFFFFFFF


class Arch:
    """One architecture. An architecture overrides what it does differently; the rest is the kernel's weak default.

    page is in bytes. modules_start and modules_end bound the area where modules live; kernel_text is where the kernel's
    own code stands. site_width: how many bytes a recorder looks at, None for the width of the relocation's field.

    >>> from klpteach.model import arch
    >>> hex(arch.of("ppc64le").page), hex(arch.of("x86_64").page)
    ('0x10000', '0x1000')
    """

    name: str
    page: int
    modules_start: int
    modules_end: int
    kernel_text: int
    temporary_image: int  # where the file's copy stands while it is loaded (vmalloc); its address decides nothing
    site_width: int | None = None
    has_stubs = False
    shares_vmalloc = False  # whether vmalloc() takes from the area where modules live
    config: tuple[str, ...] = ()  # kernel options of the kernels that were recorded

    def __deepcopy__(self, memo: object) -> Arch:
        return self  # it never changes: copies of a kernel share it

    def module_frob_arch_sections(self, file: ModuleFile, rules: Behaviour, log: Log) -> ModuleFile:
        """The loader's own copy of the file, with what the architecture changes in it. Errors: Refused."""
        return file

    def module_init_section(self, name: str) -> bool:
        """Whether a section is freed after init."""
        return name.startswith(".init")

    def apply_relocate_add(self, image: Image, index: int, name: str, rules: Behaviour, log: Log) -> None:
        """Write relocation section `index`; name is the module's, for messages. Errors: Refused, Oops."""
        raise NotImplementedError

    def clear_relocate_add(self, image: Image, index: int, name: str, rules: Behaviour, log: Log) -> None:
        """Undo relocation section `index`. Errors: Refused, Oops."""
        raise NotImplementedError

    def module_finalize(self, image: Image, name: str, rules: Behaviour, resolve: Resolve, log: Log) -> None:
        """What is done after the relocations, before anything runs. Errors: Refused."""

    def fault(self, what: str, address: int) -> messages.Line:
        """The first line of an oops: a read or a write at an address that does not allow it."""
        return messages.PAGE_FAULT(loc=f"{address:016x}")

    def stubs(self, image: Image, file: ModuleFile, rules: Behaviour, label: Label) -> dict[str, Any] | None:
        """The table of call stubs as a recording shows it; None where the architecture has none.

        file tells a recorder how long the table is; label names an address.
        """
        return None
