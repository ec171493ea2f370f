"""When a module was there, and where: the attempts to load each module, read off the steps of a recording."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..model import messages
from ..model.memory import PAGE
from ..model.recording import Recording
from ..model.step import Step
from .steps import patch_line

if TYPE_CHECKING:
    from ..files.module_file import ModuleFile

PAGES = {"ppc64le": 0x10000}  # CONFIG_PPC_64K_PAGES; elsewhere 4 KiB
# Addresses that /sys/module/NAME/sections still lists although the memory is given back (or never was core memory).
_NOT_CORE = re.compile(r"\.init\.|\.symtab$|\.strtab$|\.data\.\.percpu$|\.exit\.data$|\.modinfo$|__versions$")


class Extent(NamedTuple):
    """One mapping: [start, end)."""

    start: int
    end: int


@dataclass(frozen=True)
class Load:
    """One attempt to load a module; `number` counts the attempts of this name, from 1.

    first, last: steps; last is None for a module that is still there at the end. extents: its mappings, lowest first,
    () where nobody saw them. seen_in says where the addresses come from: "table", "placement", "val" or "".
    """

    module: str
    number: int
    first: int
    last: int | None = None
    refused: bool = False
    base: int | None = None
    size: int | None = None
    extents: tuple[Extent, ...] = ()
    seen_in: str = ""

    def at(self, step: int) -> bool:
        """Whether the module was there after this step."""
        return not self.refused and self.first <= step and (self.last is None or step <= self.last)

    def steps(self, recording: Recording) -> range:
        """The steps after which it was there (of a refused attempt: its one step)."""
        return range(self.first, len(recording) if self.last is None else self.last + 1)


class Lifetimes:
    """Goes through the steps once. Commands that succeeded open and close loads; a module table, where there is one, decides."""

    def __init__(self, recording: Recording, files: Mapping[str, ModuleFile]) -> None:
        self.recording, self.files = recording, files
        self.page = PAGES.get(recording.arch, PAGE)
        self.one_block = release_numbers(recording.release) < (6, 4)
        self.loads: list[Load] = []
        self.open: dict[str, int] = {}  # module -> index in loads
        for index, step in enumerate(recording):
            self._command(index, step)
            if step.modules is not None:
                self._table(index, step)
        self.loads = [self.placed(load) for load in self.loads]

    def _command(self, index: int, step: Step) -> None:
        verb, _, rest = step.command.partition(" ")
        worked = step.errno == 0 or step.exit == 0
        if verb in ("insmod", "modprobe") and rest and not rest.startswith("-") and not step.quiet:
            name = self._name(rest.split()[0], step)
            if worked and name not in self.open:
                self._begin(name, index)
            elif not worked and step.errno != -17:  # EEXIST: nothing was tried
                self.loads.append(Load(name, self._next(name), index, index, refused=True))
        elif verb == "rmmod" and worked and rest in self.open:
            self._end(rest, index)

    def _table(self, index: int, step: Step) -> None:
        rows = {row["name"]: row for row in step.modules or ()}
        for name in [name for name in self.open if name not in rows]:
            self._end(name, index)
        for name, row in reversed(rows.items()):
            if name in self.open and self.loads[self.open[name]].base not in (None, row["base"]):
                self._end(name, index)  # it went and came back while nobody looked
            if name not in self.open:
                self._begin(name, index)
            number = self.open[name]
            if self.loads[number].base is None:
                self.loads[number] = replace(
                    self.loads[number], base=row["base"], size=row.get("size"), seen_in="table"
                )

    def _next(self, name: str) -> int:
        return 1 + sum(load.module == name for load in self.loads)

    def _begin(self, name: str, index: int) -> None:
        self.open[name] = len(self.loads)
        self.loads.append(Load(name, self._next(name), index))

    def _end(self, name: str, index: int) -> None:
        number = self.open.pop(name)
        self.loads[number] = replace(self.loads[number], last=index - 1)

    def _name(self, word: str, step: Step) -> str:
        """The module that a file name stands for: the file knows; else the recording's own words; else the name itself."""
        file = self.files.get(Path(word).name)
        if file is not None:
            return file.name
        if step.placement and len(step.placement) == 1:
            return next(iter(step.placement))
        stem = Path(word).name.split(".ko")[0].replace("-", "_")
        fresh = [row["name"] for row in step.modules or () if row["name"] not in self.open]
        mentioned = [m for _, m in patch_line(step, messages.APPLYING) + patch_line(step, messages.INIT_FAILED)]
        return stem if stem in fresh else next(iter([*fresh, *mentioned]), stem)

    # -- addresses ----------------------------------------------------------------------------------------------------

    def placed(self, load: Load) -> Load:
        """The load with all that can be known of its addresses."""
        given = (self.recording[load.first].placement or {}).get(load.module, {})
        core = given.get("core", given.get("text"))
        if load.base is None and core is not None:
            load = replace(load, base=core, seen_in="placement")
        earlier = next((other for other in self.loads if other.module == load.module and other.size), None)
        if load.size is None and earlier and load.base is not None:
            load = replace(load, size=earlier.size)  # the same name; a variant may be of another size
        return replace(load, extents=self._extents(load, given))

    def _extents(self, load: Load, placement: Mapping[str, int]) -> tuple[Extent, ...]:
        if load.base is None:
            return ()
        size = max(load.size or self.page, 1)
        if self.one_block:
            return (Extent(load.base, load.base + size),)
        addresses = (
            self._section_addresses(load)
            or {address: 1 for kind, address in placement.items() if not kind.startswith("init")}
            or {load.base: size}
        )
        return _cluster({load.base: 1, **addresses}, size, self.page)

    def _section_addresses(self, load: Load) -> dict[int, int]:
        """Address -> size (1 where the file is not at hand) of the sections that stay, at the first look."""
        looks = ((self.recording[i].sections or {}).get(load.module) for i in load.steps(self.recording))
        sections = next(filter(None, looks), None)
        if sections is None or load.refused:
            return {}
        sizes = self._sizes(load)
        return {
            address: sizes.get(name, 1) for name, address in sections.items() if address and not _NOT_CORE.search(name)
        }

    def _sizes(self, load: Load) -> dict[str, int]:
        word = self.recording[load.first].command.split()[1:2]
        file = self.files.get(Path(word[0]).name) if word else None
        if file is None:
            return {}
        return {name: int(size) for name, size in zip(file.section_names, file.shdrs["size"].tolist(), strict=True)}


def release_numbers(release: str) -> tuple[int, ...]:
    """A release as numbers.

    >>> release_numbers("6.12")
    (6, 12)
    """
    return tuple(int(part) for part in re.findall(r"\d+", release)[:2])


def _cluster(addresses: Mapping[int, int], size: int, page: int = PAGE) -> tuple[Extent, ...]:
    """Mappings from section addresses and sizes; separate ones have a guard page between them.

    >>> [(hex(e.start), hex(e.end)) for e in _cluster({0x1000: 0x1c0, 0x3000: 0x10, 0x3010: 1}, 0x2000)]
    [('0x1000', '0x2000'), ('0x3000', '0x4000')]
    """
    found: list[Extent] = []
    for start in sorted(addresses):
        first, end = start & -page, (start + max(addresses[start], 1) + page - 1) & -page
        if found and first <= found[-1].end:
            found[-1] = Extent(found[-1].start, max(found[-1].end, end))
        else:
            found.append(Extent(first, end))
    missing = size - sum(extent.end - extent.start for extent in found)
    if len(found) == 1 and missing > 0:  # one mapping seen: the table's size is all there is to go by
        found[0] = Extent(found[0].start, found[0].end + missing)
    return tuple(found)
