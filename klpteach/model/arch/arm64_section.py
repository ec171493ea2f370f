"""One relocation section of arm64, entry by entry: apply_relocate_add() of arch/arm64/kernel/module.c.

Nothing is compared with what stood there. A field of an instruction is cleared and set, so a second application over the
first gives the same as one over the file's bytes. It is written first and tested for overflow then.
"""

from __future__ import annotations

from ...files import relocation_types as reloc
from ...files.relocation_types import HOWTO_ARM64, MASK64, Howto
from .. import messages
from ..image import Image, Loading
from .arm64_plt import ADRP_X0, INIT_PLT, PLT, PltTable, branch, is_forbidden


def plt_tables(image: Image) -> dict[str, PltTable]:
    """The module's two tables by section name, made at the first use."""
    if image.stub_table is None:
        image.stub_table = {name: PltTable(image, name) for name in (PLT, INIT_PLT)}
    tables: dict[str, PltTable] = image.stub_table
    return tables


class Section:
    """A relocation section that is being applied or cleared: where its target's bytes are, and the loop over its entries."""

    def __init__(self, me: Loading, relsec: int) -> None:
        self.me, self.image, self.file, self.relsec = me, me.image, me.file, relsec
        self.target = int(self.file.shdrs["info"][relsec])
        self.place, self.memory = self.image.address[self.target], self.image.bytes_of(self.target).data
        name = self.file.section_names[self.target]
        self.table = plt_tables(self.image)[INIT_PLT if name.startswith(".init") else PLT]

    def read(self, offset: int, width: int) -> int:
        return int.from_bytes(self.memory[offset : offset + width], "little")

    def write(self, offset: int, value: int, width: int) -> None:
        """WRITE_PLACE(): a plain store while the module is unformed, later through an alias, which text and rodata allow.

        The alias is for instructions: at an address that is no multiple of 4 aarch64_insn_copy() writes nothing and returns
        NULL, and nobody looks. So a pointer in a packed structure keeps what the file has, and the load succeeds.
        """
        if not self.image.formed or (self.place + offset) & 3 == 0:
            self.memory[offset : offset + width] = value.to_bytes(width, "little")

    def put(self, howto: Howto, offset: int, value: int) -> bool:
        """Write a value into its field, and say whether it has fitted."""
        self.write(offset, howto.stored(self.read(offset, howto.width), value), howto.width)
        return howto.fits is None or bool(howto.fits(value))

    def apply(self) -> None:
        """Errors: Refused, Oops at the first bad entry; that one is written, too."""
        for offset, kind, symbol, addend in self.file.rela(self.relsec).tolist():
            howto = HOWTO_ARM64.get(kind)
            if howto is None:
                raise self.me.refuse(messages.UNSUPPORTED_RELA, type=kind)
            if not howto.width:
                continue
            S = self.image.symbols.item(symbol)
            value, P = howto.value(S, addend, self.place + offset), self.place + offset
            if kind in (reloc.ADRP, reloc.ADRP_NC) and is_forbidden(self.me, P):
                self.adrp_at_the_end(offset, (S + addend) & MASK64 & ~0xFFF)
            elif not self.put(howto, offset, value):
                to = S + addend & MASK64
                if kind in (reloc.JUMP26, reloc.CALL26):
                    to = self.table.emit_entry(self.me, to, P)
                    if self.put(howto, offset, howto.value(to, 0, P)):
                        continue
                raise self.me.refuse(messages.OVERFLOW_ARM64, type=kind, val=to)

    def adrp_at_the_end(self, offset: int, page: int) -> None:
        """Erratum 843419: an adrp in the last words of a page becomes an adr, or a branch to a veneer that does the same."""
        adr, P = HOWTO_ARM64[reloc.ADR], self.place + offset
        if (register := self.table.register_of(self.me, P)) is not None:
            self.write(offset, ADRP_X0 | register, 4)  # a branch to the veneer stands there, which has no register
        if self.put(adr, offset, adr.value(page, 0, P)):
            word = self.read(offset, 4) & ~(1 << 31)
        else:
            word = branch(self.table.emit_veneer(self.me, P, self.read(offset, 4), page), P)
        self.write(offset, word, 4)

    def clear(self) -> None:
        """Give the file's bytes back; entries of .plt stay.

        No kernel does this: the proposal clear-relocations, as the RFC of 2019 wanted it, on arm64.
        """
        for offset, kind, _, _ in self.file.rela(self.relsec).tolist():
            if width := reloc.width_of(self.file.machine, kind):
                on_disk = self.file.bytes_at(self.target, offset, width)
                self.write(offset, int.from_bytes(on_disk, "little"), width)
