"""A kernel that modules are loaded into: what a shell can ask of it, and the recording of what it did.

Every command returns a Step, with the same fields that a recorder on a real kernel fills in.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import ScenarioError
from ..files import klp
from ..files.module_file import ModuleFile
from ..files.samples import INIT_ERRNO, exports, ko_dir, open_ko, plain_name
from . import arch as machines
from . import kmod, messages, modprobe, split
from .errno import EAGAIN, EINVAL, ENOENT, Oops, Refused
from .klp_structs import PATCHED, KlpObject, KlpPatch, LivepatchState
from .livepatch.core import enabled_store, force_store
from .livepatch.transition import klp_try_complete_transition
from .loader import delete_module, load_module
from .memory import AddressSpace, Region
from .module import COMING, LIVE, TRUE, UNFORMED, Module
from .policy import behaviour
from .recording import Recording, Step

Callback = Callable[["Kernel"], int | None]
_SITE = re.compile(r"(?P<module>[^:]+):(?P<section>.+)\+0x(?P<offset>[0-9a-f]+)$")
_ENABLED = re.compile(r"/sys/kernel/livepatch/([^/]+)/(enabled|force)$")
FILL = "fill"  # the kind of a mapping that no module has
_PARAMETER = re.compile(r"/sys/module/([^/]+)/parameters/([^/]+)$")


class Kernel:
    """A model of one running kernel, with its modules and livepatches.

    arch: "x86_64" or "ppc64le". release: "5.3", "6.1", "6.3", "6.12". proposals: names of klpteach.model.policy.PROPOSALS. ko: folder for
    file names without a path (default: the course's own modules). callbacks: (patch, object, "pre_patch" …) -> function.
    machine: what this machine lacks or forbids (klpteach.model.modprobe.Machine).
    Errors: PolicyError, ModuleFormatError, ScenarioError; what the kernel itself refuses is a Step with its errno.

    >>> kernel = Kernel(release="6.1")
    >>> kernel.insmod("nfsd_demo.ko").errno, kernel.insmod("livepatch_nfsd_demo.ko").errno
    (0, 0)
    >>> kernel.rmmod("nfsd_demo").errno, kernel.insmod("nfsd_demo.ko").errno
    (0, -8)
    """

    def __init__(
        self,
        arch: str = "x86_64",
        release: str = "6.1",
        proposals: Iterable[str] = (),
        *,
        ko: str | os.PathLike[str] | None = None,
        title: str = "",
        scenario: str = "interactive",
        machine: modprobe.Machine = modprobe.Machine(),  # noqa: B008 (frozen)
    ) -> None:
        self.cpu = machines.of(arch)
        self.rules = behaviour(release, proposals, arch)
        self.arch = arch
        self.ko = Path(ko) if ko else ko_dir(arch, release)
        self.memory = AddressSpace(self.cpu.modules_start, self.cpu.modules_end, self.cpu.page)
        self.modules: list[Module] = []  # oldest first
        self.klp = LivepatchState()
        self.placement: Mapping[str, Mapping[str, int]] = {}  # where the next load must land; {} = lowest fit
        self.placed: dict[str, dict[str, int]] = {}  # where the modules of this command were put, also refused ones
        self.host = machine
        self.looking = True  # False: steps keep errno and dmesg only
        self.split = split.SplitState()
        self.init_errno: dict[str, int] = dict(INIT_ERRNO)  # file -> what its init() returns
        self.callbacks: dict[tuple[str, str, str], Callback] = {}
        self.code: dict[tuple[str, str], Callback] = {}  # (module, "init" or "exit") -> what it does besides
        self.transition_blocked = False  # a task sleeps in a function that is to be patched
        self.dynamic_debug = False
        self.module_sig = "MODULE_SIG" in self.cpu.config  # and nothing is signed
        self.hash_pointers = True
        # Per-CPU data of a module: an offset behind the kernel's own (recording percpu--6.12); it must fit 32 bits signed.
        self.percpu_base = 0x39000
        self.wrecked = False  # after an oops with klp_mutex held
        self.vmlinux: dict[str, list[int]] = {}  # symbols of the kernel itself, where a story needs them
        self._exports = exports(self.ko)
        self._known = frozenset(path.name for path in self.ko.glob("*.ko")) if self._exports else frozenset()
        self._said: set[messages.Message] = set()
        self._dmesg: list[tuple[int | None, str]] = []
        self.site_file: Callable[[Module], ModuleFile] = lambda module: module.file.on_disk
        self.recording = Recording(
            scenario,
            title,
            "model",
            {"arch": arch, "release": release, "variant": "model"},
            list(self.cpu.config),
            proposals=list(proposals),
        )

    # -- commands -----------------------------------------------------------------------------------------------------

    def insmod(self, file: str | os.PathLike[str] | ModuleFile, params: str = "") -> Step:
        """Load a module file: a path, a name in the ko folder, or a ModuleFile."""
        opened = file if isinstance(file, ModuleFile) else self.open_file(file)
        return self._step(
            f"insmod {opened.filename}{' ' + params if params else ''}", lambda: self.load_file(opened, params)
        )

    def rmmod(self, name: str) -> Step:
        """Remove a module (with split-per-object: all parts of a livepatch)."""
        return self._step(f"rmmod {name}", lambda: self._remove(name))

    def modprobe(self, name: str, params: str = "") -> Step:
        """Load a module by name, first what its modinfo `depends` names (and its targets, where a proposal says so)."""
        gone = modprobe.not_found(self, name)
        command = f"modprobe {name}{' ' + params if params else ''}"
        step = self._step(command, lambda: modprobe.load_by_name(self, name, params))
        if step.errno:
            step.out = kmod.modprobe(step, name, gone)[1]
        return step

    def insmod_in_background(self, file: str) -> Step:
        """`insmod FILE.ko &`: with split-per-object a target waits in state Coming until `wait NAME`; else it is loaded."""
        opened = self.open_file(file)
        load = lambda: split.load_in_background(self, opened, modprobe.init_errno_of(self, opened))
        return self._step(f"insmod {opened.filename} &", load)

    def wait(self, name: str) -> Step:
        """Let a load that waits go on. Where none does, nothing happens."""
        return self._step(f"wait {name}", lambda: split.wait(self, name))

    def echo(self, value: int | str, path: str) -> Step:
        """Write to /sys/kernel/livepatch/PATCH/enabled, or to a module's parameter."""

        def store() -> None:
            if parameter := _PARAMETER.match(str(path)):
                self._set_parameter(parameter[1], parameter[2], str(value))
                return
            match = _ENABLED.match(str(path))
            if not match:
                raise Refused(ENOENT)
            if str(value) not in ("0", "1"):
                raise Refused(EINVAL)
            self._write_sysfs(match[1], match[2], str(value) == "1")

        return self._step(f"echo {value} > {path}", store)

    def cat(self, path: str) -> Step:
        """Look whether a module answers: /proc/NAME is there while NAME is Live."""

        def look() -> None:
            mod = self.find_module(path.rpartition("/")[2])
            if mod is None or mod.state != LIVE:
                raise Refused(ENOENT)

        return self._step(f"cat {path}", look)

    def poke(self, site: str, value: str) -> Step:
        """A foreign write of 8 little-endian bytes to "MODULE:SECTION+0xOFF"; value is hex."""

        def write() -> None:
            match = _SITE.match(site)
            mod = self.find_module(match["module"]) if match else None
            new = int(value, 16)
            old = (
                mod.poke(match["section"], int(match["offset"], 16), new.to_bytes(8, "little"))
                if mod and match
                else None
            )
            if old is None:
                raise Refused(ENOENT)
            self.log(messages.POKE(old=int.from_bytes(old, "little"), new=new))
            raise Refused(EAGAIN)  # the module that does it never stays loaded

        return self._step(f"poke {site} {value}", write)

    def fill(self, count: int) -> Step:
        """Take address space, `count` pages each with a guard page behind, so that the next module lands elsewhere.

        0 gives everything back. On ppc64le vmalloc() takes from the area where modules live; elsewhere nothing happens.
        """

        def take() -> None:
            if not count:
                self.free_regions([region for region in self.memory if region.kind == FILL])
            for _ in range(count if self.cpu.shares_vmalloc else 0):
                self.memory.alloc(self.cpu.page, "vmalloc", FILL)

        return self._step(f"fill {count}", take)

    def run(self, command: str) -> Step:
        """One line of a story: insmod, rmmod, modprobe, echo, cat, poke, fill, boot. Errors: ScenarioError for any other."""
        words = command.split()
        match words:
            case ["boot"]:
                return self._step("boot", lambda: None)
            case ["insmod", file, "&"]:
                return self.insmod_in_background(file)
            case ["wait", name]:
                return self.wait(name)
            case ["insmod", file, *params]:
                return self.insmod(file, " ".join(params))
            case ["rmmod", name]:
                return self.rmmod(name)
            case ["modprobe", name, *params] if name[0] != "-":
                return self.modprobe(name, " ".join(params))
            case ["echo", value, ">", path]:
                return self.echo(value, path)
            case ["cat", path]:
                return self.cat(path)
            case ["poke", site, value] if re.fullmatch("[0-9a-fA-F]{1,16}", value):
                return self.poke(site, value)
            case ["fill", count] if re.fullmatch("[0-9]{1,4}", count):
                return self.fill(int(count))
        raise ScenarioError(
            f"unknown command {command!r}; there are insmod FILE.ko, rmmod NAME, modprobe NAME, "
            "echo 0 > /sys/kernel/livepatch/NAME/enabled, cat PATH, poke MODULE:SECTION+0xOFF HEX, fill N."
        )

    def pass_over(self, command: str) -> Step:
        """A command that changes nothing here, kept in the recording so that steps stay in line."""
        return self._step(command, lambda: None)

    def set_export(self, name: str, address: int) -> None:
        """Tell where the kernel exports a symbol (a recording knows)."""
        self._exports = {**self._exports, name: address}

    # -- what the model's parts ask of it -----------------------------------------------------------------------------

    def log(self, line: messages.Line) -> None:
        """printk(). Debug lines appear with dynamic debug only."""
        if line.level < messages.DEBUG or self.dynamic_debug:
            self._dmesg.append((line.level, line.render(self._pointer, self._symbol)))

    def log_once(self, line: messages.Line) -> None:
        """pr_notice_once() and the like: once a boot, also if that load failed later."""
        if line.message not in self._said:
            self._said.add(line.message)
            self.log(line)

    def _pointer(self, address: int) -> str:
        """%p: the address itself only with no_hash_pointers, else 32 bits of a hash. Simplified: not the kernel's siphash."""
        if not self.hash_pointers:
            return f"{address:016x}"
        return f"{int.from_bytes(hashlib.sha256(address.to_bytes(8, 'little')).digest()[:4], 'little'):016x}"

    def _symbol(self, address: int) -> str:
        """%pS: symbol+0xOFFSET/0xSIZE [module]; the bare address while the module is not formed."""
        named = (m.symbol_of(address) for m in self.modules if m.state != UNFORMED)
        return next(filter(None, named), f"{address:#x}")

    def find_module(self, name: str | None) -> Module | None:
        return next((m for m in self.modules if m.name == name and m.state != UNFORMED), None)

    def free_regions(self, regions: Iterable[Region]) -> None:
        for region in regions:
            self.memory.free(region)

    def resolve_symbol(self, mod: Module, name: str) -> int | None:
        """An exported symbol's address: of the kernel, or of a Live module, which is then in use by `mod`.

        What the kernel exports is known for the modules of the ko folder. For a module from elsewhere a name that no
        loaded module exports is taken to be the kernel's.
        """
        for owner in self.modules:
            if owner.state == LIVE and name in owner.exports:
                mod.use(owner)
                return owner.exports[name]
        if name in self._exports:
            return self._exports[name] or self._invented(name)
        return None if plain_name(mod.file.filename) in self._known else self._invented(name)

    def _invented(self, name: str) -> int:
        """An address in the kernel's text for a symbol whose real one is not known; the same name, the same address."""
        return self.cpu.kernel_text + (int.from_bytes(hashlib.sha256(name.encode()).digest()[:3], "little") & ~0xF)

    def find_export(self, name: str) -> str | None:
        """Who exports a symbol already: a module's name, or None."""
        return next((m.name for m in self.modules if m.state == LIVE and name in m.exports), None)

    def object_symbols(self, objname: str | None, name: str) -> Iterator[int]:
        """Addresses of all symbols of that name in an object, in kallsyms' order; None is vmlinux."""
        if objname is None:
            yield from self.vmlinux.get(name, ())
            return
        mod = self.find_module(objname)
        if mod is not None:
            yield from mod.find_symbol(name)

    def vmlinux_function(self, name: str) -> int:
        """A function of vmlinux that a livepatch replaces. Simplified: whatever name it gives, there is one."""
        return self.vmlinux.get(name, [0])[0] or self._exports.get(name) or self._invented(name)

    def ftrace_location(self, obj: KlpObject, address: int) -> bool:
        """Whether the function at an address begins with a call that ftrace can take over.

        Simplified: in vmlinux every function does; in a module an entry of __mcount_loc in its first 32 bytes counts.
        """
        return obj.mod is None or any(address <= entry < address + 32 for entry in obj.mod.ftrace_locations)

    def run_callback(self, patch: str, obj: str, kind: str) -> int:
        """A livepatch's callback, if the story declared one. Its errno matters for pre_patch only.

        Code does not run here, so a parameter named pre_patch_ret is taken to be what pre_patch returns, as in the
        kernel's own test modules.
        """
        function = self.callbacks.get((patch, obj, kind))
        if function is None and kind == "pre_patch":
            return int(self.parameter(patch, "pre_patch_ret"))  # parse_args() has seen that it is a number
        return (function(self) or 0) if function else 0

    def run_code(self, module: str, function: str) -> None:
        """A module's init or exit, if the story declared what it does; module code itself is not run."""
        if (module, function) in self.code:
            self.code[module, function](self)

    def in_the_way(self, patch: KlpPatch) -> bool:
        """Whether a task keeps the transition waiting: the story says so, or it sits in a target's old function.

        Simplified: a parameter named block_transition tells that, as in the kernel's own test modules.
        """
        targets = [obj.name for obj in patch.objects if obj.name and obj.mod]
        sleeping = any(self.parameter(name, "block_transition") in TRUE for name in targets)
        return self.transition_blocked or (sleeping and self.klp.target == PATCHED)

    def parameter(self, module: str, key: str) -> str:
        """A module's parameter as it was given, or "0"."""
        mod = self.find_module(module)
        return mod.parameters.get(key, "0") if mod else "0"

    def _set_parameter(self, module: str, key: str, value: str) -> None:
        mod = self.find_module(module)
        if split.remember_parameter(self, module, key, value) and mod is None:
            return
        if mod is None or key not in mod.parameter_types:
            raise Refused(ENOENT)
        mod.set_parameter(key, value)

    # -- steps --------------------------------------------------------------------------------------------------------

    def _step(self, command: str, action: Callable[[], object]) -> Step:
        step = Step(command)
        if self.wrecked:
            raise ScenarioError(
                f"{command}: it hangs. The oops in an earlier step left klp_mutex locked: insmod, rmmod and echo wait for it "
                "in state D and cannot be killed, and hung-task detection says `blocked for more than 120 seconds`. "
                "Only a reboot helps."
            )
        try:
            self.placed = {}
            action()
            klp_try_complete_transition(self)
        except Refused as refused:
            step.errno = refused.errno
        except Oops:
            step.errno, step.oops, self.wrecked = None, True, True
        step.dmesg, self._dmesg = self._dmesg, []
        step.placement = self.placed or None
        if self.looking:
            self._snapshot(step)
        self.recording.steps.append(step)
        return step

    def _snapshot(self, step: Step) -> None:
        step.modules = [self._proc_modules_row(m) for m in reversed(self.modules)]
        step.livepatch = {p.name: self._sysfs(p) for p in self.klp.patches}
        step.sections = {m.name: {n: a for n, (a, _) in m.image.sections.items()} for m in self.modules}
        step.symbols = {m.name: list(m.kallsyms()) for m in self.modules}
        step.sites = {f"{m.name}:{key}": value for m in self.modules for key, value in self._sites(m)}
        if self.cpu.has_stubs:
            step.stubs = self._stub_tables(step)

    def _stub_tables(self, step: Step) -> dict[str, Any]:
        """The table of every livepatch. Labels are for a reader, nothing depends on them."""
        named = {known or self._invented(name): name for name, known in self._exports.items()}
        for module, rows in (step.symbols or {}).items():
            named |= {address: f"{name} [{module}]" for address, kind, name in rows if kind not in "?ua"}
        label = lambda address: named.get(address, "(no symbol there now)")
        tables = {m.name: self.cpu.stubs(m.image, self.site_file(m), self.rules, label) for m in self.modules}
        return {m.name: tables[m.name] for m in self.modules if m.file.is_livepatch}

    def load_file(self, file: ModuleFile, params: str = "") -> None:
        """What insmod and modprobe ask for in the end. Errors: Refused."""
        if self.rules.split_per_object and file.is_livepatch and file.klp:
            split.install(self, file, params)
        else:
            load_module(self, file, params, modprobe.init_errno_of(self, file))

    def modprobe_hook_coming(self, mod: Module) -> None:
        """Proposal split-per-object: where klp_module_coming() would ask user space for the livepatches of a module."""
        if self.rules.split_per_object:
            split.coming(self, mod)

    def modprobe_hook_going(self, mod: Module) -> None:
        """The same where klp_module_going() would tell user space that they are no longer needed."""
        if self.rules.split_per_object:
            split.going(self, mod)

    def _remove(self, name: str) -> None:
        if not split.remove(self, name):
            delete_module(self, name)

    def _write_sysfs(self, patch: str, attribute: str, value: bool) -> None:
        if attribute == "force":
            force_store(self, patch)
        elif not split.disable(self, patch, value):
            enabled_store(self, patch, value)

    def _proc_modules_row(self, mod: Module) -> dict[str, Any]:
        return {
            "name": mod.name,
            "size": mod.image.layout.loading_size if mod.state == COMING else mod.image.layout.core_size,
            "refcount": mod.refcount + (mod.state == COMING),  # a load holds a reference until it is done
            "used_by": [holder.name for holder in reversed(mod.holders)] + ["[permanent]"] * mod.permanent,
            "state": mod.state,
            "base": mod.base,
            "taint": mod.taint + "+" * (mod.state == COMING),
        }

    def _sysfs(self, patch: KlpPatch) -> dict[str, Any]:
        objects = {}
        for obj in patch.objects:
            shown: dict[str, Any] = {"patched": int(obj.patched)} if self.rules.patched_in_sysfs else {}
            objects[obj.label] = {**shown, "functions": [func.sysfs_name for func in obj.funcs]}
        return {"enabled": int(patch.enabled), "transition": int(patch is self.klp.transition), "objects": objects}

    def _sites(self, mod: Module) -> Iterator[tuple[str, bytes]]:
        for site in klp.sites(self.site_file(mod)):
            value = mod.bytes_at(site.section, site.offset, self.cpu.site_width or site.width)
            if value:
                yield site.key, value

    def open_file(self, file: str | os.PathLike[str]) -> ModuleFile:
        """A module file by path, or by its name in the ko folder; the recording keeps its sha256."""
        here = (self.ko / str(file)).exists() or "+" in str(file)
        opened = open_ko(self.ko, str(file)) if Path(file).name == str(file) and here else ModuleFile.open(file)
        self.recording.files[opened.filename] = hashlib.sha256(opened.data).hexdigest()
        return opened
