"""More rules that small changes could break unnoticed: what is not there, what is invented, and what stays behind a refusal."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest
from test_edges import LP
from test_ppc64le import BASE, BL, OUTSIDE, outside
from test_ppc64le import module as ppc64le_module
from test_survivors import file
from test_survivors_memory import table_of

from klpteach import Kernel, KlpteachError, LoadRefused, ModuleFile, load_image
from klpteach.errors import ModuleFormatError, PolicyError, RecordingError
from klpteach.files.elf_h import STB_WEAK, SYM
from klpteach.files.relocation_types import NOP
from klpteach.files.samples import sample
from klpteach.files.write import ElfImage, Symbol, tiny_module
from klpteach.model import arch, messages
from klpteach.model.errno import EACCES, EINVAL, EIO, ENODEV, ENOENT, ENOEXEC, Refused
from klpteach.model.policy import behaviour, default_release, names_of
from klpteach.model.step import Step

STB_GLOBAL = 1  # gABI

# -- what is not there --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/sys/kernel/livepatch/nobody/enabled",
        "/sys/kernel/livepatch/nobody/force",
        "/sys/kernel/livepatch/nfsd_demo/enabled",
        "/sys/module/nobody/parameters/any",
        "/sys/module/nfsd_demo/parameters/any",
        "/proc/nobody",
    ],
)
@pytest.mark.parametrize("value", ["0", "1", "x"])
def test_a_write_to_what_is_not_there_finds_nothing(path: str, value: str) -> None:
    kernel = Kernel()
    kernel.insmod("nfsd_demo.ko")
    kernel.insmod(f"{LP}.ko")
    assert (kernel.echo(value, path).errno, kernel.klp.find(LP).enabled) == (ENOENT, True)


@pytest.mark.parametrize(
    ("path", "errno"),
    [
        (f"/sys/kernel/livepatch/{LP}/transition", EACCES),
        ("/sys/module/nfsd_demo/refcnt", EACCES),
        ("/proc/nfsd_demo", EIO),
    ],
)
@pytest.mark.parametrize("value", ["0", "1", "x"])
def test_what_is_only_read_takes_no_write_from_root_either(path: str, errno: int, value: str) -> None:
    kernel = Kernel()
    kernel.insmod("nfsd_demo.ko")
    kernel.insmod(f"{LP}.ko")
    assert (kernel.echo(value, path).errno, kernel.cat(path).errno) == (errno, 0)


def test_rules_of_a_kernel_that_nobody_described_are_not_made_up() -> None:
    with pytest.raises(PolicyError, match=r"unknown release '4\.19'"):
        behaviour("4.19")


@pytest.mark.parametrize(
    ("name", "start", "mib"),
    [("x86_64", 0xFFFFFFFF81000000, 16), ("ppc64le", 0xC000000000000000, 16), ("arm64", 0xFFFF800080000000, 4)],
)
def test_a_symbol_whose_address_nobody_recorded_stands_in_the_kernels_text_like_a_function(
    name: str, start: int, mib: int
) -> None:
    kernel = Kernel(name, default_release(name))
    for symbol in map("nobody_knows_{}".format, range(200)):
        address = kernel.vmlinux_function(symbol)
        assert start <= address < start + (mib << 20) and address % 16 == 0
        assert kernel.invented(symbol) == address
    assert len({kernel.invented(f"f{number}") for number in range(200)}) == 200


def test_what_a_story_declares_holds_for_its_file_and_where_a_module_landed_is_told() -> None:
    kernel = Kernel(init_errno={"nfsd_demo.ko": ENODEV})
    assert kernel.insmod("nfsd_demo.ko").errno == ENODEV
    step = kernel.insmod("lockd_demo.ko")
    assert (step.errno, step.placement["lockd_demo"]["core"]) == (0, kernel.find_module("lockd_demo").base)
    assert kernel.rmmod("lockd_demo").placement is None


# -- what is refused ----------------------------------------------------------------------------------------------------------


def test_a_region_that_leaves_the_address_space_is_told_with_its_size() -> None:
    with pytest.raises(KlpteachError, match=r"core at 0xfffffffffffff000 is 0x14000 bytes long"):
        load_image(ModuleFile.open(sample("filler64k.ko")), 0xFFFFFFFFFFFFF000, lambda name: 0, "6.1")


def test_every_symbol_that_is_missing_is_listed_and_a_weak_one_may_be() -> None:
    image = ElfImage.parse(file("wants", {"init_module": ".text"}).data)
    image.symbols += [Symbol("one", STB_GLOBAL << 4), Symbol("maybe", STB_WEAK << 4), Symbol("two", STB_GLOBAL << 4)]
    kernel = Kernel()
    kernel.known = frozenset({"wants.ko"})
    step = kernel.insmod(ModuleFile(image.to_bytes(), "wants.ko"))
    assert (step.errno, step.lines[-2:]) == (
        ENOENT,
        [f"wants: Unknown symbol {name} (err -2)" for name in ("one", "two")],
    )


def test_a_table_without_room_for_the_stubs_of_ftrace_refuses_the_module() -> None:
    """module_finalize_ftrace(), behind stub_for_addr(): a warning, and -ENOENT."""
    me, lines = table_of("search")
    table = me.image.stub_table
    for number in range(10, 14):
        table.stub_for_addr(me, OUTSIDE + 16 * number, "f")
    with pytest.raises(Refused) as refused:
        me.image.arch.module_finalize(me, lambda name: OUTSIDE + 16 * (20 + len(name)))
    assert refused.value.errno == ENOENT and lines
    me.image.arch.module_finalize(me, lambda name: None)  # a kernel without them asks for no stub


def test_a_call_that_ends_with_the_last_page_of_its_memory_makes_the_loader_read_behind_it() -> None:
    """restore_r2() looks at the word after the call; nothing is mapped behind the text."""
    text = struct.pack("<I", NOP) * 0x3FFF + struct.pack("<I", BL)
    whole = ppc64le_module(text, [(".text", 0xFFFC, 10, "f1", 0)], (("f1", None, 0),))
    bases = {"text": BASE, "rodata": BASE + 0x100000, "data": BASE + 0x200000}
    with pytest.raises(LoadRefused, match="would oops") as refused:
        load_image(whole, bases, outside, "6.12")
    assert refused.value.errno == 0 and f"{BASE + 0x10000:#x}" in "".join(refused.value.dmesg)


@pytest.mark.parametrize("words", [(0xE84CFFF8, NOP), (NOP, 0x7C426214)])
def test_the_entry_of_a_function_is_rewritten_only_where_both_instructions_are_those(words: tuple[int, int]) -> None:
    text = struct.pack("<4I", *words, NOP, NOP)
    made = ppc64le_module(text, [(".text", 0, 118, "f", 0)], (("f", ".text", 0),))
    assert bytes(load_image(made, BASE, outside).sections[".text"][1]) == text


def test_x86_64_has_no_stubs_and_ppc64le_no_memory_of_its_own_for_init() -> None:
    x86_64, ppc64le = arch.of("x86_64"), arch.of("ppc64le")
    assert (x86_64.has_stubs, ppc64le.has_stubs) == (False, True)
    assert (x86_64.module_init_section(".init.text"), ppc64le.module_init_section(".init.text")) == (True, False)


# -- split-per-object -----------------------------------------------------------------------------------------------------------


def split() -> Kernel:
    return Kernel(release="6.12", proposals=["split-per-object"])


def names(kernel: Kernel) -> list[str]:
    return [mod.name for mod in kernel.modules]


def test_a_target_that_is_refused_for_its_second_livepatch_loses_the_part_of_the_first_too() -> None:
    kernel = split()
    kernel.insmod("livepatch_callbacks.ko")
    kernel.insmod(f"{LP}+symbol-missing.ko")
    assert all("nfsd_demo" in one.parts for one in kernel.split.installed)
    step = kernel.insmod("nfsd_demo.ko")
    assert (step.errno, names(kernel), kernel.klp.patches) == (EINVAL, [], [])
    assert any(map(messages.NO_PART.match, step.lines))


def test_only_a_load_in_the_background_waits() -> None:
    kernel = split()
    kernel.insmod("livepatch_five.ko")
    kernel.insmod_in_background("nfsd_demo.ko")
    assert kernel.find_module("nfsd_demo").state != "Live"
    assert kernel.insmod("fuse_demo.ko").errno == 0
    assert kernel.find_module("fuse_demo").state == "Live" and "livepatch_five__fuse_demo" in names(kernel)
    assert kernel.wait("nfsd_demo").errno == 0 and kernel.find_module("nfsd_demo").state == "Live"


def test_a_livepatch_that_replaces_another_leaves_it_no_part_for_the_same_objects() -> None:
    kernel = split()
    for name in ("livepatch_cumul1", "livepatch_cumul2"):
        assert kernel.insmod(f"{name}.ko").errno == 0
    old, new = kernel.split.installed
    assert not set(old.parts) & set(new.parts)
    kernel.insmod("nfsd_demo.ko")
    assert not any(re.match("livepatch_cumul1__nfsd_demo", name) for name in names(kernel))


def test_the_functions_of_a_nop_are_gone_when_the_replacement_is_complete() -> None:
    kernel = Kernel()
    for name in ("nfsd_demo.ko", "lockd_demo.ko", "livepatch_cumul1.ko", "livepatch_cumul2.ko"):
        assert kernel.insmod(name).errno == 0
    (patch,) = kernel.klp.patches
    assert not any(func.nop for obj in patch.objects for func in obj.funcs)
    wanted = {obj.name for obj in patch.mod.file.klp.objects}
    assert {obj.name for obj in patch.objects if obj.funcs} == wanted


def test_a_section_without_alignment_follows_the_last_one_directly() -> None:
    image = ElfImage.parse(tiny_module("odd", {".text": bytes(3), ".text.more": bytes(5)}))
    for section in image.sections:
        section.addralign = 0
    sections = load_image(ModuleFile(image.to_bytes(), "odd.ko"), 0xFFFFFFFFC0200000, lambda name: 0).sections
    assert sections[".text.more"][0] == sections[".text"][0] + 3


def test_a_damaged_file_is_found_by_the_name_of_its_plain_one_however_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "livepatch-nfsd-demo.ko").write_bytes(Path(sample("livepatch_nfsd_demo.ko")).read_bytes())
    kernel = Kernel(ko=tmp_path)
    found = kernel.find_file("livepatch_nfsd_demo")
    assert found is not None and found.name == "livepatch_nfsd_demo"
    assert kernel.find_file("livepatch_other") is None and kernel.find_file("other+no-flag") is None


def test_names_that_overlap_are_refused_before_they_fill_the_memory() -> None:
    """1,000 symbols, each of which has a tail of one name of 500 bytes: 250 KB out of a table of 10."""
    many = [("a" * 500, ".text", 0), *((f"n{number}", ".text", 0) for number in range(1000))]
    data = bytearray(tiny_module("tails", {".text": bytes(16)}, many))
    plain = ModuleFile(bytes(data), "tails.ko")
    assert len(plain.symbol_names) == len(plain.symtab)
    table, first = int(plain.shdrs["offset"][plain.symtab_index]), int(plain.symtab["name"][1])
    for number in range(2, len(plain.symtab)):
        struct.pack_into("<I", data, table + SYM.itemsize * number, first + number % 500)
    with pytest.raises(ModuleFormatError, match="symbol names overlap"):
        assert ModuleFile(bytes(data), "tails.ko").symbol_names


@pytest.mark.parametrize(
    ("sections", "errno"),
    [
        ((), ENOEXEC),
        ((".plt",), ENOEXEC),
        ((".plt", ".init.plt"), ENOEXEC),
        ((".plt", ".init.plt", ".text.ftrace_trampoline"), ENOEXEC),
        ((".plt", ".init.plt", ".text.ftrace_trampoline", ".init.text.ftrace_trampoline"), 0),
    ],
)
def test_arm64_refuses_a_module_without_room_for_veneers_and_for_the_way_to_ftrace(
    sections: tuple[str, ...], errno: int
) -> None:
    """module_frob_arch_sections(), and module_init_ftrace_plt() behind it."""
    kernel = Kernel("arm64", "7.3")
    kernel.known = frozenset({"flat.ko"})
    made = tiny_module("flat", {".text": bytes(8), **dict.fromkeys(sections, bytes(1))}, machine=183)
    assert kernel.insmod(ModuleFile(made, "flat.ko")).errno == errno


def test_a_module_may_begin_at_address_0() -> None:
    assert load_image(ModuleFile.open(sample("filler4k.ko")), 0, lambda name: 0).bases["core"] == 0


# -- and lists of what is refused -------------------------------------------------------------------------------------------


def test_a_site_that_was_not_looked_at_is_refused_with_those_that_were() -> None:
    step = Step("insmod t.ko", sites={f"t:.text+0x{n}": bytes([n]) for n in range(1, 7)})
    assert step.bytes_at("t:.text+0x2") == b"\2"
    with pytest.raises(RecordingError, match=r"no site t:\.text\+0x9 .* there are t:\.text\+0x1, .*0x4 …$"):
        step.bytes_at("t:.text+0x9")


def test_since_6_13_a_string_table_must_begin_with_a_nul() -> None:
    """elf_validity_cache_strtab()."""
    image = ElfImage.parse(file("t", {"f": ".text"}).data)
    plain = ModuleFile(image.to_bytes(), "t.ko")
    body, start = bytearray(plain.data), int(plain.shdrs["offset"][plain.strtab_index])
    body[start] = ord("x")
    for release, errno in (("6.12", 0), ("7.3", ENOEXEC)):
        kernel = Kernel(release=release)
        kernel.known = frozenset({"t.ko"})
        assert kernel.insmod(ModuleFile(bytes(body), "t.ko")).errno == errno, release


@pytest.mark.parametrize(("missing", "more"), [(1, ""), (3, ""), (4, " and 1 more"), (9, " and 6 more")])
def test_of_many_lines_that_the_kernel_would_print_three_are_shown(missing: int, more: str) -> None:
    wants = ModuleFile(tiny_module("t", {".text": bytes(16)}, [(f"s{n}", None, 0) for n in range(missing)]), "t.ko")
    with pytest.raises(LoadRefused) as refused:
        load_image(wants, 0xFFFFFFFFC0200000, lambda name: None)
    lines = [f"t: Unknown symbol s{n} (err -2)" for n in range(missing)]
    assert list(refused.value.dmesg) == lines
    assert str(refused.value).endswith("and print: " + "; ".join(lines if not more else lines[:3]) + more)


def test_more_proposals_than_there_are_are_refused() -> None:
    with pytest.raises(PolicyError, match="more proposals than there are"):
        names_of(["clear-checked"] * 100)
