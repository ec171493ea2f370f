"""What became of every module and of every relocation site, read off the steps of a recording.

A recording says what was seen after each command. Here the same is told along time: from when to when a module was
loaded and where (lifetimes), for each site which load of its target the bytes are from (sitestates), and how its sum
comes about (sums). What was not looked at stays unknown.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import KlpteachError
from ..files import klp
from ..files.samples import ko_dir, open_ko
from ..model import messages
from ..model.recording import Recording
from .calls import call_at, function_address
from .loads import Lifetimes, Load, release_numbers
from .sites import State, site_states
from .steps import is_look, nonzero_line, nop_line, patch_line, patch_of
from .stubs import StubTable, stub_tables
from .sums import Sum, placed_by_val, sum_at

if TYPE_CHECKING:
    from ..files.module_file import ModuleFile


def module_files(recording: Recording, folder: Path | None = None) -> dict[str, ModuleFile]:
    """The module files of a recording that are at hand and are the ones that were recorded (sha256).

    folder: where they are; default: the course's own modules for that kernel. Each stands under its file name, and under
    NAME.ko after the module in it: a damaged livepatch NAME+DEFECT.ko is what the sites of NAME are in.
    """
    found = {}
    for name, digest in recording.files.items():
        with suppress(KlpteachError):
            file = open_ko(folder or ko_dir(recording.arch, recording.release), Path(name).name)
            if hashlib.sha256(file.data).hexdigest() == digest:
                found[name] = file
    return {f"{file.name}.ko": file for file in found.values()} | found


def loads(recording: Recording, files: Mapping[str, ModuleFile] | None = None) -> list[Load]:
    """Every attempt to load a module, in order of time.

    >>> from klpteach.scenarios.simulate import simulate
    >>> [(l.module, l.number, l.first, l.last, l.refused) for l in loads(simulate("reload"))]
    [('nfsd_demo', 1, 0, 1, False), ('livepatch_nfsd_demo', 1, 1, None, False), ('nfsd_demo', 2, 3, 3, True)]
    """
    return History(recording, files).loads


class History:
    """A recording read along time; computed once, asked often. files: file name -> ModuleFile (default: module_files())."""

    def __init__(self, recording: Recording, files: Mapping[str, ModuleFile] | None = None) -> None:
        self.recording = recording
        self.files: Mapping[str, ModuleFile] = module_files(recording) if files is None else files
        self.release = release_numbers(recording.release)
        self._states: dict[str, list[State]] = {}
        self._stubs: dict[str, list[StubTable | None]] = {}
        lifetimes = Lifetimes(recording, self.files)
        self.loads = lifetimes.loads
        self.loads = [lifetimes.placed(placed_by_val(self, load)) for load in self.loads]

    def seen(self, step: int) -> int:
        """The step at which the outcome of a step was looked at: itself, or a later one before anything else happened."""
        for i in range(step, len(self.recording)):
            if i > step and not is_look(self.recording[i].command):
                break
            if self.recording[i].modules is not None:
                return i
        return step

    # -- loads --------------------------------------------------------------------------------------------------------

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

    # -- sites --------------------------------------------------------------------------------------------------------

    @cached_property
    def sites(self) -> dict[str, klp.Site | None]:
        """Every site of the recording -> what the module file says about it (None without the file), in kernel order."""
        seen = dict.fromkeys(key for step in self.recording for key in step.sites or {})
        files = {patch: self.files.get(f"{patch}.ko") for patch in map(patch_of, seen)}
        known = {f"{patch}:{site.key}": site for patch, file in files.items() if file for site in klp.sites(file)}
        return {key: known.get(key) for key in [*known, *seen] if key in seen}

    @cached_property
    def objects(self) -> dict[str, set[str]]:
        """Livepatch -> the objects that it patches, as the kernel listed them at any step."""
        found: dict[str, set[str]] = {}
        for step in self.recording:
            for patch, row in (step.livepatch or {}).items():
                found.setdefault(patch, set()).update(row.get("objects", ()))
        return found

    def target(self, key: str) -> str | None:
        """The object a site waits for; without the module file, the livepatch's only object."""
        site, objects = self.sites.get(key), self.objects.get(patch_of(key), set())
        if site:
            return site.object
        return next(iter(objects)) if len(objects) == 1 else None

    def sites_in(self, patch: str) -> list[str]:
        """The sites in a livepatch's own text and data."""
        return [key for key in self.sites if patch_of(key) == patch]

    def sites_for(self, module: str) -> list[str]:
        """The sites, of any livepatch, that wait for a module."""
        return [key for key in self.sites if self.target(key) == module]

    def file_bytes(self, key: str, length: int | None = None) -> bytes | None:
        """The bytes at a site as they are in the file (`length` of them, default: the site's), None without the file."""
        site, file = self.sites.get(key), self.files.get(f"{patch_of(key)}.ko")
        index = file.section_index(site.section) if site and file else None
        if site is None or file is None or index is None:
            return None
        return file.section_bytes(index)[site.offset : site.offset + (length or site.width)]

    def states(self, key: str) -> list[State]:
        """The state of a site after each step, one entry a step."""
        if key not in self._states:
            self._states[key] = site_states(self, key)
        return self._states[key]

    def last_look(self, key: str, step: int) -> State | None:
        """The state of a site at a step, else at the latest look before: a refused load leaves what it refused."""
        return next((state for state in reversed(self.states(key)[: step + 1]) if state.value is not None), None)

    def failing(self, step: int) -> str | None:
        """The site at which a load was refused: on x86_64 the first of its type that is not zero, by the kernel's order;
        on ppc64le the one that the kernel names.
        """
        if nop_line(self.recording[step]):
            return self._without_nop(step)
        found = nonzero_line(self.recording[step])
        refused = patch_line(self.recording[step], messages.INIT_FAILED)
        if not found or not refused:
            return None
        patch, module = refused[0]
        for key in self.sites_in(patch):
            site, state = self.sites[key], self.last_look(key, step)
            mine = site and site.type == int(found["type"]) and self.target(key) == module
            if mine and state and any(state.value or b""):
                return key
        return None

    def _without_nop(self, step: int) -> str | None:
        """The site of the call that the kernel complained about: the word after it is at symbol + offset."""
        said = nop_line(self.recording[step])
        start = function_address(self, said.patch, said.symbol, step) if said else None
        if said is None or start is None:
            return None
        place = start + said.offset - 4
        found = ((key, call_at(self, key, step)) for key in self.sites_in(said.patch))
        return next((key for key, call in found if call and call.address == place), None)

    # -- stubs (ppc64le) ----------------------------------------------------------------------------------------------

    def stubs(self, module: str, step: int) -> StubTable | None:
        """A module's table of stubs after a step, None where there is none or nobody looked."""
        if module not in self._stubs:
            self._stubs[module] = stub_tables(self, module)
        return self._stubs[module][step]

    def stubs_before(self, module: str, step: int) -> StubTable | None:
        """The table at the last look before a step, of the same load of the module."""
        load = self.load_at(module, step)
        looks = range(step - 1, load.first - 1, -1) if load else ()
        return next((table for i in looks if (table := self.stubs(module, i))), None)

    @cached_property
    def with_stubs(self) -> list[str]:
        """The livepatches that have a table of stubs."""
        names = dict.fromkeys(name for step in self.recording for name in step.stubs or {})
        return [name for name in names if self.sites_in(name) or name in self.objects]

    def sum_at(self, key: str, step: int) -> Sum | None:
        """S + A - P for a site as of a step, see sums.sum_at()."""
        return sum_at(self, key, step)
