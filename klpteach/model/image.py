"""A module in memory, and the hooks that write it: what the loader, livepatch and every architecture stand on.

Image: kernel/module/main.c, move_module(), simplify_symbols(), apply_relocations(). Arch: include/linux/moduleloader.h. How
the sections are laid out is worked out in layout.py.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import numpy as np

from ..files import elf_h
from ..files.module_file import ModuleFile
from ..files.relocation_types import Howto
from . import messages
from .errno import ENOENT, ENOEXEC, Oops, Refused
from .memory import page_align
from .policy import Behaviour

Array = np.ndarray[Any, np.dtype[Any]]
Bases = Mapping[str, int]  # region -> address
Log = Callable[[messages.Line], None]
Label = Callable[[int], str]
Resolve = Callable[[str], int | None]

PERCPU = ".data..percpu"
# SHF_ALLOC on disk, but not laid out with the rest. Only modules of releases that drop the extended versions have them.
NOT_KEPT = (".modinfo", "__versions", "__version_ext_crcs", "__version_ext_names", PERCPU)


@dataclass(frozen=True)
class Layout:
    """Where each section will stand: section index -> (region, offset), and the size of each region in bytes."""

    places: Mapping[int, tuple[str, int]]
    flags: Sequence[int]  # sh_flags of every section, as section_flags() has them
    sizes: Mapping[str, int]
    page: int
    text_size: int  # of one block: where its code ends

    def __deepcopy__(self, memo: object) -> Layout:
        return self  # it never changes: copies of a kernel share it

    @property
    def core_size(self) -> int:
        """What /proc/modules shows: the core block, or all core regions, in whole pages."""
        return sum(page_align(size, self.page) for region, size in self.sizes.items() if not region.startswith("init"))

    @property
    def loading_size(self) -> int:
        """What /proc/modules shows before the init memory is freed."""
        return sum(page_align(size, self.page) for size in self.sizes.values())


@lru_cache(maxsize=128)
def section_flags(file: ModuleFile, ro_after_init: tuple[str, ...] = ()) -> list[int]:
    """sh_flags as the loader's own copy has them: some sections lose SHF_ALLOC, some become read-only after init.

    Source: rewrite_section_headers(), module_mark_ro_after_init().
    """
    flags: list[int] = file.shdrs["flags"].tolist()
    for index, name in enumerate(file.section_names):
        if name in NOT_KEPT:
            flags[index] &= ~elf_h.SHF_ALLOC
        elif name in ro_after_init:
            flags[index] |= elf_h.SHF_RO_AFTER_INIT
    return flags


class Image:
    """A module's memory: the regions' bytes, every section's address, every symbol's value.

    `address[i]` is section i's address (0: not in memory), `symbols[i]` symbol i's (uint64). `sections` maps a name to
    (address, bytes-like).
    """

    def __init__(
        self, file: ModuleFile, arch: Arch, layout: Layout, bases: Bases, memory: Mapping[str, Array], percpu: int = 0
    ) -> None:
        self.file, self.arch, self.layout, self.bases, self.percpu = file, arch, layout, dict(bases), percpu
        self.stub_table: Any = None  # what an architecture remembers of .stubs or .plt, made at the first use
        self.formed = self.initialised = False  # complete_formation() and do_init_module() take write permissions away
        nothing = np.zeros(0, "u1")  # an empty region is not allocated
        self.memory = {region: memory.get(region, nothing) for region in layout.sizes}
        self.address = [0] * len(file.shdrs)
        for index, (region, offset) in layout.places.items():
            self.address[index] = self.bases[region] + offset
            body = file.section_bytes(index)
            self.memory[region][offset : offset + len(body)] = np.frombuffer(body, "u1")
        self.symbols: Array = file.symtab["value"].copy()
        # Per-CPU data in the temporary copy of the file, from which each CPU gets its own.
        self.percpu_template: Array = nothing

    def open_percpu_template(self) -> int:
        """Make the per-CPU section's bytes in the temporary copy writable here; its index, or 0 where there is none."""
        if PERCPU not in self.file.section_names:
            return 0
        index = self.file.section_names.index(PERCPU)
        self.percpu_template = np.frombuffer(self.file.section_bytes(index), "u1").copy()
        self.address[index] = self.arch.temporary_image + int(self.file.shdrs["offset"][index])
        return index

    def bytes_of(self, index: int) -> Array:
        """The live bytes of section `index`; empty where it is not in memory. Per-CPU data: its template, once it is open."""
        if index not in self.layout.places:
            return self.percpu_template if self.file.section_names[index] == PERCPU else np.zeros(0, "u1")
        region, offset = self.layout.places[index]
        return self.memory[region][offset : offset + self.file.extents[index][2]]

    @cached_property
    def sections(self) -> dict[str, tuple[int, memoryview]]:
        """Name -> (address, bytes) of every section in memory; empty ones are left out, as in /sys/module/*/sections."""
        kept = (i for i in sorted(self.layout.places) if self.file.shdrs["size"][i])
        return {self.file.section_names[i]: (self.address[i], self.bytes_of(i).data) for i in kept}

    def is_read_only(self, index: int) -> bool:
        """Whether a plain store into section `index` faults now (CONFIG_STRICT_MODULE_RWX)."""
        flags, initialised = self.layout.flags[index], self.initialised
        return self.formed and (not flags & elf_h.SHF_WRITE or bool(initialised and flags & elf_h.SHF_RO_AFTER_INIT))


@dataclass(frozen=True)
class Loading:
    """A module that is being written: its image, its name for messages, by which rules, and where complaints go."""

    image: Image
    name: str
    rules: Behaviour
    log: Log

    def refuse(self, message: messages.Message, errno: int = ENOEXEC, **args: Any) -> Refused:
        """Print why; what is to be raised then."""
        self.log(message(module=self.name, **args))
        return Refused(errno)

    def oops(self, what: str, address: int) -> Oops:
        """The kernel wanted to read or write where it must not; what is to be raised after the first line of the oops."""
        line = self.image.arch.fault(what, address)
        self.log(line)
        return Oops(line.render())

    def simplify_symbols(self, resolve: Resolve) -> None:
        """Give every symbol its address. The loop goes on after an error, so all unknown symbols are listed.

        Errors: Refused with the errno of the last one. Source: simplify_symbols().
        """
        file, image = self.file, self.image
        section = file.symtab["shndx"]
        inside = (section != elf_h.SHN_UNDEF) & (section < len(file.shdrs))
        addresses = np.array(image.address, "u8")
        # A section that was not laid out keeps the sh_addr that it had in the copy of the file.
        addresses = np.where(addresses == 0, file.shdrs["offset"] + np.uint64(image.arch.temporary_image), addresses)
        if PERCPU in file.section_names:
            addresses[file.section_names.index(PERCPU)] = image.percpu
        image.symbols[inside] += addresses[section[inside]]
        errors = [self._special_symbol(index, resolve) for index in np.flatnonzero(~inside).tolist()[1:]]
        if any(errors):
            raise Refused(next(filter(None, reversed(errors))))

    def _special_symbol(self, index: int, resolve: Resolve) -> int:
        file, name, section = self.file, self.file.symbol_names[index], int(self.file.symtab["shndx"][index])
        if section in (elf_h.SHN_ABS, elf_h.SHN_LIVEPATCH):  # livepatch fills in its own, later
            return 0
        if section == elf_h.SHN_UNDEF:
            try:
                address = resolve(name)
            except Refused as refused:
                return self.refuse(messages.UNKNOWN_SYMBOL, refused.errno, name=name, err=refused.errno).errno
            if address is not None:
                self.image.symbols[index] = address
            elif file.symtab["info"][index] >> 4 != elf_h.STB_WEAK and name != "_GLOBAL_OFFSET_TABLE_":
                return self.refuse(messages.UNKNOWN_SYMBOL, ENOENT, name=name, err=ENOENT).errno
            return 0
        if section == elf_h.SHN_COMMON:
            return 0 if name.startswith("__gnu_lto") else self.refuse(messages.COMMON).errno
        return self.refuse(messages.BAD_SECTION_INDEX, name=name, index=section, max=len(file.shdrs) - 1).errno

    def apply_relocations(self, write_klp: Callable[[int], None]) -> None:
        """Apply every relocation section in header order, livepatch ones through write_klp(index).

        Errors: Refused at the first that fails. Source: apply_relocations().
        """
        flags = self.image.layout.flags
        percpu = self.image.open_percpu_template() if self.rules.percpu_relocated else 0
        for index, (kind, target) in enumerate(self.file.shdrs[["type", "info"]].tolist()):
            if not index or target >= len(flags) or not (flags[target] & elf_h.SHF_ALLOC or 0 < target == percpu):
                continue
            if flags[index] & elf_h.SHF_RELA_LIVEPATCH:
                write_klp(index)
            elif kind == elf_h.SHT_RELA:
                self.image.arch.apply_relocate_add(self, index)

    @property
    def file(self) -> ModuleFile:
        return self.image.file


class StubsSeen(NamedTuple):
    """A table of call stubs: its slots, how many are used, and (index, where it leads, label) of each that was looked at.

    owners: slot -> the symbol that it belongs to, as `GOT NAME` or `PLT NAME` (s390x).
    """

    slots: int
    used: int
    entries: list[tuple[int, int, str]]
    owners: Mapping[int, str] = MappingProxyType({})

    @property
    def past_end(self) -> int:
        """How many stubs stand behind the last slot."""
        return sum(index >= self.slots for index, _, _ in self.entries)


class Arch:
    """One architecture: its constants, and the hooks that the kernel, too, leaves to arch/*/kernel/module*.c.

    An architecture overrides what it does differently; the rest is the kernel's weak default. Sizes are in bytes, addresses
    ints. module_area is where modules and other vmalloc memory begin; what lies below is the kernel's own. modules_start is
    the first address there that a module gets, since the boot has taken some. config: options of the recorded kernels.

    >>> from klpteach.model import arch
    >>> hex(arch.of("ppc64le").page), hex(arch.of("x86_64").page)
    ('0x10000', '0x1000')
    """

    name: str
    machine: int  # e_machine in the ELF header
    page: int
    kernel_text: int
    kernel_size = 1 << 24  # bytes from kernel_text on in which a symbol of unknown address is taken to be
    module_area: int
    modules_start: int
    modules_end: int
    temporary_image: int  # where the file's copy stands while it is loaded (vmalloc); its address decides nothing
    relocation_types: Mapping[int, Howto]  # those that the kernel accepts
    call_types: tuple[int, ...] = ()  # the relocation types of a call that goes through a stub, or may
    nop: int | None = None  # the word that a compiler leaves after such a call
    restore_r2: int | None = None  # and what the loader makes of it
    modules_far: int | None = None  # where modules begin that find no room from modules_start on; None: nowhere
    stub_size = 0  # of one slot in the table of call stubs; 0: there is none
    own_sections: tuple[str, ...] = ()  # empty ones that scripts/module.lds makes, without which a module is refused
    stub_section = ".stubs"  # where that table is; -: at the start of the module's memory
    stub_words = ".stubs"  # what it is called
    slot_types: Mapping[int, Howto] = MappingProxyType({})  # relocations whose code may read an address from the table
    stubs_behind = 64  # slots behind the table that a recorder looks at
    site_width: int | None = None  # how many bytes a recorder looks at; None: as wide as the relocation's field
    zero_sites = True  # whether a livepatch's sites hold zeros in its file, and a load asks for zeros
    call_behind_entry = 0  # bytes from what ftrace's section names to the call: ftrace_call_adjust()
    text_block = 0  # size of a block from which text is taken (execmem's ROX cache); 0: it is mapped as everything else
    late_alignment = 1  # what the address of a late relocation must be a multiple of, or it is not written
    shares_vmalloc = False  # whether vmalloc() takes from the area where modules live
    tells_the_wreck = False  # whether recorders go on after an oops, and a story with them
    config: tuple[str, ...] = ()

    @property
    def byteorder(self) -> Literal["little", "big"]:
        return "big" if elf_h.DATA_OF_MACHINE.get(self.machine) == elf_h.ELFDATA2MSB else "little"

    @property
    def has_stubs(self) -> bool:
        """Whether a module has a table of stubs or of addresses, through which it leaves."""
        return bool(self.stub_size)

    def __deepcopy__(self, memo: object) -> Arch:
        return self  # it never changes: copies of a kernel share it

    def module_frob_arch_sections(self, file: ModuleFile, rules: Behaviour, log: Log) -> ModuleFile:
        """The loader's own copy of the file, with what the architecture changes in it. Errors: Refused."""
        return file

    def core_start(self, file: ModuleFile) -> int:
        """Bytes that module_frob_arch_sections() has taken at the start of the core memory, before any section."""
        return 0

    def module_init_section(self, name: str) -> bool:
        """Whether a section is freed after init."""
        return name.startswith(".init")

    def apply_relocate_add(self, me: Loading, relsec: int) -> None:
        """Write one relocation section. Errors: Refused, Oops; what was written before stays written, as in the kernel."""
        raise NotImplementedError

    def clear_relocate_add(self, me: Loading, relsec: int) -> None:
        """Undo one relocation section. Errors: Refused, Oops."""
        raise NotImplementedError

    def module_finalize(self, me: Loading, resolve: Resolve) -> None:
        """What is done after the relocations, before anything runs. Errors: Refused."""

    def fault(self, what: str, address: int) -> messages.Line:
        """The first line of an oops: a read or a write at an address that does not allow it."""
        return messages.PAGE_FAULT(loc=f"{address:016x}")

    def stubs(self, image: Image, file: ModuleFile, rules: Behaviour, label: Label) -> dict[str, Any] | None:
        """The table of call stubs as a recording shows it; None where the architecture has none.

        file tells a recorder how long the table is; label names an address.
        """
        return None

    def stub_slots(self, file: ModuleFile) -> int:
        """How many slots the table has in a file that module_frob_arch_sections() has been at."""
        return 0

    def stub_bytes(self, file: ModuleFile) -> int:
        """The same in bytes."""
        return self.stub_slots(file) * self.stub_size

    def stubs_in(self, memory: Array, slots: int, label: Label, file: ModuleFile | None = None) -> dict[str, Any]:
        """The bytes from the table's start on, as a recording shows them; a recorder looks at `stubs_behind` slots more.

        file: whose table it is, for slots that belong to a symbol.
        """
        raise NotImplementedError

    def stubs_seen(self, table: Mapping[str, Any], address: int) -> StubsSeen:
        """What a recording shows of a table that stands at an address; behind the end only as many as the recorder took for stubs."""
        behind, found = table.get("past_end_used", 0), list[tuple[int, int, str]]()
        for entry in table["entries"]:
            funcdata = entry["funcdata"]
            target = int(funcdata, 16) if isinstance(funcdata, str) else int(funcdata)
            if entry["index"] >= table["num_stubs"]:
                if not target or not behind:
                    continue
                behind -= 1
            label = entry.get("symbol") or ""
            found.append((entry["index"], target, "" if label.startswith("(") else label))
        owners = {entry["index"]: entry["of"] for entry in table["entries"] if "of" in entry}
        return StubsSeen(table["num_stubs"], table["used"], found, owners)

    def branch_target(self, word: int, address: int) -> int | None:
        """Where a branch at an address goes; None for any other word."""
        return None

    def kernel_symbols(self, table: Mapping[str, Any], sections: Mapping[str, int]) -> dict[str, int]:
        """Symbols of the kernel itself that a module's table tells: name -> address. sections: those of the module."""
        return {}

    def is_kernel(self, address: int) -> bool:
        """Whether an address is the kernel's own, not a module's."""
        return address < self.module_area

    def old_slots(self, image: Image, file: ModuleFile, relsecs: Sequence[int]) -> list[tuple[str, int]]:
        """(symbol, address) of each slot that these relocations use and that holds another address than its symbol has."""
        return []

    def left_behind(self, image: Image, rules: Behaviour) -> Hashable:
        """What a later load of a target finds in a livepatch besides the bytes of the sites; equal means the same future."""
        return ()
