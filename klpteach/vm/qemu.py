"""Boot a kernel under QEMU, wait for the agent to finish, and never leave a process behind."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .host import HostError, cache_dir, need

MEMORY = 512  # MiB
Watch = Callable[[str], None] | None


@dataclass(frozen=True)
class Machine:
    """How QEMU plays one architecture: the program, its arguments (FOLDER is where the two files go), the command line.

    boot: how many seconds a guest may take before its story begins. cpu: which one, where a recording tells it.
    """

    program: str
    arguments: tuple[str, ...]
    cmdline: str
    boot: int
    cpu: str = ""


@dataclass(frozen=True)
class GuestKernel:
    """A kernel that can be booted: fetched or built, and in which variant."""

    arch: str
    release: str
    variant: str
    image: Path
    config_file: Path

    @property
    def config(self) -> set[str]:
        """The options that are on (y), without CONFIG_."""
        return set(re.findall(r"^CONFIG_(\w+)=y$", self.config_file.read_text(), re.M))


class GuestError(HostError):
    """The guest did not get to the end of its story; the message says what its console said last.

    how: "panics", "hangs" (the time was over), or "" where QEMU ended for another reason.
    """

    how = ""
    last = ""  # line of the console


@dataclass(frozen=True)
class Guest:
    """What came out of a guest: the agent's lines, and everything the kernel printed."""

    agent: list[str]
    console: str


def boot(
    machine: Machine, image: Path, archive: bytes, timeout: float, watch: Watch = None, cmdline: str = ""
) -> Guest:
    """Run a guest to its end. watch gets new console text as it comes. cmdline: more of it than the machine's own.

    Always emulated (TCG): a nested /dev/kvm may open and yet boot nothing, and a story takes seconds either way.
    Errors: GuestError where it hangs, panics or dies; HostError without QEMU.
    """
    need(machine.program)
    with tempfile.TemporaryDirectory(prefix="klpteach-vm-") as scratch:
        folder = Path(scratch)
        (folder / "initramfs").write_bytes(archive)
        command = [
            *(machine.program, "-m", str(MEMORY), "-smp", "1", "-display", "none", "-nodefaults", "-no-reboot"),
            *(("-cpu", machine.cpu) if machine.cpu else ()),
            *("-monitor", "none", *(word.replace("FOLDER", str(folder)) for word in machine.arguments)),
            *(
                "-kernel",
                str(image),
                "-initrd",
                f"{folder}/initramfs",
                "-append",
                f"{machine.cmdline} {cmdline}".strip(),
            ),
        ]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            ended = _wait(process, folder, timeout, watch)
        finally:
            process.kill()
            _, stderr = process.communicate()
        console, port = _read(folder / "console"), _read(folder / "agent").splitlines()
        agent = [line for line in port if line.startswith("{")]  # s390x says its first lines there, too
        words = stderr.decode("utf-8", "replace").strip()
    if agent and '"end":true' in agent[-1]:
        return Guest(agent[:-1], console)
    last = [line for line in console.splitlines() if line.strip()][-3:]
    why = "it panicked or died" if ended else f"it did not finish within {timeout:.0f} s and was ended"
    kept = cache_dir() / "last-console.txt"
    kept.write_text(console)
    failure = GuestError(
        f"the guest gave {len(agent)} steps, then {why}. {words} Its console, kept in {kept.name} of the cache folder, "
        f"ends: {' | '.join(last) or 'nothing'}"
    )
    failure.how = "panics" if "Kernel panic" in console else "" if ended else "hangs"
    failure.last = next((line for line in console.splitlines() if "Kernel panic" in line), last[-1] if last else "")
    raise failure


def _wait(process: subprocess.Popen[bytes], folder: Path, timeout: float, watch: Watch) -> bool:
    """Until the process ends (True) or the time is over (False)."""
    seen, end = 0, time.monotonic() + timeout
    while time.monotonic() < end:
        ended = process.poll() is not None or _ended(folder / "agent")
        text = _read(folder / "console") if watch else ""
        if watch and len(text) > seen:
            watch(text[seen:])
            seen = len(text)
        if ended:
            return True
        time.sleep(0.1)
    return False


def _ended(agent: Path) -> bool:
    """Whether the agent has written its last line: a small kernel, without ACPI, cannot switch itself off."""
    with suppress(OSError), agent.open("rb") as file:
        file.seek(-min(40, agent.stat().st_size), os.SEEK_END)
        return b'{"end":true}' in file.read()
    return False


def _read(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "replace").replace("\r", "") if path.exists() else ""


def progress(text: str) -> None:
    """Print console lines of a story as they come; a dot a line while the kernel boots."""
    for line in text.splitlines():
        if "livepatch" in line or "module" in line:
            print(line, flush=True)
        else:
            print(".", end="", file=sys.stderr, flush=True)


def dots(text: str) -> None:
    """A dot a line of the console, where the story is told afterwards."""
    print("." * text.count("\n"), end="", file=sys.stderr, flush=True)
