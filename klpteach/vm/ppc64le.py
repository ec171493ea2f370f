"""The ppc64le half of the evidence: small pseries kernels built from Debian's sources, the stories that concern them,
and their recordings, stubs included.

Debian's own ppc64el kernel has no CONFIG_LIVEPATCH, so one is built: unmodified (stock) and in the variants of
variants.py. Nothing is installed, no kernel source is kept in the repository.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import re
import shutil
import struct
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import klp
from ..corrupt import CORRUPTIONS
from ..data import data_dir, ko_dir
from ..elf import ModuleFile
from ..elf_h import SHF_ALLOC, SHF_EXECINSTR, SHF_WRITE, SHN_UNDEF, SHT_RELA
from ..recording import Recording, Step, hexa
from ..scenarios import DISABLE, GONE, SCENARIOS, TARGET, Scenario, commands_for
from . import host
from .host import HostError, cache_dir, need, need_room
from .initramfs import initramfs
from .qemu import Guest, Machine, boot
from .record import _FINAL, _is_placement, _records, _with_quiet_lines, files_of, step_of
from .variants import VARIANTS, edited

# -- building --------------------------------------------------------------------------------------------------------------

CROSS = "powerpc64le-linux-gnu-"
host.PACKAGES.setdefault(f"{CROSS}gcc", "gcc-powerpc64le-linux-gnu libc6-dev-ppc64el-cross")

# What is on beyond allnoconfig. VSX and FUTEX are for the C library of the agent, DYNAMIC_DEBUG for the placement lines.
OPTIONS = [
    "EXPERT", "PPC64", "PPC_BOOK3S_64", "PPC_PSERIES", "CPU_LITTLE_ENDIAN", "ALTIVEC", "VSX", "SMP", "PPC_64K_PAGES",
    "PPC_RADIX_MMU", "PPC_RADIX_MMU_DEFAULT", "PPC_OF_BOOT_TRAMPOLINE", "MODULES", "MODULE_UNLOAD", "KALLSYMS",
    "KALLSYMS_ALL", "FTRACE", "FUNCTION_TRACER", "DYNAMIC_FTRACE", "LIVEPATCH", "STRICT_KERNEL_RWX",
    "STRICT_MODULE_RWX", "PRINTK", "PRINTK_TIME", "BUG", "DEBUG_BUGVERBOSE", "DYNAMIC_DEBUG", "PROC_FS", "PROC_KCORE",
    "SYSFS", "DEVTMPFS", "BLK_DEV_INITRD", "BINFMT_ELF", "TTY", "HVC_CONSOLE", "FUTEX", "POSIX_TIMERS", "MULTIUSER",
]  # fmt: skip
OFF = ("PPC_POWERNV",)
RECORDED_CONFIG = ("STRICT_MODULE_RWX", "MPROFILE_KERNEL", "PPC_64K_PAGES", "MODULE_SIG", "MODVERSIONS")
_MAKE = ("ARCH=powerpc", f"CROSS_COMPILE={CROSS}", "KBUILD_BUILD_USER=klpteach", "KBUILD_BUILD_HOST=klpteach",
         "KBUILD_BUILD_TIMESTAMP=2019-06-25", "KBUILD_BUILD_VERSION=1")  # fmt: skip


@dataclass(frozen=True)
class BuiltKernel:
    """A kernel that was built here, in its own folder of the cache."""

    release: str
    variant: str
    folder: Path

    @property
    def vmlinux(self) -> Path:
        return self.folder / "vmlinux"

    @property
    def config(self) -> set[str]:
        """The options that are on (y), without CONFIG_."""
        return set(re.findall(r"^CONFIG_(\w+)=y$", (self.folder / "config").read_text(), re.M))


def build_kernel(release: str, variant: str = "stock", say: Callable[[str], None] = print) -> BuiltKernel:
    """A kernel from the cache, or built: about 10 minutes for the first of a release, half a minute for a variant.

    Errors: HostError for an unknown variant, without compiler, apt or network, on a full disk, or when make fails.
    """
    if (release, variant) not in VARIANTS:
        known = ", ".join(f"{r}-{v}" for r, v in VARIANTS)
        raise HostError(f"no ppc64le kernel {release}-{variant}; there are {known}.")
    kernel = BuiltKernel(release, variant, cache_dir() / "kernels" / f"ppc64le-{release}-{variant}")
    if kernel.vmlinux.exists():
        return kernel
    need("make", f"{CROSS}gcc", "flex", "bison", "bc")
    with locked(f"linux-source-{release}"):
        tree = _unpacked(release, say)
        say(f"building ppc64le {release} {variant} …")
        with _patched(tree, edited(tree, VARIANTS[release, variant])):
            _make(tree, "vmlinux", "modules_prepare")
        shutil.copy(tree / "vmlinux.symvers", tree / "Module.symvers")
        _keep(tree, kernel)
    return kernel


def build_tree(release: str, say: Callable[[str], None] = print) -> Path:
    """The source tree in which modules for a release can be built. Errors: as build_kernel()."""
    tree = source_folder(release)
    if not (tree / "Module.symvers").exists():
        with locked(f"linux-source-{release}-first"):
            shutil.rmtree(cache_dir() / "kernels" / f"ppc64le-{release}-stock", ignore_errors=True)
            build_kernel(release, "stock", say)
    return tree


def source_folder(release: str) -> Path:
    """Where the kernel source of a release is, once it has been unpacked."""
    return cache_dir() / "src" / f"linux-source-{release}"


@contextmanager
def locked(name: str) -> Iterator[None]:
    """One process at a time."""
    with (cache_dir() / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _unpacked(release: str, say: Callable[[str], None]) -> Path:
    """The source package, downloaded, unpacked and configured."""
    tree = source_folder(release)
    if not tree.exists():
        need("apt-get", "dpkg-deb", "tar")
        tree.parent.mkdir(parents=True, exist_ok=True)
        need_room(tree.parent, 4000)
        say(f"downloading linux-source-{release} (140 MB) …")
        with tempfile.TemporaryDirectory(prefix="part-", dir=tree.parent) as scratch:
            part = Path(scratch)
            fetch = ("apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", f"linux-source-{release}")
            host.run(*fetch, cwd=part, timeout=900)
            deb = next(part.glob("*.deb"))
            host.run(
                "sh", "-c", 'dpkg-deb --fsys-tarfile "$1" | tar -x -C "$2" ./usr/src', "sh", deb, part, timeout=900
            )
            host.run("tar", "-xf", next(part.glob("usr/src/*.tar.*")), "-C", part, timeout=900)
            (part / tree.name).rename(tree)
    wanted = tree / "klpteach.config"
    text = "".join([f"CONFIG_{o}=y\n" for o in OPTIONS] + [f"# CONFIG_{o} is not set\n" for o in OFF])
    if not wanted.exists() or wanted.read_text() != text:
        wanted.write_text(text)
        _make(tree, f"KCONFIG_ALLCONFIG={wanted}", "allnoconfig")
        on = set(re.findall(r"^CONFIG_(\w+)=y$", (tree / ".config").read_text(), re.M))
        if missing := [option for option in OPTIONS if option not in on]:
            raise HostError(f"linux-source-{release} cannot be configured with {', '.join(missing)}.")
    return tree


def _make(tree: Path, *targets: str) -> None:
    jobs = f"-j{(os.cpu_count() or 1) + 1}"
    host.run("make", "-C", tree, jobs, *_MAKE, *targets, timeout=7200)


@contextmanager
def _patched(tree: Path, texts: Mapping[str, str]) -> Iterator[None]:
    """The tree with some files changed, and as it was afterwards."""
    before = {path: (tree / path).read_text() for path in texts}
    try:
        for path, text in texts.items():
            (tree / path).write_text(text)
        yield
    finally:
        for path, text in before.items():
            (tree / path).write_text(text)


def _keep(tree: Path, kernel: BuiltKernel) -> None:
    """Copy what booting needs; complete, or not there at all."""
    kernel.folder.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix="part-", dir=kernel.folder.parent))
    host.run(f"{CROSS}strip", "-o", part / "vmlinux", tree / "vmlinux")
    for name in ("Module.symvers", "System.map"):
        shutil.copy(tree / name, part / name)
    shutil.copy(tree / ".config", part / "config")
    part.rename(kernel.folder)


# -- stories ---------------------------------------------------------------------------------------------------------------

PSERIES = Machine(
    "qemu-system-ppc64",
    ("-M", "pseries,x-vof=on", "-cpu", "power9", "-accel", "tcg,thread=single",
     "-chardev", "file,id=console,path=FOLDER/console", "-device", "spapr-vty,chardev=console,reg=0x30000000",
     "-chardev", "file,id=agent,path=FOLDER/agent", "-device", "spapr-vty,chardev=agent,reg=0x30001000"),
    'console=hvc0 panic=-1 loglevel=7 dyndbg="func move_module +p"',
)  # fmt: skip
OTHERS = ("lockd_demo.ko", "filler4k.ko", "filler64k.ko", "filler1m.ko")
ROOM = "insmod room_demo.ko"


def _reloads(livepatch: str, between: Iterable[str], quietly: bool = False) -> tuple[str, ...]:
    """Load both, then for each of `between` remove the target, do that ("": nothing), and load the target again."""
    commands: list[str] = [TARGET, f"insmod {livepatch}.ko"]
    for other in between:
        commands += ["~" * quietly + GONE, *(["~" * quietly + other] if other else []), TARGET]
    return tuple(commands)


# Defects of klpteach.corrupt that say something on ppc64le; the others need what only x86_64 has, or an oops.
DEFECTS = [kind for kind in CORRUPTIONS if kind not in ("marked", "section-not-alloc", "overflow-nonzero")]
DEFECTS = [kind for kind in DEFECTS if not kind.startswith("function-")]


def _catalogue(late: bool) -> Iterator[str]:
    """Every bad livepatch: loaded while its target is there, or before it and then two tries to load the target."""
    if not late:
        yield TARGET
    for kind in DEFECTS:
        yield f"{'~' * late}insmod livepatch_nfsd_demo+{kind}.ko"
        yield from (TARGET, TARGET, f"~{GONE}") if late else ()
        yield from (f"~{DISABLE}", "~rmmod livepatch_nfsd_demo")


STORIES: Mapping[str, Scenario] = {
    s.name: s
    for s in (
        *(SCENARIOS[name] for name in ("reload", "late", "init-fails", "workaround", "retry", "disabled", "stacked")),
        SCENARIOS["cumulative"],
        Scenario(
            "same-address",
            "five reloads at the same address",
            "Nothing else is loaded in between. How long does it go well?",
            _reloads("livepatch_nfsd_demo", [""] * 5),
        ),
        Scenario(
            "moved",
            "reloads at other addresses",
            "Each time another module takes the freed place. How many slots has the table of stubs?",
            _reloads("livepatch_nfsd_demo", [f"insmod {name}" for name in OTHERS]),
        ),
        Scenario(
            "moved-40",
            "forty reloads, address space taken in between",
            "Forty reloads, each time elsewhere. How many succeed?",
            (ROOM, *_reloads("livepatch_nfsd_demo", ["fill 3"] * 40, quietly=True)),
        ),
        Scenario(
            "data-only",
            "a livepatch that calls nothing",
            "This livepatch only uses data of its target. Is its reload refused as well?",
            _reloads("livepatch_data_only", ["", "insmod lockd_demo.ko", "insmod filler4k.ko"]),
        ),
        Scenario(
            "sibling",
            "a livepatch with a plain branch",
            "Its only call is a branch that does not come back: no nop. Is the reload refused?",
            _reloads("livepatch_sibling", ["", "insmod lockd_demo.ko", "insmod filler4k.ko"]),
        ),
        Scenario(
            "one-call",
            "a livepatch with one call",
            "One call needs one stub. How many moves does the table bear?",
            _reloads("livepatch_one_call", [f"insmod {name}" for name in OTHERS]),
        ),
        Scenario(
            "sibling-moved",
            "a plain branch, moved again and again",
            "No nop, no check. But does the table of stubs bear it?",
            _reloads("livepatch_sibling", [f"insmod {name}" for name in OTHERS]),
        ),
        Scenario(
            "edge",
            "a table of stubs at the end of a page",
            "Behind the last stub nothing can be read. What does the search for a free one do?",
            _reloads("livepatch_edge", [f"insmod {name}" for name in OTHERS[:3]]),
        ),
        Scenario(
            "sections",
            "a livepatch with a section a function",
            "Stubs are counted for each section. How many moves does this table bear?",
            (ROOM, *_reloads("livepatch_sections", ["fill 3"] * 10, quietly=True)),
        ),
        Scenario(
            "half-way",
            "a livepatch that fails half way",
            "The first section was written, the second was refused. What does the next load find?",
            ("insmod livepatch_half_way.ko", TARGET, TARGET, "insmod nfsd_demo_v2.ko"),
        ),
        Scenario(
            "no-nop",
            "a call without a nop",
            "What does the check say about a livepatch that really is wrong?",
            (TARGET, "insmod livepatch_no_nop.ko"),
        ),
        Scenario(
            "catalogue",
            "every bad livepatch, target first",
            "What does each defect say?",
            tuple(_catalogue(late=False)),
        ),
        Scenario(
            "catalogue-late",
            "every bad livepatch, target later",
            "And when the target comes, and comes again?",
            tuple(_catalogue(late=True)),
        ),
    )
}

_ALL = tuple(VARIANTS)
KERNELS_OF: Mapping[str, tuple[tuple[str, str], ...]] = {
    **{name: _ALL for name in STORIES},
    **{
        name: (("6.1", "stock"), ("6.12", "stock"))
        for name in ("no-nop", "stacked", "cumulative", "catalogue", "catalogue-late")
    },
    "edge": (("6.12", "stock"), ("6.12", "reuse")),
}


# -- recording -------------------------------------------------------------------------------------------------------------

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
    _with_quiet_lines(recording.steps)
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
    file = files.get(words[1]) if words[0] == "insmod" else None
    lines = [text for level, text in _records(raw["kmsg"]) if _is_placement(level, text)]
    addresses = {m[2]: int(m[1], 16) for m in map(_FINAL.match, lines) if m}
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
    loads = [step for step in recording if step.command.startswith("insmod ") and step.errno is not None]
    if any("stub_for_addr" in line for step in recording for line in step.lines):
        return "STUBS"
    return "REFUSED" if loads[-1].refused else "LOADS"


def file_name(recording: Recording) -> str:
    """STORY--RELEASE-VARIANT--OUTCOME.json"""
    kernel = f"{recording.release}-{recording.kernel['variant']}"
    return f"{recording.scenario}--{kernel}--{outcome(recording)}.json"


def record_all(names: Iterable[str] = (), folder: Path | None = None, kernels: Iterable[tuple[str, str]] = _ALL) -> int:
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


def main() -> int:
    """python3 -m klpteach.vm.ppc64le [STORY …]: build the kernels, record the stories."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("story", nargs="*", choices=[*STORIES, []], help="default: all")
    parser.add_argument("--build", action="store_true", help="only build the kernels")
    parser.add_argument("--kernel", action="append", help="RELEASE-VARIANT; default: all")
    parser.add_argument("--out", type=Path, help="default: data/recordings/ppc64le")
    args = parser.parse_args()
    wanted = [key for key in _ALL if not args.kernel or "-".join(key) in args.kernel]
    try:
        for release, variant in wanted:
            kernel = build_kernel(release, variant)
            if variant == "stock" and ko_dir("ppc64le", release).is_dir():
                write_exports(kernel)
        return 2 if not args.build and record_all(args.story, args.out, wanted) else 0
    except HostError as error:
        print(f"klpteach.vm.ppc64le: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
