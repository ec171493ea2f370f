"""objdump as an authority on instructions; a test that asks it is skipped, with the reason, where it is not installed."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

OBJDUMP = {
    "x86_64": ("objdump", "binutils", ["-mi386:x86-64"]),
    "ppc64le": ("powerpc64le-linux-gnu-objdump", "binutils-powerpc64le-linux-gnu", ["-mpowerpc:common64", "-EL"]),
}  # architecture -> the program, the Debian package that has it, and how to say what raw bytes are


def objdump(arch: str, *arguments: str | Path) -> list[list[str]]:
    """The instructions that objdump prints, each as [address, bytes, text]."""
    program, package, _ = OBJDUMP[arch]
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed. Try: apt-get install {package}")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=True)
    cells = (line.split("\t") for line in done.stdout.splitlines())
    return [[cell.strip() for cell in row[:3]] for row in cells if len(row) > 2]


def disassembled(code: bytes, address: int = 0, arch: str = "x86_64") -> list[str]:
    """The instructions in some bytes at an address, as objdump writes them, without comments and with single blanks."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(code)
        file.flush()
        found = objdump(arch, "-D", "-bbinary", *OBJDUMP[arch][2], f"--adjust-vma={address:#x}", file.name)
    return [" ".join(text.split("#")[0].split()) for _, _, text in found]
