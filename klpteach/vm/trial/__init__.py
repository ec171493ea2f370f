"""`klpteach vm try my.patch`: a kernel with the reader's own patch tells the stories of the table and earns its row.

fix.py      the patch as text: an allow-list before anything runs, whether it fits
compile.py  the kernel with it, the compiler's errors
row.py      what the stories came to, and the nearest known row
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ...model.recording import Recording
from ...reading.outcome import outcome_of
from ...scenarios.questions import QUESTIONS, Question, told
from ...scenarios.scenario import Scenario
from ...scenarios.simulate import commands_for, get
from ..build import locked
from ..host import cache_dir, need
from ..initramfs import build_agent
from ..kernels import RECORDED
from ..qemu import GuestError, GuestKernel
from ..record import files_for, run_guest
from .compile import Base, compiled, modules_of
from .fix import Fix, read_fix
from .row import NO_END, Row, Told

__all__ = ["Row", "Told", "try_patch"]

LIMIT = 60  # seconds a story
GIVE_UP = 3  # stories that hang or panic, after which the rest is left out
Say = Callable[[str], None]


def try_patch(
    path: str | os.PathLike[str], kernel: str = "6.1", jobs: int | None = None, say: Say = print, again: bool = False
) -> Row:
    """Build a kernel with a patch, let it tell the stories of the table, and return the row that it earns.

    The first time about ten minutes on two cores (the source is fetched and built), later about one; the same patch a second
    time at once. What was told before an interruption is kept. kernel: 6.1 or 6.12, or ppc64le-6.12. jobs: stories at a time.
    again: tell the stories anew.
    Errors: HostError in one sentence, where the patch may not be tried, does not fit or does not compile, or a tool is missing.
    """
    base = Base.named(kernel)
    fix = read_fix(path)
    folder = cache_dir() / "trials" / f"{base.arch}-{base.release}-{fix.sha256[:16]}"
    with locked(f"trial-{folder.name}"):
        if again:
            for old in folder.glob("*.json"):
                old.unlink()
        if not (folder / "row.json").exists():
            need("git", RECORDED[base.arch].machine.program, RECORDED[base.arch].compiler)
            build_agent(base.arch)
            built = compiled(fix, base, folder, say)
            row = _row(fix, built, modules_of(base, folder, say), folder, jobs or os.cpu_count() or 1, say)
            _write(folder / "row.json", row.to_json())
        return Row.load(folder / "row.json")


def _row(fix: Fix, kernel: GuestKernel, modules: Path, folder: Path, jobs: int, say: Say) -> Row:
    asked = [question for question in QUESTIONS if kernel.arch in question.story]
    bad: list[str] = []
    pool = ThreadPoolExecutor(jobs)
    try:
        cells = []
        for number, cell in enumerate(pool.map(lambda one: _cell(one, kernel, modules, folder, bad), asked), start=1):
            say(f"{number:2} of {len(asked)}  {cell.question:14} {cell.words}")
            cells.append(cell)
    finally:
        pool.shutdown(cancel_futures=True)
    version = next((r.kernel["version"] for r in _recordings(folder)), kernel.release)
    return Row(fix.name, fix.sha256, kernel.release, version, tuple(cells), kernel.arch)


def _cell(question: Question, kernel: GuestKernel, modules: Path, folder: Path, bad: list[str]) -> Told:
    """What one story came to: as kept, or told now."""
    kept = folder / f"{question.key}.cell.json"
    if kept.exists():
        return Told(**json.loads(kept.read_text()))
    if len(bad) >= GIVE_UP:
        return Told(question.key, "left-out", "too many stories before it came to no end")
    story = told(get(question.story[kernel.arch], kernel.arch), kernel.arch)
    try:
        recording = tell(story, kernel, modules)
    except GuestError as error:
        if not error.how:
            raise
        cell = Told(question.key, error.how, error.last)
    else:
        recording.save(folder / f"{question.key}.recording.json")
        cell = _came_to(question.key, recording)
    if cell.kind in NO_END:
        bad.append(question.key)
    _write(kept, json.dumps({"question": cell.question, "kind": cell.kind, "says": cell.says}))
    return cell


def _came_to(key: str, recording: Recording) -> Told:
    """What a recording tells; a command that never came back is no oops that one could read about."""
    hung = next((step for step in recording if step.label == "hung"), None)
    if hung is not None and not any(step.oops for step in recording):
        return Told(key, "hangs", hung.command)
    outcome = outcome_of(recording)
    return Told(key, outcome.kind, outcome.says)


def tell(story: Scenario, kernel: GuestKernel, modules: Path, limit: float = LIMIT) -> Recording:
    """A story on this kernel, which must be over within the limit. Errors: GuestError."""
    commands = commands_for(story, modules)
    return run_guest(story, kernel, commands, files_for(story, commands, modules), folder=modules, timeout=limit)


def _recordings(folder: Path) -> Iterator[Recording]:
    yield from (Recording.load(path) for path in sorted(folder.glob("*.recording.json")))


def _write(path: Path, text: str) -> None:
    part = path.with_suffix(".part")
    part.write_text(text + "\n")
    part.rename(path)
