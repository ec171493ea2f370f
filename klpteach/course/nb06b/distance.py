"""The call of arm64: a distance in 26 bits, written over whatever stands there."""

from __future__ import annotations

from ...files.relocation_types import HOWTO_ARM64
from ...model.recording import Recording
from ...views.table import Table

CALL26 = 283
BL = 0x94000000  # bl, with a distance of 0


def bl(distance: int) -> int:
    """The word of a `bl` that goes so many bytes on, a multiple of 4 within 128 MiB.

    >>> hex(bl(0x2000)), hex(bl(-4))
    ('0x94000800', '0x97ffffff')
    """
    howto = HOWTO_ARM64[CALL26]
    return int(howto.stored(BL, howto.value(distance & 0xFFFFFFFFFFFFFFFF, 0, 0)))


def distance_of(word: int) -> int:
    """How far a `bl` goes, in bytes.

    >>> distance_of(0x97ffffff)
    -4
    """
    imm26 = word & 0x03FFFFFF
    return 4 * (imm26 - (imm26 >> 25 << 26))


def bl_words(recording: Recording, site: str) -> Table:
    """A call along time: its word after each command, and how far it goes (arm64).

    site: as a recording names it, "MODULE:SECTION+0xOFF".
    """
    rows = []
    for index, step in enumerate(recording):
        if raw := (step.sites or {}).get(site):
            word = int.from_bytes(raw, "little")
            errno = f" → {step.errno}" if step.errno else ""
            rows.append((f"{index + 1} `{step.command}`{errno}", f"`{raw.hex(' ')}`", f"{distance_of(word):+,} bytes"))
    return Table(("after", "the four bytes", "the call goes"), rows, f"The call at `{site}`")
