"""Recordings: the steps of one story on one kernel, in the form klpteach-recording/1.

A recording is made by a real kernel under QEMU or by the model, and reads the same.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import overload

from ..arguments import check_fields, checked
from ..errors import KlpteachError, RecordingError, one_line, printable, quoted
from ..files.json_text import from_json
from ..files.on_disk import named, read_regular, why_not, write_file
from .compare import Difference, compare_steps
from .schema import HEAD
from .step import Step, hexa

FROM = "what simulate() returns, or Recording.load('FILE.json')"  # for a reader who gives something else
SCHEMA = "klpteach-recording/1"
MAX_BYTES = 8 << 20  # the longest of the course has 2 MB
_HEAD = ("scenario", "title", "source", "kernel", "config", "init_errno", "files", "proposals")


@dataclass(repr=False)
class Recording:
    """The steps of one story on one kernel, with the inputs that a replay needs.

    kernel: arch, release, version, variant, cmdline. config: kernel options that matter, those listed are on.
    init_errno: file -> what its own init() returns. files: file -> sha256. source: "real kernel" or "model".
    """

    scenario: str
    title: str = ""
    source: str = "model"
    kernel: dict[str, str] = field(default_factory=dict)
    config: list[str] = field(default_factory=list)
    init_errno: dict[str, int] = field(default_factory=dict)
    files: dict[str, str | None] = field(default_factory=dict)
    proposals: list[str] = field(default_factory=list)
    vmlinux: dict[str, int] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)

    def __post_init__(self) -> None:
        check_fields(self, RecordingError)

    def __repr__(self) -> str:
        kernel = printable(f"{self.source}, {self.arch} {self.release}", keep="")
        return f"<Recording {quoted(self.scenario)} ({kernel}): steps {len(self)}>"

    def __iter__(self) -> Iterator[Step]:
        return iter(self.steps)

    @overload
    def __getitem__(self, index: int) -> Step: ...
    @overload
    def __getitem__(self, index: slice) -> list[Step]: ...
    def __getitem__(self, index: int | slice) -> Step | list[Step]:
        return self.steps[index]

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def arch(self) -> str:
        return self.kernel.get("arch", "x86_64")

    @property
    def release(self) -> str:
        """major.minor of the kernel: "6.1" for 6.1.0-56-amd64."""
        return ".".join(self.kernel.get("release", "6.1").split("-")[0].split("+")[0].split(".")[:2])

    @checked(RecordingError)
    def save(self, path: str | os.PathLike[str]) -> None:
        """Write as JSON, one line a step. Errors: OSError, RecordingError for what no file can be called."""
        head = {"schema": SCHEMA} | {key: getattr(self, key) for key in _HEAD}
        if self.vmlinux:
            head["vmlinux"] = {name: hexa(address) for name, address in self.vmlinux.items()}
        steps = ",\n  ".join(json.dumps(step.to_json()) for step in self.steps)
        text = json.dumps(head)[:-1] + ', "steps": [\n  ' + steps + "\n]}\n"
        try:
            write_file(path, len(text), [text.encode("ascii")])
        except ValueError as error:  # a NUL, or half a surrogate
            raise RecordingError(f"path={quoted(os.fspath(path))} is no file's name ({error}).") from None

    @classmethod
    @checked(RecordingError)
    def load(cls, path: str | os.PathLike[str]) -> Recording:
        """Read a recording. Errors: RecordingError, one line that says which key or step is wrong."""
        return cls.parse(_read(Path(path)), Path(path).name)

    @classmethod
    @checked(RecordingError)
    def parse(cls, text: bytes | str, name: str) -> Recording:
        """The recording whose JSON this is. Errors: RecordingError, one line that begins with the name."""
        name = one_line(name, 255)
        try:
            raw = from_json(text)
        except KlpteachError as error:
            raise RecordingError(f"{name}: {error}.") from None
        if not isinstance(raw, dict) or raw.get("schema") != SCHEMA:
            found = quoted(raw.get("schema") if isinstance(raw, dict) else raw)
            raise RecordingError(f"{name}: schema {found}, klpteach reads {SCHEMA!r}.")
        where = ""
        try:
            head = HEAD(raw)
            steps = []
            for number, step in enumerate(head.pop("steps")):
                where = f"step {number} "
                steps.append(Step.from_json(step))
            return cls(**{"source": "", **head}, steps=steps)
        except RecordingError as error:
            said = str(error)
            if not said.startswith("key "):
                said = f"{where or 'its head '}cannot be read ({said})"
            elif where:
                said = f"{where}has no 'command'"  # the one key that a step must have
            raise RecordingError(f"{name}: {said}.") from None

    @checked(RecordingError)
    def compare(self, other: Recording) -> list[Difference]:
        """Every difference between two recordings of the same commands, in order of steps; hashed pointers aside."""
        found = []
        if len(self) != len(other):
            found.append(Difference(min(len(self), len(other)), "", "steps", len(self), len(other)))
        exact_pointers = all("no_hash_pointers" in r.kernel.get("cmdline", "") for r in (self, other))
        for number, (ours, theirs) in enumerate(zip(self.steps, other.steps, strict=False)):
            found += [Difference(number, ours.command, *rest) for rest in compare_steps(ours, theirs, exact_pointers)]
        return found


def _read(path: Path) -> bytes:
    try:
        return read_regular(path, MAX_BYTES)
    except (OSError, ValueError) as error:
        raise RecordingError(f"{named(path)}: {why_not(error)}.") from None
