"""Facts of one step, in the words that verdicts are put together from."""

from __future__ import annotations

from ..model.step import hexa
from .history import History
from .steps import patch_of
from .words import count


class StepFacts:
    """One step and its history."""

    def __init__(self, history: History, index: int) -> None:
        self.history, self.index = history, index
        self.step = history.recording[index]
        self.seen = history.seen(index)  # looking changes nothing, so a later look tells the outcome too
        self.words = [*self.step.command.split(), "", ""]

    def _where(self, module: str) -> str:
        """at 0x…, and whether that is where it was before."""
        loads = [load for load in self.history.loads if load.module == module]
        now = self.history.attempt_at(module, self.index)
        earlier = [load for load in loads if load.first < self.index and not load.refused]
        if now is None or now.base is None:
            return ""
        if not earlier or earlier[-1].base is None:
            return f" at {hexa(now.base)}"
        before = earlier[-1].base
        same = "the same address as before" if before == now.base else f"no longer at {hexa(before)}"
        return f" at {hexa(now.base)}, {same}"

    def _again(self, number: int) -> str:
        are = "is" if number == 1 else "are"
        on_ppc = self.history.recording.arch == "ppc64le"  # there the file's bytes of a call are no zeros
        return f"{are} as in the file again." if on_ppc else f"{are} zero again, as in the file."

    def _stubs_stay(self, keys: list[str]) -> str:
        """That the stubs to what was removed stay (ppc64le)."""
        tables = [self.history.stubs(patch, self.seen) for patch in dict.fromkeys(map(patch_of, keys))]
        stale = sum(len(table.stale) for table in tables if table)
        slots = ", ".join(f"{table.used} of {table.num} slots used" for table in tables if table)
        if not stale:
            return ""
        return f" {count(stale, 'stub')} {'leads' if stale == 1 else 'lead'} to where it was: {slots}."

    def _program(self) -> str:
        """What the program of user space said, where it said something."""
        last = (self.step.out or "").strip().split("\n")[-1]
        return f"The program says: {last}." if last else ""

    def _kind(self, key: str) -> str:
        return self.history.states(key)[self.seen].kind

    def _of_kind(self, module: str, kind: str) -> list[str]:
        """The sites for a module that are in this state."""
        return [key for key in self.history.sites_for(module) if self._kind(key) == kind]

    def _writer(self, stale: list[str]) -> str:
        return f"load {self.history.states(stale[0])[self.seen].load}"
