"""What is refused in a file that no tool makes, each with its reason; how much such a file may cost is test_strange_modules.py's."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest
import strange_modules as strange
from elftools.elf.enums import ENUM_E_MACHINE

from klpteach import ModuleFile
from klpteach.errors import KlpteachError, ModuleFormatError
from klpteach.files.elf_h import EM_X86_64, machine_name
from klpteach.files.on_disk import copy_file, write_file
from klpteach.files.relocation_types import HOWTO
from klpteach.files.samples import sample
from klpteach.files.symbol_list import read_symbols
from klpteach.files.write import tiny_module


def with_table(name: str, body: bytes) -> bytes:
    return tiny_module("t", {".text": bytes(16), name: body}, modinfo={"livepatch": "Y"})


def build_table(functions: int, room: int) -> bytes:
    """klp-build's one object with so many functions, of which so many have room in their array."""
    sections = {
        ".text": bytes(16),
        ".init.klp_objects": struct.pack("<56xII", functions, 0),
        ".init.klp_funcs": bytes(24 * room),
    }
    relocations = [(".init.klp_objects", 8, strange.POINTER, "funcs", 0)]
    return tiny_module("t", sections, [("funcs", ".init.klp_funcs", 0)], relocations, {"livepatch": "Y"})


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (strange.klp_quadratic(20, 20), "arrays of functions or objects overlap"),
        (strange.klp_quadratic(20, 20, 1), "arrays of functions or objects overlap"),
        (strange.klp_build_table(), "arrays of functions or objects overlap|has room for"),
        (with_table(".kpatch.funcs", bytes(55)), r"\.kpatch\.funcs has 55 bytes, no multiple of 56"),
        (with_table(".kpatch.callbacks.pre_patch", bytes(12)), r"pre_patch has 12 bytes, no multiple of 8"),
        (with_table(".init.klp_objects", bytes(65)), r"\.init\.klp_objects has 65 bytes, no multiple of 64"),
        (build_table(3, 2), r"counts 3 functions, \.init\.klp_funcs has room for 2"),
    ],
)
def test_tables_that_cannot_be_what_they_say_are_refused(data: bytes, why: str) -> None:
    with pytest.raises(ModuleFormatError, match=why):
        assert ModuleFile(data, "t.ko").klp


def test_a_table_of_klp_build_may_fill_its_room() -> None:
    info = ModuleFile(build_table(2, 2), "t.ko").klp
    assert info is not None and [len(obj.funcs) for obj in info.objects] == [2]


@pytest.mark.parametrize(("link", "fits"), [(0, False), (1, True), (-1, True), (None, False)])
def test_a_symbol_table_names_any_section_but_0_as_its_strings(link: int | None, fits: bool) -> None:
    """elf_validity_cache_index_sym(): SHN_UNDEF is none, and so is a number behind the last."""
    data = bytearray(tiny_module("t", {".text": bytes(16)}, [("f", ".text", 0)]))
    plain = ModuleFile(bytes(data), "t.ko")
    headers, symtab, strings = struct.unpack_from("<Q", data, 40)[0], plain.symtab_index, plain.strtab_index
    if link == 1:  # let section 1 be the strings
        data[headers + 64 : headers + 128] = data[headers + 64 * strings : headers + 64 * (strings + 1)]
    number = {-1: strings, None: len(plain.shdrs)}.get(link, link)
    struct.pack_into("<I", data, headers + 64 * symtab + 40, number)
    if fits:
        assert ModuleFile(bytes(data), "t.ko").symbol_names[1] == "f"
    else:
        with pytest.raises(ModuleFormatError, match=rf"names section {number} as its strings"):
            ModuleFile(bytes(data), "t.ko")


def test_a_list_that_is_no_json_says_so(tmp_path: Path) -> None:
    for text in ('{"a": }', "[1, 2", "{'a': 1}"):
        (tmp_path / "symbols").write_text(text)
        with pytest.raises(KlpteachError, match="JSON"):
            read_symbols(tmp_path / "symbols", ModuleFile.open(sample("nfsd_demo.ko")))


def test_a_pipe_that_nobody_reads_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="a pipe that nobody reads"):
        write_file(tmp_path / "pipe", 1, [b"x"])


def test_folders_are_made_for_a_copy(tmp_path: Path) -> None:
    (tmp_path / "from").write_bytes(b"x")
    copy_file(tmp_path / "from", tmp_path / "new" / "folder" / "to")
    assert (tmp_path / "new" / "folder" / "to").read_bytes() == b"x"


def test_every_machine_that_is_refused_is_named_as_pyelftools_names_it() -> None:
    spelled = {
        "i386": "386",
        "m68k": "68k",
        "powerpc": "ppc",
        "sparc64": "sparcv9",
        "ia64": "ia_64",
        "arc": "arc_compact2",
        "s390x": "s390",
    }
    known = {
        value: name.removeprefix("EM_").lower() for name, value in ENUM_E_MACHINE.items() if isinstance(value, int)
    }
    named = {value: machine_name(value) for value in known}
    told = {value: name.partition(" ")[0] for value, name in named.items() if not name.startswith("machine ")}
    assert {value: spelled.get(name, name) for value, name in told.items()} == {value: known[value] for value in told}
    assert len(told) == 18


def test_what_is_counted_from_its_own_place_is_relative() -> None:
    relative = {kind for kind, howto in HOWTO[EM_X86_64].items() if howto.relative}
    assert relative == {2, 4, 24}  # PC32, PLT32, PC64
