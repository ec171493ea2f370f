"""The guest's files: the agent as /init, a story, the sites to look at, and the modules, packed as a cpio archive."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from .. import klp
from ..elf import ModuleFile
from .host import cache_dir, need, run

AGENT = Path(__file__).with_name("agent.c")


def build_agent() -> Path:
    """The agent as a static program; compiled when its source is newer. Errors: HostError without a compiler."""
    program = cache_dir() / "agent-x86_64"
    if not program.exists() or program.stat().st_mtime < AGENT.stat().st_mtime:
        need("gcc")
        run("gcc", "-static", "-O1", "-o", program, AGENT)
    return program


def initramfs(story: Iterable[str], modules: Iterable[Path]) -> bytes:
    """A cpio archive (newc) that the kernel unpacks and starts /init from."""
    modules = list(modules)
    files: dict[str, bytes] = {
        "init": build_agent().read_bytes(),
        "story": "\n".join(story).encode() + b"\n",
        "sites": site_list(modules).encode(),
        **{f"ko/{path.name}": path.read_bytes() for path in modules},
    }
    return cpio({"dev": None, "ko": None, **files})


def site_list(modules: Iterable[Path]) -> str:
    """MODULE SECTION OFFSET WIDTH of every livepatch relocation of the files NAME.ko whose module is NAME."""
    rows = []
    for path in modules:
        file = ModuleFile.open(path)
        if path.name == f"{file.name}.ko":
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
