"""The ppc64le recordings say what the course says they say; what can be known without QEMU and without a compiler."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from klpteach import replay
from klpteach.files import klp
from klpteach.files.module_file import ModuleFile
from klpteach.files.relocation_types import REL24
from klpteach.files.samples import data_dir, ko_dir, open_ko
from klpteach.model.arch.frob import LoaderCopy
from klpteach.model.arch.ppc64le import Ppc64le
from klpteach.model.arch.stubs import STUB_SIZE, StubTable
from klpteach.model.image import Loading
from klpteach.model.layout import layout_sections
from klpteach.model.recording import Recording
from klpteach.model.step import hexa
from klpteach.vm import build, record
from klpteach.vm.host import HostError
from klpteach.vm.kernels import RECORDED
from klpteach.vm.qemu import GuestKernel
from klpteach.vm.variants import VARIANTS

FOLDER = data_dir() / "recordings" / "ppc64le"
RECORDINGS = sorted(FOLDER.glob("*.json"))
KERNEL = GuestKernel("ppc64le", "6.1", "stock", Path("vmlinux"), Path("config"))
LP = "livepatch_nfsd_demo"
LD_R2, NOP = "180041e8", "00000060"


def recorded(story: str, kernel: str) -> Recording:
    (path,) = FOLDER.glob(f"{story}--{kernel}--*.json")
    return Recording.load(path)


def reloads(recording: Recording) -> list[int | None]:
    """The errno of every load of the target but the first."""
    return [step.errno for step in recording if step.command == "insmod nfsd_demo.ko"][1:]


def used(recording: Recording, livepatch: str = LP) -> list[tuple[int, int]]:
    """(used, past_end_used) after every load of the target that was looked at."""
    steps = [step for step in recording if step.command == "insmod nfsd_demo.ko" and step.stubs]
    tables = [(step.stubs or {}).get(livepatch) for step in steps]
    return [(table["used"], table["past_end_used"]) for table in tables if table]


def calls(recording: Recording, step: int) -> list[str]:
    """The bytes at every call site of the sample livepatch."""
    sites = recording[step].sites or {}
    return [data.hex() for site, data in sites.items() if site.startswith(f"{LP}:.text")]


def test_a_recording_is_complete_and_its_name_tells_its_end() -> None:
    for path in RECORDINGS:
        recording = Recording.load(path)
        assert record.file_name(recording) == path.name
        assert (recording.source, recording.arch) == ("real kernel", "ppc64le"), path.name
        assert (recording.release, recording.kernel["variant"]) in VARIANTS["ppc64le"], path.name
        assert recording[0].command.startswith("insmod"), path.name
        folder = ko_dir("ppc64le", recording.release)
        here = {name: hashlib.sha256(open_ko(folder, name).data).hexdigest() for name in recording.files}
        assert recording.files == here, path.name


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_the_model_does_what_the_real_kernel_did(path: Path) -> None:
    recording = Recording.load(path)
    ours, differences = replay(recording)
    assert [str(d) for d in differences] == []
    assert len(ours) == len(recording)


def change_funcdata(step: dict) -> None:
    step["stubs"][LP]["entries"][5]["funcdata"] = "0xc008000000000000"


def change_used(step: dict) -> None:
    step["stubs"][LP]["used"] -= 1


def forget_a_stub(step: dict) -> None:
    del step["stubs"][LP]["entries"][-1]


def change_the_word_after_a_call(step: dict) -> None:
    key = next(key for key, value in step["sites"].items() if value.endswith(LD_R2))
    step["sites"][key] = step["sites"][key][:8] + NOP


def change_the_size_that_is_printed(step: dict) -> None:
    step["dmesg"][0][1] = step["dmesg"][0][1].replace("/0x", "/0x1")


def forget_the_warning(step: dict) -> None:
    step["dmesg"] = [row for row in step["dmesg"] if "stub_for_addr" not in row[1]]


def change_a_resolved_symbol(step: dict) -> None:
    row = next(row for row in step["symbols"][LP] if row[2].startswith(".klp.sym."))
    row[0] = hexa(int(row[0], 16) + 4)


@pytest.mark.parametrize(
    ("story", "kernel", "number", "change"),
    [
        *(("reload", "6.12-stock", 3, change) for change in (change_funcdata, change_used, forget_a_stub)),
        ("reload", "6.12-stock", 3, change_the_word_after_a_call),
        ("reload", "6.12-stock", 3, change_a_resolved_symbol),
        ("reload", "6.1-stock", 3, change_the_size_that_is_printed),
        ("moved", "6.12-stock", 7, forget_the_warning),
    ],
)
def test_a_replay_notices(story: str, kernel: str, number: int, change: Callable[[dict], None], tmp_path: Path) -> None:
    (path,) = FOLDER.glob(f"{story}--{kernel}--*.json")
    raw = json.loads(path.read_text())
    change(raw["steps"][number])
    (tmp_path / "changed.json").write_text(json.dumps(raw))
    _, differences = replay(Recording.load(tmp_path / "changed.json"))
    assert {d.step for d in differences} == {number}


def stub_before_the_bound(table: StubTable, me: Loading, addr: int) -> tuple[int, bool]:
    """What one would write: look at the bound before a stub is made."""
    hits = [i for i, f in enumerate(table.funcdata.tolist()[: table.slots]) if f in (0, addr)]
    if not hits:
        table._warn(me)
    return hits[0], bool(table.funcdata[hits[0]])


@pytest.mark.parametrize(
    ("where", "name", "instead"),
    [
        (StubTable, "_search", stub_before_the_bound),
        (LoaderCopy, "rela_in_order", lambda file, index: file.on_disk.rela(index)),
        (Ppc64le, "page", 0x1000),
    ],
    ids=["the bound is looked at first", "relocations in the file's order", "pages of 4 KiB"],
)
def test_a_model_with_one_rule_of_the_kernel_broken_does_not_replay(
    where: type, name: str, instead: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of these rules was needed; so a recording must tell when it is gone."""
    monkeypatch.setattr(where, name, instead)
    layout_sections.cache_clear()
    try:
        stories = (
            "moved--6.12-stock",
            "stacked--6.1-stock",
            "no-nop--6.12-stock",
            "edge--6.12-stock",
            "reload--6.1-stock",
        )
        paths = [path for story in stories for path in FOLDER.glob(f"{story}--*.json")]
        assert any(replay(Recording.load(path))[1] for path in paths)
    finally:
        layout_sections.cache_clear()


def test_a_recording_holds_no_trace_of_the_machine_that_made_it() -> None:
    for path in RECORDINGS:
        text = path.read_text()
        assert "klpteach@klpteach" in text, path.name
        assert not re.search(r"/(home|root|work|tmp)/", text), path.name


def test_the_evidence_is_there_and_small() -> None:
    how = RECORDED["ppc64le"]
    wanted = {(name, how.name(*key)) for name in how.stories for key in how.concerned(name)}
    assert {tuple(path.name.split("--")[:2]) for path in RECORDINGS} == wanted
    assert sum(path.stat().st_size for path in RECORDINGS) < 7 << 20  # seven kernels


@pytest.mark.parametrize("story", ["reload", "late", "init-fails"])
def test_the_reload_is_refused_in_the_words_of_the_report(story: str) -> None:
    last = recorded(story, "6.1-stock")[-1]
    first, *rest = last.lines
    assert last.errno == -8
    assert first.startswith(f"module_64: {LP}: Expected nop after call, got e8410018 at lp_demo_show+0x")
    assert rest == [
        f"livepatch: failed to initialize patch '{LP}' for module 'nfsd_demo' (-8)",
        f"livepatch: patch '{LP}' failed for module 'nfsd_demo', refusing to load module 'nfsd_demo'",
    ]


@pytest.mark.parametrize("kernel", ["6.1-clear", "6.1-tolerate", "6.1-reuse", "6.12-stock", "6.12-reuse", "7.3-stock"])
def test_with_any_fix_the_same_reload_succeeds(kernel: str) -> None:
    for story in ("reload", "late", "init-fails", "workaround"):
        assert recorded(story, kernel)[-1].errno == 0


def test_the_life_of_a_call_site() -> None:
    file = ModuleFile.open(ko_dir("ppc64le", "6.1") / f"{LP}.ko")
    site = next(site for site in klp.sites(file) if site.type == REL24)
    stock, cleared = recorded("reload", "6.1-stock"), recorded("reload", "6.1-clear")
    index = file.section_index(site.section)
    assert index is not None
    in_file = file.section_bytes(index)[site.offset : site.offset + 8].hex()
    assert in_file == "01000048" + NOP
    assert all(data.endswith(LD_R2) for data in calls(stock, 1))
    assert calls(stock, 1) == calls(stock, 2) == calls(stock, 3)  # rmmod and the refused load change nothing
    assert calls(cleared, 2) == [in_file] * 3  # the variant gives the file's bytes back …
    assert (cleared[2].stubs or {})[LP]["used"] == (cleared[1].stubs or {})[LP]["used"]  # … and keeps the stubs


@pytest.mark.parametrize("kernel", ["6.1-clear", "6.1-tolerate", "6.12-stock", "7.3-stock"])
def test_at_the_same_address_no_new_stub_is_needed(kernel: str) -> None:
    recording = recorded("same-address", kernel)
    assert reloads(recording) == [0] * 5
    assert len(set(used(recording))) == 1


@pytest.mark.parametrize("kernel", ["6.1-clear", "6.1-tolerate", "6.12-stock"])
def test_each_move_takes_three_stubs_until_there_are_none(kernel: str) -> None:
    recording = recorded("moved", kernel)
    slots = (recording[1].stubs or {})[LP]["num_stubs"]
    assert slots == 11
    assert used(recording) == [(11, 0), (11, 1), (11, 1), (11, 1)]
    assert reloads(recording) == [0, -2, -2, -2]
    assert any("stub_for_addr" in line for step in recording for line in step.lines)


def test_7_3_counts_its_stubs_has_a_slot_less_and_writes_behind_them_at_the_first_move() -> None:
    recording, one_call = recorded("moved", "7.3-stock"), recorded("one-call", "7.3-stock")
    assert (recording[1].stubs or {})[LP]["num_stubs"] == 10
    assert used(recording) == [(10, 1)] * 4 and reloads(recording) == [0, -2, -2, -2]
    assert not any("WARNING" in line for line in recording[4].lines)  # it says nothing about that
    assert reloads(one_call) == [0, 0, -2, -2]
    assert used(one_call, "livepatch_one_call") == [(6, 0), (6, 1), (6, 1), (6, 1)]


@pytest.mark.parametrize("kernel", ["6.1-clear", "6.1-tolerate", "6.12-stock"])
def test_of_forty_moves_one_succeeds(kernel: str) -> None:
    recording = recorded("moved-40", kernel)
    assert reloads(recording) == [0] + [-2] * 39
    assert used(recording)[-1] == (11, 1)


@pytest.mark.parametrize("kernel", ["6.1-reuse", "6.12-reuse"])
def test_with_stubs_that_are_used_again_all_forty_succeed(kernel: str) -> None:
    recording = recorded("moved-40", kernel)
    assert reloads(recording) == [0] * 40
    assert set(used(recording)) == {(8, 0)}
    bases = {row["base"] for step in recording if (row := step.module("nfsd_demo"))}
    assert len(bases) > 30  # it really moved


@pytest.mark.parametrize("story", ["data-only", "sibling"])
def test_without_a_nop_to_change_even_stock_reloads(story: str) -> None:
    recording = recorded(story, "6.1-stock")
    assert 0 in reloads(recording)
    assert reloads(recording)[0] == 0
    assert not any("Expected nop" in line for step in recording for line in step.lines)


def test_a_plain_branch_meets_no_check_and_still_wears_out_the_table_of_stock() -> None:
    recording = recorded("sibling-moved", "6.1-stock")
    assert reloads(recording) == [0, 0, -2, -2]
    assert used(recording, "livepatch_sibling") == [(6, 0), (6, 1), (6, 1), (6, 1)]


@pytest.mark.parametrize("kernel", ["6.1-clear", "6.1-tolerate", "6.12-stock"])
def test_a_load_can_succeed_with_its_stub_behind_the_table(kernel: str) -> None:
    recording = recorded("one-call", kernel)
    assert reloads(recording) == [0, 0, 0, -2]
    assert used(recording, "livepatch_one_call") == [(6, 0), (7, 0), (7, 1), (7, 1)]


@pytest.mark.parametrize("kernel", ["6.1-clear", "6.1-tolerate", "6.12-stock"])
def test_a_section_a_function_gives_slots_for_five_moves(kernel: str) -> None:
    assert reloads(recorded("sections", kernel)) == [0] * 5 + [-2] * 5


def test_at_the_end_of_a_page_unmodified_6_12_oopses() -> None:
    recording = recorded("edge", "6.12-stock")
    text = recording[1].sections["livepatch_edge"][".text"]  # type: ignore[index]
    assert recording[-1].oops
    assert any(
        line.startswith("BUG: Unable to handle kernel data access on read at") and f"{text + 0x10020:#x}" in line
        for line in recording[-1].lines
    )
    assert reloads(recorded("edge", "6.12-reuse")) == [0, 0, 0]


def test_the_edge_is_where_the_page_ends() -> None:
    recording = recorded("edge", "6.12-stock")
    sections = recording[1].sections["livepatch_edge"]  # type: ignore[index]
    slots = (recording[1].stubs or {})["livepatch_edge"]["num_stubs"]
    assert sections[".stubs"] + slots * STUB_SIZE == sections[".text"] + 0x10000


def test_a_failure_half_way_hides_its_cause_and_blocks_a_good_target() -> None:
    stock, tolerant = recorded("half-way", "6.1-stock"), recorded("half-way", "6.12-stock")
    assert "livepatch: symbol 'demo_second_thought' not found in symbol table" in stock[1].lines
    assert [step.errno for step in stock] == [0, -22, -8, -8]
    assert [step.errno for step in tolerant] == [0, -22, -22, 0]


def test_a_call_without_a_nop_is_refused_for_good_reason() -> None:
    for kernel in ("6.1-stock", "6.12-stock"):
        last = recorded("no-nop", kernel)[-1]
        assert last.errno == -8
        assert any("Expected nop after call, got 38600001 at lp_demo_clamp+0x10/" in line for line in last.lines)


@pytest.mark.parametrize("kernel", ["6.1-stock", "6.12-stock"])
@pytest.mark.parametrize(
    ("defect", "errno", "words"),
    [
        ("unknown-type", -8, f"module_64: {LP}: Unknown ADD relocation: 42"),
        (
            "symbol-undef",
            -2,
            f"{LP}: Unknown symbol klp.sym.nfsd_demo.demo_scale,0 (err -2)",
        ),  # dedotify() eats the dot
        ("section-wrong-prefix", -22, "livepatch: section .klp.relanfsd_demo..text has an incorrectly formatted name"),
        ("section-not-livepatch", 0, None),
    ],
)
def test_the_catalogue_of_defects(kernel: str, defect: str, errno: int, words: str | None) -> None:
    (step,) = (s for s in recorded("catalogue", kernel) if s.command == f"insmod {LP}+{defect}.ko")
    assert step.errno == errno
    assert words is None or words in step.lines


def test_the_table_is_counted_by_the_kernels_rule() -> None:
    folder = ko_dir("ppc64le", "6.1")
    counted = {
        name: record.num_stubs(ModuleFile.open(folder / f"{name}.ko"), KERNEL) for name in (LP, "livepatch_sections")
    }
    assert counted == {LP: 11, "livepatch_sections": 17}


def test_the_agents_list_of_sites_shows_the_word_after_each_call() -> None:
    file = ModuleFile.open(ko_dir("ppc64le", "6.1") / f"{LP}.ko")
    rows = [line.split() for line in record.site_list([file], width=8).splitlines()]
    assert {row[3] for row in rows} == {"8"}
    assert {row[1] for row in rows} == {".text", ".toc", ".data.rel"}


def test_an_unknown_variant_is_refused_with_those_there_are() -> None:
    with pytest.raises(HostError, match=r"no ppc64le kernel 6\.1-fast; there are 6\.1-stock, 6\.1-clear"):
        build.build_kernel("ppc64le", "6.1", "fast")
