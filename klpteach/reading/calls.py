"""A call site: the branch at a relocation site, on ppc64le the word after it, and the slot of .stubs or .plt that it goes to."""

from __future__ import annotations

from dataclasses import dataclass

from .sites import Sites
from .steps import patch_of


@dataclass(frozen=True)
class Call:
    """A `bl`, and on ppc64le the word after it. address, target: bytes from 0; slot: index in .stubs, None where it goes elsewhere."""

    address: int
    words: tuple[int, ...]
    target: int
    slot: int | None


def words_of(value: bytes) -> tuple[int, ...]:
    """The instruction words of bytes in memory order."""
    return tuple(int.from_bytes(value[i : i + 4], "little") for i in range(0, len(value) - 3, 4))


def is_call(sites: Sites, key: str) -> bool:
    """Whether a site is a call: its relocation says so, or, where the module file is not at hand, its branch does."""
    if not sites.arch.has_stubs:
        return False
    site = sites.sites.get(key)
    if site is not None:
        return site.type in sites.arch.call_types
    seen = (words_of(state.value) for state in sites.states(key) if state.value)
    return any(words and sites.arch.branch_target(words[0], 0) is not None and words[0] & 1 for words in seen)


def call_at(sites: Sites, key: str, step: int, value: bytes | None = None) -> Call | None:
    """The call at a site after a step; None where it is no call, or where its place or bytes were not looked at.

    value: take these bytes instead of those in memory (the file's, say).
    """
    value, place = value or sites.states(key)[step].value, sites.place(key, step)
    words = words_of(value) if value and is_call(sites, key) else ()
    target = sites.arch.branch_target(words[0], place[0]) if words and place else None
    if target is None or place is None:
        return None
    stubs = sites.section_address(patch_of(key), sites.arch.stub_section, step)
    slot, rest = divmod(target - stubs[0], sites.arch.stub_size) if stubs else (-1, 0)
    return Call(place[0], words, target, slot if slot >= 0 and not rest else None)
