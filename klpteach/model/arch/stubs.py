"""The table of call stubs of a ppc64le module: .stubs (arch/powerpc/kernel/module_64.c, struct ppc64_stub_entry).

A `bl` reaches 32 MiB; the kernel and other modules are further away, so a call out of a module goes to a stub that holds
the whole address. The table is as long as one load needs. Nothing in it is ever freed.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np

from ...files.relocation_types import LI_MASK, MASK64
from .. import messages
from ..errno import ENOENT, Refused
from ..image import Array, Image, Loading

STUB_SIZE, FUNCDATA, MAGIC = 40, 32, 0x73747562  # sizeof, offsetof(funcdata), "stub"
# addis r11,r2,hi; addi r11,r11,lo; std r2,24(r1); ld r12,32(r11); mtctr r12; bctr
STUB_INSNS = (0x3D620000, 0x396B0000, 0xF8410018, 0xE98B0020, 0x7D8903A6, 0x4E800420)
# ld r12,16(r13); addis r12,r12,hi; addi r12,r12,lo; mtctr r12; bctr: the kernel's TOC comes from the PACA
FTRACE_INSNS = (0xE98D0010, 0x3D8C0000, 0x398C0000, 0x7D8903A6, 0x4E800420)
MPROFILE = ("_mcount", "ftrace_caller", "ftrace_regs_caller")  # is_mprofile_ftrace_call()
KERNEL_TOC = 0xC000000000488000  # that of the 6.1 kernel that was recorded; no module file tells, so it decides nothing
WARNED_AT = {  # where the kernels that were recorded warned
    "6.1": "arch/powerpc/kernel/module_64.c:477 stub_for_addr+0xac/0x390",
    "6.12": "arch/powerpc/kernel/module_64.c:679 stub_for_addr+0xcc/0x3c8",
    "7.3": "arch/powerpc/kernel/module_64.c:708 at stub_for_addr+0xd8/0x420",
}


class Call(NamedTuple):
    """A call site: its address, the word that stands there, and the name of the function to be called."""

    place: int
    word: int
    name: str


def ha(value: int) -> int:
    """PPC_HA(): the upper half of 32 bits, adjusted for the sign of the lower.

    >>> hex(ha(0x18000)), hex(ha(-0x8000 & MASK64))
    ('0x2', '0x0')
    """
    return ((value + 0x8000) >> 16) & 0xFFFF


class StubTable:
    """.stubs of one module in memory: `slots` entries from `address`; the bytes are those of its region.

    used counts created stubs, which only a kernel with stubs="count" does.
    """

    def __init__(self, image: Image, index: int, r2: int) -> None:
        region, self.offset = image.layout.places.get(index, ("", 0))
        self.slots = int(image.file.shdrs["size"][index]) // STUB_SIZE
        # Without SHF_ALLOC the table would stand in the temporary copy of the file.
        self.memory = image.memory[region] if region else np.zeros((self.slots + 1) * STUB_SIZE, "u1")
        self.address, self.r2, self.used = image.address[index], r2, 0

    @property
    def funcdata(self) -> Array:
        """The funcdata field of every slot from the first to the end of the mapping: what the kernel's search reads."""
        count = max((len(self.memory) - self.offset) // STUB_SIZE, 0)
        return np.ndarray((count,), "<u8", self.memory, self.offset + FUNCDATA, (STUB_SIZE,))

    def at(self, slot: int) -> int:
        """A slot's address."""
        return self.address + slot * STUB_SIZE

    def stub_for_addr(self, me: Loading, addr: int, name: str) -> int:
        """Find the stub for an address, or make one in the next free slot; the stub's address.

        Errors: Refused(-ENOENT) after a WARNING when the table is full; Oops where the search leaves the mapping.
        """
        slot, found = self._count(me, addr) if me.rules.stubs == "count" else self._search(me, addr)
        if not found:
            self.create_stub(me, slot, addr, name)
        return self.at(slot)

    def _search(self, me: Loading, addr: int) -> tuple[int, bool]:
        """The first slot with that address (True), or with none (False)."""
        # for (i = 0; stub_func_addr(stubs[i].funcdata); i++) {
        #         if (WARN_ON(i >= num_stubs)) return 0;
        #
        # The bound is looked at inside the loop, and the loop ends at the first free slot. So with the table full and zeros
        # behind it, the search ends one slot further on, without a warning, and the stub is made there, over whatever the
        # linker put behind .stubs. The next search for a new address finds that slot taken and warns; so does one for the
        # very address that stands in it, since the bound comes before the comparison. Where a page ends with the table,
        # reading the slot behind it is an oops (story edge).
        funcdata = self.funcdata
        hits = np.flatnonzero((funcdata == 0) | (funcdata == np.uint64(addr)))
        slot = int(hits[0]) if len(hits) else len(funcdata)
        if slot < self.slots:
            return slot, bool(funcdata[slot])
        self._must_be_mapped(me, self.slots, "read")
        if funcdata[self.slots]:
            self._warn(me)
        return self.slots, False

    def _count(self, me: Loading, addr: int) -> tuple[int, bool]:
        """The first of the used slots with that address (True), else the next one (False)."""
        hits = np.flatnonzero(self.funcdata[: min(self.used, self.slots)] == np.uint64(addr))
        if len(hits):
            return int(hits[0]), True
        if self.used > self.slots:
            self._warn(me)
        self._must_be_mapped(me, self.used, "write")
        self.used += 1
        return self.used - 1, False

    def reuse(self, me: Loading, call: Call, addr: int) -> int:
        """Proposal reuse-stub: a stub with that address; else the call's own stub, pointed elsewhere; else a new one."""
        funcdata = self.funcdata[: self.slots]
        hits = np.flatnonzero((funcdata == 0) | (funcdata == np.uint64(addr)))
        if len(hits) and addr and funcdata[hits[0]] == addr:
            return self.at(int(hits[0]))
        slot, rest = divmod((call.place + branch_offset(call.word) - self.address) & MASK64, STUB_SIZE)
        if slot < self.slots and not rest:
            self.create_stub(me, slot, addr, call.name)
            return self.at(slot)
        return self.stub_for_addr(me, addr, call.name)

    def create_stub(self, me: Loading, slot: int, addr: int, name: str) -> None:
        """Write a slot: the code, the magic, the address. Errors: Refused(-ENOENT) where r2 is too far away."""
        if name in MPROFILE:
            distance, words, first = (addr - KERNEL_TOC) & MASK64, list(FTRACE_INSNS), 1
        else:
            distance, words, first = (self.at(slot) - self.r2) & MASK64, list(STUB_INSNS), 0
            if (distance + 0x80000000) & MASK64 > 0xFFFFFFFF:
                loc, toc = messages.Pointer(distance), messages.Pointer(self.r2)
                raise me.refuse(messages.STUB_RANGE, ENOENT, loc=loc, toc=toc)
        words[first] |= ha(distance)
        words[first + 1] |= distance & 0xFFFF
        at = self.offset + slot * STUB_SIZE
        self.memory[at : at + 4 * len(words)] = np.array(words, "<u4").view("u1")
        self.memory[at + 28 : at + STUB_SIZE] = np.frombuffer(struct.pack("<IQ", MAGIC, addr), "u1")

    def _must_be_mapped(self, me: Loading, slot: int, what: str) -> None:
        if slot >= len(self.funcdata):
            raise me.oops(what, self.at(slot) + FUNCDATA)

    def _warn(self, me: Loading) -> None:
        """WARN_ON(i >= num_stubs), then -ENOENT. Simplified: registers and call trace between the lines are left out."""
        me.log(messages.CUT_HERE())
        where = WARNED_AT.get(me.rules.release, WARNED_AT["6.1"])
        me.log(me.rules.stub_warning(stub=where, cpu=0, comm="init", pid=1))
        me.log(messages.END_TRACE())
        raise Refused(ENOENT)


def branch_offset(word: int) -> int:
    """The signed distance in an I-form branch.

    >>> branch_offset(0x48000169), branch_offset(0x4bfffffd)
    (360, -4)
    """
    offset = word & LI_MASK
    return offset - 0x04000000 if offset & 0x02000000 else offset
