"""Files of /sys and /proc that follow from the kernel's state: what `cat` prints, and kernel.ftrace_enabled.

Sources: kernel/livepatch/core.c (enabled_show() and its like), kernel/module/sysfs.c and main.c, kernel/trace/ftrace.c.
"""

from __future__ import annotations

from typing import NoReturn

from . import messages
from .errno import EACCES, EBUSY, EINVAL, EIO, ENOENT, EOPNOTSUPP, Refused
from .klp_structs import KlpPatch
from .module import COMING, GOING, LIVE, Module
from .params import kstrtoint
from .state import State

FTRACE_ENABLED = "/proc/sys/kernel/ftrace_enabled"


def read(kernel: State, path: str) -> str | None:
    """What a file holds; None for one that a Live module answers in its own words. Errors: Refused(-ENOENT).

    /proc/NAME is there while module NAME is Live.
    """
    match path.strip("/").split("/"):
        case ["proc", "sys", "kernel", "ftrace_enabled"]:
            return f"{kernel.ftrace_enabled}\n"
        case ["sys", "kernel", "livepatch", name, *rest] if (patch := kernel.klp.find(name)) is not None:
            return _of_patch(kernel, patch, rest)
        case ["sys", "module", name, attribute] if mod := kernel.find_module(name):
            return _of_module(mod, attribute)
        case ["proc", *_, name] if (mod := kernel.find_module(name)) and mod.state == LIVE:
            return None
    raise Refused(ENOENT)


def write(kernel: State, path: str) -> NoReturn:
    """A write to what is none of the files that take one. Errors: Refused, always.

    -ENOENT for what is not there; -EACCES for a file of sysfs, whose mode binds root too (kernfs_fop_open()); -EIO for one of
    /proc, which root may open, but nothing there takes the bytes (pde_write()).
    """
    raise Refused(EIO if read(kernel, path) is None else EACCES)


def _of_patch(kernel: State, patch: KlpPatch, names: list[str]) -> str:
    match names:
        case ["enabled"]:
            return f"{int(patch.enabled)}\n"
        case ["transition"]:
            return f"{int(patch is kernel.klp.transition)}\n"
        case ["replace" as name] if name in kernel.rules.patch_files:
            return f"{int(patch.replace)}\n"
        case ["stack_order" as name] if name in kernel.rules.patch_files:  # among those in force, 1 is the oldest
            return f"{kernel.klp.patches.index(patch) + 1}\n"
        case [label, "patched"] if kernel.rules.patched_in_sysfs:
            for obj in patch.objects:
                if obj.label == label:
                    return f"{int(obj.patched)}\n"
    raise Refused(ENOENT)


def _of_module(mod: Module, attribute: str) -> str:
    known = {
        "coresize": str(mod.image.layout.core_size),
        "refcnt": str(mod.refcount),
        "taint": mod.taint,
        "initstate": {COMING: "coming", GOING: "going"}.get(mod.state, "live"),
    }
    if attribute not in known:
        raise Refused(ENOENT)
    return f"{known[attribute]}\n"


def ftrace_enable_sysctl(kernel: State, value: str) -> None:
    """A write to kernel.ftrace_enabled: a number. Errors: Refused(-EINVAL) for none, -EBUSY while a livepatch is in force, -EOPNOTSUPP on 7.3.

    Simplified: up to 5.4, which is 5.3 here, livepatches were no obstacle and lay idle meanwhile.
    """
    try:
        number = kstrtoint("int", value)
    except Refused:
        raise Refused(EINVAL) from None
    if number or not kernel.ftrace_enabled:
        kernel.ftrace_enabled = number
        return
    kernel.ftrace_enabled = 1  # what is refused leaves it on
    if not kernel.rules.ftrace_switch:
        kernel.log_once(messages.FTRACE_DEPRECATED())
        raise Refused(EOPNOTSUPP)
    if kernel.klp.func_stacks:
        raise Refused(EBUSY)
    kernel.ftrace_enabled = 0
