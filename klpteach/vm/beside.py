"""A story told with a reader's own modules: what the real kernel did and what the model says, in one table."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from ..files.module_file import ModuleFile
from ..files.samples import ko_dir
from ..model.compare import Difference
from ..model.errno import EAGAIN, EEXIST, EINVAL, ENOENT, ENOEXEC, errno_name
from ..model.recording import Recording
from ..model.step import Step
from ..reading.log.explain import explain
from ..scenarios.replay import replay

SHOWN = 20  # differences
_OF_THE_LOADER = (ENOEXEC, EINVAL, ENOENT, EEXIST)  # may be an init's too, but then nobody can tell


@dataclass(frozen=True)
class Beside:
    """real: as recorded; heard: the same without the words of the modules' own code, which no file tells; notes: what was
    taken from the kernel, and what ends the comparison."""

    real: Recording
    heard: Recording
    model: Recording
    differences: list[Difference]
    notes: tuple[str, ...]


def beside(real: Recording, files: Iterable[ModuleFile]) -> Beside:
    """Run the commands of a recording in the model, with these files. Errors: RecordingError."""
    heard = replace(real, init_errno=dict(real.init_errno), steps=[_without_own_words(step) for step in real])
    with tempfile.TemporaryDirectory(prefix="klpteach-ko-") as scratch:
        folder = ko_dir(real.arch, real.release, scratch)
        folder.mkdir()
        for file in files:
            (folder / file.filename).write_bytes(file.data)
        model, differences = replay(heard, scratch)
        told = dict(_told_by_init(heard, model))
        if told:
            heard.init_errno |= told
            model, differences = replay(heard, scratch)
    notes = [
        f"init() of {name} returned {errno_name(errno)} in the guest; no file tells that, and the model was told."
        for name, errno in told.items()
    ]
    return Beside(real, heard, model, differences, (*notes, *_held(real, model)))


def _without_own_words(step: Step) -> Step:
    """The step with those lines only that the loader, livepatch or their neighbours print; an oops as it is."""
    return step if step.oops else replace(step, dmesg=[line for line in step.dmesg if explain(line[1])])


def _told_by_init(real: Recording, model: Recording) -> Iterator[tuple[str, int]]:
    """(file, errno) of loads that a module's own init() ended."""
    for theirs, ours in zip(real, model, strict=False):
        if theirs.did.loads and theirs.errno and not ours.errno and theirs.errno not in _OF_THE_LOADER:
            yield theirs.did.file, theirs.errno


def _held(real: Recording, model: Recording) -> Iterator[str]:
    for theirs, ours in zip(real, model, strict=False):
        if theirs.did.verb == "rmmod" and theirs.errno == EAGAIN and not ours.errno:
            name = theirs.did.what
            yield (
                f"{name} cannot be removed here: something in the guest, or {name} itself, holds it. So it cannot be reloaded "
                "either, and what comes after `rmmod` says nothing about that."
            )
            return


# -- the table ------------------------------------------------------------------------------------------------------------


def table(found: Beside) -> Iterator[str]:
    """The steps, kernel and model side by side, with their lines, and then each difference."""
    wide = max([len(step.command) for step in found.real] + [7])
    yield f"step  {'command':<{wide}}  {'real kernel':<14}  model"
    for number, (real, heard) in enumerate(zip(found.real, found.heard, strict=True)):
        model = found.model[number] if number < len(found.model) else None
        yield f"{number:>4}  {real.command:<{wide}}  {_answer(real):<14}  {_answer(model) if model else '-'}".rstrip()
        yield from (f"      {who:<7} {_printable(line)}" for who, line in _lines(real, heard, model))
    yield from ("", *found.notes)
    yield f"{len(found.real)} steps, {len(found.differences)} differences" + (":" if found.differences else "")
    yield from map(str, found.differences[:SHOWN])
    if len(found.differences) > SHOWN:
        yield f"and {len(found.differences) - SHOWN} more"


def _answer(step: Step) -> str:
    if step.oops:
        return "oops"
    if step.errno is None:
        return "-"
    return f"{errno_name(step.errno)} ({step.errno})" if step.errno else "0"


def _lines(real: Step, heard: Step, model: Step | None) -> Iterator[tuple[str, str]]:
    """(who, line): both, kernel, model; or module, for words of a module's own code, which are not compared."""
    same = model is not None and _hashed(heard) == _hashed(model)
    compared = set(heard.lines)
    for line in real.lines:
        if line not in compared:
            yield "module", line
        else:
            yield "both" if same else "kernel", line
    if model and not same:
        yield from (("model", line) for line in model.lines)


def _hashed(step: Step) -> list[str]:
    return [re.sub(r"loc [0-9a-f]{16}", "loc …", line) for line in step.lines]


def _printable(line: str) -> str:
    """A line of a log, fit for a terminal: a module prints what it likes."""
    return line if line.isprintable() else line.encode("unicode_escape").decode()
