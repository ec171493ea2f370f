"""Every kernel of the table, with a proposal or without, tells its stories and four walks; what came of it is packed into one file.

A recording is kept in the cache as soon as it is there, so an interrupted run goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ...files.samples import open_ko
from ...model.recording import Recording
from ...scenarios.evidence import evidence
from ...scenarios.questions import QUESTIONS, told
from ...scenarios.recorded import archive, pack
from ...scenarios.scenario import Scenario
from ...scenarios.simulate import get, has_files
from ..host import HostError, cache_dir
from ..initramfs import build_agent
from ..kernels import RECORDED, Key, table_kernels
from ..qemu import GuestKernel
from ..record import file_name, modules_for, record, write_exports


def stories_of(arch: str, release: str, variant: str) -> Iterator[Scenario]:
    """What a kernel is asked: the table's stories whose modules there are, and the walks; not what has a file of its own."""
    folder, key = modules_for(arch, release, variant), (release, variant)
    for question in QUESTIONS:
        if arch in question.story:
            story = told(get(question.story[arch], arch), arch)
            has_own = (
                key in RECORDED[arch].kernels
                and story.name in RECORDED[arch].stories
                and key in RECORDED[arch].concerned(story.name)
            )
            if not has_own and has_files(story, folder) and _can_be_absent(story, folder):
                yield story
    if key not in RECORDED[arch].kernels:
        yield from (story for name, story in evidence(arch).items() if name.startswith("walk-"))


def _can_be_absent(story: Scenario, folder: Path) -> bool:
    """Whether the modules whose hardware is absent in a story can play that; those of ppc64le have no such parameter."""
    files = [open_ko(folder, f"{name}.ko") for name in story.machine.without_hardware]
    return all(b"parmtype=absent:" in file.data for file in files)


def record_proposals(
    arch: str, keys: Iterable[Key] = (), jobs: int = 2, anew: bool = False, say: Callable[[str], None] = print
) -> list[str]:
    """Record all stories on the kernels with proposals (default: all there are) and pack them; what failed, a line each.

    Kernels are built where they are missing. anew: also what the cache has. Errors: HostError.
    """
    wanted = tuple(keys) or table_kernels(arch)
    for key in wanted:
        RECORDED[arch].kernel(*key)  # built one after the other: they share a source
    todo = [(key, story) for key in wanted for story in stories_of(arch, *key)]
    build_agent(arch)
    with ThreadPoolExecutor(jobs) as pool:
        said = list(pool.map(lambda one: _kept(arch, *one, anew=anew, say=say), todo))
    for release in {release for release, _ in wanted} if arch == "x86_64" else ():
        write_exports(arch, release, folder_of(arch), "small")
    packed = sorted(folder_of(arch).glob("*.json"))
    archive(arch).parent.mkdir(parents=True, exist_ok=True)
    pack(packed, archive(arch))
    say(f"{archive(arch).name}: {len(packed)} recordings, {archive(arch).stat().st_size} bytes")
    return [line for line in said if line]


def folder_of(arch: str) -> Path:
    """Where the recordings are until they are packed."""
    return cache_dir() / "recordings" / f"{arch}-proposals"


def _kept(arch: str, key: Key, story: Scenario, *, anew: bool, say: Callable[[str], None]) -> str:
    """Record one story, unless it is there and newer than its kernel; "" or what went wrong."""
    kernel, folder = RECORDED[arch].kernel(*key), folder_of(arch)
    name = f"{story.name}--{RECORDED[arch].name(*key)}"
    there = list(folder.glob(f"{name}--*.json"))
    if there and not anew and all(_newer(path, kernel) for path in there):
        return ""
    try:
        recording = record(story, *key, arch)
    except HostError as error:
        say(f"{name}: {error}")
        return f"{name}: {error}"
    for old in there:
        old.unlink()
    _save(recording, folder)
    say(f"{file_name(recording)}: {len(recording)} steps")
    return ""


def _newer(path: Path, kernel: GuestKernel) -> bool:
    return path.stat().st_mtime > kernel.image.stat().st_mtime


def _save(recording: Recording, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{file_name(recording)}.part"
    recording.save(part)
    part.rename(part.with_suffix(""))
