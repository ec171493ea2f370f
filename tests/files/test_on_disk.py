"""What is read from files and written to them: no half of a new file stays, no whole one is lost, no damage is a traceback."""

from __future__ import annotations

import errno
import gzip
import json
import lzma
import os
import re
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from klpteach import ModuleFile
from klpteach.errors import KlpteachError, ModuleFormatError
from klpteach.files import elf
from klpteach.files.compressed import unpack
from klpteach.files.on_disk import check_can_write, encoding_of, write_file
from klpteach.files.samples import sample
from klpteach.files.symbol_list import MAX_LIST, read_symbols
from klpteach.files.write import ElfImage, tiny_module

TEXT_POINTER = (".text", 0, 1, "f", 0)  # R_X86_64_64


def file(sections: dict[str, bytes | int], relocations: list = (), **modinfo: str) -> ModuleFile:  # type: ignore[assignment]
    return ModuleFile(tiny_module("t", sections, [("f", ".text", 0)], relocations, modinfo), "t.ko")


# -- written ------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def little_room() -> Iterator[int]:
    """A limit for the size of files, which is met as the end of a disk is: how many bytes there may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    yield 1 << 20
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_of_a_new_file_no_half_stays_and_an_old_one_is_what_it_was(tmp_path: Path, little_room: int) -> None:
    new, old = tmp_path / "new", tmp_path / "old"
    old.write_bytes(b"old")
    for path in (new, old):
        with pytest.raises(OSError, match="File too large") as full:
            write_file(path, little_room + 1, [bytes(little_room), b"1"])
        assert full.value.filename == str(path)
    assert (new.exists(), old.read_bytes()) == (False, b"old")


def test_a_file_is_what_was_written_however_long_it_was_before(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for body in (b"abcd", b"", b"x" * 10000, b"ef"):
        write_file(path, len(body), [body[:1], body[1:]])
        assert path.read_bytes() == body
    write_file("/dev/null", 4, [b"abcd"])


def test_where_a_disk_cannot_reserve_room_the_file_is_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "not here")

    monkeypatch.setattr(os, "posix_fallocate", none)
    write_file(tmp_path / "file", 4, [b"abcd"])
    monkeypatch.delattr(os, "posix_fallocate")
    write_file(tmp_path / "other", 4, [b"abcd"])
    assert (tmp_path / "file").read_bytes() == (tmp_path / "other").read_bytes() == b"abcd"


@pytest.mark.parametrize("fault", [KeyboardInterrupt, OSError])
def test_no_half_of_a_new_file_stays_whatever_ends_the_writing(fault: type[BaseException], tmp_path: Path) -> None:
    def pieces() -> Iterator[bytes]:
        yield bytes(1 << 20)
        raise fault

    with pytest.raises(fault):
        write_file(tmp_path / "new", 1 << 21, pieces())
    assert list(tmp_path.iterdir()) == []


def test_before_the_work_it_is_known_whether_a_file_can_be_written_there(tmp_path: Path) -> None:
    check_can_write(tmp_path / "here")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        check_can_write(tmp_path / "nowhere" / "here")
    with pytest.raises(IsADirectoryError):
        check_can_write(tmp_path)


# -- compressed ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, bytes])
def test_a_module_is_the_same_however_it_is_compressed(pack) -> None:  # type: ignore[no-untyped-def]
    data = sample("nfsd_demo.ko").read_bytes()
    assert unpack(pack(data), "nfsd_demo.ko.any") == data


# -- what a file may want -----------------------------------------------------------------------------------------------------


def test_a_module_may_want_128_mib_of_memory_and_not_a_byte_more() -> None:
    room = elf.MAX_MEMORY - file({".text": bytes(16), ".bss": 0}).memory_size
    assert file({".text": bytes(16), ".bss": room}).memory_size == elf.MAX_MEMORY
    with pytest.raises(ModuleFormatError, match="klpteach gives a module 128 MiB"):
        file({".text": bytes(16), ".bss": room + 1})


def test_modinfo_has_a_limit_which_is_said() -> None:
    with pytest.raises(ModuleFormatError, match=r"\.modinfo has \d+ bytes.*reads 1 MiB"):
        assert file({".text": bytes(16)}, description="x" * elf.MAX_MODINFO).modinfo_pairs


@pytest.mark.parametrize(("offset", "kind", "fits"), [(8, 1, True), (9, 1, False), (16, 1, False), (16, 0, True),
                                                      (15, 9999, True), (16, 9999, False)])  # fmt: skip
def test_a_relocation_ends_with_its_section_at_the_latest_and_a_type_that_nobody_knows_has_a_byte(
    offset: int, kind: int, fits: bool
) -> None:
    sections, entries = {".text": bytes(8), ".data": bytes(16)}, [(".data", offset, kind, "f", 0)]
    if fits:
        assert file(sections, entries).rela(file(sections, entries).rela_sections[0])["offset"] == [offset]
    else:
        with pytest.raises(ModuleFormatError, match="beyond the 16 bytes"):
            file(sections, entries)


def test_a_section_may_be_aligned_to_the_largest_page_and_no_further() -> None:
    image = ElfImage.parse(tiny_module("t", {".text": bytes(16)}))
    for align, fits in ((1 << 16, True), (1 << 17, False)):
        image.sections[1].addralign = align
        if fits:
            assert ElfImage.parse(image.to_bytes()) == image
        else:
            with pytest.raises(ModuleFormatError, match="aligned to 0x20000 bytes"):
                ElfImage.parse(image.to_bytes())


# -- words --------------------------------------------------------------------------------------------------------------------


def test_a_list_of_symbols_has_a_limit_which_is_said(tmp_path: Path) -> None:
    path = tmp_path / "kallsyms"
    with path.open("wb") as stream:
        stream.truncate(MAX_LIST + 1)
    with pytest.raises(KlpteachError, match="more than the 32 MiB"):
        read_symbols(path, ModuleFile.open(sample("nfsd_demo.ko")))


def test_an_encoding_without_its_mark_is_seen_by_its_zeros_and_bytes_without_letters_have_none() -> None:
    for encoding in ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be", "utf-8"):
        for text in ("livepatch: transition", "ends", "\u52a0\u8f7d livepatch: transition"):
            assert encoding_of(text.encode(encoding)) == encoding
    assert encoding_of(bytes(100)) == encoding_of(bytes(range(8)) * 9) == "utf-8"


def test_a_name_without_an_address_is_told_as_far_as_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "symbols.json"
    path.write_text(json.dumps({"n" * 500: "nowhere"}))
    with pytest.raises(KlpteachError, match="'nowhere' is no 64-bit address") as told:
        read_symbols(path, ModuleFile.open(sample("nfsd_demo.ko")))
    name = re.search("symbol (n+ … n+):", str(told.value))
    assert name and len(name[1]) == 80
