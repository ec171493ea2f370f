"""Where the tests find evidence: the project's own files, and recordings beside the repository where they are there."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from klpteach import ModuleFile
from klpteach.course import progress as book

ROOT = Path(__file__).resolve().parents[1]
KO = ROOT / "data" / "ko"
_ANSWERS = tempfile.TemporaryDirectory(
    prefix="klpteach-"
)  # doctests answer questions too; a reader's answers stay as they are
os.environ["KLPTEACH_PROGRESS"] = f"{_ANSWERS.name}/progress.json"
settings.register_profile("klpteach", deadline=None)  # processes share the cores: an example may take its time
settings.load_profile("klpteach")
NO_KO = str(ROOT / ".ci")  # a folder without a module in it
SHARED = ROOT.parent / "shared" / "recordings"


def shared_recordings(arch: str) -> list[object]:
    """The recordings beside the repository as test parameters; one that skips, with the reason, where there are none."""
    found = sorted((SHARED / arch).glob("*.json"))
    if not found:
        return [pytest.param(None, marks=pytest.mark.skip(reason=f"no recordings in ../shared/recordings/{arch}"))]
    return [pytest.param(path, id=path.stem) for path in found]


@pytest.fixture(params=["x86_64-6.1", "x86_64-6.12"])
def folder(request: pytest.FixtureRequest) -> Path:
    """The sample modules of one kernel."""
    return KO / str(request.param)


@pytest.fixture
def livepatch(folder: Path) -> ModuleFile:
    return ModuleFile.open(folder / "livepatch_nfsd_demo.ko")


@pytest.fixture
def target(folder: Path) -> ModuleFile:
    return ModuleFile.open(folder / "nfsd_demo.ko")


@pytest.fixture
def blank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A reader who has answered nothing yet, and where the answers will be kept."""
    monkeypatch.setenv("KLPTEACH_PROGRESS", str(tmp_path / "progress.json"))
    monkeypatch.setattr(book, "_kept", book.Progress())
    monkeypatch.setattr(book, "_printed", set())
    return tmp_path / "progress.json"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB, which is soon full."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if sys.platform != "linux" or os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small tmpfs needs root on Linux")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)
