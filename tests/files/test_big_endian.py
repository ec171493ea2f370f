"""Big-endian module files (s390x): readelf tells the same, our own writer brings them back, and damage is refused."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from conftest import KO
from damage import mutate

from klpteach import ModuleFile
from klpteach.errors import ModuleFormatError
from klpteach.files.corrupt import CORRUPTIONS, corrupt
from klpteach.files.elf_h import EM_S390, RELA, SHDR, SYM
from klpteach.files.klp import livepatch_sections, sites
from klpteach.files.write import ElfImage, klp_convert, tiny_module

MODULES = sorted(KO.glob("s390x-*/*.ko"))
READELF = next(filter(None, map(shutil.which, ("s390x-linux-gnu-readelf", "readelf"))), "")
needs_readelf = pytest.mark.skipif(not READELF, reason="binutils is not installed")
name_of = lambda path: f"{path.parent.name}/{path.stem}"


def readelf(*words: str | Path) -> str:
    return subprocess.run([READELF, *words], capture_output=True, text=True, check=True, env={"LC_ALL": "C"}).stdout


@needs_readelf
@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_readelf_counts_the_same_relocations_by_type(path: Path) -> None:
    file = ModuleFile.open(path)
    theirs = Counter(re.findall(r"^[0-9a-f]{16} +[0-9a-f]{16} (R_390_\w+)", readelf("-rW", path), re.M))
    assert Counter(map(str, file.relocations["type"])) == theirs and theirs


@needs_readelf
@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_readelf_reads_the_same_symbols(path: Path) -> None:
    rows = re.findall(r"^ +\d+: ([0-9a-f]{16}) +(\d+|0x[0-9a-f]+) \S+ +\S+ +\S+ ", readelf("-sW", path), re.M)
    file = ModuleFile.open(path)
    assert [int(value, 16) for value, _ in rows] == file.symtab["value"].tolist()
    assert [int(size, 0) for _, size in rows] == file.symtab["size"].tolist()


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_the_writer_brings_a_big_endian_file_back(path: Path) -> None:
    data = path.read_bytes()
    again = ModuleFile(ElfImage.parse(data).to_bytes(), path.name)
    assert again.symbol_names == ModuleFile.open(path).symbol_names
    assert klp_convert(data) == data  # it has been converted


def test_behind_the_reader_tables_are_as_those_of_a_little_endian_file() -> None:
    file = ModuleFile.open(KO / "s390x-6.1" / "livepatch_nfsd_demo.ko")
    assert (file.shdrs.dtype, file.symtab.dtype, file.rela(file.rela_sections[0]).dtype) == (SHDR, SYM, RELA)


def test_a_livepatch_says_what_it_patches() -> None:
    file = ModuleFile.open(KO / "s390x-6.1" / "livepatch_five.ko")
    assert file.klp is not None and file.klp.replace
    assert [obj.name for obj in file.klp.objects] == ["nfsd_demo", "lockd_demo", "kvm_demo", "fuse_demo", "sunrpc_demo"]


def test_a_tiny_module_is_in_its_machines_byte_order() -> None:
    data = tiny_module("tiny", {".text": bytes(8)}, [("f", ".text", 4)], [(".text", 0, 22, "f", 1)], machine=EM_S390)
    file = ModuleFile(data, "tiny.ko")
    assert (data[5], file.arch, file.rela(file.rela_sections[0]).tolist()) == (2, "s390x", [(0, 22, 1, 1)])


@pytest.mark.parametrize("kind", [kind for kind in CORRUPTIONS if not kind.startswith("function-")])
def test_every_defect_can_be_made_in_a_big_endian_livepatch(kind: str) -> None:
    data = (KO / "s390x-6.1" / "livepatch_nfsd_demo.ko").read_bytes()
    damaged = ModuleFile(corrupt(data, kind), "x.ko")
    assert damaged.data != data and damaged.arch == "s390x"
    assert kind.startswith(("section", "not-marked", "marked", "undefined")) or (
        livepatch_sections(damaged) and list(sites(damaged))
    )


@pytest.mark.parametrize("seed", range(150))
def test_a_damaged_big_endian_file_is_read_or_refused_in_one_line(seed: int) -> None:
    try:
        file = ModuleFile(mutate((KO / "s390x-6.1" / "nfsd_demo.ko").read_bytes(), seed), "x.ko")
        _ = file.relocations, file.klp, file.modinfo
    except ModuleFormatError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize(("machine", "order", "words"), [
    (22, 1, "not a 64-bit big-endian ELF file: made for s390x (machine 22)"),
    (21, 2, "not a 64-bit little-endian ELF file: made for ppc64 (machine 21)"),
])  # fmt: skip
def test_the_other_byte_order_of_a_machine_is_refused_with_its_name(machine: int, order: int, words: str) -> None:
    data = bytearray((KO / "s390x-6.1" / "nfsd_demo.ko").read_bytes())
    data[5], data[16:20] = order, b"".join(n.to_bytes(2, "little" if order == 1 else "big") for n in (1, machine))
    with pytest.raises(ModuleFormatError, match=re.escape(words)):
        ModuleFile(bytes(data), "x.ko")
