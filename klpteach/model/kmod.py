"""What user space does: where modprobe finds a module's file and what must be there first, and the words of all the tools.

modprobe(8), modules.dep(5); insmod, modprobe, rmmod, lsmod and modinfo of kmod 26 to 30. The kernel itself logs nothing for
a refused rmmod.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ..files.module_file import ModuleFile
from .errno import EEXIST, EINVAL, ENOENT, ENOEXEC, ESRCH, Refused, strerror
from .livepatch.core import klp_target_names
from .loader import form_module
from .module import HALF_LOADED
from .state import State
from .step import Step, module_name

# -- modprobe -------------------------------------------------------------------------------------------------------------


class Wanted(NamedTuple):
    """A module that modprobe is about to load: its file, None where there is none, and whether a livepatch wants it as its target."""

    name: str
    file: ModuleFile | None
    by_livepatch: bool


class Plan(NamedTuple):
    """What modprobe loads, in order; or the circle in which modules need each other, for which depmod makes no plan."""

    wanted: list[Wanted]
    circle: list[str]

    @property
    def missing(self) -> str | None:
        """The first module that has no file on this machine."""
        return next((one.name for one in self.wanted if one.file is None), None)


def plan(kernel: State, name: str) -> Plan:
    """modules.dep's line for a module, without what is loaded already.

    >>> from klpteach import Kernel
    >>> [one.name for one in plan(Kernel(), "nfsd_demo").wanted], plan(Kernel(), "nfsd-demos").missing
    (['nfsd_demo'], 'nfsd_demos')
    """
    planned, trail = dict[str, Wanted](), list[tuple[Wanted, Iterator[tuple[str, bool]]]]()

    def enter(name: str, by_livepatch: bool) -> None:
        if name not in planned and not is_there(kernel, name, by_livepatch):
            file = None if name in kernel.machine.not_installed else kernel.find_file(name)
            trail.append((Wanted(name, file, by_livepatch), needs(kernel, file) if file else iter(())))

    enter(module_name(name), False)
    while trail:
        needed = next(trail[-1][1], None)
        on_the_way = [wanted.name for wanted, _ in trail]
        if needed is None:
            wanted, _ = trail.pop()
            planned[wanted.name] = wanted
        elif needed[0] in on_the_way:
            return Plan([], [*on_the_way[on_the_way.index(needed[0]) :], needed[0]])
        else:
            enter(*needed)
    return Plan(list(planned.values()), [])


def load_by_name(kernel: State, planned: Plan, params: str = "") -> None:
    """modprobe: first what a module needs, then the module itself; one that is loaded already is fine.

    Errors: Refused(-ENOENT) where a file is missing, else with what the kernel answers; what came before stays loaded.
    """
    if planned.circle:
        raise Refused(ENOENT)
    for one in planned.wanted:
        if is_there(kernel, one.name, one.by_livepatch):
            continue
        if one.file is None:
            raise Refused(ENOENT)
        if one.by_livepatch and kernel.rules.half_load:
            form_module(kernel, one.file).state = HALF_LOADED
        else:
            kernel.commands.insmod(one.file, params if one is planned.wanted[-1] else "")


def is_there(kernel: State, name: str, by_livepatch: bool) -> bool:
    """Whether modprobe has nothing to do: the module's initstate is live; for a livepatch one that waits half-loaded will do."""
    mod = kernel.find_module(name)
    return mod is not None and (mod.state != HALF_LOADED or by_livepatch)


def needs(kernel: State, file: ModuleFile) -> Iterator[tuple[str, bool]]:
    """The modules that must be there first, each with whether a livepatch wants it as its target.

    With the proposal hard-dependencies depmod would write a livepatch's targets into modules.dep, like any dependency.
    Simplified: depmod asks which symbols are exported where; here modinfo's `depends` is believed, but for a module that
    names itself, since none exports what it lacks.
    """
    for name in map(module_name, filter(None, file.modinfo.get("depends", "").split(","))):
        if name != file.name:
            yield name, False
    if kernel.rules.depend_on_targets:
        for name in klp_target_names(file):
            yield name, True


# -- words ----------------------------------------------------------------------------------------------------------------

# What a tool says of an errno by itself; of any other, what strerror() says.
INSMOD = {
    ENOEXEC: "Invalid module format", ENOENT: "Unknown symbol in module", EINVAL: "Invalid parameters",
    ESRCH: "Module has wrong symbol version",
}  # fmt: skip
MODPROBE = {ENOENT: "Unknown symbol in module, or unknown parameter (see dmesg)"}


def insmod(step: Step, path: str) -> tuple[int, str]:
    """Exit status and words of insmod for a load's errno.

    >>> insmod(Step("insmod nfsd.ko", errno=-8), "nfsd.ko")
    (1, 'insmod: ERROR: could not insert module nfsd.ko: Invalid module format\\n')
    """
    if not step.errno:
        return 0, ""
    return 1, f"insmod: ERROR: could not insert module {path}: {INSMOD.get(step.errno) or strerror(step.errno)}\n"


def modprobe(step: Step, name: str, planned: Plan | None = None) -> tuple[int, str]:
    """Exit status and words of modprobe, and depmod's before it where it made no plan. -EEXIST is fine: it is there already."""
    if step.errno in (0, None, EEXIST):
        return 0, ""
    found = planned or Plan([], [])
    circle = f"depmod: ERROR: Cycle detected: {' -> '.join(found.circle)}\n" if found.circle else ""
    if missing := module_name(name) if circle else found.missing:
        return 1, f"{circle}modprobe: FATAL: Module {missing} not found in directory /lib/modules/$(uname -r)\n"
    words = MODPROBE.get(step.errno) or strerror(step.errno)
    return 1, f"modprobe: ERROR: could not insert '{module_name(name)}': {words}\n"


def rmmod(step: Step, name: str) -> tuple[int, str]:
    """Exit status and words of rmmod for what the kernel answered."""
    if not step.errno:
        return 0, ""
    return 1, f"rmmod: ERROR: could not remove module {name}: {strerror(step.errno)}\n"


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
