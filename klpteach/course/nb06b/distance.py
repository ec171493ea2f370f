"""The call of arm64: a distance in 26 bits, written over whatever stands there."""

from __future__ import annotations

from ...model.recording import Recording
from ...views.table import Table


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
