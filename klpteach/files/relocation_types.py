"""Relocation types that the kernel accepts, one row a type.

Sources: arch/x86/kernel/module.c, arch/powerpc/kernel/module_64.c, arch/arm64/kernel/module.c, arch/s390/kernel/module.c.

The numbers are those of the psABIs. What is done with a row is in klpteach.model.arch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
from elftools.elf.enums import (
    ENUM_RELOC_TYPE_AARCH64,
    ENUM_RELOC_TYPE_PPC64,
    ENUM_RELOC_TYPE_S390X,
    ENUM_RELOC_TYPE_x64,
)

from .elf_h import EM_AARCH64, EM_PPC64, EM_S390, EM_X86_64

MASK64, SIGN = 0xFFFFFFFFFFFFFFFF, 1 << 63
Array = np.ndarray[Any, np.dtype[Any]]
Number = Any  # an int, or a numpy array of uint64: the rules below are the same for both
N = TypeVar("N", int, Array)

FORMULAS: Mapping[str, Callable[[Number, Number, Number], Number]] = {
    "S + A": lambda sum, P, r2: sum,
    "S + A - P": lambda sum, P, r2: sum - P,
    "S + A - r2": lambda sum, P, r2: sum - r2,
    "r2": lambda sum, P, r2: r2,
    "Page(S + A) - Page(P)": lambda sum, P, r2: (sum & ~PAGE_MASK) - (P & ~PAGE_MASK),
    # s390x: sum is S + A for the first symbol of the formula (S, G, L or none), and r2 the GOT's address
    "G + A": lambda sum, P, got: sum,
    "GOT + G + A - P": lambda sum, P, got: sum + got - P,
    "L + A - P": lambda sum, P, got: sum - P,
    "L + A - GOT": lambda sum, P, got: sum - got,
    "S + A - GOT": lambda sum, P, got: sum - got,
    "GOT + A - P": lambda sum, P, got: sum + got - P,
}
PAGE_MASK = 0xFFF  # the pages that adrp counts in, whatever those of the kernel are


@dataclass(frozen=True, slots=True)
class Howto:
    """How one relocation type turns S (symbol), A (addend), P (place) and r2 (ppc64le: the TOC pointer) into bits.

    width is in bytes; high takes the upper half of 32 bits, adjusted for the sign of the lower (@ha); mask are the bits of
    the field that are replaced; fits is the kernel's overflow rule, None where it has none. arm64 and s390x: shift says how many
    low bits are cut off (as a signed number), keep how many of the rest go into the instruction, and pieces where in it: the
    lowest bit and the length of each, from the number's low end; by_sign chooses movz or movn. On s390x r2 is the GOT's address,
    G the offset of the symbol's slot in it, and L where a call goes: the symbol, or its slot of the PLT; and fits is asked
    before the shift.

    >>> HOWTO_X86_64[2].name, hex(HOWTO_X86_64[2].value(S=0x1000, A=-4, P=0x2000))
    ('R_X86_64_PC32', '0xffffffffffffeffc')
    >>> HOWTO_PPC64LE[50].name, hex(HOWTO_PPC64LE[50].value(S=0xc008000000158010, A=0, P=0, r2=0xc008000000148000))
    ('R_PPC64_TOC16_HA', '0x1')
    >>> call = HOWTO_ARM64[283]
    >>> hex(call.stored(0x94000000, call.value(S=0x1000, A=0, P=0x2000)))
    '0x97fffc00'
    """

    name: str
    width: int
    formula: str = "S + A"
    fits: Callable[[Number], Number] | None = None
    mask: int = MASK64
    high: bool = False
    shift: int = 0
    keep: int = 64
    pieces: tuple[tuple[int, int], ...] = ()
    by_sign: bool = False

    def value(self, S: N, A: N, P: N, r2: int = 0) -> N:
        """The number whose low bits go into the field."""
        return self.bits(self.sum(S, A, P, r2))

    def sum(self, S: N, A: N, P: N, r2: int = 0) -> N:
        """What the formula comes to, before anything is cut off."""
        found: N = FORMULAS[self.formula](S + A, P, r2) & MASK64
        return found

    def bits(self, value: N) -> N:
        """The upper half of a value, or what a shift leaves of it, where the field holds that."""
        if self.shift:
            return (((value ^ SIGN) >> self.shift) - (SIGN >> self.shift)) & MASK64
        return ((value + 0x8000) & MASK64) >> 16 if self.high else value

    def stored(self, old: N, value: N) -> N:
        """The field with a value in it: what else stands in those bytes stays. Both are numbers, whatever the bytes' order is.

        >>> hex(HOWTO_S390X[58].stored(0xE3000000, 0x12345))
        '0xe3451200'
        """
        placed: N = value
        if self.pieces:
            opcode = 0
            if self.by_sign:
                opcode, value = (0, ~value) if value & SIGN else (0b10 << 29, value)
            placed, value = value & 0 | opcode, value & (1 << self.keep) - 1
            for at, length in self.pieces:
                placed, value = placed | (value & (1 << length) - 1) << at, value >> length
        return ((old & (MASK64 ^ self.mask)) | (placed & self.mask)) & ((1 << 8 * self.width) - 1)

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


# -- arm64 (ELF for the Arm 64-bit Architecture) --------------------------------------------------------------------------

ADR, JUMP26, CALL26, ADRP, ADRP_NC = 274, 282, 283, 275, 276
_ABS, _PREL, _PAGE = "S + A", "S + A - P", "Page(S + A) - Page(P)"


def fits_unsigned16(value: Number) -> Number:
    return value <= 0xFFFF


def _insn(
    name: str,
    formula: str,
    shift: int,
    bits: int,
    *pieces: tuple[int, int],
    fits: Callable[[Number], Number] | None = None,
) -> Howto:
    """A field of an instruction: `bits` bits of the shifted value, in these pieces of the word."""
    mask = sum((1 << length) - 1 << at for at, length in pieces)
    return Howto(f"R_AARCH64_{name}", 4, formula, fits, mask, shift=shift, keep=bits, pieces=pieces)


def _signed(name: str, formula: str, shift: int, bits: int, *pieces: tuple[int, int]) -> Howto:
    """The same with the kernel's test: the shifted value, as a signed number, has no more than those bits."""
    return _insn(name, formula, shift, bits, *pieces, fits=fits_signed(bits))


_IMM12, _IMM14, _IMM16, _IMM19, _IMM26, _IMM_ADR = (10, 12), (5, 14), (5, 16), (5, 19), (0, 26), ((29, 2), (5, 19))


def _movw(name: str, formula: str, shift: int, fits: Callable[[Number], Number] | None = None) -> Howto:
    return _insn(f"MOVW_{name}", formula, shift, 16, _IMM16, fits=fits)


def _movz_movn(name: str, formula: str, shift: int, checked: bool = True) -> Howto:
    """reloc_insn_movw() with MOVNZ: the sign goes into the opcode (bits 30:29), a negative value is inverted."""
    howto = _movw(name, formula, shift, fits_signed17 if checked else None)
    return replace(howto, mask=howto.mask | 3 << 29, by_sign=True)


fits_signed17 = fits_signed(17)  # 16 bits of the value or of its inverse
HOWTO_ARM64 = {
    0: Howto("R_ARM_NONE", 4, mask=0),  # an instruction that stays as it is
    256: Howto("R_AARCH64_NONE", 4, mask=0),
    257: Howto("R_AARCH64_ABS64", 8),
    258: Howto("R_AARCH64_ABS32", 4, fits=fits_unsigned32),
    259: Howto("R_AARCH64_ABS16", 2, fits=fits_unsigned16),
    260: Howto("R_AARCH64_PREL64", 8, _PREL),
    261: Howto("R_AARCH64_PREL32", 4, _PREL, fits_signed32),
    262: Howto("R_AARCH64_PREL16", 2, _PREL, fits_signed16),
    263: _movw("UABS_G0", _ABS, 0, fits_unsigned16),
    264: _movw("UABS_G0_NC", _ABS, 0),
    265: _movw("UABS_G1", _ABS, 16, fits_unsigned16),
    266: _movw("UABS_G1_NC", _ABS, 16),
    267: _movw("UABS_G2", _ABS, 32, fits_unsigned16),
    268: _movw("UABS_G2_NC", _ABS, 32),
    269: _movw("UABS_G3", _ABS, 48),
    270: _movz_movn("SABS_G0", _ABS, 0),
    271: _movz_movn("SABS_G1", _ABS, 16),
    272: _movz_movn("SABS_G2", _ABS, 32),
    273: _signed("LD_PREL_LO19", _PREL, 2, 19, _IMM19),
    ADR: _signed("ADR_PREL_LO21", _PREL, 0, 21, *_IMM_ADR),
    ADRP: _signed("ADR_PREL_PG_HI21", _PAGE, 12, 21, *_IMM_ADR),
    ADRP_NC: _insn("ADR_PREL_PG_HI21_NC", _PAGE, 12, 21, *_IMM_ADR),
    277: _insn("ADD_ABS_LO12_NC", _ABS, 0, 12, _IMM12),
    278: _insn("LDST8_ABS_LO12_NC", _ABS, 0, 12, _IMM12),
    279: _signed("TSTBR14", _PREL, 2, 14, _IMM14),
    280: _signed("CONDBR19", _PREL, 2, 19, _IMM19),
    JUMP26: _signed("JUMP26", _PREL, 2, 26, _IMM26),
    CALL26: _signed("CALL26", _PREL, 2, 26, _IMM26),
    # an address within its page; the low bits that the access is aligned to are cut off, and nobody looks whether they were 0
    284: _insn("LDST16_ABS_LO12_NC", _ABS, 1, 11, _IMM12),
    285: _insn("LDST32_ABS_LO12_NC", _ABS, 2, 10, _IMM12),
    286: _insn("LDST64_ABS_LO12_NC", _ABS, 3, 9, _IMM12),
    287: _movz_movn("PREL_G0", _PREL, 0),
    288: _movw("PREL_G0_NC", _PREL, 0),
    289: _movz_movn("PREL_G1", _PREL, 16),
    290: _movw("PREL_G1_NC", _PREL, 16),
    291: _movz_movn("PREL_G2", _PREL, 32),
    292: _movw("PREL_G2_NC", _PREL, 32),
    293: _movz_movn("PREL_G3", _PREL, 48, checked=False),
    299: _insn("LDST128_ABS_LO12_NC", _ABS, 4, 8, _IMM12),
}


# -- s390x ----------------------------------------------------------------------------------------------------------------


def _unsigned(bits: int) -> Callable[[Number], Number]:
    return lambda value: value >> bits == 0


def _halfwords(bits: int) -> Callable[[Number], Number]:
    """A distance that is counted in halfwords: even, and signed in so many bits."""
    in_range = fits_signed(bits + 1)
    return lambda value: (value & 1 == 0) & in_range(value)


def _s390x(name: str, bits: int, formula: str = "S + A", signed: bool = False) -> Howto:
    """A field of apply_rela_bits(): so many bits, signed or not, at the width that the kernel writes."""
    fits = (fits_signed(bits) if signed else _unsigned(bits)) if bits < 64 else None
    if bits == 20:  # a long displacement stands in an instruction with its low 12 bits before its high 8
        return Howto(f"R_390_{name}", 4, formula, fits, 0x0FFFFF00, keep=bits, pieces=((16, 12), (8, 8)))
    return Howto(f"R_390_{name}", -(-bits // 8), formula, fits, 0x0FFF if bits == 12 else MASK64)


def _s390x_dbl(name: str, bits: int, formula: str) -> Howto:
    return Howto(f"R_390_{name}", bits // 8, formula, _halfwords(bits), shift=1, keep=bits, pieces=((0, bits),))


_GOT, _GOTENT, _PLT, _PLTOFF = "G + A", "GOT + G + A - P", "L + A - P", "L + A - GOT"
# R_390_COPY, GLOB_DAT, JMP_SLOT and RELATIVE (9 to 12) are known to the kernel and refused without a word.
HOWTO_S390X = {
    0: Howto("R_390_NONE", 0),
    1: _s390x("8", 8), 2: _s390x("12", 12), 3: _s390x("16", 16), 4: _s390x("32", 32),
    5: _s390x("PC32", 32, "S + A - P", signed=True),
    6: _s390x("GOT12", 12, _GOT), 7: _s390x("GOT32", 32, _GOT),
    8: _s390x("PLT32", 32, _PLT),
    13: _s390x("GOTOFF32", 32, "S + A - GOT"),
    14: _s390x("GOTPC", 32, "GOT + A - P", signed=True),
    15: _s390x("GOT16", 16, _GOT),
    16: _s390x("PC16", 16, "S + A - P", signed=True),
    17: _s390x_dbl("PC16DBL", 16, "S + A - P"), 18: _s390x_dbl("PLT16DBL", 16, _PLT),
    19: _s390x_dbl("PC32DBL", 32, "S + A - P"), 20: _s390x_dbl("PLT32DBL", 32, _PLT),
    21: _s390x_dbl("GOTPCDBL", 32, "GOT + A - P"),
    22: _s390x("64", 64), 23: _s390x("PC64", 64, "S + A - P"),
    24: _s390x("GOT64", 64, _GOT), 25: _s390x("PLT64", 64, _PLT),
    26: _s390x_dbl("GOTENT", 32, _GOTENT),
    27: _s390x("GOTOFF16", 16, "S + A - GOT"), 28: _s390x("GOTOFF64", 64, "S + A - GOT"),
    29: _s390x("GOTPLT12", 12, _GOT), 30: _s390x("GOTPLT16", 16, _GOT), 31: _s390x("GOTPLT32", 32, _GOT),
    32: _s390x("GOTPLT64", 64, _GOT), 33: _s390x_dbl("GOTPLTENT", 32, _GOTENT),
    34: _s390x("PLTOFF16", 16, _PLTOFF), 35: _s390x("PLTOFF32", 32, _PLTOFF), 36: _s390x("PLTOFF64", 64, _PLTOFF),
    57: _s390x("20", 20, signed=True),
    58: _s390x("GOT20", 20, _GOT, signed=True), 59: _s390x("GOTPLT20", 20, _GOT, signed=True),
}  # fmt: skip

# -- by e_machine ---------------------------------------------------------------------------------------------------------

HOWTO: Mapping[int, Mapping[int, Howto]] = {
    EM_X86_64: HOWTO_X86_64, EM_PPC64: HOWTO_PPC64LE, EM_AARCH64: HOWTO_ARM64, EM_S390: HOWTO_S390X,
}  # fmt: skip
# R_X86_64_64, R_PPC64_ADDR64, R_AARCH64_ABS64, R_390_64: the relocation of a pointer in data
POINTER_TYPE = {EM_X86_64: 1, EM_PPC64: 38, EM_AARCH64: 257, EM_S390: 22}
_ELFTOOLS = {
    EM_X86_64: ENUM_RELOC_TYPE_x64,
    EM_PPC64: {**ENUM_RELOC_TYPE_PPC64, "R_PPC64_ENTRY": ENTRY},
    EM_AARCH64: {
        **ENUM_RELOC_TYPE_AARCH64,
        "R_ARM_NONE": 0,
        "R_AARCH64_LDST128_ABS_LO12_NC": 299,
        "R_AARCH64_PLT32": 314,
    },
    EM_S390: ENUM_RELOC_TYPE_S390X,
}


_UNKNOWN_WIDTH = {EM_AARCH64: 4}  # all but the data relocations are for an instruction, and those are known


def width_of(machine: int, kind: int) -> int:
    """Bytes that a relocation of this type covers; of a type that the kernel does not know, an instruction or nothing."""
    return HOWTO[machine][kind].width if kind in HOWTO[machine] else _UNKNOWN_WIDTH.get(machine, 0)


@lru_cache
def type_widths(machine: int, unknown: int) -> Array:
    """The same for the first types as an array, with another number for those that the kernel does not know.

    The array has 256 entries, or, where the kernel knows greater numbers, one more than those.
    """
    known, numbers = HOWTO[machine], range(max(256, *(number + 2 for number in HOWTO[machine])))
    return np.array([width_of(machine, n) if n in known else unknown for n in numbers], "i8")


@lru_cache
def type_names(machine: int) -> Mapping[int, str]:
    """The psABI's names of all relocation types, also of those that the kernel does not know."""
    return {number: name for name, number in _ELFTOOLS[machine].items() if isinstance(number, int)}
