"""ppc64le: calls through stubs, the check after a call, and the table that runs out. Golden values first, then properties."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import KO
from hypothesis import given, settings
from hypothesis import strategies as st

from klpteach import Kernel, LoadRefused, ModuleFile, Recording, load_image, simulate
from klpteach.errors import ScenarioError
from klpteach.files.elf_h import EM_PPC64, RELA, SHF_ALLOC, SHF_EXECINSTR
from klpteach.files.klp import placed_sites
from klpteach.files.relocation_types import ENTRY, HOWTO_PPC64LE, LD_TOC, NOP, REL24
from klpteach.files.write import ElfImage, tiny_module
from klpteach.model import arch
from klpteach.model.arch import fast
from klpteach.model.arch.frob import count_relocs, frob, heapsort, sort_relocations
from klpteach.model.arch.ppc64le_section import Section
from klpteach.model.arch.stubs import FTRACE_INSNS, MAGIC, STUB_INSNS, STUB_SIZE, branch_offset, ha
from klpteach.model.errno import ENOENT
from klpteach.model.image import Image, Loading
from klpteach.model.policy import behaviour

BASE, LP, BL = 0xC008000001000000, "livepatch_nfsd_demo", 0x48000001
TARGET, PATCH, GONE = "nfsd_demo.ko", f"{LP}.ko", "nfsd_demo"
OUTSIDE = 0xC000000000123400


def module(text: bytes, relocations: list, symbols: tuple = (), **sections: bytes) -> ModuleFile:
    """A tiny ppc64le module: .text, an empty .stubs, a .toc; relocations (section, offset, type, symbol, addend)."""
    bodies = {".text": text, ".stubs": 0, ".toc": bytes(0x40), **{f".{k}": v for k, v in sections.items()}}
    return ModuleFile(tiny_module("tiny", bodies, symbols, relocations, machine=EM_PPC64), "tiny.ko")


def calls(*names: str, after: int = NOP) -> ModuleFile:
    """A module that calls the kernel's functions, a nop (or another word) behind each."""
    text = struct.pack("<2I", BL, after) * len(names)
    rows = [(".text", 8 * n, REL24, name, 0) for n, name in enumerate(names)]
    return module(text, rows, tuple((name, None, 0) for name in dict.fromkeys(names)))


def r2_in_toc() -> int:
    """How far r2 is from the start of .toc in a tiny module."""
    toc: int = load_image(module(bytes(16), []), BASE, outside).sections[".toc"][0]
    return (toc & ~0xFF) + 0x8000 - toc


def words(image: Image, section: str = ".text") -> list[int]:
    body = bytes(image.sections[section][1])
    return list(struct.unpack(f"<{len(body) // 4}I", body))


def slots_of(image: Image) -> list[int]:
    return [int(address) for address in image.stub_table.funcdata[: image.stub_table.slots]]


def outside(name: str) -> int | None:
    """Functions f0, f1, … of a kernel, 16 bytes apart; the profiler's are there too, ftrace's stubs are not asked for.

    zero: an undefined weak function.
    """
    if name == "zero":
        return 0
    return None if name.startswith("ftrace") else OUTSIDE + 16 * int(name[1:]) if name[1:].isdigit() else OUTSIDE - 64


# -- golden values ---------------------------------------------------------------------------------------------------------


def test_three_livepatch_calls_to_two_functions_and_one_ordinary_call_take_six_slots() -> None:
    ordinary = np.array([(0, REL24, 9, 0)], RELA)
    livepatch = np.array([(0, REL24, 4, 0), (8, REL24, 3, 0), (16, REL24, 4, 0)], RELA)
    counted = count_relocs(sort_relocations(ordinary)) + count_relocs(sort_relocations(livepatch))
    assert 1 + counted + 2 == 6
    file = calls("f1", "f2", "f1")
    assert load_image(file, BASE, outside).sections[".stubs"][1].nbytes == (1 + 2 + 2) * STUB_SIZE


def test_the_call_becomes_a_branch_to_a_stub_and_the_nop_behind_it_restores_r2() -> None:
    image = load_image(calls("f1"), BASE, outside)
    branch, after = words(image)
    stub = BASE + branch_offset(branch)
    assert (branch & ~0x03FFFFFC, after) == (BL, 0xE8410018)
    assert stub == image.sections[".stubs"][0]
    body = bytes(image.sections[".stubs"][1])[:STUB_SIZE]
    reladdr = stub - ((image.sections[".toc"][0] & ~0xFF) + 0x8000)
    expected = [STUB_INSNS[0] | ha(reladdr), STUB_INSNS[1] | (reladdr & 0xFFFF), *STUB_INSNS[2:], 0, MAGIC]
    assert body == struct.pack("<8IQ", *expected, OUTSIDE + 16)


def test_the_profilers_call_takes_its_stub_from_the_paca_and_needs_no_nop() -> None:
    image = load_image(calls("_mcount", after=0x38600001), BASE, outside)
    assert words(image)[1] == 0x38600001
    assert words(image, ".stubs")[0] == FTRACE_INSNS[0] == 0xE98D0010


def test_a_plain_branch_and_an_own_function_need_no_nop() -> None:
    sibling = module(struct.pack("<2I", BL - 1, 0x38600001), [(".text", 0, REL24, "f1", 0)], (("f1", None, 0),))
    assert words(load_image(sibling, BASE, outside))[1] == 0x38600001
    own = module(struct.pack("<4I", BL, 0x38600001, 0, 0), [(".text", 0, REL24, "here", 0)], (("here", ".text", 8),))
    assert words(load_image(own, BASE, outside)) == [BL | 8, 0x38600001, 0, 0]


def test_a_call_without_a_nop_is_refused_after_its_stub_was_made() -> None:
    with pytest.raises(LoadRefused) as refused:
        load_image(calls("f1", after=0x38600001), BASE, outside)
    # while the module is not formed, %pS finds no symbol and prints the bare address
    assert refused.value.dmesg == (f"module_64: tiny: Expected nop after call, got 38600001 at {BASE + 4:#x}",)
    assert refused.value.errno == -8


@pytest.mark.parametrize(
    ("kind", "S", "addend", "line"),
    [
        (26, 0x80000000, 0, "REL32 2147483648 out of range!"),
        (47, 0x8000, 0, "bad TOC16 relocation (0x8000)"),
        (63, 0, 2, "bad TOC16_DS relocation (0x2)"),
        (64, 0, 1, "bad TOC16_LO_DS relocation (0x1)"),
        (REL24, 0x2000000, 0, "REL24 33554432 out of range!"),
        (REL24, 0, 2, "REL24 2 out of range!"),
        (14, 0, 0, "Unknown ADD relocation: 14"),
    ],
)
def test_what_does_not_fit_is_refused_in_the_kernels_words(kind: int, S: int, addend: int, line: str) -> None:
    where, shift = (".toc", r2_in_toc()) if kind in (47, 63, 64) else (".text", 0)
    file = module(bytes(16), [(".text", 0, kind, "x", addend)], (("x", where, S + shift),))
    with pytest.raises(LoadRefused) as refused:
        load_image(file, BASE, outside)
    assert refused.value.dmesg == (f"module_64: tiny: {line}",)


@pytest.mark.parametrize(
    ("kind", "before", "addend", "after"),
    [
        (1, "ffffffffffffffff", 0x10, "10000001ffffffff"),
        (38, "ffffffffffffffff", 0x10, "10000001000008c0"),
        (44, "ffffffffffffffff", 0x10, "1000000000000000"),
        (26, "ffffffffffffffff", -4, "fcffffffffffffff"),
        (48, "ffffffffffffffff", None, "1280ffffffffffff"),  # r2 + 0x8012 - r2
        (50, "ffffffffffffffff", None, "0100ffffffffffff"),  # rounded up, since the low half counts as negative
        (64, "ffffffffffffffff", 0x8010, "1380ffffffffffff"),  # the lowest two bits belong to the instruction
        (109, "0123456789abcdef", 0x10, "0123456789abcdef"),
    ],
)
def test_a_field_takes_its_bits_and_leaves_those_around_it(
    kind: int, before: str, addend: int | None, after: str
) -> None:
    from_toc = kind in (48, 50, 64)
    symbols = (("x", *((".toc", r2_in_toc()) if from_toc else (".text", 0))),)
    rows = [(".text", 0, kind, "x", 0x8012 if addend is None else addend)]
    image = load_image(module(bytes.fromhex(before), rows, symbols), BASE, outside)
    assert bytes(image.sections[".text"][1]).hex() == after


@pytest.mark.parametrize(("value", "high"), [(0x7FFF, 0), (0x8000, 1), (-0x8000, 0), (-0x8001, 0xFFFF), (0x18000, 2)])
def test_the_upper_half_makes_up_for_the_sign_of_the_lower(value: int, high: int) -> None:
    assert HOWTO_PPC64LE[252].value(S=value & (1 << 64) - 1, A=0, P=0, r2=0) & 0xFFFF == high
    low = (value & 0xFFFF) - (0x10000 if value & 0x8000 else 0)
    assert ((high - (0x10000 if high & 0x8000 else 0)) << 16) + low == value


def test_the_entry_of_a_function_is_rewritten_when_the_toc_is_near_and_only_then() -> None:
    text = struct.pack("<4I", 0xE84CFFF8, 0x7C426214, NOP, NOP)
    file = module(text, [(".text", 0, 118, "f", 0), (".text", 8, 118, "f", 0)], (("f", ".text", 0),))
    image = load_image(file, BASE, outside)
    distance = (image.sections[".toc"][0] & ~0xFF) + 0x8000 - BASE
    assert words(image)[:2] == [0x3C4C0000 | ha(distance), 0x38420000 | (distance & 0xFFFF)]
    assert words(image)[2:] == [NOP, NOP]


def test_a_module_without_stubs_is_refused() -> None:
    file = ModuleFile(tiny_module("tiny", {".text": bytes(4)}, machine=EM_PPC64), "tiny.ko")
    with pytest.raises(LoadRefused, match=r"module_64: tiny: doesn't contain \.stubs\.") as refused:
        load_image(file, BASE, outside)
    assert refused.value.errno == -8


def test_an_undefined_name_loses_its_dot_and_the_toc_symbol_becomes_r2() -> None:
    names = ((".f3", None, 0), (".TOC.", None, 0))
    file = module(bytes(16), [(".text", 0, 38, ".f3", 0), (".text", 8, 38, ".TOC.", 0)], names)
    image = load_image(file, BASE, outside)
    r2 = (image.sections[".toc"][0] & ~0xFF) + 0x8000
    assert struct.unpack("<2Q", bytes(image.sections[".text"][1])) == (OUTSIDE + 48, r2)
    assert file.symbol_names[1] == ".f3"  # the file itself never changes
    with pytest.raises(LoadRefused, match="Unknown symbol f3 "):
        load_image(file, BASE, lambda name: None)


# -- the bug and what came after, on the samples ---------------------------------------------------------------------------


@pytest.mark.parametrize("release", ["5.3", "6.1"])
def test_up_to_6_2_the_second_load_is_refused_and_nothing_is_undone(release: str) -> None:
    story = simulate("reload", release, arch="ppc64le")
    assert [step.errno for step in story] == [0, 0, 0, -8]
    assert story[3].lines[0].startswith(f"module_64: {LP}: Expected nop after call, got e8410018 at lp_demo_show+0x")
    assert story[1].sites == story[2].sites == story[3].sites


@pytest.mark.parametrize("release", ["6.3", "6.12"])
def test_since_6_3_the_second_load_changes_no_byte_at_the_same_address(release: str) -> None:
    story = simulate("reload", release, arch="ppc64le")
    assert [step.errno for step in story] == [0] * 4
    assert story[1].sites == story[3].sites
    assert [(step.stubs or {})[LP]["used"] for step in (story[1], story[2], story[3])] == [8, 8, 8]


def moves(count: int, release: str = "6.12", proposals: tuple[str, ...] = ()) -> Recording:
    kernel = Kernel("ppc64le", release, proposals)
    for command in ("insmod " + TARGET, "insmod " + PATCH, *(["rmmod " + GONE, "fill 3", "insmod " + TARGET] * count)):
        kernel.run(command)
    return kernel.recording


def test_each_move_takes_three_stubs_then_one_is_made_behind_the_table_and_then_none() -> None:
    loads = [step for step in moves(3) if step.command == "insmod " + TARGET]
    tables = [(step.stubs or {}).get(LP, {}) for step in loads[1:]]
    assert [step.errno for step in loads] == [0, 0, -2, -2]
    assert [(table["used"], table["past_end_used"]) for table in tables] == [(11, 0), (11, 1), (11, 1)]
    assert any("stub_for_addr" in line for line in loads[-1].lines)


@pytest.mark.parametrize("proposals", [("clear-relocations",), ("tolerate-r2",), ("tolerate-r2", "clear-relocations")])
def test_neither_clearing_nor_tolerating_saves_the_table(proposals: tuple[str, ...]) -> None:
    assert [step.errno for step in moves(2, "6.1", proposals) if step.command == "insmod " + TARGET] == [0, 0, -2]


def test_with_stubs_that_are_used_again_forty_moves_succeed() -> None:
    story = moves(40, "6.12", ("reuse-stub",))
    assert {step.errno for step in story} == {0}
    assert {step.stubs[LP]["used"] for step in story if LP in (step.stubs or {})} == {8}
    assert len({row["base"] for step in story if (row := step.module(GONE))}) == 41


def test_clearing_gives_the_files_bytes_back() -> None:
    kernel = Kernel("ppc64le", "6.1", ["clear-relocations"])
    kernel.insmod(PATCH)
    before = dict(kernel.recording[-1].sites or {})
    kernel.insmod(TARGET)
    during = dict(kernel.recording[-1].sites or {})
    kernel.rmmod(GONE)
    assert before == kernel.recording[-1].sites != during


def test_the_search_runs_off_the_page_and_the_machine_hangs() -> None:
    kernel = Kernel("ppc64le", "6.12")
    for command in (
        f"insmod {TARGET}",
        "insmod livepatch_edge.ko",
        *[f"rmmod {GONE}", "fill 3", f"insmod {TARGET}"] * 2,
    ):
        assert not kernel.run(command).refused
    kernel.rmmod(GONE)
    kernel.fill(3)
    step = kernel.insmod(TARGET)
    end = step.sections["livepatch_edge"][".text"] + 0x10000  # type: ignore[index]
    assert step.oops and step.errno is None
    assert step.lines[-1] == f"BUG: Unable to handle kernel data access on read at {end + 0x20:#x}"
    row = step.module(GONE) or {}
    assert (row["state"], row["taint"], row["refcount"]) == ("Loading", "O+", 1)
    with pytest.raises(ScenarioError, match=r"it hangs.*klp_mutex.*Only a reboot helps"):
        kernel.insmod("lockd_demo.ko")


def test_address_space_that_is_taken_is_given_back() -> None:
    kernel = Kernel("ppc64le", "6.1")
    first = kernel.insmod(TARGET).module(GONE)
    kernel.rmmod(GONE)
    kernel.fill(2)
    second = kernel.insmod(TARGET).module(GONE)
    kernel.rmmod(GONE)
    kernel.run("fill 0")
    third = kernel.insmod(TARGET).module(GONE)
    assert first == third != second


def test_on_x86_64_vmalloc_takes_nothing_from_the_modules() -> None:
    kernel = Kernel("x86_64", "6.1")
    first = kernel.insmod(TARGET).module(GONE)
    kernel.rmmod(GONE)
    kernel.fill(2)
    assert kernel.insmod(TARGET).module(GONE) == first


def test_a_plain_store_into_text_faults_once_the_module_is_formed() -> None:
    """Only calls go through patch_instruction(); 48 is R_PPC64_TOC16_LO."""
    data = bytearray((KO / "ppc64le-6.1" / PATCH).read_bytes())
    file = ModuleFile(bytes(data), PATCH)
    index = file.section_names.index(".klp.rela.nfsd_demo..text")
    start = int(file.shdrs["offset"][index])
    rela = file.rela(index).copy()
    rela["type"] = 48
    data[start : start + rela.nbytes] = rela.tobytes()
    kernel = Kernel("ppc64le", "6.1")
    kernel.insmod(TARGET)
    step = kernel.insmod(ModuleFile(bytes(data), PATCH))
    text = step.sections[LP][".text"]  # type: ignore[index]
    assert step.oops
    assert step.lines[-1] in {
        f"BUG: Unable to handle kernel data access on write at {text + int(o):#x}" for o in rela["offset"]
    }


def test_stubs_survive_saving_and_loading(tmp_path: Path) -> None:
    story = simulate("reload", "6.12", arch="ppc64le")
    story.save(tmp_path / "story.json")
    again = Recording.load(tmp_path / "story.json")
    assert again[3].stubs == story[3].stubs and story.compare(again) == []
    table = story[1].stubs[LP]  # type: ignore[index]
    assert [entry["symbol"] for entry in table["entries"][:5]] == [
        *("_mcount", "seq_printf", "klp_enable_patch"),
        *("ftrace_caller", "ftrace_regs_caller"),
    ]


@pytest.mark.parametrize(("release", "size"), [("6.1", 4 * 0x10000), ("6.12", 3 * 0x10000)])
def test_memory_comes_in_pages_of_64_kib(release: str, size: int) -> None:
    step = Kernel("ppc64le", release).insmod(TARGET)
    row = step.module(GONE) or {}
    assert row["size"] == size and row["base"] % 0x10000 == 0


# -- properties ------------------------------------------------------------------------------------------------------------

RULES = behaviour("6.12", arch="ppc64le")
keys = st.lists(st.integers(0, 5), max_size=40)


@given(keys, st.booleans())
def test_the_kernels_sort_sorts(values: list[int], double_pop: bool) -> None:
    order = heapsort(values, double_pop)
    assert sorted(order) == list(range(len(values)))
    assert [values[i] for i in order] == sorted(values)


@given(
    st.lists(
        st.tuples(st.integers(0, 64), st.sampled_from([REL24, 38]), st.integers(0, 3), st.integers(-2, 2)), max_size=30
    )
)
def test_relocations_are_sorted_descending_and_none_is_lost(rows: list[tuple[int, int, int, int]]) -> None:
    entries = sort_relocations(np.array(rows, RELA))
    order = [(symbol, kind, addend) for _, kind, symbol, addend in entries.tolist()]
    assert order == sorted(order, reverse=True)
    assert sorted(entries.tolist()) == sorted(rows)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=12))
def test_a_stub_is_shared_by_address_and_found_again(asked: list[int]) -> None:
    """Against an idealised table: a dictionary, as long as there is room; one slot more than that; then never."""
    image = load_image(calls("f1", "f2"), BASE, outside)  # 2 + 1 + 2 slots, 2 used
    table, known, lines = image.stub_table, {OUTSIDE + 16: 0, OUTSIDE + 32: 1}, []
    me = Loading(image, "tiny", RULES, lines.append)
    order = sorted(known, key=lambda address: slots_of(image).index(address))
    for number in asked:
        address = OUTSIDE + 16 * number
        try:
            stub = table.stub_for_addr(me, address, "")
        except Exception as refused:
            assert len(order) == table.slots + 1 and address not in order[: table.slots]
            assert getattr(refused, "errno", None) == -2 and lines
            continue
        if address not in order:
            order.append(address)
        assert stub == table.at(order.index(address))
    assert slots_of(image)[: len(order)] == order[: table.slots]


@st.composite
def many_calls(draw: st.DrawFn) -> ModuleFile:
    """A module of more than 64 relocations of all kinds that a compiler makes, in any order."""
    names = draw(st.lists(st.sampled_from(["f1", "f2", "f3", "zero", "_mcount", "own"]), min_size=70, max_size=90))
    after = draw(st.sampled_from([NOP, NOP, NOP, LD_TOC, 0x38600001]))
    text, rows = bytearray(), []
    for name in names:
        rows.append((".text", len(text), REL24, name, 0))
        text += struct.pack("<2I", BL, NOP)
    text[-4:] = struct.pack("<I", after)
    fields = draw(st.lists(st.sampled_from([1, 26, 38, 44, 48, 50, 51, 64, 109, 250, 252]), max_size=40))
    for n, kind in enumerate(fields):
        rows.append((".text", len(text) + 8 * n, kind, "own", 4 * n))
    rows = draw(st.permutations(rows))
    symbols = tuple((name, None, 0) for name in ("f1", "f2", "f3", "zero", "_mcount"))
    return module(bytes(text) + bytes(8 * len(fields)), rows, (*symbols, ("own", ".text", 0)))


@settings(max_examples=25, deadline=None)
@given(many_calls(), st.sampled_from(["6.1", "6.12", "7.3"]))
def test_many_at_once_and_one_by_one_are_the_same(file: ModuleFile, release: str) -> None:
    results = []
    for vector_from in (fast.VECTOR_FROM, 1 << 40):
        keep, fast.VECTOR_FROM = fast.VECTOR_FROM, vector_from
        try:
            image = load_image(file, BASE, outside, release)
            results.append(
                b"".join(region.tobytes() for region in image.memory.values()) + bytes([image.stub_table.used])
            )
        except LoadRefused as refused:
            results.append(str(refused).encode())
        finally:
            fast.VECTOR_FROM = keep
    assert results[0] == results[1]


@pytest.mark.parametrize("release", ["6.1", "7.3"])
def test_a_long_section_that_cannot_fail_never_meets_the_loop(release: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Section, "apply", lambda section: pytest.fail("the loop was asked"))
    image = load_image(calls(*["f1", "f2", "_mcount"] * 30), BASE, outside, release)
    assert slots_of(image)[:3] == [OUTSIDE - 64, OUTSIDE + 32, OUTSIDE + 16]  # descending by symbol, not as in the code
    assert [word for word in words(image)[1::2]] == [LD_TOC, LD_TOC, NOP] * 30


@given(st.integers(-(1 << 25), (1 << 25) - 4).map(lambda n: n & ~3))
def test_a_branch_holds_any_distance_of_32_mib(distance: int) -> None:
    assert branch_offset(BL | (distance & 0x03FFFFFC)) == distance


# -- words that a small change would let through -----------------------------------------------------------------------------


def test_a_stub_too_far_from_r2_is_refused() -> None:
    image = ElfImage.parse(calls("f1").data)
    next(section for section in image.sections if section.name == ".stubs").flags = SHF_ALLOC | SHF_EXECINSTR
    file, far = ModuleFile(image.to_bytes(), "tiny.ko"), {"text": BASE, "data": BASE + (8 << 30)}
    with pytest.raises(LoadRefused) as refused:
        load_image(file, far, outside, "6.12")
    assert refused.value.errno == ENOENT and "stub" in str(refused.value).lower()
    far["data"] = BASE + (1 << 30)
    assert slots_of(load_image(file, far, outside, "6.12"))[0] == OUTSIDE + 16


@pytest.mark.parametrize(("first", "becomes"), [(0xE84C0000, "addis"), (0xE84C0001, "ldu"), (0xE84C0002, "lwa")])
def test_only_ld_at_a_functions_entry_becomes_addis(first: int, becomes: str) -> None:
    file = module(struct.pack("<2I", first, 0x7C426214), [(".text", 0, ENTRY, "own", 0)], (("own", ".text", 0),))
    changed = words(load_image(file, BASE, outside))[0] != first
    assert changed == (becomes == "addis")


# -- what decides the next load --------------------------------------------------------------------------------------------


def test_the_section_of_the_stubs_may_be_the_first() -> None:
    made = tiny_module("tiny", {".stubs": 0, ".toc": bytes(0x40), ".text": bytes(4)}, machine=EM_PPC64)
    kernel = Kernel("ppc64le", "6.12")
    kernel.known = frozenset({"tiny.ko"})
    assert ModuleFile(made, "tiny.ko").section_names[1] == ".stubs"
    assert kernel.insmod(ModuleFile(made, "tiny.ko")).errno == 0


@pytest.mark.parametrize("stubs", ["search", "reuse"])
def test_the_order_of_the_stubs_decides_nothing_unless_a_call_keeps_its_stub(stubs: str) -> None:
    orders = list[object]()
    for order in ((7, 8), (8, 7)):
        image = load_image(calls("f1", "f2"), BASE, outside)
        rules = replace(behaviour("6.12", arch="ppc64le"), stubs=stubs)
        for number in order:
            image.stub_table.stub_for_addr(Loading(image, "tiny", rules, lambda line: None), OUTSIDE + 16 * number, "f")
        orders.append(image.arch.left_behind(image, rules))
    assert (orders[0] == orders[1]) is (stubs == "search")


def test_the_nop_behind_a_call_may_be_the_last_word_of_its_memory() -> None:
    text = struct.pack("<I", NOP) * 0x3FFE + struct.pack("<2I", BL, NOP)
    whole = module(text, [(".text", 0xFFF8, REL24, "f1", 0)], (("f1", None, 0),))
    bases = {"text": BASE, "rodata": BASE + 0x100000, "data": BASE + 0x200000}
    assert words(load_image(whole, bases, outside, "6.12"))[-1] == LD_TOC


@pytest.mark.parametrize(("kind", "width", "told"), [(1, 4, False), (38, 8, False), (47, 0, True)])
def test_clearing_takes_addresses_back_and_names_what_it_cannot(kind: int, width: int, told: bool) -> None:
    """R_PPC64_ADDR32 and ADDR64; R_PPC64_TOC16 has no business in a livepatch's section."""
    made, plain = (
        module(bytes(8), [(".data", 8, one, "f", 0)], (("f", ".text", 0),), data=b"\xff" * 24) for one in (kind, 38)
    )
    image, lines = load_image(plain, BASE, outside), list[str]()
    image.file = frob(made, True, 1)
    before = bytes(image.sections[".data"][1])
    me = Loading(image, "tiny", behaviour("6.12", arch="ppc64le"), lambda line: lines.append(line.render()))
    Section(me, made.rela_sections[0]).clear()
    assert bytes(image.sections[".data"][1]) == before[:8] + bytes(width) + before[8 + width :]
    assert bool(lines) is told


@pytest.mark.parametrize("proposals", [(), ("reuse-stub",)])
def test_of_a_livepatchs_calls_their_words_decide_the_next_load(proposals: tuple[str, ...]) -> None:
    kernel = Kernel("ppc64le", "6.12", proposals)
    kernel.insmod(PATCH)
    image, seen = kernel.find_module(LP).image, list[object]()
    for command in (f"insmod {TARGET}", f"rmmod {GONE}", f"insmod {TARGET}"):
        kernel.run(command)
        seen.append(image.arch.left_behind(image, kernel.rules))
    assert seen[0] == seen[1] == seen[2]
    section = image.file.section_names.index(".text")
    offset = next(site.offset for at, site in placed_sites(image.file.on_disk) if (at, site.type) == (section, REL24))
    for byte, decides in ((0, bool(proposals)), (3, True), (4, True), (7, True), (8, False)):
        image.bytes_of(section)[offset + byte] ^= 0x80
        assert (image.arch.left_behind(image, kernel.rules) != seen[0]) is decides, byte
        image.bytes_of(section)[offset + byte] ^= 0x80


def test_of_what_stands_behind_the_table_the_first_slot_alone_is_looked_at() -> None:
    kernel = Kernel("ppc64le", "6.12")
    kernel.insmod(PATCH)
    image = kernel.find_module(LP).image
    table, before = image.stub_table, image.arch.left_behind(image, kernel.rules)
    for slot, decides in ((0, True), (1, False)):
        table.funcdata[table.slots + slot] = OUTSIDE
        assert (image.arch.left_behind(image, kernel.rules) != before) is decides
        table.funcdata[table.slots + slot] = 0


def test_a_label_in_brackets_is_a_note_of_the_recorder_and_no_name() -> None:
    cpu, entries = arch.of("ppc64le"), [{"index": 0, "funcdata": "0x10", "symbol": "_mcount"}]
    entries += [
        {"index": 1, "funcdata": 32, "symbol": "(no symbol there now)"},
        {"index": 2, "funcdata": "0x0", "symbol": None},
    ]
    entries += [{"index": 3, "funcdata": address, "symbol": "behind"} for address in ("0x0", "0x30", "0x40")]
    seen = cpu.stubs_seen({"num_stubs": 3, "used": 2, "past_end_used": 1, "entries": entries}, 0)
    assert seen.entries == [(0, 16, "_mcount"), (1, 32, ""), (2, 0, ""), (3, 48, "behind")] and seen.past_end == 1
    assert len(cpu.stubs_seen({"num_stubs": 3, "used": 2, "entries": entries}, 0).entries) == 3
