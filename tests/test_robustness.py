"""Bad input: any bytes at all give a result or one clear line, within a second and 300 MB.

KLPTEACH_MUTATIONS says how many damaged modules are tried (default 1,500; `make fuzz` tries 10,000).
"""

from __future__ import annotations

import contextlib
import gzip
import importlib
import itertools
import lzma
import os
import random
import re
import resource
import struct
import sys
import time
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from damage import mutate
from oracle import SAMPLES

from klpteach import Kernel, LoadRefused, ModuleFile, ModuleFormatError, Step, load_image
from klpteach.files import klp as klp_module
from klpteach.files import klp_patch
from klpteach.files.write import ElfImage, tiny_module

MUTATIONS = int(os.environ.get("KLPTEACH_MUTATIONS", "1500"))
BATCHES = 15
SECONDS, MEGABYTES = 1.0, 300
KERNELS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("6.1", ()),
    ("6.12", ()),
    ("6.1", ("clear-relocations",)),
    ("6.1", ("clear-checked",)),
    ("5.3", ("remove-check",)),
    ("6.12", ("hard-dependencies",)),
    ("6.3", ("deny-removal",)),
)
NFSD_DEMO = next(ko for ko in SAMPLES if ko.name == "nfsd_demo.ko").read_bytes()
LIVEPATCH = next(ko for ko in SAMPLES if ko.name == "livepatch_nfsd_demo.ko").read_bytes()


# -- what is done with a damaged module -----------------------------------------------------------------------------------


def use(data: bytes, sample: str, release: str = "6.1", proposals: tuple[str, ...] = ()) -> None:
    """Everything that the course does with a module file: look at it, relocate it, load, remove and reload it.

    Errors: ModuleFormatError, LoadRefused; whatever else comes out is a bug.
    """
    file = ModuleFile(data, "x.ko")
    look_at(file)
    with contextlib.suppress(LoadRefused):
        load_image(file, 0xFFFFFFFFC0200000, lambda name: 0xFFFFFFFF81000000 + len(name), release=release)
    play(file, sample, Kernel(release=release, proposals=proposals))


def look_at(file: ModuleFile) -> None:
    """Names, tables and everything about livepatch; what is shown must be there as often as the file says."""
    assert repr(file) and isinstance(file.name, str) and isinstance(file.klp, klp_patch.KlpPatchInfo | None)
    assert len(file.sections) == len(file.section_names) == len(file.shdrs)
    assert len(file.symbols) == len(file.symbol_names) == len(file.symtab)
    assert len(file.relocations) == sum(len(file.rela(i)) for i in file.rela_sections)
    assert all(site.key for site in klp_module.sites(file))


def play(file: ModuleFile, sample: str, kernel: Kernel) -> None:
    """The story of the course with one of its modules replaced by the damaged one; it ends with the first oops."""
    story: list[Callable[[], Step]]
    if sample.startswith("livepatch"):
        patch = file.name
        story = [
            lambda: kernel.insmod("nfsd_demo.ko"),
            lambda: kernel.insmod(file),
            lambda: kernel.rmmod("nfsd_demo"),
            lambda: kernel.insmod("nfsd_demo.ko"),
            lambda: kernel.echo(0, f"/sys/kernel/livepatch/{patch}/enabled"),
            lambda: kernel.rmmod(patch),
            lambda: kernel.insmod(file),
        ]
    else:
        story = [
            lambda: kernel.insmod("livepatch_nfsd_demo.ko"),
            lambda: kernel.insmod(file),
            lambda: kernel.rmmod(file.name),
            lambda: kernel.insmod(file),
        ]
    for command in story:
        step = command()
        if step.oops:
            return
        assert step.errno is not None and -200 < step.errno <= 0


@contextlib.contextmanager
def limits() -> Iterator[None]:
    """No more than 300 MB of address space beyond what is in use now; a second of CPU time; no warning from numpy."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    start = time.process_time()
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (MEGABYTES << 20), hard))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    assert time.process_time() - start < SECONDS, "took more than a second"


def one_line(error: ModuleFormatError) -> str:
    text = str(error)
    assert text.isprintable() and 20 < len(text) < 500, repr(text[:600])
    return text


def refused(data: bytes, filename: str = "x.ko") -> str:
    """The one line that a file gets which cannot be used at all."""
    with limits(), pytest.raises(ModuleFormatError) as caught:
        ModuleFile(data, filename)
    return one_line(caught.value)


# -- damage ---------------------------------------------------------------------------------------------------------------

EHDR = {
    "e_type": (16, 2),
    "e_machine": (18, 2),
    "e_shoff": (40, 8),
    "e_shentsize": (58, 2),
    "e_shnum": (60, 2),
    "e_shstrndx": (62, 2),
}
SHDR = {
    "sh_name": (0, 4),
    "sh_type": (4, 4),
    "sh_flags": (8, 8),
    "sh_addr": (16, 8),
    "sh_offset": (24, 8),
    "sh_size": (32, 8),
    "sh_link": (40, 4),
    "sh_info": (44, 4),
    "sh_addralign": (48, 8),
    "sh_entsize": (56, 8),
}
SYM = {"st_name": (0, 4), "st_info": (4, 1), "st_shndx": (6, 2), "st_value": (8, 8), "st_size": (16, 8)}
RELA = {"r_offset": (0, 8), "r_type": (8, 4), "r_sym": (12, 4), "r_addend": (16, 8)}
EXTREMES = (
    0,
    1,
    2,
    3,
    4,
    8,
    11,
    0x7F,
    0xFF,
    0x1000,
    0xFF20,
    0xFFF1,
    0xFFF2,
    0xFFFF,
    0x100000,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    1 << 28,
    1 << 40,
    (1 << 63) - 1,
    1 << 63,
    (1 << 64) - 1,
)


def section_headers(data: bytes) -> list[int]:
    """Offset in the file of every section header."""
    shoff, shnum = struct.unpack_from("<Q", data, 40)[0], struct.unpack_from("<H", data, 60)[0]
    return [shoff + 64 * i for i in range(shnum)]


def number(data: bytes | bytearray, at: int, size: int) -> int:
    return int.from_bytes(data[at : at + size], "little")


def patched(data: bytes, at: int, size: int, value: int) -> bytes:
    return data[:at] + (value & (1 << 8 * size) - 1).to_bytes(size, "little") + data[at + size :]


def body(data: bytes, header: int) -> tuple[int, int]:
    """Start and end of a section's bytes."""
    start = number(data, header + 24, 8)
    return start, start + number(data, header + 32, 8)


def of_type(data: bytes, kind: int) -> list[int]:
    return [
        header
        for header in section_headers(data)
        if number(data, header + 4, 4) == kind and number(data, header + 32, 8)
    ]


def section_named(data: bytes, name: str) -> int:
    names = body(data, section_headers(data)[number(data, 62, 2)])[0]
    return next(
        h for h in section_headers(data) if data[names + number(data, h, 4) :].startswith(name.encode() + b"\0")
    )


def _field(data: bytes, rng: random.Random, base: int, fields: dict[str, tuple[int, int]]) -> bytes:
    at, size = fields[rng.choice(list(fields))]
    old = number(data, base + at, size)
    near = (
        old + 1,
        old - 1,
        old * 2,
        old ^ 1 << rng.randrange(8 * size),
        len(data),
        len(data) - old,
        rng.randrange(64),
    )
    new = rng.choice(EXTREMES + near)
    return patched(data, base + at, size, new)


def damage_header(data: bytes, rng: random.Random) -> bytes:
    return _field(data, rng, 0, EHDR)


def damage_section(data: bytes, rng: random.Random) -> bytes:
    return _field(data, rng, rng.choice(section_headers(data)), SHDR)


def damage_symbol(data: bytes, rng: random.Random) -> bytes:
    start, end = body(data, of_type(data, 2)[0])
    return _field(data, rng, rng.randrange(start, end, 24), SYM)


def damage_relocation(data: bytes, rng: random.Random) -> bytes:
    tables = of_type(data, 4)
    livepatch = [h for h in tables if number(data, h + 8, 8) & 0x00100000]
    start, end = body(data, rng.choice(livepatch if livepatch and rng.random() < 0.5 else tables))
    return _field(data, rng, rng.randrange(start, end, 24), RELA)


def make_nobits(data: bytes, rng: random.Random) -> bytes:
    """A section without bytes in the file, of any size."""
    header = rng.choice(section_headers(data)[1:])
    return patched(patched(data, header + 4, 4, 8), header + 32, 8, rng.choice((*EXTREMES, 1 << 26, 255 << 20)))


def damage_names(data: bytes, rng: random.Random) -> bytes:
    """A string table without its NUL, or with something unprintable in it."""
    start, end = body(data, rng.choice(of_type(data, 3)))
    at = end - 1 if rng.random() < 0.4 else rng.randrange(start, end)
    return patched(data, at, 1, rng.choice((0, 1, 0x0A, 0x2E, 0x2C, 0x41, 0x80, 0xFF)))


def damage_modinfo(data: bytes, rng: random.Random) -> bytes:
    start, end = body(data, section_named(data, ".modinfo"))
    return patched(data, rng.randrange(start, end), 1, rng.choice((0, 0x0A, 0x2F, 0x3D, 0x2E, 0x80, 0xFF)))


def cut(data: bytes, rng: random.Random) -> bytes:
    """The file ends at or beside a border of a section."""
    return data[
        : max(
            0,
            rng.choice([edge for header in section_headers(data) for edge in body(data, header)]) + rng.randint(-1, 1),
        )
    ]


def swap_sections(data: bytes, rng: random.Random) -> bytes:
    """Two section headers change places, so that every index means another section."""
    one, two = rng.sample(section_headers(data), 2)
    out = bytearray(data)
    out[one : one + 64], out[two : two + 64] = data[two : two + 64], data[one : one + 64]
    return bytes(out)


def damage_compressed(data: bytes, rng: random.Random) -> bytes:
    packed = lzma.compress(data, preset=0) if rng.random() < 0.5 else gzip.compress(data, 1, mtime=0)
    if rng.random() < 0.3:
        return packed[: rng.randrange(6, len(packed))]
    return patched(packed, rng.randrange(6, len(packed)), 1, rng.randrange(256))


def flip(data: bytes, rng: random.Random) -> bytes:
    return mutate(data, rng.randrange(1 << 30))


KINDS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    damage_header,
    damage_section,
    damage_section,
    damage_symbol,
    damage_relocation,
    make_nobits,
    damage_names,
    damage_modinfo,
    cut,
    swap_sections,
    damage_compressed,
    flip,
    flip,
)


def with_many_sites(data: bytes, count: int = 100) -> bytes:
    """A livepatch with so many livepatch relocations in .text that they are written all at once, not one by one."""
    image = ElfImage.parse(data)
    section = next(s for s in image.sections if s.name.startswith(".klp.rela.") and s.name.endswith("..text"))
    first, text = image.relocations(section)[0], image.sections[section.info].body
    image.set_relocations(section, [replace(first, offset=len(text) + 8 * i) for i in range(count)])
    text += bytes(8 * count)
    return image.to_bytes()


ORIGINALS = [(ko.name, ko.read_bytes()) for ko in SAMPLES] + [("livepatch_wide.ko", with_many_sites(LIVEPATCH))] * 3


def mutant(seed: int) -> tuple[str, bytes]:
    """A damaged sample module: its name and its bytes, decided by the seed alone; one in four is damaged twice."""
    rng = random.Random(seed)
    sample, data = rng.choice(ORIGINALS)
    data = rng.choice(KINDS)(data, rng)
    if rng.random() < 0.25:
        with contextlib.suppress(
            IndexError, StopIteration, ValueError, struct.error
        ):  # the first damage left nothing to damage
            data = rng.choice(KINDS)(data, rng)
    return sample, data


@pytest.mark.parametrize("batch", range(BATCHES))
def test_a_damaged_module_gives_a_result_or_one_clear_line(batch: int) -> None:
    seeds = range(batch, MUTATIONS, BATCHES)
    look_at(ModuleFile(NFSD_DEMO, "x.ko"))  # pandas is imported before the first limit is set
    accepted = 0
    for seed in seeds:
        sample, data = mutant(seed)
        try:
            with limits():
                use(data, sample, *KERNELS[seed % len(KERNELS)])
            accepted += 1
        except ModuleFormatError as error:
            one_line(error)
        except Exception as error:
            raise AssertionError(f"seed {seed} ({sample}): {type(error).__name__}: {error}") from error
    assert len(seeds) < 50 or 0 < accepted < len(seeds), "the damage is all of one kind, so this shows little"


# -- the kernel's words ---------------------------------------------------------------------------------------------------

Change = Callable[[bytes], bytes]


def header_field(name: str, value: int) -> Change:
    return lambda data: patched(data, *EHDR[name], value)


def section_field(section: str, name: str, value: int) -> Change:
    header = section_named(NFSD_DEMO, section)
    return lambda data: patched(data, header + SHDR[name][0], SHDR[name][1], value)


def first_section_field(name: str, value: int) -> Change:
    header = section_headers(NFSD_DEMO)[0]
    return lambda data: patched(data, header + SHDR[name][0], SHDR[name][1], value)


def unterminated_names(data: bytes) -> bytes:
    return patched(data, body(NFSD_DEMO, section_named(NFSD_DEMO, ".shstrtab"))[1] - 1, 1, 0x41)


def index_of(section: str) -> int:
    return section_headers(NFSD_DEMO).index(section_named(NFSD_DEMO, section))


SHNUM = len(section_headers(NFSD_DEMO))
SHSTRNDX = index_of(".shstrtab")
# In the kernel's order, elf_validity_check() of 6.1 (kernel/module/main.c); every one refuses with ENOEXEC.
CHECKS: dict[str, tuple[Change, str]] = {
    "empty": (lambda data: b"", "Invalid ELF header len 0"),
    "a byte less than a header": (lambda data: data[:63], "Invalid ELF header len 63"),
    "not an ELF file": (lambda data: b"MZ" + data[2:], r"Invalid ELF header magic: != \x7fELF"),
    "a program": (header_field("e_type", 2), "Invalid ELF header type: 2 != 1"),
    "another machine": (header_field("e_machine", 243), "Invalid architecture in ELF header: 243"),
    "section headers of another size": (header_field("e_shentsize", 40), "Invalid ELF section header size"),
    "section headers behind the end": (header_field("e_shoff", 1 << 63), "Invalid ELF section header overflow"),
    "no section name table": (
        header_field("e_shstrndx", 0),
        f"Invalid ELF section name index: 0 || e_shstrndx (0) >= e_shnum ({SHNUM})",
    ),
    "a section name table behind the last section": (
        header_field("e_shstrndx", SHNUM),
        f"Invalid ELF section name index: {SHNUM} || e_shstrndx ({SHNUM}) >= e_shnum ({SHNUM})",
    ),
    "the section name table wraps around": (
        section_field(".shstrtab", "sh_size", (1 << 64) - 1),
        "Invalid ELF section hdr(type 3)",
    ),
    "an empty section name table": (section_field(".shstrtab", "sh_size", 0), "empty section name table"),
    "section names without an end": (
        unterminated_names,
        "ELF Spec violation: section name table isn't null terminated",
    ),
    "section 0 has a type": (
        first_section_field("sh_type", 1),
        "ELF Spec violation: section 0 type(1)!=SH_NULL or non-zero len or addr",
    ),
    "section 0 has a size": (
        first_section_field("sh_size", 8),
        "ELF Spec violation: section 0 type(0)!=SH_NULL or non-zero len or addr",
    ),
    "section 0 has an address": (
        first_section_field("sh_addr", 8),
        "ELF Spec violation: section 0 type(0)!=SH_NULL or non-zero len or addr",
    ),
    "symbols without names": (
        section_field(".symtab", "sh_link", 0),
        f"Invalid ELF sh_link!=SHN_UNDEF(0) or (sh_link(0) >= hdr->e_shnum({SHNUM})",
    ),
    "symbols with names behind the last section": (
        section_field(".symtab", "sh_link", SHNUM),
        f"Invalid ELF sh_link!=SHN_UNDEF({SHNUM}) or (sh_link({SHNUM}) >= hdr->e_shnum({SHNUM})",
    ),
    "a section behind the end": (
        section_field(".text", "sh_offset", 1 << 40),
        f"Invalid ELF section in module (section {index_of('.text')} type 1)",
    ),
    "a section wraps around": (
        section_field(".rela.text", "sh_size", (1 << 64) - 8),
        f"Invalid ELF section in module (section {index_of('.rela.text')} type 4)",
    ),
    "a name outside the name table": (
        section_field(".text", "sh_name", 0xFFFFFFFF),
        f"Invalid ELF section name in module (section {index_of('.text')} type 1)",
    ),
    "no symbols": (section_field(".symtab", "sh_type", 1), "nfsd_demo: module has no symbols (stripped?)"),
    "no struct module": (
        section_field(".gnu.linkonce.this_module", "sh_flags", 1),
        "nfsd_demo: No module found in object",
    ),
}


def kernel_words(line: str) -> str | None:
    match = re.search(r'The kernel would say "(.*)" and refuse with ENOEXEC\.', line)
    return match[1] if match else None


@pytest.mark.parametrize("check", CHECKS)
def test_each_check_quotes_the_kernels_exact_words(check: str) -> None:
    change, words = CHECKS[check]
    assert kernel_words(refused(change(NFSD_DEMO), "broken.ko")) == words


def test_of_two_defects_the_one_is_named_that_the_kernel_meets_first() -> None:
    in_order = [change for check, (change, _) in CHECKS.items() if not check.startswith(("empty", "a byte less"))]
    pairs = 0
    for earlier, later in itertools.combinations(in_order[:14], 2):  # after them the kernel goes section by section
        both = earlier(later(NFSD_DEMO))
        if both not in (earlier(NFSD_DEMO), later(NFSD_DEMO)):  # two that change the same field cannot both be there
            assert kernel_words(refused(both)) == kernel_words(refused(earlier(NFSD_DEMO)))
            pairs += 1
    assert pairs > 60


def at_start_of(section: str, offset: int, size: int, value: int) -> Change:
    start = body(NFSD_DEMO, section_named(NFSD_DEMO, section))[0]
    return lambda data: patched(data, start + offset, size, value)


TEXT_SIZE = number(NFSD_DEMO, section_named(NFSD_DEMO, ".text") + SHDR["sh_size"][0], 8)
UNCHECKED: dict[str, Change] = {
    "a relocation far behind its section": at_start_of(".rela.text", 0, 8, 1 << 62),
    "a relocation that ends a byte behind its section": at_start_of(".rela.text", 0, 8, TEXT_SIZE - 3),
    "a relocation against a symbol that is not there": at_start_of(".rela.text", 12, 4, 1 << 31),
    "half a relocation": section_field(".rela.text", "sh_size", 25),
    "half a symbol": section_field(".symtab", "sh_size", 47),
    "no symbols in the table": section_field(".symtab", "sh_size", 0),
    "a symbol's name outside its table": at_start_of(".symtab", 24, 4, 0xFFFFFFF0),
    "symbol names without an end": lambda data: patched(
        data, body(data, section_named(data, ".strtab"))[1] - 1, 1, 0x41
    ),
    "an alignment of 3": section_field(".text", "sh_addralign", 3),
    "an alignment of 2^63": section_field(".text", "sh_addralign", 1 << 63),
}


@pytest.mark.parametrize("defect", UNCHECKED)
def test_what_the_kernel_does_not_check_is_named_as_such(defect: str) -> None:
    line = refused(UNCHECKED[defect](NFSD_DEMO), "broken.ko")
    assert line.startswith("broken.ko: ") and "The kernel would not check this." in line


@pytest.mark.parametrize("size, kernel", [
    (129 << 20, "The kernel has another limit, the space for all modules, 1 GiB."),
    (257 << 20, "The kernel has another limit, the space for all modules, 1 GiB."),
    (1 << 63, "The kernel would refuse with ENOMEM: its space for all modules, 1 GiB."),
])  # fmt: skip
def test_a_bss_that_klpteach_does_not_hold_is_not_said_to_be_too_large_for_the_kernel(size: int, kernel: str) -> None:
    line = refused(section_field(".bss", "sh_size", size)(NFSD_DEMO), "broken.ko")
    assert "klpteach gives a module 128 MiB at most. " in line and line.endswith(kernel)


# -- other ways to be no module -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ko", SAMPLES, ids=lambda ko: f"{ko.parent.name}/{ko.stem}")
def test_a_module_cut_at_any_border_of_a_section_is_refused(ko: Path) -> None:
    data = ko.read_bytes()
    borders = {edge for header in section_headers(data) for edge in body(data, header)}
    for edge in sorted({at + by for at in borders for by in (-1, 0, 1) if 0 <= at + by < len(data)}):
        assert kernel_words(refused(data[:edge], ko.name)), "the kernel checks that"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"\x7fELF",
        bytes(64),
        bytes(100_000),
        b"#!/bin/sh\n" * 100,
        b"\x7fELF" + b"\xff" * 500,
        b"\x7fELF\x02\x01" + bytes(200),
        b"!<arch>\n" + bytes(300),
    ],
    ids=lambda data: repr(data[:8]),
)
def test_what_is_no_module_at_all_is_refused(data: bytes) -> None:
    assert kernel_words(refused(data)) or data[:6] == b"\x7fELF\xff\xff"


@pytest.mark.parametrize("at, value", [(4, 1), (5, 2)], ids=["32-bit", "big-endian"])
def test_another_kind_of_elf_is_refused(at: int, value: int) -> None:
    assert "64-bit little-endian" in refused(patched(NFSD_DEMO, at, 1, value))


def test_a_ppc64le_module_cannot_be_loaded_into_an_x86_64_kernel() -> None:
    file = ModuleFile(patched(NFSD_DEMO, 18, 2, 21), "x.ko")
    step = Kernel().insmod(file)
    assert (step.errno, [line for _, line in step.dmesg]) == (-8, ["Invalid architecture in ELF header: 21"])


def zstd(data: bytes) -> bytes:
    """Compressed by Python's own zstd or the wheel; the test is skipped where there is neither."""
    if sys.version_info >= (3, 14):
        return bytes(importlib.import_module("compression.zstd").compress(data))
    return bytes(pytest.importorskip("zstandard", reason="no zstandard here").compress(data))


PACKERS = {"xz": lzma.compress, "gz": gzip.compress, "zst": zstd}


@pytest.mark.parametrize("kind", PACKERS)
def test_a_compressed_module_is_the_same_module(kind: str) -> None:
    assert ModuleFile(PACKERS[kind](NFSD_DEMO), f"x.ko.{kind}").data == NFSD_DEMO


@pytest.mark.parametrize("kind", PACKERS)
def test_a_damaged_or_cut_compressed_module_is_refused(kind: str) -> None:
    packed = PACKERS[kind](NFSD_DEMO)
    for broken in (
        packed[:-1],
        packed[: len(packed) // 2],
        packed[:7],
        patched(packed, len(packed) // 2, 4, 0xDEADBEEF) if kind != "zst" else patched(packed, 4, 4, 0xDEADBEEF),
    ):
        assert "download complete" in refused(broken, f"x.ko.{kind}")


def test_zstd_whose_middle_is_damaged_gives_a_module_or_the_one_error() -> None:
    """A frame need not have a checksum: then other bytes come out, and what they are is for the reader of ELF to find."""
    packed = zstd(NFSD_DEMO)
    for at in range(4, len(packed) - 4, 97):
        with limits(), contextlib.suppress(ModuleFormatError):
            ModuleFile(patched(packed, at, 4, 0xDEADBEEF), "x.ko.zst")


def test_without_zstd_a_module_is_refused_with_what_to_install_or_run(monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("compression.zstd", "zstandard"):
        monkeypatch.setitem(sys.modules, package, None)
    line = refused(b"\x28\xb5\x2f\xfd" + bytes(100), "x.ko.zst")
    assert "pip install zstandard (the extra zst)" in line and "zstd -d x.ko.zst" in line


class PythonsOwn:
    """The interface of compression.zstd (Python 3.14), on the wheel, to be tried on older ones."""

    ZstdError = RuntimeError

    class ZstdDecompressor:
        def __init__(self) -> None:
            self.eof = False

        def decompress(self, data: bytes, max_length: int = -1) -> bytes:
            reader = importlib.import_module("zstandard").ZstdDecompressor().stream_reader(data)
            plain = bytes(reader.read(max_length))
            self.eof = len(plain) < max_length
            return plain


def test_pythons_own_zstd_comes_before_the_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = zstd(NFSD_DEMO)
    if sys.version_info < (3, 14):
        monkeypatch.setitem(sys.modules, "compression", PythonsOwn)
        monkeypatch.setitem(sys.modules, "compression.zstd", PythonsOwn)
    monkeypatch.setattr("klpteach.files.compressed._InPieces", None)
    assert ModuleFile(packed, "x.ko.zst").data == NFSD_DEMO


@pytest.mark.parametrize("kind", PACKERS)
def test_300_megabytes_of_zeros_in_a_small_compressed_file_are_not_unpacked(kind: str) -> None:
    line = refused(bomb(kind), f"x.ko.{kind}")
    assert "unpacks to more than" in line


def bomb(kind: str) -> bytes:
    """300 MB of zeros, compressed piece by piece; zstd in one."""
    if kind == "zst":
        return zstd(bytes(300 << 20))
    packer = lzma.LZMACompressor(preset=0) if kind == "xz" else zlib.compressobj(1, zlib.DEFLATED, 31)
    return b"".join([*(packer.compress(bytes(1 << 20)) for _ in range(300)), packer.flush()])


def test_a_file_of_gigabytes_is_refused_without_being_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.ko"
    with path.open("wb") as stream:
        stream.truncate(8 << 30)  # a hole: takes no room on the disk
    with limits(), pytest.raises(ModuleFormatError, match=r"huge\.ko: 8589934592 bytes") as caught:
        ModuleFile.open(path)
    one_line(caught.value)


def test_a_path_that_cannot_be_read_is_bad_input(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing.ko", tmp_path / ("x" * 300), tmp_path / "nul\0.ko"):
        with pytest.raises(ModuleFormatError) as caught:
            ModuleFile.open(path)
        assert len(str(caught.value).splitlines()) == 1


def test_many_sections_with_great_alignments_do_not_make_a_giant() -> None:
    """4,000 sections of one byte that want to stand 1 MiB apart."""
    tiny = bytearray(NFSD_DEMO[section_named(NFSD_DEMO, ".text") :][:64])
    for field, value in {"sh_offset": 64, "sh_size": 1, "sh_addralign": 1 << 20}.items():
        at, size = SHDR[field]
        tiny[at : at + size] = value.to_bytes(size, "little")
    headers = NFSD_DEMO[section_headers(NFSD_DEMO)[0] :][: 64 * SHNUM] + bytes(tiny) * 4000
    moved = header_field("e_shoff", len(NFSD_DEMO))(header_field("e_shnum", SHNUM + 4000)(NFSD_DEMO))
    with limits(), contextlib.suppress(ModuleFormatError, LoadRefused):
        load_image(ModuleFile(moved + headers, "x.ko"), 0xFFFFFFFFC0200000, lambda name: 0xFFFFFFFF81000000)


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
@pytest.mark.parametrize("where", ["not in memory", "no such section", "the symbol table"])
def test_livepatch_relocations_for_a_section_that_is_nowhere_are_survived(
    where: str, kernel: tuple[str, tuple[str, ...]]
) -> None:
    image = ElfImage.parse(with_many_sites(LIVEPATCH))
    for section in [s for s in image.sections if s.name.startswith(".klp.rela.")]:
        if where == "not in memory":
            image.sections[section.info].flags &= ~2
        elif where == "no such section":
            section.info = 0xFFFF
        else:
            section.info = image.sections.index(image.symtab)
            image.set_relocations(section, [replace(entry, offset=1 << 40) for entry in image.relocations(section)])
    with limits(), contextlib.suppress(ModuleFormatError):
        use(image.to_bytes(), "livepatch_wide.ko", *kernel)


@pytest.mark.parametrize("release", ["6.1", "6.12"])
def test_a_module_without_code_can_be_loaded(release: str) -> None:
    data = tiny_module("empty", {".text": b"", ".data": bytes(8)})
    assert Kernel(release=release).insmod(ModuleFile(data, "empty.ko")).errno == 0


def test_a_library_error_is_the_only_kind_and_keeps_the_kernel_usable() -> None:
    kernel = Kernel()
    with pytest.raises(ModuleFormatError):
        kernel.insmod(ModuleFile(LIVEPATCH[:500], "x.ko"))
    assert kernel.insmod("nfsd_demo.ko").errno == kernel.insmod("livepatch_nfsd_demo.ko").errno == 0
