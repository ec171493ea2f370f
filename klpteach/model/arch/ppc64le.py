"""ppc64le as the loader sees it (arch/powerpc/kernel/module_64.c, ELF ABI v2)."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from ...files.elf_h import EM_PPC64
from ...files.klp import placed_sites
from ...files.module_file import ModuleFile
from ...files.relocation_types import HOWTO_PPC64LE, LD_TOC, LI_MASK, MASK64, NOP, REL24
from .. import messages
from ..errno import ENOENT, ENOEXEC, Refused
from ..image import Arch, Array, Image, Label, Loading, Log, Resolve
from ..policy import Behaviour
from .fast import apply_ppc64le
from .frob import frob
from .ppc64le_section import Section, special_sections, stub_table
from .stubs import FUNCDATA, MAGIC, MPROFILE, STUB_SIZE, branch_offset


class Ppc64le(Arch):
    """ppc64le: pages of 64 KiB, one memory for code that init needs and code that stays, and the table of stubs."""

    name, machine = "ppc64le", EM_PPC64
    page = 0x10000
    relocation_types, call_types = HOWTO_PPC64LE, (REL24,)
    nop, restore_r2, stub_size = NOP, LD_TOC, STUB_SIZE
    zero_sites, own_sections = False, (".stubs",)
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
        copy, table = self.module_frob_arch_sections(file, rules, lambda line: None), stub_table(image)
        return self.stubs_in(table.memory[table.offset :], self.stub_slots(copy), label)

    def stub_slots(self, file: ModuleFile) -> int:
        return int(file.shdrs["size"][special_sections(file)[0]]) // STUB_SIZE

    def stubs_in(self, memory: Array, slots: int, label: Label, file: ModuleFile | None = None) -> dict[str, Any]:
        count = min(len(memory) // STUB_SIZE, slots + self.stubs_behind)
        funcdata = np.ndarray((count,), "<u8", memory, FUNCDATA, (STUB_SIZE,))
        magic = np.ndarray((count,), "<u4", memory, 28, (STUB_SIZE,))
        past = np.flatnonzero(magic[slots:] == MAGIC)
        last = slots + (int(past[-1]) + 1 if len(past) else 0)
        found = enumerate(funcdata[:last].tolist())
        rows = [{"index": i, "funcdata": f"{at:#x}", "symbol": label(at) if at else None} for i, at in found]
        used = int(np.count_nonzero(funcdata[:slots]))
        return {"num_stubs": slots, "used": used, "past_end_used": len(past), "entries": rows}

    def branch_target(self, word: int, address: int) -> int | None:
        """Of a relative `b` or `bl`.

        >>> hex(Ppc64le().branch_target(0x480001c5, 0xc00800000013007c)), Ppc64le().branch_target(0x60000000, 0)
        ('0xc008000000130240', None)
        """
        return (address + branch_offset(word)) & MASK64 if word & 0xFC000002 == 0x48000000 else None

    def kernel_symbols(self, table: Mapping[str, Any], sections: Mapping[str, int]) -> dict[str, int]:
        named = {str(entry["symbol"]): int(entry["funcdata"], 16) for entry in table["entries"] if entry["symbol"]}
        return {name: address for name, address in named.items() if re.fullmatch(r"\w+", name)}

    def left_behind(self, image: Image, rules: Behaviour) -> Hashable:
        """The stubs with the slot behind the last, which a search looks at too, and both words of every call site.

        A search finds an address wherever it stands, and a call that is written anew forgets where it went. So the order of
        the stubs and the targets of the calls decide nothing, unless a call keeps its stub (proposal reuse-stub).
        """
        table, calls = stub_table(image), call_sites(image.file.on_disk)
        found = [image.bytes_of(section)[offset : offset + 8].tobytes().ljust(8, b"\0") for section, offset in calls]
        words = np.frombuffer(b"".join(found), "<u4").reshape(-1, 2)
        addresses, behind = table.funcdata[: table.slots], table.funcdata[table.slots : table.slots + 1].tobytes()
        if rules.stubs == "search":
            addresses, words = np.sort(addresses), words & np.array([~LI_MASK & 0xFFFFFFFF, 0xFFFFFFFF], "<u4")
        return table.used, addresses.tobytes() + behind + words.tobytes()


@lru_cache(maxsize=64)
def call_sites(file: ModuleFile) -> list[tuple[int, int]]:
    """(section, offset) of every call that livepatch writes."""
    return [(section, site.offset) for section, site in placed_sites(file) if site.type == REL24]
