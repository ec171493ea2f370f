"""How the kernel writes and clears relocations of x86_64 (arch/x86/kernel/module.c)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ...files.elf_h import EM_X86_64
from ...files.relocation_types import HOWTO_X86_64, MASK64, Howto
from .. import messages
from ..image import Arch, Loading
from .fast import apply_x86_64


class Site(NamedTuple):
    """One entry of a relocation section: where it stands, its type, its place, S + A, and the value that belongs there.

    sec, idx: its section and its number there. loc, there: its place as address and bytes.
    """

    sec: int
    idx: int
    type: int
    howto: Howto
    loc: int
    there: memoryview
    sum: int
    value: int

    def write(self) -> None:
        self.there[:] = self.in_memory

    def named(self, val: int) -> dict[str, int]:
        """What a message about this entry may name; which of it is printed, each release decides."""
        return {"sec": self.sec, "idx": self.idx, "type": self.type, "loc": messages.Pointer(self.loc), "val": val}

    @property
    def in_memory(self) -> bytes:
        """The value as the bytes that it becomes: a field that is too short takes the lower ones."""
        return self.value.to_bytes(8, "little")[: self.howto.width]


def sites_of(me: Loading, relsec: int, skip_unknown: bool = False) -> Iterator[Site]:
    """The entries of a relocation section that stand for bytes. Errors: Refused at a type that the kernel does not know."""
    image = me.image
    target = int(image.file.shdrs["info"][relsec])
    place, memory = image.address[target], image.bytes_of(target).data
    for idx, (offset, kind, symbol, addend) in enumerate(image.file.rela(relsec).tolist()):
        howto = HOWTO_X86_64.get(kind)
        if howto is None:
            if skip_unknown:
                continue
            raise me.refuse(messages.UNKNOWN_RELA, type=kind)
        if howto.width:
            S, P = image.symbols.item(symbol), place + offset
            there = memory[offset : offset + howto.width]
            yield Site(relsec, idx, kind, howto, P, there, (S + addend) & MASK64, howto.value(S, addend, P))


def check_zero(me: Loading, site: Site, val: int) -> None:
    """The check of eda9cec4c9a1 (4.15): the place of a relocation holds zeros. val is what is printed."""
    # RELA entries carry their addend, so in the file there are zeros. Anything else meant a broken tool: kpatch-build had
    # once put relocations at wrong offsets, and without a check the kernel wrote into whatever stood there.
    #
    # For a livepatch it means something else, too. It stays in memory while a module that it patches goes and comes back,
    # and with it what was written into it for the first load: up to 6.2 nobody takes that back. The second load finds its
    # own old value here, and the module, not the livepatch, is refused. This is the bug of 2019 ("livepatch: Clear
    # relocation targets on a module removal"). The right value would be refused as well: nothing is compared.
    if me.rules.check_zero and any(site.there):
        raise me.refuse(me.rules.nonzero, **site.named(val))


def check_overflow(me: Loading, site: Site) -> None:
    if site.howto.fits and not site.howto.fits(site.value):
        me.log(me.rules.overflow(**site.named(site.value)))
        raise me.refuse(messages.NOT_MCMODEL)


class X86_64(Arch):
    """x86_64: one kind of memory access for everything."""

    name, machine = "x86_64", EM_X86_64
    page = 0x1000
    relocation_types = HOWTO_X86_64
    # MODULES_VADDR is that with CONFIG_RANDOMIZE_BASE; the kernel takes the first 2 MiB and a page (nokaslr).
    module_area, modules_start, modules_end = 0xFFFFFFFFC0000000, 0xFFFFFFFFC0201000, 0xFFFFFFFFFF000000
    kernel_text, temporary_image = 0xFFFFFFFF81000000, 0xFFFFC90000200000
    text_block = 0x200000  # PMD_SIZE: execmem_arch_setup()
    config = ("MODULE_SIG", "STRICT_MODULE_RWX", "RANDOMIZE_BASE")

    def apply_relocate_add(self, me: Loading, relsec: int) -> None:
        """Errors: Refused(-ENOEXEC) at the first bad entry. The order of the checks changed with bbb93362a445 (6.3)."""
        if apply_x86_64(me, relsec):
            return
        for site in sites_of(me, relsec):
            if me.rules.overflow_first:
                check_overflow(me, site)
                check_zero(me, site, site.value)
                site.write()
            else:  # up to 6.2: val is still S + A when the check complains
                check_zero(me, site, site.sum)
                site.write()
                check_overflow(me, site)

    def clear_relocate_add(self, me: Loading, relsec: int) -> None:
        """Write zeros where apply_relocate_add() wrote values.

        "checked" (0c05e7bd2d01, 6.3): only where the bytes are still what was written; a stranger's bytes stop it with a
        warning, and what follows in this section stays written. "unchecked" (the RFC of 2019): zeros, whatever is there.
        """
        checked = me.rules.clear == "checked"
        for site in sites_of(me, relsec, skip_unknown=me.rules.clear == "unchecked"):
            if checked:
                check_overflow(me, site)
                if site.there != site.in_memory:
                    raise me.refuse(me.rules.mismatch, **site.named(site.value))
            site.there[:] = bytes(site.howto.width)
