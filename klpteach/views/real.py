"""A story on a real kernel, its dmesg beside the model's: recorded earlier, or run now under QEMU."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import KlpteachError
from ..files.module_file import ModuleFile
from ..files.samples import data_dir
from ..model.compare import Difference
from ..model.recording import Recording
from ..model.step import Step
from ..reading.steps import count
from ..scenarios.replay import replay
from ..scenarios.simulate import get
from .reply import inline
from .shown import Shown, escape
from .table import LEFT, Cell, Row, Table
from .yours.modules import opened

_NOTE = "A cell across both columns: both print the same. What stands after `loc` is hashed by each kernel in its own way and not compared."


@dataclass(frozen=True, repr=False)
class Tried(Shown):
    """What a real kernel did, what the model does with the same commands and placement, and where they differ."""

    where: str
    real: Recording
    model: Recording
    differences: list[Difference]

    @property
    def headline(self) -> str:
        """Where it comes from, and whether the two agree."""
        end = "" if len(self.model) == len(self.real) else f", to step {len(self.model)}"
        many = count(len(self.differences), "difference")
        agree = f"{many}, the first: {self.differences[0]}" if self.differences else "no difference"
        return f"{self.where}. Model and kernel, {len(self.real)} steps{end}: {agree}."

    def to_text(self) -> str:
        lines = [self.headline]
        for number, real, model in self._pairs():
            lines.append(f"{number}  {real.command}: errno {real.errno}")
            told = {"both": real} if _same(real, model) else {"kernel": real, "model": model}
            lines += [f"   {who:6} {line}" for who, step in told.items() for line in step.lines]
        return "\n".join(lines)

    def to_html(self) -> str:
        rows: list[Row] = []
        for number, real, model in self._pairs():
            said = [_lines(real, span=2)] if _same(real, model) else [_lines(real), _lines(model)]
            errno = str(real.errno) if real.errno == model.errno else f"{real.errno} / {model.errno}"
            rows.append([Cell(f"{number} <code>{escape(real.command)}</code>"), *said, errno])
        table = Table(("step", "real kernel", "model", "errno"), rows, css=f"{LEFT};vertical-align:top")
        return f"<p><strong>{escape(self.headline)}</strong></p>{table.to_html()}<p><small>{inline(_NOTE)}</small></p>"

    def _pairs(self) -> Iterator[tuple[int, Step, Step]]:
        return ((n, real, model) for n, (real, model) in enumerate(zip(self.real, self.model, strict=False), 1))


def try_real(
    story: str = "reload",
    kernel: str = "6.1",
    arch: str = "x86_64",
    *,
    live: bool = False,
    ko: Any = None,
    target: Any = None,
) -> Tried:
    """Show what a real kernel did with a story, and the model's lines beside it.

    live=True runs it now under QEMU (x86_64; needs Linux, QEMU, gcc, apt; a minute or two); where that cannot be done the
    recording is shown and the reason said. ko, target: your own livepatch and what it patches, as kt.bring() takes them; the
    story is then told of them, always now. Errors: ScenarioError for an unknown story, KlpteachError where nobody recorded it,
    and for files of your own that this kernel or this machine cannot try.

    >>> print(try_real("reload", kernel="6.1").headline)
    Recorded on Debian's unmodified kernel 6.1.192. Model and kernel, 4 steps: no difference.
    """
    get(story, arch)
    if ko is not None or target is not None:
        return _with_own(story, kernel, arch, list(opened(ko)), list(opened(target)))
    run, why = _run(story, kernel, arch) if live else (None, "")
    real = Recording.load(recorded(story, kernel, arch)) if run is None else run
    model, differences = replay(real)
    how = f"{why}Recorded" if run is None else "Run now"
    return Tried(f"{how} on {_kernel(real)}", real, model, differences)


def recorded(story: str, kernel: str, arch: str = "x86_64") -> Path:
    """The recording of a story on an unmodified kernel. Errors: KlpteachError, which names the kernels that have one."""
    folder = data_dir() / "recordings" / arch
    unmodified = kernel if arch == "x86_64" else f"{kernel}-stock"
    found = sorted(folder.glob(f"{story}--{unmodified}--*.json"))
    if not found:
        kernels = sorted({path.name.split("--")[1] for path in folder.glob(f"{story}--*.json")})
        there = ", ".join(kernels) or "none of this story"
        raise KlpteachError(f"no recording of {story} on {kernel} ({arch}); there are {there}.")
    return found[0]


def without_hash(lines: list[str]) -> list[str]:
    """Lines without what %p prints, which differs from boot to boot.

    >>> without_hash(["type 2, loc 00000000ba0302e9, val ff"])
    ['type 2, loc …, val ff']
    """
    return [re.sub(r"loc [0-9a-f]{16}", "loc …", line) for line in lines]


def _run(story: str, kernel: str, arch: str) -> tuple[Recording | None, str]:
    from ..vm.host import HostError
    from ..vm.record import record

    if arch != "x86_64":
        return None, f"Not run now: only x86_64 is. The same can be done for {arch} with klpteach vm. "
    try:
        return record(get(story, arch), kernel), ""
    except HostError as error:
        return None, f"Not run now: {str(error).rstrip('.')}. "


def _with_own(story: str, kernel: str, arch: str, ko: list[ModuleFile], targets: list[ModuleFile]) -> Tried:
    """Run a story with a reader's modules. What their own code prints is left out: no file tells it."""
    from ..vm.kernels import RECORDED, kernel_named
    from ..vm.own import given_files, own_modules, run_own, story_for_own

    if len(ko) != 1:
        raise KlpteachError(f"One livepatch is tried at a time, as ko; there are {len(ko)} here.")
    _, release, variant = kernel_named(kernel if arch == "x86_64" else f"{arch}-{kernel}")
    story_for_own(story, arch)
    given_files(ko[0], targets, arch)
    guest = RECORDED[arch].kernel(release, variant)
    own = own_modules(ko[0], targets, guest)
    found = run_own(story, own, guest)
    notes = " ".join([*own.notes, *found.notes])
    where = f"{notes} Run now on {_kernel(found.real)} with {own.livepatch.filename} and {own.target.filename}".strip()
    return Tried(where, found.heard, found.model, found.differences)


def _kernel(recording: Recording) -> str:
    about = recording.kernel
    debian = re.search(
        r"#\d.* Debian (\d+\.\d+\.\d+)-", about.get("banner", "")
    )  # before the # stands the compiler's version
    own = re.search(r"Linux version (\d+\.\d+\.\d+)", about.get("banner", ""))
    number = next((found[1] for found in (debian, own) if found), about.get("release", "?"))
    if about.get("release", "").endswith("amd64"):
        return f"Debian's unmodified kernel {number}"
    return f"kernel {number}, built from Debian's sources ({about.get('variant', 'unmodified')})"


def _same(real: Step, model: Step) -> bool:
    return without_hash(real.lines) == without_hash(model.lines)


def _lines(step: Step, span: int = 1) -> Cell:
    shown = "".join(f"<div>{escape(line)}</div>" for line in step.lines) or "(no line)"
    return Cell(f'<div style="font-family:monospace;overflow-wrap:break-word">{shown}</div>', span=span)
