"""What a relocation fills in, in two or three words, by the name of its type: a call, a pointer, half an address."""

from __future__ import annotations

import re

_KINDS = (  # the first that matches
    ("a call", r"R_X86_64_PLT32|R_PPC64_REL24|R_AARCH64_(CALL|JUMP)26|R_390_PLT(16|32)DBL"),
    ("a pointer", r"R_X86_64_64|R_PPC64_ADDR64|R_AARCH64_ABS64|R_390_64"),
    ("half an address", r"R_PPC64_.*_(LO|HA|LO_DS)|R_AARCH64_.*(PG_HI21|LO12)(_NC)?"),
    ("the way to a slot", r"R_390_(GOT|PLT)(?!OFF|PC).*|R_390_PLTOFF.*"),  # an offset in the GOT, or where a slot is
    ("a distance", r".*_(PC|P?REL)\d.*|R_AARCH64_.*(PREL|BR\d).*"),
    ("an address", r".*"),
)


def what_it_fills(type_name: str) -> str:
    """What stands at the place of a relocation of this type, which has the psABI's name.

    >>> what_it_fills("R_PPC64_REL24"), what_it_fills("R_PPC64_TOC16_HA"), what_it_fills("R_X86_64_PC32")
    ('a call', 'half an address', 'a distance')
    """
    return next(words for words, pattern in _KINDS if re.fullmatch(pattern, type_name))
