"""ppc64le as the loader sees it (arch/powerpc/kernel/module_64.c, ELF ABI v2)."""

from __future__ import annotations

from typing import Any

from ...files.elf_h import EM_PPC64
from ...files.module_file import ModuleFile
from ...files.relocation_types import HOWTO_PPC64LE, LD_TOC, NOP, REL24
from .. import messages
from ..errno import ENOENT, ENOEXEC, Refused
from ..image import Arch, Image, Label, Loading, Log, Resolve
from ..policy import Behaviour
from .fast import apply_ppc64le
from .frob import frob
from .ppc64le_section import Section, special_sections, stub_table
from .stubs import MPROFILE, STUB_SIZE


class Ppc64le(Arch):
    """ppc64le: pages of 64 KiB, one memory for code that init needs and code that stays, and the table of stubs."""

    name, machine = "ppc64le", EM_PPC64
    page = 0x10000
    relocation_types, call_type = HOWTO_PPC64LE, REL24
    nop, restore_r2, stub_size = NOP, LD_TOC, STUB_SIZE
    zero_sites = clears = False
    # VMALLOC_START (radix); the boot takes the first 0xe0000 bytes in the kernels that were recorded.
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

    def apply_relocate_add(self, me: Loading, relsec: int) -> None:
        section = Section(me, relsec)
        if not apply_ppc64le(section):
            section.apply()

    def clear_relocate_add(self, me: Loading, relsec: int) -> None:
        Section(me, relsec).clear()

    def module_finalize(self, me: Loading, resolve: Resolve) -> None:
        """A stub each for ftrace_caller and ftrace_regs_caller: module_finalize_ftrace(). Simplified: no feature fixups."""
        failed = False
        for function in MPROFILE[1:]:
            address = resolve(function)
            if address is not None:
                try:
                    stub_table(me.image).stub_for_addr(me, address, function)
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
