"""More rules that small changes once broke unnoticed: what memory a module gets, and the calls of ppc64le.

One change makes no other program: in _NewStubs the table is never longer than its memory, since the layout makes room for all
its slots (and StubTable for one more where .stubs is not laid out).
"""

from __future__ import annotations

import struct
from dataclasses import replace
from itertools import product

import pytest
from test_ppc64le import BASE, BL, OUTSIDE, calls, outside, slots_of
from test_ppc64le import module as ppc64le_module
from test_survivors import loaded

from klpteach import Kernel, ModuleFile, load_image
from klpteach.files.elf_h import SHF_ALLOC, SHF_WRITE
from klpteach.files.relocation_types import NOP
from klpteach.files.samples import ko_dir
from klpteach.files.write import ElfImage, tiny_module
from klpteach.model import arch
from klpteach.model.arch.frob import heapsort
from klpteach.model.arch.stubs import Call
from klpteach.model.errno import EINVAL, ENOENT, Refused
from klpteach.model.image import Loading
from klpteach.model.kallsyms import symbols_by_name
from klpteach.model.layout import core_symbols, layout_sections
from klpteach.model.policy import behaviour

LP = "livepatch_nfsd_demo"
X86_64 = arch.of("x86_64")
SEPARATE_MEMORY = replace(behaviour("6.1"), separate_memory=True)


@pytest.mark.parametrize("name", ["o", "one", "seven", "eleven_more"])
@pytest.mark.parametrize("data", [0, 3, 8])
def test_kallsyms_keeps_a_part_of_the_symbols_and_has_all_of_them_while_the_module_loads(name: str, data: int) -> None:
    """layout_symtab(): 24 bytes a symbol, its name, a type byte; struct mod_kallsyms has 32 bytes on a 64-bit machine."""
    sections = {".text": bytes(16), ".note": bytes(4), ".data..percpu": bytes(8)}
    symbols = [(name, ".text", 0), ("gone", None, 0), ("each", ".data..percpu", 0), ("note", ".note", 0)]
    image = ElfImage.parse(tiny_module("t", sections, symbols))
    image.sections[0].flags |= SHF_ALLOC  # nobody reads the flags of section 0, which stands for "undefined"
    named = {section.name: section for section in image.sections}
    named[".note"].flags = 0
    named[".gnu.linkonce.this_module"].body += bytes(data)
    file = ModuleFile(image.to_bytes(), "t.ko")
    assert [file.symbol_names[index] for index in core_symbols(file, X86_64)] == ["", name, "each"]
    sizes = layout_sections(file, X86_64, SEPARATE_MEMORY).sizes
    behind_data, whole_table = 0x380 + -(-data // 8) * 8, 5 * 24 + len(f"\0{name}\0gone\0each\0note\0")
    assert sizes["data"] == behind_data + 3 * (24 + 1) + len(f"\0{name}\0each\0")
    assert sizes["init_data"] == whole_table + -whole_table % 8 + 32 + 5


def test_what_is_run_stands_with_the_code_though_it_may_be_written() -> None:
    """layout_sections(), masks[]; since 5.7 such a section is refused before."""
    image = ElfImage.parse(tiny_module("wx", {".data": bytes(16), ".text": bytes(16), ".text.w": bytes(32)}))
    index = next(number for number, section in enumerate(image.sections) if section.name == ".text.w")
    image.sections[index].flags |= SHF_WRITE
    layout = layout_sections(ModuleFile(image.to_bytes(), "wx.ko"), X86_64, SEPARATE_MEMORY)
    assert (layout.places[index], layout.sizes["text"]) == (("text", 16), 48)


def test_a_target_whose_function_cannot_be_traced_undoes_what_pre_patch_did() -> None:
    image, kernel, ran = ElfImage.parse((ko_dir("x86_64", "6.1") / "nfsd_demo.ko").read_bytes()), Kernel(), list[str]()
    for section in image.sections:
        section.name = section.name.replace("__mcount_loc", "__nothing")
    for callback in ("pre_patch", "post_unpatch"):
        kernel.callbacks[LP, "nfsd_demo", callback] = lambda kernel, said=callback: ran.append(said)  # type: ignore[misc]
    kernel.insmod(f"{LP}.ko")
    step = kernel.insmod(ModuleFile(image.to_bytes(), "nfsd_demo.ko"))
    assert (step.errno, ran) == (EINVAL, ["pre_patch", "post_unpatch"])
    assert any(line.startswith("livepatch: failed to find location for function") for line in step.lines)


def test_a_value_that_fits_no_more_stops_a_checked_clearing_as_it_stops_a_load() -> None:
    """write_relocate_add() computes and checks the value in both directions."""
    kernel = loaded("nfsd_demo.ko", f"{LP}.ko", release="6.12")
    image = kernel.find_module(LP).image
    (symbol,) = symbols_by_name(image.file)[".klp.sym.nfsd_demo.demo_table,0"]  # the third site: type 11, R_X86_64_32S
    image.symbols[symbol] = 1 << 40
    lines = kernel.rmmod("nfsd_demo").lines
    assert any("overflow in relocation type 11 val 10000000" in line for line in lines), lines


# -- ppc64le ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gigabytes", [1, 3])
def test_the_entry_of_a_function_keeps_its_way_to_a_toc_that_is_more_than_2_gib_away(gigabytes: int) -> None:
    text = struct.pack("<4I", 0xE84CFFF8, 0x7C426214, NOP, NOP)
    file = ppc64le_module(text, [(".text", 0, 118, "f", 0)], (("f", ".text", 0),))
    bases = {"text": BASE, "rodata": BASE + (gigabytes << 30), "data": BASE + (gigabytes + 1 << 30)}
    kept = bytes(load_image(file, bases, outside, "6.12").sections[".text"][1]) == text
    assert kept is (gigabytes == 3)


def table_of(stubs: str) -> tuple[Loading, list[str]]:
    """A module of five slots, two of them used, and how its calls find their stubs; and the lines that are printed."""
    lines = list[str]()
    rules = replace(behaviour("6.12", arch="ppc64le"), stubs=stubs, tolerate_r2=True)
    image = load_image(calls("f1", "f2"), BASE, outside)
    return Loading(image, "tiny", rules, lambda line: lines.append(line.render())), lines


def test_a_kernel_that_counts_its_stubs_makes_one_behind_the_table_before_it_warns() -> None:
    """stub_for_addr() of 6.18: the bound is looked at inside the loop over the stubs that were made."""
    me, lines = table_of("count")
    table, addresses = me.image.stub_table, [OUTSIDE + 16 * number for number in range(10, 18)]
    made = [table.stub_for_addr(me, address, "f") for address in addresses[:6]]
    assert (made, lines) == ([table.at(slot) for slot in range(6)], [])
    for address in (addresses[6], addresses[5]):  # a new one, and the one that stands behind the table
        with pytest.raises(Refused) as refused:
            table.stub_for_addr(me, address, "f")
        assert refused.value.errno == ENOENT and lines[1].startswith("WARNING: ") and "CPU: 0 PID: 1" in lines[1]
    assert table.stub_for_addr(me, addresses[2], "f") == table.at(2)


@pytest.mark.parametrize(("into", "slot"), [(0, 0), (8, 2), (5 * 40, 2)])
def test_a_call_has_a_stub_of_its_own_only_where_it_goes_to_the_start_of_a_slot(into: int, slot: int) -> None:
    me, _ = table_of("reuse")
    table = me.image.stub_table
    call = Call(BASE, BL | (table.address + into - BASE), "f9")
    assert table.reuse(me, call, OUTSIDE + 16 * 9) == table.at(slot)
    assert slots_of(me.image)[slot] == OUTSIDE + 16 * 9


@pytest.mark.parametrize("double_pop", [False, True])
def test_the_kernels_sort_sorts_every_short_list(double_pop: bool) -> None:
    """The last exchange of two elements is needed for one list in forty, so examples by chance may miss it."""
    for keys in (keys for length in range(7) for keys in product(range(3), repeat=length)):
        order = heapsort(keys, double_pop)
        assert sorted(order) == list(range(len(keys))), keys
        assert [keys[index] for index in order] == sorted(keys), keys


def test_a_symbol_table_without_alignment_follows_directly() -> None:
    image = ElfImage.parse(tiny_module("t", {".text": bytes(16), ".data": bytes(3)}, [("one", ".data", 0)]))
    named = {section.name: section for section in image.sections}
    sizes = {}
    for align in (0, 1, 8):
        image.symtab.addralign = align
        named[".gnu.linkonce.this_module"].body += bytes(-len(named[".gnu.linkonce.this_module"].body) % 8 + 1)
        sizes[align] = layout_sections(ModuleFile(image.to_bytes(), "t.ko"), X86_64, SEPARATE_MEMORY).sizes["data"]
        named[".gnu.linkonce.this_module"].body = named[".gnu.linkonce.this_module"].body[:-1]
    assert sizes[0] == sizes[1] == sizes[8] - 7
