"""The arithmetic of one site, S + A - P, from addresses that the recording has seen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..files.klp import Site
from ..files.relocation_types import HOWTO_PPC64LE, HOWTO_X86_64, Howto
from .loads import Load
from .steps import nonzero_line, patch_of

if TYPE_CHECKING:
    from .history import History


R_PPC64_ADDR64 = 38
_PPC64LE = {R_PPC64_ADDR64: HOWTO_PPC64LE[R_PPC64_ADDR64]}  # a call has no bytes of its own to compare: see calls


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


def sum_at(history: History, key: str, step: int) -> Sum | None:
    """S + A - P for a site as of a step: of the load that was refused in it, else of the latest that wrote the site.

    None where the module file, the symbol or the section's address is not known, and for a call on ppc64le.
    """
    site = history.sites.get(key)
    howto = _howto(history, site.type) if site else None
    if site is None or howto is None:
        return None
    place = section_address(history, patch_of(key), site.section, step)
    if place is None:
        return None
    P, P_step = place[0] + site.offset, place[1]
    symbol = _symbol(history, key, site, step, P)
    if symbol is None:
        return None
    S, S_step, from_val = symbol
    value = howto.value(S, site.addend, P) & ((1 << 8 * howto.width) - 1)
    stored = value.to_bytes(howto.width, "little")
    return Sum(site, S, site.addend, P, howto.relative, value, stored, S_step, P_step, from_val)


def _howto(history: History, kind: int) -> Howto | None:
    return (_PPC64LE if history.recording.arch == "ppc64le" else HOWTO_X86_64).get(kind)


def placed_by_val(history: History, load: Load) -> Load:
    """Where a refused load would have been: the printed val gives S, and an earlier load how far S is into the module.

    Only where a module is one block (before 6.4); there all of it moves together.
    """
    key = history.failing(load.first) if load.refused and load.base is None and history.release < (6, 4) else None
    wanted = sum_at(history, key, load.first) if key else None
    if key is None or wanted is None:
        return load
    for other in history.loads:
        if other.module != load.module or other.base is None or other.first >= load.first:
            continue
        for i in other.steps(history.recording):
            before = _symbol(history, key, wanted.site, i, wanted.P)
            if before and before[1] == i:
                return replace(load, base=other.base + wanted.S - before[0], seen_in="val")
    return load


def _looks(history: History, module: str, step: int) -> range:
    """The steps of this load of a module, the latest first: its addresses do not change while it is loaded."""
    load = history.load_at(module, step)
    return range(step, load.first - 1, -1) if load else range(0)


def section_address(history: History, module: str, section: str, step: int) -> tuple[int, int] | None:
    """The address of a section, and the step where it was seen: that step, or an earlier one of the same load."""
    for i in _looks(history, module, step):
        address = (history.recording[i].sections or {}).get(module, {}).get(section)
        if address:
            return address, i
    return None


def _symbol(history: History, key: str, site: Site, step: int, P: int) -> tuple[int, int, bool] | None:
    """S, the step where it was seen, and whether it was worked out from the printed val."""
    found = nonzero_line(history.recording[step])
    if found and key == history.failing(step):
        printed_minus_p = history.release >= (6, 3) and HOWTO_X86_64[site.type].relative
        return (int(found["val"], 16) - site.addend + (P if printed_minus_p else 0)) & (2**64 - 1), step, True
    patch = patch_of(key)
    for i in _looks(history, patch, step):
        rows = (history.recording[i].symbols or {}).get(patch, ())
        address = next((a for a, _, name in rows if name == site.symbol and a), None)
        if address:
            return address, i, False
    return None
