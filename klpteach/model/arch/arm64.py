"""arm64 as the loader sees it (arch/arm64/kernel/module.c, module-plts.c; livepatch since 6.17)."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np

from ...files.elf_h import EM_AARCH64
from ...files.module_file import ModuleFile
from ...files.relocation_types import CALL26, HOWTO_ARM64, JUMP26, MASK64
from .. import messages
from ..errno import ENOEXEC, Refused
from ..image import Arch, Array, Image, Label, Loading, Log, Resolve, StubsSeen
from ..policy import Behaviour
from .arm64_plt import INIT_PLT, PLT, PLT_SIZE, TRAMPOLINES, PltCopy, entry_target, frob, get_plt_entry, plt_section
from .arm64_section import Section, plt_tables


class Arm64(Arch):
    """arm64: instructions that hold 12, 19, 21 or 26 bits of an address, and a PLT for what is too far away."""

    name, machine = "arm64", EM_AARCH64
    page = 0x1000
    relocation_types, call_types = HOWTO_ARM64, (CALL26, JUMP26)
    own_sections = (PLT, INIT_PLT, *TRAMPOLINES)
    stub_size, stubs_behind, stub_section, stub_words = PLT_SIZE, 4, PLT, PLT
    call_behind_entry = 12  # two nops before the function, one in it (and another where it begins with bti)
    late_alignment = 4  # aarch64_insn_copy()
    zero_sites, tells_the_wreck = False, True
    # The kernel's text is at KIMAGE_VADDR (nokaslr). Modules take the first hole in the 128 MiB before the end of its image,
    # which a branch reaches, and only where there is none in the 2 GiB before it (module_init_limits()). The end is that of
    # the 7.3 kernel that was recorded.
    kernel_size = 1 << 22  # all of it in reach of a branch from modules_start on
    kernel_text, temporary_image = 0xFFFF800080000000, 0xFFFF8000806B3000
    module_area, modules_start, modules_end = 0xFFFF800000000000, 0xFFFF8000786B0000, 0xFFFF800080000000
    modules_far = 0xFFFF8000006B0000
    config = ("STRICT_MODULE_RWX", "RANDOMIZE_BASE", "RANDOMIZE_MODULE_REGION_FULL", "ARM64_ERRATUM_843419")

    def module_frob_arch_sections(self, file: ModuleFile, rules: Behaviour, log: Log) -> ModuleFile:
        if not {PLT, INIT_PLT} <= set(file.section_names[1:]):
            log(messages.NO_PLT(module=file.name))
            raise Refused(ENOEXEC)
        return frob(file, rules.erratum_843419)

    def apply_relocate_add(self, me: Loading, relsec: int) -> None:
        Section(me, relsec).apply()

    def clear_relocate_add(self, me: Loading, relsec: int) -> None:
        Section(me, relsec).clear()

    def module_finalize(self, me: Loading, resolve: Resolve) -> None:
        """An entry for ftrace_caller in each trampoline section: module_init_ftrace_plt(). Simplified: no alternatives."""
        image, to = me.image, resolve("ftrace_caller")
        for name in TRAMPOLINES:
            if name not in image.file.section_names:
                raise Refused(ENOEXEC)
            section = plt_section(image.file, name)
            if to is not None:
                image.bytes_of(section)[:] = np.frombuffer(get_plt_entry(to, image.address[section]), "u1")

    def fault(self, what: str, address: int) -> messages.Line:
        return messages.READ_ONLY(address=address) if what == "write" else messages.NO_PAGING(address=address)

    # -- the table that a recorder looks at -------------------------------------------------------------------------------

    def stubs(self, image: Image, file: ModuleFile, rules: Behaviour, label: Label) -> dict[str, Any] | None:
        copy, table = self.module_frob_arch_sections(file, rules, lambda line: None), plt_tables(image)[PLT]
        return self.stubs_in(table.memory[table.offset :], self.stub_slots(copy), label)

    def stub_slots(self, file: ModuleFile) -> int:
        """The counted entries and the spare one."""
        assert isinstance(file, PltCopy)
        return file.max_entries[PLT] + 1

    def stubs_in(self, memory: Array, slots: int, label: Label, file: ModuleFile | None = None) -> dict[str, Any]:
        count = min(len(memory) // PLT_SIZE, slots + self.stubs_behind)
        body = memory[: count * PLT_SIZE].tobytes()
        entries = [body[at : at + PLT_SIZE].hex() for at in range(0, len(body), PLT_SIZE)]
        return {"max_entries": slots - 1, "entries": entries}

    def stubs_seen(self, table: Mapping[str, Any], address: int) -> StubsSeen:
        """Behind the end only what leads to a module: the entry there for ftrace_caller is in its place."""
        slots, found = table["max_entries"] + 1, list[tuple[int, int, str]]()
        for index, entry in enumerate(map(bytes.fromhex, table["entries"])):
            target = entry_target(entry, address + PLT_SIZE * index) or 0
            if index < slots or (target and not self.is_kernel(target)):
                found.append((index, target, ""))
        return StubsSeen(slots, sum(target > 0 for index, target, _ in found if index < slots), found)

    def branch_target(self, word: int, address: int) -> int | None:
        """Of a `b` or `bl`.

        >>> hex(Arm64().branch_target(0x97ffe7f5, 0xffff8000786b604c)), Arm64().branch_target(0xd503201f, 0)
        ('0xffff8000786b0020', None)
        """
        offset = (word & 0x3FFFFFF) - (word >> 25 & 1) * (1 << 26)
        return (address + 4 * offset) & MASK64 if word & 0x7C000000 == 0x14000000 else None

    def kernel_symbols(self, table: Mapping[str, Any], sections: Mapping[str, int]) -> dict[str, int]:
        """ftrace_caller, to which the trampoline behind .plt leads."""
        start, behind = sections.get(PLT, 0), sections.get(TRAMPOLINES[0], 0)
        index, rest = divmod(behind - start, PLT_SIZE)
        if not start or rest or not 0 <= index < len(table["entries"]):
            return {}
        target = entry_target(bytes.fromhex(table["entries"][index]), behind)
        return {"ftrace_caller": target} if target else {}

    def is_kernel(self, address: int) -> bool:
        return address >= self.modules_end

    def left_behind(self, image: Image, rules: Behaviour) -> Hashable:
        """How far each table is used, and the entry that the next one is compared with: a late call adds to them."""
        tables = plt_tables(image).values()
        if rules.plt_keep:  # then a site has its entry, or takes a new one
            return tuple((table.used, frozenset(table.kept.items())) for table in tables)
        return tuple((table.used, table.last) for table in tables)
