"""Bring your own modules: what a reader's livepatch waits for, and what a reload of its target does to it, by release."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from ...errors import KlpteachError, one_of, printable, quoted
from ...files.compressed import MAX_BYTES
from ...files.module_file import ModuleFile
from ...model.errno import errno_name
from ...model.policy import RELEASES
from ...reading.history import History
from ...reading.steps import count
from ...scenarios.checks import Check
from ...scenarios.inspection import Inspection
from ...scenarios.reload import Outcome, story
from ...scenarios.size import check_size
from ..shown import Shown, escape
from ..table import LEFT, Table

if TYPE_CHECKING:
    import pandas as pd

    from ..explorer.explorer import Explorer

_TOO_MANY, _DEEPEST = 20, 3  # files; lists within each other: files of the uploads of a list


def opened(source: Any, deep: int = 0) -> Iterator[ModuleFile]:
    """The module files of a path, of bytes, of an upload, or of several of these; deep: in how many lists it stands."""
    if source is None:
        return
    if isinstance(source, ModuleFile):
        yield source
    elif isinstance(source, (str, os.PathLike)):
        yield _named(ModuleFile.open(source))
    elif isinstance(source, (bytes, bytearray, memoryview)):
        yield _from_bytes(bytes(source), "upload.ko")
    elif isinstance(source, Mapping) and "content" in source:
        yield _from_upload(source["content"], source.get("name"))
    elif isinstance(source, Iterable) and deep < _DEEPEST:
        files = list(islice(source.values() if isinstance(source, Mapping) else source, _TOO_MANY + 1))
        if len(files) > _TOO_MANY:
            raise KlpteachError(f"more than the {_TOO_MANY} files that are looked at together.")
        for one in files:
            yield from opened(one, deep + 1)
    else:
        raise KlpteachError(f"{quoted(source)} is no module file; give a path, its bytes, or an upload.")


def _from_upload(content: object, name: object) -> ModuleFile:
    if not isinstance(content, (bytes, bytearray, memoryview)):
        raise KlpteachError(f"{quoted(content)} is not the bytes of a file.")
    return _from_bytes(bytes(content), name if isinstance(name, str) else "upload.ko")


def _from_bytes(data: bytes, name: str) -> ModuleFile:
    plain = PurePath(name.replace("\\", "/")).name or "upload.ko"
    if len(data) > MAX_BYTES:
        raise KlpteachError(
            f"{plain}: {len(data)} bytes is more than the {MAX_BYTES >> 20} MiB for an upload. Try: strip -g"
        )
    return _named(ModuleFile(data, plain))


def _named(file: ModuleFile) -> ModuleFile:
    """The same file under the name that its module has: NAME.ko, harmless letters only, as commands and views want it."""
    wanted = f"{re.sub(r'[^A-Za-z0-9_+-]', '_', file.name)[:64] or 'module'}.ko"
    return file if file.filename == wanted else ModuleFile(file.data, wanted)


@dataclass(repr=False)
class Brought(Shown):
    """A livepatch and its targets: the verdict, `checks`, `outcomes` by release, tables, and explore() for the whole story.

    Errors: KlpteachError for files that are larger than what is played.
    """

    livepatch: ModuleFile
    targets: Mapping[str, ModuleFile] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_size(
            self.livepatch, *self.targets.values()
        )  # now, and not when it is shown: a notebook asks in three ways

    @cached_property
    def inspection(self) -> Inspection:
        """What `klpteach inspect` says, for a program: its to_json()."""
        return Inspection(self.livepatch, dict(self.targets))

    @cached_property
    def waiting(self) -> dict[str, int]:
        """Object -> how many livepatch relocations wait for it."""
        return {name: len(sites) for name, sites in self.inspection.wanted.sites.items()}

    @cached_property
    def objects(self) -> list[str]:
        """The modules that it patches."""
        return [obj.name for obj in (self.livepatch.klp.objects if self.livepatch.klp else ()) if obj.name]

    @property
    def outcomes(self) -> list[Outcome]:
        """For each target and release: target, livepatch, rmmod, target again, in the model."""
        return self.inspection.outcomes

    @property
    def checks(self) -> list[Check]:
        """What was looked at besides the reload."""
        return self.inspection.checks

    @property
    def sections(self) -> pd.DataFrame:
        """The livepatch's sections."""
        return self.livepatch.sections

    @property
    def sites(self) -> pd.DataFrame:
        """Its livepatch relocations, one row each."""
        from ...files.tables import livepatch_sites  # needs pandas

        return livepatch_sites(self.livepatch)

    @property
    def release(self) -> str:
        """The release that is shown first: what the livepatch was built for, or the nearest."""
        return self.inspection.release or "6.1"

    def explore(self, release: str | None = None, target: str | None = None) -> Explorer:
        """The explorer of a reload with these files; on the release that the livepatch was built for, unless another is named.

        Errors: KlpteachError for another release or target, and where nothing can be reloaded.
        """
        from ..explorer.explorer import explore  # needs ipywidgets

        release = self.release if release is None else one_of(release, RELEASES, "release")
        outcome = next((o for o in self.outcomes if o.release == release and target in (None, o.target)), None)
        if not self.outcomes:
            raise KlpteachError(f"no reload to explore: {self.inspection.verdict}")
        if outcome is None:
            known = ", ".join(dict.fromkeys(o.release for o in self.outcomes))
            raise KlpteachError(
                f"no reload of {target or 'a target'} on {release} here; releases: {known}; targets: {', '.join(self.objects)}."
            )
        files = self.inspection.wanted.files(self.targets)
        recording = story(self.livepatch, outcome.target, self.targets, release)
        history = History(recording, {f"{file.name}.ko": file for file in (self.livepatch, *files.values())})
        return explore("reload", release, arch=self.livepatch.arch, history=history)

    @property
    def headline(self) -> str:
        """What it is and what waits, in a sentence."""
        waits = ", ".join(f"{number} for {name}" for name, number in self.waiting.items()) or "none"
        total, info = count(sum(self.waiting.values()), "livepatch relocation"), self.livepatch.klp
        read = f", read from {info.form}" if info else ""
        return f"{self.livepatch.name} ({self.livepatch.arch}{read}): {total}: {waits}."

    def _rows(self) -> list[tuple[str, str, str, str]]:
        """Target, release, what a reload does, and with which target."""
        mine = "its own kernel" if self.inspection.exact else f"nearest to {self.inspection.version}"
        return [
            (o.target, o.release, _said(o), _with(o) + (f", {mine}" if own else ""))
            for o in self.outcomes
            for own in [o.release == self.inspection.release]
        ]

    def to_text(self) -> str:
        lines = [f"{target:<24} {release:<5} {said} (with {what})" for target, release, said, what in self._rows()]
        said = [self.inspection.verdict, self.headline, *map(str, self.checks), *lines]
        return "\n".join(printable(line, keep="") for line in said)

    def to_html(self) -> str:
        css = f"{LEFT};padding:2px 14px 2px 0"
        rows = self._rows()
        marked = [n for n, o in enumerate(self.outcomes) if o.release == self.inspection.release]
        table = Table(("target", "release", "a reload", "with"), rows, marked=marked, css=css).to_html() if rows else ""
        checked = "".join(f"<li>{escape(str(check))}</li>" for check in self.checks)
        listed = f'<ul style="list-style:none;padding-left:0">{checked}</ul>' if checked else ""
        details = "".join(
            f"<details><summary>{escape(o.target)} on {escape(o.release)}: what the kernel says</summary>"
            f"<pre>{escape(chr(10).join(o.failed.lines))}</pre></details>"
            for o in self.outcomes
            if o.failed and o.failed.lines
        )
        verdict = f"<p><strong>{escape(self.inspection.verdict)}</strong></p><p>{escape(self.headline)}</p>"
        return f"{verdict}{listed}{table}{details}"


def _with(outcome: Outcome) -> str:
    file, helpers = "a stand-in" if outcome.stand_in else "its target", outcome.helpers
    are = "is a stand-in" if len(helpers) == 1 else "are stand-ins"
    return f"{file}; {' and '.join(helpers)} {are}" if helpers else file


def _said(outcome: Outcome) -> str:
    step = outcome.failed
    if outcome.kind == "zeros":
        return f"✗ not refused, but {count(outcome.zeros, 'relocation')} with 0 for a symbol"
    if step is None:
        if not outcome.ending:
            return "✓ works"
        return f"✓ works; at other places {count(outcome.moves or 0, 'time')}, then {outcome.ending}"
    if step.oops:
        return f"✗ oops in {step.command}"
    what = "refused" if outcome.kind == "refused" else f"not reached, {step.command} fails"
    return f"✗ {what}: {errno_name(step.errno or 0)} ({step.errno})"
