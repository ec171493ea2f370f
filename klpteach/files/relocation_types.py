"""Relocation types of ppc64le that the kernel accepts, as a table (arch/powerpc/kernel/module_64.c, ELF ABI v2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..model import messages
from ..model.arch.base import MASK64

NOP, LD_TOC = 0x60000000, 0xE8410018  # nop; ld r2,24(r1)
LI_MASK = 0x03FFFFFC
REL24, ENTRY = 10, 118


def signed(value: int) -> int:
    """A 64-bit number as %li prints it.

    >>> signed(0xffffffffffffffff)
    -1
    """
    return value - (1 << 64) if value >> 63 else value


Number = Any  # an int, or a numpy array of uint64: the rules below are the same for both


def fits_signed(bits: int) -> Callable[[Number], Number]:
    """Whether a 64-bit number, taken as signed, fits into so many bits."""
    return lambda value: (value + (1 << bits - 1)) & MASK64 < 1 << bits


def is_aligned(value: Number) -> Number:
    return value & 3 == 0


def fits_ds(value: Number) -> Number:
    """For instructions whose lowest two bits of the offset belong to the opcode."""
    return is_aligned(value) & fits_signed(16)(value)


def fits_call(value: Number) -> Number:
    """An I-form branch reaches 32 MiB in both directions, in steps of 4."""
    return is_aligned(value) & fits_signed(26)(value)


@dataclass(frozen=True, slots=True)
class Howto:
    """How one relocation type turns S (symbol), A (addend), P (place) and r2 into bits.

    width is in bytes; minus is what is subtracted ("P", "r2"); high takes the upper half, adjusted for the sign of the
    lower (@ha); mask are the bits of the field that are replaced; fits is the kernel's check, with its message.
    Source: apply_relocate_add(); the numbers are those of the ABI.

    >>> HOWTO[50].name, hex(HOWTO[50].value(S=0xc008000000158010, A=0, P=0, r2=0xc008000000148000))
    ('R_PPC64_TOC16_HA', '0x1')
    """

    name: str
    width: int
    minus: str = ""
    high: bool = False
    mask: int = MASK64
    fits: Callable[[Number], Number] | None = None
    message: messages.Message | None = None

    def value(self, S: int, A: int, P: int, r2: int) -> int:
        return int(self.bits((S + A - (P if self.minus == "P" else r2 if self.minus == "r2" else 0)) & MASK64))

    def bits(self, value: Number) -> Number:
        """The number whose low bits go into the field."""
        return ((value + 0x8000) & MASK64) >> 16 if self.high else value


HOWTO = {
    1: Howto("R_PPC64_ADDR32", 4),
    REL24: Howto("R_PPC_REL24", 4, "P", mask=LI_MASK, fits=fits_call),
    26: Howto("R_PPC64_REL32", 4, "P", fits=fits_signed(32), message=messages.REL32_RANGE),
    38: Howto("R_PPC64_ADDR64", 8),
    44: Howto("R_PPC64_REL64", 8, "P"),
    47: Howto("R_PPC64_TOC16", 2, "r2", fits=fits_signed(16), message=messages.BAD_TOC16),
    48: Howto("R_PPC64_TOC16_LO", 2, "r2"),
    50: Howto("R_PPC64_TOC16_HA", 2, "r2", high=True),
    51: Howto("R_PPC64_TOC", 8),  # r2 itself, without S and A
    63: Howto("R_PPC64_TOC16_DS", 2, "r2", mask=0xFFFC, fits=fits_ds, message=messages.BAD_TOC16_DS),
    64: Howto("R_PPC64_TOC16_LO_DS", 2, "r2", mask=0xFFFC, fits=is_aligned, message=messages.BAD_TOC16_LO_DS),
    109: Howto("R_PPC64_TOCSAVE", 0),  # a mark for a linker
    ENTRY: Howto("R_PPC64_ENTRY", 8),  # may rewrite the first two instructions of a function
    250: Howto("R_PPC64_REL16_LO", 2, "P"),
    252: Howto("R_PPC64_REL16_HA", 2, "P", high=True),
}


def local_entry_offset(other: int) -> int:
    """How far behind its symbol a function begins for callers that have the same TOC, from st_other.

    >>> [local_entry_offset(n << 5) for n in range(5)]
    [0, 0, 4, 8, 16]
    """
    return ((1 << (other >> 5)) >> 2) << 2


def is_relative_link_branch(word: int) -> bool:
    """bl and its conditional forms: instr_is_relative_link_branch()."""
    return word >> 26 in (16, 18) and word & 3 == 1
