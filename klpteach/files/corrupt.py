"""Deliberate defects: each named way in which a livepatch can be wrong, and seeded random damage for tests."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ..errors import KlpteachError, ModuleFormatError
from .elf_h import SHF_ALLOC, SHF_RELA_LIVEPATCH, SHN_ABS, SHN_UNDEF, SHT_RELA
from .relocation_types import POINTER_TYPE
from .write import ElfImage, Rela, Section


def _klp_sections(image: ElfImage) -> list[Section]:
    found = [s for s in image.sections if s.type == SHT_RELA and s.name.startswith(".klp.rela.") and s.body]
    if not found:
        raise ModuleFormatError("there is no livepatch relocation to damage in this file")
    return found


def _at_site(image: ElfImage, which: int) -> None:
    section = _klp_sections(image)[which]
    image.sections[section.info].body[image.relocations(section)[which].offset] = 0x90


def _on_relocation(image: ElfImage, change: Callable[[Rela], list[Rela]]) -> None:
    section = _klp_sections(image)[0]
    first, *others = image.relocations(section)
    image.set_relocations(section, change(first) + others)


def _both_at_site(image: ElfImage, change: Callable[[Rela], list[Rela]]) -> None:
    _at_site(image, 0)
    _on_relocation(image, change)


def _on_symbol(image: ElfImage, pattern: str, by: str = "", **fields: int) -> None:
    """Change the first symbol of a livepatch relocation whose name matches: the name, by re.sub, or other fields."""
    used = [r.symbol for section in _klp_sections(image) for r in image.relocations(section)]
    index = next((i for i in used if re.search(pattern, image.symbols[i].name)), None)
    if index is None:
        raise ModuleFormatError(f"no livepatch symbol matches {pattern}")
    name = re.sub(pattern, by, image.symbols[index].name) if by else image.symbols[index].name
    image.symbols[index] = replace(image.symbols[index], name=name, **fields)


def _in_section(image: ElfImage, shndx: int) -> None:
    _on_symbol(image, "", shndx=shndx)


def _on_section(image: ElfImage, old: str, new: str) -> None:
    section = _klp_sections(image)[0]
    section.name = re.sub(old, new, section.name)


def _drop_flag(image: ElfImage, flag: int) -> None:
    _klp_sections(image)[0].flags &= ~flag


def _rename_undefined(image: ElfImage) -> None:
    ours = ("__", "klp_")  # what the compiler asks for, and what makes it a livepatch
    index = next(i for i, s in enumerate(image.symbols) if i and s.shndx == SHN_UNDEF and not s.name.startswith(ours))
    image.symbols[index] = replace(image.symbols[index], name=image.symbols[index].name + "_missing")


def _mark(image: ElfImage) -> None:
    modinfo = next(s for s in image.sections if s.name == ".modinfo")
    modinfo.body += b"livepatch=Y\0"


def _unmark(image: ElfImage) -> None:
    modinfo = next(s for s in image.sections if s.name == ".modinfo")
    if b"livepatch=Y" not in modinfo.body:
        raise ModuleFormatError("modinfo does not say livepatch=Y in the first place")
    modinfo.body = modinfo.body.replace(b"livepatch=Y", b"livepotch=Y")


def _pointer(image: ElfImage, section: int, offset: int) -> tuple[Section, Rela]:
    """The 64-bit absolute relocation at section+offset, and where it stands."""
    for rela in image.sections:
        for entry in image.relocations(rela) if rela.type == SHT_RELA and rela.info == section else ():
            if entry.offset == offset and entry.type == POINTER_TYPE.get(image.machine):
                return rela, entry
    raise ModuleFormatError("there is no struct klp_patch to follow in this file")


def _rename_function(image: ElfImage, new_name: str) -> None:
    """Let the first klp_func's old_name point to another string: klp_patch -> objs -> funcs -> old_name."""
    this_module = next((i for i, s in enumerate(image.symbols) if s.name == "__this_module"), -1)
    wanted = (this_module, POINTER_TYPE.get(image.machine))
    relas = [section for section in image.sections if section.type == SHT_RELA]
    entries = ((rela.info, entry) for rela in relas for entry in image.relocations(rela))
    owned = ((section, entry.offset) for section, entry in entries if (entry.symbol, entry.type) == wanted)
    section, offset = next(owned, (0, 0))
    for _ in ("objs", "funcs"):
        symbol = image.symbols[(entry := _pointer(image, section, offset + 8)[1]).symbol]
        section, offset = symbol.shndx, symbol.value + entry.addend
    rela, name = _pointer(image, section, offset)
    strings = image.sections[image.symbols[name.symbol].shndx].body
    moved = replace(name, addend=len(strings) - image.symbols[name.symbol].value)
    strings += new_name.encode() + b"\0"
    image.set_relocations(rela, [moved if entry == name else entry for entry in image.relocations(rela)])


# name -> what it is, what does it, and the arguments of that
CORRUPTIONS: dict[str, tuple[Any, ...]] = {
    "nonzero-site": ("bytes under the first livepatch relocation are not zero", _at_site, 0),
    "nonzero-last-site": ("the same under the last one: everything before it gets written", _at_site, -1),
    "unknown-type": ("relocation type 42: the ABI has it (REX_GOTPCRELX), the kernel does not",
                     _on_relocation, lambda r: [replace(r, type=42)]),
    "type-none": ("relocation type 0: accepted, writes nothing", _on_relocation, lambda r: [replace(r, type=0)]),
    "overflow": ("R_X86_64_32: no kernel address fits", _on_relocation, lambda r: [replace(r, type=10)]),
    "overflow-nonzero": ("R_X86_64_32 at a place that is not zero: which of the two is told depends on the release",
                         _both_at_site, lambda r: [replace(r, type=10)]),
    "marked": ("modinfo says livepatch, and nothing else does", _mark),
    "offset-off-by-8": ("relocation 8 bytes too far, the bug that the zero check was made for",
                        _on_relocation, lambda r: [replace(r, offset=r.offset + 8)]),
    "site-twice": ("one site relocated twice", _on_relocation, lambda r: [r, r]),
    "symbol-missing": ("a symbol that its object does not have", _on_symbol, r"[^.]+,", "demo_missing,"),
    "symbol-position-1": ("position 1 of a unique name: accepted", _on_symbol, r",0$", ",1"),
    "symbol-position-3": ("the third symbol of a name that has two", _on_symbol, r",[1-9]\d*$", ",3"),
    "symbol-ambiguous": ("two symbols of that name, no position given", _on_symbol, r",[1-9]\d*$", ",0"),
    "symbol-no-comma": ("symbol name without comma", _on_symbol, r",", "_"),
    "symbol-trailing-junk": ("position 0junk: accepted", _on_symbol, r",0$", ",0junk"),
    "symbol-no-object": ("symbol name without object", _on_symbol, r"^\.klp\.sym\.[^.]+", ".klp.sym."),
    "symbol-wrong-prefix": ("symbol name with another prefix", _on_symbol, r"^\.klp\.sym", ".klp_sym"),
    "symbol-wrong-object": ("symbol of another module", _on_symbol, r"^\.klp\.sym\.[^.]+", ".klp.sym.other_demo"),
    "symbol-vmlinux": ("vmlinux symbol in a module's section",
                       _on_symbol, r"^\.klp\.sym\..*", ".klp.sym.vmlinux.saved_command_line,0"),
    "symbol-undef": ("livepatch symbol marked SHN_UNDEF", _in_section, SHN_UNDEF),
    "symbol-abs": ("livepatch symbol marked SHN_ABS", _in_section, SHN_ABS),
    "symbol-bad-index": ("livepatch symbol in section 768", _in_section, 768),
    "section-wrong-prefix": ("section name with another prefix", _on_section, r"^\.klp\.rela\.", ".klp.rela"),
    "section-no-object": ("section name without object", _on_section, r"^\.klp\.rela\.[^.]+", ".klp.rela."),
    "section-other-object": ("section for a module that is never patched: never applied",
                             _on_section, r"^\.klp\.rela\.[^.]+", ".klp.rela.other_demo"),
    "section-not-livepatch": ("SHF_RELA_LIVEPATCH missing: applied at once, with symbol value 0",
                              _drop_flag, SHF_RELA_LIVEPATCH),
    "section-not-alloc": ("SHF_ALLOC missing: not kept in memory, the kernel oopses", _drop_flag, SHF_ALLOC),
    "function-missing": ("patches a function that its object does not have", _rename_function, "demo_missing"),
    "function-ambiguous": ("patches a function of which there are two, no position given",
                           _rename_function, "demo_dup"),
    "undefined-symbol": ("needs a kernel symbol that nobody exports", _rename_undefined),
    "not-marked": ("modinfo does not say livepatch", _unmark),
}  # fmt: skip


def corrupt(data: bytes, kind: str) -> bytes:
    """A livepatch with one named defect; CORRUPTIONS lists the names, each with a line that says what it is.

    Raises ModuleFormatError if the file has no such place to damage, KlpteachError for an unknown name.

    >>> CORRUPTIONS["site-twice"][0]
    'one site relocated twice'
    """
    if kind not in CORRUPTIONS:
        raise KlpteachError(f"no corruption {kind!r}; there are: {', '.join(CORRUPTIONS)}")
    image, (_, damage, *arguments) = ElfImage.parse(data), CORRUPTIONS[kind]
    try:
        damage(image, *arguments)
    except (IndexError, StopIteration):
        raise ModuleFormatError(f"this file has nothing that {kind!r} could damage") from None
    return image.to_bytes()
