"""A reader's module that is no livepatch: what the loader writes into it, and that nothing of it outlives rmmod."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from ...errors import printable
from ...files.module_file import ModuleFile
from ...model.errno import errno_name
from ...model.kernel import Kernel
from ...model.policy import releases
from ...reading.steps import count
from ...scenarios.size import check_size
from ..shown import Shown, escape
from ..table import Table

if TYPE_CHECKING:
    import pandas as pd


@dataclass(repr=False)
class Ordinary(Shown):
    """A module without livepatch relocations: `sections`, `relocations`, and a reload of it alone, by release.

    Errors: KlpteachError for one that is larger than what is played.

    >>> from klpteach.files.samples import sample
    >>> mine = Ordinary(ModuleFile.open(sample("nfsd_demo.ko")))
    >>> mine.reloads["6.1"], mine.by_target[".text"] > 0
    ([0, 0, 0], True)
    """

    file: ModuleFile

    def __post_init__(self) -> None:
        check_size(self.file)

    @property
    def sections(self) -> pd.DataFrame:
        return self.file.sections

    @property
    def relocations(self) -> pd.DataFrame:
        return self.file.relocations

    @cached_property
    def by_target(self) -> dict[str, int]:
        """Section -> how many relocations the loader writes into it, the most first."""
        names = self.file.section_names
        entries = Counter({i: len(self.file.rela(i)) for i in self.file.rela_sections})
        targets = {i: int(self.file.shdrs["info"][i]) for i in entries}
        return {names[targets[i]]: n for i, n in entries.most_common() if targets[i] < len(names)}

    @cached_property
    def reloads(self) -> dict[str, list[int | None]]:
        """Release -> errno of insmod, rmmod, insmod in the model, with no livepatch about."""
        return {release: self._reload(release) for release in releases(self.file.arch)}

    def _reload(self, release: str) -> list[int | None]:
        kernel = Kernel(self.file.arch, release)
        kernel.records_state = False
        loads = (self.file, None, self.file)
        return [(kernel.insmod(load) if load else kernel.rmmod(self.file.name)).errno for load in loads]

    @property
    def headline(self) -> str:
        total = count(sum(self.by_target.values()), "relocation")
        return (
            f"{self.file.name} ({self.file.arch}) is not a livepatch: {total} in {count(len(self.by_target), 'section')}, "
            "all written by the loader into a fresh copy. Nothing of them outlives rmmod. "
            'For the verdict on a livepatch, give both: kt.bring("livepatch.ko", "target.ko").'
        )

    def _tables(self) -> tuple[Table, Table]:
        reloads = [(release, _said(errnos)) for release, errnos in self.reloads.items()]
        written = [(name, str(number)) for name, number in self.by_target.items()]
        return Table(("release", "a reload, no livepatch loaded"), reloads), Table(("section", "relocations"), written)

    def to_text(self) -> str:
        return "\n\n".join([printable(self.headline, keep=""), *map(repr, self._tables())])

    def to_html(self) -> str:
        reloads, written = self._tables()
        fold = f"<details><summary>Relocations by section</summary>{written.to_html()}</details>"
        return f"<p><strong>{escape(self.headline)}</strong></p>{reloads.to_html()}{fold}"


def _said(errnos: list[int | None]) -> str:
    if not any(errnos) and None not in errnos:
        return "✓ works"
    for command, errno in zip(("insmod", "rmmod", "the second insmod"), errnos, strict=True):
        if errno:
            return f"✗ {command} fails: {errno_name(errno)} ({errno})"
    return "✗ oops"
