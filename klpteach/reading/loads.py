"""When a module was there, and where: the attempts to load each module, read off the steps of a recording."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from ..errors import KlpteachError
from ..files.module_file import ModuleFile
from ..files.samples import ko_dir_with, open_ko
from ..model import messages
from ..model.arch import ARCHITECTURES
from ..model.errno import EEXIST
from ..model.recording import Recording
from ..model.step import Step
from .steps import is_look, patch_folder_twice, patch_line

Files = Mapping[str, ModuleFile]  # file name -> the module in it

# Addresses that /sys/module/NAME/sections still lists although the memory is given back (or never was core memory).
_NOT_CORE = re.compile(r"\.init\.|\.symtab$|\.strtab$|\.data\.\.percpu$|\.exit\.data$|\.modinfo$|__versions$")


def module_files(recording: Recording, folder: Path | None = None) -> dict[str, ModuleFile]:
    """The module files of a recording that are at hand and are the ones that were recorded (sha256).

    folder: where they are; default: the course's own modules for that kernel. Each stands under its file name, and under
    NAME.ko after the module in it: a damaged livepatch NAME+DEFECT.ko is what the sites of NAME are in.
    """
    found, place = {}, folder or ko_dir_with(recording.files, recording.arch, recording.release)
    for name, digest in recording.files.items():
        with suppress(KlpteachError):
            file = open_ko(place, Path(name).name)
            if hashlib.sha256(file.data).hexdigest() == digest:
                found[name] = file
    return {f"{file.name}.ko": file for file in found.values()} | found


class Extent(NamedTuple):
    """One mapping: [start, end)."""

    start: int
    end: int


@dataclass(frozen=True)
class Load:
    """One attempt to load a module; `number` counts the attempts of this name, from 1.

    first, last: steps; last is None for a module that is still there at the end. extents: its mappings, lowest first,
    () where nobody saw them. from_val: the base was worked out from the value that the kernel printed in refusing it.
    """

    module: str
    number: int
    first: int
    last: int | None = None
    refused: bool = False
    base: int | None = None
    size: int | None = None
    extents: tuple[Extent, ...] = ()
    from_val: bool = False

    def at(self, step: int) -> bool:
        """Whether the module was there after this step."""
        return not self.refused and self.first <= step and (self.last is None or step <= self.last)

    def steps(self, recording: Recording) -> range:
        """The steps after which it was there (of a refused attempt: its one step)."""
        return range(self.first, len(recording) if self.last is None else self.last + 1)

    def covers(self, address: int) -> bool:
        return any(extent.start <= address < extent.end for extent in self.extents)


class Loads:
    """A recording read along time: `loads`, every attempt to load a module, in order, and where each section was.

    Commands that succeeded open and close loads; a module table, where there is one, decides. files: file name ->
    ModuleFile (default: module_files()).
    """

    def __init__(self, recording: Recording, files: Files | None = None) -> None:
        self.recording = recording
        self.files: Files = module_files(recording) if files is None else files
        self.arch = ARCHITECTURES.get(recording.arch, ARCHITECTURES["x86_64"])
        self.release = tuple(map(int, re.findall(r"\d+", recording.release)[:2]))  # 6.12 as (6, 12)
        self.loads: list[Load] = []
        self._open: dict[str, int] = {}  # module -> index in loads
        for index, step in enumerate(recording):
            self._after_command(index, step)
            if step.modules is not None:
                self._after_look(index, step)
        self.loads = [self.placed(load) for load in self.loads]

    def observed_at(self, step: int) -> int:
        """The step whose snapshot shows the outcome of `step`: itself, or a later look before anything else happened."""
        later = takewhile(lambda i: is_look(self.recording[i].command), range(step + 1, len(self.recording)))
        return next((i for i in (step, *later) if self.recording[i].modules is not None), step)

    def load(self, module: str, number: int) -> Load | None:
        """The load of a module with this number."""
        return next((load for load in self.loads if load.module == module and load.number == number), None)

    def load_at(self, module: str, step: int) -> Load | None:
        """The load of a module that was there after a step."""
        return next((load for load in self.loads if load.module == module and load.at(step)), None)

    def attempt_at(self, module: str, step: int) -> Load | None:
        """The latest attempt to load a module up to a step, successful or refused."""
        return next((load for load in reversed(self.loads) if load.module == module and load.first <= step), None)

    def attempts_in(self, step: int) -> list[Load]:
        """The loads that began, or were refused, in a step."""
        return [load for load in self.loads if load.first == step]

    def asked_for(self, step: int) -> str:
        """The module that a command names: its file knows; else what the command began tells, else the file's name."""
        did, tried = self.recording[step].did, self.attempts_in(step)
        if did.file in self.files:
            return self.files[did.file].name
        return tried[0].module if len(tried) == 1 else _stem(did.file or did.what)

    def back_from(self, module: str, step: int) -> range:
        """The steps of this load of a module, the latest first: its addresses do not change while it is loaded."""
        load = self.load_at(module, step)
        return range(step, load.first - 1, -1) if load else range(0)

    def section_address(self, module: str, section: str, step: int) -> tuple[int, int] | None:
        """The address of a section, and the step where it was seen: that step, or an earlier one of the same load."""
        looks = ((self.recording[i].sections or {}, i) for i in self.back_from(module, step))
        found = ((sections.get(module, {}).get(section), i) for sections, i in looks)
        return next(((address, i) for address, i in found if address), None)

    def symbol_address(self, module: str, symbol: str, step: int) -> tuple[int, int] | None:
        """The address of a symbol in /proc/kallsyms under a module, and the step where it was seen."""
        looks = ((self.recording[i].symbols or {}, i) for i in self.back_from(module, step))
        found = ((*row, i) for symbols, i in looks for row in symbols.get(module, ()))
        return next(((address, i) for address, _, name, i in found if name == symbol and address), None)

    def _after_command(self, index: int, step: Step) -> None:
        did, worked = step.did, step.errno == 0 or step.exit == 0
        if did.loads and did.what[:1] not in ("", "-") and not step.quiet:
            name = self._name(step)
            if worked and name not in self._open:
                self._begin(name, index)
            elif not worked and (step.errno != EEXIST or patch_folder_twice(step)):  # else nothing was tried
                self._attempt(name, index, index, refused=True)
        elif did.verb == "rmmod" and worked and did.what in self._open:
            self._end(did.what, index)

    def _after_look(self, index: int, step: Step) -> None:
        rows = {row["name"]: row for row in step.modules or ()}
        for name in [name for name in self._open if name not in rows]:
            self._end(name, index)
        for name, row in reversed(rows.items()):
            if name in self._open and self.loads[self._open[name]].base not in (None, row["base"]):
                self._end(name, index)  # it went and came back while nobody looked
            if name not in self._open:
                self._begin(name, index)
            number = self._open[name]
            if self.loads[number].base is None:
                self.loads[number] = replace(self.loads[number], base=row["base"], size=row.get("size"))

    def _attempt(self, name: str, first: int, last: int | None = None, refused: bool = False) -> None:
        number = 1 + sum(load.module == name for load in self.loads)
        self.loads.append(Load(name, number, first, last, refused))

    def _begin(self, name: str, index: int) -> None:
        self._open[name] = len(self.loads)
        self._attempt(name, index)

    def _end(self, name: str, index: int) -> None:
        number = self._open.pop(name)
        self.loads[number] = replace(self.loads[number], last=index - 1)

    def _name(self, step: Step) -> str:
        """The module that a command loads: the file knows; else the recording's own words; else the name itself."""
        if step.did.file in self.files:
            return self.files[step.did.file].name
        if step.placement and len(step.placement) == 1:
            return next(iter(step.placement))
        name = _stem(step.did.file)
        fresh = [row["name"] for row in step.modules or () if row["name"] not in self._open]
        mentioned = [m for _, m in patch_line(step, messages.APPLYING) + patch_line(step, messages.INIT_FAILED)]
        return name if name in fresh else next(iter([*fresh, *mentioned]), name)

    def placed(self, load: Load) -> Load:
        """The load with all that can be known of its addresses."""
        given = (self.recording[load.first].placement or {}).get(load.module, {})
        load = replace(load, base=given.get("core", given.get("text"))) if load.base is None else load
        if load.size is None and load.base is not None:  # as of the same name; a variant may be of another size
            sizes = (other.size for other in self.loads if other.module == load.module and other.size)
            load = replace(load, size=next(sizes, None))
        return replace(load, extents=self._extents(load, given))

    def _extents(self, load: Load, placement: Mapping[str, int]) -> tuple[Extent, ...]:
        if load.base is None:
            return ()
        size = max(load.size or self.arch.page, 1)
        if self.release < (6, 4):  # one block for all of a module
            return (Extent(load.base, load.base + size),)
        placed = [(address, 1) for kind, address in placement.items() if not kind.startswith("init")]
        places = self._sections(load) or placed or [(load.base, size)]
        return _mappings([(load.base, 1), *places], size, self.arch.page)

    def _sections(self, load: Load) -> list[tuple[int, int]]:
        """(address, size) of the sections that stay, at the first look; size is 1 where the file is not at hand."""
        looks = ((self.recording[i].sections or {}).get(load.module) for i in load.steps(self.recording))
        sections = next(filter(None, looks), None)
        if sections is None or load.refused:
            return []
        file = self.files.get(self.recording[load.first].did.file)
        sizes = dict(zip(file.section_names, file.shdrs["size"].tolist(), strict=True)) if file else {}
        return [(at, sizes.get(name, 1)) for name, at in sections.items() if at and not _NOT_CORE.search(name)]


def _stem(filename: str) -> str:
    """The module that a file's name promises.

    >>> _stem("livepatch-nfsd+offset-off-by-8.ko")
    'livepatch_nfsd'
    """
    return filename.partition(".ko")[0].partition("+")[0].replace("-", "_")


def _mappings(places: Iterable[tuple[int, int]], size: int, page: int) -> tuple[Extent, ...]:
    """Mappings from (address, size) of sections; separate ones have a guard page between them.

    >>> [(hex(e.start), hex(e.end)) for e in _mappings([(0x1000, 0x1c0), (0x3000, 0x10), (0x3010, 1)], 0x2000, 0x1000)]
    [('0x1000', '0x2000'), ('0x3000', '0x4000')]
    """
    found: list[Extent] = []
    for start, length in sorted(places):
        first, end = start & -page, (start + max(length, 1) + page - 1) & -page
        if found and first <= found[-1].end:
            found[-1] = Extent(found[-1].start, max(found[-1].end, end))
        else:
            found.append(Extent(first, end))
    missing = size - sum(extent.end - extent.start for extent in found)
    if len(found) == 1 and missing > 0:  # one mapping seen: the table's size is all there is to go by
        found[0] = Extent(found[0].start, found[0].end + missing)
    return tuple(found)
