"""A kernel that modules are loaded into: what a shell can ask of it, and the recording of what it did.

Every command returns a Step, with the same fields that a recorder on a real kernel fills in.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated

from ..arguments import Address, Errno, checked, checked_methods
from ..arguments import folder as folder_of
from ..errors import ScenarioError, of_type, quoted
from ..files.klp import sites, zero_sites
from ..files.module_file import ModuleFile
from ..files.samples import exports as exports_of
from ..files.samples import ko_dir, plain_name
from . import arch as architectures
from . import kmod, messages, snapshot, split, sysfs
from .errno import EAGAIN, EINVAL, ENOENT, Hung, Oops, Refused
from .image import Arch
from .livepatch.core import enabled_store, force_store, in_force, klp_mutex_lock
from .livepatch.relocs import old_addresses
from .livepatch.transition import klp_try_complete_transition
from .loader import delete_module, load_module, set_parameter
from .memory import AddressSpace
from .module import Module
from .params import kstrtobool
from .policy import Behaviour, behaviour, names_of
from .recording import Recording
from .state import Commands, Machine, State
from .step import Command, Step, module_name

FILL = "fill"  # the kind of a mapping that no module has
_WORD = re.compile("(0x)?[0-9a-fA-F]{1,16}")  # 8 bytes
_SITE = re.compile(r"(?P<module>[^:]+):(?P<section>.+)\+0x(?P<offset>[0-9a-f]+)$")
_ENABLED = re.compile(r"/sys/kernel/livepatch/([^/]+)/(enabled|force)$")
_PARAMETER = re.compile(r"/sys/module/([^/]+)/parameters/([^/]+)$")
Open = Callable[[Path, str], ModuleFile]


@checked_methods(ScenarioError, but=["run", "step"])
class Kernel(State):
    """A model of one running kernel, with its modules and livepatches.

    arch: a name of klpteach.model.arch.ARCHITECTURES. release: one of policy.RELEASES. proposals: names of policy.PROPOSALS.
    ko: folder for file names without a path (default: the course's own modules). machine: what this machine lacks or
    forbids. rules: a behaviour of your own instead of the release's and the proposals'. cpu: hooks of your own instead of
    the architecture's. exports, vmlinux: addresses of the kernel's symbols where they are known. init_errno: file -> what its
    init() returns. open_file: (folder, name) -> file. records_state: False: steps keep errno and dmesg only.
    Errors: PolicyError, ModuleFormatError, ScenarioError; what the kernel itself refuses is a Step with its errno.

    >>> kernel = Kernel(release="6.1")
    >>> kernel.insmod("nfsd_demo.ko").errno, kernel.insmod("livepatch_nfsd_demo.ko").errno
    (0, 0)
    >>> kernel.rmmod("nfsd_demo").errno, kernel.insmod("nfsd_demo.ko").errno
    (0, -8)
    """

    @checked(ScenarioError, but=("arch", "release", "proposals", "machine"))
    def __init__(
        self, arch: str = "x86_64", release: str = "6.1", proposals: Iterable[str] = (), *,
        ko: str | os.PathLike[str] | None = None, title: str = "", scenario: str = "interactive",
        machine: Machine = Machine(),  # noqa: B008 (frozen)
        rules: Behaviour | None = None, exports: Mapping[str, Address] | None = None,
        vmlinux: Mapping[str, Address] | None = None, init_errno: Mapping[str, Errno] | None = None,
        open_file: Open | None = None, records_state: bool = True, cpu: Arch | None = None,
    ) -> None:  # fmt: skip
        proposals = names_of(proposals)
        machine = of_type(machine, Machine, "Machine(…), which says what this one lacks or forbids")
        cpu = cpu or architectures.of(arch)
        rules = rules or behaviour(release, proposals, arch)
        block = cpu.text_block if rules.text_in_blocks else 0
        start = rules.modules_start or cpu.modules_start
        memory = AddressSpace(start, cpu.modules_end, cpu.page, block, cpu.modules_far)
        folder = folder_of(ko, "ko", ScenarioError) if ko else ko_dir(arch, release)
        super().__init__(cpu, rules, folder, memory, machine)
        self.module_sig = "MODULE_SIG" in cpu.config
        listed = exports_of(folder)
        self.known = frozenset(path.name for path in folder.glob("*.ko")) if listed else frozenset()
        self.exports = {**listed, **(exports or {})}
        self.vmlinux = {name: [address] for name, address in (vmlinux or {}).items()}
        self.init_errno |= init_errno or {}
        self.records_state, self._open = records_state, open_file
        about = {"arch": arch, "release": release, "variant": "model"}
        self.recording = Recording(scenario, title, "model", about, list(cpu.config), proposals=proposals)
        self.commands = Commands(
            insmod=partial(load_module, self),
            insmod_in_background=partial(load_module, self),  # an ordinary load, so there is nothing to wait for
            wait=lambda name: None,
            rmmod=partial(delete_module, self),
            enabled=partial(enabled_store, self),
            parameter=partial(set_parameter, self),
        )
        self.split = split.attach(self) if self.rules.split_per_object else None

    # -- commands -----------------------------------------------------------------------------------------------------

    def insmod(self, file: str | os.PathLike[str] | ModuleFile, params: str = "") -> Step:
        """Load a module file: a path, a name in the ko folder, or a ModuleFile."""
        opened = file if isinstance(file, ModuleFile) else self.open_file(file)
        return self.step(f"insmod {opened.filename} {params}".rstrip(), lambda: self.commands.insmod(opened, params))

    def rmmod(self, name: str) -> Step:
        """Remove a module (with split-per-object: all parts of a livepatch)."""
        return self.step(f"rmmod {name}", lambda: self.commands.rmmod(module_name(name)))

    def modprobe(self, name: str, params: str = "") -> Step:
        """Load a module by name, first what its modinfo `depends` names (and its targets, where a proposal says so)."""
        planned = kmod.plan(self, name)
        step = self.step(f"modprobe {name} {params}".rstrip(), lambda: kmod.load_by_name(self, planned, params))
        if step.errno:
            step.out = kmod.modprobe(step, name, planned)[1]
        return step

    def insmod_in_background(self, file: str) -> Step:
        """`insmod FILE.ko &`: with split-per-object a target waits in state Coming until `wait NAME`; else it is loaded."""
        opened = self.open_file(file)
        return self.step(f"insmod {opened.filename} &", lambda: self.commands.insmod_in_background(opened))

    def wait(self, name: str) -> Step:
        """Let a load that waits go on. Where none does, nothing happens."""
        return self.step(f"wait {name}", lambda: self.commands.wait(name))

    def echo(self, value: int | str, path: str) -> Step:
        """Write to /sys/kernel/livepatch/PATCH/enabled (or force), to a module's parameter, or to kernel.ftrace_enabled."""
        return self.step(f"echo {value} > {path}", lambda: self._store(str(value), str(path)))

    def _store(self, value: str, path: str) -> None:
        if found := _PARAMETER.match(path):
            self.commands.parameter(found[1], found[2], value)
            return
        if path == sysfs.FTRACE_ENABLED:
            sysfs.ftrace_enable_sysctl(self, value)
            return
        found = _ENABLED.match(path)
        if not found:
            sysfs.write(self, path)
        on = kstrtobool(value)
        if on is None:
            raise Refused(EINVAL if self.klp.find(found[1]) else ENOENT)
        if found[2] == "force":
            force_store(self, found[1], on)
        else:
            self.commands.enabled(found[1], on)

    def cat(self, path: str) -> Step:
        """Read a file of /sys or /proc.

        /proc/NAME is there while NAME is Live, and reading it runs the patched function. Simplified: which instructions a
        stranger's bytes make is not looked at, nor those of a damaged livepatch; where one in force has some in its code, it
        oopses. Only the program that read dies of it: no lock of livepatch is held then.
        """
        found: list[str | None] = []

        def look() -> None:
            found.append(sysfs.read(self, path))
            if path.startswith("/proc/") and (mod := self.find_module(path.rpartition("/")[2])):
                self._run(mod, path)

        step = self.step(f"cat {path}", look)
        step.out = found[0] if found else None
        return step

    def _run(self, mod: Module, path: str) -> None:
        """Run the patched functions of a module as far as the model tells what becomes of it. Errors: Oops."""
        for address in old_addresses(self, mod):
            if not self.memory.is_mapped(address):
                line = self.arch.fault("read", address)
                self.log(line)
                raise Oops(line.render(), wrecks=False)
        for pmod in in_force(self, mod):
            if self.arch.has_stubs and self._is_damaged(pmod):
                raise ScenarioError(
                    f"cat {path}: it never comes back. A call in {pmod.name} that was not written leads to itself."
                )
            if pmod.has_foreign_code or self._is_damaged(pmod) or _runs_to_zero(pmod):
                raise Oops(path, wrecks=False)

    def _is_damaged(self, pmod: Module) -> bool:
        """Whether a call in a livepatch's code was not written, since its relocation in NAME+DEFECT.ko is elsewhere."""
        name = pmod.file.on_disk.filename
        plain = super().find_file(plain_name(name).removesuffix(".ko")) if plain_name(name) != name else None
        if plain is None:
            return False
        wanted, found = (list(sites(file)) for file in (plain, pmod.file.on_disk))
        missing = {site.key for site in wanted if self.find_module(site.object)} - {site.key for site in found}
        return any(site.key in missing and pmod.is_code(site.section) for site in wanted)

    def poke(self, site: str, value: str) -> Step:
        """A foreign write of a number of 8 bytes to "MODULE:SECTION+0xOFF"; value is hex. Errors: ScenarioError."""
        if not _WORD.fullmatch(value):
            raise ScenarioError(f"poke: {quoted(value)} is no number of 8 bytes in hex; try 'ffffffff'.")

        def write() -> None:
            klp_mutex_lock(self)  # the module that writes is loaded first
            new, old, found = int(value, 16), None, _SITE.match(site)
            if found and (mod := self.find_module(found["module"])):
                old = mod.poke(found["section"], int(found["offset"], 16), new.to_bytes(8, self.arch.byteorder))
            if old is None:
                raise Refused(ENOENT)
            # the module that does it never stays loaded
            raise self.refuse(messages.POKE(old=int.from_bytes(old, self.arch.byteorder), new=new), EAGAIN)

        return self.step(f"poke {site} {value}", write)

    def fill(self, count: Annotated[int, range(10_000)]) -> Step:
        """Take address space, `count` pages each with a guard page behind, so that the next module lands elsewhere.

        0 gives everything back. On ppc64le vmalloc() takes from the area where modules live; elsewhere nothing happens.
        """

        def take() -> None:
            if not count:
                self.free_regions([region for region in self.memory if region.kind == FILL])
            elif self.arch.shares_vmalloc:
                self.memory.fill(count, "vmalloc", FILL)

        return self.step(f"fill {count}", take)

    def run(self, line: str) -> Step:
        """One line of a story: insmod, rmmod, modprobe, echo, cat, poke, fill, boot. Errors: ScenarioError for any other."""
        match Command.parse(of_type(line, str, "one line of a story, as 'insmod nfsd_demo.ko'", ScenarioError)):
            case ("boot", "", ""):
                return self.step("boot")
            case ("insmod", file, "&"):
                return self.insmod_in_background(file)
            case ("insmod", file, params) if file:
                return self.insmod(file, params)
            case ("modprobe", name, params) if name and name[0] != "-":
                return self.modprobe(name, params)
            case ("rmmod", name, "") if name:
                return self.rmmod(name)
            case ("wait", name, "") if name:
                return self.wait(name)
            case ("echo", value, where) if re.fullmatch(r">\s+\S+", where):
                return self.echo(value, where[1:].strip())
            case ("cat", path, "") if path:
                return self.cat(path)
            case ("poke", site, value) if re.fullmatch("[0-9a-fA-F]{1,16}", value):
                return self.poke(site, value)
            case ("fill", count, "") if re.fullmatch("[0-9]{1,4}", count):
                return self.fill(int(count))
        there_are = "insmod FILE.ko, rmmod NAME, modprobe NAME, echo 0 > /sys/kernel/livepatch/NAME/enabled, cat PATH"
        raise ScenarioError(
            f"unknown command {quoted(line)}; there are {there_are}, poke MODULE:SECTION+0xOFF HEX, fill N."
        )

    # -- steps --------------------------------------------------------------------------------------------------------

    def step(self, command: str, action: Callable[[], object] = lambda: None) -> Step:
        """Do it, and record what came of it; without an action the command changes nothing here."""
        if self.wrecked and not self.arch.tells_the_wreck:
            raise ScenarioError(
                f"{command}: it hangs. The oops in an earlier step left klp_mutex locked: insmod, rmmod and echo wait for it "
                "in state D and cannot be killed, and hung-task detection says `blocked for more than 120 seconds`. "
                "Only a reboot helps."
            )
        step = Step(command)
        self.placed = {}
        try:
            try:
                action()
            except Refused as refused:
                step.errno = refused.errno
            if not self.wrecked:
                klp_try_complete_transition(self)  # klp_transition_work() comes by every second
        except Oops as oops:
            step.errno, step.oops, self.wrecked = None, True, oops.wrecks
        except Hung:
            step.errno, step.label = None, "hung"
        step.dmesg, self.dmesg = self.dmesg, []
        step.placement = self.placed or None
        if self.records_state:
            snapshot.look(self, step)
        self.recording.steps.append(step)
        return step

    def find_file(self, name: str) -> ModuleFile | None:
        """Where another folder is opened, its file of that name."""
        return self.open_file(f"{name}.ko") if self._open else super().find_file(name)

    def open_file(self, file: str | os.PathLike[str]) -> ModuleFile:
        """A module file by path, or by its name in the ko folder; the recording keeps its sha256."""
        opened = self._open(self.ko, str(file)) if self._open else super().open_file(file)
        opened = of_type(opened, ModuleFile, f"one from open_file() for {quoted(str(file))}", ScenarioError)
        self.recording.files[opened.filename] = hashlib.sha256(opened.data).hexdigest()
        return opened


def _runs_to_zero(pmod: Module) -> bool:
    """Whether the loader has written 0 for a livepatch symbol into a module's code, which nobody writes again."""
    names, targets = pmod.file.section_names, pmod.file.shdrs["info"]
    return any(pmod.is_code(names[int(targets[index])]) for index in zero_sites(pmod.file))
