"""Relocation types of ppc64le that the kernel accepts, and how it writes them (arch/powerpc/kernel/module_64.c, ELF ABI v2).

Only a call (REL24) looks at what was there: the word after it must be a nop, which becomes `ld r2,24(r1)`. Every other
type writes over what it finds. Types of kernels that are built without a TOC (REL24_NOTOC, PCREL34 and GOT_PCREL34, with
CONFIG_PPC_KERNEL_PCREL since 6.5) are unknown to the kernels that the course speaks of, as they are here.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ...files.elf import ModuleFile
from ...files.elf_h import EM_PPC64, SHN_ABS, SHN_LIVEPATCH, SHN_UNDEF
from ...files.relocation_types import (
    ENTRY,
    HOWTO,
    LD_TOC,
    LI_MASK,
    NOP,
    REL24,
    Howto,
    fits_call,
    is_relative_link_branch,
    local_entry_offset,
    signed,
)
from .. import messages
from ..errno import ENOENT, ENOEXEC, Refused
from . import fast as vectorised
from .base import MASK64, Arch, Label, Log, Resolve
from .frob import LoaderCopy, frob, last_section
from .stubs import MPROFILE, STUB_SIZE, StubTable, ha, oops

if TYPE_CHECKING:
    from ..image import Image
    from ..policy import Behaviour


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


class Section:
    """One relocation section that is being applied or cleared: where its target's bytes are, and the loop over its entries."""

    def __init__(self, image: Image, index: int, name: str, rules: Behaviour, log: Log) -> None:
        self.image, self.index, self.name, self.rules, self.log = image, index, name, rules, log
        self.target = int(image.file.shdrs["info"][index])
        region, self.start = image.layout.places[self.target]
        self.place, self.bytes = image.address[self.target], image.memory[region]
        self.memory = memoryview(self.bytes)  # type: ignore[arg-type]
        self.read_only = image.is_read_only(self.target)
        self.table: StubTable = stub_table(image)
        self.r2 = self.table.r2

    def entries(self) -> list[tuple[int, int, int, int]]:
        file = self.image.file
        assert isinstance(file, LoaderCopy)
        return file.rela_in_order(self.index).tolist()  # type: ignore[no-any-return]

    def word(self, offset: int, width: int = 4) -> int:
        """The word at an offset of the section; the one after its last is whatever lies behind. Errors: Oops."""
        at = self.start + offset
        if at + width > len(self.memory):
            raise oops(self.image.arch.fault("read", self.place + offset), self.log)
        return int.from_bytes(self.memory[at : at + width], "little")

    def put(self, offset: int, value: int, width: int = 4) -> None:
        at = self.start + offset
        self.memory[at : at + width] = value.to_bytes(8, "little")[:width]

    def store(self, offset: int, value: int, width: int) -> None:
        """A plain store; into text that is read-only by now it faults. Errors: Oops."""
        if self.read_only:
            raise oops(self.image.arch.fault("write", self.place + offset), self.log)
        self.put(offset, value, width)

    def refuse(self, message: messages.Message, **args: Any) -> Refused:
        self.log(message(module=self.name, **args))
        return Refused(ENOEXEC)

    # -- writing ------------------------------------------------------------------------------------------------------

    def apply(self) -> None:
        """Entry by entry, as the kernel does. Errors: Refused, Oops at the first bad one; what was written stays."""
        for offset, kind, symbol, addend in self.entries():
            howto = HOWTO.get(kind)
            if howto is None:
                raise self.refuse(messages.UNKNOWN_ADD, type=kind)
            if kind == REL24:
                self.call(offset, symbol, addend)
            elif kind == ENTRY:
                self.entry(offset)
            elif howto.width:
                self.write(howto, offset, self.image.symbols.item(symbol), addend)

    def write(self, howto: Howto, offset: int, address: int, addend: int) -> None:
        value = self.r2 if howto.name == "R_PPC64_TOC" else howto.value(address, addend, self.place + offset, self.r2)
        if howto.fits and howto.message and not howto.fits(value):
            raise self.refuse(howto.message, offset=signed(value), val=value)
        old = self.word(offset, howto.width) if howto.mask != MASK64 else 0
        self.store(offset, (old & ~howto.mask) | (value & howto.mask), howto.width)

    def call(self, offset: int, symbol: int, addend: int) -> None:
        """R_PPC_REL24: another module's function through a stub, an own one at its local entry point."""
        entry, file = self.image.file.symtab[symbol], self.image.file
        value = (self.image.symbols.item(symbol) + addend) & MASK64
        if entry["shndx"] in (SHN_UNDEF, SHN_LIVEPATCH):
            name = file.symbol_names[symbol]
            value = self.stub(offset, value, name, reuse=entry["shndx"] == SHN_LIVEPATCH)
            self.restore_r2(offset, name)
        else:
            value += local_entry_offset(int(entry["other"]))
        distance = (value - self.place - offset) & MASK64
        if not fits_call(distance):
            raise self.refuse(messages.REL24_RANGE, offset=signed(distance))
        self.put(offset, (self.word(offset) & ~LI_MASK) | (distance & LI_MASK))

    def stub(self, offset: int, addr: int, name: str, reuse: bool) -> int:
        if reuse and self.rules.stubs == "reuse":
            place = self.place + offset
            return self.table.reuse(self.word(offset), place, addr, name, self.name, self.rules, self.log)
        return self.table.stub_for_addr(addr, name, self.name, self.rules, self.log)

    def restore_r2(self, offset: int, name: str) -> None:
        """The function called has its own TOC: put ours back after the call. This check is the bug of 2019 on ppc64le."""
        if name in MPROFILE or not is_relative_link_branch(self.word(offset)):
            return
        after = self.word(offset + 4)
        if after == LD_TOC and self.rules.tolerate_r2:  # 37251c7114e1 (6.3)
            return
        if after != NOP:
            where = messages.Symbolic(self.place + offset + 4)
            raise self.refuse(messages.EXPECTED_NOP, insn=after, where=where)
        self.put(offset + 4, LD_TOC)

    def entry(self, offset: int) -> None:
        """R_PPC64_ENTRY: `ld r2,…(r12); add r2,r2,r12` becomes `addis r2,r12,…@ha; addi r2,r2,…@l` if the TOC is near."""
        value = (self.r2 - self.place - offset) & MASK64
        if (value + 0x80008000) & MASK64 > 0xFFFFFFFF:
            return
        if self.word(offset) & ~0xFFFC == 0xE84C0000 and self.word(offset + 4) == 0x7C426214:
            self.store(offset, 0x3C4C0000 | ha(value), 4)
            self.store(offset + 4, 0x38420000 | (value & 0xFFFF), 4)

    # -- taking back: no kernel does this; the proposal clear-relocations, as the RFC of 2019 wanted it ------------------

    def clear(self) -> None:
        """Give the file's bytes back; stubs stay. A type that a livepatch has no business with is named and left."""
        for offset, kind, _, _ in self.entries():
            if kind == REL24:
                word = self.word(offset)
                if is_relative_link_branch(word) and self.word(offset + 4) == LD_TOC:
                    self.put(offset + 4, NOP)
                self.put(offset, word & ~LI_MASK)
            elif kind in (1, 38):
                self.store(offset, 0, HOWTO[kind].width)
            else:
                self.log(messages.CANNOT_CLEAR(module=self.name, type=kind))


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


class Ppc64le(Arch):
    """ppc64le: pages of 64 KiB, one memory for code that init needs and code that stays, and the table of stubs."""

    name, machine = "ppc64le", EM_PPC64
    page = 0x10000
    relocation_types, call_type = HOWTO, REL24
    nop, restore_r2, stub_size = NOP, LD_TOC, STUB_SIZE
    zero_sites = clears = False
    # VMALLOC_START is 0xc008000000000000 (radix); the boot takes the first 0xe0000 bytes in the kernels that were recorded.
    module_area, modules_start, modules_end = 0xC008000000000000, 0xC0080000000E0000, 0xC009000000000000
    kernel_text, temporary_image = 0xC000000000000000, 0xC0080000000C0000
    shares_vmalloc = True
    config = ("STRICT_MODULE_RWX", "MPROFILE_KERNEL", "PPC_64K_PAGES")
    site_width = 8  # the call and the word after it

    def module_frob_arch_sections(self, file: ModuleFile, rules: Behaviour, log: Log) -> ModuleFile:
        if ".stubs" not in file.section_names[1:]:
            log(messages.NO_STUBS(module=file.name))
            raise Refused(ENOEXEC)
        return frob(file, rules.separate_memory, 0 if rules.stubs == "count" else 1)

    def module_init_section(self, name: str) -> bool:
        return False  # code in .init.text would need an r2 of its own

    def apply_relocate_add(self, image: Image, index: int, name: str, rules: Behaviour, log: Log) -> None:
        section = Section(image, index, name, rules, log)
        if not vectorised.apply(section):
            section.apply()

    def clear_relocate_add(self, image: Image, index: int, name: str, rules: Behaviour, log: Log) -> None:
        Section(image, index, name, rules, log).clear()

    def module_finalize(self, image: Image, name: str, rules: Behaviour, resolve: Resolve, log: Log) -> None:
        """A stub each for ftrace_caller and ftrace_regs_caller: module_finalize_ftrace(). Simplified: no feature fixups."""
        failed = False
        for function in MPROFILE[1:]:
            address = resolve(function)
            if address is not None:
                try:
                    stub_table(image).stub_for_addr(address, function, name, rules, log)
                except Refused:
                    failed = True
        if failed:
            raise Refused(ENOENT)

    def fault(self, what: str, address: int) -> messages.Line:
        return messages.DATA_ACCESS(what=what, address=address)

    def stubs(self, image: Image, file: ModuleFile, rules: Behaviour, label: Label) -> dict[str, Any] | None:
        copy = self.module_frob_arch_sections(file, rules, lambda line: None)
        slots = int(copy.shdrs["size"][special_sections(copy)[0]]) // STUB_SIZE
        return stub_table(image).shown(slots, label)
