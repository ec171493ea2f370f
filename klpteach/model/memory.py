"""Where modules live: the module area as a list of mappings, lowest fit first, and what was there before.

module_alloc() takes the lowest hole that fits; a mapping is rounded up to pages and followed by a guard page. A freed
range can be taken at once (VM_FLUSH_RESET_PERMS), which is why a reload lands where the first load was. On ppc64le the
area is that of all vmalloc users, with pages of 64 KiB. Simplified: nobody else takes addresses there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .errno import ENOMEM, Refused

PAGE = 0x1000


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
    far: int | None = None  # where the search begins again when there is no hole
    regions: list[Region] = field(default_factory=list)  # by address

    def __iter__(self) -> Iterator[Region]:
        return iter(self.regions)

    def alloc(self, size: int, owner: str, kind: str, at: int | None = None) -> Region:
        """Map `size` bytes, zeroed, at the lowest hole, or at address `at` where a recording says so."""
        size = page_align(size, self.page)
        region = Region(self._lowest_hole(size) if at is None else at, size, owner, kind, np.zeros(size, "u1"))
        self.regions.append(region)
        self.regions.sort(key=lambda r: r.start)
        return region

    def free(self, region: Region) -> None:
        self.regions.remove(region)

    def _lowest_hole(self, size: int) -> int:
        try:
            return self._first_fit(self.start, size)
        except Refused:
            if self.far is None:
                raise
            return self._first_fit(self.far, size)

    def _first_fit(self, hole: int, size: int) -> int:
        for region in self.regions:
            if hole + size + self.page <= region.start:
                break
            hole = max(hole, region.end + self.page)
        if hole + size > self.end:
            raise Refused(ENOMEM)
        return hole
