"""The tables of a module file, row by row as readelf tells them."""

from __future__ import annotations

import re

import pytest
from strange_modules import livepatch
from test_write import LIVEPATCHES, SAMPLES, needs_readelf, readelf_relocations, run

from klpteach import ModuleFile
from klpteach.errors import KlpteachError, ModuleFormatError
from klpteach.files.symbol_list import read_symbols
from klpteach.files.tables import livepatch_sites, relocations, symbols
from klpteach.files.write import ElfImage, tiny_module
from klpteach.scenarios.inspection import sections
from klpteach.views.yours.modules import Brought

FEW = [ko for ko in SAMPLES if ko.stem in ("nfsd_demo", "livepatch_nfsd_demo", "livepatch_cumul2")]
every_one = pytest.mark.parametrize("ko", FEW, ids=lambda ko: f"{ko.parent.name}/{ko.stem}")


@needs_readelf
@every_one
def test_relocations_stand_in_the_order_of_the_file_with_section_offset_type_and_target(ko) -> None:
    table, told = relocations(ModuleFile.open(ko)), readelf_relocations(ko)
    assert list(zip(table.section, table.offset, table.type, strict=True)) == [row[:3] for row in told]
    assert [str(target) for target in table.target] == [targets(ko)[section] for section, *_ in told]


def targets(ko) -> dict[str, str]:
    """Relocation section -> the section that it is for: sh_info, as readelf -S prints it."""
    rows = re.findall(r"^\s*\[ *(\d+)\] (\S*) .* (\d+) +\d+$", run("readelf", "-SW", ko), re.MULTILINE)
    names = {number: name for number, name, _ in rows}
    return {name: names[info] for _, name, info in rows if name.startswith((".rela", ".klp.rela"))}


@needs_readelf
@pytest.mark.parametrize("ko", LIVEPATCHES, ids=lambda ko: ko.parent.name)
def test_every_relocation_of_a_livepatch_section_is_a_site(ko) -> None:
    told = [row for row in readelf_relocations(ko) if row[0].startswith(".klp.rela.")]
    table = livepatch_sites(ModuleFile.open(ko))
    assert sorted(zip(table.site, table.type, strict=True)) == sorted(
        (f"{targets(ko)[section]}+{offset:#x}", kind) for section, offset, kind, _ in told
    )


@needs_readelf
@every_one
def test_symbols_have_the_values_and_sizes_that_readelf_prints(ko) -> None:
    rows = re.findall(r"^ *(\d+): ([0-9a-f]{16}) +(\w+) (\w+) +(\w+)", run("readelf", "-sW", ko), re.MULTILINE)
    table = symbols(ModuleFile.open(ko))
    assert len(table) == len(rows)
    assert table["value"].tolist() == [int(value, 16) for _, value, *_ in rows]
    assert table["size"].tolist() == [int(size, 0) for _, _, size, *_ in rows]
    assert table["bind"].tolist() == [bind for *_, bind in rows]


# -- one step too far ------------------------------------------------------------------------------------------------------


def test_the_symbol_behind_the_last_is_none() -> None:
    image = ElfImage.parse(
        tiny_module("short", {".text": bytes(16)}, [("there", ".text", 0)], [(".text", 0, 2, "there", 0)])
    )
    rela = next(section for section in image.sections if section.type == 4)
    for symbol, fits in ((len(image.symbols) - 1, True), (len(image.symbols), False)):
        rela.body[12:16] = symbol.to_bytes(4, "little")
        if fits:
            assert len(ModuleFile(image.to_bytes()).rela_sections) == 1
        else:
            with pytest.raises(ModuleFormatError, match=f"refers to symbol {symbol} of {len(image.symbols)}"):
                ModuleFile(image.to_bytes())


def test_a_name_outside_its_table_is_refused_by_the_writer_too() -> None:
    data = bytearray(tiny_module("short", {".text": bytes(16)}))
    image = ElfImage.parse(bytes(data))
    assert image.sections
    shoff = int.from_bytes(data[40:48], "little")
    data[shoff + 64 : shoff + 68] = (0x7FFFFFF).to_bytes(4, "little")
    with pytest.raises(ModuleFormatError, match="outside its string table"):
        ElfImage.parse(bytes(data))


def test_a_list_of_exports_says_who_exports_what_the_file_wants_and_what_nobody_does(tmp_path) -> None:
    file = ModuleFile(
        tiny_module("wants", {".text": bytes(16)}, [(name, None, 0) for name in ("aa", "bb", "cc", "dd", "ee")]),
        "wants.ko",
    )
    symvers = tmp_path / "Module.symvers"
    for listed, says in (
        ("a", "nobody exports bb, cc, dd and 1 more"),
        ("ab", "nobody exports cc, dd, ee."),
        ("abcde", "5 of vmlinux."),
    ):
        symvers.write_text("".join(f"0x12345678\t{letter * 2}\tvmlinux\tEXPORT_SYMBOL\t\n" for letter in listed))
        with pytest.raises(KlpteachError) as refused:
            read_symbols(symvers, file)
        assert says in str(refused.value)


def test_kallsyms_gives_addresses_in_hex_and_of_two_the_global_one(tmp_path) -> None:
    file = ModuleFile(tiny_module("wants", {".text": bytes(16)}, [("aa", None, 0)]), "wants.ko")
    rows = tmp_path / "kallsyms"
    rows.write_text("ffffffff81000010 t aa\nffffffff81000020 T aa\nffffffff81000030 t aa\n0000000000000000 A fixed\n")
    assert read_symbols(rows, file).get("aa") == 0xFFFFFFFF81000020


EVIL = "n\x1b[31m\x9b\u202e\n"


def test_a_strangers_names_are_spelled_out_in_every_table_and_stay_raw_where_they_are_compared() -> None:
    raw = livepatch(names=b"open\0", sites=[(EVIL, f"{EVIL},1")])
    file = ModuleFile(raw, "x.ko")
    assert any(EVIL in name for name in file.symbol_names) and any(EVIL in name for name in file.section_names)
    for table in (file.sections, file.symbols, file.relocations, livepatch_sites(file)):
        wide = table.to_string(), table.to_html()
        assert all(line.isprintable() for text in wide for line in text.split("\n")) and "\\x1b[31m" in wide[0]
        assert all(str(cell).isprintable() for column in table for cell in table[column])
    sizes = {row["name"]: row for row in sections(file)}
    assert sizes[".text"]["relocations"] == 1, "counted by the raw name"
    assert [obj for obj in Brought(file, {}).waiting] == [EVIL]
