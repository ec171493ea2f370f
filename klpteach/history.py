"""What became of every module and of every relocation site, read off the steps of a recording.

A recording says what was seen after each command. Here the same is told along time: from when to when a module was
loaded and where, and for each site which load of its target the bytes are from. What was not looked at stays unknown.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from . import messages
from .data import ko_dir
from .errors import KlpteachError
from .recording import Recording, Step

if TYPE_CHECKING:
    from .elf import ModuleFile
    from .klp import Site

PAGE = 0x1000
LOOKS = ("boot", "cat", "lsmod", "modinfo", "busybox", "fill", "stk", "vmi", "uname", "ls", "dmesg")
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


@dataclass(frozen=True)
class State:
    """A site after one step.

    kind: "file" (as in the file), "written" (by this step), "kept" (its target is loaded), "stale" (from a load of the
    target that is over), "cleared" (put back by this step), "foreign" (written by something else), "absent" (livepatch
    not loaded), "unknown" (not looked at). load: which load of the target the bytes are from. since: the last step at
    which the site was looked at before, if the bytes changed since.
    """

    kind: str
    value: bytes | None = None
    load: int | None = None
    changed: bool = False
    since: int | None = None


@dataclass(frozen=True)
class Sum:
    """S + A - P (or S + A) of one site, as numbers, and the step where S and P were looked at."""

    site: Site
    S: int
    A: int
    P: int
    relative: bool
    value: int
    stored: bytes
    S_step: int
    P_step: int
    from_val: bool = False


def module_files(recording: Recording, folder: Path | None = None) -> dict[str, ModuleFile]:
    """The module files of a recording by file name, as far as they are at hand and their sha256 is the recording's.

    folder: where they are; default: the course's own modules for that kernel. A file that differs is left out.
    """
    from .elf import ModuleFile

    try:
        folder = folder or ko_dir(recording.arch, recording.release)
    except KlpteachError:
        return {}
    found = {}
    for name, digest in recording.files.items():
        path = folder / Path(name).name
        if digest is None or not path.is_file():
            continue
        try:
            opened = ModuleFile.open(path)
        except KlpteachError:
            continue
        if digest in (hashlib.sha256(opened.data).hexdigest(), hashlib.sha256(path.read_bytes()).hexdigest()):
            found[name] = opened
    return found


def loads(recording: Recording, files: Mapping[str, ModuleFile] | None = None) -> list[Load]:
    """Every attempt to load a module, in order of time.

    >>> from klpteach.scenarios import simulate
    >>> [(l.module, l.number, l.first, l.last, l.refused) for l in loads(simulate("reload"))]
    [('nfsd_demo', 1, 0, 1, False), ('livepatch_nfsd_demo', 1, 1, None, False), ('nfsd_demo', 2, 3, 3, True)]
    """
    return History(recording, files).loads


def is_look(command: str) -> bool:
    """Whether a command only looks: it changes nothing."""
    return command.startswith(LOOKS)


def nonzero_line(step: Step) -> dict[str, str] | None:
    """type, loc and val of the kernel's line about a nonzero relocation target, None where it printed none."""
    for line in step.lines:
        for message in (messages.NONZERO_SKIPPING, messages.NONZERO, messages.NONZERO_619):
            found = message.match(line)
            if found:
                return found
    return None


def patch_line(step: Step, message: messages.Message) -> list[tuple[str, str]]:
    """(patch, module) of every line of this step that the message printed."""
    found = (message.match(line) for line in step.lines)
    return [(match["patch"], match["module"]) for match in found if match]


class History:
    """A recording read along time; computed once, asked often. files: file name -> ModuleFile (default: module_files())."""

    def __init__(self, recording: Recording, files: Mapping[str, ModuleFile] | None = None) -> None:
        self.recording = recording
        self.files: Mapping[str, ModuleFile] = module_files(recording) if files is None else files
        lifetimes = _Lifetimes(self)
        self.loads = lifetimes.loads
        self.loads = [lifetimes.placed(self._from_val(load)) for load in self.loads]

    def seen(self, step: int) -> int:
        """The step at which the outcome of a step was looked at: itself, or a later one before anything else happened."""
        steps = self.recording.steps
        for i in range(step, len(steps)):
            if i > step and not is_look(steps[i].command):
                break
            if steps[i].modules is not None:
                return i
        return step

    def load_at(self, module: str, step: int) -> Load | None:
        """The load of a module that was there after a step."""
        return next((load for load in self.loads if load.module == module and load.at(step)), None)

    def attempt_at(self, module: str, step: int) -> Load | None:
        """The latest attempt to load a module up to a step, successful or refused."""
        tried = [load for load in self.loads if load.module == module and load.first <= step]
        return tried[-1] if tried else None

    def attempts_in(self, step: int) -> list[Load]:
        """The loads that began, or were refused, in a step."""
        return [load for load in self.loads if load.first == step]

    # -- sites --------------------------------------------------------------------------------------------------------

    @cached_property
    def sites(self) -> dict[str, Site | None]:
        """Every site of the recording -> what the module file says about it (None without the file), in kernel order."""
        from .klp import sites as sites_of

        seen = dict.fromkeys(key for step in self.recording for key in step.sites or {})
        known: dict[str, Site | None] = {}
        for module in dict.fromkeys(key.partition(":")[0] for key in seen):
            file = self.files.get(f"{module}.ko")
            rows = sites_of(file) if file else ()
            known.update({f"{module}:{site.key}": site for site in rows if f"{module}:{site.key}" in seen})
        return {**known, **{key: None for key in seen if key not in known}}

    def target(self, key: str) -> str | None:
        """The object a site waits for; without the module file, the livepatch's only object."""
        if key not in self._targets:
            self._targets[key] = self._find_target(key)
        return self._targets[key]

    @cached_property
    def _targets(self) -> dict[str, str | None]:
        return {}

    def _find_target(self, key: str) -> str | None:
        site = self.sites.get(key)
        if site:
            return site.object
        patch = key.partition(":")[0]
        objects = {name for step in self.recording for name in (step.livepatch or {}).get(patch, {}).get("objects", {})}
        return objects.pop() if len(objects) == 1 else None

    def file_bytes(self, key: str, length: int | None = None) -> bytes | None:
        """The bytes at a site as they are in the file (`length` of them, default: the site's), None without the file."""
        site, file = self.sites.get(key), self.files.get(f"{key.partition(':')[0]}.ko")
        index = file.section_index(site.section) if site and file else None
        if site is None or file is None or index is None:
            return None
        return file.section_bytes(index)[site.offset : site.offset + (length or site.width)]

    def states(self, key: str) -> list[State]:
        """The state of a site after each step, one entry a step."""
        if key not in self._states:
            self._states[key] = list(_site_states(self, key))
        return self._states[key]

    @cached_property
    def _states(self) -> dict[str, list[State]]:
        return {}

    def failing(self, step: int) -> str | None:
        """The site at which a load was refused: the first of its type that is not zero, by the kernel's order."""
        found = nonzero_line(self.recording[step])
        refused = patch_line(self.recording[step], messages.INIT_FAILED)
        if not found or not refused:
            return None
        patch, module = refused[0]
        for key, site in self.sites.items():
            mine = (
                site and site.type == int(found["type"]) and key.startswith(f"{patch}:") and self.target(key) == module
            )
            if mine and any(self._value_near(key, step)):
                return key
        return None

    def _value_near(self, key: str, step: int) -> bytes:
        """The bytes of a site at a step, else at the latest look before: a refused load leaves what it refused."""
        known = [state.value for state in self.states(key)[: step + 1] if state.value is not None]
        return known[-1] if known else b""

    # -- the sum ------------------------------------------------------------------------------------------------------

    def sum_at(self, key: str, step: int) -> Sum | None:
        """S + A - P for a site as of a step: of the load that was refused in it, else of the latest that wrote the site.

        None where the module file, the symbol or the section's address is not known, and on other architectures.
        """
        from .arch.x86_64 import HOWTO

        site, patch = self.sites.get(key), key.partition(":")[0]
        if site is None or self.recording.arch != "x86_64" or site.type not in HOWTO:
            return None
        place = self._section(patch, site.section, step)
        if place is None:
            return None
        P, P_step = place[0] + site.offset, place[1]
        symbol = self._symbol(key, site, step, P)
        if symbol is None:
            return None
        S, S_step, from_val = symbol
        howto = HOWTO[site.type]
        value = howto.value(S, site.addend, P) & ((1 << 8 * howto.width) - 1)
        return Sum(
            site,
            S,
            site.addend,
            P,
            howto.relative,
            value,
            value.to_bytes(howto.width, "little"),
            S_step,
            P_step,
            from_val,
        )

    def _looks(self, module: str, step: int) -> range:
        """The steps of this load of a module, the latest first: its addresses do not change while it is loaded."""
        load = self.load_at(module, step)
        return range(step, load.first - 1, -1) if load else range(0)

    def _section(self, module: str, section: str, step: int) -> tuple[int, int] | None:
        for i in self._looks(module, step):
            address = (self.recording[i].sections or {}).get(module, {}).get(section)
            if address:
                return address, i
        return None

    def _symbol(self, key: str, site: Site, step: int, P: int) -> tuple[int, int, bool] | None:
        """S, the step where it was seen, and whether it was worked out from the printed val."""
        found = nonzero_line(self.recording[step])
        if found and key == self.failing(step):
            from .arch.x86_64 import HOWTO

            printed_minus_p = self.release >= (6, 3) and HOWTO[site.type].relative
            return (int(found["val"], 16) - site.addend + (P if printed_minus_p else 0)) & (2**64 - 1), step, True
        patch = key.partition(":")[0]
        for i in self._looks(patch, step):
            rows = (self.recording[i].symbols or {}).get(patch, ())
            address = next((a for a, _, name in rows if name == site.symbol and a), None)
            if address:
                return address, i, False
        return None

    @property
    def release(self) -> tuple[int, ...]:
        """The kernel's release as numbers, (6, 1)."""
        return tuple(int(part) for part in re.findall(r"\d+", self.recording.release)[:2])

    def _from_val(self, load: Load) -> Load:
        """Where a refused load would have been: the printed val gives S, and an earlier load how far S is into the module.

        Only where a module is one block (before 6.4); there all of it moves together.
        """
        key = self.failing(load.first) if load.refused and load.base is None and self.release < (6, 4) else None
        wanted = self.sum_at(key, load.first) if key else None
        if key is None or wanted is None:
            return load
        for other in self.loads:
            if other.module != load.module or other.base is None or other.first >= load.first:
                continue
            last = load.first - 1 if other.last is None else other.last
            for i in range(other.first, last + 1):
                before = self._symbol(key, wanted.site, i, wanted.P) if self.load_at(key.partition(":")[0], i) else None
                if before and before[1] == i:
                    return replace(load, base=other.base + wanted.S - before[0], seen_in="val")
        return load


# -- when was a module there, and where -----------------------------------------------------------------------------------


class _Lifetimes:
    """Goes through the steps once. Commands that succeeded open and close loads; a module table, where there is one, decides."""

    def __init__(self, history: History) -> None:
        self.history, self.recording = history, history.recording
        self.loads: list[Load] = []
        self.open: dict[str, int] = {}  # module -> index in loads
        for index, step in enumerate(self.recording):
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
            number = self.open.get(name)
            if number is not None and self.loads[number].base not in (None, row["base"]):
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
        file = self.history.files.get(Path(word).name)
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
        size = max(load.size or PAGE, 1)
        if _numbers(self.recording.release) < (6, 4):
            return (Extent(load.base, load.base + size),)
        addresses = (
            self._section_addresses(load)
            or {address: 1 for kind, address in placement.items() if not kind.startswith("init")}
            or {load.base: size}
        )
        return _cluster({**{load.base: 1}, **addresses}, size)

    def _section_addresses(self, load: Load) -> dict[int, int]:
        """Address -> size (1 where the file is not at hand) of the sections that stay, at the first look."""
        last = len(self.recording) - 1 if load.last is None else load.last
        for i in range(load.first, last + 1):
            sections = (self.recording[i].sections or {}).get(load.module)
            if sections and not load.refused:
                sizes = self._sizes(load)
                return {
                    address: sizes.get(name, 1)
                    for name, address in sections.items()
                    if address and not _NOT_CORE.search(name)
                }
        return {}

    def _sizes(self, load: Load) -> dict[str, int]:
        word = self.recording[load.first].command.split()[1:2]
        file = self.history.files.get(Path(word[0]).name) if word else None
        if file is None:
            return {}
        return {name: int(size) for name, size in zip(file.section_names, file.shdrs["size"].tolist(), strict=True)}


def _numbers(release: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", release)[:2])


def _cluster(addresses: Mapping[int, int], size: int) -> tuple[Extent, ...]:
    """Mappings from section addresses and sizes; separate ones have a guard page between them.

    >>> [(hex(e.start), hex(e.end)) for e in _cluster({0x1000: 0x1c0, 0x3000: 0x10, 0x3010: 1}, 0x2000)]
    [('0x1000', '0x2000'), ('0x3000', '0x4000')]
    """
    found: list[Extent] = []
    for start in sorted(addresses):
        first, end = start & -PAGE, (start + max(addresses[start], 1) + PAGE - 1) & -PAGE
        if found and first <= found[-1].end:
            found[-1] = Extent(found[-1].start, max(found[-1].end, end))
        else:
            found.append(Extent(first, end))
    missing = size - sum(extent.end - extent.start for extent in found)
    if len(found) == 1 and missing > 0:  # one mapping seen: the table's size is all there is to go by
        found[0] = Extent(found[0].start, found[0].end + missing)
    return tuple(found)


# -- what became of a site ------------------------------------------------------------------------------------------------


def _site_states(history: History, key: str) -> list[State]:
    walk = _SiteWalk(history, key)
    return [walk.step(index) for index in range(len(history.recording))]


class _SiteWalk:
    """One site through all steps; remembers the last look and which load of the target wrote the bytes."""

    def __init__(self, history: History, key: str) -> None:
        self.history, self.key = history, key
        self.patch, self.target = key.partition(":")[0], history.target(key)
        self.forget(None)

    def forget(self, load: int | None) -> None:
        """A new load of the livepatch begins with the file's bytes."""
        self.patch_load = load
        self.value: bytes | None = None
        self.looked: int | None = None
        self.from_load: int | None = None
        self.foreign = False
        self.plain: bytes | None = None

    def step(self, index: int) -> State:
        step, load = self.history.recording[index], self.history.load_at(self.patch, index)
        if load is None:
            self.forget(None)
            return State("unknown" if step.modules is None and step.sites is None else "absent")
        if load.number != self.patch_load:
            self.forget(load.number)
        if not step.sites or self.key not in step.sites:
            return State("unknown")
        return self._looked_at(index, step.sites[self.key], load)

    def _looked_at(self, index: int, value: bytes, load: Load) -> State:
        if self.plain is None:
            self.plain = self._plain(index, value, load)
        plain = self.plain
        before = self.value if self.value is not None else plain
        since = self.looked if self.looked is not None else load.first - 1
        steps = range(since + 1, index + 1)
        changed, applied = value != before, self._applied(steps)
        first, self.value, self.looked = self.value is None, value, index
        if value == plain:
            self.from_load, self.foreign = None, False
            return State("cleared" if changed and not first else "file", value, changed=changed, since=since)
        if applied is not None or changed:
            self.foreign = applied is None and self._poked(steps)
            if not self.foreign:
                self.from_load = applied if applied is not None else self._target_load(index)
        if self.foreign:
            return State("foreign", value, self.from_load, changed, since)
        if not self._current(index):
            return State("stale", value, self.from_load, changed, since)
        return State("written" if changed or applied is not None else "kept", value, self.from_load, changed, since)

    def _plain(self, index: int, value: bytes, load: Load) -> bytes:
        """The bytes before any target was there: seen so, else the file's, else zeros.

        What was seen comes first: on ppc64le a look takes in a neighbour that an ordinary relocation has changed.
        """
        attempt = self.history.attempt_at(self.target or "", index)
        if self.target != "vmlinux" and (attempt is None or (attempt.last is not None and attempt.last < load.first)):
            return value
        return self.history.file_bytes(self.key, len(value)) or bytes(len(value))

    def _applied(self, steps: range) -> int | None:
        """The load of the target that had this livepatch applied in these steps."""
        recording = self.history.recording
        for i in reversed(steps):
            if i >= 0 and (self.patch, self.target) in patch_line(recording[i], messages.APPLYING):
                return self._target_load(i)
        return None

    def _poked(self, steps: range) -> bool:
        return any(i >= 0 and self.history.recording[i].command.startswith(f"poke {self.patch}:") for i in steps)

    def _target_load(self, index: int) -> int | None:
        attempt = self.history.attempt_at(self.target, index) if self.target else None
        return attempt.number if attempt else None

    def _current(self, index: int) -> bool:
        """Whether the load that the bytes were written for is the one that is there. A site for vmlinux is never stale."""
        if self.target in (None, "vmlinux") or self.from_load is None:
            return True
        load = self.history.load_at(self.target or "", index)
        return load is not None and load.number == self.from_load
