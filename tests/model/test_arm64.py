"""arm64 in the model against recordings of real kernels, and what the kernel's code says of fields, order and the PLT."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import KO, ROOT
from hypothesis import example, given
from hypothesis import strategies as st

from klpteach import Kernel, ModuleFile, PolicyError, Recording, replay, simulate
from klpteach.files.elf_h import EM_AARCH64, RELA
from klpteach.files.relocation_types import ADRP, CALL26, HOWTO_ARM64, JUMP26, MASK64
from klpteach.files.write import tiny_module
from klpteach.model import arch as architectures
from klpteach.model.arch.arm64_plt import (
    ADRP_X0,
    adrp,
    branch,
    count_plts,
    count_veneers,
    entry_target,
    get_plt_entry,
    partition_and_sort,
)
from klpteach.model.arch.arm64_section import Section, plt_tables
from klpteach.model.errno import ENOEXEC, Refused
from klpteach.model.image import Loading
from klpteach.model.policy import behaviour
from klpteach.reading.history import History
from klpteach.reading.verdict import verdict
from klpteach.scenarios.simulate import get

SHARED = ROOT.parent / "shared" / "arm64"
OWN, THEIRS = (
    sorted(folder.glob("*.json")) for folder in (ROOT / "data" / "recordings" / "arm64", SHARED / "recordings")
)
FOLDER = KO / "arm64-7.3"
TABLE, CALLED = 0xFFFF8000786B6000, 0xFFFF800080022918  # a .plt, and a function of the kernel
addresses = st.integers(0xFFFF800000000000, 0xFFFF800080FFFFFF)


# -- recordings -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.stem)
def test_the_model_does_what_the_kernel_of_our_own_recording_did(path: Path) -> None:
    ours, differences = replay(Recording.load(path))
    assert [str(difference) for difference in differences] == []
    assert len(ours) > 2


@pytest.mark.skipif(not THEIRS, reason="no recordings in ../shared/arm64/recordings")
@pytest.mark.parametrize("path", THEIRS or [None], ids=lambda path: path.stem if path else "none")
def test_the_model_does_what_the_kernel_of_the_given_recording_did(path: Path) -> None:
    recording = Recording.load(path)
    ours, differences = replay(recording, SHARED / "ko")
    assert [str(difference) for difference in differences] == []
    assert len(ours) == len(recording)  # an oops does not end it


@pytest.mark.parametrize("place", ["site", "slot", "label", "first line of the oops", "a module's state"])
def test_a_replay_notices(place: str) -> None:
    recording = Recording.load(next(path for path in OWN if path.name.startswith("far--")))
    oops = next(number for number, step in enumerate(recording) if step.oops)
    step = recording[oops]
    if place == "site":
        key = next(iter(step.sites or {}))
        (step.sites or {})[key] = b"\0\1\2\3"
    elif place == "slot":
        (step.stubs or {})["livepatch_nfsd_demo"]["entries"][0] = "00" * 11 + "01"
    elif place == "label":
        step = next(step for step in recording if step.label)
        step.label = None
    elif place == "first line of the oops":
        step.dmesg[0] = (1, step.lines[0].replace("6140", "6144"))
    else:
        (step.modules or [])[0]["state"] = "Live"
    _, differences = replay(recording)
    assert differences and {difference.step for difference in differences} == {recording.steps.index(step)}


# -- the fields, by the psABI's words ---------------------------------------------------------------------------------------


@given(addresses, addresses)
def test_an_adrp_and_the_low_twelve_bits_together_are_the_address(to: int, at: int) -> None:
    at &= ~3
    entry = get_plt_entry(to, at)
    assert entry_target(entry, at) == to
    assert entry_target(entry[:8] + bytes(4), at) is None


@given(st.integers(-(1 << 25), (1 << 25) - 1), addresses)
def test_a_branch_goes_where_its_26_bits_say(words: int, at: int) -> None:
    at &= ~3
    to = (at + 4 * words) & MASK64
    assert HOWTO_ARM64[CALL26].fits is not None and HOWTO_ARM64[CALL26].fits(HOWTO_ARM64[CALL26].value(to, 0, at))
    assert architectures.of("arm64").branch_target(branch(to, at), at) == to


@pytest.mark.parametrize("kind, bits", [(273, 21), (274, 21), (279, 16), (280, 21), (282, 28), (283, 28)])
def test_a_branch_or_a_literal_reaches_so_many_bytes_and_no_further(kind: int, bits: int) -> None:
    howto, P, reach = HOWTO_ARM64[kind], 0xFFFF800078000000, 1 << bits - 1
    step = 1 << howto.shift
    fits = [bool(howto.fits(howto.value(P + far, 0, P))) for far in (-reach - step, -reach, reach - step, reach)]  # type: ignore[misc]
    assert fits == [False, True, True, False]


@given(st.sampled_from(sorted(kind for kind, howto in HOWTO_ARM64.items() if howto.mask)), addresses, addresses,
       st.integers(0, MASK64), st.integers(0, MASK64))  # fmt: skip
def test_a_second_value_over_the_first_is_the_same_as_over_the_files_bytes(
    kind: int, S: int, P: int, old: int, other: int
) -> None:
    howto = HOWTO_ARM64[kind]
    first = howto.stored(old, howto.bits(other))
    assert howto.stored(first, howto.value(S, 0, P)) == howto.stored(old, howto.value(S, 0, P))


def test_a_negative_distance_makes_a_movn_of_a_movz_and_back() -> None:
    howto = HOWTO_ARM64[291]  # MOVW_PREL_G2, as recorded (story fields)
    assert howto.stored(0xD2C00003, howto.value(0xFFFF8000786B2050, 0, 0xFFFF8000786B6044)).to_bytes(
        4, "little"
    ).hex() == ("0300c092")
    assert howto.stored(0x92C00003, howto.value(0xFFFF8000786C2050, 0, 0xFFFF8000786B6044)) == 0xD2C00003


# -- order and count -------------------------------------------------------------------------------------------------------


def as_the_kernel_does(needs: list[bool]) -> tuple[list[int], int]:
    """partition_branch_plt_relas(), line by line."""
    rows, i, j = list(range(len(needs))), 0, len(needs) - 1
    while i < j:
        if needs[rows[i]]:
            i += 1
        elif needs[rows[j]]:
            rows[i], rows[j] = rows[j], rows[i]
        else:
            j -= 1
    return rows, i


@given(st.lists(st.tuples(st.sampled_from([CALL26, JUMP26, ADRP]), st.integers(1, 4), st.booleans()), max_size=40))
@example([(CALL26, symbol, True) for symbol in (4, 3, 2, 1)])
def test_branches_go_to_the_front_as_the_kernels_two_indexes_take_them(rows: list[tuple[int, int, bool]]) -> None:
    rela = np.array([(4 * n, kind, symbol, 0) for n, (kind, symbol, _) in enumerate(rows)], RELA)
    elsewhere = np.array([outside for _, _, outside in rows], bool)
    order, count = as_the_kernel_does([outside and kind != ADRP for kind, _, outside in rows])
    ours = partition_and_sort(rela, elsewhere)
    assert ours[count:].tolist() == rela[order[count:]].tolist()
    keys = ours[["type", "sym", "addend"]][:count].tolist()
    assert keys == sorted(rela[["type", "sym", "addend"]][order[:count]].tolist())


def test_the_same_target_twice_counts_once_where_both_stand_together() -> None:
    rela = np.array(
        [(0, CALL26, 5, 0), (4, CALL26, 5, 0), (8, CALL26, 6, 0), (12, JUMP26, 5, 0), (16, CALL26, 7, 8)], RELA
    )
    assert count_plts(rela, np.ones(5, bool)) == 4
    assert count_plts(rela, np.zeros(5, bool)) == 0


# -- what comes of it -----------------------------------------------------------------------------------------------------


def test_any_reload_works_without_a_check_and_without_clearing() -> None:
    for story in ("reload", "moved", "foreign-write", "init-fails"):
        recording = simulate(story, "7.3", arch="arm64")
        assert recording[-1].errno == 0 and verdict(recording, len(recording) - 1).kind == "works", story


def test_a_late_call_too_far_ends_in_an_oops_and_nothing_loads_any_more() -> None:
    recording = simulate("far", "7.3", arch="arm64")
    oops = next(step for step in recording if step.oops)
    table = architectures.of("arm64").stub_section
    place = (recording[1].sections or {})["livepatch_nfsd_demo"][table]
    assert oops.lines[0].endswith(f"read-only memory at virtual address {place:016x}")
    after = recording.steps[recording.steps.index(oops) + 1 :]
    assert [(step.did.verb, step.errno, step.label) for step in after] == [
        ("cat", -2, None), ("insmod", None, "hung"), ("rmmod", -16, None), ("echo", None, "hung"),
    ]  # fmt: skip
    assert "klp_mutex" in verdict(recording, recording.steps.index(oops)).because
    assert verdict(recording, len(recording) - 1).kind == "hung"


def test_a_late_pointer_at_an_odd_address_is_left_and_the_load_succeeds() -> None:
    recording = simulate("unaligned", "7.3", arch="arm64")
    places = {key: value for step in recording for key, value in (step.sites or {}).items() if key.endswith("+0xd1")}
    assert list(places.values()) == [bytes(8)] and recording[-2].errno == 0
    last = next(i for i in reversed(range(len(recording))) if recording[i].command == "insmod nfsd_demo.ko")
    assert verdict(recording, last).kind == "unwritten"


def test_a_reference_that_does_not_reach_is_refused_but_stored() -> None:
    recording = simulate("near", "7.3", arch="arm64")
    refused = [step for step in recording if step.refused]
    assert len(refused) == 2 and all("overflow in relocation type 280" in step.lines[0] for step in refused)
    assert recording[-1].errno == 0


def test_with_erratum_843419_an_adrp_at_the_end_of_a_page_is_none() -> None:
    plain, words = behaviour("7.3", arch="arm64"), []
    for rules in (plain, replace(plain, erratum_843419=True)):
        kernel = Kernel("arm64", "7.3", rules=rules)
        kernel.insmod("nfsd_demo.ko")
        step = kernel.insmod("livepatch_veneer.ko")
        words += [int.from_bytes(v, "little") for k, v in (step.sites or {}).items() if k.endswith(":.text+0xff8")]
    assert [word >> 31 for word in words] == [1, 0] and words[0] & 31 == words[1] & 31 == 1
    assert adrp(1, 0, 0) >> 31 == 1


@pytest.mark.parametrize("addend", [0, 0x2004, -0x1000])
def test_the_adr_that_is_made_of_an_adrp_leads_to_the_page_of_symbol_and_addend(addend: int) -> None:
    sections = {
        ".text": bytes(0xFF8) + (ADRP_X0 | 3).to_bytes(4, "little") + bytes(4),
        **dict.fromkeys(own_sections(), bytes(1)),
    }
    made = tiny_module("t", sections, [("f", ".text", 0x10)], [(".text", 0xFF8, ADRP, "f", addend)], machine=EM_AARCH64)
    kernel = Kernel("arm64", "7.3", rules=replace(behaviour("7.3", arch="arm64"), erratum_843419=True))
    kernel.known = frozenset({"t.ko"})
    assert kernel.insmod(ModuleFile(made, "t.ko")).errno == 0
    mod = kernel.find_module("t")
    word = int.from_bytes(mod.bytes_at(".text", 0xFF8, 4), "little")
    distance = (word >> 29 & 3) | (word >> 5 & 0x7FFFF) << 2
    place = mod.image.address[mod.file.section_names.index(".text")]
    assert word & 0x9F00001F == 0x10000003  # adr x3
    assert place + 0xFF8 + distance - (distance >> 20 << 21) == (place + 0x10 + addend) & ~0xFFF


@pytest.mark.parametrize("addend", [0, 8])
def test_a_call_too_far_goes_through_an_entry_to_symbol_and_addend(addend: int) -> None:
    sections = {".text": (0x94000000).to_bytes(4, "little") + bytes(4), **dict.fromkeys(own_sections(), bytes(1))}
    made = tiny_module("t", sections, [("far", None, 0)], [(".text", 0, CALL26, "far", addend)], machine=EM_AARCH64)
    kernel = Kernel("arm64", "7.3", exports={"far": CALLED + (1 << 30)})
    assert kernel.insmod(ModuleFile(made, "t.ko")).errno == 0
    table = plt_tables(kernel.find_module("t").image)[".plt"]
    assert (table.used, entry_target(table.last, table.at(0))) == (1, CALLED + (1 << 30) + addend)


def own_sections() -> tuple[str, ...]:
    return architectures.of("arm64").own_sections


def test_an_architecture_that_had_no_livepatch_yet_is_refused_with_that_sentence() -> None:
    with pytest.raises(
        PolicyError, match=r"arm64 has livepatch since 6\.17 \(fd1e0fd71f65\), so there is none in 6\.1\."
    ):
        simulate("reload", "6.1", arch="arm64")


def test_a_proposal_that_clears_gives_the_files_bytes_back() -> None:
    recording = simulate("reload", "7.3", ["clear-relocations"], arch="arm64")
    file, history = ModuleFile.open(FOLDER / "livepatch_nfsd_demo.ko"), History(recording)
    for key, value in (recording[2].sites or {}).items():
        section, _, offset = key.partition(":")[2].rpartition("+")
        body = file.section_bytes(file.section_index(section) or 0)
        assert body[int(offset, 16) : int(offset, 16) + len(value)] == value, key
    assert history.recording[3].errno == 0


# -- a mend of ours: entries through the alias, and each site keeps its own ------------------------------------------------


@pytest.mark.parametrize(
    "story", ["far", "far-one-call", "far-first", "far-moves", "far-same", "far-sibling", "moved-40"]
)
def test_with_kept_entries_every_load_succeeds_however_far_the_target_moves(story: str) -> None:
    told = simulate(story, "7.3", ["keep-plt"], "arm64")
    loads = [step for step in told if step.did.loads and not step.quiet]
    assert loads and all(step.errno == 0 and not step.oops for step in loads)


def test_with_kept_entries_nothing_is_written_behind_the_table() -> None:
    told = simulate("far-moves", "7.3", ["keep-plt"], "arm64")
    tables = [table for step in told for table in (step.stubs or {}).values()]
    behind = {tuple(table["entries"][table["max_entries"] + 1 :]) for table in tables}
    assert len(tables) > 3 and len(behind) == 1


def test_a_kept_veneer_keeps_the_register_of_its_adrp() -> None:
    """Without the mend the second veneer takes x18 from the branch that stands there (recording veneer-again, poke-a53)."""
    rules = replace(behaviour("7.3", ["keep-plt"], "arm64"), erratum_843419=True)
    kernel = Kernel("arm64", "7.3", rules=rules)
    steps = [kernel.run(line) for line in get("veneer-again", "arm64").commands]
    assert not any(step.errno or step.oops for step in steps)
    first, *_ = (steps[-1].stubs or {})["livepatch_veneer"]["entries"]
    assert int.from_bytes(bytes.fromhex(first)[:4], "little") & 31 == 1


# -- the table by itself ------------------------------------------------------------------------------------------------------


def test_an_adrp_is_kept_from_the_end_of_a_page_by_alignment_but_for_the_one_that_stands_there() -> None:
    """count_plts(): of an adrp at ...7f8 an alignment to 4 KiB sees to it that it is never at ...ff8."""

    def at(*offsets: int) -> np.ndarray:  # type: ignore[type-arg]
        return np.array([(offset, ADRP, 1, 0) for offset in offsets], RELA)

    assert count_veneers(at()) == (0, 1)
    assert count_veneers(at(0x7F8)) == (0, 0x1000)
    assert count_veneers(at(0xFF8, 0xFFC, 0)) == (2, 16)


def test_what_is_seen_of_a_table_is_its_entries_and_what_leads_to_a_module_behind_its_end() -> None:
    cpu, start = architectures.of("arm64"), TABLE
    kernel_function, module_function = CALLED, start + 0x10000
    targets = [
        kernel_function,
        module_function,
        0,
        kernel_function,
        module_function,
    ]  # two entries, the spare one, two behind
    entries = [get_plt_entry(to, start + 12 * n).hex() if to else "00" * 12 for n, to in enumerate(targets)]
    seen = cpu.stubs_seen({"max_entries": 2, "entries": entries}, start)
    assert (seen.slots, seen.used) == (3, 2)
    assert [(index, target) for index, target, _ in seen.entries] == [
        (0, kernel_function), (1, module_function), (2, 0), (4, module_function),
    ]  # fmt: skip


def test_the_trampoline_behind_the_table_leads_to_ftrace_caller() -> None:
    cpu, start, behind = architectures.of("arm64"), TABLE, TABLE + 24
    entries = ["00" * 12, "00" * 12, get_plt_entry(CALLED, behind).hex()]
    sections = {".plt": start, ".text.ftrace_trampoline": behind}
    assert cpu.kernel_symbols({"entries": entries}, sections) == {"ftrace_caller": CALLED}
    for elsewhere in (start - 12, start + 36, start + 25):
        assert cpu.kernel_symbols({"entries": entries}, {**sections, ".text.ftrace_trampoline": elsewhere}) == {}


def test_a_late_call_is_compared_with_the_entry_that_was_made_last() -> None:
    kernel = Kernel("arm64", "7.3", ["keep-plt"])
    for line in get("far", "arm64").commands[:4]:
        assert kernel.run(line).errno == 0
    table = plt_tables(kernel.find_module("livepatch_nfsd_demo").image)[".plt"]
    assert table.used and table.last == table.memory[table.offset :][12 * table.used - 12 :][:12].tobytes()
    table.used = 0
    assert table.last == b""


def test_a_late_value_is_written_where_its_address_is_a_multiple_of_4_wherever_its_section_begins() -> None:
    kernel = Kernel("arm64", "7.3")
    kernel.insmod("livepatch_nfsd_demo.ko")
    image = kernel.find_module("livepatch_nfsd_demo").image
    index = next(i for i in image.file.rela_sections if image.file.section_names[i].startswith(".klp.rela."))
    section = Section(Loading(image, "livepatch_nfsd_demo", kernel.rules, lambda line: None), index)
    section.memory[:8] = bytes(8)
    section.place = (section.place & ~3) + 1
    for offset, written in ((1, False), (3, True)):
        section.write(offset, 0xFFFFFFFF, 4)
        assert bytes(section.memory[offset : offset + 4]) == (b"\xff" if written else b"\0") * 4


def test_the_first_page_of_the_module_area_is_no_kernels() -> None:
    for cpu in map(architectures.of, ("x86_64", "ppc64le", "arm64", "s390x")):
        assert [cpu.is_kernel(address) for address in (cpu.module_area, cpu.kernel_text)] == [False, True], cpu.name


def test_a_veneer_for_which_no_entry_was_counted_is_refused_with_a_warning() -> None:
    lines = list[str]()
    kernel = Kernel("arm64", "7.3")
    kernel.insmod("livepatch_nfsd_demo.ko")
    image = kernel.find_module("livepatch_nfsd_demo").image
    table, rules = plt_tables(image)[".plt"], replace(kernel.rules, plt_alias=True, erratum_843419=True)
    me = Loading(image, "livepatch_nfsd_demo", rules, lambda line: lines.append(line.render()))
    table.used = table.max_entries - 1
    table.emit_veneer(me, TABLE, ADRP_X0 | 3, TABLE & ~0xFFF)
    assert lines == []
    with pytest.raises(Refused) as refused:
        table.emit_veneer(me, TABLE, ADRP_X0 | 3, TABLE & ~0xFFF)
    assert refused.value.errno == ENOEXEC and "module_emit_veneer_for_adrp" in lines[1]
