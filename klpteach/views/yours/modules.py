"""Bring your own modules: what a reader's livepatch waits for, and what a reload of its target does to it, by release."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from ...errors import KlpteachError
from ...files import klp
from ...files.compressed import MAX_BYTES
from ...files.module_file import ModuleFile
from ...model.errno import errno_name
from ...reading.history import History
from ...reading.steps import count
from ...scenarios.reload import Outcome, stand_in, survives
from ..shown import Shown, escape
from ..table import LEFT, Table

if TYPE_CHECKING:
    import pandas as pd

    from ..explorer.explorer import Explorer

_TOO_MANY = 20


def opened(source: Any) -> Iterator[ModuleFile]:
    """The module files of a path, of bytes, of an upload, or of several of these."""
    if source is None:
        return
    if isinstance(source, ModuleFile):
        yield source
    elif isinstance(source, (str, os.PathLike)):
        yield _named(ModuleFile.open(source))
    elif isinstance(source, (bytes, bytearray, memoryview)):
        yield _from_bytes(bytes(source), "upload.ko")
    elif isinstance(source, Mapping) and "content" in source:
        yield _from_bytes(bytes(source["content"]), str(source.get("name", "upload.ko")))
    elif isinstance(source, Iterable):
        files = list(source.values()) if isinstance(source, Mapping) else list(source)
        if len(files) > _TOO_MANY:
            raise KlpteachError(f"{len(files)} files are more than the {_TOO_MANY} that are looked at together.")
        for one in files:
            yield from opened(one)
    else:
        raise KlpteachError(f"a {type(source).__name__} is no module file; give a path, its bytes, or an upload.")


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
    """A livepatch and its targets: `outcomes` by release, tables, and explore() for the whole story."""

    livepatch: ModuleFile
    targets: Mapping[str, ModuleFile] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.outcomes:
            raise KlpteachError(
                f"{self.livepatch.filename} patches no module, only the kernel itself: nothing can be reloaded."
            )
        strangers = [name for name in self.targets if name not in self.waiting and name not in self.objects]
        if strangers:
            raise KlpteachError(
                f"{self.livepatch.filename} does not patch {', '.join(strangers)}; it patches {', '.join(self.objects)}."
            )

    @cached_property
    def waiting(self) -> dict[str, int]:
        """Object -> how many livepatch relocations wait for it."""
        return dict(Counter(site.object for site in klp.sites(self.livepatch)))

    @cached_property
    def objects(self) -> list[str]:
        """The modules that it patches."""
        return [obj.name for obj in (self.livepatch.klp.objects if self.livepatch.klp else ()) if obj.name]

    @cached_property
    def outcomes(self) -> list[Outcome]:
        """For each release and target: target, livepatch, rmmod, target again, in the model. Errors: KlpteachError."""
        return survives(self.livepatch, dict(self.targets))

    @property
    def sections(self) -> pd.DataFrame:
        """The livepatch's sections."""
        return self.livepatch.sections

    @property
    def sites(self) -> pd.DataFrame:
        """Its livepatch relocations, one row each."""
        from ...files.tables import livepatch_sites  # needs pandas

        return livepatch_sites(self.livepatch)

    def explore(self, release: str = "6.1", target: str | None = None) -> Explorer:
        """The explorer of a reload with these files. Errors: KlpteachError for another release or target."""
        from ..explorer.explorer import explore  # needs ipywidgets

        outcome = next((o for o in self.outcomes if o.release == release and target in (None, o.target)), None)
        if outcome is None:
            known = ", ".join(dict.fromkeys(o.release for o in self.outcomes))
            raise KlpteachError(
                f"no reload of {target or 'a target'} on {release} here; releases: {known}; targets: {', '.join(self.objects)}."
            )
        history = History(outcome.recording, self._files(outcome))
        return explore("reload", release, arch=self.livepatch.arch, history=history)

    def _files(self, outcome: Outcome) -> dict[str, ModuleFile]:
        other = self.targets.get(outcome.target) or stand_in(self.livepatch, outcome.target)
        return {f"{file.name}.ko": file for file in (self.livepatch, other)}

    @property
    def headline(self) -> str:
        """What it is and what waits, in a sentence."""
        waits = ", ".join(f"{number} for {name}" for name, number in self.waiting.items()) or "none"
        total = count(sum(self.waiting.values()), "livepatch relocation")
        return f"{self.livepatch.name} ({self.livepatch.arch}): {total}: {waits}."

    def _rows(self) -> list[tuple[str, str, str, str]]:
        """Target, release, what a reload does, and with which target."""
        return [(o.target, o.release, _said(o), "a stand-in" if o.stand_in else "your file") for o in self.outcomes]

    def to_text(self) -> str:
        lines = [f"{target:<24} {release:<5} {said} (with {what})" for target, release, said, what in self._rows()]
        return "\n".join([self.headline, *lines])

    def to_html(self) -> str:
        css = f"{LEFT};padding:2px 14px 2px 0"
        table = Table(("target", "release", "a reload", "with"), self._rows(), css=css).to_html()
        details = "".join(
            f"<details><summary>{escape(o.target)} on {escape(o.release)}: what the kernel says</summary>"
            f"<pre>{escape(chr(10).join(o.failed.lines))}</pre></details>"
            for o in self.outcomes
            if o.failed and o.failed.lines
        )
        return f"<p><strong>{escape(self.headline)}</strong></p>{table}{details}"


def _said(outcome: Outcome) -> str:
    step = outcome.failed
    if step is None:
        if not outcome.ending:
            return "✓ works"
        return f"✓ works; at other places {count(outcome.moves or 0, 'time')}, then {outcome.ending}"
    if step.oops:
        return f"✗ oops in {step.command}"
    last = outcome.recording.steps.index(step) == 3
    what = "refused" if last else f"not reached, {step.command} fails"
    return f"✗ {what}: {errno_name(step.errno or 0)} ({step.errno})"
