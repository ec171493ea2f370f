"""What became of a relocation site: after each step, which load of its target its bytes are from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..model import messages
from .loads import Load
from .steps import patch_line, patch_of

if TYPE_CHECKING:
    from .history import History


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


def site_states(history: History, key: str) -> list[State]:
    """The state of a site after each step, one entry a step."""
    walk = _SiteWalk(history, key)
    return [walk.step(index) for index in range(len(history.recording))]


class _SiteWalk:
    """One site through all steps; remembers the last look and which load of the target wrote the bytes."""

    def __init__(self, history: History, key: str) -> None:
        self.history, self.key = history, key
        self.patch, self.target = patch_of(key), history.target(key)
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
        first, before = self.value is None, self.plain if self.value is None else self.value
        steps = range(load.first if self.looked is None else self.looked + 1, index + 1)
        changed, applied = value != before, self._applied(steps)
        self.value, self.looked = value, index
        if value == self.plain:
            self.from_load, self.foreign = None, False
            return State("cleared" if changed and not first else "file", value, changed=changed)
        if applied is not None or changed:
            self.foreign = applied is None and self._poked(steps)
            if not self.foreign:
                self.from_load = self._target_load(index) if applied is None else applied
        if self.foreign:
            kind = "foreign"
        elif not self._current(index):
            kind = "stale"
        else:
            kind = "written" if changed or applied is not None else "kept"
        return State(kind, value, self.from_load, changed)

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
        for i in reversed(steps):
            if (self.patch, self.target) in patch_line(self.history.recording[i], messages.APPLYING):
                return self._target_load(i)
        return None

    def _poked(self, steps: range) -> bool:
        return any(self.history.recording[i].command.startswith(f"poke {self.patch}:") for i in steps)

    def _target_load(self, index: int) -> int | None:
        attempt = self.history.attempt_at(self.target or "", index)
        return attempt.number if attempt else None

    def _current(self, index: int) -> bool:
        """Whether the load that the bytes were written for is the one that is there. A site for vmlinux is never stale."""
        if self.target in (None, "vmlinux") or self.from_load is None:
            return True
        load = self.history.load_at(self.target or "", index)
        return load is not None and load.number == self.from_load
