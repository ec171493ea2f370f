"""Run a recording's commands in the model and compare: the model held against a real kernel.

Where modules landed, what the kernel exports and what a module's own init() returns cannot be known from a file: they
are taken from the recording. Everything else must come out the same.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from ..errors import RecordingError
from ..files.klp import parse_symbol
from ..files.module_file import ModuleFile
from ..files.samples import ko_dir, open_ko, plain_name
from ..model import kmod
from ..model.errno import EEXIST
from ..model.kernel import Kernel
from ..model.layout import layout_sections
from ..model.module import Module, symbols_by_name
from ..model.policy import VARIANTS
from ..model.recording import Difference, Recording, Step

# Commands that only look: they change nothing, and what they print is compared only where the model knows it.
_LOOKS = re.compile(r"(cat|busybox|lsmod|modinfo|stk|vmi|modprobe -r|uname|ls|dmesg)\b")


def replay(recording: Recording, ko: str | os.PathLike[str] | None = None) -> tuple[Recording, list[Difference]]:
    """Run every command of a recording in the model: the model's recording, and the differences.

    ko: folder that holds <arch>-<release>/FILE.ko; default: the project's own. A replay ends with the first oops.
    Errors: RecordingError where a module file is missing, PolicyError for an unknown release.
    """
    kernel = _kernel_for(recording, ko)
    player = _Player(kernel, recording)
    theirs = Recording(recording.scenario, kernel=recording.kernel)
    for number, step in enumerate(recording.steps):
        player.play(number, step)
        theirs.steps.append(step)
        if step.oops:
            break
    ours = kernel.recording
    ours.kernel = {**recording.kernel, "variant": "model"}
    return ours, ours.compare(theirs)


def _kernel_for(recording: Recording, ko: str | os.PathLike[str] | None) -> Kernel:
    folder = ko_dir(recording.arch, recording.release, ko)
    kernel = Kernel(
        recording.arch,
        recording.release,
        recording.proposals,
        ko=folder,
        scenario=recording.scenario,
        title=recording.title,
    )
    for file, digest in recording.files.items():
        if digest is None or not (folder / plain_name(file)).exists():
            raise RecordingError(
                f"{recording.scenario}: module file {file} is not in {folder.name}; without it there is nothing to replay."
            )
        if hashlib.sha256(open_ko(folder, file).data).hexdigest() != digest:
            raise RecordingError(
                f"{recording.scenario}: {file} in {folder.name} is another build than the recorded one (sha256). Try: --ko DIR"
            )
    kernel.rules = replace(kernel.rules, **VARIANTS.get(recording.kernel.get("variant", ""), {}))  # type: ignore[arg-type]
    kernel.init_errno.update(recording.init_errno)
    kernel.module_sig = not recording.config or "MODULE_SIG" in recording.config
    kernel.hash_pointers = "no_hash_pointers" not in recording.kernel.get("cmdline", "")
    kernel.vmlinux = {name: [address] for name, address in recording.vmlinux.items()}
    for name, address in _kernel_exports(recording).items():
        kernel.set_export(name, address)
    by_name: dict[str, ModuleFile] = {}

    def site_file(module: Module) -> ModuleFile:
        """The recorder looks at the sites of the file NAME.ko, also when a mutant of that name is loaded."""
        path = folder / f"{module.name}.ko"
        if module.name not in by_name:
            by_name[module.name] = ModuleFile.open(path) if path.exists() else module.file
        return by_name[module.name]

    kernel.site_file = site_file
    return kernel


def _kernel_exports(recording: Recording) -> dict[str, int]:
    """Kernel symbols' addresses: rows of type u, less what a module of the recording exports itself; ppc64le: of vmlinux.

    Where a ppc64le recording kept no symbols, the labels of stubs tell.
    """
    found: dict[str, int] = {}
    for step in recording:
        for table in (step.stubs or {}).values():
            named = {str(e["symbol"]): int(e["funcdata"], 16) for e in table["entries"] if e["symbol"]}
            found.update({name: address for name, address in named.items() if re.fullmatch(r"\w+", name)})
    own = {
        name
        for step in recording
        for module, rows in (step.symbols or {}).items()
        if module != "vmlinux"
        for _, kind, name in rows
        if kind not in "u?"
    }
    for step in recording:
        for module, rows in (step.symbols or {}).items():
            outside = [(name, address) for address, kind, name in rows if kind == "u" or module == "vmlinux"]
            found.update({name: address for name, address in outside if name not in own})
    return found


def bases_of(kernel: Kernel, file: ModuleFile, step: Step) -> dict[str, int]:
    """The base of every region of a module that a ppc64le step loaded or tried to load, as far as the step tells.

    /proc/modules and the sections tell; where the load was refused, the addresses that a livepatch resolved for it.
    """
    copy = kernel.cpu.module_frob_arch_sections(file, kernel.rules, lambda line: None)
    places = layout_sections(copy, kernel.cpu, kernel.rules.separate_memory).places
    seen = (step.sections or {}).get(file.name, {})
    row = step.module(file.name)
    if row is None:
        return dict(_resolved(copy, places, step))
    known = ((region, file.section_names[index], offset) for index, (region, offset) in places.items())
    bases = {region: seen[name] - offset for region, name, offset in known if name in seen}
    return {"text" if kernel.rules.separate_memory else "core": row["base"]} | bases


def _resolved(file: ModuleFile, places: Mapping[int, tuple[str, int]], step: Step) -> Iterator[tuple[str, int]]:
    """(region, base) from each row `.klp.sym.OBJECT.NAME,POSITION` of kallsyms that names a symbol of the file."""
    for rows in (step.symbols or {}).values():
        for address, kind, name in rows:
            symbol = parse_symbol(name) if kind == "?" else None
            if symbol and symbol.object == file.name and address:
                found = symbols_by_name(file).get(symbol.name, [])[max(symbol.sympos, 1) - 1 :]
                section = int(file.symtab["shndx"][found[0]]) if found else 0
                if section in places:
                    region, offset = places[section]
                    yield region, address - offset - int(file.symtab["value"][found[0]])


class _Player:
    """Plays one step after the other; a quiet step's lines wait for the next one that was looked at."""

    def __init__(self, kernel: Kernel, recording: Recording) -> None:
        self.kernel, self.recording = kernel, recording
        self.waiting: list[tuple[int | None, str]] = []
        self.news = 0
        self.last: dict[str, dict[str, int]] = {}  # where each module was put at its last load

    def play(self, number: int, theirs: Step) -> None:
        self.kernel.placement = self._placement(theirs)
        step = self._run(number, theirs)
        self.last.update(step.placement or {})
        if theirs.quiet:
            self.waiting += step.dmesg
            step.dmesg, step.errno = [], theirs.errno
            return
        step.dmesg, self.waiting = self.waiting + step.dmesg, []

    def _placement(self, theirs: Step) -> Mapping[str, Mapping[str, int]]:
        """Where the module of this command goes: as recorded; on ppc64le, where nothing is told, as at its last load."""
        told, words = theirs.placement or {}, theirs.command.split()
        if not self.kernel.cpu.has_stubs or len(words) < 2 or words[0] != "insmod":
            return told
        file = open_ko(self.kernel.ko, words[1])
        if theirs.errno == EEXIST:
            return told
        before = self.last.get(file.name, {})
        if file.name in told and not told[file.name]:  # "new": some address where no module was before
            before = self._elsewhere()
        return {file.name: {**before, **bases_of(self.kernel, file, theirs), **told.get(file.name, {})}}

    def _elsewhere(self) -> dict[str, int]:
        """A base where no module was before."""
        self.news += 1
        return dict.fromkeys(("core", "text"), self.kernel.cpu.modules_start + (1 << 40) + (self.news << 28))

    def _run(self, number: int, theirs: Step) -> Step:
        command = theirs.command
        try:
            if theirs.exit is not None:
                return self._run_program(theirs)
            if command.startswith(("fill ", "stk", "vmi")):
                return self.kernel.pass_over(command)
            return self.kernel.run(command)
        except ValueError as error:
            if _LOOKS.match(command):
                return self.kernel.pass_over(command)
            raise RecordingError(f"{self.recording.scenario}: step {number} ({command}): {error}") from None

    def _run_program(self, theirs: Step) -> Step:
        """A real insmod, modprobe, rmmod, lsmod or modinfo ran: compare its exit status and its words."""
        step = self._program(theirs.command.split(), theirs.command)
        step.errno = theirs.errno
        return step

    def _program(self, words: list[str], command: str) -> Step:
        kernel = self.kernel
        tools: dict[str, Callable[[str], Step]] = {
            "insmod": self._insmod,
            "modprobe": self._modprobe,
            "rmmod": self._rmmod,
        }
        if len(words) == 2 and words[0] in tools:
            return tools[words[0]](words[1])
        step = kernel.pass_over(command)
        step.exit = 0
        match words:
            case ["lsmod"]:
                step.out = kmod.lsmod(kernel)
            case ["modinfo", file]:
                step.out = kmod.modinfo(ModuleFile.open(kernel.ko / file), f"/ko/{file}")
            case ["modprobe", "-r", name]:
                step.exit, step.out = (
                    (1, f"modprobe: FATAL: Module {name} is in use.\n")
                    if kmod.rmmod_objection(kernel, name)
                    else (0, "")
                )
            case ["busybox", "cat", path] if path.startswith("/sys/module/") and path.endswith("/refcnt"):
                mod = kernel.find_module(Path(path).parent.name)
                step.out = f"{mod.refcount}\n" if mod else None
        return step

    def _insmod(self, file: str) -> Step:
        step = self.kernel.insmod(file)
        step.exit, step.out = kmod.insmod(step, f"/ko/{file}")
        return step

    def _modprobe(self, name: str) -> Step:
        step = self.kernel.modprobe(name)
        step.exit, step.out = kmod.modprobe(step, name)
        return step

    def _rmmod(self, name: str) -> Step:
        objection = kmod.rmmod_objection(self.kernel, name)
        if objection is None:
            step = self.kernel.rmmod(name)
            step.exit, step.out = kmod.rmmod(step, name)
            return step
        step = self.kernel.pass_over(f"rmmod {name}")
        step.exit, step.out = 1, objection
        return step
