#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A small Debian 13 in the cache, in which modules for its kernels are built.

Their kbuild brings programs that want Debian 13's C library, and the kernel was built with its gcc-14. Nothing is installed
on this machine: mmdebstrap unpacks packages into a folder, and chroot works in it. Needs root.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

from klpteach.vm.apt import KEYS, apt_for, mirror
from klpteach.vm.build import locked
from klpteach.vm.host import HostError, cache_dir, need, need_room, run

SUITE = "trixie"
PACKAGES = """gcc-14-for-host make binutils libc6-dev libelf1t64 libssl3t64 zlib1g bash dash coreutils sed grep gawk mawk
findutils diffutils python3-minimal"""
DOOR = "klpteach"  # the folder in the room where the work outside is seen
# What is mounted in a mount namespace of its own goes with it. objtool reads /proc/self/limits.
ENTER = f'mount -t proc proc "$1/proc"; mount --bind "$2" "$1/{DOOR}"; room=$1; shift 2; exec chroot "$room" "$@"'


def headers(name: str, package: str) -> Path:
    """The kernel's build tree in a room of its own, made at the first use. package: a regular expression of its name."""
    folder = cache_dir() / "rooms" / name
    with locked(f"room-{name}"):
        if not folder.exists():
            _make(name.partition("-")[2], package, folder)
    (variables,) = folder.glob("usr/src/linux-headers-*/.kernelvariables")
    return variables.parent


def entered(headers: Path, work: Path) -> tuple[list[str | Path], Path, Path]:
    """(words before a command, the build tree, the folder of the work), as they are called where the tree is used."""
    room = headers.parents[2]
    if not (room / DOOR).is_dir():  # a tree of this machine
        return [], headers, work
    words: list[str | Path] = ["unshare", "--mount", "sh", "-ec", ENTER, "sh", room, work]
    return words, Path("/") / headers.relative_to(room), Path("/") / DOOR


def _make(release: str, package: str, folder: Path) -> None:
    need("mmdebstrap", "unshare", "chroot", "dpkg-deb", "tar")
    if os.geteuid():
        raise HostError("a room for Debian 13's compiler can be made and entered by root only.")
    apt = apt_for(release)
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    need_room(folder.parent, 700)
    newest = apt.newest(package)
    print(f"making a room of Debian's {SUITE} with {newest}, two minutes", file=sys.stderr, flush=True)
    wanted = ",".join(PACKAGES.split())
    source = f"deb [signed-by={KEYS}] {mirror()} {SUITE} main"
    run("mmdebstrap", "--mode=root", "--variant=extract", f"--include={wanted}", SUITE, part, source, timeout=900)
    (part / "usr/bin/awk").symlink_to("mawk")  # nothing is configured, so no alternatives are set
    for name in (newest, *re.findall(r"Depends: (linux-headers-\S+-common|linux-kbuild-\S+)", apt.depends(newest))):
        deb = apt.download(name, part)
        run("sh", "-c", 'dpkg-deb --fsys-tarfile "$1" | tar -x -C "$2" ./usr', "sh", deb, part)
        deb.unlink()
    (part / DOOR).mkdir()
    part.rename(folder)
