"""s390x in the model: transcripts of real kernels, then what their code says, then properties."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from s390x_transcripts import Transcript

from klpteach import Kernel, LoadRefused, ModuleFile, load_image
from klpteach.files.elf_h import EM_S390
from klpteach.files.klp import parse_symbol
from klpteach.files.relocation_types import HOWTO_S390X
from klpteach.files.write import tiny_module
from klpteach.model.arch import s390x_rela
from klpteach.model.arch.got import slots_of
from klpteach.model.arch.s390x_rela import Entry, called
from klpteach.model.livepatch.relocs import old_slots
from klpteach.model.recording import Recording
from klpteach.reading.verdict import verdict
from klpteach.scenarios.replay import replay

SHARED = ROOT.parent / "shared" / "s390x"
TRANSCRIPTS = sorted((SHARED / "transcripts").glob("*.json")) or [
    pytest.param(None, marks=pytest.mark.skip(reason="no transcripts in ../shared/s390x"))
]


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem if path else "none")
def test_a_transcript_of_a_real_kernel_plays_without_a_difference(path: Path) -> None:
    assert list(Transcript(path, SHARED / "ko").differences()) == []


# -- what the kernel's code says ----------------------------------------------------------------------------------------


def kernel(*loads: str, release: str = "6.1", proposals: tuple[str, ...] = ()) -> Kernel:
    found = Kernel("s390x", release, proposals)
    assert [found.run(command).errno for command in loads] == [0] * len(loads)
    return found


MOVED = (
    "insmod nfsd_demo.ko",
    "insmod livepatch_nfsd_demo.ko",
    "rmmod nfsd_demo",
    "insmod twin_demo.ko",
    "insmod nfsd_demo.ko",
)


def slots(kernel: Kernel, name: str = "livepatch_nfsd_demo") -> dict[str, tuple[int, int]]:
    """What each slot of the GOT holds, and the address that its symbol has, by symbol."""
    mod = kernel.find_module(name)
    assert mod is not None
    table = slots_of(mod.image)
    return {
        parsed.name: (table.held("GOT", symbol), int(mod.image.symbols[symbol]))
        for symbol in table.table.got
        if (parsed := parse_symbol(mod.file.symbol_names[symbol]))
    }


def test_a_short_call_to_a_function_a_little_above_is_taken_for_reachable_and_refused() -> None:
    found = kernel("insmod livepatch_plt16.ko", "insmod filler64k.ko", "insmod filler1m.ko")
    step = found.insmod("nfsd_demo.ko")
    said = r"module livepatch_plt16: relocation error for symbol \.klp\.sym\.nfsd_demo\.demo_half,0 \(r_type 18, value 0x\w+\)"
    assert step.errno == -8 and any(re.fullmatch(said, line) for line in step.lines)


@pytest.mark.parametrize(
    ("kind", "distance", "through_plt"),
    [
        *(
            (18, -0xFFFF, False),
            (18, -0x10000, True),
            (18, 0x1FFFFE - 0xFFFF - 1, False),
            (18, 0x1FFFFE - 0xFFFF, True),
        ),
        *((20, -0xFFFFFFFF, False), (20, -(1 << 32), True), (20, 0xFFFFFFFE, False), (20, 0xFFFFFFFF, True)),
    ],
)
def test_a_call_takes_the_plt_where_the_kernels_test_says_so(kind: int, distance: int, through_plt: bool) -> None:
    """apply_rela(): `val - loc + 0xffffUL < 0x1ffffeUL` for PLT16DBL, with twice as many digits for PLT32DBL."""
    entry = Entry(kind, HOWTO_S390X[kind], 0, 2, 0x3FF7FF02000, memoryview(bytearray(2)))
    assert (called(entry, entry.loc + distance, plt=0) == 0) == through_plt


@pytest.mark.parametrize("kind", [9, 10, 11, 12])
def test_a_type_of_shared_objects_is_refused_without_a_word(kind: int) -> None:
    data = tiny_module("tiny", {".text": bytes(16)}, [("f", ".text", 0)], [(".text", 0, kind, "f", 0)], machine=EM_S390)
    step = Kernel("s390x").insmod(ModuleFile(data, "tiny.ko"))
    assert (step.errno, step.lines[1:]) == (-8, [])


def test_an_unknown_type_is_named() -> None:
    data = tiny_module("tiny", {".text": bytes(16)}, [("f", ".text", 0)], [(".text", 0, 42, "f", 0)], machine=EM_S390)
    step = Kernel("s390x").insmod(ModuleFile(data, "tiny.ko"))
    assert (step.errno, step.lines[-1]) == (-8, "module tiny: unknown relocation: 42")


@pytest.mark.parametrize(
    ("kind", "value", "there", "after"),
    [
        (2, 0xABC, "f000", "fabc"),
        (57, 0x12345, "c0000014", "c3451214"),
        (1, 0x7F, "00", "7f"),
        (3, 0xFFFE, "1111", "fffe"),
    ],
)
def test_a_field_of_an_instruction_leaves_its_other_bits_alone(kind: int, value: int, there: str, after: str) -> None:
    howto = HOWTO_S390X[kind]
    assert howto.stored(int(there, 16), value).to_bytes(howto.width, "big").hex() == after


# -- the slots ----------------------------------------------------------------------------------------------------------


def test_after_a_move_every_slot_of_the_got_holds_the_address_of_before_and_nobody_says_so() -> None:
    found = kernel(*MOVED)
    assert all(held != right for held, right in slots(found).values())
    applying = "livepatch: applying patch 'livepatch_nfsd_demo' to loading module 'nfsd_demo'"
    assert found.recording[-1].lines == [applying]


def test_the_proposal_clear_got_makes_every_slot_right() -> None:
    assert all(held == right for held, right in slots(kernel(*MOVED, proposals=("clear-got",))).values())


def test_giving_the_file_s_bytes_back_does_not_help_a_slot() -> None:
    with_rfc, without = slots(kernel(*MOVED, proposals=("clear-relocations",))), slots(kernel(*MOVED))
    assert with_rfc == without
    gone = kernel(*MOVED[:3], proposals=("clear-relocations",)).recording[-1]
    assert not any(any(value) for value in (gone.sites or {}).values())


def test_hidden_symbols_and_pointers_in_data_have_no_slot_that_could_be_old() -> None:
    for name in ("livepatch_hidden", "livepatch_table"):
        found = kernel(*(command.replace("livepatch_nfsd_demo", name) for command in MOVED))
        mod = found.find_module(name)
        assert mod is not None and old_slots(mod, "nfsd_demo") == []


def test_a_slot_that_a_half_way_load_has_filled_is_old_even_with_clear_got() -> None:
    found = kernel("insmod livepatch_slot_half_way.ko", proposals=("clear-got",))
    assert found.insmod("nfsd_demo.ko").errno == -22
    assert [found.insmod(name).errno for name in ("twin_demo.ko", "nfsd_demo_v2.ko")] == [0, 0]
    assert all(held != right for held, right in slots(found, "livepatch_slot_half_way").values())


def test_the_verdict_on_a_reload_elsewhere_names_the_slots() -> None:
    found = verdict(kernel(*MOVED).recording, 4)
    assert found.headline == "Loaded and patched, with old addresses." and "demo_counter" in found.because


def test_a_reader_dies_where_nothing_is_at_the_old_place_and_klp_mutex_is_free() -> None:
    found = kernel(*MOVED, "rmmod twin_demo")
    assert found.cat("/proc/nfsd_demo").oops
    assert found.rmmod("nfsd_demo").errno == 0


# -- recordings of our own ----------------------------------------------------------------------------------------------

# The recorder looks for the slots of the plain file. A mutant with a slot less has code there, whose first branch ftrace changes.
OF_ANOTHER_FILE = "stubs livepatch_nfsd_demo entries 9 funcdata"
RECORDINGS = sorted((ROOT / "data" / "recordings" / "s390x").glob("*.json"))


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_a_recording_of_a_real_kernel_replays_without_a_difference(path: Path) -> None:
    found = [str(difference) for difference in replay(Recording.load(path))[1]]
    assert [line for line in found if not (path.stem.startswith("catalogue") and OF_ANOTHER_FILE in line)] == []


# -- many at once -----------------------------------------------------------------------------------------------------------

KINDS = [kind for kind, howto in HOWTO_S390X.items() if howto.width]
FEW_OUTSIDE = {f"f{n}": 0x100000 + 0x1000 * n for n in range(4)} | {"far": 0x3FF7FF02000 + (1 << 33)}


@st.composite
def many_entries(draw: st.DrawFn) -> ModuleFile:
    """70 to 90 entries of mostly one kind, each at a place of its own, against symbols of its own and of the kernel."""
    usual = draw(st.sampled_from(KINDS))
    kinds = draw(st.lists(st.sampled_from([usual] * 12 + KINDS), min_size=70, max_size=90))
    symbols = ["own", *FEW_OUTSIDE]
    entries = [
        (".data", 8 * n, kind, draw(st.sampled_from(symbols)), draw(st.sampled_from([0, 2, 4, -8, 1 << 20])))
        for n, kind in enumerate(kinds)
    ]
    bodies = {".text": bytes(16), ".data": bytes([0xA5]) * 8 * len(kinds)}
    named = [("own", ".text", 8), *((name, None, 0) for name in FEW_OUTSIDE)]
    return ModuleFile(tiny_module("t", bodies, named, entries, machine=EM_S390), "t.ko")


@settings(max_examples=150, deadline=None)
@given(many_entries(), st.sampled_from(["6.1", "6.12"]))
def test_many_at_once_and_one_by_one_are_the_same(file: ModuleFile, release: str) -> None:
    results = []
    for vector_from in (s390x_rela.VECTOR_FROM, 1 << 40):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(s390x_rela, "VECTOR_FROM", vector_from)
            try:
                image = load_image(file, 0x3FF7FF02000, FEW_OUTSIDE.get, release)
                results.append(
                    [*(region.tobytes() for region in image.memory.values()), sorted(slots_of(image).filled)]
                )
            except LoadRefused as refused:
                results.append([str(refused)])
    assert results[0] == results[1]


def test_a_long_section_that_cannot_fail_never_meets_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("klpteach.model.arch.s390x.apply_rela", lambda *_: pytest.fail("the loop was asked"))
    entries = [(".data", 8 * n, (20, 22, 26)[n % 3], f"f{n % 4}", 0) for n in range(90)]
    named = [(name, None, 0) for name in FEW_OUTSIDE]
    made = tiny_module("t", {".text": bytes(16), ".data": bytes(720)}, named, entries, machine=EM_S390)
    image = load_image(ModuleFile(made, "t.ko"), 0x3FF7FF02000, FEW_OUTSIDE.get, "6.1")
    at = [int.from_bytes(image.sections[".data"][1][8 * n : 8 * n + 8], "big") for n in range(1, 90, 3)]
    assert at == [FEW_OUTSIDE[f"f{n % 4}"] for n in range(1, 90, 3)]
