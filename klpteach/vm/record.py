"""What the agent in a guest said, as a recording: the same form that the model leaves, so the two can be compared.

Also what is written beside the recordings (vmlinux-exports.txt), and whether two recordings of one story say the same.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..files.elf_h import SHF_ALLOC
from ..files.klp import parse_symbol, sites
from ..files.module_file import ModuleFile
from ..files.samples import data_dir, ko_dir, open_ko
from ..files.symbol_list import undefined_names
from ..model import arch as arches
from ..model.compare import Difference
from ..model.errno import ENODEV
from ..model.kallsyms import exported_names
from ..model.layout import layout_sections
from ..model.policy import VARIANTS, Behaviour, behaviour
from ..model.recording import Recording
from ..model.state import Machine as StoryMachine
from ..model.step import Command, Step, hexa
from ..scenarios.scenario import Scenario
from ..scenarios.simulate import commands_for, get
from .host import HostError, need
from .initramfs import initramfs
from .kernels import RECORDED
from .qemu import Guest, GuestError, GuestKernel, Watch, boot
from .variants import proposals_of
from .variants.user_space import Guest as UserSpace
from .variants.user_space import guest_for, loads_of

Files = Mapping[str, ModuleFile]
A_COMMAND = 20  # seconds that a guest may take for one; it needs one or two where the host has nothing else to do
_KMSG = re.compile(r"(\d+),\d+,\d+,[^;]*;(.*)")
_NOISE = re.compile(r"clocksource|hrtimer|tsc:|random: crng")
_DEBIAN = re.compile(r"#\d.* Debian (\d+\.\d+\.\d+)")  # before the # stands the compiler's version


def record(scenario: Scenario, release: str, variant: str = "stock", arch: str = "x86_64",
           watch: Watch = None) -> Recording:  # fmt: skip
    """Run a story on a real kernel and record it. Errors: HostError, GuestError."""
    need(RECORDED[arch].machine_for(variant).program, RECORDED[arch].compiler)
    kernel, folder = RECORDED[arch].kernel_for(release, variant), modules_for(arch, release, variant)
    commands = commands_for(scenario, folder)
    files = files_for(scenario, commands, folder)
    return run_guest(scenario, kernel, commands, files, watch, proposals=proposals_of(variant), folder=folder)


def modules_for(arch: str, release: str, variant: str) -> Path:
    """The sample modules of a kernel. Errors: HostError where they have not been built for it."""
    folder = ko_dir(arch, release, variant=variant)
    if not folder.exists():
        raise HostError(f"no modules for {arch} {release} {variant}. Try: python3 data/src/build.py {folder.name}")
    return folder


def files_for(scenario: Scenario, commands: Iterable[str], folder: Path) -> list[ModuleFile]:
    """The files of a story's commands, but for those that its machine has not. Errors: ModuleFormatError."""
    absent = {f"{name}.ko" for name in scenario.machine.not_installed}
    return [file for file in files_of(commands, folder) if file.filename not in absent]


def run_guest(
    scenario: Scenario,
    kernel: GuestKernel,
    commands: Sequence[str],
    files: Sequence[ModuleFile],
    watch: Watch = None,
    margin: float = 0,
    proposals: Sequence[str] = (),
    folder: Path | None = None,
    timeout: float | None = None,
) -> Recording:
    """Boot a guest that has these files and record the commands.

    margin: seconds more than usual; timeout: instead of the usual ones. proposals: what the kernel has in it, for which user
    space does its half; folder: where the modules are that it may pull in.
    """
    machine = RECORDED[kernel.arch].machine_for(kernel.variant)
    guest = guest_for(files, scenario.machine, proposals, folder or ko_dir(kernel.arch, kernel.release))
    known = [*guest.files, *guest.parts]
    archive = initramfs(kernel.arch, commands, known, {**lists(known, kernel), **guest.lists})
    timeout = timeout or machine.boot + A_COMMAND * len(commands) + margin
    found = boot(machine, kernel.image, archive, timeout, watch, guest.cmdline)
    return from_guest(scenario, kernel, found, guest, proposals)


def files_of(commands: Iterable[str], folder: Path) -> list[ModuleFile]:
    """The module files that a story loads, and those whose sites are looked at. Errors: ModuleFormatError."""
    did = [Command.parse(line) for line in commands]
    names = [command.file for command in did if command.loads]
    names += ["poke_demo.ko" for command in did if command.verb == "poke"]
    files = {name: open_ko(folder, name) for name in dict.fromkeys(names)}
    for file in list(files.values()):
        plain = f"{file.name}.ko"
        if (folder / plain).exists():
            files.setdefault(plain, open_ko(folder, plain))
    return list(files.values())


# -- what the agent shall look at -----------------------------------------------------------------------------------------


def lists(files: Sequence[ModuleFile], kernel: GuestKernel) -> dict[str, str]:
    """The agent's lists by file name: sites, and where the architecture has them stubs and symbols of the kernel."""
    cpu, listed = arches.of(kernel.arch), RECORDED[kernel.arch].listed
    found = {"sites": site_list(files, cpu.site_width)}
    if cpu.has_stubs:
        patches = [file for file in _under_their_names(files) if any(sites(file))]
        found["stubs"] = "".join(f"{file.name} {cpu.stub_section} {_table_bytes(file, kernel)}\n" for file in patches)
    if listed:
        found["names"] = "".join(f"{name}\n" for name in sorted(undefined_names(files) | {*listed}))
    return found


def _under_their_names(files: Iterable[ModuleFile]) -> list[ModuleFile]:
    """The files NAME.ko of module NAME; NAME+DEFECT.ko and nfsd_demo_v2.ko are loaded under another's name."""
    return [file for file in files if file.filename == f"{file.name}.ko"]


def site_list(files: Iterable[ModuleFile], width: int | None = None) -> str:
    """MODULE SECTION OFFSET WIDTH of every livepatch relocation.

    width: the bytes to look at, as far as the section goes; None: those of the relocation's field.
    """
    rows = []
    for file in _under_their_names(files):
        for site in sites(file):
            room = int(file.shdrs["size"][file.section_index(site.section)]) - site.offset
            wanted = min(width, room) if width else site.width
            if wanted:
                rows.append(f"{file.name} {site.section} {site.offset:x} {wanted}")
    return "\n".join(dict.fromkeys(rows)) + "\n"


def num_stubs(file: ModuleFile, kernel: GuestKernel) -> int:
    """How many slots the loader reserves for a livepatch's calls."""
    return arches.of(kernel.arch).stub_slots(loader_copy(file, kernel))


def _table_bytes(file: ModuleFile, kernel: GuestKernel) -> int:
    """How many bytes of that table are looked at."""
    cpu = arches.of(kernel.arch)
    return cpu.stub_bytes(loader_copy(file, kernel)) + cpu.stubs_behind * cpu.stub_size


def loader_copy(file: ModuleFile, kernel: GuestKernel) -> ModuleFile:
    """The file as the loader lays it out: with .stubs or .plt of its final size. Errors: Refused."""
    return arches.of(kernel.arch).module_frob_arch_sections(file, _rules(kernel), lambda line: None)


def _rules(kernel: GuestKernel) -> Behaviour:
    variant: Mapping[str, Any] = VARIANTS.get(kernel.arch, {}).get(kernel.variant, {})
    return replace(behaviour(kernel.release, arch=kernel.arch), **variant)


# -- the recording --------------------------------------------------------------------------------------------------------


def from_guest(
    scenario: Scenario, kernel: GuestKernel, guest: Guest, had: UserSpace, proposals: Sequence[str] = ()
) -> Recording:
    """The recording of a guest that came to its end, and had these files."""
    how, files = RECORDED[kernel.arch], {file.filename: file for file in [*had.files, *had.parts]}
    machine = how.machine_for(kernel.variant)
    banner = next((line.split("] ", 1)[-1] for line in guest.console.splitlines() if "Linux version " in line), "")
    release = banner.split()[2] if banner else kernel.release
    debian = _DEBIAN.search(banner)
    about = {"arch": kernel.arch, "release": release, "version": debian[1] if debian else release,
             "variant": kernel.variant, "cmdline": f"{machine.cmdline} {had.cmdline}".strip(), "banner": banner}  # fmt: skip
    if machine.cpu:
        about["cpu"] = machine.cpu
    config = [option for option in how.config if option in kernel.config]
    digests = {file.filename: hashlib.sha256(file.data).hexdigest() for file in had.files}
    recording = Recording(scenario.name, scenario.title, "real kernel", about, config, proposals=[*proposals])
    no_device = {f"{name}.ko": ENODEV for name in scenario.machine.without_hardware}
    recording.init_errno, recording.files = {**scenario.init_errno, **no_device}, {**digests}
    for line in guest.agent:
        recording.steps.append(step_of(json.loads(line), kernel, files, scenario.machine))
        if recording.steps[-1].oops and not arches.of(kernel.arch).tells_the_wreck:
            break  # what follows is the wreck
    with_quiet_lines(recording.steps)
    recording.vmlinux = _vmlinux(recording)
    if how.long and len(recording) > how.long:
        for step in recording.steps[3:]:
            step.symbols = None
    return recording


def with_quiet_lines(steps: Iterable[Step]) -> None:
    """Where nobody looked, nobody read the log either: such a step's lines stand in the next one that was looked at."""
    waiting: list[tuple[int | None, str]] = []
    for step in steps:
        if step.quiet:
            waiting += step.dmesg
            step.dmesg = []
        else:
            step.dmesg, waiting = waiting + step.dmesg, []


def _vmlinux(recording: Recording) -> dict[str, int]:
    """Addresses of vmlinux symbols that livepatches have looked up: their own rows of kallsyms tell."""
    rows = [row for step in recording for table in (step.symbols or {}).values() for row in table]
    parsed = [(parse_symbol(name), address) for address, kind, name in rows if kind == "?" and address]
    return {symbol.name: address for symbol, address in parsed if symbol and symbol.object == "vmlinux"}


# -- a step ---------------------------------------------------------------------------------------------------------------


def step_of(raw: Mapping[str, Any], kernel: GuestKernel, files: Files, machine: StoryMachine | None = None) -> Step:
    """One line of the agent as a step. files: the modules that the guest has, by file name. machine: the story's."""
    step = Step(raw["command"], raw["errno"], _dmesg(raw["kmsg"]), raw.get("quiet", False), raw.get("oops", False))
    if step.oops:
        step.errno = None
    step.out = raw.get("out")
    step.placement = _placements(raw, kernel, files, machine or StoryMachine())
    if raw.get("hung"):
        step.errno, step.label = None, "hung"
    if "modules" not in raw or (step.oops and not arches.of(kernel.arch).tells_the_wreck):
        return step
    step.modules = [_module_row(line) for line in raw["modules"].splitlines()]
    step.livepatch = _livepatch(raw["livepatch"]) if "livepatch" in raw else None
    step.sections = {m: {n: int(a, 16) for n, a in table.items()} for m, table in raw["sections"].items()}
    symbols = _symbols(raw["kallsyms"])
    own = {"vmlinux", *(file.name for file in files.values())}  # not [__builtin__ftrace] and its like
    step.symbols = {name: table for name, table in symbols.items() if name in own}
    step.sites = {key: bytes.fromhex(value) for key, value in raw["sites"].items()}
    if "stubs" in raw:
        cpu, labels = arches.of(kernel.arch), _labels(symbols)
        dumps = {name: np.frombuffer(bytes.fromhex(dump), "u1") for name, dump in raw["stubs"].items()}
        slots = {name: num_stubs(files[f"{name}.ko"], kernel) for name in dumps}
        step.stubs = {
            name: cpu.stubs_in(dump, slots[name], labels, files[f"{name}.ko"]) for name, dump in dumps.items()
        }
    return step


def records(kmsg: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Level and text of each record of /dev/kmsg, where control characters stand as \\x09."""
    for line in kmsg:
        if match := _KMSG.match(line):
            yield int(match[1]) & 7, re.sub(r"\\x([0-9a-f]{2})", lambda m: chr(int(m[1], 16)), match[2])


def _dmesg(kmsg: Iterable[str]) -> list[tuple[int | None, str]]:
    """The lines that belong to the story: not those that other subsystems print by themselves, nor our own debug lines."""
    return [(level, text) for level, text in records(kmsg) if not _NOISE.search(text) and not is_placement(level, text)]


def _module_row(line: str) -> dict[str, Any]:
    """nfsd_demo 16384 1 livepatch_dep_demo, Live 0xffffffffc0201000 (OE)"""
    name, size, count, users, state, base, *taint = line.split()
    used_by = [user for user in users.rstrip(",").split(",") if user != "-"]
    return {"name": name, "size": int(size), "refcount": int(count), "used_by": used_by, "state": state,
            "base": int(base, 16), "taint": taint[0].strip("()") if taint else ""}  # fmt: skip


def _livepatch(files: Mapping[str, str | None]) -> dict[str, Any]:
    """The tree below /sys/kernel/livepatch: PATCH/enabled, PATCH/OBJECT/patched, PATCH/OBJECT/FUNCTION,POSITION."""
    patches: dict[str, Any] = {path: {"objects": {}} for path in files if "/" not in path}
    for path, text in files.items():
        match path.split("/"):
            case [patch, ("enabled" | "transition") as key]:
                patches[patch][key] = int(text or "0")
            case [patch, obj] if text is None:
                patches[patch]["objects"].setdefault(obj, {"functions": []})
            case [patch, obj, "patched"]:
                patches[patch]["objects"].setdefault(obj, {"functions": []})["patched"] = int(text or "0")
            case [patch, obj, function] if text is None:
                patches[patch]["objects"].setdefault(obj, {"functions": []})["functions"].append(function)
    return patches


def _symbols(rows: Iterable[str]) -> dict[str, list[tuple[int, str, str]]]:
    """ffffffffc0201000 t demo_show	[nfsd_demo], by module; the kernel's own rows have no module."""
    table: dict[str, list[tuple[int, str, str]]] = {}
    for row in rows:
        address, kind, rest = row.split(" ", 2)
        name, _, module = rest.partition("\t")
        table.setdefault(module.strip("[]") or "vmlinux", []).append((int(address, 16), kind, name))
    return table


def _labels(symbols: Mapping[str, Iterable[tuple[int, str, str]]]) -> Callable[[int], str]:
    """What stands at an address; a livepatch's own notes of what it once resolved do not count."""
    table: dict[int, str] = {}
    for module, address, name in ((module, at, name) for module, rows in symbols.items() for at, _, name in rows):
        if not name.startswith(".klp.sym."):
            table.setdefault(address, name if module == "vmlinux" else f"{name} [{module}]")
    return lambda address: table.get(address, "(no symbol there now)")


# Where a module was put the kernel says itself, in a debug line a section (move_module(), dynamic debug).

SECTION_LINE = re.compile(r"\s*0x([0-9a-f]+) (?:0x[0-9a-f]+ )?(\S+)$")


def is_placement(level: int, text: str) -> bool:
    """Whether a line is one of those, which are no part of the story."""
    return level == 7 and (text.lower().startswith("final section addresses") or bool(SECTION_LINE.match(text)))


def _placements(
    raw: Mapping[str, Any], kernel: GuestKernel, files: Files, machine: StoryMachine
) -> dict[str, dict[str, int]] | None:
    """Module -> region -> address for the loads that this command has tried, whether or not they were refused.

    One command may load several modules: the agent names them in order, and the kernel's lines come in groups.
    """
    groups = list[list[str]]()
    for level, text in records(raw["kmsg"]):
        if level == 7 and text.lower().startswith("final section addresses"):
            groups.append([])
        elif is_placement(level, text) and groups:
            groups[-1].append(text)
    command = Command.parse(raw["command"])
    loads = loads_of(command, raw["loads"].split(), machine) if "loads" in raw else [command.file]
    if len(loads) <= 1:
        groups, loads = [[line for group in groups for line in group]], loads or [""]
    elif len(groups) != len(loads):
        return None
    found = dict[str, dict[str, int]]()
    for name, lines in zip(loads, groups, strict=True):
        found |= _placement(files.get(name), lines, raw, kernel) or {}
    return found or None


def _placement(
    file: ModuleFile | None, lines: Iterable[str], raw: Mapping[str, Any], kernel: GuestKernel
) -> dict[str, dict[str, int]] | None:
    found = [SECTION_LINE.match(text) for text in lines]
    addresses = {match[2]: int(match[1], 16) for match in found if match}
    if file is None or not addresses:
        return None
    copy, rules = loader_copy(file, kernel), _rules(kernel)
    kept = [bool(flags & SHF_ALLOC) and size > 0 for flags, size in file.shdrs[["flags", "size"]].tolist()]
    bases = {}
    for index, (region, offset) in layout_sections(copy, arches.of(kernel.arch), rules).places.items():
        if kept[index] and file.section_names[index] in addresses:
            bases[region] = addresses[file.section_names[index]] - offset
    return {file.name: bases | _percpu_base(file, raw.get("kallsyms", ()))}


def _percpu_base(file: ModuleFile, rows: Iterable[str]) -> dict[str, int]:
    """Where a module's per-CPU data went: outside its memory, so only its symbols tell."""
    if ".data..percpu" in file.section_names:
        values = dict(zip(file.symbol_names, file.symtab, strict=True))
        section = file.section_names.index(".data..percpu")
        for address, _, name in _symbols(rows).get(file.name, ()):
            if name in values and values[name]["shndx"] == section:
                return {"percpu": address - int(values[name]["value"])}
    return {}


# -- files ----------------------------------------------------------------------------------------------------------------


def outcome(recording: Recording) -> str:
    """The word in a recording's name: OOPS, STUBS (the table ran out), REFUSED (the last load was), else LOADS."""
    if any(step.oops for step in recording):
        return "OOPS"
    if any("stub_for_addr" in line for step in recording for line in step.lines):
        return "STUBS"
    loads = [step for step in recording if step.did.verb in ("insmod", "modprobe") and step.errno is not None]
    return "REFUSED" if loads and loads[-1].refused else "LOADS"


def file_name(recording: Recording, outcome_word: str | None = None) -> str:
    """STORY--KERNEL--OUTCOME.json"""
    kernel = RECORDED[recording.arch].name(recording.release, recording.kernel["variant"])
    return f"{recording.scenario}--{kernel}--{outcome_word or outcome(recording)}.json"


def save(recording: Recording, folder: Path) -> None:
    """Write a recording under its name; the file of an older outcome goes."""
    folder.mkdir(parents=True, exist_ok=True)
    recording.save(folder / file_name(recording))
    for old in folder.glob(file_name(recording, "*")):
        if old.name != file_name(recording):
            old.unlink()
    print(f"{file_name(recording)}: {len(recording)} steps", flush=True)


def record_all(names: Iterable[str], kernels: Iterable[tuple[str, str, str]], out: Path | None = None) -> int:
    """Record stories (all where none is named) on each of the kernels that they concern; how many guests failed.

    out: a folder, else data/recordings/ARCH, and vmlinux-exports.txt is written anew. Errors: HostError.
    """
    failed = 0
    for arch, release, variant in kernels:
        folder = out or data_dir() / "recordings" / arch
        for name in names or RECORDED[arch].stories:
            if (release, variant) not in RECORDED[arch].concerned(name):
                continue
            try:
                save(record(get(name, arch), release, variant, arch), folder)
            except GuestError as error:
                print(f"{name}--{RECORDED[arch].name(release, variant)}: {error}", flush=True)
                failed += 1
        if not out and variant == "stock":
            write_exports(arch, release, folder)
    return failed


def write_exports(arch: str, release: str, recordings: Path, variant: str = "stock") -> None:
    """vmlinux-exports.txt: every name that the sample modules need and none of them exports, at its address in recordings."""
    how, folder = RECORDED[arch], ko_dir(arch, release, variant=variant)
    files = [ModuleFile.open(path) for path in sorted(folder.glob("*.ko"))]
    own = {name for file in files for name in exported_names(file)} | {"_GLOBAL_OFFSET_TABLE_"}  # the last is nobody's
    needed = (undefined_names(files) | {*how.listed}) - own
    at = {
        name: address
        for path in sorted(recordings.glob(f"*--{how.name(release, variant)}--*.json"))
        for step in Recording.load(path)
        for module, rows in (step.symbols or {}).items()
        for address, kind, name in rows
        if kind == "u" or module == "vmlinux"
    }
    lines = [f"{hexa(at[name])} {name}\n" if name in at else f"{name}\n" for name in sorted(needed)]
    head = how.exports if variant == "stock" else how.exports.replace("Debian's", "the small")
    (folder / "vmlinux-exports.txt").write_text(head.format(release=release) + "".join(lines))


# -- two recordings of one story --------------------------------------------------------------------------------------------

_ADDRESS = re.compile(r"\b(?:0x)?[0-9a-f]{9,16}\b|(?<=val )[0-9a-f]+")


def without_addresses(recording: Recording) -> Recording:
    """The recording with every address taken out; of a site remains whether its bytes are zero.

    Between two boots addresses may change (freed init memory comes back when it likes), and hashed pointers always do.
    What is left must be the same: errno, lines, module tables, flags, which sites hold zeros.
    """
    return replace(recording, steps=[_without_addresses(step) for step in recording])


def _without_addresses(step: Step) -> Step:
    symbols = {m: [(0, kind, name) for _, kind, name in rows] for m, rows in (step.symbols or {}).items()}
    return replace(
        step,
        dmesg=[(level, _ADDRESS.sub("(address)", text)) for level, text in step.dmesg],
        modules=step.modules and [{**row, "base": 0} for row in step.modules],
        sections=step.sections and {m: dict.fromkeys(table, 0) for m, table in step.sections.items()},
        symbols=step.symbols and symbols,
        sites=step.sites and {key: bytes([any(value)]) for key, value in step.sites.items()},
    )


def compare(old: Path, new: Path) -> Iterator[tuple[str, int, list[Difference]]]:
    """(name, steps, differences) for two files, or for every recording that two folders share.

    Errors: HostError where there is nothing to compare, RecordingError for a file that is none.
    """
    for path in (old, new):
        if not path.exists():
            raise HostError(f"{path}: no such file or folder.")
    if old.is_dir() != new.is_dir():
        raise HostError(f"{old} and {new}: one is a folder and the other is not. Give two files, or two folders.")
    pairs = [(path, new / path.name) for path in sorted(old.glob("*.json"))] if old.is_dir() else [(old, new)]
    pairs = [(one, other) for one, other in pairs if other.exists()]
    if not pairs:
        raise HostError(f"{old} and {new} have no recording in common.")
    for one, other in pairs:
        ours, theirs = Recording.load(one), Recording.load(other)
        yield one.name, len(ours), without_addresses(ours).compare(without_addresses(theirs))
