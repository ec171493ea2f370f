"""One relocation entry, byte by byte; and which sections carry the relocations of one section."""

from __future__ import annotations

from ...errors import KlpteachError
from ...files.elf_h import RELA, SHF_ALLOC, SHF_INFO_LINK, SHF_RELA_LIVEPATCH, SHN_LIVEPATCH, SHN_UNDEF
from ...files.module_file import ModuleFile
from ...views.table import Table

FLAGS = ((SHF_ALLOC, "SHF_ALLOC"), (SHF_INFO_LINK, "SHF_INFO_LINK"), (SHF_RELA_LIVEPATCH, "SHF_RELA_LIVEPATCH"))


def entry_fields(file: ModuleFile, section: str, number: int = 0) -> Table:
    """The 24 bytes of one entry of a relocation section, field by field. Errors: KlpteachError for one that is not there.

    Source: the ELF specification, Elf64_Rela.

    >>> from klpteach.files.samples import sample
    >>> entry_fields(ModuleFile.open(sample("livepatch_nfsd_demo.ko")), ".klp.rela.nfsd_demo..text").rows[1][1:]
    ('`02 00 00 00`', '2: `R_X86_64_PC32`')
    """
    index = file.section_names.index(section) if section in file.section_names else 0
    if index not in file.rela_sections or not 0 <= number < len(file.rela(index)):
        known = ", ".join(file.section_names[i] for i in file.rela_sections)
        raise KlpteachError(f"{file.filename}: no entry {number} in {section}; relocation sections are {known}.")
    raw = file.section_bytes(index)[number * RELA.itemsize :][: RELA.itemsize]
    offset, kind, symbol, addend = file.rela(index)[number].tolist()
    target = file.section_names[int(file.shdrs["info"][index])]
    rows = [
        ("r_offset", f"`{raw[:8].hex(' ')}`", f"{offset:#x}: the place is `{target}+{offset:#x}`"),
        ("r_info, type", f"`{raw[8:12].hex(' ')}`", f"{kind}: `{file.type_name(kind)}`"),
        ("r_info, symbol", f"`{raw[12:16].hex(' ')}`", f"{symbol}: `{file.symbol_names[symbol]}`"),
        ("r_addend", f"`{raw[16:].hex(' ')}`", f"{addend}"),
    ]
    return Table(("field", "bytes in the file", "says"), rows)


def rela_sections_of(file: ModuleFile, section: str) -> list[int]:
    """Indices of all relocation sections for one section: those whose sh_info is its index.

    >>> from klpteach.files.samples import sample
    >>> rela_sections_of(ModuleFile.open(sample("livepatch_nfsd_demo.ko")), ".text")
    [4, 38]
    """
    target = file.section_names.index(section) if section in file.section_names else -1
    return [index for index in file.rela_sections if int(file.shdrs["info"][index]) == target]


def who_writes(file: ModuleFile, section: str = ".text") -> Table:
    """The relocation sections of one section: their flags, how many entries, and who writes them when."""
    rows = []
    for index in rela_sections_of(file, section):
        flags = int(file.shdrs["flags"][index])
        names = " + ".join(name for bit, name in FLAGS if flags & bit)
        late = flags & SHF_RELA_LIVEPATCH
        who = "livepatch, when its target is there" if late else "the module loader, when this module is loaded"
        entries = str(len(file.rela(index)))
        rows.append((f"`{file.section_names[index]}`", f"`{flags:#x}` = {names}", entries, who))
    return Table(("section", "flags", "entries", "who writes them, and when"), rows)


def foreign_symbols(file: ModuleFile) -> Table:
    """The symbols that this file does not define itself, and who gives them an address.

    >>> from klpteach.files.samples import sample
    >>> foreign_symbols(ModuleFile.open(sample("livepatch_pos.ko"))).rows[-1][1:]
    ('`0xff20` SHN_LIVEPATCH', 'livepatch, from the kallsyms of nfsd_demo')
    """
    rows = []
    for index, name in enumerate(file.symbol_names):
        shndx = int(file.symtab["shndx"][index])
        if index and shndx == SHN_UNDEF:
            rows.append((f"`{name}`", "`0x0000` SHN_UNDEF", "the module loader, from what the kernel exports"))
        elif shndx == SHN_LIVEPATCH:
            target = name.removeprefix(".klp.sym.").partition(".")[0]
            rows.append((f"`{name}`", "`0xff20` SHN_LIVEPATCH", f"livepatch, from the kallsyms of {target}"))
    rows.sort(key=lambda row: row[1])
    return Table(("symbol", "st_shndx", "who finds its address"), rows)
