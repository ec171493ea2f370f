"""klp_convert, the catalogue of bad livepatches and the tiny modules, judged by binutils wherever binutils has an opinion."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from damage import mutate
from hypothesis import given, settings
from hypothesis import strategies as st

from klpteach.errors import KlpteachError, ModuleFormatError
from klpteach.files.corrupt import CORRUPTIONS, corrupt
from klpteach.files.elf_h import SHN_LIVEPATCH
from klpteach.files.write import ElfImage, Rela, klp_convert, tiny_module

KO = Path(__file__).resolve().parents[2] / "data" / "ko"
SAMPLES = sorted(KO.glob("x86_64-*/*.ko"))
LIVEPATCHES = sorted(KO.glob("x86_64-*/livepatch_nfsd_demo.ko"))

needs_readelf = pytest.mark.skipif(not shutil.which("readelf"), reason="binutils is not installed")
needs_as = pytest.mark.skipif(not shutil.which("as") or not shutil.which("readelf"), reason="binutils is not installed")
every_sample = pytest.mark.parametrize("ko", SAMPLES, ids=lambda ko: f"{ko.parent.name}/{ko.stem}")
every_livepatch = pytest.mark.parametrize("ko", LIVEPATCHES, ids=lambda ko: ko.parent.name)


def run(*command: str | Path) -> str:
    """Output of a binutils program that must not complain."""
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"}
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def readelf_relocations(path: Path) -> list[tuple[str, int, str, str]]:
    """(section, offset, type, symbol and addend) of every relocation, as readelf tells them."""
    rows, section = [], ""
    for line in run("readelf", "-rW", path).splitlines():
        if heading := re.match(r"Relocation section '(.*)'", line):
            section = heading[1]
        elif entry := re.match(r"([0-9a-f]{16})  [0-9a-f]{16} (R_\w+) +[0-9a-f]{16} (.*)", line):
            rows.append((section, int(entry[1], 16), entry[2], entry[3].strip()))
    return rows


def image_relocations(image: ElfImage) -> list[tuple[int, Rela]]:
    """(target section, entry) of every relocation, ordinary and livepatch alike."""
    return [(s.info, entry) for s in image.sections if s.type == 4 for entry in image.relocations(s)]


# --- outside authority: readelf and objdump ---------------------------------------------------------------------------


@needs_readelf
@every_sample
def test_binutils_has_nothing_to_complain_about_in_a_sample_module(ko):
    assert "There are" in run("readelf", "-aW", ko)
    assert "Disassembly of section .init.text" in run("objdump", "-dr", ko)


@needs_readelf
@every_livepatch
def test_readelf_sees_livepatch_sections_over_text_unlikely_text_and_data(ko):
    rows = [line for line in run("readelf", "-SW", ko).splitlines() if ".klp.rela." in line]
    names = [re.search(r"(\.klp\.rela\.\S+) +RELA", row)[1] for row in rows]
    joined = ko.parent.name == "x86_64-7.3"  # whose scripts/module.lds.S puts .text.unlikely into .text
    patched = (".data", ".text") if joined else (".data", ".text", ".text.unlikely")
    assert sorted(names) == [f".klp.rela.nfsd_demo.{section}" for section in patched]
    assert all(" AIo " in row for row in rows)  # alloc, info link, OS specific: as the kernel's document shows it


@needs_readelf
@every_livepatch
def test_readelf_shows_livepatch_symbols_as_os_specific(ko):
    rows = [line for line in run("readelf", "-sW", ko).splitlines() if ".klp.sym." in line]
    assert all(
        re.search(r"0{16} +0 NOTYPE +GLOBAL DEFAULT OS \[0xff20\] \.klp\.sym\.nfsd_demo\.\w+,[02]$", row)
        for row in rows
    )
    assert sum("demo_dup,2" in row for row in rows) == 1


@needs_readelf
@every_livepatch
def test_the_sample_livepatch_uses_every_type_of_x86_64_that_a_livepatch_can(ko):
    kinds = {kind for section, _, kind, _ in readelf_relocations(ko) if section.startswith(".klp.rela.")}
    assert kinds == {f"R_X86_64_{name}" for name in ("64", "PC32", "PLT32", "32S", "PC64")}


@needs_as
def test_no_relocation_of_an_assembled_object_is_lost_or_moved_to_another_place(tmp_path):
    source = """
        .section .text.unlikely, "ax"
        call ".klp.sym.rela.nfsd.nfsd.e_show,0"
        .section .text, "ax"
        call printk
        mov ".klp.sym.rela.nfsd.nfsd.nfsd_mutex,2"(%rip), %eax
        mov ".klp.sym.rela.lockd.lockd.nlm_table,0"(, %rax, 4), %eax
        .data
        .quad ".klp.sym.rela.nfsd.nfsd.e_show,0" - ., ".klp.sym.rela.nfsd.nfsd.e_show,0" + 16, printk
        .section .modinfo, "a"
        .string "name=raw"
        .section .note.GNU-stack, "", @progbits
    """
    raw, finished = tmp_path / "raw.o", tmp_path / "finished.ko"
    subprocess.run(["as", "-o", raw, "-"], input=source, text=True, check=True)
    finished.write_bytes(klp_convert(raw.read_bytes()))
    before, after = readelf_relocations(raw), readelf_relocations(finished)
    renamed = Counter(
        (at, kind, re.sub(r"\.klp\.sym\.rela\.\w+", ".klp.sym", symbol)) for _, at, kind, symbol in before
    )
    assert renamed == Counter((at, kind, symbol) for _, at, kind, symbol in after)
    assert Counter(section for section, *_ in after) == {
        ".rela.text": 1, ".rela.data": 1, ".klp.rela.nfsd..text": 1, ".klp.rela.lockd..text": 1,
        ".klp.rela.nfsd..text.unlikely": 1, ".klp.rela.nfsd..data": 2,
    }  # fmt: skip


@needs_readelf
def test_readelf_finds_in_a_tiny_module_what_was_put_in(tmp_path):
    path = tmp_path / "tiny.ko"
    path.write_bytes(
        tiny_module(
            "tiny",
            {".text": b"\xe8\0\0\0\0\xc3", ".data": bytes(8), ".bss": 64},
            [("start", ".text", 0), ("printk", None, 0), (".klp.sym.nfsd.e_show,0", None, 0)],
            [(".text", 1, 4, "printk", -4), (".data", 0, 1, "start", 2)],
            {"livepatch": "Y"},
        )
    )
    assert "tiny.ko" not in run("readelf", "-aW", path)  # readelf names the file only to complain
    assert [row[:3] for row in readelf_relocations(path)] == [
        (".rela.text", 1, "R_X86_64_PLT32"),
        (".rela.data", 0, "R_X86_64_64"),
    ]
    assert {"name=tiny", "license=GPL", "livepatch=Y"} <= set(run("readelf", "-p", ".modinfo", path).split())
    assert re.search(r"\.bss +NOBITS +0+ \w+ 000040 00 +WA", run("readelf", "-SW", path))
    assert re.search(r"OS \[0xff20\] \.klp\.sym\.nfsd\.e_show,0", run("readelf", "-sW", path))


@needs_readelf
@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("unknown-type", r"R_X86_64_REX_GOTPCRELX"),
        ("type-none", r"R_X86_64_NONE"),
        ("overflow", r"R_X86_64_32 "),
        ("symbol-undef", r"DEFAULT +UND \.klp\.sym\.nfsd_demo\.demo_\w+,0"),
        ("symbol-abs", r"DEFAULT +ABS \.klp\.sym\.nfsd_demo\.demo_\w+,0"),
        ("symbol-bad-index", r"DEFAULT (bad section index\[768\]| +768|BAD\[0x300\]) \.klp"),
        ("symbol-position-3", r"demo_dup,3"),
        ("section-not-livepatch", r"\.klp\.rela\.nfsd_demo\.\.text +RELA.* AI "),
        ("section-not-alloc", r"\.klp\.rela\.nfsd_demo\.\.text +RELA.* Io "),
        ("section-no-object", r"\.klp\.rela\.\.\.text +RELA"),
    ],
)
def test_readelf_sees_the_defect(kind, words, tmp_path):
    path = tmp_path / "bad.ko"
    path.write_bytes(corrupt(LIVEPATCHES[0].read_bytes(), kind))
    shown = subprocess.run(["readelf", "-SrsW", path], capture_output=True, text=True)
    assert shown.returncode == 0
    assert re.search(words, shown.stdout)


# --- properties --------------------------------------------------------------------------------------------------------

SYMBOLS = (
    "printk",
    ".klp.sym.rela.nfsd.nfsd.e_show,0",
    ".klp.sym.rela.nfsd.nfsd.dup.isra.3,2",
    ".klp.sym.rela.lockd.nfsd.e_show,0",
)
RELOCATIONS = st.lists(
    st.tuples(
        st.sampled_from((".text", ".data")),
        st.integers(0, 2**32),
        st.sampled_from((1, 2, 4, 11, 24)),
        st.sampled_from(SYMBOLS),
        st.integers(-(2**63), 2**63 - 1),
    )
)


def raw_module(relocations: list[tuple[str, int, int, str, int]]) -> bytes:
    return tiny_module(
        "lp", {".text": bytes(64), ".data": bytes(64)}, [(name, None, 0) for name in SYMBOLS], relocations
    )


@given(RELOCATIONS)
def test_conversion_loses_no_relocation_and_makes_no_new_one(relocations):
    raw = raw_module(relocations)
    assert Counter(image_relocations(ElfImage.parse(raw))) == Counter(
        image_relocations(ElfImage.parse(klp_convert(raw)))
    )


@given(RELOCATIONS)
def test_after_conversion_each_section_holds_its_own_kind_in_the_old_order(relocations):
    image = ElfImage.parse(klp_convert(raw_module(relocations)))
    for section in [s for s in image.sections if s.type == 4]:
        entries = image.relocations(section)
        livepatch = section.name.startswith(".klp.rela.")
        assert {image.symbols[entry.symbol].shndx == SHN_LIVEPATCH for entry in entries} <= {livepatch}
        target, objects = image.sections[section.info].name, {"lockd": SYMBOLS[3:], "nfsd": SYMBOLS[1:3]}
        names = objects[section.name.split(".")[3]] if livepatch else SYMBOLS[:1]
        assert [(e.offset, e.type, e.addend) for e in entries] == [
            (at, kind, addend) for where, at, kind, symbol, addend in relocations if where == target and symbol in names
        ]


@given(RELOCATIONS)
def test_converting_twice_is_converting_once(relocations):
    once = klp_convert(raw_module(relocations))
    assert klp_convert(once) == once


@given(st.sampled_from(SAMPLES), st.integers(0, 2**32))
@settings(max_examples=300, deadline=None)
def test_a_damaged_file_raises_module_format_error_and_nothing_else(ko, seed):
    damaged = mutate(ko.read_bytes(), seed)
    for use in (ElfImage.parse, klp_convert, lambda data: corrupt(data, "function-missing")):
        with contextlib.suppress(ModuleFormatError):
            use(damaged)


@given(st.binary(max_size=200), st.integers())
def test_a_mutation_depends_on_its_seed_only(data, seed):
    assert mutate(data, seed) == mutate(data, seed)
    assert len(mutate(data, seed)) <= len(data)


@every_sample
def test_a_sample_module_survives_reading_and_writing(ko):
    before, after = ElfImage.parse(ko.read_bytes()), ElfImage.parse(ElfImage.parse(ko.read_bytes()).to_bytes())
    assert after.symbols == before.symbols
    for old, new in zip(before.sections, after.sections, strict=True):
        assert old == new or old.name in (".symtab", ".strtab", ".shstrtab")  # these are made anew from the names


# --- examples ----------------------------------------------------------------------------------------------------------


@every_sample
def test_a_sample_module_is_small_and_finished_and_knows_no_path_of_the_machine_that_built_it(ko):
    data = ko.read_bytes()
    assert len(data) < 20 * 1024
    assert b".klp.sym.rela." not in data
    assert not re.search(rb"/(home|tmp|usr|root|build|var)/", data)


@pytest.mark.parametrize("release", ["x86_64-6.1", "x86_64-6.12"])
@pytest.mark.parametrize("variant", ["failinit", "pad16k", "pad300k", "v2"])
def test_a_variant_of_nfsd_demo_keeps_the_module_name(release, variant):
    assert b"\0name=nfsd_demo\0" in (KO / release / f"nfsd_demo_{variant}.ko").read_bytes()


def test_a_file_without_livepatch_symbols_comes_back_as_it_is():
    plain = tiny_module("plain", {".text": bytes(4)})
    assert klp_convert(plain) is plain


@pytest.mark.parametrize(
    "name", [".klp.sym.rela.nfsd.e_show,0", ".klp.sym.rela.nfsd.nfsd.e_show", ".klp.sym.rela.nfsd.nfsd.e_show,x"]
)
def test_a_malformed_name_is_refused_with_the_form_that_was_expected(name):
    with pytest.raises(ModuleFormatError, match=r"LPOBJ\.SYMOBJ\.NAME,POS"):
        klp_convert(tiny_module("bad", {".text": bytes(4)}, [(name, None, 0)]))


def test_a_relocation_of_a_debug_section_is_refused_with_a_hint():
    image = ElfImage.parse(raw_module([(".text", 1, 2, SYMBOLS[1], 0)]))
    image.sections[1].flags = 0
    with pytest.raises(ModuleFormatError, match="strip --strip-debug"):
        klp_convert(image.to_bytes())


@every_livepatch
@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_each_corruption_changes_the_livepatch_and_leaves_a_readable_file(kind, ko):
    data = ko.read_bytes()
    assert corrupt(data, kind) != data
    assert ElfImage.parse(corrupt(data, kind)).machine == 62
    assert CORRUPTIONS[kind][0]


def test_an_unknown_corruption_is_answered_with_the_known_ones():
    with pytest.raises(KlpteachError, match="nonzero-site"):
        corrupt(tiny_module("tiny", {}), "no-such-kind")


@pytest.mark.parametrize("kind", ["nonzero-site", "function-missing", "not-marked"])
def test_a_module_that_is_no_livepatch_has_nothing_to_corrupt(kind):
    with pytest.raises(ModuleFormatError):
        corrupt(tiny_module("tiny", {".text": bytes(4)}), kind)


@pytest.mark.parametrize("length", [0, 4, 63, 64, 1000])
def test_an_incomplete_file_is_refused(length):
    with pytest.raises(ModuleFormatError):
        ElfImage.parse(LIVEPATCHES[0].read_bytes()[:length])


def test_a_tiny_module_with_a_relocation_against_nothing_is_refused():
    with pytest.raises(ModuleFormatError, match="nobody"):
        tiny_module("tiny", {".text": bytes(8)}, [], [(".text", 0, 1, "nobody", 0)])
