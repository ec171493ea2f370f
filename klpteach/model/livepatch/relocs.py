"""Livepatch relocations: which symbol a name means, and every place where they are written, taken back, or left (core.c)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache

from ...files.elf_h import SHF_ALLOC, SHN_LIVEPATCH
from ...files.klp import livepatch_sections, parse_symbol, section_object
from ...files.module_file import ModuleFile
from .. import messages
from ..errno import EINVAL, Refused
from ..image import Loading, section_flags
from ..klp_structs import KlpObject, KlpPatch
from ..module import UNFORMED, Module
from ..state import State


def klp_find_object_symbol(kernel: State, objname: str | None, name: str, sympos: int) -> int:
    """Address of a symbol of an object, by name and position; 0 means that the name must be unique.

    Errors: Refused(-EINVAL) after the kernel's line.
    """
    seen, address = kernel.object_symbol(objname, name, sympos)
    if address == 0:
        kernel.log(messages.NOT_FOUND(name=name))
    elif seen > 1 and sympos == 0:
        kernel.log(messages.AMBIGUOUS(name=name, object=objname or "(null)"))
    elif sympos not in (0, seen):
        kernel.log(messages.NO_SUCH_POSITION(pos=sympos, name=name, object=objname or "vmlinux"))
    else:
        return address
    raise Refused(EINVAL)


def klp_resolve_symbols(kernel: State, pmod: Module, index: int, sec_objname: str) -> None:
    """Look up every symbol that a livepatch section uses and keep its address in the livepatch's own symbol table."""
    file = pmod.file
    first: dict[int, int] = {}  # symbol -> the first entry that uses it; the kernel looks it up for each
    for entry, number in enumerate(file.rela(index)["sym"].tolist()):
        first.setdefault(number, entry)
    for number, entry in first.items():
        name = file.symbol_names[number]
        if file.symtab["shndx"][number] != SHN_LIVEPATCH:
            # sec: the kernel gives the symbol table's section where its format asks for the relocations'.
            raise kernel.refuse(kernel.rules.not_marked(name=name, sec=file.symtab_index, idx=entry), EINVAL)
        symbol = parse_symbol(name, kernel.rules.ksym_name_len)
        if symbol is None:
            raise kernel.refuse(messages.BAD_SYMBOL_NAME(name=name), EINVAL)
        if kernel.rules.early_vmlinux and sec_objname != "vmlinux" and symbol.object == "vmlinux":
            raise kernel.refuse(messages.VMLINUX_SYMBOL(name=symbol.name), EINVAL)
        objname = None if symbol.object == "vmlinux" else symbol.object
        pmod.image.symbols[number] = klp_find_object_symbol(kernel, objname, symbol.name, symbol.sympos)


def klp_write_section_relocs(kernel: State, pmod: Module, index: int, objname: str | None, apply: bool = True) -> None:
    """Apply (or clear) one .klp.rela.OBJECT.SECTION if it belongs to the object; None stands for vmlinux.

    Up to 6.2 klp_apply_section_relocs(). Errors: Refused; Oops where the section was not kept in memory.
    """
    name = pmod.file.section_names[index]
    sec_objname = section_object(name)
    if sec_objname is None:
        raise kernel.refuse(messages.BAD_SECTION_NAME(name=name), EINVAL)
    if sec_objname != (objname or "vmlinux"):
        return
    me = Loading(pmod.image, pmod.name, kernel.rules, kernel.log)
    parts = (index, int(pmod.file.shdrs["info"][index]))
    if pmod.state != UNFORMED and not all(section_flags(pmod.file)[part] & SHF_ALLOC for part in parts):
        # Without SHF_ALLOC the entries (or the bytes they are for) stayed in the temporary image, gone when init() runs.
        raise me.oops("read", kernel.arch.temporary_image)
    if apply:
        # The livepatch was loaded once and stays; its targets come and go. So these bytes may be written for the second
        # time, which ordinary relocations never are: the loader writes those into a fresh copy of the file. Nothing here
        # remembers whether the section has been written; apply_relocate_add() sees it by the bytes, and says no.
        klp_resolve_symbols(kernel, pmod, index, sec_objname)
        kernel.arch.apply_relocate_add(me, index)
        return
    # clear_relocate_add() returns nothing: what it could not clear stays, and the other sections go on.
    with suppress(Refused):
        kernel.arch.clear_relocate_add(me, index)


def _sections_for(file: ModuleFile, objname: str) -> list[int]:
    """The livepatch sections that name an object, and those that name none: the first of them stops the kernel's walk."""
    by_object = _sections_by_object(file)
    return sorted([*by_object.get(objname, ()), *by_object.get(None, ())])


@lru_cache(maxsize=64)
def _sections_by_object(file: ModuleFile) -> dict[str | None, list[int]]:
    found: dict[str | None, list[int]] = {}
    for index in livepatch_sections(file):
        found.setdefault(section_object(file.section_names[index]), []).append(index)
    return found


def klp_clear_object_relocs(kernel: State, patch: KlpPatch, obj: KlpObject) -> None:
    """Take the relocations of an object back (6.3 and later, or a proposal)."""
    # Miroslav Benes' RFC of July 2019 added this, and with it a clear_relocate_add() an architecture; Josh Poimboeuf did
    # not like the code for something that he would rather forbid. Song Liu's eleventh version is 6.3 (0c05e7bd2d01), for
    # x86_64 alone: powerpc got a check that accepts what it has written itself (37251c7114e1).
    clears = kernel.rules.clear != "no" or kernel.rules.slots == "reset"
    if clears and obj.name is not None:
        for index in _sections_for(patch.mod.file, obj.name):
            klp_write_section_relocs(kernel, patch.mod, index, obj.name, apply=False)


def klp_init_object_loaded(kernel: State, patch: KlpPatch, obj: KlpObject) -> None:
    """Relocations of the object, then the address of every function to be replaced."""
    if obj.name is not None:
        for index in _sections_for(patch.mod.file, obj.name):
            klp_write_section_relocs(kernel, patch.mod, index, obj.name)
    for func in obj.funcs:
        if obj.name is None:
            func.old_func = kernel.vmlinux_function(func.old_name)
        else:
            func.old_func = klp_find_object_symbol(kernel, obj.name, func.old_name, func.old_sympos)


def old_slots(pmod: Module, objname: str) -> list[tuple[str, int]]:
    """(symbol, address) of each slot of a livepatch that its code for an object uses at an address of before (s390x)."""
    return pmod.image.arch.old_slots(pmod.image, pmod.file, _sections_for(pmod.file, objname))


def old_addresses(kernel: State, mod: Module) -> Iterator[int]:
    """Where the livepatches that are in force for a module look for what was in an earlier load of it."""
    for patch in kernel.klp.patches:
        if any(obj.patched and obj.name == mod.name for obj in patch.objects):
            yield from (address for _, address in old_slots(patch.mod, mod.name))
