"""A story on a real kernel, its dmesg beside the model's: recorded earlier, or run now under QEMU."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path

from ..errors import KlpteachError
from ..files.samples import data_dir
from ..model.compare import Difference
from ..model.recording import Recording
from ..model.step import Step
from ..scenarios.replay import replay
from ..scenarios.simulate import get

_LEFT = 'style="text-align:left;vertical-align:top"'  # Jupyter sets table cells to the right


@dataclass(frozen=True)
class Tried:
    """What a real kernel did, what the model does with the same commands and placement, and where they differ."""

    where: str
    real: Recording
    model: Recording
    differences: list[Difference]

    @property
    def headline(self) -> str:
        """Where it comes from, and whether the two agree."""
        end = "" if len(self.model) == len(self.real) else f", to step {len(self.model)}"
        agree = (
            "no difference"
            if not self.differences
            else f"{len(self.differences)} differences, the first: {self.differences[0]}"
        )
        return f"{self.where}. Model and kernel, {len(self.real)} steps{end}: {agree}."

    def __repr__(self) -> str:
        return "\n".join([self.headline, *self._text()])

    def _text(self) -> Iterator[str]:
        for number, real, model in self._pairs():
            yield f"{number}  {real.command}: errno {real.errno}"
            same = without_hash(real.lines) == without_hash(model.lines)
            yield from (f"   both   {line}" if same else f"   kernel {line}" for line in real.lines)
            yield from (() if same else (f"   model  {line}" for line in model.lines))

    def _pairs(self) -> Iterator[tuple[int, Step, Step]]:
        return ((n, real, model) for n, (real, model) in enumerate(zip(self.real, self.model, strict=False), 1))

    def _repr_html_(self) -> str:
        head = "".join(f"<th {_LEFT}>{name}</th>" for name in ("step", "real kernel", "model", "errno"))
        rows = "".join(
            f"<tr><td {_LEFT}>{number} <code>{escape(real.command)}</code></td>{_cells(real, model)}"
            f"<td {_LEFT}>{real.errno if real.errno == model.errno else f'{real.errno} / {model.errno}'}</td></tr>"
            for number, real, model in self._pairs()
        )
        note = "<p><small>A cell across both columns: both print the same. What stands after <code>loc</code> is hashed by each kernel in its own way and not compared.</small></p>"
        return f"<p><strong>{escape(self.headline)}</strong></p><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{note}"


def try_real(story: str = "reload", kernel: str = "6.1", arch: str = "x86_64", *, live: bool = False) -> Tried:
    """Show what a real kernel did with a story, and the model's lines beside it.

    live=True runs it now under QEMU (x86_64; needs Linux, QEMU, gcc, apt; a minute or two); where that cannot be done the
    recording is shown and the reason said. Errors: ScenarioError for an unknown story, KlpteachError where nobody recorded it.

    >>> print(try_real("reload", kernel="6.1").headline)
    Recorded on Debian's unmodified kernel 6.1.192. Model and kernel, 4 steps: no difference.
    """
    get(story, arch)
    real, why = _run(story, kernel, arch) if live else (None, "")
    if real is None:
        real = Recording.load(recorded(story, kernel, arch))
        where = f"{why}Recorded on {_kernel(real)}"
    else:
        where = f"Run now on {_kernel(real)}"
    model, differences = replay(real)
    return Tried(where, real, model, differences)


def recorded(story: str, kernel: str, arch: str = "x86_64") -> Path:
    """The recording of a story on an unmodified kernel. Errors: KlpteachError, which names the kernels that have one."""
    folder = data_dir() / "recordings" / arch
    unmodified = kernel if arch == "x86_64" else f"{kernel}-stock"
    found = sorted(folder.glob(f"{story}--{unmodified}--*.json"))
    if not found:
        kernels = sorted({path.name.split("--")[1] for path in folder.glob(f"{story}--*.json")})
        raise KlpteachError(
            f"no recording of {story} on {kernel} ({arch}); there are {', '.join(kernels) or 'none of this story'}."
        )
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


def _kernel(recording: Recording) -> str:
    about = recording.kernel
    numbers = re.findall(
        r"Debian (\d+\.\d+\.\d+)-", about.get("banner", "")
    )  # the compiler's stands before the kernel's
    number = numbers[-1] if numbers else about.get("release", "?")
    if about.get("release", "").endswith("amd64"):
        return f"Debian's unmodified kernel {number}"
    return f"kernel {number}, built from Debian's sources ({about.get('variant', 'unmodified')})"


def _cells(real: Step, model: Step) -> str:
    """The lines of both: once, across both columns, where they are the same."""
    if without_hash(real.lines) == without_hash(model.lines):
        return f'<td colspan="2" {_LEFT}>{_lines(real)}</td>'
    return f"<td {_LEFT}>{_lines(real)}</td><td {_LEFT}>{_lines(model)}</td>"


def _lines(step: Step) -> str:
    shown = "".join(f"<div>{escape(line)}</div>" for line in step.lines) or "(no line)"
    return f'<div style="font-family:monospace;overflow-wrap:break-word">{shown}</div>'
