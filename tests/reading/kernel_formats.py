"""The printk formats of the kernel's own files, from Debian's source packages; nothing of them is kept in the project."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from klpteach.errors import KlpteachError
from klpteach.vm.host import HostError, cache_dir, need, need_room, run

RELEASES = ("6.1", "6.12", "7.3")
FILES = (
    *("kernel/livepatch/*.c", "kernel/module/*.c", "arch/x86/kernel/module.c"),
    *("arch/powerpc/kernel/module_64.c", "arch/powerpc/kernel/module.c"),
)
_CALL = re.compile(r"\b(pr_(?!cont|fmt)\w+|printk\w*|WARN(?:_ONCE|_RATELIMIT)?|panic)\s*\(")
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')
_CONVERSION = re.compile(r"%[-+ #0]*\d*(?:\.\d+)?(?:\*ph[CDN]?|p[A-Za-z]*|(?:ll|[hlLqz])*[diuxXcs])")


class Unavailable(Exception):
    """The sources cannot be had here; the text says why."""


def source(release: str) -> Path:
    """The files of a release in the cache; downloaded (140 MB and more) and unpacked once. Errors: Unavailable."""
    folder = cache_dir() / f"log-source-{release}"
    if folder.exists():
        return folder
    package = f"linux-source-{release}"
    try:
        need("apt-get", "apt-cache", "dpkg-deb", "tar")
        if not run("apt-cache", "madison", package, timeout=60):
            raise Unavailable(f"apt knows no {package}; it needs a suite that has it among its sources")
        need_room(folder.parent, 500)
        part = folder.with_suffix(".part")
        subprocess.run(["rm", "-rf", part], check=True)
        part.mkdir(parents=True)
        run("apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", package, cwd=part, timeout=600)
        unpack = f'dpkg-deb --fsys-tarfile *.deb | tar -xO ./usr/src/{package}.tar.xz | tar -xJ --strip-components=1 --wildcards "$@"'
        run("sh", "-c", unpack, "sh", *(f"*/{pattern}" for pattern in FILES), cwd=part, timeout=600)
        next(part.glob("*.deb")).unlink()
        part.rename(folder)
    except (HostError, KlpteachError, OSError) as error:
        raise Unavailable(str(error)) from None
    return folder


def formats(folder: Path) -> Iterator[tuple[str, str, str]]:
    """File, call and text of every printk with a format."""
    for pattern in FILES:
        for path in sorted(folder.glob(pattern)):
            text = re.sub(r"/\*.*?\*/", " ", path.read_text(), flags=re.S)
            prefix = _prefix(path, text)
            for call in _CALL.finditer(text):
                string = _first_string(text, call.end())
                if string:
                    yield (
                        path.relative_to(folder).as_posix(),
                        call[1],
                        (prefix if call[1].startswith("pr_") else "") + string,
                    )


def _prefix(path: Path, text: str) -> str:
    """What the file's pr_fmt puts before."""
    define = re.search(r"#define pr_fmt\(fmt\)\s+(.*)", text)
    if not define:
        return ""
    if "KBUILD_MODNAME" in define[1]:
        return "livepatch: " if path.parent.name == "livepatch" else f"{path.stem}: "
    literal = _STRING.search(define[1])
    return literal[1] if literal else ""


def _first_string(text: str, at: int) -> str:
    """The string literals that follow one another first in a call's arguments."""
    depth, pieces = 1, []
    while depth and at < len(text):
        literal = _STRING.match(text, at)
        if literal:
            pieces.append(literal[1])
            at = literal.end()
            continue
        if pieces and not text[at].isspace():
            break
        depth += {"(": 1, ")": -1}.get(text[at], 0)
        at += 1
    return "".join(pieces).replace('\\"', '"').replace("\\n", "\n").replace("\\t", "\t")


def printed(text: str) -> str:
    """A format with a value in the place of every conversion."""
    return _CONVERSION.sub(lambda match: _value(match[0]), text).replace("%%", "%")


def _value(conversion: str) -> str:
    if "p" in conversion:
        return {"S": "e_show+0x60/0x548 [nfsd]", "B": "e_show+0x60/0x548 [nfsd]", "s": "e_show"}.get(
            conversion[-1], "000000001d522ef0"
        )
    return {"x": "7c630034", "X": "7C630034", "s": "nfsd_open", "c": "x"}.get(conversion[-1], "7")
