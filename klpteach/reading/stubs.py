"""A livepatch's table of call stubs, slot by slot and along time: which function each leads to, of which load.

A call out of a module goes through a stub (ppc64le: .stubs; arm64, where it is far: .plt) in the module itself. The table
has a fixed number of slots, and a slot is never given back: what it led to may be gone. On s390x the same is told of GOT and
PLT, whose slots belong to a symbol each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..files.klp import parse_symbol
from ..model.step import hexa
from .calls import call_at
from .loads import Load
from .sites import Sites
from .slots import users_of


@dataclass(frozen=True)
class Slot:
    """One entry of .stubs after a step.

    state: "free"; "kernel" (leads to the kernel's own code); "written" (by this step); "kept" (leads to a load that is
    there); "stale" (leads to where a load was). load: number of the load of `module`. calls: the sites that use it.
    there_now: another module that stands at that address now. past_end: behind the last slot of the table.
    """

    index: int
    address: int
    state: str
    function: str = ""
    module: str = ""
    load: int | None = None
    calls: tuple[str, ...] = ()
    there_now: str = ""
    past_end: bool = False
    table: str = ""  # s390x: GOT or PLT


@dataclass(frozen=True)
class StubTable:
    """The table of one module after a step: `num` slots, of which `used` are not free; the slots behind the end follow."""

    module: str
    num: int
    used: int
    slots: tuple[Slot, ...]
    section: str = ".stubs"

    @property
    def past_end(self) -> tuple[Slot, ...]:
        return tuple(slot for slot in self.slots if slot.past_end)

    @property
    def taken(self) -> int:
        """Slots that are not free, those past the end among them."""
        return self.used + len(self.past_end)

    @property
    def stale(self) -> tuple[Slot, ...]:
        return tuple(slot for slot in self.slots if slot.state == "stale")

    @property
    def stale_inside(self) -> int:
        """How many stale stubs are not past the end."""
        return sum(not slot.past_end for slot in self.stale)


def stub_tables(sites: Sites, module: str) -> list[StubTable | None]:
    """A module's table after each step, None where nobody looked.

    Source: arch/powerpc/kernel/module_64.c, struct ppc64_stub_entry and stub_for_addr().
    """
    walk = _Walk(sites, module)
    return [walk.step(index) for index in range(len(sites.recording))]


class _Walk:
    """One table through all steps; remembers since when each slot holds what it holds, and what that was called then."""

    def __init__(self, sites: Sites, module: str) -> None:
        self.sites, self.module = sites, module
        self.patch_load: int | None = None
        self.since: dict[int, tuple[int, int]] = {}  # slot -> address, step
        self.names: dict[tuple[str, int, int], str] = {}  # module, its load, offset into it -> function

    def step(self, index: int) -> StubTable | None:
        load = self.sites.load_at(self.module, index)
        raw = (self.sites.recording[index].stubs or {}).get(self.module)
        if load is None or raw is None:
            return None
        if load.number != self.patch_load:
            self.patch_load, self.since = load.number, {}
        place = self.sites.section_address(self.module, self.sites.arch.stub_section, index)
        seen = self.sites.arch.stubs_seen(raw, place[0] if place else 0)
        users, num = self._users(index, seen.owners), seen.slots
        for entry in seen.entries:
            self._notice(index, *entry)
        slots = (self._slot(index, *entry, users.get(entry[0], ())) for entry in seen.entries)
        tables = {slot: of.partition(" ")[0] for slot, of in seen.owners.items()}
        shown = tuple(replace(s, past_end=s.index >= num, table=tables.get(s.index, "")) for s in slots)
        return StubTable(self.module, num, seen.used, shown, self.sites.arch.stub_words)

    def _notice(self, index: int, number: int, address: int, label: str) -> None:
        if self.since.get(number, (0, 0))[0] != address:
            self.since[number] = (address, index)
        owner = self._owner(number) if address else None
        name, _, module = label.partition(" [")
        if owner and owner.base is not None and module.rstrip("]") == owner.module:
            self.names.setdefault((owner.module, owner.number, address - owner.base), name)

    def _owner(self, number: int) -> Load | None:
        """The load that a slot was written for: the latest one that was there, or was tried, when the slot was written."""
        address, since = self.since[number]
        there = (load for load in reversed(self.sites.loads) if load.covers(address))
        return next((load for load in there if load.at(since) or (load.refused and load.first <= since)), None)

    def _users(self, index: int, owners: Mapping[int, str]) -> dict[int, tuple[str, ...]]:
        """Slot -> the sites whose branch goes there, or whose relocation asks for it."""
        owned = ((slot, users_of(self.sites, self.module, of)) for slot, of in owners.items())
        found: dict[int, tuple[str, ...]] = {slot: users for slot, users in owned if users}
        for key in self.sites.sites_in(self.module):
            call = call_at(self.sites, key, index)
            if call and call.slot is not None:
                found[call.slot] = (*found.get(call.slot, ()), key)
        return found

    def _slot(self, index: int, number: int, address: int, label: str, calls: tuple[str, ...]) -> Slot:
        if not address:
            return Slot(number, 0, "free", calls=calls)
        owner, where = self._owner(number), hexa(address)
        if owner is None:
            kernel = self.sites.arch.is_kernel(address)
            state, name = ("kernel", label or where) if kernel else ("stale", where)
            return Slot(number, address, state, name, calls=calls)
        name = self._name(owner, address, calls)
        here, steps = self.sites.load_at(owner.module, index), self.sites.recording
        if here and here.base == owner.base and steps[here.first].command == steps[owner.first].command:
            owner = here  # the same file came back to the same place, so the old stub leads to it again
        state, there = "written" if index > 0 and self.since[number][1] == index else "kept", ""
        if not owner.at(index):
            state = "stale"
            there = next((load.module for load in self.sites.loads if load.at(index) and load.covers(address)), "")
        return Slot(number, address, state, name, owner.module, owner.number, calls, there)

    def _name(self, owner: Load, address: int, calls: tuple[str, ...]) -> str:
        """The function: as it was labelled while the load was there, as a call's relocation names it, as in another load."""
        offset, asked = address - (owner.base or 0), [site for key in calls if (site := self.sites.sites[key])]
        symbols = filter(None, (parse_symbol(site.symbol) for site in asked if site.object == owner.module))
        called = (symbol.name for symbol in symbols)
        known = self.names.get((owner.module, owner.number, offset)) or next(called, None)
        if known:
            self.names[owner.module, owner.number, offset] = known
            return known
        others = (name for (module, _, at), name in self.names.items() if (module, at) == (owner.module, offset))
        return next(others, hexa(address))
