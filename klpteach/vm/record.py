"""What the agent in a guest said, as a recording: the same form that the model leaves, so the two can be compared."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..files.klp import parse_symbol
from ..files.module_file import ModuleFile
from ..files.samples import ko_dir, open_ko
from ..model import arch
from ..model.layout import layout_sections
from ..model.policy import RELEASES
from ..model.recording import Recording, Step
from ..scenarios.simulate import Scenario, commands_for
from .fetch import FetchedKernel, fetch
from .initramfs import initramfs
from .qemu import CMDLINE, Guest, boot

CONFIG = ("MODULE_SIG", "STRICT_MODULE_RWX", "RANDOMIZE_BASE", "MODVERSIONS")  # what decides lines and layout
_KMSG = re.compile(r"(\d+),\d+,\d+,[^;]*;(.*)")
_NOISE = re.compile(r"clocksource|hrtimer|tsc:|random: crng")


def record(scenario: Scenario, release: str, watch: Callable[[str], None] | None = None) -> Recording:
    """Run a story on a real kernel and record it. Errors: HostError, GuestError."""
    kernel, folder = fetch(release), ko_dir("x86_64", release)
    commands = commands_for(scenario, folder)
    modules = files_of(commands, folder)
    guest = boot(kernel.vmlinuz, initramfs(commands, modules), timeout=120 + 4 * len(commands), watch=watch)
    return from_guest(scenario, kernel, guest, modules)


def files_of(commands: Iterable[str], folder: Path) -> list[ModuleFile]:
    """The module files that a story loads, and those whose sites are looked at. Errors: ModuleFormatError."""
    words = [line.lstrip("~").split() for line in commands]
    names = [loaded_file(w) for w in words if w[0] in LOADS] + ["poke_demo.ko"] * any(w[0] == "poke" for w in words)
    files = {name: open_ko(folder, name) for name in dict.fromkeys(names)}
    for file in list(files.values()):
        plain = f"{file.name}.ko"
        if (folder / plain).exists():
            files.setdefault(plain, open_ko(folder, plain))
    return list(files.values())


LOADS = ("insmod", "modprobe")


def loaded_file(words: Sequence[str]) -> str:
    """The file that insmod FILE.ko or modprobe NAME loads."""
    return words[1] if words[0] == "insmod" else f"{words[1]}.ko"


def from_guest(scenario: Scenario, kernel: FetchedKernel, guest: Guest, modules: Iterable[ModuleFile]) -> Recording:
    """The recording of a guest that came to its end."""
    files = {file.filename: file for file in modules}
    banner = next((line.split("] ", 1)[-1] for line in guest.console.splitlines() if "Linux version " in line), "")
    about = {
        "arch": "x86_64",
        "release": kernel.vmlinuz.name.removeprefix("vmlinuz-"),
        "version": _version(banner),
        "variant": "stock",
        "cmdline": CMDLINE,
        "banner": banner,
    }
    digests: dict[str, str | None] = {name: hashlib.sha256(file.data).hexdigest() for name, file in files.items()}
    config = [option for option in CONFIG if option in kernel.config]
    recording = Recording(
        scenario.name, scenario.title, "real kernel", about, config, dict(scenario.init_errno), digests
    )
    separate = RELEASES[kernel.release].separate_memory
    recording.steps = with_quiet_lines([step_of(json.loads(line), files, separate) for line in guest.agent])
    recording.vmlinux = _vmlinux(recording)
    return recording


def with_quiet_lines(steps: list[Step]) -> list[Step]:
    """Where nobody looked, nobody read the log either: such a step's lines stand in the next one that was looked at."""
    waiting: list[tuple[int | None, str]] = []
    for step in steps:
        if step.quiet:
            waiting += step.dmesg
            step.errno, step.dmesg = None, []
        else:
            step.dmesg, waiting = waiting + step.dmesg, []
    return steps


def _vmlinux(recording: Recording) -> dict[str, int]:
    """Addresses of vmlinux symbols that livepatches have looked up: their own rows of kallsyms tell."""
    rows = [row for step in recording for table in (step.symbols or {}).values() for row in table]
    parsed = [(parse_symbol(name), address) for address, kind, name in rows if kind == "?" and address]
    return {symbol.name: address for symbol, address in parsed if symbol and symbol.object == "vmlinux"}


def outcome(recording: Recording) -> str:
    """One word for a file's name: OOPS, REFUSED if the story's last load was refused, else LOADS."""
    if any(step.oops for step in recording):
        return "OOPS"
    loads = [step for step in recording if step.command.startswith(LOADS) and step.errno is not None]
    return "REFUSED" if loads and loads[-1].errno else "LOADS"


def _version(banner: str) -> str:
    """The distribution's version of the kernel: the last one of the banner; the first is the compiler's."""
    found = re.findall(r"Debian (\d+\.\d+\.\d+)", banner)
    return str(found[-1]) if found else ""


def step_of(raw: Mapping[str, Any], modules: Mapping[str, ModuleFile], separate: bool) -> Step:
    """One line of the agent as a step. modules: by file name; separate: whether memory is allocated by kind (6.4)."""
    step = Step(
        raw["command"], raw["errno"], _dmesg(raw["kmsg"]), quiet=raw.get("quiet", False), oops=raw.get("oops", False)
    )
    if step.oops:
        step.errno = None
    step.out = raw.get("out")
    step.placement = _placement(raw, modules, separate)
    if "modules" not in raw:
        return step
    step.modules = [_module_row(line) for line in raw["modules"].splitlines()]
    step.livepatch = _livepatch(raw["livepatch"])
    step.sections = {m: {n: int(a, 16) for n, a in table.items()} for m, table in raw["sections"].items()}
    step.symbols = _symbols(raw["kallsyms"])
    step.sites = {key: bytes.fromhex(value) for key, value in raw["sites"].items()}
    return step


def records(kmsg: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Level and text of each record of /dev/kmsg, where control characters stand as \\x09."""
    for line in kmsg:
        match = _KMSG.match(line)
        if match:
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
        parts = path.split("/")
        patch = patches[parts[0]]
        match parts[1:]:
            case [("enabled" | "transition") as key]:
                patch[key] = int(text or "0")
            case [obj] if text is None:
                patch["objects"].setdefault(obj, {"functions": []})
            case [obj, "patched"]:
                patch["objects"].setdefault(obj, {"functions": []})["patched"] = int(text or "0")
            case [obj, function] if text is None:
                patch["objects"].setdefault(obj, {"functions": []})["functions"].append(function)
    return patches


def _symbols(rows: Iterable[str]) -> dict[str, list[tuple[int, str, str]]]:
    """ffffffffc0201000 t demo_show	[nfsd_demo]"""
    table: dict[str, list[tuple[int, str, str]]] = {}
    for row in rows:
        address, kind, rest = row.split(" ", 2)
        name, _, module = rest.rpartition("\t")
        table.setdefault(module.strip("[]"), []).append((int(address, 16), kind, name))
    return table


# -- where a module was put: the kernel says so itself, in a debug line a section (move_module(), dynamic debug) ------------

SECTION_LINE = re.compile(r"\s*0x([0-9a-f]+) (?:0x[0-9a-f]+ )?(\S+)$")


def is_placement(level: int, text: str) -> bool:
    return level == 7 and (text.lower().startswith("final section addresses") or bool(SECTION_LINE.match(text)))


def _placement(
    raw: Mapping[str, Any], modules: Mapping[str, ModuleFile], separate: bool
) -> dict[str, dict[str, int]] | None:
    """Module -> region -> address for the load that this command has tried, whether or not it was refused."""
    words = raw["command"].split()
    file = modules.get(loaded_file(words)) if words[0] in LOADS else None
    found = [SECTION_LINE.match(text) for level, text in records(raw["kmsg"]) if is_placement(level, text)]
    addresses = {match[2]: int(match[1], 16) for match in found if match}
    if file is None or not addresses:
        return None
    bases = {}
    for index, (region, offset) in layout_sections(file, arch.of(file.arch), separate).places.items():
        name = file.section_names[index]
        if name in addresses and file.shdrs["size"][index]:
            bases[region] = addresses[name] - offset
    percpu = _percpu_base(file, raw.get("kallsyms", ()))
    return {file.name: bases | ({"percpu": percpu} if percpu is not None else {})}


def _percpu_base(file: ModuleFile, rows: Iterable[str]) -> int | None:
    """Where a module's per-CPU data went: outside its memory, so only its symbols tell."""
    section = next((i for i, name in enumerate(file.section_names) if name == ".data..percpu"), None)
    names = {
        n: int(s["value"]) for n, s in zip(file.symbol_names, file.symtab, strict=True) if s["shndx"] == section and n
    }
    for address, _, name in _symbols(rows).get(file.name, ()):
        if section is not None and name in names:
            return address - names[name]
    return None
