"""The arithmetic of one site, S + A - P, from addresses that the recording has seen."""

from __future__ import annotations

from dataclasses import dataclass

from ..files.klp import Site
from .calls import is_call
from .sites import Sites
from .steps import patch_of


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


def sum_at(sites: Sites, key: str, step: int) -> Sum | None:
    """S + A - P for a site as of a step: of the load that was refused in it, else of the latest that wrote the site.

    None where the module file, the symbol or the section's address is not known; and on ppc64le for a call, whose bytes
    lead to a stub, and for what is counted from the TOC pointer; on s390x for what goes through a slot.
    """
    site, place = sites.sites.get(key), sites.place(key, step)
    howto = sites.arch.relocation_types.get(site.type) if site else None
    if (
        site is None
        or howto is None
        or place is None
        or not howto.mask
        or (sites.arch.restore_r2 and is_call(sites, key))
        or not {"r2", "G", "L", "GOT"}.isdisjoint(howto.formula.split())
    ):
        return None
    (P, P_step), A, refused = place, site.addend, sites.not_zero[step]
    added, from_val = A - P if howto.relative else A, refused is not None and refused[0] == key
    if refused and from_val:
        # Up to 6.2 the check came before P was subtracted, so val is S + A; since bbb93362a445 (6.3) it is the value itself.
        S, S_step = (refused[1] - (added if sites.release >= (6, 3) else A)) % 2**64, step
    else:
        seen = sites.symbol_address(patch_of(key), site.symbol, step)
        if seen is None:
            return None
        S, S_step = seen
    there = sites.states(key)[step].value or bytes(howto.width)
    value = howto.value(S, A, P)
    order = sites.arch.byteorder
    stored = howto.stored(int.from_bytes(there[: howto.width], order), value)
    value %= 1 << 8 * howto.width
    return Sum(site, S, A, P, howto.relative, value, stored.to_bytes(howto.width, order), S_step, P_step, from_val)
