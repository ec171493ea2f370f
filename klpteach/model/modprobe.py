"""What modprobe does before the kernel is asked: where a module's file is, what must be there first; and the machine.

`kernel` is klpteach.model.kernel.Kernel. Sources: modprobe(8), modules.dep(5); kmod 30.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..files.module_file import ModuleFile
from .errno import ENODEV, ENOENT, Refused
from .livepatch.core import klp_target_names
from .loader import form_module
from .module import HALF_LOADED

if TYPE_CHECKING:
    from .kernel import Kernel


@dataclass(frozen=True)
class Machine:
    """What is true of one machine and stands in no module file; each field holds names of modules.

    without_hardware: init() finds no device and returns -ENODEV. not_installed: there is no file for modprobe.
    blacklist: module_blacklist= on the kernel's command line, which refuses with -EPERM whoever asks. (The word
    `blacklist` in modprobe.d is weaker: it ignores aliases, and a module that another one needs is loaded all the same.)
    """

    without_hardware: frozenset[str] = frozenset()
    not_installed: frozenset[str] = frozenset()
    blacklist: frozenset[str] = frozenset()


def load_by_name(kernel: Kernel, name: str, params: str = "", wanted_by_livepatch: bool = False) -> None:
    """modprobe NAME: first what it needs, then the module itself; one that is loaded already is fine.

    Errors: Refused(-ENOENT) where a file is missing, else with what the kernel answers; what came before stays loaded.
    """
    if kernel.find_module(name):
        return
    if name in kernel.host.not_installed:
        raise Refused(ENOENT)
    file = kernel.open_file(f"{name}.ko")
    for needed, for_livepatch in needs(kernel, file):
        load_by_name(kernel, needed, wanted_by_livepatch=for_livepatch)
    if wanted_by_livepatch and kernel.rules.half_load:
        form_module(kernel, file).state = HALF_LOADED
    else:
        kernel.load_file(file, params)


def needs(kernel: Kernel, file: ModuleFile) -> Iterator[tuple[str, bool]]:
    """The modules that must be there first, each with whether a livepatch wants it as its target.

    With the proposal hard-dependencies depmod would write a livepatch's targets into modules.dep, like any dependency.
    """
    for name in filter(None, file.modinfo.get("depends", "").split(",")):
        yield name, False
    if kernel.rules.depend_on_targets:
        for name in klp_target_names(file):
            yield name, True


def not_found(kernel: Kernel, name: str) -> str | None:
    """The first module, of `name` and what it needs, that has no file on this machine; None where all are there."""
    if kernel.find_module(name):
        return None
    if name in kernel.host.not_installed:
        return name
    missing = (not_found(kernel, needed) for needed, _ in needs(kernel, kernel.open_file(f"{name}.ko")))
    return next(filter(None, missing), None)


def init_errno_of(kernel: Kernel, file: ModuleFile) -> int:
    """What the module's own init() returns: the story says so, or the machine lacks the hardware."""
    if file.name in kernel.host.without_hardware:
        return ENODEV
    return kernel.init_errno.get(file.filename, 0)
