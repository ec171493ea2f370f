"""One relocation section of ppc64le, entry by entry: apply_relocate_add() of arch/powerpc/kernel/module_64.c.

Only a call (REL24) looks at what was there: the word after it must be a nop, which becomes `ld r2,24(r1)`. Every other
type writes over what it finds. Types of kernels that are built without a TOC (REL24_NOTOC, PCREL34 and GOT_PCREL34, with
CONFIG_PPC_KERNEL_PCREL since 6.5) are unknown to the kernels that the course speaks of, as they are here.
"""

from __future__ import annotations

from functools import lru_cache

from ...files import relocation_types as reloc
from ...files.elf_h import SHN_ABS, SHN_LIVEPATCH, SHN_UNDEF
from ...files.module_file import ModuleFile
from ...files.relocation_types import HOWTO_PPC64LE, LD_TOC, LI_MASK, MASK64, NOP, REL24
from .. import messages
from ..image import Image, Loading
from .frob import LoaderCopy, last_section
from .stubs import MPROFILE, Call, StubTable, ha

TOO_FAR = {  # what is said where the value does not fit
    REL24: messages.REL24_RANGE,
    26: messages.REL32_RANGE,
    47: messages.BAD_TOC16,
    63: messages.BAD_TOC16_DS,
    64: messages.BAD_TOC16_LO_DS,
}


@lru_cache(maxsize=64)
def special_sections(file: ModuleFile) -> tuple[int, int]:
    """Indices of .stubs and of .toc; .stubs twice where there is no .toc."""
    stubs = last_section(file, ".stubs")
    return stubs, last_section(file, ".toc") if ".toc" in file.section_names else stubs


@lru_cache(maxsize=64)
def find_dot_toc(file: ModuleFile) -> int | None:
    """Index of the symbol .TOC., whose dot dedotify() has taken."""
    absolute = zip(file.symbol_names, file.symtab["shndx"].tolist(), strict=True)
    return next((i for i, (name, section) in enumerate(absolute) if section == SHN_ABS and name == "TOC."), None)


def stub_table(image: Image) -> StubTable:
    """The module's table, made at the first use; .TOC. gets its value then, as in the kernel."""
    if image.stub_table is None:
        stubs, toc = special_sections(image.file)
        r2 = (image.address[toc] & ~0xFF) + 0x8000
        image.stub_table = StubTable(image, stubs, r2)
        symbol = find_dot_toc(image.file)
        if symbol is not None:
            image.symbols[symbol] = r2
    table: StubTable = image.stub_table
    return table


def signed(value: int) -> int:
    """A 64-bit number as %li prints it.

    >>> signed(0xffff_ffff_ffff_fff8), signed(1 << 63) == -(1 << 63), signed(8)
    (-8, True, 8)
    """
    return value - (1 << 64) if value >> 63 else value


def is_relative_link_branch(word: int) -> bool:
    """bl and its conditional forms: instr_is_relative_link_branch()."""
    return word >> 26 in (16, 18) and word & 3 == 1


class Section:
    """A relocation section that is being applied or cleared: where its target's bytes are, and the loop over its entries."""

    def __init__(self, me: Loading, relsec: int) -> None:
        self.me, self.image, self.file, self.rules, self.relsec = me, me.image, me.file, me.rules, relsec
        target = int(self.file.shdrs["info"][relsec])
        region, self.start = self.image.layout.places.get(target, ("", 0))
        self.place = self.image.address[target]
        self.bytes = self.image.memory[region] if region else self.image.bytes_of(target)  # per-CPU data
        self.memory = self.bytes.data
        self.read_only = self.image.is_read_only(target)
        self.table = stub_table(self.image)
        self.r2 = self.table.r2

    def entries(self) -> list[tuple[int, int, int, int]]:
        assert isinstance(self.file, LoaderCopy)
        rows: list[tuple[int, int, int, int]] = self.file.rela_in_order(self.relsec).tolist()
        return rows

    def word(self, offset: int, width: int = 4) -> int:
        """The word at an offset of the section; the one after its last is whatever lies behind. Errors: Oops."""
        at = self.start + offset
        if at + width > len(self.memory):
            raise self.me.oops("read", self.place + offset)
        return int.from_bytes(self.memory[at : at + width], "little")

    def put(self, offset: int, value: int, width: int = 4) -> None:
        """patch_instruction(): it writes into text, too."""
        at = self.start + offset
        self.memory[at : at + width] = value.to_bytes(8, "little")[:width]

    def store(self, offset: int, value: int, width: int) -> None:
        """A plain store; into text that is read-only by now it faults. Errors: Oops."""
        if self.read_only:
            raise self.me.oops("write", self.place + offset)
        self.put(offset, value, width)

    def apply(self) -> None:
        """Entry by entry, as the kernel does. Errors: Refused, Oops at the first bad one; what was written stays."""
        for offset, kind, symbol, addend in self.entries():
            howto = HOWTO_PPC64LE.get(kind)
            if howto is None:
                raise self.me.refuse(messages.UNKNOWN_ADD, type=kind)
            if kind == REL24:
                self.call(offset, symbol, addend)
            elif kind == reloc.ENTRY:
                self.entry(offset)
            elif howto.width:
                value = howto.value(self.image.symbols.item(symbol), addend, self.place + offset, self.r2)
                self.write(kind, howto, offset, value)

    def write(self, kind: int, howto: reloc.Howto, offset: int, value: int) -> None:
        if howto.fits and not howto.fits(value):
            raise self.me.refuse(TOO_FAR[kind], offset=signed(value), val=value)
        old = self.word(offset, howto.width) if howto.mask != MASK64 else 0
        self.store(offset, (old & ~howto.mask) | (value & howto.mask), howto.width)

    def call(self, offset: int, symbol: int, addend: int) -> None:
        """R_PPC_REL24: another module's function through a stub, an own one at its local entry point."""
        shndx, other = (int(self.file.symtab[field][symbol]) for field in ("shndx", "other"))
        value = (self.image.symbols.item(symbol) + addend) & MASK64
        if shndx in (SHN_UNDEF, SHN_LIVEPATCH):
            call = Call(self.place + offset, self.word(offset), self.file.symbol_names[symbol])
            if shndx == SHN_LIVEPATCH and self.rules.stubs == "reuse":
                value = self.table.reuse(self.me, call, value)
            else:
                value = self.table.stub_for_addr(self.me, value, call.name)
            self.restore_r2(offset, call)
        else:
            value += reloc.local_entry_offset(other)
        distance = (value - self.place - offset) & MASK64
        if not reloc.fits_call(distance):
            raise self.me.refuse(TOO_FAR[REL24], offset=signed(distance))
        self.put(offset, (self.word(offset) & ~LI_MASK) | (distance & LI_MASK))

    def restore_r2(self, offset: int, call: Call) -> None:
        """The function called has its own TOC: put ours back after the call."""
        # The bug of 2019 in its other dress. A compiler leaves a nop after a call out of the module, and the loader turns it
        # into `ld r2,24(r1)`. In a livepatch that stayed loaded while its target was away, that has been done already: the
        # second load of the target finds no nop there and is refused. 6.3 takes the restored r2 for done (37251c7114e1),
        # but takes nothing back when the target goes: the stub stays, and a load at another address takes another one.
        if call.name in MPROFILE or not is_relative_link_branch(self.word(offset)):
            return
        after = self.word(offset + 4)
        if after == LD_TOC and self.rules.tolerate_r2:
            return
        if after != NOP:
            raise self.me.refuse(messages.EXPECTED_NOP, insn=after, where=messages.Symbolic(call.place + 4))
        self.put(offset + 4, LD_TOC)

    def entry(self, offset: int) -> None:
        """R_PPC64_ENTRY: `ld r2,…(r12); add r2,r2,r12` becomes `addis r2,r12,…@ha; addi r2,r2,…@l` if the TOC is near."""
        value = (self.r2 - self.place - offset) & MASK64
        if (value + 0x80008000) & MASK64 > 0xFFFFFFFF:
            return
        if self.word(offset) & ~0xFFFC == 0xE84C0000 and self.word(offset + 4) == 0x7C426214:
            self.store(offset, 0x3C4C0000 | ha(value), 4)
            self.store(offset + 4, 0x38420000 | (value & 0xFFFF), 4)

    def clear(self) -> None:
        """Give the file's bytes back; stubs stay. A type that a livepatch has no business with is named and left.

        No kernel does this: the proposal clear-relocations, as the RFC of 2019 wanted it.
        """
        for offset, kind, _, _ in self.entries():
            if kind == REL24:
                word = self.word(offset)
                if is_relative_link_branch(word) and self.word(offset + 4) == LD_TOC:
                    self.put(offset + 4, NOP)
                self.put(offset, word & ~LI_MASK)
            elif kind in (1, 38):
                self.store(offset, 0, HOWTO_PPC64LE[kind].width)
            else:
                self.me.refuse(messages.CANNOT_CLEAR, type=kind)  # it returns nothing, so nobody hears of it
