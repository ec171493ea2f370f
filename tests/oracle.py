"""Outside authorities for the tests: GNU ld, which relocates without knowing any kernel code, and Debian's own modules.

ld as an oracle: a module linked finally, every section at the address where the model put it and every undefined symbol
given the address that the model was given, must have the same bytes in every section.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from klpteach.errors import KlpteachError
from klpteach.files.elf_h import RELA, SHDR, SYM
from klpteach.files.home import user_folder
from klpteach.vm.build import locked
from klpteach.vm.host import HostError, cache_dir, need, need_room
from klpteach.vm.host import run as run_in_host

KO = Path(__file__).resolve().parents[1] / "data" / "ko"
SAMPLES = sorted(KO.glob("x86_64-*/*.ko"))
DISCARDED = (".modinfo", "__versions")  # the kernel reads these two from the file's copy
OF_LD = (".note.gnu.build-id", ".note.gnu.property")  # ld leaves these away, or makes them anew
MERGED = 0x10 | 0x20 | 0x80 | 0x200  # SHF_MERGE, STRINGS, LINK_ORDER, GROUP: ld would move bytes
SHT_PROGBITS, SHT_RELA, SHF_ALLOC, SHF_RELA_LIVEPATCH = 1, 4, 2, 0x00100000
SHN_UNDEF, SHN_LIVEPATCH, SHN_ABS, STB_LOCAL = 0, 0xFF20, 0xFFF1, 0
DEADLINE = 300.0  # seconds for a download


# machine -> linker, emulation, package, options, sections that only the kernel knows
LINKERS = {
    62: ("ld", "elf_x86_64", "binutils", "", ()),
    21: (
        "powerpc64le-linux-gnu-ld",
        "elf64lppc",
        "binutils-powerpc64le-linux-gnu",
        "--no-toc-optimize --no-toc-sort --no-opd-optimize --no-tls-optimize --no-inline-optimize --no-plt-localentry",
        (".stubs",),
    ),
    183: (
        "aarch64-linux-gnu-ld",
        "aarch64linux",
        "binutils-aarch64-linux-gnu",
        "",
        (".plt", ".init.plt", ".text.ftrace_trampoline", ".init.text.ftrace_trampoline"),
    ),
}


class Unavailable(Exception):
    """An authority cannot be asked here; the text says why."""


# -- GNU ld ---------------------------------------------------------------------------------------------------------------


def link(
    data: bytes, addresses: Mapping[str, int], symbols: Mapping[str, int], folder: Path, *, livepatch: bool = False
) -> dict[str, bytes]:
    """Section name -> bytes of a module that GNU ld linked with sections and undefined symbols at the given addresses.

    livepatch: let ld apply the .klp.rela sections too; their symbols are then undefined ordinary ones and found in
    `symbols` under their whole name. Errors: Unavailable without ld, AssertionError with ld's words where it complains.
    """
    linker, emulation, package, own_options, own_discards = LINKERS[int.from_bytes(data[18:20], "little")]
    if not shutil.which(linker):
        raise Unavailable(f"GNU ld is not installed as {linker} (package {package})")
    source, script, target = folder / "module.o", folder / "script.lds", folder / "module.elf"
    source.write_bytes(for_ld(data, livepatch, symbols))
    lines = [f'"{name}" = {address:#x};' for name, address in symbols.items()]
    lines += ["SECTIONS {", *(f'"{name}" {address:#x} : {{ *("{name}") }}' for name, address in addresses.items())]
    script.write_text(
        "\n".join(
            [*lines, f"/DISCARD/ : {{ {' '.join(f'*({name})' for name in DISCARDED + OF_LD + own_discards)} }}", "}"]
        )
    )
    options = "-static -e 0 --no-relax -z norelro -z noexecstack --no-warn-rwx-segments --no-gc-sections"
    done = subprocess.run(
        [linker, "-m", emulation, *options.split(), *own_options.split(), "-T", script, "-o", target, source],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr[:2000]
    with target.open("rb") as stream:
        linked = {
            section.name: section for section in ELFFile(stream).iter_sections() if section["sh_flags"] & SHF_ALLOC
        }
        assert all(addresses[name] == section["sh_addr"] for name, section in linked.items()), (
            "ld placed a section elsewhere"
        )
        return {name: section.data() for name, section in linked.items()}


def for_ld(data: bytes, livepatch: bool, addresses: Mapping[str, int]) -> bytes:
    """A module that ld understands: nothing to merge, and no livepatch features.

    The .klp.rela sections become plain data, since they stay in memory; livepatch: what they say moves, in a copy, to the
    ordinary .rela section of the same target. SHN_LIVEPATCH symbols become undefined ones, or, where they are local as
    create-diff-object makes them, which ld could not look up, absolute ones at the given addresses.
    """
    out = bytearray(data)
    shoff, shnum = int.from_bytes(data[40:48], "little"), int.from_bytes(data[60:62], "little")
    shdrs = np.frombuffer(data, SHDR, shnum, shoff).copy()
    symtab = shdrs[shdrs["type"] == 2][0]
    symbols = np.frombuffer(_body(data, symtab), SYM).copy()
    local = (symbols["shndx"] == SHN_LIVEPATCH) & (symbols["info"] >> 4 == STB_LOCAL)
    strings = _body(data, shdrs[int(symtab["link"])])
    for index in np.flatnonzero(local):
        name = strings[int(symbols["name"][index]) :].partition(b"\0")[0].decode()
        symbols["shndx"][index], symbols["value"][index] = SHN_ABS, addresses.get(name, 0)
    symbols["shndx"][symbols["shndx"] == SHN_LIVEPATCH] = SHN_UNDEF
    out[int(symtab["offset"]) : int(symtab["offset"] + symtab["size"])] = symbols.tobytes()
    klp = np.flatnonzero((shdrs["type"] == SHT_RELA) & (shdrs["flags"] & SHF_RELA_LIVEPATCH != 0))
    if livepatch:
        for index in klp:
            shdrs = _add_relocations(out, shdrs, int(shdrs["info"][index]), _body(data, shdrs[index]))
    shdrs["type"][klp] = SHT_PROGBITS
    shdrs["flags"][klp] = SHF_ALLOC
    shdrs["info"][klp] = shdrs["entsize"][klp] = 0
    shdrs["flags"] &= ~np.uint64(MERGED)
    out += bytes(-len(out) % 8)
    out[40:48], out[60:62] = len(out).to_bytes(8, "little"), len(shdrs).to_bytes(2, "little")
    return bytes(out + shdrs.tobytes())


def _body(data: bytes | bytearray, shdr: np.void) -> bytes:
    return bytes(data[int(shdr["offset"]) : int(shdr["offset"] + shdr["size"])])


def _add_relocations(out: bytearray, shdrs: np.ndarray, target: int, entries: bytes) -> np.ndarray:
    """Append relocations for a section, behind those that it has: ld knows one .rela section a target."""
    ordinary = (shdrs["type"] == SHT_RELA) & (shdrs["info"] == target) & (shdrs["flags"] & SHF_RELA_LIVEPATCH == 0)
    found = np.flatnonzero(ordinary)
    if len(found):
        index = int(found[0])
        entries = _body(out, shdrs[index]) + entries
    else:
        index = len(shdrs)
        shdrs = np.append(shdrs, shdrs[shdrs["type"] == SHT_RELA][:1])
        shdrs["flags"][index], shdrs["info"][index] = 0x40, target
    shdrs["offset"][index], shdrs["size"][index] = len(out), len(entries)
    out += entries
    return shdrs


def undefined_names(data: bytes) -> list[str]:
    """The names of a module's undefined symbols, read by pyelftools."""
    symtab = ELFFile(io.BytesIO(data)).get_section_by_name(".symtab")
    assert isinstance(symtab, SymbolTableSection)
    return sorted(
        {symbol.name for symbol in symtab.iter_symbols() if symbol["st_shndx"] == "SHN_UNDEF" and symbol.name}
    )


def first_difference(data: bytes, section: str, ours: bytes, theirs: bytes) -> str:
    """Where two versions of a section differ, and the relocation that stands there."""
    if len(ours) != len(theirs):
        return f"{section}: {len(ours)} bytes here, {len(theirs)} bytes from ld"
    at = next(i for i, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a != b)
    elf = ELFFile(io.BytesIO(data))
    for rela in elf.iter_sections():
        if rela["sh_type"] == "SHT_RELA" and elf.get_section(rela["sh_info"]).name == section:
            entries = np.frombuffer(rela.data(), RELA)
            near = entries[(entries["offset"] <= at) & (at < entries["offset"] + 8)]
            if len(near):
                return f"{section}+{at:#x}: {ours[at : at + 8].hex()} here, {theirs[at : at + 8].hex()} from ld; {rela.name} says {near[0]}"
    return f"{section}+{at:#x}: {ours[at : at + 8].hex()} here, {theirs[at : at + 8].hex()} from ld; no relocation stands there"


# -- Debian's modules -----------------------------------------------------------------------------------------------------

PACKAGES = {
    "amd64": "amd64",
    "ppc64el": "powerpc64le",
    "arm64": "arm64",
}  # Debian's architecture -> the flavour in the package's name
NFSD, LARGEST = "kernel/fs/nfsd/nfsd.ko", "kernel/drivers/gpu/drm/amd/amdgpu/amdgpu.ko"
SAMPLE_SIZE = 50


@lru_cache
def debian_modules(architecture: str = "amd64") -> Path:
    """A folder with nfsd.ko, amdgpu.ko (the largest) and 50 more modules of Debian's 6.1 kernel, downloaded once.

    architecture is Debian's name. Another than the machine's needs no `dpkg --add-architecture`: apt gets lists of its own.

    It stays in $KLPTEACH_CACHE (default ~/.cache/klpteach) and is never part of the project: the modules are Debian's.
    Errors: Unavailable with the reason.
    """
    try:
        cache = Path(os.environ.get("KLPTEACH_CACHE") or user_folder("XDG_CACHE_HOME", ".cache") / "klpteach")
        suffix = "" if architecture == "amd64" else f"-{architecture}"
        folder = cache / f"debian-6.1-modules{suffix}"
        if folder.is_dir():
            return folder
        _check_tools()
        cache.mkdir(parents=True, exist_ok=True)
        with _lock(cache / f"{folder.name}.lock"):
            if not folder.is_dir():
                _fetch(cache, folder, architecture)
    except (OSError, KlpteachError) as error:  # KlpteachError: no home folder
        raise Unavailable(f"the cache folder cannot be used ({error})") from None
    return folder


def _check_tools() -> None:
    for tool in ("apt-cache", "apt-get", "dpkg-deb"):
        if not shutil.which(tool):
            raise Unavailable(f"no {tool} here: Debian's modules can be had on Debian only")


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """One process downloads, the others wait for it; a lock ends with its process."""
    end = time.monotonic() + DEADLINE + 60
    with path.open("w") as stream:
        while True:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise Unavailable("another process has been downloading Debian's modules for too long") from None
                time.sleep(0.5)
        yield


def _fetch(cache: Path, folder: Path, architecture: str) -> None:
    """Download the newest package, unpack what is wanted, and only then give the folder its name."""
    flavour = PACKAGES[architecture]
    with tempfile.TemporaryDirectory(dir=cache) as part:
        options = _other_architecture(Path(part), architecture) if architecture != "amd64" else []
        if options:
            with contextlib.suppress(Unavailable):  # other sources may lack the architecture; the search below decides
                _apt("apt-get", "-qq", *options, "update")
        found = _apt("apt-cache", *options, "search", "--names-only", r"^linux-image-6\.1\.0-")
        names = re.findall(rf"^(linux-image-6\.1\.0-\d+-{flavour}) ", found, re.M)
        if not names:
            raise Unavailable(f"apt knows no package linux-image-6.1.0-*-{flavour}. Try, on Debian 12: apt-get update")
        newest = max(names, key=lambda name: int(name.split("-")[3]))
        modules = Path(part) / "modules"
        modules.mkdir()
        retries = ["-o", "Acquire::Retries=1", "-o", "Acquire::http::Timeout=30", "-o", "APT::Sandbox::User=root"]
        _apt("apt-get", "-qq", *options, *retries, "download", newest, cwd=part)
        packages = list(Path(part).glob("*.deb"))
        if len(packages) != 1:
            raise Unavailable(f"apt-get download {newest} left no package")
        for name, body in _chosen(packages[0]).items():
            (modules / name).write_bytes(body)
        (modules / "PACKAGE").write_text(packages[0].name + "\n")
        modules.rename(folder)


def _other_architecture(part: Path, architecture: str) -> list[str]:
    """Options that let apt see another architecture, with package lists of its own."""
    (part / "lists" / "partial").mkdir(parents=True)
    settings = [f"APT::Architectures::={name}" for name in ("amd64", architecture)]
    settings += [f"Dir::State::lists={part / 'lists'}", "Dir::Cache::pkgcache=", "Dir::Cache::srcpkgcache="]
    return [word for setting in [*settings, "APT::Sandbox::User=root"] for word in ("-o", setting)]


def _apt(*command: str, cwd: str | None = None) -> str:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=DEADLINE, cwd=cwd, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{' '.join(command[:1])} took more than {DEADLINE:.0f} s") from None
    if done.returncode:
        raise Unavailable(f"{command[0]} failed: {(done.stderr.strip() or 'no reason given').splitlines()[-1]}")
    return done.stdout


def _chosen(package: Path) -> dict[str, bytes]:
    """nfsd.ko, amdgpu.ko and the 50 modules whose names have the lowest hash: any 50, and the same ones every time."""
    wanted: dict[str, bytes] = {}
    sample: dict[str, tuple[str, bytes]] = {}
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE) as process:
        assert process.stdout
        with tarfile.open(fileobj=process.stdout, mode="r|") as tar:
            for member in tar:
                name = member.name.partition("/kernel/")[2]
                stream = tar.extractfile(member) if name.endswith(".ko") and member.isfile() else None
                if stream and f"kernel/{name}" in (NFSD, LARGEST):
                    wanted[Path(name).name] = stream.read()
                elif stream:
                    sample[hashlib.sha256(name.encode()).hexdigest()] = Path(name).name, stream.read()
                    if len(sample) > SAMPLE_SIZE:
                        del sample[max(sample)]
    if process.returncode or len(wanted) != 2 or len(sample) != SAMPLE_SIZE:
        raise Unavailable(f"{package.name} has not the modules that were expected")
    return wanted | dict(sample.values())


# -- the kernel's own source ----------------------------------------------------------------------------------------------

SELFTESTS = "tools/testing/selftests/livepatch"
PARTS = (f"{SELFTESTS}/*.sh", "arch/powerpc/kernel/module_64.c", "arch/powerpc/include/*", "lib/sort.c")


@lru_cache
def kernel_source() -> Path:
    """The parts of Debian's linux-source-6.1 that tests ask, unpacked once into the cache. Errors: HostError."""
    folder = cache_dir() / "source-parts-6.1"
    if folder.exists():
        return folder
    need("apt-get", "dpkg-deb", "tar", "xz")
    need_room(folder.parent, 500)
    name = r"^linux-source-6\.1$"  # without ^ and $ apt takes linux-source-6.12 where there is no 6.1
    unpack = 'dpkg-deb --fsys-tarfile *.deb | tar -xO ./usr/src/linux-source-6.1.tar.xz | tar -xJ --strip-components=1 --wildcards "$@"'
    with locked("source-parts-6.1"), tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        if not folder.exists():
            part = Path(scratch) / "part"
            part.mkdir()
            try:
                run_in_host("apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", name, cwd=part, timeout=300)
            except HostError as error:
                raise HostError(f"apt gives no linux-source-6.1, which is Debian 12's ({error})") from None
            run_in_host("sh", "-c", unpack, "sh", *(f"*/{pattern}" for pattern in PARTS), cwd=part, timeout=300)
            next(part.glob("*.deb")).unlink()
            part.rename(folder)
    return folder
