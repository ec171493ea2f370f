"""Slots of a livepatch's GOT and PLT on s390x that hold an address of an earlier load of their symbol's module.

The kernel looks up a livepatch symbol at every load of its target, and kallsyms shows the address; the slot, which is what
the code reads, is filled once. So the two are compared.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..files.klp import Site, parse_symbol
from ..model.step import hexa
from .sites import Sites
from .steps import count


@dataclass(frozen=True)
class OldSlot:
    """A slot that is used and holds another address than its symbol has. what: GOT or PLT; sites: whose code uses it."""

    patch: str
    what: str
    symbol: str
    module: str
    holds: int
    right: int
    sites: tuple[str, ...]


def old_slots(sites: Sites, step: int) -> list[OldSlot]:
    """What was seen of them at a step, in the order of the slots; nothing where nobody looked, or the target is not there."""
    if not sites.arch.slot_types:
        return []
    recorded = sites.recording[step]
    found = []
    for patch, table in (recorded.stubs or {}).items():
        right = {name: address for address, _, name in (recorded.symbols or {}).get(patch, ())}
        seen = sites.arch.stubs_seen(table, 0)
        for index, holds, _ in seen.entries:
            what, _, name = seen.owners.get(index, "").partition(" ")
            symbol = parse_symbol(name)
            if symbol is None or holds == right.get(name, holds) or sites.load_at(symbol.object, step) is None:
                continue
            users = tuple(key for key in sites.sites_in(patch) if _uses(sites, key, step, what, name, right[name]))
            if users:
                found.append(OldSlot(patch, what, symbol.name, symbol.object, holds, right[name], users))
    return found


def users_of(sites: Sites, patch: str, of: str) -> tuple[str, ...]:
    """The sites whose relocation asks for a slot, which a recording names as `GOT SYMBOL` or `PLT SYMBOL`."""
    what, _, name = of.partition(" ")
    return tuple(key for key in sites.sites_in(patch) if _asks_for(sites, sites.sites[key], what, name))


def _asks_for(sites: Sites, site: Site | None, what: str, name: str) -> bool:
    kinds = sites.arch.slot_types
    if site is None or site.symbol != name or site.type not in kinds:
        return False
    return ("G +" in kinds[site.type].formula) == (what == "GOT")


def _uses(sites: Sites, key: str, step: int, what: str, name: str, right: int) -> bool:
    """Whether the code at a site goes through the slot: a call that goes straight to its function asks for one, too."""
    site = sites.sites[key]
    if site is None or not _asks_for(sites, site, what, name):
        return False
    howto, place = sites.arch.slot_types[site.type], sites.place(key, step)
    value = (sites.recording[step].sites or {}).get(key)
    if what == "GOT" or place is None or value is None:
        return True
    return howto.stored(0, howto.value(right, site.addend, place[0])) != int.from_bytes(value, sites.arch.byteorder)


def old_slots_sentences(found: list[OldSlot]) -> str:
    """What they mean, in a few sentences."""
    first = found[0]
    names = ", ".join(dict.fromkeys(slot.symbol for slot in found))
    it, hold = ("it", "holds") if len(found) == 1 else ("them", "hold")
    return (
        f"Nothing was refused and nothing was said: no check looks at a slot. But {count(len(found), 'slot')} of {first.patch} "
        f"still {hold} the address of an earlier load ({names}): for {first.symbol} {hexa(first.holds)}, not {hexa(first.right)}. "
        f"The code that reads {it} uses whatever is there now."
    )
