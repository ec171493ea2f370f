"""What is refused in a file that no tool makes, each with its reason; how much such a file may cost is test_strange_modules.py's."""

from __future__ import annotations

import gzip
import os
import struct
from pathlib import Path

import pytest
import strange_modules as strange

from klpteach import ModuleFile
from klpteach.errors import KlpteachError, ModuleFormatError
from klpteach.files.compressed import MAX_BYTES, unpack
from klpteach.files.on_disk import copy_file, draft_in, encoding_of, write_file
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


@pytest.mark.parametrize(
    "line", ["ffffffff81000000 T", "zz T name", "ffffffff81000000 T name [module] more", "no list"]
)
def test_a_line_that_is_none_of_kallsyms_is_told_by_its_number(line: str, tmp_path: Path) -> None:
    (tmp_path / "kallsyms").write_text(f"ffffffff81000000 T _text\n\n{line}\n")
    with pytest.raises(KlpteachError, match="line 3 is not ADDRESS TYPE NAME"):
        read_symbols(tmp_path / "kallsyms", ModuleFile.open(sample("nfsd_demo.ko")))


def test_a_name_with_one_address_or_one_global_symbol_is_not_doubtful(tmp_path: Path) -> None:
    rows = {"once": "t", "one_global": "tT", "static": "tt", "both_global": "TT"}
    lines = (
        f"{0xFFFFFFFF81000000 + 16 * n:x} {kind} {name}" for name, kinds in rows.items() for n, kind in enumerate(kinds)
    )
    (tmp_path / "kallsyms").write_text("\n".join(lines))
    found = read_symbols(tmp_path / "kallsyms", ModuleFile.open(sample("nfsd_demo.ko")))
    assert found.several == {"static": 2, "both_global": 2}
    assert found.get("one_global") == 0xFFFFFFFF81000010


def test_what_unpacks_to_too_much_says_how_much_may_be() -> None:
    with pytest.raises(ModuleFormatError, match="unpacks to more than 64 MiB"):
        unpack(gzip.compress(bytes(MAX_BYTES + 1), 1), "large.ko.gz")
    assert len(unpack(gzip.compress(bytes(MAX_BYTES), 1), "large.ko.gz")) == MAX_BYTES


@pytest.mark.parametrize("length", [55, 56, 60])
def test_a_modules_name_has_55_characters_at_most(length: int) -> None:
    """MODULE_NAME_LEN with its NUL; what stands behind is another field of struct module."""
    assert ModuleFile(tiny_module("m" * length, {".text": bytes(16)}), "t.ko").name == "m" * 55


def test_a_draft_may_be_made_in_a_folder_that_is_there_and_in_one_that_is_not(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "new"):
        with draft_in(folder) as draft:
            (draft / "file").write_bytes(b"x")
        assert folder.is_dir() and not draft.exists()


def test_seven_bytes_are_too_few_for_a_guess_at_their_encoding() -> None:
    assert [encoding_of("abcd".encode("utf-16-be")[:length]) for length in (7, 8)] == ["utf-8", "utf-16-be"]
    assert [encoding_of("abcd".encode("utf-16-le")[:length]) for length in (7, 8)] == ["utf-8", "utf-16-le"]


def test_functions_that_two_objects_of_klp_build_share_are_refused() -> None:
    sections = {".text": bytes(16), ".init.klp_objects": struct.pack("<56xII", 1, 0) * 2, ".init.klp_funcs": bytes(24)}
    shared = [(".init.klp_objects", 64 * n + 8, strange.POINTER, "funcs", 0) for n in range(2)]
    made = tiny_module("t", sections, [("funcs", ".init.klp_funcs", 0)], shared, {"livepatch": "Y"})
    with pytest.raises(ModuleFormatError, match="arrays of functions or objects overlap"):
        assert ModuleFile(made, "t.ko").klp


@pytest.mark.parametrize("missing", [0, 1])
def test_a_section_may_end_with_the_file(missing: int) -> None:
    data = bytearray(tiny_module("t", {".text": bytes(16)}))
    headers = struct.unpack_from("<Q", data, 40)[0]
    struct.pack_into("<QQ", data, headers + 64 + 24, len(data), 16)  # .text, moved behind everything
    data += bytes(16 - missing)
    if missing:
        with pytest.raises(ModuleFormatError, match=rf"ends at {len(data) + 1:#x}, the file at {len(data):#x}"):
            ModuleFile(bytes(data), "t.ko")
    else:
        assert ModuleFile(bytes(data), "t.ko").section_bytes(1) == bytes(16)


def test_a_list_in_which_every_address_is_hidden_says_who_may_see_them(tmp_path: Path) -> None:
    (tmp_path / "kallsyms").write_text("0000000000000000 T one\n0000000000000000 t two\n")
    with pytest.raises(KlpteachError, match="kptr_restrict"):
        read_symbols(tmp_path / "kallsyms", ModuleFile.open(sample("nfsd_demo.ko")))
