"""What user space does: where modprobe finds a module's file and what must be there first, and the words of all the tools.

modprobe(8), modules.dep(5); insmod, modprobe, rmmod, lsmod and modinfo of kmod 26 to 30. The kernel itself logs nothing for
a refused rmmod.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..files.module_file import ModuleFile
from .errno import EAGAIN, EBUSY, EEXIST, EINVAL, ENODEV, ENOENT, ENOEXEC, EPERM, Refused
from .livepatch.core import klp_target_names
from .loader import form_module
from .module import HALF_LOADED
from .state import State
from .step import Step

# -- modprobe -------------------------------------------------------------------------------------------------------------


def load_by_name(kernel: State, name: str, params: str = "", wanted_by_livepatch: bool = False) -> None:
    """modprobe NAME: first what it needs, then the module itself; one that is loaded already is fine.

    Errors: Refused(-ENOENT) where a file is missing, else with what the kernel answers; what came before stays loaded.
    """
    if kernel.find_module(name):
        return
    if name in kernel.machine.not_installed:
        raise Refused(ENOENT)
    file = kernel.open_file(f"{name}.ko")
    for needed, for_livepatch in needs(kernel, file):
        load_by_name(kernel, needed, wanted_by_livepatch=for_livepatch)
    if wanted_by_livepatch and kernel.rules.half_load:
        form_module(kernel, file).state = HALF_LOADED
    else:
        kernel.commands.insmod(file, params)


def needs(kernel: State, file: ModuleFile) -> Iterator[tuple[str, bool]]:
    """The modules that must be there first, each with whether a livepatch wants it as its target.

    With the proposal hard-dependencies depmod would write a livepatch's targets into modules.dep, like any dependency.
    """
    for name in filter(None, file.modinfo.get("depends", "").split(",")):
        yield name, False
    if kernel.rules.depend_on_targets:
        for name in klp_target_names(file):
            yield name, True


def not_found(kernel: State, name: str) -> str | None:
    """The first module, of `name` and what it needs, that has no file on this machine; None where all are there."""
    if kernel.find_module(name):
        return None
    if name in kernel.machine.not_installed:
        return name
    missing = (not_found(kernel, needed) for needed, _ in needs(kernel, kernel.open_file(f"{name}.ko")))
    return next(filter(None, missing), None)


# -- words ----------------------------------------------------------------------------------------------------------------

INSMOD = {
    ENOEXEC: "Invalid module format", ENOENT: "Unknown symbol in module", EINVAL: "Invalid parameters",
    EEXIST: "File exists", ENODEV: "No such device", EBUSY: "Device or resource busy", EPERM: "Operation not permitted",
}  # fmt: skip
MODPROBE = {
    **INSMOD, ENOEXEC: "Exec format error", EINVAL: "Invalid argument",
    ENOENT: "Unknown symbol in module, or unknown parameter (see dmesg)",
}  # fmt: skip
RMMOD = {EAGAIN: "Resource temporarily unavailable", EBUSY: "Device or resource busy"}


def insmod(step: Step, path: str) -> tuple[int, str]:
    """Exit status and words of insmod for a load's errno.

    >>> insmod(Step("insmod nfsd.ko", errno=-8), "nfsd.ko")
    (1, 'insmod: ERROR: could not insert module nfsd.ko: Invalid module format\\n')
    """
    if not step.errno:
        return 0, ""
    return 1, f"insmod: ERROR: could not insert module {path}: {INSMOD.get(step.errno, f'error {step.errno}')}\n"


def modprobe(step: Step, name: str, missing: str | None = None) -> tuple[int, str]:
    """Exit status and words of modprobe; a module that is loaded already is fine. missing: the one that has no file."""
    if not step.errno:
        return 0, ""
    if missing:
        return 1, f"modprobe: FATAL: Module {missing} not found in directory /lib/modules/$(uname -r)\n"
    return 1, f"modprobe: ERROR: could not insert '{name}': {MODPROBE.get(step.errno, f'error {step.errno}')}\n"


def rmmod(step: Step, name: str) -> tuple[int, str]:
    """Exit status and words of rmmod for what the kernel answered."""
    if not step.errno:
        return 0, ""
    return 1, f"rmmod: ERROR: could not remove module {name}: {RMMOD.get(step.errno, f'error {step.errno}')}\n"


def rmmod_objection(kernel: State, name: str) -> str | None:
    """What rmmod finds in sysfs before it asks the kernel: not loaded, holders, or a reference count."""
    mod = kernel.find_module(name)
    if mod is None:
        return f"rmmod: ERROR: Module {name} is not currently loaded\n"
    if mod.holders:
        return f"rmmod: ERROR: Module {name} is in use by: {' '.join(h.name for h in reversed(mod.holders))}\n"
    return f"rmmod: ERROR: Module {name} is in use\n" if mod.references else None


def lsmod(kernel: State) -> str:
    """The table of lsmod, newest module first."""
    lines = ["Module                  Size  Used by\n"]
    for mod in reversed(kernel.modules):
        used_by = f"{mod.refcount} {','.join(holder.name for holder in reversed(mod.holders))}".rstrip()
        lines.append(f"{mod.name:<19} {mod.image.layout.core_size:>8}  {used_by}\n")
    return "".join(lines)


def modinfo(file: ModuleFile, path: str) -> str:
    """The lines of modinfo: the file's name, then .modinfo in its order."""
    pairs = [("filename", path), *((k, v) for k, v in file.modinfo_pairs if not k.startswith("__"))]
    return "".join(f"{key + ':':<16}{value}\n" for key, value in pairs)
