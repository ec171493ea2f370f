"""What every part of the kernel shares (kernel/module/internal.h): memory, modules, livepatches, the log, who listens.

The loader, livepatch, modprobe and the proposals are functions that take a State; kernel.py puts a shell's commands on it.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..arguments import check_fields, checked
from ..errors import ScenarioError
from ..files.module_file import ModuleFile
from ..files.samples import INIT_ERRNO, open_ko, plain_name
from . import messages
from .errno import EBUSY, ENODEV, Refused
from .image import Arch
from .klp_structs import LivepatchState
from .memory import AddressSpace, Region
from .module import COMING, LIVE, UNFORMED, Module
from .policy import Behaviour
from .step import module_name

_EXPORTABLE = re.compile(r"\w+", re.ASCII)  # what EXPORT_SYMBOL() can be given
Callback = Callable[["State"], int | None]


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

    def __post_init__(self) -> None:
        check_fields(self)


@dataclass
class Commands:
    """Who answers what user space asks for: the kernel, unless a proposal stands in between. Errors: Refused."""

    insmod: Callable[[ModuleFile, str], None]  # file, parameters
    insmod_in_background: Callable[[ModuleFile], None]
    wait: Callable[[str], None]  # for a load in the background, by module name
    rmmod: Callable[[str], None]
    enabled: Callable[[str, bool], None]  # a write to /sys/kernel/livepatch/NAME/enabled
    parameter: Callable[[str, str, str], None]  # module, parameter, value


@dataclass(eq=False)
class State:
    """One running kernel: its modules and livepatches, and what a story says about it."""

    arch: Arch
    rules: Behaviour
    ko: Path  # folder of module files that are named without a path
    memory: AddressSpace
    machine: Machine
    modules: list[Module] = field(default_factory=list)  # oldest first
    klp: LivepatchState = field(default_factory=LivepatchState)
    # Whom the loader tells of a module: proposals register here, as notifiers of module states do.
    coming: list[Callable[[Module], None]] = field(default_factory=list)
    going: list[Callable[[Module], None]] = field(default_factory=list)
    commands: Commands = field(init=False)
    # Where the next load must land (module -> region -> address; none: lowest fit), and where this command's loads did.
    placement: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    placed: dict[str, dict[str, int]] = field(default_factory=dict)
    # What vmlinux has: symbols that livepatches look up, and exports (None: at an unknown address), which are complete
    # for the files that are known.
    vmlinux: dict[str, list[int]] = field(default_factory=dict)
    exports: dict[str, int | None] = field(default_factory=dict)
    known: frozenset[str] = frozenset()
    # Code does not run here: a story declares what the init() of FILE.ko returns (or of "FILE.ko PARAMETERS"), what (patch, object, "pre_patch" …) does,
    # and what (module, "init" or "exit") does besides.
    init_errno: dict[str, int] = field(default_factory=lambda: dict(INIT_ERRNO))
    callbacks: dict[tuple[str, str, str], Callback] = field(default_factory=dict)
    module_code: dict[tuple[str, str], Callback] = field(default_factory=dict)
    transition_blocked: bool = False  # a task sleeps in a function that is to be patched
    wrecked: bool = False  # after an oops with klp_mutex held
    module_sig: bool = False  # CONFIG_MODULE_SIG: what is not signed taints
    dynamic_debug: bool = False
    hash_pointers: bool = True
    ftrace_enabled: int = 1  # as it was written; any but 0 is on
    dmesg: list[tuple[int | None, str]] = field(default_factory=list)  # of the command that runs
    printed_once: set[messages.Message] = field(default_factory=set)

    # -- the log ------------------------------------------------------------------------------------------------------

    def log(self, line: messages.Line) -> None:
        """printk(). Debug lines appear with dynamic debug only."""
        if line.level < messages.DEBUG or self.dynamic_debug:
            self.dmesg.append((line.level, line.render(self._pointer, self._symbol)))

    def refuse(self, line: messages.Line, errno: int) -> Refused:
        """Print why; what is to be raised then."""
        self.log(line)
        return Refused(errno)

    def log_once(self, line: messages.Line) -> None:
        """pr_notice_once() and the like: once a boot, also if that load failed later."""
        if line.message not in self.printed_once:
            self.printed_once.add(line.message)
            self.log(line)

    def _pointer(self, address: int) -> str:
        """%p: the address itself only with no_hash_pointers, else 32 bits of a hash. Simplified: not the kernel's siphash."""
        hashed = int.from_bytes(hashlib.sha256(address.to_bytes(8, "little")).digest()[:4], "little")
        return f"{hashed if self.hash_pointers else address:016x}"

    def _symbol(self, address: int) -> str:
        """%pS: symbol+0xOFFSET/0xSIZE [module]; the bare address while the module is not formed."""
        named = (mod.symbol_of(address) for mod in self.modules if mod.state != UNFORMED)
        return next(filter(None, named), f"{address:#x}")

    # -- modules ------------------------------------------------------------------------------------------------------

    def find_module(self, name: str | None) -> Module | None:
        return next((mod for mod in self.modules if mod.name == name and mod.state != UNFORMED), None)

    def parameter(self, module: str, key: str) -> str:
        """A module's parameter as it was given, or "0"."""
        mod = self.find_module(module)
        return mod.parameters.get(key, "0") if mod else "0"

    def flag(self, module: str, key: str) -> bool:
        """Whether a module's parameter is set, be it a number or a bool."""
        return self.parameter(module, key) not in ("0", "N")

    def init_errno_of(self, file: ModuleFile, params: str = "") -> int:
        """What the module's own init() returns: the story says so, or the machine lacks the hardware."""
        if file.name in self.machine.without_hardware:
            return ENODEV
        return self.init_errno.get(f"{file.filename} {params}", self.init_errno.get(file.filename, 0))

    def free_regions(self, regions: Collection[Region]) -> None:
        for region in regions:
            self.memory.free(region)

    @checked(ScenarioError)
    def open_file(self, file: str | os.PathLike[str]) -> ModuleFile:
        """A module file by path, or by its name in the ko folder (NAME+DEFECT.ko, too)."""
        name = str(file)
        if Path(file).name == name and ("+" in name or os.path.exists(self.ko / name)):
            return open_ko(self.ko, name)
        return ModuleFile.open(file)

    @checked(ScenarioError)
    def find_file(self, name: str) -> ModuleFile | None:
        """The file of a module, by its name, in the ko folder; None where there is none. - and _ are the same in files' names."""
        if os.path.exists(self.ko / f"{name}.ko"):  # Path.exists() raises for a name that is too long
            return self.open_file(f"{name}.ko")
        files = sorted((path.name for path in self.ko.glob("*.ko*")), reverse=True)
        names = {module_name(file.partition(".ko")[0]): file for file in files}
        stem, made, _ = name.partition("+")
        found = names.get(name) or (f"{name}.ko" if made and stem in names else None)
        return self.open_file(found) if found else None

    # -- symbols ------------------------------------------------------------------------------------------------------

    def resolve_symbol(self, mod: Module, name: str) -> int | None:
        """An exported symbol's address: of the kernel, or of a Live module, which is then in use by `mod`.

        What the kernel exports is known for the modules of the ko folder. For a module from elsewhere a name that no
        loaded module exports is taken to be the kernel's, if it is one that C code can have: no .klp.sym. is. Errors:
        Refused(-EBUSY) where the owner's init has not run: the kernel waits for it, 30 seconds at most
        (resolve_symbol_wait()), and here nobody else goes on meanwhile.
        """
        if owner := self.find_export(name):
            if owner.state == COMING:
                raise self.refuse(messages.GAVE_UP_WAITING(module=mod.name, owner=owner.name), EBUSY)
            mod.use(owner)
            return owner.exports[name]
        if name in self.exports:
            return self.exports[name] or self.invented(name)
        unknown = plain_name(mod.file.filename) in self.known or not _EXPORTABLE.fullmatch(name)
        return None if unknown else self.invented(name)

    def find_export(self, name: str) -> Module | None:
        """The module that exports a symbol; one that waits half-loaded does not count."""
        return next((mod for mod in self.modules if mod.state in (COMING, LIVE) and name in mod.exports), None)

    def invented(self, name: str) -> int:
        """An address in the kernel's text for a symbol whose real one is not known; the same name, the same address."""
        digest = int.from_bytes(hashlib.sha256(name.encode(errors="backslashreplace")).digest()[:3], "little")
        return self.arch.kernel_text + (digest & (self.arch.kernel_size - 1) & ~0xF)

    def object_symbol(self, objname: str | None, name: str, sympos: int) -> tuple[int, int]:
        """How many symbols of that name a search in an object sees, and the address of the last of them; None is vmlinux.

        It stops at position sympos; with 0, which wants a unique name, at the second.
        """
        mod = self.find_module(objname) if objname is not None else None
        found = mod.find_symbols(name) if mod else self.vmlinux.get(name, ()) if objname is None else ()
        seen = min(len(found), sympos or 2)
        last = found[seen - 1] if seen else 0
        return seen, int(mod.image.symbols[last]) if mod and seen else last

    def vmlinux_function(self, name: str) -> int:
        """A function of vmlinux that a livepatch replaces. Simplified: whatever name it gives, there is one."""
        return self.vmlinux.get(name, [0])[0] or self.exports.get(name) or self.invented(name)

    def add_to_vmlinux(self, names: Iterable[str]) -> dict[str, int]:
        """Let vmlinux have these symbols, for livepatches to look up; where each of them is."""
        places = {name: self.vmlinux_function(name) for name in names}
        self.vmlinux |= {name: [address] for name, address in places.items()}
        return places
