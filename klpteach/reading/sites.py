"""The relocation sites of the livepatches in a recording: after each step, which load of its target a site's bytes are from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from ..files import klp
from ..model import messages
from ..model.recording import Recording
from ..model.step import Step
from .loads import Files, Load, Loads
from .steps import nonzero_line, patch_line, patch_of


@dataclass(frozen=True)
class State:
    """A site after one step.

    kind: "file" (as in the file), "written" (by this step), "kept" (its target is loaded), "stale" (from a load of the
    target that is over), "cleared" (put back by this step), "foreign" (written by something else), "absent" (livepatch
    not loaded), "unknown" (not looked at). load: which load of the target the bytes are from.
    """

    kind: str
    value: bytes | None = None
    load: int | None = None
    changed: bool = False


class Sites(Loads):
    """The loads of a recording, and every site in its livepatches, by the name that the recorder gave it."""

    def __init__(self, recording: Recording, files: Files | None = None) -> None:
        super().__init__(recording, files)
        self._states: dict[str, list[State]] = {}

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

    def place(self, key: str, step: int) -> tuple[int, int] | None:
        """The address of a site, and the step where its section's was seen."""
        section, _, offset = key.partition(":")[2].rpartition("+")
        found = self.section_address(patch_of(key), section, step)
        return (found[0] + int(offset, 16), found[1]) if found else None

    def states(self, key: str) -> list[State]:
        """The state of a site after each step, one entry a step."""
        if key not in self._states:
            walk = _Walk(self, key)
            self._states[key] = [walk.step(index) for index in range(len(self.recording))]
        return self._states[key]

    def last_look(self, key: str, step: int) -> State | None:
        """The state of a site at a step, else at the latest look before: a refused load leaves what it refused."""
        return next((state for state in reversed(self.states(key)[: step + 1]) if state.value is not None), None)

    @cached_property
    def applied(self) -> list[list[tuple[str, str]]]:
        """Of each step, read once since every site asks: the livepatches applied to a loading module, as (patch, module)."""
        return [patch_line(step, messages.APPLYING) for step in self.recording]

    @cached_property
    def not_zero(self) -> list[tuple[str, int] | None]:
        """Of each step: the site where a load was refused because its bytes were not zero, and the val that was printed."""
        return [self._not_zero(index, step) for index, step in enumerate(self.recording)]

    def _not_zero(self, index: int, step: Step) -> tuple[str, int] | None:
        said, refused = nonzero_line(step), patch_line(step, messages.INIT_FAILED)
        if not said or not refused:
            return None
        # Of the place the line has but a hashed pointer. Its type is enough: the kernel goes through the relocations in
        # the file's order and stops at the first that is not zero.
        patch, module = refused[0]
        for key in (key for key in self.sites_in(patch) if self.target(key) == module):
            site, state = self.sites[key], self.last_look(key, index)
            if site and site.type == int(said["type"]) and state and any(state.value or b""):
                return key, int(said["val"], 16)
        return None


class _Walk:
    """One site through all steps; remembers the last look and which load of the target wrote the bytes."""

    def __init__(self, sites: Sites, key: str) -> None:
        self.sites, self.key = sites, key
        self.patch, self.target = patch_of(key), sites.target(key)
        self.forget(None)

    def forget(self, load: int | None) -> None:
        """A new load of the livepatch begins with the file's bytes."""
        self.patch_load, self.foreign = load, False
        self.value: bytes | None = None
        self.plain: bytes | None = None
        self.looked: int | None = None
        self.from_load: int | None = None

    def step(self, index: int) -> State:
        step, load = self.sites.recording[index], self.sites.load_at(self.patch, index)
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
        first, before = self.value is None, self.plain if self.value is None else self.value
        steps = range(load.first if self.looked is None else self.looked + 1, index + 1)
        # the load of the target that had this livepatch applied since the last look
        loads = (self._target_load(i) for i in reversed(steps) if (self.patch, self.target) in self.sites.applied[i])
        changed, applied = value != before, next(loads, None)
        self.value, self.looked = value, index
        if value == self.plain:
            self.from_load, self.foreign = None, False
            return State("cleared" if changed and not first else "file", value, changed=changed)
        if applied is not None or changed:
            pokes = (self.sites.recording[i].command.startswith(f"poke {self.patch}:") for i in steps)
            self.foreign = applied is None and any(pokes)
            if not self.foreign:
                self.from_load = self._target_load(index) if applied is None else applied
        kind = "written" if changed or applied is not None else "kept"
        if self.foreign:
            kind = "foreign"
        elif not self._current(index):
            kind = "stale"
        return State(kind, value, self.from_load, changed)

    def _plain(self, index: int, value: bytes, load: Load) -> bytes:
        """The bytes before any target was there: seen so, else the file's, else zeros.

        What was seen comes first: on ppc64le a look takes in a neighbour that an ordinary relocation has changed.
        """
        attempt = self.sites.attempt_at(self.target or "", index)
        if self.target != "vmlinux" and (attempt is None or (attempt.last is not None and attempt.last < load.first)):
            return value
        return self.sites.file_bytes(self.key, len(value)) or bytes(len(value))

    def _target_load(self, index: int) -> int | None:
        attempt = self.sites.attempt_at(self.target or "", index)
        return attempt.number if attempt else None

    def _current(self, index: int) -> bool:
        """Whether the load that the bytes were written for is the one that is there. A site for vmlinux is never stale."""
        if self.target in (None, "vmlinux") or self.from_load is None:
            return True
        load = self.sites.load_at(self.target or "", index)
        return load is not None and load.number == self.from_load
