"""s390x as the loader sees it (arch/s390/kernel/module.c): big-endian, no check of what stands at a site, a GOT and a PLT."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from types import MappingProxyType
from typing import Any

from ...files.elf_h import EM_S390
from ...files.module_file import ModuleFile
from ...files.relocation_types import HOWTO_S390X
from .. import messages
from ..image import Arch, Array, Image, Label, Loading, Log
from ..policy import Behaviour
from .got import GOT_SLOT, GOT_TYPES, PLT_TYPES, frob, shown, slots_of, table_of
from .s390x_rela import IN_REACH, apply_at_once, apply_rela, branch, entries_of


class S390x(Arch):
    """s390x: nothing refuses a second load of a target, and the slots of a livepatch keep what the first one wrote."""

    name, machine = "s390x", EM_S390
    page = 0x1000
    relocation_types = HOWTO_S390X
    # Up to 6.9 below the kernel's 2 GiB at the end of the address space, less what the boot takes in the kernel that was recorded.
    module_area, modules_start, modules_end = 0x3FF60000000, 0x3FF7FF02000, 0x3FFE0000000
    kernel_text, temporary_image = 0x100000, 0x37FFF000000
    stub_size, stub_section, stub_words, stubs_behind = GOT_SLOT, "-", "GOT and PLT", 0
    slot_types = MappingProxyType({kind: HOWTO_S390X[kind] for kind in GOT_TYPES | PLT_TYPES})
    config = ("STRICT_MODULE_RWX", "EXPOLINE")

    def module_frob_arch_sections(self, file: ModuleFile, rules: Behaviour, log: Log) -> ModuleFile:
        return frob(file)

    def core_start(self, file: ModuleFile) -> int:
        return table_of(file).size

    def apply_relocate_add(self, me: Loading, relsec: int) -> None:
        """Errors: Refused(-ENOEXEC) at the first entry that does not fit or is of no known type."""
        # memcpy() while the module is unformed, s390_kernel_write() later, which writes into read-only memory too.
        slots, again = slots_of(me.image), me.rules.slots == "always" and me.image.formed
        if apply_at_once(me, relsec, slots, again):
            return
        for entry in entries_of(me, relsec):
            if entry.howto.width:
                apply_rela(me, entry, slots, again)

    def clear_relocate_add(self, me: Loading, relsec: int) -> None:
        """No kernel does this; s390 has the weak function, which does nothing.

        Proposal clear-got: the slots of the section's symbols count as empty. Proposal clear-relocations: every site gets
        the file's bytes back, which changes nothing: its value was right, and what is stale is in the slot.
        """
        file, target = me.file.on_disk, int(me.file.shdrs["info"][relsec])
        for entry in entries_of(me, relsec):
            if me.rules.slots == "reset":
                slots_of(me.image).forget(entry.symbol)
            if me.rules.clear != "no":
                start = entry.loc - me.image.address[target]
                entry.there[:] = file.bytes_at(target, start, entry.howto.width)

    def fault(self, what: str, address: int) -> messages.Line:
        return messages.POINTER_DEREFERENCE()

    def stubs(self, image: Image, file: ModuleFile, rules: Behaviour, label: Label) -> dict[str, Any] | None:
        return shown(file, slots_of(image).memory, label)

    def stub_slots(self, file: ModuleFile) -> int:
        return len(table_of(file).rows)

    def stub_bytes(self, file: ModuleFile) -> int:
        return table_of(file).size

    def stubs_in(self, memory: Array, slots: int, label: Label, file: ModuleFile | None = None) -> dict[str, Any]:
        assert file is not None
        return shown(file, memory, label)

    def old_slots(self, image: Image, file: ModuleFile, relsecs: Sequence[int]) -> list[tuple[str, int]]:
        """A PLT entry counts where a call goes through it: gcc's calls do not, a function of a module is always in reach."""
        slots, found = slots_of(image), dict[tuple[str, int], None]()
        for section in relsecs:
            target = int(file.shdrs["info"][section])
            for offset, kind, symbol, addend in file.rela(section).tolist():
                there = image.bytes_of(target)[offset : offset + HOWTO_S390X[kind].width].tobytes()
                direct = kind in IN_REACH and there == branch(
                    kind, image.address[target] + offset, image.symbols.item(symbol) + addend
                )
                if kind in self.slot_types and not direct:
                    value = slots.held("GOT" if kind in GOT_TYPES else "PLT", symbol)
                    if value != image.symbols.item(symbol):
                        found[file.symbol_names[symbol], value] = None
        return list(found)

    def left_behind(self, image: Image, rules: Behaviour) -> Hashable:
        """The slots of the GOT and the PLT, and which of them count as filled."""
        slots = slots_of(image)
        return frozenset(slots.filled), slots.memory[: slots.table.size].tobytes()
