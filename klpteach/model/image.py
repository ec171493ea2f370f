"""A module in memory: its bytes, what each symbol's address is, and the ordinary relocations.

kernel/module/main.c: move_module(), simplify_symbols(), apply_relocations(). Which section goes where is layout.py's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from ..errors import LoadRefused
from ..files.elf import ModuleFile
from ..files.elf_h import (
    SHF_ALLOC,
    SHF_RELA_LIVEPATCH,
    SHF_RO_AFTER_INIT,
    SHF_WRITE,
    SHN_ABS,
    SHN_COMMON,
    SHN_LIVEPATCH,
    SHN_UNDEF,
    SHT_RELA,
    STB_WEAK,
)
from ..files.klp import parse_symbol, section_object
from . import arch, messages
from .arch.base import Array, Log, Resolve
from .errno import ENOENT, ENOEXEC, Oops, Refused
from .layout import Layout as Layout
from .layout import layout_sections as layout_sections
from .layout import section_flags as section_flags
from .memory import page_align
from .policy import Behaviour, behaviour


class Image:
    """A module's memory: the regions' bytes, every section's address, every symbol's value.

    `address[i]` is section i's address (0: not in memory), `symbols[i]` symbol i's (uint64). `sections` maps a name to
    (address, bytes-like).
    """

    def __init__(
        self, file: ModuleFile, layout: Layout, bases: Mapping[str, int], memory: Mapping[str, Array], percpu: int = 0
    ) -> None:
        self.file, self.layout, self.bases, self.percpu = file, layout, dict(bases), percpu
        self.arch = arch.of(file.arch)
        self.stub_table: Any = None  # ppc64le: arch.stubs.StubTable
        self.formed = self.initialised = False  # complete_formation() and do_init_module() take write permissions away
        self.memory = {
            region: memory.get(region, np.zeros(0, "u1")) for region in layout.sizes
        }  # an empty one is not allocated
        self.address = [0] * len(file.shdrs)
        for index, (region, offset) in layout.places.items():
            self.address[index] = self.bases[region] + offset
            body = file.section_bytes(index)
            self.memory[region][offset : offset + len(body)] = np.frombuffer(body, "u1")
        self.symbols: Array = file.symtab["value"].copy()

    def bytes_of(self, index: int) -> Array:
        """The live bytes of section `index`; empty where it is not in memory."""
        if index not in self.layout.places:
            return np.zeros(0, "u1")
        region, offset = self.layout.places[index]
        return self.memory[region][offset : offset + self.file.extents[index][2]]

    @cached_property
    def sections(self) -> dict[str, tuple[int, memoryview]]:
        """Name -> (address, bytes) of every section in memory; empty ones are left out, as in /sys/module/*/sections."""
        indices = sorted(i for i in self.layout.places if self.file.shdrs["size"][i])
        return {self.file.section_names[i]: (self.address[i], memoryview(self.bytes_of(i))) for i in indices}  # type: ignore[arg-type]

    def simplify_symbols(self, name: str, resolve: Resolve, log: Log) -> None:
        """Give every symbol its address. The loop goes on after an error, so all unknown symbols are listed.

        Errors: Refused with the errno of the last one. Source: simplify_symbols().
        """
        error, shnum = 0, len(self.file.shdrs)
        percpu = next((i for i, n in enumerate(self.file.section_names) if n == ".data..percpu"), None)
        section = self.file.symtab["shndx"]
        inside = (section != SHN_UNDEF) & (section < shnum)
        left_behind = self.file.shdrs["offset"] + np.uint64(
            self.arch.temporary_image
        )  # not laid out: sh_addr stays in the copy
        addresses = np.where(np.array(self.address, "u8") == 0, left_behind, np.array(self.address, "u8"))
        if percpu is not None:
            addresses[percpu] = self.percpu
        self.symbols[inside] += addresses[section[inside]]
        for index in np.flatnonzero(~inside).tolist()[1:]:
            error = self._special_symbol(index, int(section[index]), name, resolve, log) or error
        if error:
            raise Refused(error)

    def _special_symbol(self, index: int, section: int, module: str, resolve: Resolve, log: Log) -> int:
        name = self.file.symbol_names[index]
        if section in (SHN_ABS, SHN_LIVEPATCH):  # livepatch fills in its own, later
            return 0
        if section == SHN_UNDEF:
            address = resolve(name)
            if address is not None:
                self.symbols[index] = address
            elif self.file.symtab["info"][index] >> 4 != STB_WEAK and name != "_GLOBAL_OFFSET_TABLE_":
                log(messages.UNKNOWN_SYMBOL(module=module, name=name, err=ENOENT))
                return ENOENT
            return 0
        if section == SHN_COMMON:
            if not name.startswith("__gnu_lto"):
                log(messages.COMMON(module=module))
                return ENOEXEC
            return 0
        log(messages.BAD_SECTION_INDEX(module=module, name=name, index=section, max=len(self.file.shdrs) - 1))
        return ENOEXEC

    def apply_relocations(self, name: str, rules: Behaviour, write_klp: Callable[[int], None], log: Log) -> None:
        """Apply every relocation section in header order, livepatch ones through write_klp(index).

        Errors: Refused at the first that fails. Source: apply_relocations().
        """
        shdrs = self.file.shdrs
        for index in range(1, len(shdrs)):
            target = int(shdrs["info"][index])
            if target >= len(shdrs) or not section_flags(self.file, target) & SHF_ALLOC:
                continue
            if shdrs["flags"][index] & SHF_RELA_LIVEPATCH:
                write_klp(index)
            elif shdrs["type"][index] == SHT_RELA:
                self.apply_relocate_add(index, name, rules, log)

    def apply_relocate_add(self, index: int, name: str, rules: Behaviour, log: Log) -> None:
        """Write one relocation section (arch/…)."""
        self.arch.apply_relocate_add(self, index, name, rules, log)

    def clear_relocate_add(self, index: int, name: str, rules: Behaviour, log: Log) -> None:
        """Undo one relocation section (arch/…)."""
        self.arch.clear_relocate_add(self, index, name, rules, log)

    def is_read_only(self, index: int) -> bool:
        """Whether a plain store into section `index` faults now (CONFIG_STRICT_MODULE_RWX)."""
        flags = section_flags(self.file, index)
        return self.formed and (not flags & SHF_WRITE or (self.initialised and bool(flags & SHF_RO_AFTER_INIT)))


def load_image(
    module_file: ModuleFile,
    base: int | Mapping[str, int],
    resolve: Resolve,
    release: str = "6.1",
    init_base: int | None = None,
    percpu_base: int | None = None,
) -> Image:
    """The module as the kernel would have it in memory before its init runs: laid out, symbols resolved, relocated.

    base: address of the core block; for releases with separate allocations (6.4 and later) a dict {"text": address,
    "data": …}; an int there places the regions one after the other. resolve: undefined symbol name -> address, or None
    for unknown. Livepatch relocations of modules stay unwritten, those of vmlinux go through resolve too. ppc64le: resolve
    is asked for ftrace_caller and ftrace_regs_caller as well; where it says None, that stub is not made.
    Errors: LoadRefused with the errno and the lines printed (errno 0: the kernel oopses).

    >>> from klpteach.files.samples import sample
    >>> image = load_image(ModuleFile.open(sample("nfsd_demo.ko")), 0xffffffffc0201000, lambda name: 0xffffffff81000000)
    >>> hex(image.sections[".text"][0])
    '0xffffffffc0201000'
    """
    lines: list[str] = []
    try:
        return _load_image(
            module_file, base, resolve, behaviour(release, arch=module_file.arch), lines, init_base, percpu_base
        )
    except Oops as oops:
        raise LoadRefused(f"{module_file.filename}: the kernel would oops: {oops}", 0, lines) from None
    except Refused as refused:
        said = "; ".join(lines) or "nothing"
        raise LoadRefused(
            f"{module_file.filename}: the kernel would refuse it ({refused.errno}) and print: {said}",
            refused.errno,
            lines,
        ) from None


def _load_image(
    on_disk: ModuleFile,
    base: int | Mapping[str, int],
    resolve: Resolve,
    rules: Behaviour,
    lines: list[str],
    init_base: int | None,
    percpu_base: int | None,
) -> Image:
    log: Log = lambda line: lines.append(line.render())
    name, machine = on_disk.name, arch.of(on_disk.arch)
    module_file = machine.module_frob_arch_sections(on_disk, rules, log)
    layout = layout_sections(module_file, rules.separate_memory)
    memory = {region: np.zeros(page_align(size, layout.page), "u1") for region, size in layout.sizes.items()}
    image = Image(module_file, layout, _bases(layout, base, init_base), memory, percpu_base or 0)

    def write_vmlinux(index: int) -> None:
        if section_object(module_file.section_names[index]) != "vmlinux":
            return
        for symbol in module_file.rela(index)["sym"].tolist():
            parsed = parse_symbol(module_file.symbol_names[symbol])
            address = resolve(parsed.name) if parsed else None
            if address is not None:
                image.symbols[symbol] = address
        image.apply_relocate_add(index, name, rules, log)

    image.simplify_symbols(name, resolve, log)
    image.apply_relocations(name, rules, write_vmlinux, log)
    machine.module_finalize(image, name, rules, resolve, log)
    return image


def _bases(layout: Layout, base: int | Mapping[str, int], init_base: int | None) -> dict[str, int]:
    """An address for every region: the given ones, the rest behind them with a guard page between."""
    given = dict(base) if isinstance(base, Mapping) else {next(iter(layout.sizes)): base}
    if init_base is not None:
        given.setdefault("init" if "init" in layout.sizes else "init_text", init_base)
    free = max((given[r] + page_align(layout.sizes.get(r, 0), layout.page) for r in given), default=0)
    for region, size in layout.sizes.items():
        if region not in given:
            given[region] = free = page_align(free, layout.page) + layout.page
            free += page_align(size, layout.page)
    return {region: given[region] for region in layout.sizes}
