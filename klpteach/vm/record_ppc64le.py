"""Recordings of ppc64le kernels: as those of x86_64, and the table of stubs of every livepatch."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ..files import klp
from ..files.elf_h import SHF_ALLOC, SHF_EXECINSTR, SHF_WRITE, SHN_UNDEF, SHT_RELA
from ..files.module_file import ModuleFile
from ..files.samples import data_dir, ko_dir
from ..model.recording import Recording, Step, hexa
from ..scenarios.simulate import Scenario, commands_for
from .build import RECORDED_CONFIG, BuiltKernel, build_kernel
from .host import HostError
from .initramfs import initramfs
from .kernels import KERNELS, KERNELS_OF, PSERIES, STORIES
from .qemu import Guest, boot
from .record import LOADS, SECTION_LINE, files_of, is_placement, loaded_file, records, step_of, with_quiet_lines

SLOT, BEHIND, MAGIC = 40, 64, 0x73747562  # sizeof(struct ppc64_stub_entry), slots looked at behind the table, "stub"
R_PPC64_REL24 = 10
ALWAYS = ("_mcount", "ftrace_caller", "ftrace_regs_caller")
LONG = 9  # of a story with more steps, symbols are kept for the first three only


def record(
    scenario: Scenario, release: str, variant: str = "stock", watch: Callable[[str], None] | None = None
) -> Recording:
    """Run a story on a real ppc64le kernel and record it. Errors: HostError, GuestError."""
    kernel, folder = build_kernel(release, variant), ko_dir("ppc64le", release)
    commands = commands_for(scenario, folder)
    files = {file.filename: file for file in files_of(commands, folder)}
    lists = {
        "sites": site_list(files),
        "stubs": "".join(f"{f.name} {num_stubs(f) + BEHIND}\n" for f in _livepatches(files)),
        "names": "".join(f"{name}\n" for name in kernel_symbols(files.values())),
    }
    guest = boot(
        kernel.vmlinux, initramfs(commands, files.values(), "ppc64le", lists), timeout=400, watch=watch, machine=PSERIES
    )
    return from_guest(scenario, kernel, guest, files)


def from_guest(scenario: Scenario, kernel: BuiltKernel, guest: Guest, files: Mapping[str, ModuleFile]) -> Recording:
    """The recording of a guest that came to its end."""
    banner = next((line.split("] ", 1)[-1] for line in guest.console.splitlines() if "Linux version " in line), "")
    release = banner.split()[2] if banner else kernel.release
    about = {
        "arch": "ppc64le", "release": release, "version": release,
        "variant": kernel.variant, "cmdline": PSERIES.cmdline, "banner": banner,
    }  # fmt: skip
    digests: dict[str, str | None] = {name: hashlib.sha256(file.data).hexdigest() for name, file in files.items()}
    config = [option for option in RECORDED_CONFIG if option in kernel.config]
    recording = Recording(
        scenario.name, scenario.title, "real kernel", about, config, dict(scenario.init_errno), digests
    )
    separate = kernel.release != "6.1"
    for line in guest.agent:
        recording.steps.append(ppc_step(json.loads(line), files, separate))
        if recording.steps[-1].oops:
            break  # what follows is the wreck
    with_quiet_lines(recording.steps)
    if len(recording) > LONG:
        for step in recording.steps[3:]:
            step.symbols = None
    return recording


def ppc_step(raw: Mapping[str, Any], files: Mapping[str, ModuleFile], separate: bool) -> Step:
    """One line of the agent as a step: as on x86_64, with the stubs."""
    step = step_of(raw, {}, separate)
    step.placement = _placement(raw, files, separate)
    if step.symbols is not None:
        rows = [row.split() for row in raw["kallsyms"] if "\t" not in row]
        own = {name: table for name, table in step.symbols.items() if any(name == f.name for f in files.values())}
        step.symbols = {"vmlinux": [(int(a, 16), kind, name) for a, kind, name in rows], **own}
    if "stubs" in raw:
        labels = _labels(raw["kallsyms"])
        tables = {f.name: num_stubs(f) for f in _livepatches(files)}
        step.stubs = {
            name: decode_stubs(bytes.fromhex(dump), tables[name], labels) for name, dump in raw["stubs"].items()
        }
    return step


def _livepatches(files: Mapping[str, ModuleFile]) -> list[ModuleFile]:
    """The files NAME.ko of module NAME with livepatch relocations."""
    return [file for name, file in files.items() if name == f"{file.name}.ko" and any(klp.sites(file))]


def site_list(files: Mapping[str, ModuleFile]) -> str:
    """MODULE SECTION OFFSET WIDTH of every livepatch relocation: always 8 bytes, so that the word after a call is seen too."""
    rows = []
    for file in _livepatches(files):
        for site in klp.sites(file):
            room = int(file.shdrs["size"][file.section_index(site.section)]) - site.offset
            rows.append(f"{file.name} {site.section} {site.offset:x} {min(8, room)}")
    return "\n".join(dict.fromkeys(rows)) + "\n"


def num_stubs(file: ModuleFile) -> int:
    """How many slots the kernel reserves: a terminator, the distinct calls of each section, and two for ftrace.

    Source: arch/powerpc/kernel/module_64.c, get_stubs_size(), count_relocs().
    """
    calls = 0
    for index in (i for i in range(len(file.shdrs)) if file.shdrs["type"][i] == SHT_RELA):
        rows = file.rela(index).tolist()
        calls += len({(symbol, addend) for _, kind, symbol, addend in rows if kind == R_PPC64_REL24})
    return 1 + calls + 2


def kernel_symbols(files: Iterable[ModuleFile]) -> list[str]:
    """The names that modules leave to the kernel, and ftrace's."""
    names = {
        name
        for file in files
        for name, shndx in zip(file.symbol_names, file.symtab["shndx"].tolist(), strict=True)
        if shndx == SHN_UNDEF and name and not name.startswith(".")
    }
    return sorted(names | set(ALWAYS))


def write_exports(kernel: BuiltKernel) -> None:
    """vmlinux-exports.txt for the modules of a release: what they need of the kernel, at the addresses of this kernel."""
    folder = ko_dir("ppc64le", kernel.release)
    needed = set(kernel_symbols(ModuleFile.open(path) for path in sorted(folder.glob("*.ko"))))
    exported = {line.split("\t")[1] for line in (kernel.folder / "Module.symvers").read_text().splitlines()}
    rows = [line.split() for line in (kernel.folder / "System.map").read_text().splitlines()]
    at = {name: int(address, 16) for address, _, name in rows}
    lines = [f"{hexa(at[name])} {name}" for name in sorted(needed & (exported | set(ALWAYS)))]
    header = (
        f"# what the {kernel.release} kernel built here exports of that these modules need, at the addresses of stock;\n"
        f"# {' and '.join(ALWAYS[1:])} are not exported, but every module gets a stub for each\n"
    )
    (folder / "vmlinux-exports.txt").write_text(header + "\n".join(lines) + "\n")


def decode_stubs(dump: bytes, slots: int, labels: Mapping[int, str]) -> dict[str, Any]:
    """struct ppc64_stub_entry by struct ppc64_stub_entry: seven instruction words, the magic, the function's address.

    >>> decode_stubs(bytes(28) + struct.pack("<IQ", MAGIC, 0xc000) + bytes(40), 2, {})["used"]
    1
    """
    entries: list[dict[str, Any]] = []
    found = [struct.unpack_from("<28xIQ", dump, at) for at in range(0, len(dump) - SLOT + 1, SLOT)]
    past = sum(magic == MAGIC for magic, _ in found[slots:])
    last = max((i for i, (magic, _) in enumerate(found) if i >= slots and magic == MAGIC), default=slots - 1)
    for index, (_, funcdata) in enumerate(found[: last + 1]):
        symbol = labels.get(funcdata, "(no symbol there now)") if funcdata else None
        entries.append({"index": index, "funcdata": f"{funcdata:#x}", "symbol": symbol})
    used = sum(funcdata != 0 for _, funcdata in found[:slots])
    return {"num_stubs": slots, "used": used, "past_end_used": past, "entries": entries}


def _labels(rows: Iterable[str]) -> dict[int, str]:
    """Address -> name from rows of kallsyms; a livepatch's own notes of what it once resolved do not count."""
    table: dict[int, str] = {}
    for row in rows:
        address, _, name = row.split(" ", 2)
        name = name.replace("\t", " ")
        if not name.startswith(".klp.sym."):
            table.setdefault(int(address, 16), name)
    return table


def _placement(
    raw: Mapping[str, Any], files: Mapping[str, ModuleFile], separate: bool
) -> dict[str, dict[str, int]] | None:
    """Module -> region -> address of the load that this command tried; a region begins with its lowest section."""
    words = raw["command"].split()
    file = files.get(loaded_file(words)) if words[0] in LOADS else None
    lines = [text for level, text in records(raw["kmsg"]) if is_placement(level, text)]
    addresses = {m[2]: int(m[1], 16) for m in map(SECTION_LINE.match, lines) if m}
    if file is None or not addresses:
        return None
    regions: dict[str, int] = {}
    for index, name in enumerate(file.section_names):
        if name in addresses and int(file.shdrs["flags"][index]) & SHF_ALLOC:
            region = _region(name, int(file.shdrs["flags"][index])) if separate else "core"
            regions[region] = min(regions.get(region, addresses[name]), addresses[name])
    return {file.name: regions}


def _region(name: str, flags: int) -> str:
    """Which of the areas of 6.4 and later a section goes to (kernel/module/main.c, __layout_sections())."""
    if flags & SHF_EXECINSTR:
        return "text"
    if name in (".data..ro_after_init", "__jump_table"):
        return "ro_after_init"
    return "data" if flags & SHF_WRITE else "rodata"


def outcome(recording: Recording) -> str:
    """The word in a recording's name: OOPS, STUBS (the table ran out), REFUSED (the last load was), else LOADS."""
    if any(step.oops for step in recording):
        return "OOPS"
    loads = [step for step in recording if step.command.startswith(LOADS) and step.errno is not None]
    if any("stub_for_addr" in line for step in recording for line in step.lines):
        return "STUBS"
    return "REFUSED" if loads[-1].refused else "LOADS"


def file_name(recording: Recording) -> str:
    """STORY--RELEASE-VARIANT--OUTCOME.json"""
    kernel = f"{recording.release}-{recording.kernel['variant']}"
    return f"{recording.scenario}--{kernel}--{outcome(recording)}.json"


def record_all(
    names: Iterable[str] = (), folder: Path | None = None, kernels: Iterable[tuple[str, str]] = KERNELS
) -> int:
    """Record stories on every kernel that they concern, into data/recordings/ppc64le; how many could not be recorded."""
    folder, failed, kernels = folder or data_dir() / "recordings" / "ppc64le", 0, tuple(kernels)
    folder.mkdir(parents=True, exist_ok=True)
    for name in names or STORIES:
        for release, variant in (key for key in KERNELS_OF[name] if key in kernels):
            try:
                made = record(STORIES[name], release, variant)
            except HostError as error:
                print(f"{name}--{release}-{variant}: {error}", flush=True)
                failed += 1
                continue
            for old in folder.glob(f"{name}--{release}-{variant}--*.json"):
                old.unlink()
            made.save(folder / file_name(made))
            print(file_name(made), flush=True)
    return failed
