"""The order of what happens when a patched module comes and goes: watched in the model, not written down by hand."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from ...model import messages
from ...model.kernel import Kernel
from ...model.snapshot import site_bytes
from ...model.state import State

LOADER, LIVEPATCH, CALLBACK, MODULE = "module loader", "livepatch core", "livepatch's callbacks", "the module's code"


@dataclass(frozen=True)
class Event:
    """One thing that happened: its number from 1, the phase (coming or going), who did it, and what."""

    number: int
    phase: str
    who: str
    what: str


class _Watched(Kernel):
    """A kernel that notes callbacks, init and exit, and, whenever one of these runs, what has changed since the last."""

    def __init__(self, release: str, livepatch: str, target: str) -> None:
        super().__init__(release=release)
        self.livepatch, self.target, self.phase = livepatch, target, ""
        self.events: list[Event] = []
        self._written, self._redirected, self._state = 0, False, ""
        for kind in ("pre_patch", "post_patch", "pre_unpatch", "post_unpatch"):
            self.callbacks[livepatch, target, kind] = partial(self._happens, CALLBACK, f"{kind} callback")
        for kind in ("init", "exit"):
            self.module_code[target, kind] = partial(self._happens, MODULE, f"{kind}()")

    def log(self, line: messages.Line) -> None:
        super().log(line)
        if line.message in _PRINTED:
            self._happens(LIVEPATCH, f"prints “{_PRINTED[line.message]}”")

    def _happens(self, who: str, what: str, _: State | None = None) -> int:
        if self.phase:
            self.look()
            self._note(who, what)
        return 0

    def look(self) -> None:
        """Note what has changed: the target's state, the livepatch's bytes, the redirection of functions."""
        found = self.find_module(self.target)
        state = found.state if found else ""
        if state and state != self._state:
            self._note(LOADER, f"state {_STATES.get(state, state)}")
        patch = self.find_module(self.livepatch)
        sites = site_bytes(self, patch, patch.file.on_disk) if patch else {}
        written = sum(any(value) for value in sites.values())
        redirected = any(o.patched for p in self.klp.patches for o in p.objects if o.name == self.target)
        if self._redirected and not redirected:
            self._note(LIVEPATCH, "functions no longer redirected")
        if written and not self._written:
            self._note(LIVEPATCH, f"{written} relocations written")
        if self._written and not written:
            self._note(LIVEPATCH, f"{self._written} relocations put back to zero")
        if redirected and not self._redirected:
            self._note(LIVEPATCH, "functions redirected")
        if self._state and not state:
            self._note(LOADER, "memory freed")
        self._state, self._written, self._redirected = state, written, redirected

    def _note(self, who: str, what: str) -> None:
        if self.phase:
            self.events.append(Event(len(self.events) + 1, self.phase, who, what))


_PRINTED = {
    messages.APPLYING: "applying patch … to loading module", messages.REVERTING: "reverting patch … on unloading module",
}  # fmt: skip
_STATES = {"Loading": "COMING", "Live": "LIVE", "Unloading": "GOING"}


def coming_and_going(
    release: str = "6.1", livepatch: str = "livepatch_nfsd_demo", target: str = "nfsd_demo"
) -> list[Event]:
    """What happens, in order, when `target` is loaded after its livepatch, and when it is removed again.

    Source of the order: prepare_coming_module(), klp_module_coming(), do_init_module(), delete_module(),
    klp_module_going(), as the model runs them. Errors: ModuleFormatError for a name without a file.
    """
    kernel = _Watched(release, livepatch, target)
    commands = {"": f"insmod {livepatch}.ko", "coming": f"insmod {target}.ko", "going": f"rmmod {target}"}
    for phase, command in commands.items():
        kernel.phase = phase
        kernel.run(command)
        kernel.look()
    return kernel.events
