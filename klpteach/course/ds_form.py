"""One instruction word of ppc64le, cut into its fields: what the ppc64le report prints instead of a relocation type."""

from __future__ import annotations

from typing import NamedTuple

from ..views.table import Table

MNEMONICS = {(58, 0): "ld", (58, 1): "ldu", (58, 2): "lwa", (62, 0): "std", (62, 1): "stdu"}


class DSForm(NamedTuple):
    """The fields of a DS-form instruction. DS counts words of four bytes, and has a sign.

    Source: Power ISA v3.0B, 1.6.1.6 DS-form: opcode 6 bits, RT 5, RA 5, DS 14, XO 2.

    >>> DSForm.of(0xf8410018)
    DSForm(opcode=62, RT=2, RA=1, DS=6, XO=0)
    """

    opcode: int
    RT: int
    RA: int
    DS: int
    XO: int

    @classmethod
    def of(cls, word: int) -> DSForm:
        """Cut a 32-bit word into its fields."""
        ds = word >> 2 & 0x3FFF
        return cls(word >> 26, word >> 21 & 31, word >> 16 & 31, ds - 0x4000 if ds & 0x2000 else ds, word & 3)

    @property
    def word(self) -> int:
        """The fields put together again."""
        return self.opcode << 26 | self.RT << 21 | self.RA << 16 | (self.DS & 0x3FFF) << 2 | self.XO

    @property
    def text(self) -> str:
        """The instruction as objdump writes it; "" where opcode and XO are none of MNEMONICS."""
        name = MNEMONICS.get((self.opcode, self.XO))
        return f"{name} r{self.RT},{4 * self.DS}(r{self.RA})" if name else ""


def word_fields(word: int) -> Table:
    """The 32 bits of a DS-form word, field by field; to put the instruction together is left to the reader.

    >>> print(word_fields(0xf8410018))
    0xf8410018, from its highest bit to its lowest
    field   bits            value  says
    ...
    """
    found = DSForm.of(word)
    cut = [word >> 26, found.RT, found.RA, found.DS & 0x3FFF, found.XO]
    bits = [f"`{value:0{width}b}`" for value, width in zip(cut, (6, 5, 5, 14, 2), strict=True)]
    name = MNEMONICS.get((found.opcode, found.XO), "?")
    says = (
        "which family of instructions",
        f"the register that is {'stored' if name.startswith('st') else 'loaded'}",
        "the register with the address",
        "words of four bytes from there, with a sign",
        f"which of the family: {name}",
    )
    rows = [(field, b, str(v), s) for field, b, v, s in zip(DSForm._fields, bits, found, says, strict=True)]
    return Table(("field", "bits", "value", "says"), rows, f"`0x{word:08x}`, from its highest bit to its lowest")
