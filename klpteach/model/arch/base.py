"""What the loader asks of an architecture: the hooks that the kernel, too, leaves to arch/*/kernel/module*.c."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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

    Sizes are in bytes, addresses ints. module_area is where modules and other vmalloc memory begin: what lies below (on
    x86_64 from kernel_text) is the kernel's own. modules_start is the first address there that a module gets, since the
    boot has taken some. config: the kernel options of the kernels that were recorded.

    >>> from klpteach.model import arch
    >>> hex(arch.of("ppc64le").page), hex(arch.of("x86_64").page)
    ('0x10000', '0x1000')
    """

    name: str
    machine: int  # e_machine in the ELF header
    page: int
    kernel_text: int
    module_area: int
    modules_start: int
    modules_end: int
    temporary_image: int  # where the file's copy stands while it is loaded (vmalloc); its address decides nothing
    relocation_types: Mapping[int, Any]  # number -> Howto, of the types that the kernel accepts
    call_type: int | None = None  # the relocation type of a call that goes through a stub
    nop: int | None = None  # the word that a compiler leaves after such a call
    restore_r2: int | None = None  # and what the loader makes of it
    stub_size = 0  # of one slot in .stubs; 0: there are none
    site_width: int | None = None  # how many bytes a recorder looks at; None: as wide as the relocation's field
    zero_sites = True  # whether a livepatch's sites hold zeros in its file, and a load asks for zeros
    clears = True  # whether 6.3 and later take relocations back when a target goes (0c05e7bd2d01)
    shares_vmalloc = False  # whether vmalloc() takes from the area where modules live
    config: tuple[str, ...] = ()

    @property
    def has_stubs(self) -> bool:
        """Whether a call out of a module goes through a table of stubs in it."""
        return self.stub_size > 0

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
