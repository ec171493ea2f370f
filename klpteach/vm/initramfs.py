"""The guest's files: the agent as /init, a story, the sites to look at, and the modules, packed as a cpio archive."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..files.module_file import ModuleFile
from .host import cache_dir, need, run
from .kernels import RECORDED

AGENT, USER_SPACE = (Path(__file__).with_name(name) for name in ("agent.c", "user_space.h"))


def build_agent(arch: str) -> Path:
    """The agent as a static program, compiled once for each version of its source. Errors: HostError without a compiler."""
    source = b"".join(path.read_bytes() for path in (AGENT, USER_SPACE))
    program = cache_dir() / f"agent-{arch}-{hashlib.sha256(source).hexdigest()[:12]}"
    if not program.exists():
        need(RECORDED[arch].compiler)
        part = program.with_suffix(f".{os.getpid()}")
        run(RECORDED[arch].compiler, "-static", "-O1", "-o", part, AGENT)
        part.rename(program)
    return program


def initramfs(arch: str, story: Iterable[str], modules: Iterable[ModuleFile], lists: Mapping[str, str]) -> bytes:
    """A cpio archive (newc) that the kernel unpacks and starts /init from. lists: what the agent looks at, by file name."""
    files: dict[str, bytes | None] = {"dev": None, "ko": None, "init": build_agent(arch).read_bytes()}
    files |= {name: text.encode() for name, text in {"story": "\n".join(story) + "\n", **lists}.items()}
    return cpio({**files, **{f"ko/{file.filename}": file.data for file in modules}})


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
