"""Relocation types that the kernel accepts, one row a type (arch/x86/kernel/module.c; arch/powerpc/kernel/module_64.c).

The numbers are those of the psABIs. What is done with a row is in klpteach.model.arch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
from elftools.elf.enums import ENUM_RELOC_TYPE_PPC64, ENUM_RELOC_TYPE_x64

from .elf_h import EM_PPC64, EM_X86_64

MASK64 = 0xFFFFFFFFFFFFFFFF
Array = np.ndarray[Any, np.dtype[Any]]
Number = Any  # an int, or a numpy array of uint64: the rules below are the same for both
N = TypeVar("N", int, Array)

FORMULAS: Mapping[str, Callable[[Number, Number, Number], Number]] = {
    "S + A": lambda sum, P, r2: sum,
    "S + A - P": lambda sum, P, r2: sum - P,
    "S + A - r2": lambda sum, P, r2: sum - r2,
    "r2": lambda sum, P, r2: r2,
}


@dataclass(frozen=True, slots=True)
class Howto:
    """How one relocation type turns S (symbol), A (addend), P (place) and r2 (ppc64le: the TOC pointer) into bits.

    width is in bytes; high takes the upper half of 32 bits, adjusted for the sign of the lower (@ha); mask are the bits of
    the field that are replaced; fits is the kernel's overflow rule, None where it has none.

    >>> HOWTO_X86_64[2].name, hex(HOWTO_X86_64[2].value(S=0x1000, A=-4, P=0x2000))
    ('R_X86_64_PC32', '0xffffffffffffeffc')
    >>> HOWTO_PPC64LE[50].name, hex(HOWTO_PPC64LE[50].value(S=0xc008000000158010, A=0, P=0, r2=0xc008000000148000))
    ('R_PPC64_TOC16_HA', '0x1')
    """

    name: str
    width: int
    formula: str = "S + A"
    fits: Callable[[Number], Number] | None = None
    mask: int = MASK64
    high: bool = False

    def value(self, S: N, A: N, P: N, r2: int = 0) -> N:
        """The number whose low bits go into the field."""
        value: N = FORMULAS[self.formula](S + A, P, r2) & MASK64
        return self.bits(value)

    def bits(self, value: N) -> N:
        """The upper half of a value, where the field holds that."""
        return ((value + 0x8000) & MASK64) >> 16 if self.high else value

    @property
    def relative(self) -> bool:
        return self.formula == "S + A - P"


def fits_unsigned32(value: Number) -> Number:
    """Zero-extended from 32 bits it is still the same 64-bit number."""
    return value == value & 0xFFFFFFFF


def fits_signed(bits: int) -> Callable[[Number], Number]:
    """Whether a 64-bit number, taken as signed, fits into so many bits."""
    return lambda value: (value + (1 << bits - 1)) & MASK64 < 1 << bits


def is_aligned(value: Number) -> Number:
    return value & 3 == 0


def fits_ds(value: Number) -> Number:
    """For instructions whose lowest two bits of the offset belong to the opcode."""
    return is_aligned(value) & fits_signed16(value)


def fits_call(value: Number) -> Number:
    """An I-form branch reaches 32 MiB in both directions, in steps of 4."""
    return is_aligned(value) & fits_signed26(value)


fits_signed16, fits_signed26, fits_signed32 = fits_signed(16), fits_signed(26), fits_signed(32)

# -- x86_64 ---------------------------------------------------------------------------------------------------------------

HOWTO_X86_64 = {
    0: Howto("R_X86_64_NONE", 0),
    1: Howto("R_X86_64_64", 8),
    # no overflow test: compiled out up to 6.2, gone since bbb93362a445 (6.3)
    2: Howto("R_X86_64_PC32", 4, "S + A - P"),
    4: Howto("R_X86_64_PLT32", 4, "S + A - P"),  # a module is linked without a PLT, so this is PC32
    10: Howto("R_X86_64_32", 4, fits=fits_unsigned32),
    11: Howto("R_X86_64_32S", 4, fits=fits_signed32),
    24: Howto("R_X86_64_PC64", 8, "S + A - P"),
}

# -- ppc64le (ELF ABI v2) -------------------------------------------------------------------------------------------------

NOP, LD_TOC = 0x60000000, 0xE8410018  # nop; ld r2,24(r1)
LI_MASK = 0x03FFFFFC  # where a branch holds its distance
REL24, ENTRY = 10, 118

HOWTO_PPC64LE = {
    1: Howto("R_PPC64_ADDR32", 4),
    REL24: Howto("R_PPC_REL24", 4, "S + A - P", fits_call, LI_MASK),
    26: Howto("R_PPC64_REL32", 4, "S + A - P", fits_signed32),
    38: Howto("R_PPC64_ADDR64", 8),
    44: Howto("R_PPC64_REL64", 8, "S + A - P"),
    47: Howto("R_PPC64_TOC16", 2, "S + A - r2", fits_signed16),
    48: Howto("R_PPC64_TOC16_LO", 2, "S + A - r2"),
    50: Howto("R_PPC64_TOC16_HA", 2, "S + A - r2", high=True),
    51: Howto("R_PPC64_TOC", 8, "r2"),
    63: Howto("R_PPC64_TOC16_DS", 2, "S + A - r2", fits_ds, 0xFFFC),
    64: Howto("R_PPC64_TOC16_LO_DS", 2, "S + A - r2", is_aligned, 0xFFFC),
    109: Howto("R_PPC64_TOCSAVE", 0),  # a mark for a linker
    ENTRY: Howto("R_PPC64_ENTRY", 8),  # may rewrite the first two instructions of a function
    250: Howto("R_PPC64_REL16_LO", 2, "S + A - P"),
    252: Howto("R_PPC64_REL16_HA", 2, "S + A - P", high=True),
}


def local_entry_offset(other: int) -> int:
    """How far behind its symbol a function begins for callers that have the same TOC, from st_other.

    >>> [local_entry_offset(n << 5) for n in range(5)]
    [0, 0, 4, 8, 16]
    """
    return ((1 << (other >> 5)) >> 2) << 2


# -- by e_machine ---------------------------------------------------------------------------------------------------------

HOWTO: Mapping[int, Mapping[int, Howto]] = {EM_X86_64: HOWTO_X86_64, EM_PPC64: HOWTO_PPC64LE}
POINTER_TYPE = {EM_X86_64: 1, EM_PPC64: 38}  # R_X86_64_64, R_PPC64_ADDR64: the relocation of a pointer in data
_ELFTOOLS = {EM_X86_64: ENUM_RELOC_TYPE_x64, EM_PPC64: {**ENUM_RELOC_TYPE_PPC64, "R_PPC64_ENTRY": ENTRY}}


def width_of(machine: int, kind: int) -> int:
    """Bytes that a relocation of this type covers; 0 for a type that the kernel does not know."""
    return HOWTO[machine][kind].width if kind in HOWTO[machine] else 0


@lru_cache
def type_widths(machine: int, unknown: int) -> Array:
    """The same for the first 256 types as an array, with another number for those that the kernel does not know."""
    return np.array([width_of(machine, n) if n in HOWTO[machine] else unknown for n in range(256)], "i8")


@lru_cache
def type_names(machine: int) -> Mapping[int, str]:
    """The psABI's names of all relocation types, also of those that the kernel does not know."""
    return {number: name for name, number in _ELFTOOLS[machine].items() if isinstance(number, int)}
