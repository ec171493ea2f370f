"""What the agent in a guest said, as a recording: the same form that the model leaves, so the two can be compared."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..data import ko_dir
from ..elf import ModuleFile
from ..image import layout_sections
from ..policy import RELEASES
from ..recording import Recording, Step
from ..scenarios import Scenario, commands_for
from .fetch import FetchedKernel, fetch
from .host import HostError
from .initramfs import initramfs
from .qemu import CMDLINE, Guest, boot

CONFIG = ("MODULE_SIG", "STRICT_MODULE_RWX", "RANDOMIZE_BASE", "MODVERSIONS")  # what decides lines and layout
_KMSG = re.compile(r"(\d+),\d+,\d+,[^;]*;(.*)")
_NOISE = re.compile(r"clocksource|hrtimer|tsc:|random: crng")


def record(scenario: Scenario, release: str, watch: Callable[[str], None] | None = None) -> Recording:
    """Run a story on a real kernel and record it. Errors: HostError, GuestError."""
    kernel, folder = fetch(release), ko_dir("x86_64", release)
    commands = commands_for(scenario, folder)
    modules = [folder / name for name in files_of(commands, folder)]
    guest = boot(kernel.vmlinuz, initramfs(commands, modules), watch=watch)
    return from_guest(scenario, kernel, guest, modules)


def files_of(commands: Iterable[str], folder: Path) -> list[str]:
    """The module files that a story loads. Errors: HostError for one that is not there."""
    names = list(
        dict.fromkeys(line.lstrip("~").split()[1] for line in commands if line.lstrip("~").startswith("insmod "))
    )
    for name in names:
        if not (folder / name).exists():
            raise HostError(f"{name} is not in {folder.name}. Try: make -C data/src")
    return names


def from_guest(scenario: Scenario, kernel: FetchedKernel, guest: Guest, modules: Iterable[Path]) -> Recording:
    """The recording of a guest that came to its end."""
    modules = list(modules)
    banner = next((line.split("] ", 1)[-1] for line in guest.console.splitlines() if "Linux version " in line), "")
    about = {
        "arch": "x86_64", "release": kernel.vmlinuz.name.removeprefix("vmlinuz-"), "version": _version(banner),
        "variant": "stock", "cmdline": CMDLINE, "banner": banner,
    }  # fmt: skip
    digests: dict[str, str | None] = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in modules}
    config = [option for option in CONFIG if option in kernel.config]
    recording = Recording(
        scenario.name, scenario.title, "real kernel", about, config, dict(scenario.init_errno), digests
    )
    files = {path.name: ModuleFile.open(path) for path in modules}
    separate = RELEASES[kernel.release].separate_memory
    recording.steps = [step_of(json.loads(line), files, separate) for line in guest.agent]
    return recording


def _version(banner: str) -> str:
    found = re.search(r"Debian (\d+\.\d+\.\d+)", banner)
    return found[1] if found else ""


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


def _records(records: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Level and text of each record of /dev/kmsg, where control characters stand as \\x09."""
    for record in records:
        match = _KMSG.match(record)
        if match:
            yield int(match[1]) & 7, re.sub(r"\\x([0-9a-f]{2})", lambda m: chr(int(m[1], 16)), match[2])


def _dmesg(records: Iterable[str]) -> list[tuple[int | None, str]]:
    """The lines that belong to the story: not those that other subsystems print by themselves, nor our own debug lines."""
    return [
        (level, text) for level, text in _records(records) if not _NOISE.search(text) and not _is_placement(level, text)
    ]


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

_FINAL = re.compile(r"\s*0x([0-9a-f]+) (?:0x[0-9a-f]+ )?(\S+)$")


def _is_placement(level: int, text: str) -> bool:
    return level == 7 and (text.lower().startswith("final section addresses") or bool(_FINAL.match(text)))


def _placement(
    raw: Mapping[str, Any], modules: Mapping[str, ModuleFile], separate: bool
) -> dict[str, dict[str, int]] | None:
    """Module -> region -> address for the load that this command has tried, whether or not it was refused."""
    words = raw["command"].split()
    file = modules.get(words[1]) if words[0] == "insmod" else None
    lines = [text for level, text in _records(raw["kmsg"]) if _is_placement(level, text)]
    addresses = {m[2]: int(m[1], 16) for m in map(_FINAL.match, lines) if m}
    if file is None or not addresses:
        return None
    layout = layout_sections(file, separate)
    bases = {}
    for index, (region, offset) in layout.places.items():
        name = file.section_names[index]
        if name in addresses and file.shdrs["size"][index]:
            bases[region] = addresses[name] - offset
    return {file.name: bases}
