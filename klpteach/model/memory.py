"""Where modules live: the module area as a list of mappings, lowest fit first, and what was there before.

module_alloc() takes the lowest hole that fits; a mapping is rounded up to pages and followed by a guard page. A freed
range can be taken at once (VM_FLUSH_RESET_PERMS), which is why a reload lands where the first load was. On ppc64le the
area is that of all vmalloc users, with pages of 64 KiB. Simplified: nobody else takes addresses there.

Later kernels for x86_64 take text from blocks (mm/execmem.c: the ROX cache; its first use read here is in 7.3.4): each is
2 MiB, aligned to that, mapped read-only and executable as a whole, and module texts stand in it page by page, without a
guard page. Freed text is filled with int3 and stays mapped until the block is empty. Simplified: an empty block goes at
once, where the kernel gives it back a little later, so that a load just then begins a second one.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .errno import ENOMEM, Refused

PAGE = 0x1000
_IN_BLOCKS = ("text", "init_text")  # kinds


def page_align(size: int, page: int = PAGE) -> int:
    """Round up to whole pages.

    >>> hex(page_align(0x1001)), hex(page_align(0x1001, 0x10000))
    ('0x2000', '0x10000')
    """
    return (size + page - 1) & -page


@dataclass(eq=False)
class Region:
    """One mapping: `size` bytes from `start`, owned by a module; `kind` is core, init, text, data …"""

    start: int
    size: int
    owner: str
    kind: str
    data: np.ndarray[Any, np.dtype[Any]] = field(repr=False)

    @property
    def end(self) -> int:
        return self.start + self.size


@dataclass(eq=False)
class AddressSpace:
    """The module area, [start, end). Addresses are ints; every mapping's bytes are a numpy array of uint8.

    >>> space = AddressSpace(0xffffffffc0201000, 0xffffffffff000000)
    >>> first = space.alloc(0x3000, "nfsd", "core")
    >>> space.free(first); hex(space.alloc(0x3000, "nfsd", "core").start), hex(space.alloc(1, "lockd", "core").start)
    ('0xffffffffc0201000', '0xffffffffc0205000')
    """

    start: int
    end: int
    page: int = PAGE
    block: int = 0  # size of the blocks that text comes from; 0: it is mapped as everything else
    far: int | None = None  # where the search begins again when there is no hole
    regions: list[Region] = field(default_factory=list)  # by address

    def __iter__(self) -> Iterator[Region]:
        return iter(self.regions)

    def alloc(self, size: int, owner: str, kind: str, at: int | None = None) -> Region:
        """Map `size` bytes, zeroed, at the lowest hole, or at address `at` where a recording says so."""
        size = page_align(size, self.page)
        if at is None:
            at = self._lowest_in_block(size) if self._in_block(kind) else self._lowest_hole(size)
        region = Region(at, size, owner, kind, np.zeros(size, "u1"))
        insort(self.regions, region, key=lambda r: r.start)
        return region

    def fill(self, count: int, owner: str, kind: str) -> None:
        """Map so many pages, each in the lowest hole, as that many calls of alloc() would; nobody looks at their bytes.

        Errors: Refused(-ENOMEM) where there is room for fewer; those stay.
        """
        found, hole, page = list[Region](), page_align(self.start, self.page), self.page
        for first, end in [*self._taken(), (self.end + page, self.end + page)]:
            last = min(first - page, self.end) - page  # where a page may begin at most
            while len(found) < count and hole <= last:
                found.append(Region(hole, page, owner, kind, np.zeros(0, "u1")))
                hole += 2 * page
            hole = max(hole, page_align(end + page, page))
        self.regions = sorted([*self.regions, *found], key=lambda r: r.start)
        if len(found) < count:
            raise Refused(ENOMEM)

    def is_mapped(self, address: int) -> bool:
        return any(region.start <= address < region.end for region in self.regions)

    def free(self, region: Region) -> None:
        self.regions.remove(region)

    def _in_block(self, kind: str) -> bool:
        return bool(self.block) and kind in _IN_BLOCKS

    def _blocks(self) -> list[tuple[int, int]]:
        """[start, end) of every block that text stands in."""
        texts = [region for region in self.regions if region.kind in _IN_BLOCKS] if self.block else []
        return sorted({(r.start & -self.block, page_align(r.end, self.block)) for r in texts})

    def _lowest_in_block(self, size: int) -> int:
        """The lowest hole in a block that there is, else the start of a new block."""
        for start, end in self._blocks():
            hole = start
            for region in self.regions:
                if start <= region.start < end and hole + size > region.start:
                    hole = max(hole, region.end)
            if hole + size <= end:
                return hole
        return self._lowest_hole(page_align(size, self.block), self.block)

    def _taken(self) -> list[tuple[int, int]]:
        """[start, end) of everything that is mapped by itself, by address; a block counts as a whole."""
        inside = _IN_BLOCKS if self.block else ()
        alone = [(r.start, r.start + r.size) for r in self.regions if r.kind not in inside]
        return sorted([*alone, *self._blocks()]) if self.block else alone

    def _lowest_hole(self, size: int, align: int = 1) -> int:
        try:
            return self._first_fit(self.start, size, align)
        except Refused:
            if self.far is None:
                raise
            return self._first_fit(self.far, size, align)

    def _first_fit(self, start: int, size: int, align: int) -> int:
        hole, page = page_align(start, align), self.page
        for first, end in self._taken():
            if hole + size + page <= first:
                break
            if end + page > hole:
                hole = (end + page + align - 1) & -align  # page_align(), a call for each mapping that there is
        if hole + size > self.end:
            raise Refused(ENOMEM)
        return hole
