"""The guest's files: the agent as /init, a story, the sites to look at, and the modules, packed as a cpio archive."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..files import klp
from ..files.module_file import ModuleFile
from .host import cache_dir, need, run

AGENT = Path(__file__).with_name("agent.c")
COMPILERS = {"x86_64": "gcc", "ppc64le": "powerpc64le-linux-gnu-gcc"}


def build_agent(arch: str = "x86_64") -> Path:
    """The agent as a static program; compiled when its source is newer. Errors: HostError without a compiler."""
    program = cache_dir() / f"agent-{arch}"
    if not program.exists() or program.stat().st_mtime < AGENT.stat().st_mtime:
        need(COMPILERS[arch])
        part = program.with_suffix(f".{os.getpid()}")
        run(COMPILERS[arch], "-static", "-O1", "-o", part, AGENT)
        part.rename(program)
    return program


def initramfs(
    story: Iterable[str],
    modules: Iterable[Path | ModuleFile],
    arch: str = "x86_64",
    lists: Mapping[str, str] | None = None,
) -> bytes:
    """A cpio archive (newc) that the kernel unpacks and starts /init from. lists: more of the agent's files, by name."""
    opened = [module if isinstance(module, ModuleFile) else ModuleFile.open(module) for module in modules]
    files: dict[str, bytes] = {
        "init": build_agent(arch).read_bytes(),
        "story": "\n".join(story).encode() + b"\n",
        "sites": site_list(opened).encode(),
        **{name: text.encode() for name, text in (lists or {}).items()},
        **{f"ko/{file.filename}": file.data for file in opened},
    }
    return cpio({"dev": None, "ko": None, **files})


def site_list(modules: Iterable[ModuleFile]) -> str:
    """MODULE SECTION OFFSET WIDTH of every livepatch relocation of the files NAME.ko whose module is NAME."""
    rows = []
    for file in modules:
        if file.filename == f"{file.name}.ko":
            rows += [f"{file.name} {s.section} {s.offset:x} {s.width}" for s in klp.sites(file) if s.width]
    return "\n".join(dict.fromkeys(rows)) + "\n"


def cpio(files: Mapping[str, bytes | None]) -> bytes:
    """Pack name -> contents (None: a directory) in the kernel's own format (Documentation/driver-api/early-userspace/buffer-format.rst).

    >>> cpio({"init": b"x"})[:6]
    b'070701'
    """
    out = bytearray()
    for number, (name, body) in enumerate([*files.items(), ("TRAILER!!!", b"")], start=1):
        mode = 0o040755 if body is None else 0o100755
        fields = (number, mode, 0, 0, 1, 0, len(body or b""), 0, 0, 0, 0, len(name) + 1, 0)
        out += b"070701" + b"".join(f"{field:08x}".encode() for field in fields) + name.encode() + b"\0"
        out += bytes(-len(out) % 4) + (body or b"")
        out += bytes(-len(out) % 4)
    return bytes(out)
