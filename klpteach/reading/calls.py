"""A call site on ppc64le: the branch at a relocation site, the word after it, and the slot of .stubs that it goes to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .sums import section_address

if TYPE_CHECKING:
    from .history import History

R_PPC64_REL24 = 10
STUB_SIZE = 40  # sizeof(struct ppc64_stub_entry): seven words, the magic, the address (arch/powerpc/kernel/module_64.c)
NOP, RESTORE_R2 = 0x60000000, 0xE8410018  # what the compiler leaves after a call, and what the loader makes of it


@dataclass(frozen=True)
class Call:
    """A `bl` and the word after it. address, target: bytes from 0; slot: index in .stubs, None where it goes elsewhere."""

    address: int
    words: tuple[int, ...]
    target: int
    slot: int | None


def branch_target(word: int, address: int) -> int | None:
    """Where a relative `b` or `bl` at an address goes, None for any other word.

    >>> hex(branch_target(0x480001c5, 0xc00800000013007c)), branch_target(0x60000000, 0)
    ('0xc008000000130240', None)
    """
    if word & 0xFC000002 != 0x48000000:
        return None
    offset = word & 0x03FFFFFC
    return address + offset - (0x04000000 if offset & 0x02000000 else 0) & (2**64 - 1)


def words_of(value: bytes) -> tuple[int, ...]:
    """The instruction words of bytes in memory order.

    >>> [hex(word) for word in words_of(bytes.fromhex("c5010048180041e8"))]
    ['0x480001c5', '0xe8410018']
    """
    return tuple(int.from_bytes(value[i : i + 4], "little") for i in range(0, len(value) - 3, 4))


def is_call(history: History, key: str) -> bool:
    """Whether a site is a call: its relocation says so, or, where the module file is not at hand, its branch does."""
    if history.recording.arch != "ppc64le":
        return False
    site = history.sites.get(key)
    if site is not None:
        return site.type == R_PPC64_REL24
    values = (state.value for state in history.states(key) if state.value)
    return any(words_of(value)[:1] and words_of(value)[0] & 0xFC000003 == 0x48000001 for value in values)


def call_at(history: History, key: str, step: int, value: bytes | None = None) -> Call | None:
    """The call at a site after a step; None where it is no call, or where its place or bytes were not looked at.

    value: take these bytes instead of those in memory (the file's, say).
    """
    value = history.states(key)[step].value if value is None else value
    place = _place(history, key, step)
    if value is None or place is None or not is_call(history, key):
        return None
    words = words_of(value)
    target = branch_target(words[0], place) if words else None
    if target is None:
        return None
    return Call(place, words, target, _slot(history, key, step, target))


def function_address(history: History, module: str, function: str, step: int) -> int | None:
    """Where a function of a module is: as /proc/kallsyms said at a step of this load, else worked out from the module file."""
    load, file = history.load_at(module, step), history.files.get(f"{module}.ko")
    for i in range(step, load.first - 1, -1) if load else ():
        rows = (history.recording[i].symbols or {}).get(module, ())
        found = next((address for address, _, name in rows if name == function), None)
        if found is not None:
            return found
    if file is None or function not in file.symbol_names:
        return None
    row = file.symtab[file.symbol_names.index(function)]
    index = int(row["shndx"])
    place = (
        section_address(history, module, file.section_names[index], step) if index < len(file.section_names) else None
    )
    return place[0] + int(row["value"]) if place else None


def _place(history: History, key: str, step: int) -> int | None:
    patch, _, place = key.partition(":")
    section, _, offset = place.rpartition("+")
    found = section_address(history, patch, section, step)
    return found[0] + int(offset, 16) if found else None


def _slot(history: History, key: str, step: int, target: int) -> int | None:
    table = section_address(history, key.partition(":")[0], ".stubs", step)
    if table is None or target < table[0] or (target - table[0]) % STUB_SIZE:
        return None
    return (target - table[0]) // STUB_SIZE
