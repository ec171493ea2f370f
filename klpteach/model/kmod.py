"""What insmod, modprobe, rmmod, lsmod and modinfo say (kmod 26 to 30); the kernel itself logs nothing for a refused rmmod."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errno import EAGAIN, EBUSY, EEXIST, EINVAL, ENODEV, ENOENT, ENOEXEC, EPERM

if TYPE_CHECKING:
    from ..files.module_file import ModuleFile
    from .kernel import Kernel
    from .recording import Step

INSMOD = {
    ENOEXEC: "Invalid module format",
    ENOENT: "Unknown symbol in module",
    EINVAL: "Invalid parameters",
    EEXIST: "File exists",
    ENODEV: "No such device",
    EBUSY: "Device or resource busy",
    EPERM: "Operation not permitted",
}
MODPROBE = {
    **INSMOD,
    ENOEXEC: "Exec format error",
    EINVAL: "Invalid argument",
    ENOENT: "Unknown symbol in module, or unknown parameter (see dmesg)",
}
RMMOD = {EAGAIN: "Resource temporarily unavailable", EBUSY: "Device or resource busy"}


def insmod(step: Step, path: str) -> tuple[int, str]:
    """Exit status and words of insmod for a load's errno.

    >>> from klpteach.model.recording import Step
    >>> insmod(Step("insmod nfsd.ko", errno=-8), "nfsd.ko")
    (1, 'insmod: ERROR: could not insert module nfsd.ko: Invalid module format\\n')
    """
    if not step.errno:
        return 0, ""
    return 1, f"insmod: ERROR: could not insert module {path}: {INSMOD.get(step.errno, f'error {step.errno}')}\n"


def modprobe(step: Step, name: str, not_found: str | None = None) -> tuple[int, str]:
    """Exit status and words of modprobe; a module that is loaded already is fine. not_found: which one has no file."""
    if not step.errno:
        return 0, ""
    if not_found:
        return 1, f"modprobe: FATAL: Module {not_found} not found in directory /lib/modules/$(uname -r)\n"
    return 1, f"modprobe: ERROR: could not insert '{name}': {MODPROBE.get(step.errno, f'error {step.errno}')}\n"


def rmmod(step: Step, name: str) -> tuple[int, str]:
    """Exit status and words of rmmod for what the kernel answered."""
    if not step.errno:
        return 0, ""
    return 1, f"rmmod: ERROR: could not remove module {name}: {RMMOD.get(step.errno, f'error {step.errno}')}\n"


def rmmod_objection(kernel: Kernel, name: str) -> str | None:
    """What rmmod finds in sysfs before it asks the kernel: not loaded, holders, or a reference count."""
    mod = kernel.find_module(name)
    if mod is None:
        return f"rmmod: ERROR: Module {name} is not currently loaded\n"
    if mod.holders:
        return f"rmmod: ERROR: Module {name} is in use by: {' '.join(h.name for h in reversed(mod.holders))}\n"
    return f"rmmod: ERROR: Module {name} is in use\n" if mod.references else None


def lsmod(kernel: Kernel) -> str:
    """The table of lsmod, newest module first."""
    rows = [
        f"{m.name:<19} {m.image.layout.core_size:>8}  {m.refcount}{' ' if m.holders else ''}"
        f"{','.join(h.name for h in reversed(m.holders))}\n"
        for m in reversed(kernel.modules)
    ]
    return "Module                  Size  Used by\n" + "".join(rows)


def modinfo(file: ModuleFile, path: str) -> str:
    """The lines of modinfo: the file's name, then .modinfo in its order."""
    pairs = [("filename", path), *((k, v) for k, v in file.modinfo_pairs if not k.startswith("__"))]
    return "".join(f"{key + ':':<16}{value}\n" for key, value in pairs)
