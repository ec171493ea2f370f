"""Run a recording's commands in the model and compare: the model held against a real kernel.

Where modules landed, what the kernel exports and what a module's own init() returns cannot be known from a file: they
are taken from the recording. Everything else must come out the same.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..arguments import checked, folder
from ..errors import RecordingError, of_type
from ..files.klp import parse_symbol
from ..files.module_file import ModuleFile
from ..files.samples import ko_dir_with, open_ko, plain_name
from ..files.symbol_list import undefined_names
from ..model import arch as architectures
from ..model import kmod, snapshot
from ..model.compare import Difference
from ..model.errno import EEXIST
from ..model.kallsyms import exported_names, symbols_by_name
from ..model.kernel import Kernel
from ..model.layout import layout_sections
from ..model.module import Module
from ..model.policy import VARIANTS, behaviour
from ..model.recording import FROM, Recording
from ..model.split import split_per_object
from ..model.state import Machine
from ..model.step import Step

# Commands that only look, or that only take address space, which the recording knows better: they change nothing here.
_LOOKS = re.compile(r"(cat|busybox|lsmod|modinfo|stk|vmi|fill|modprobe -r|uname|ls|dmesg)\b")


@checked(RecordingError, but=["recording"])
def replay(recording: Recording, ko: str | os.PathLike[str] | None = None) -> tuple[Recording, list[Difference]]:
    """Run every command of a recording in the model: the model's recording, and the differences.

    ko: folder that holds <arch>-<release>/FILE.ko, or <arch>-<release>-…/FILE.ko for kernels built otherwise; default: the
    project's own. A replay ends with the first oops, but where recorders go on after one.
    Errors: RecordingError where a module file is missing, PolicyError for an unknown release.
    """
    recording = of_type(recording, Recording, FROM, RecordingError)
    if ko:
        folder(ko, "ko", RecordingError)
    player = _Player(recording, ko_dir_with(recording.files, recording.arch, recording.release, ko))
    theirs = Recording(recording.scenario, kernel=recording.kernel)
    for number, step in enumerate(recording.steps):
        player.play(number, step)
        theirs.steps.append(step)
        if step.oops and not player.kernel.arch.tells_the_wreck:
            break
    ours = player.kernel.recording
    ours.kernel = {**recording.kernel, "variant": "model"}
    return ours, ours.compare(theirs)


# -- what a recording tells the model -------------------------------------------------------------------------------------


def _check_files(recording: Recording, folder: Path) -> None:
    for file, digest in recording.files.items():
        if digest is None or not os.path.exists(folder / plain_name(file)):
            where = f"{recording.scenario}: module file {file} is not in {folder.name}"
            raise RecordingError(f"{where}; without it there is nothing to replay.")
        if hashlib.sha256(open_ko(folder, file).data).hexdigest() != digest:
            where = f"{recording.scenario}: {file} in {folder.name}"
            raise RecordingError(f"{where} is another build than the recorded one (sha256). Try: --ko DIR")


def _kernel_for(recording: Recording, folder: Path) -> Kernel:
    rules = behaviour(recording.release, recording.proposals, recording.arch)
    variant: Mapping[str, Any] = VARIANTS.get(recording.arch, {}).get(recording.kernel.get("variant", ""), {})
    kernel = Kernel(
        recording.arch, recording.release, recording.proposals, ko=folder, scenario=recording.scenario, title=recording.title,
        rules=replace(rules, **variant), machine=_machine(recording, folder), exports=_kernel_exports(recording), vmlinux=recording.vmlinux,
        init_errno=recording.init_errno, records_state=False,
    )  # fmt: skip
    for name in _needed_by_what_loaded(recording, folder):
        kernel.exports.setdefault(name, None)
    kernel.module_sig = not recording.config or "MODULE_SIG" in recording.config
    kernel.hash_pointers = "no_hash_pointers" not in recording.kernel.get("cmdline", "")
    return kernel


def _machine(recording: Recording, folder: Path) -> Machine:
    """What the recorded machine forbade, and which modules of the folder it did not have: a recording lists all that it had."""
    words = re.findall(r"\bmodule_blacklist=(\S+)", recording.kernel.get("cmdline", ""))
    had = {plain_name(file) for file in recording.files}
    missing = {path.stem for path in folder.glob("*.ko") if path.name not in had}
    return Machine(
        not_installed=frozenset(missing), blacklist=frozenset(name for word in words for name in word.split(","))
    )


def _needed_by_what_loaded(recording: Recording, folder: Path) -> set[str]:
    """Names that the kernel must export, since a module that needs them was loaded and no module of the recording has them."""
    files = [open_ko(folder, name) for name in recording.files if plain_name(name) == name]
    loaded = {step.did.what for step in recording if step.did.verb == "insmod" and step.errno == 0}
    needed = undefined_names(file for file in files if file.filename in loaded)
    return needed - {name for file in files for name in exported_names(file)}


def _kernel_exports(recording: Recording) -> dict[str, int]:
    """Kernel symbols' addresses: rows of type u, less what a module of the recording exports itself; ppc64le: of vmlinux.

    The tables of call stubs tell some, too.
    """
    found: dict[str, int] = {}
    for step in reversed(
        recording.steps
    ):  # the first look counts: later something may have been written over a table's end
        for module, table in (step.stubs or {}).items():
            found |= architectures.of(recording.arch).kernel_symbols(table, (step.sections or {}).get(module, {}))
    tables = [table for step in recording for table in (step.symbols or {}).items()]
    own = {name for module, rows in tables if module != "vmlinux" for _, kind, name in rows if kind not in "u?"}
    for module, rows in tables:
        outside = {name: address for address, kind, name in rows if kind == "u" or module == "vmlinux"}
        found |= {name: address for name, address in outside.items() if name not in own}
    return found


def bases_of(kernel: Kernel, file: ModuleFile, step: Step) -> dict[str, int]:
    """The base of every region of a module that a step loaded or tried to load, as far as the step tells.

    /proc/modules, kallsyms and the sections tell; where the load was refused, the addresses that a livepatch resolved for it.
    """
    copy = kernel.arch.module_frob_arch_sections(file, kernel.rules, lambda line: None)
    places = layout_sections(copy, kernel.arch, kernel.rules).places
    row = step.module(file.name)
    if row is None:
        return dict(_resolved(copy, places, step))
    bases = {"text" if kernel.rules.separate_memory else "core": int(row["base"])}
    seen = (step.sections or {}).get(file.name, {})
    if not seen:  # an oops has left the module without them
        bases |= _shown(copy, places, step)
    for index, (region, offset) in places.items():
        if file.section_names[index] in seen:
            bases[region] = seen[file.section_names[index]] - offset
    return bases


def _resolved(file: ModuleFile, places: Mapping[int, tuple[str, int]], step: Step) -> Iterator[tuple[str, int]]:
    """(region, base) from each row `.klp.sym.OBJECT.NAME,POSITION` of kallsyms that names a symbol of the file."""
    for address, kind, name in (row for rows in (step.symbols or {}).values() for row in rows):
        symbol = parse_symbol(name) if kind == "?" else None
        if symbol and symbol.object == file.name and address:
            found = symbols_by_name(file).get(symbol.name, [])[max(symbol.sympos, 1) - 1 :]
            yield from _bases(file, places, found[:1], address)


def _shown(file: ModuleFile, places: Mapping[int, tuple[str, int]], step: Step) -> Iterator[tuple[str, int]]:
    """(region, base) from each of the module's own rows of kallsyms whose name the file has once."""
    for address, kind, name in (step.symbols or {}).get(file.name, ()):
        found = symbols_by_name(file).get(name, [])
        if kind not in "u?" and len(found) == 1:
            yield from _bases(file, places, found, address)


def _bases(
    file: ModuleFile, places: Mapping[int, tuple[str, int]], symbols: Sequence[int], address: int
) -> Iterator[tuple[str, int]]:
    """Where a symbol's region begins when the symbol is at an address."""
    for found in symbols:
        section, value = int(file.symtab["shndx"][found]), int(file.symtab["value"][found])
        if section in places:
            region, offset = places[section]
            yield region, address - offset - value


# -- the play -------------------------------------------------------------------------------------------------------------


class _Player:
    """Plays one step after the other; a quiet step's lines wait for the next one that was looked at."""

    def __init__(self, recording: Recording, folder: Path) -> None:
        _check_files(recording, folder)
        self.kernel, self.scenario = _kernel_for(recording, folder), recording.scenario
        self.waiting: list[tuple[int | None, str]] = []
        self.news = 0
        self.last: dict[str, dict[str, int]] = {}  # where each module was put at its last load
        self.files: dict[str, ModuleFile] = {}

    def play(self, number: int, theirs: Step) -> None:
        self.kernel.placement = self._placement(theirs)
        step = self._run(number, theirs)
        step.command = theirs.command  # what was typed is no observation: nfsd-demo is nfsd_demo to kmod
        snapshot.look(self.kernel, step, self._sites_of)
        self.last.update(step.placement or {})
        if theirs.quiet:
            self.waiting += step.dmesg
            step.dmesg = []
            if theirs.errno is None:  # the first recordings have not kept it
                step.errno = None
        else:
            step.dmesg, self.waiting = self.waiting + step.dmesg, []

    def _sites_of(self, module: Module) -> ModuleFile:
        """A recorder looks at the sites of the file NAME.ko, also when a mutant of that name is loaded."""
        path = self.kernel.ko / f"{module.name}.ko"
        if module.name not in self.files:
            self.files[module.name] = ModuleFile.open(path) if os.path.exists(path) else module.file
        return self.files[module.name]

    def _placement(self, theirs: Step) -> Mapping[str, Mapping[str, int]]:
        """Where the modules of this command go: as recorded; on ppc64le, where nothing is told, as at their last load.

        Where sections were seen, they tell: a recorder has worked out placement by the layout that it knew, and of memory
        that is freed after init it may know nothing. One command may load several modules.
        """
        told, stubs = theirs.placement or {}, self.kernel.arch.has_stubs
        named = self._named(theirs) if told or stubs else None
        files = {name: self._file(name) for name in told}
        if named:
            files[named.name] = named
        found = dict(told)
        for name, file in files.items():
            seen = theirs.sections or {}
            bases = bases_of(self.kernel, file, theirs) if file and (name in seen or (stubs and file is named)) else {}
            if stubs:
                found[name] = {**self._before(name, told), **bases, **told.get(name, {})}
            else:
                found[name] = {**told.get(name, {}), **bases}
        return found

    def _named(self, theirs: Step) -> ModuleFile | None:
        """The file that an insmod names, unless nothing was loaded for its name is taken."""
        named = theirs.did.verb == "insmod" and theirs.errno != EEXIST
        return open_ko(self.kernel.ko, theirs.did.file) if named else None

    def _file(self, name: str) -> ModuleFile | None:
        """The file of a module that came along: NAME.ko, or the part of a livepatch NAME__OBJECT."""
        whole, _, label = name.partition("__")
        own, of_parts = (self.kernel.ko / f"{one}.ko" for one in (name, whole))
        if os.path.exists(own):
            return ModuleFile.open(own)
        return split_per_object(ModuleFile.open(of_parts)).get(label) if os.path.exists(of_parts) else None

    def _before(self, name: str, told: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
        """Where a module was at its last load; where the recording says "new" ({}), an address where no module was before."""
        if name in told and not told[name]:
            self.news += 1
            return dict.fromkeys(("core", "text"), self.kernel.arch.modules_start + (1 << 40) + (self.news << 28))
        return self.last.get(name, {})

    def _run(self, number: int, theirs: Step) -> Step:
        try:
            if theirs.exit is not None:
                return self._program(theirs)
            if _LOOKS.match(theirs.command) and not re.fullmatch(r"cat \S+", theirs.command):
                return self.kernel.step(theirs.command)
            return self.kernel.run(theirs.command)
        except ValueError as error:
            raise RecordingError(f"{self.scenario}: step {number} ({theirs.command}): {error}") from None

    def _program(self, theirs: Step) -> Step:
        """A real insmod, modprobe, rmmod, lsmod or modinfo ran: compare its exit status and its words."""
        kernel = self.kernel
        match theirs.did:
            case ("insmod", file, ""):
                step = kernel.insmod(file)
                step.exit, step.out = kmod.insmod(step, f"/ko/{file}")
            case ("modprobe", "-r", name):
                step = kernel.step(theirs.command)
                step.exit, step.out = 0, ""
                if kmod.rmmod_objection(kernel, name):
                    step.exit, step.out = 1, f"modprobe: FATAL: Module {name} is in use.\n"
            case ("modprobe", name, ""):
                step = kernel.modprobe(name)
                step.exit, step.out = kmod.modprobe(step, name)
            case ("rmmod", name, ""):
                objection = kmod.rmmod_objection(kernel, name)
                step = kernel.step(theirs.command) if objection else kernel.rmmod(name)
                step.exit, step.out = (1, objection) if objection else kmod.rmmod(step, name)
            case _:
                step = kernel.step(theirs.command)
                step.exit, step.out = 0, self._printed(theirs)
        step.errno = theirs.errno
        return step

    def _printed(self, theirs: Step) -> str | None:
        """What a program that only looks prints; None where the model does not know."""
        match theirs.did:
            case ("lsmod", "", ""):
                return kmod.lsmod(self.kernel)
            case ("modinfo", file, ""):
                return kmod.modinfo(ModuleFile.open(self.kernel.ko / file), f"/ko/{file}")
            case ("busybox", "cat", path) if path.startswith("/sys/module/") and path.endswith("/refcnt"):
                mod = self.kernel.find_module(Path(path).parent.name)
                return f"{mod.refcount}\n" if mod else None
        return None
