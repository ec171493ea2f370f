"""A module in memory: which section goes where, what each symbol's address is, and the ordinary relocations.

kernel/module/main.c: layout_sections(), move_module(), simplify_symbols(), apply_relocations(); kernel/module/kallsyms.c:
layout_symtab(). Both layouts: one core and one init block (up to 6.3), and one allocation a kind of memory (6.4 and later).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from . import messages
from .arch import x86_64
from .elf import ModuleFile
from .elf_h import (
    SHF_ALLOC,
    SHF_EXECINSTR,
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
from .errors import LoadRefused
from .klp import parse_symbol, section_object
from .memory import page_align
from .policy import Behaviour, behaviour
from .refusal import ENOENT, ENOEXEC, Refused

Array = np.ndarray[Any, np.dtype[Any]]
Resolve = Callable[[str], int | None]

TEMPORARY_IMAGE = (
    0xFFFFC90000200000  # where the file's copy stands while it is loaded (vmalloc); its address decides nothing
)
NOT_KEPT = (".modinfo", "__versions", ".data..percpu")  # SHF_ALLOC on disk, but not laid out with the rest
RO_AFTER_INIT = (".data..ro_after_init", "__jump_table")
# the passes of layout_sections(): flags a section must have, must not have
PASSES = (
    (SHF_EXECINSTR | SHF_ALLOC, 0),
    (SHF_ALLOC, SHF_WRITE),
    (SHF_RO_AFTER_INIT | SHF_ALLOC, 0),
    (SHF_WRITE | SHF_ALLOC, 0),
)
CORE_MEMORY = ("text", "rodata", "ro_after_init", "data")
INIT_MEMORY = ("init_text", "init_rodata", "init_data", "init_data")
# the order of enum mod_mem_type, in which the kernel allocates
ONE_BLOCK, SEPARATE = (
    ("core", "init"),
    ("text", "data", "rodata", "ro_after_init", "init_text", "init_data", "init_rodata"),
)


@dataclass(frozen=True)
class Layout:
    """Where each section will stand: section index -> (region, offset), and the size of each region in bytes."""

    places: Mapping[int, tuple[str, int]]
    sizes: Mapping[str, int]

    @property
    def core_size(self) -> int:
        """What /proc/modules shows: the core block, or all core regions, in whole pages."""
        return sum(page_align(size) for region, size in self.sizes.items() if not region.startswith("init"))


@lru_cache(maxsize=128)
def layout_sections(file: ModuleFile, separate_memory: bool) -> Layout:
    """Lay out all sections that stay in memory, then kallsyms' tables.

    Source: layout_sections(), layout_symtab(); the offsets of one block are rounded to pages between the kinds
    (CONFIG_STRICT_MODULE_RWX), separate regions start at 0 each.

    >>> from klpteach.data import sample
    >>> ko = ModuleFile.open(sample("filler64k.ko"))
    >>> hex(layout_sections(ko, separate_memory=False).sizes["core"])
    '0x14000'
    """
    sizes = dict.fromkeys(SEPARATE if separate_memory else ONE_BLOCK, 0)
    places: dict[int, tuple[str, int]] = {}
    for memory, is_init in ((CORE_MEMORY, False), (INIT_MEMORY, True)):
        for region, (must, must_not) in zip(memory, PASSES, strict=True):
            region = region if separate_memory else ("init" if is_init else "core")
            for index in _wanted(file, must, must_not, is_init):
                if index not in places:
                    places[index] = (
                        region,
                        _append(sizes, region, int(file.shdrs["size"][index]), _align(file, index)),
                    )
            if not separate_memory:
                sizes[region] = page_align(sizes[region])
    _layout_symtab(file, sizes, places, *(("data", "init_data") if separate_memory else ONE_BLOCK))
    return Layout(places, sizes)


def section_flags(file: ModuleFile, index: int) -> int:
    """sh_flags as the loader's own copy has them: some sections lose SHF_ALLOC, some become read-only after init."""
    flags, name = int(file.shdrs["flags"][index]), file.section_names[index]
    if name in NOT_KEPT:
        return flags & ~SHF_ALLOC
    return flags | SHF_RO_AFTER_INIT if name in RO_AFTER_INIT else flags


def is_init(file: ModuleFile, index: int) -> bool:
    """Whether a section is freed after init (x86: its name begins with .init)."""
    return file.section_names[index].startswith(".init")


def _wanted(file: ModuleFile, must: int, must_not: int, init: bool) -> Iterable[int]:
    for index in range(len(file.shdrs)):
        flags = section_flags(file, index)
        if flags & must == must and not flags & must_not and is_init(file, index) == init:
            yield index


def _align(file: ModuleFile, index: int) -> int:
    return int(file.shdrs["addralign"][index]) or 1


def _append(sizes: dict[str, int], region: str, size: int, align: int) -> int:
    offset = (sizes[region] + align - 1) & -align
    sizes[region] = offset + size
    return offset


def _layout_symtab(
    file: ModuleFile, sizes: dict[str, int], places: dict[int, tuple[str, int]], core: str, init: str
) -> None:
    """The whole symbol table goes to the init memory, the part that kallsyms keeps to the core."""
    for index in (file.symtab_index, file.strtab_index):
        places[index] = (init, _append(sizes, init, int(file.shdrs["size"][index]), _align(file, index)))
        if index == file.symtab_index:
            kept = core_symbols(file)
            names = sum(len(file.symbol_names[i].encode()) + 1 for i in kept)
            _append(sizes, core, len(kept) * 24, _align(file, index))
            sizes[core] += names + len(kept)
    _append(sizes, init, 40 + len(file.symtab), 8)  # struct mod_kallsyms, and a type byte a symbol
    if core == "core":
        sizes[core], sizes[init] = page_align(sizes[core]), page_align(sizes[init])


@lru_cache(maxsize=128)
def core_symbols(file: ModuleFile) -> tuple[int, ...]:
    """Indices of the symbols that kallsyms keeps: in a livepatch all, since relocations refer to them by index.

    Source: kernel/module/kallsyms.c, is_core_symbol() with CONFIG_KALLSYMS_ALL.
    """
    if file.is_livepatch:
        return tuple(range(len(file.symtab)))

    kept = [
        file.section_names[i] == ".data..percpu" or (bool(section_flags(file, i) & SHF_ALLOC) and not is_init(file, i))
        for i in range(len(file.shdrs))
    ]
    kept[SHN_UNDEF] = False
    symbols = zip(file.symbol_names, file.symtab["shndx"].tolist(), strict=True)
    return (
        0,
        *(i for i, (name, section) in enumerate(symbols) if i and name and section < len(kept) and kept[section]),
    )


# -- the image ------------------------------------------------------------------------------------------------------------


class Image:
    """A module's memory: the regions' bytes, every section's address, every symbol's value.

    `address[i]` is section i's address (0: not in memory), `symbols[i]` symbol i's (uint64). `sections` maps a name to
    (address, bytes-like).
    """

    def __init__(
        self, file: ModuleFile, layout: Layout, bases: Mapping[str, int], memory: Mapping[str, Array], percpu: int = 0
    ) -> None:
        self.file, self.layout, self.bases, self.percpu = file, layout, dict(bases), percpu
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

    def simplify_symbols(self, name: str, resolve: Resolve, log: x86_64.Log) -> None:
        """Give every symbol its address. The loop goes on after an error, so all unknown symbols are listed.

        Errors: Refused with the errno of the last one. Source: simplify_symbols().
        """
        error, shnum = 0, len(self.file.shdrs)
        percpu = next((i for i, n in enumerate(self.file.section_names) if n == ".data..percpu"), None)
        section = self.file.symtab["shndx"]
        inside = (section != SHN_UNDEF) & (section < shnum)
        left_behind = self.file.shdrs["offset"] + np.uint64(TEMPORARY_IMAGE)  # not laid out: sh_addr stays in the copy
        addresses = np.where(np.array(self.address, "u8") == 0, left_behind, np.array(self.address, "u8"))
        if percpu is not None:
            addresses[percpu] = self.percpu
        self.symbols[inside] += addresses[section[inside]]
        for index in np.flatnonzero(~inside).tolist()[1:]:
            error = self._special_symbol(index, int(section[index]), name, resolve, log) or error
        if error:
            raise Refused(error)

    def _special_symbol(self, index: int, section: int, module: str, resolve: Resolve, log: x86_64.Log) -> int:
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

    def apply_relocations(self, name: str, rules: Behaviour, write_klp: Callable[[int], None], log: x86_64.Log) -> None:
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

    def apply_relocate_add(self, index: int, name: str, rules: Behaviour, log: x86_64.Log) -> None:
        """Write one relocation section (arch/…)."""
        target = int(self.file.shdrs["info"][index])
        x86_64.apply_relocate_add(
            self.file.rela(index), self.bytes_of(target), self.address[target], self.symbols, name, rules, log
        )

    def clear_relocate_add(self, index: int, name: str, rules: Behaviour, log: x86_64.Log) -> None:
        """Undo one relocation section (arch/…)."""
        target = int(self.file.shdrs["info"][index])
        x86_64.clear_relocate_add(
            self.file.rela(index), self.bytes_of(target), self.address[target], self.symbols, name, rules, log
        )


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
    for unknown. Livepatch relocations of modules stay unwritten, those of vmlinux go through resolve too.
    Errors: LoadRefused with the errno and the lines printed.

    >>> from klpteach.data import sample
    >>> image = load_image(ModuleFile.open(sample("nfsd_demo.ko")), 0xffffffffc0201000, lambda name: 0xffffffff81000000)
    >>> hex(image.sections[".text"][0])
    '0xffffffffc0201000'
    """
    rules = behaviour(release)
    layout = layout_sections(module_file, rules.separate_memory)
    bases = _bases(layout, base, init_base)
    lines: list[str] = []
    log: x86_64.Log = lambda line: lines.append(line.render())
    name = module_file.name
    image = Image(
        module_file,
        layout,
        bases,
        {r: np.zeros(page_align(s), "u1") for r, s in layout.sizes.items()},
        percpu_base or 0,
    )

    def write_vmlinux(index: int) -> None:
        if section_object(module_file.section_names[index]) != "vmlinux":
            return
        for symbol in module_file.rela(index)["sym"].tolist():
            parsed = parse_symbol(module_file.symbol_names[symbol])
            address = resolve(parsed.name) if parsed else None
            if address is not None:
                image.symbols[symbol] = address
        image.apply_relocate_add(index, name, rules, log)

    try:
        image.simplify_symbols(name, resolve, log)
        image.apply_relocations(name, rules, write_vmlinux, log)
    except Refused as refused:
        said = "; ".join(lines) or "nothing"
        raise LoadRefused(
            f"{module_file.filename}: the kernel would refuse it ({refused.errno}) and print: {said}",
            refused.errno,
            lines,
        ) from None
    return image


def _bases(layout: Layout, base: int | Mapping[str, int], init_base: int | None) -> dict[str, int]:
    """An address for every region: the given ones, the rest behind them with a guard page between."""
    given = dict(base) if isinstance(base, Mapping) else {next(iter(layout.sizes)): base}
    if init_base is not None:
        given.setdefault("init" if "init" in layout.sizes else "init_text", init_base)
    free = max((given[r] + page_align(layout.sizes.get(r, 0)) for r in given), default=0)
    for region, size in layout.sizes.items():
        if region not in given:
            given[region] = free = page_align(free) + 0x1000
            free += page_align(size)
    return {region: given[region] for region in layout.sizes}
