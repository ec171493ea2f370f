"""What a host needs to run real kernels: programs, a cache folder, room on the disk; each lack in one line."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from ..errors import KlpteachError
from ..files.home import user_folder

PACKAGES = {  # program -> what to install, where it is not of the same name
    "qemu-system-x86_64": "qemu-system-x86", "qemu-system-ppc64": "qemu-system-ppc", "qemu-system-aarch64": "qemu-system-arm", "gcc": "gcc libc6-dev",
    "powerpc64le-linux-gnu-gcc": "gcc-powerpc64le-linux-gnu libc6-dev-ppc64el-cross",
    "aarch64-linux-gnu-gcc": "gcc-aarch64-linux-gnu libc6-dev-arm64-cross",
    "apt-get": "apt", "dpkg-deb": "dpkg", "xz": "xz-utils",
}  # fmt: skip


class HostError(KlpteachError):
    """Something that only the host can provide is not there: a program, a package, room, the network."""


def need(*programs: str) -> None:
    """Errors: HostError that names what to install, all at once."""
    missing = [program for program in programs if not shutil.which(program)]
    if missing:
        packages = " ".join(PACKAGES.get(program, program) for program in missing)
        raise HostError(f"{', '.join(missing)} not found. Try: apt-get install {packages}")


def cache_dir() -> Path:
    """$KLPTEACH_CACHE, else klpteach in $XDG_CACHE_HOME or ~/.cache."""
    given = os.environ.get("KLPTEACH_CACHE")
    path = Path(given) if given else user_folder("XDG_CACHE_HOME", ".cache") / "klpteach"
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        what = f"the cache folder {path} cannot be made ({error.strerror})"
        raise HostError(f"{what}. Try: KLPTEACH_CACHE=some/folder") from None
    return path


def need_room(folder: Path, mebibytes: int) -> None:
    """Errors: HostError where the disk is too full."""
    free = shutil.disk_usage(folder).free >> 20
    if free < mebibytes:
        raise HostError(f"{mebibytes} MiB are needed in {folder}, {free} MiB are free. Try: KLPTEACH_CACHE=some/folder")


def run(*command: str | Path, cwd: Path | None = None, timeout: float = 300) -> str:
    """Output of a command. Errors: HostError with its last line."""
    words, env = [str(word) for word in command], {**os.environ, "LC_ALL": "C"}
    try:
        done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, timeout=timeout, env=env)
    except subprocess.TimeoutExpired:
        raise HostError(f"{words[0]} did not end within {timeout:.0f} s: {' '.join(words[:4])} …") from None
    if done.returncode:
        last = ([line for line in (done.stderr + done.stdout).splitlines() if line.strip()] or ["no words"])[-1]
        raise HostError(f"{words[0]} failed: {last.strip()}")
    return done.stdout
