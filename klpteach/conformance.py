"""Run a recording's commands in the model and compare: the model held against a real kernel.

Where modules landed, what the kernel exports and what a module's own init() returns cannot be known from a file: they
are taken from the recording. Everything else must come out the same.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path

from . import kmod
from .data import ko_dir, open_ko, plain_name
from .elf import ModuleFile
from .errors import RecordingError
from .kernel import Kernel
from .module import Module
from .recording import Difference, Recording, Step

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
    """Kernel symbols' addresses: rows of type u, less what a module of the recording exports itself."""
    found: dict[str, int] = {}
    own = {
        name
        for step in recording
        for rows in (step.symbols or {}).values()
        for _, kind, name in rows
        if kind not in "u?"
    }
    for step in recording:
        for rows in (step.symbols or {}).values():
            found.update({name: address for address, kind, name in rows if kind == "u" and name not in own})
    return found


class _Player:
    """Plays one step after the other; a quiet step's lines wait for the next one that was looked at."""

    def __init__(self, kernel: Kernel, recording: Recording) -> None:
        self.kernel, self.recording = kernel, recording
        self.waiting: list[tuple[int | None, str]] = []

    def play(self, number: int, theirs: Step) -> None:
        self.kernel.placement = theirs.placement or {}
        step = self._run(number, theirs)
        if theirs.quiet:
            self.waiting += step.dmesg
            step.dmesg, step.errno = [], theirs.errno
            return
        step.dmesg, self.waiting = self.waiting + step.dmesg, []

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
