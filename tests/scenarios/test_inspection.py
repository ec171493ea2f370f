"""A livepatch checked before it is shipped: its verdict is what real kernels did, and each check finds what it is for."""

from __future__ import annotations

import json
import random
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import ROOT
from oracle import Unavailable, debian_modules
from strange_modules import many_objects

from klpteach.cli import main
from klpteach.errors import KlpteachError, ModuleFormatError
from klpteach.files.elf_h import (
    MODULE_NAME_LEN,
    SHF_ALLOC,
    SHF_INFO_LINK,
    SHF_RELA_LIVEPATCH,
    SHN_LIVEPATCH,
    SHN_UNDEF,
    SHT_RELA,
    STB_WEAK,
    THIS_MODULE,
    THIS_MODULE_NAME,
)
from klpteach.files.klp import sites
from klpteach.files.klp_patch import BY_NAMES, KLP_BUILD, KPATCH
from klpteach.files.module_file import ModuleFile
from klpteach.files.samples import sample
from klpteach.files.write import ElfImage, Rela, Section, tiny_module
from klpteach.model.kernel import Kernel
from klpteach.model.state import Machine
from klpteach.scenarios import inspection as inspecting
from klpteach.scenarios import reload as reloading
from klpteach.scenarios.checks import Check, checks, made_by
from klpteach.scenarios.inspection import Inspection, leftovers
from klpteach.scenarios.recorded import evidence
from klpteach.scenarios.reload import Outcome, Wanted, built_for, plays_apart, survives
from klpteach.scenarios.size import MOST_ON, check_size, counts
from klpteach.views.yours.modules import Brought

FIELD = ROOT.parent / "shared" / "field"
in_the_field = pytest.mark.skipif(not FIELD.exists(), reason="no livepatches of others in ../shared/field")
OWN = [
    ("livepatch_nfsd_demo", "reload"),
    ("livepatch_kpatch", "kpatch-reload"),
    ("livepatch_klp_build", "klp-build-reload"),
]


def opened(name: str, release: str = "6.1", arch: str = "x86_64") -> ModuleFile:
    return ModuleFile.open(sample(f"{name}.ko", arch, release))


def inspected(livepatch: ModuleFile, *targets: ModuleFile) -> Inspection:
    return Inspection(livepatch, {target.name: target for target in targets})


def without_addresses(line: str) -> str:
    return re.sub(r"\(____ptrval____\)|\b[0-9a-f]{16}\b", "?", line)


# -- the verdict is the kernel's ------------------------------------------------------------------------------------------


ON = [("6.1", "REFUSED"), ("6.12", "LOADS"), ("7.3", "LOADS")]
THERE = [(*own, *on) for own in OWN for on in ON if (own[0], on[0]) != ("livepatch_kpatch", "7.3")]  # kpatch makes none


@pytest.mark.parametrize(("name", "story", "release", "ending"), THERE)
def test_the_verdict_on_a_livepatch_is_what_a_real_kernel_did(name: str, story: str, release: str, ending: str) -> None:
    found = inspected(opened(name, release), opened("nfsd_demo", release))
    (own,) = found.own
    real = [step for step in evidence(f"{story}--{release}--{ending}") if step.command != "boot"][:4]
    assert [step.command for step in own.steps] == [step.command for step in real]
    assert [step.errno for step in own.steps] == [step.errno for step in real]
    ours, theirs = ([without_addresses(line) for line in steps[-1].lines] for steps in (own.steps, real))
    assert ours == theirs
    assert found.ok == (ending == "LOADS") == ("can be loaded again under it" in found.verdict)
    assert all(check.ok is not False for check in found.checks), found.checks


@in_the_field
@pytest.mark.parametrize(
    ("name", "form", "target", "own", "refused"),
    [
        ("livepatch_nfsd_export", KPATCH, "nfsd", "6.1", ["5.3", "6.1"]),
        ("livepatch_tun", KLP_BUILD, "tun", "", ["5.3", "6.1"]),
        ("livepatch_ets", KLP_BUILD, "sch_ets", "", ["5.3", "6.1"]),
    ],
)
def test_livepatches_of_others_get_the_verdict_that_the_kernel_gives(name, form, target, own, refused) -> None:
    alone = inspected(ModuleFile.open(FIELD / f"{name}.ko"))
    path = FIELD / f"{target}.ko"
    both = inspected(alone.file, ModuleFile.open(path)) if path.exists() else alone
    for found in (alone, both):
        assert made_by(found.file)["form"] == form and [o.target for o in found.own] == [target]
        assert [o.release for o in found.outcomes if o.kind == "refused"] == refused
        assert [o.kind for o in found.outcomes if o.release in ("6.3", "6.12", "7.3")] == ["works"] * 3
        assert found.ok == (own not in refused)
    assert all(check.ok is not False for check in both.checks), both.checks


@in_the_field
def test_the_model_prints_what_debians_kernel_printed_about_debians_nfsd() -> None:
    try:
        nfsd = ModuleFile.open(debian_modules() / "nfsd.ko")
    except Unavailable as reason:
        pytest.skip(str(reason))
    real = (FIELD / "real-dmesg-debian-6.1.192.txt").read_text().splitlines()
    lines = [line.partition("] ")[2] for line in real]
    start = lines.index("KLP> insmod nfsd.ko", lines.index("KLP> rmmod nfsd"))
    livepatch = ModuleFile.open(FIELD / "livepatch_nfsd_export.ko")
    for found in (inspected(livepatch, nfsd), inspected(livepatch)):
        (own,) = found.own
        said = [re.sub(r"val \w+", "val ?", without_addresses(line)) for line in own.steps[3].lines]
        assert said == [re.sub(r"val \w+", "val ?", without_addresses(line)) for line in lines[start + 1 : start + 4]]
        assert all(check.ok is not False for check in found.checks), found.checks


@in_the_field
def test_what_klp_build_leaves_at_the_same_places_is_not_counted() -> None:
    file = ModuleFile.open(FIELD / "livepatch_tun.ko")
    found = inspected(file)
    assert leftovers(file) == 4 and found.waiting()["tun"]["count"] == 4
    (text,) = (row for row in inspecting.sections(file) if row["name"] == ".text")
    entries = file.rela(file.section_names.index(".rela.text"))
    assert text["relocations"] == len(entries)  # four of .rela.text are of type 0, and stand in .klp.rela.tun..text


def test_a_module_whose_symbols_are_taken_is_there_and_stays() -> None:
    """acl_demo's part of this livepatch calls a function of nfsd_demo, as kpatch-build makes such calls."""
    for name in ("livepatch_kpatch_two", "livepatch_klp_build_two"):
        for outcome in survives(opened(name)):
            assert outcome.kind == ("refused" if outcome.release in ("5.3", "6.1") else "works"), outcome
            assert outcome.failed is None or outcome.failed.errno == -8


def test_a_livepatch_of_no_known_form_gets_a_verdict_on_its_relocations_and_it_says_what_is_not_seen() -> None:
    image = ElfImage.parse(sample("livepatch_kpatch.ko").read_bytes())
    for section in image.sections:
        section.name = section.name.replace(".kpatch.", ".another.").replace("rela.kpatch", "rela.another")
    found = inspected(ModuleFile(image.to_bytes(), "livepatch_other.ko"))
    assert made_by(found.file) == {"form": BY_NAMES, "replace": None, "replace_assumed": False, "callbacks": []}
    assert "is refused" in found.verdict and "more of it cannot be seen" in found.verdict
    assert any("which functions it patches" in check.says for check in found.checks)


@pytest.mark.parametrize(
    ("name", "arch"),
    [("livepatch_kpatch", "x86_64"), ("livepatch_klp_build_two", "x86_64"), ("livepatch_nfsd_demo", "ppc64le")],
)
def test_damaged_livepatches_and_targets_end_in_a_verdict_or_in_one_error(name: str, arch: str) -> None:
    rng, pair = random.Random(name), [sample(f"{name}.ko", arch), sample("nfsd_demo.ko", arch)]
    endings = set()
    for _ in range(40):
        damaged = [bytearray(path.read_bytes()) for path in pair]
        for body in damaged:
            for _ in range(rng.choice((0, 1, 4, 20))):
                body[rng.randrange(len(body))] = rng.choice((0, 1, 255, rng.randrange(256)))
        try:
            found = inspected(*(ModuleFile(bytes(body), path.name) for body, path in zip(damaged, pair, strict=True)))
            endings.add("verdict" if json.loads(json.dumps(found.to_json()))["verdict"] else "")
        except ModuleFormatError:
            endings.add("error")
    assert endings == {"verdict", "error"}


# -- which release is mine ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "release"),
    [("5.3.0", "5.3"), ("4.19.0-27-amd64", "5.3"), ("5.4.0-100-generic", "5.3"), ("5.14.0-1.el9", "6.1"),
     ("6.1.0-56-amd64", "6.1"), ("6.2.16-1-pve", "6.1"), ("6.3.1", "6.3"), ("6.8.0-45-generic", "6.12"), ("7.3.4+deb13-amd64", "7.3"), ("nonsense", "")],
)  # fmt: skip
def test_the_nearest_release_is_found_by_vermagic(version: str, release: str) -> None:
    file = ModuleFile(tiny_module("m", {".text": bytes(4)}, modinfo={"vermagic": f"{version} SMP"}), "m.ko")
    assert built_for(file) == (version, release)


# -- costs, and the limit that is said ------------------------------------------------------------------------------------


def many(count: int) -> ModuleFile:
    """A livepatch in kpatch's form for so many modules, with one relocation for each."""
    names = [f"object{number}" for number in range(count)]
    strings = "".join(f"{name}\0f_{name}\0" for name in names).encode()
    starts = [strings.index(f"{name}\0f_{name}".encode()) for name in names]
    wanted = [f".klp.sym.{name}.g,1" for name in names]
    symbols = [
        ("t", ".text", 0),
        ("s", ".strings", 0),
        ("klp_enable_patch", None, 0),
        *((name, None, 0) for name in wanted),
    ]
    table = ".kpatch.funcs"
    entries = [
        entry
        for n, (name, start) in enumerate(zip(names, starts, strict=True))
        for entry in (
            (table, 56 * n, 1, "t", 16 * n),
            (table, 56 * n + 40, 1, "s", start + len(name) + 1),
            (table, 56 * n + 48, 1, "s", start),
        )
    ]
    bodies = {".text": bytes(16 * count), ".strings": strings, table: bytes(56 * count)}
    image = ElfImage.parse(tiny_module("livepatch_many", bodies, symbols, entries, {"livepatch": "Y"}))
    at = {symbol.name: index for index, symbol in enumerate(image.symbols)}
    text, symtab = (index for index, section in enumerate(image.sections) if section.name in (".text", ".symtab"))
    flags = SHF_ALLOC | SHF_INFO_LINK | SHF_RELA_LIVEPATCH
    for n, (name, symbol) in enumerate(zip(names, wanted, strict=True)):
        section = Section(f".klp.rela.{name}..text", SHT_RELA, flags, 0, symtab, text, 8, 24)
        image.set_relocations(section, [Rela(16 * n, at[symbol], 2, -4)])
        image.sections.append(section)
    return ModuleFile(image.to_bytes(), "livepatch_many.ko")


def test_128_objects_take_a_few_seconds_and_that_they_share_a_kernel_is_said() -> None:
    start, found = time.process_time(), inspected(many(128))
    assert {(o.release, o.kind) for o in found.outcomes} == {
        ("5.3", "refused"), ("6.1", "refused"), ("6.3", "works"), ("6.12", "works"), ("7.3", "works"),
    }  # fmt: skip
    assert any("all 128 targets go and come together" in check.says for check in found.checks)
    assert time.process_time() - start < 6


@pytest.mark.parametrize("name", ["livepatch_five", "livepatch_nfsd_demo", "livepatch_cumul1"])
def test_targets_that_share_a_kernel_get_the_verdicts_that_they_get_apart(name: str, monkeypatch) -> None:
    told: Callable[[list[Outcome]], list[object]] = lambda outcomes: [
        (o.target, o.release, o.kind, [step.errno for step in o.steps], len(o.refusing), o.half_way) for o in outcomes
    ]
    apart = told(survives(opened(name)))
    monkeypatch.setattr(reloading, "FEW", 0)
    assert told(survives(opened(name))) == apart


def test_a_position_beyond_all_reason_is_refused_by_the_model_and_costs_nothing() -> None:
    image = ElfImage.parse(sample("livepatch_nfsd_demo.ko").read_bytes())
    wanted = ".klp.sym.nfsd_demo.demo_counter,"
    image.symbols = [
        replace(s, name=f"{wanted}4000000000") if s.name.startswith(wanted) else s for s in image.symbols
    ]  # fmt: skip
    found = inspected(ModuleFile(image.to_bytes(), "livepatch_nfsd_demo.ko"))
    assert {o.kind for o in found.outcomes} == {"no livepatch"} and "4000000000" in found.verdict


def test_names_in_any_alphabet_stand_in_a_stand_in() -> None:
    image = ElfImage.parse(sample("livepatch_nfsd_demo.ko").read_bytes())
    strange = "дemo_counter".encode().decode("latin-1")
    image.symbols = [replace(s, name=s.name.replace("demo_counter", strange)) for s in image.symbols]
    found = inspected(ModuleFile(image.to_bytes(), "livepatch_nfsd_demo.ko"))
    assert [o.kind for o in found.outcomes] == ["refused"] * 2 + ["works"] * 3


# -- what a reload refuses, one by one ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("arch", "number"), [("x86_64", 10), ("ppc64le", 3)])
def test_every_relocation_that_a_reload_refuses_is_named_with_its_bytes(arch: str, number: int) -> None:
    found = inspected(opened("livepatch_nfsd_demo", arch=arch))
    rows = list(found.refused_sites())
    assert len(rows) == number and {tuple(row["releases"]) for row in rows} == {("5.3", "6.1")}
    assert all(row["bytes"] != row["in_file"] for row in rows)
    if arch == "ppc64le":
        assert {row["type"] for row in rows} == {"R_PPC64_REL24"}
        assert all(row["bytes"].endswith("18 00 41 e8") and row["in_file"].endswith("00 00 00 60") for row in rows)


def test_the_hole_of_a_load_that_fails_half_way_is_named_for_the_kernels_that_have_it() -> None:
    (hole,) = (check for check in inspected(opened("livepatch_nfsd_demo")).checks if "fails after" in check.says)
    assert hole.ok is None and hole.says.endswith("on 5.3, 6.1, 6.3, 6.12 and 7.3")
    (hole,) = (
        check
        for check in inspected(opened("livepatch_nfsd_demo", arch="ppc64le")).checks
        if "fails after" in check.says
    )
    assert hole.says.endswith("on 5.3 and 6.1")
    assert not any("fails after" in check.says for check in inspected(opened("livepatch_dep_demo")).checks)


def test_read_only_data_of_ppc64le_is_said_to_be_writable_on_5_3() -> None:
    image = ElfImage.parse(sample("livepatch_data_only.ko", "ppc64le").read_bytes())
    (section,) = (s for s in image.sections if s.name.startswith(".klp.rela"))
    rodata = next(n for n, s in enumerate(image.sections) if s.name.startswith(".rodata") and len(s.body) >= 8)
    image.set_relocations(section, [replace(image.relocations(section)[0], offset=0, type=38, addend=0)])
    section.info = rodata
    found = inspected(ModuleFile(image.to_bytes(), "livepatch_data_only.ko"))
    rows = {row["release"]: row for row in found.rows()}
    assert rows["5.3"]["note"] == inspecting.NO_MEMORY_PROTECTION and "oops" in rows["6.1"]["outcome"]
    assert rows["6.1"]["note"] == "" and not found.ok


# -- the checks -----------------------------------------------------------------------------------------------------------


def failing(livepatch: ModuleFile, target: ModuleFile) -> list[Check]:
    return [check for check in checks(livepatch, {target.name: target}, []) if check.ok is False]


def changed(file: ModuleFile, change: Callable[[ElfImage], None]) -> ModuleFile:
    image = ElfImage.parse(file.data)
    change(image)
    return ModuleFile(image.to_bytes(), file.filename)


def renamed(old: str, new: str) -> Callable[[ElfImage], None]:
    def change(image: ElfImage) -> None:
        image.symbols = [replace(s, name=new) if s.name == old else s for s in image.symbols]

    return change


def other_vermagic(image: ElfImage) -> None:
    section = next(s for s in image.sections if s.name == ".modinfo")
    section.body = section.body.replace(b"vermagic=6.1.0-56", b"vermagic=6.1.0-57")


def exit_moved(image: ElfImage) -> None:
    section = next(s for s in image.sections if s.name == ".rela.gnu.linkonce.this_module")
    first, last = image.relocations(section)
    image.set_relocations(section, [first, replace(last, offset=last.offset + 16)])


def larger_struct_module(image: ElfImage) -> None:
    next(s for s in image.sections if s.name == ".gnu.linkonce.this_module").body += bytes(64)


def nothing_traced(image: ElfImage) -> None:
    image.set_relocations(next(s for s in image.sections if s.name == ".rela__mcount_loc"), [])


def twice(name: str) -> Callable[[ElfImage], None]:
    def change(image: ElfImage) -> None:
        image.symbols += [s for s in image.symbols if s.name == name]

    return change


DEFECTS: dict[str, tuple[Callable[[ElfImage], None], str]] = {
    "another vermagic": (other_vermagic, "vermagic is '6.1.0-57"),
    "exit elsewhere": (exit_moved, "cleanup_module at 0x350 and 0x360"),
    "a larger struct module": (larger_struct_module, "896 bytes in the livepatch, 960 in the target"),
    "no such function": (renamed("demo_show", "demo_view"), "has no symbol demo_show"),
    "no such symbol": (renamed("demo_counter", "demo_kounter"), "has no symbol demo_counter"),
    "not traced": (nothing_traced, "demo_show cannot be traced"),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_of_a_pair_fails_its_check(defect: str) -> None:
    change, words = DEFECTS[defect]
    found = failing(opened("livepatch_nfsd_demo"), changed(opened("nfsd_demo"), change))
    assert found and any(words in check.says for check in found), found


@pytest.mark.parametrize(
    ("position", "there", "words"),
    [
        (2, 1, "is there 1 time, and the livepatch asks for number 2"),
        (0, 2, "is there 2 times, and the livepatch does not"),
    ],
)
def test_a_position_that_is_not_there_and_one_that_is_not_given_fail(position: int, there: int, words: str) -> None:
    asked = ".klp.sym.nfsd_demo.demo_counter,"
    livepatch = changed(opened("livepatch_nfsd_demo"), renamed(f"{asked}0", f"{asked}{position}"))
    target = opened("nfsd_demo") if there == 1 else changed(opened("nfsd_demo"), twice("demo_counter"))
    (check,) = failing(livepatch, target)
    assert f"demo_counter {words}" in check.says


def test_a_target_of_another_architecture_or_of_another_livepatch_fails() -> None:
    (check,) = failing(opened("livepatch_nfsd_demo"), opened("nfsd_demo", arch="ppc64le"))
    assert "made for ppc64le" in check.says
    (check,) = failing(opened("livepatch_nfsd_demo"), opened("lockd_demo"))
    assert "does not patch it" in check.says


@pytest.mark.parametrize("wrong", ["nfsd_demo.ko", "nfsd-demo"])
def test_an_object_name_that_no_module_can_have_fails_and_nothing_is_reloaded(wrong: str) -> None:
    data = tiny_module(
        "lp",
        {".strings": f"{wrong}\0f\0".encode(), ".text": bytes(16), ".kpatch.funcs": bytes(56)},
        [("s", ".strings", 0), ("t", ".text", 0), ("klp_enable_patch", None, 0)],
        [
            (".kpatch.funcs", 0, 1, "t", 0),
            (".kpatch.funcs", 40, 1, "s", len(wrong) + 1),
            (".kpatch.funcs", 48, 1, "s", 0),
        ],
        {"livepatch": "Y"},
    )
    found = inspected(ModuleFile(data, "lp.ko"), opened("nfsd_demo"))
    assert not found.outcomes and not found.ok and "is never patched" in found.verdict
    assert any("Meant is nfsd_demo, the name of the target that was given" in check.says for check in found.checks)


def test_a_target_that_cannot_be_removed_is_said_and_is_no_failure() -> None:
    permanent = changed(opened("nfsd_demo", "6.12"), renamed("cleanup_module", "no_cleanup"))
    found = inspected(opened("livepatch_nfsd_demo", "6.12"), permanent)
    assert found.ok and "cannot be removed (EBUSY (-16))" in found.verdict
    assert any(check.ok is None and "no exit function" in check.says for check in found.checks)


def test_a_livepatch_that_depends_on_its_target_holds_it() -> None:
    found = inspected(opened("livepatch_dep_demo"), opened("nfsd_demo"))
    assert {o.kind for o in found.outcomes} == {"not removed"} and found.ok
    assert any("it cannot be removed while the livepatch is loaded" in check.says for check in found.checks)


def test_a_livepatch_of_vmlinux_alone_and_an_ordinary_module_have_nothing_to_reload() -> None:
    image = ElfImage.parse(sample("nfsd_demo.ko").read_bytes())
    assert "is not a livepatch" in inspected(ModuleFile(image.to_bytes(), "nfsd_demo.ko")).verdict
    data = tiny_module("lp", {".text": bytes(4)}, modinfo={"livepatch": "Y"})
    found = inspected(ModuleFile(data, "lp.ko"))
    assert "names nothing to patch" in found.verdict and not found.outcomes


def test_given_files_of_a_target_and_of_what_it_depends_on_are_loaded_in_order() -> None:
    """acl_demo uses an export of nfsd_demo: given in any order, nfsd_demo comes first."""
    files = (opened("acl_demo"), opened("nfsd_demo"))
    found = inspected(opened("livepatch_kpatch_two"), *files)
    assert [o.kind for o in found.own] == ["refused", "refused"] and not any(o.stand_in for o in found.own)
    assert "nfsd_demo" in files[0].modinfo["depends"] or "nfsd_demo" in Wanted(found.file).helpers["acl_demo"]


# -- what the kernel refuses whoever the target is ------------------------------------------------------------------------


def test_a_livepatch_without_its_mark_fails_and_is_not_called_an_ordinary_module() -> None:
    found = inspected(opened("livepatch_nomark"))
    assert not found.ok and "EINVAL (-22)" in found.verdict and "all written when it is loaded" not in found.verdict
    (check,) = found.checks
    assert "livepatch: module livepatch_nomark is not marked as a livepatch module" in check.says
    uncalled = inspected(changed(found.file, renamed("klp_enable_patch", "something_else")))
    assert not uncalled.ok and "nothing of it is ever patched" in uncalled.verdict


def in_modinfo(old: bytes, new: bytes) -> Callable[[ElfImage], None]:
    def change(image: ElfImage) -> None:
        section = next(s for s in image.sections if s.name == ".modinfo")
        assert old in section.body
        section.body = section.body.replace(old, new)

    return change


def in_struct_module(name: bytes) -> Callable[[ElfImage], None]:
    def change(image: ElfImage) -> None:
        body = next(s for s in image.sections if s.name == THIS_MODULE).body
        body[THIS_MODULE_NAME : THIS_MODULE_NAME + MODULE_NAME_LEN] = name.ljust(MODULE_NAME_LEN, b"\0")

    return change


def test_a_licence_that_is_not_gpl_fails_since_klp_enable_patch_is_not_for_it() -> None:
    found = inspected(changed(opened("livepatch_nfsd_demo", "6.12"), in_modinfo(b"license=GPL", b"license=BSD")))
    (check,) = (check for check in found.checks if check.ok is False)
    assert "licence is BSD" in check.says and "Unknown symbol klp_enable_patch (err -2)" in check.says
    assert found.verdict.endswith("can be loaded again under it. But 1 check failed (below).") and not found.ok


def test_a_module_that_nobody_gave_and_whose_symbols_it_takes_is_named() -> None:
    asked = ".klp.sym.nfsd_demo.demo_counter,0"
    livepatch = changed(opened("livepatch_nfsd_demo", "6.12"), renamed(asked, asked.replace("nfsd_demo", "sunrpc")))
    found = inspected(livepatch)
    (check,) = (check for check in found.checks if check.about == "sunrpc")
    assert check.ok is None and check.says.startswith("1 symbol is taken from it, not checked; give its file, too")
    assert {row["stand_ins"] for row in found.rows()} == {("nfsd_demo", "sunrpc")} and found.ok
    given = inspected(livepatch, changed(opened("nfsd_demo", "6.12"), in_struct_module(b"sunrpc")))
    assert {row["stand_ins"] for row in given.rows()} == {("nfsd_demo",)}
    assert not any("not checked" in check.says for check in given.checks)


def without_crcs(image: ElfImage) -> None:
    next(s for s in image.sections if s.name == "__versions").name = "__without"


def test_of_two_builds_with_crcs_the_kernel_compares_those_and_without_it_loads_one() -> None:
    livepatch, other = opened("livepatch_nfsd_demo"), changed(opened("nfsd_demo"), other_vermagic)
    (check,) = failing(livepatch, other)
    assert "built for another build; with modversions" in check.says
    (check,) = failing(livepatch, changed(other, without_crcs))
    assert "one kernel does not load both" in check.says
    (check,) = failing(livepatch, changed(other, in_modinfo(b"preempt ", b"preempt_rt ")))
    assert "one kernel does not load both" in check.says


@pytest.mark.parametrize(
    ("version", "said"),
    [(b"5.14.0-362.8.1.el9_3.x86_64", True), (b"4.18.0-513.el8.x86_64", True), (b"5.15.0-3.60.5.1.el8uek.x86_64", True),
     (b"5.14.21-150400.24.46-default", True), (b"6.1.0-56-amd64", False), (b"6.4.0-150600.21-default", False)],
)  # fmt: skip
def test_of_an_enterprise_kernel_it_is_said_that_it_may_have_the_fix(version: bytes, said: bool) -> None:
    found = inspected(changed(opened("livepatch_nfsd_demo"), in_modinfo(b"6.1.0-56-amd64", version)))
    assert ("may have backported 6.3's fix" in found.verdict) == said


def test_one_move_is_no_plural() -> None:
    assert ": 1 move, then ENOENT" in inspected(opened("livepatch_nfsd_demo", "6.12", "ppc64le")).verdict


# -- machines that are not read -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order", "machine", "words"),
    [(1, 243, "made for riscv (machine 243)"), (1, 258, "made for loongarch (machine 258)"),
     (2, 21, "not a 64-bit little-endian ELF file: made for ppc64 (machine 21)"), (1, 9999, "made for machine 9999")],
)  # fmt: skip
def test_another_machine_is_called_by_its_name(order: int, machine: int, words: str) -> None:
    data = bytearray(sample("nfsd_demo.ko").read_bytes())
    data[5] = order
    data[16:20] = (1).to_bytes(2, "little" if order == 1 else "big") + machine.to_bytes(
        2, "little" if order == 1 else "big"
    )
    line = "Invalid ELF header type: 256 != 1" if order == 2 else f"Invalid architecture in ELF header: {machine}"
    with pytest.raises(ModuleFormatError, match=re.escape(words)) as caught:
        ModuleFile(bytes(data), "x.ko")
    assert f'The kernel would say "{line}"' in str(caught.value)


# -- what the last step of a build was to mark ------------------------------------------------------------------------------


def without_flag(image: ElfImage, number: int | None = None) -> None:
    for section in [s for s in image.sections if s.name.startswith(".klp.rela.")][:number]:
        section.flags &= ~SHF_RELA_LIVEPATCH


def in_shndx(old: int, new: int, name: str = "") -> Callable[[ElfImage], None]:
    def change(image: ElfImage) -> None:
        hit = {
            i for i, s in enumerate(image.symbols) if i and s.shndx == old and s.name.startswith(name or ".klp.sym.")
        }
        image.symbols = [replace(s, shndx=new) if i in hit else s for i, s in enumerate(image.symbols)]

    return change


@pytest.mark.parametrize("arch", ["x86_64", "ppc64le", "s390x"])
def test_sections_that_lost_their_flag_fail_since_the_loader_writes_them_once_with_0(arch: str) -> None:
    for number in (1, None):
        file = changed(
            opened("livepatch_nfsd_demo", "6.12", arch), lambda image, number=number: without_flag(image, number)
        )
        found = inspected(file, opened("nfsd_demo", "6.12", arch))
        bad = [check for check in found.checks if check.ok is False]
        assert bad and all("is not flagged SHF_RELA_LIVEPATCH" in check.says for check in bad) and not found.ok
        assert "hold 0 for a symbol: it crashes on use" in found.verdict and "failed (below)" in found.verdict
        assert {o.kind for o in found.outcomes if o.release in ("6.3", "6.12", "7.3")} == {"zeros"}
        of_zeros = sum(int(word) for check in bad for word in re.findall(r": (\d+) relocation", check.says))
        assert of_zeros == found.own[0].zeros and not any(
            row["site"] for row in found.refused_sites() if number is None
        )
        left = sum(waits["count"] for waits in found.waiting().values())
        assert (left == 0) == (number is None), "what is written at once does not wait"


def test_sections_that_lost_their_flag_are_refused_on_arm64_where_0_is_too_far() -> None:
    found = inspected(changed(opened("livepatch_nfsd_demo", "7.3", "arm64"), without_flag))
    assert "overflow in relocation type 275 val 0" in found.verdict and not found.ok
    assert any("is not flagged SHF_RELA_LIVEPATCH" in check.says for check in found.checks)


def test_the_model_writes_what_lost_its_flag_as_the_loader_does_and_whoever_runs_it_oopses() -> None:
    kernel = Kernel()
    assert kernel.insmod("nfsd_demo.ko").errno == 0
    assert kernel.insmod(changed(opened("livepatch_nfsd_demo"), without_flag)).errno == 0
    livepatch = kernel.find_module("livepatch_nfsd_demo")
    assert livepatch is not None
    pointer = next(
        site
        for site in sites(livepatch.file)
        if site.symbol.startswith(".klp.sym.nfsd_demo.demo_table") and site.width == 8
    )
    assert livepatch.bytes_at(pointer.section, pointer.offset, 8) == pointer.addend.to_bytes(8, "little"), "S is 0"
    assert kernel.rmmod("nfsd_demo").errno == 0 == kernel.insmod("nfsd_demo.ko").errno, "nobody writes it again"
    assert kernel.cat("/proc/nfsd_demo").oops


def test_livepatch_symbols_that_are_undefined_are_unknown_symbols_whatever_is_loaded() -> None:
    line = "livepatch_nfsd_demo: Unknown symbol .klp.sym.nfsd_demo.demo_"
    file = changed(opened("livepatch_nfsd_demo"), in_shndx(SHN_LIVEPATCH, SHN_UNDEF))
    found = inspected(file, opened("nfsd_demo"))
    (check,) = (check for check in found.checks if check.ok is False)
    assert "7 livepatch symbols are SHN_UNDEF" in check.says and line in check.says and "ENOENT (-2)" in check.says
    assert {(o.kind, o.failed.errno) for o in found.outcomes if o.failed} == {("no livepatch", -2)}
    assert "ENOENT (-2)" in found.verdict and line in found.verdict
    alone = Kernel().insmod(file)
    assert alone.errno == -2 and sum(text.startswith(line) for text in alone.lines) == 7, "each is named"


def test_a_livepatch_symbol_that_is_undefined_and_weak_comes_as_far_as_livepatch() -> None:
    def weak(image: ElfImage) -> None:
        in_shndx(SHN_LIVEPATCH, SHN_UNDEF)(image)
        image.symbols = [replace(s, info=STB_WEAK << 4) if s.name.startswith(".klp.sym.") else s for s in image.symbols]

    found = inspected(changed(opened("livepatch_nfsd_demo"), weak), opened("nfsd_demo"))
    assert "is not marked as a livepatch symbol" in found.verdict and "EINVAL (-22)" in found.verdict


def test_an_ordinary_symbol_that_is_marked_as_livepatchs_is_0_for_the_loader() -> None:
    found = inspected(changed(opened("livepatch_nfsd_demo", "6.12"), in_shndx(SHN_UNDEF, SHN_LIVEPATCH, "seq_printf")))
    (check,) = (check for check in found.checks if check.ok is False)
    assert check.says.startswith(".rela.text is no livepatch section, and seq_printf is marked SHN_LIVEPATCH")
    assert "1 relocation of the livepatch holds 0 for a symbol" in found.verdict and not found.ok


def test_klp_builds_own_table_of_what_it_converts_is_no_fault() -> None:
    for name in ("livepatch_klp_build", "livepatch_klp_build_two"):
        assert not Wanted(opened(name, "6.12")).zeros


# -- whose name ---------------------------------------------------------------------------------------------------------------


def test_the_name_in_struct_module_counts_and_another_in_modinfo_is_said() -> None:
    struct = inspected(changed(opened("livepatch_nfsd_demo"), in_struct_module(b"nfsd_demo")), opened("nfsd_demo"))
    assert {(o.kind, o.failed.errno) for o in struct.outcomes if o.failed} == {("no livepatch", -17)}
    renamed_too = changed(opened("livepatch_nfsd_demo"), in_modinfo(b"name=livepatch_nfsd_demo", b"name=nfsd_demo"))
    modinfo = inspected(renamed_too, opened("nfsd_demo"))
    assert [o.kind for o in modinfo.own] == ["refused"] and modinfo.file.name == "livepatch_nfsd_demo"
    for found, said, taken in (
        (struct, "livepatch_nfsd_demo", "nfsd_demo"),
        (modinfo, "nfsd_demo", "livepatch_nfsd_demo"),
    ):
        says = f".modinfo says name={said}, but the kernel takes the name in struct module, {taken}"
        assert [check.ok for check in found.checks if check.says == says] == [None]


def test_a_module_that_calls_itself_vmlinux_is_refused_by_livepatch_since_5_8() -> None:
    found = inspected(changed(opened("livepatch_nfsd_demo"), in_struct_module(b"vmlinux")), opened("nfsd_demo"))
    assert "livepatch: vmlinux.ko: invalid module name" in found.verdict


def test_the_blacklist_goes_by_the_name_in_modinfo() -> None:
    file = changed(opened("nfsd_demo"), in_modinfo(b"name=nfsd_demo", b"name=other_demo"))
    step = Kernel(machine=Machine(blacklist=frozenset({"other_demo"}))).insmod(file)
    assert (step.errno, step.lines[-1]) == (-1, "Module other_demo is blacklisted")


def test_a_newline_in_a_name_is_spelled_out_wherever_it_is_drawn(capsys, tmp_path: Path) -> None:
    forged = "x\n\u2713 all is well"

    def change(image: ElfImage) -> None:
        in_struct_module(forged.encode())(image)
        image.symbols = [replace(s, name=s.name.replace("demo_counter", forged)) for s in image.symbols]
        for section in image.sections:
            section.name = section.name.replace(".klp.rela.nfsd_demo", f".klp.rela.{forged}")
        in_modinfo(b"vermagic=", b"vermagic=6.1 " + forged.encode())(image)

    file = changed(opened("livepatch_nfsd_demo"), change)
    (tmp_path / "livepatch.ko").write_bytes(file.data)
    main(["inspect", str(tmp_path / "livepatch.ko"), "--sections"])
    found = inspected(file)
    told = [capsys.readouterr().out, found.verdict, *map(str, found.checks), repr(file), repr(Brought(file))]
    step = Kernel().insmod(changed(file, in_shndx(SHN_LIVEPATCH, SHN_UNDEF)))
    told += step.lines
    assert sum("all is well" in text for text in told) >= 6
    assert not any(line.startswith("\u2713 all is well") for text in told for line in text.split("\n"))


def test_few_targets_of_a_large_livepatch_share_a_kernel_and_it_is_said() -> None:
    small, large = (ModuleFile(many_objects(16, sites), "strange.ko") for sites in (10, 600))
    for livepatch, apart in ((small, True), (large, False)):
        assert plays_apart(livepatch) is apart
        found = inspected(livepatch)
        assert any("all 16 targets go and come together" in check.says for check in found.checks) is not apart


def test_on_ppc64le_a_livepatch_that_calls_nothing_late_bears_any_number_of_moves() -> None:
    image = ElfImage.parse(sample("livepatch_nfsd_demo.ko", arch="ppc64le", release="6.12").read_bytes())
    with_calls = survives(ModuleFile(image.to_bytes(), "livepatch_nfsd_demo.ko"))
    for section in image.sections:
        if section.name.startswith(".klp.rela."):
            image.set_relocations(section, [entry for entry in image.relocations(section) if entry.type != 10])
    without = survives(ModuleFile(image.to_bytes(), "livepatch_nfsd_demo.ko"))
    moves = [{o.release: o.moves for o in outcomes if o.kind == "works"} for outcomes in (with_calls, without)]
    assert moves[0]["6.12"] == 1 and set(moves[1].values()) == {None}


def test_all_targets_together_have_as_many_relocations_as_one_may() -> None:
    livepatch, target = opened("livepatch_five"), opened("nfsd_demo")
    most = MOST_ON["x86_64"]["relocations"]
    check_size(livepatch, *[target] * 3)
    each = counts(target)["relocations"]
    with pytest.raises(
        KlpteachError, match=r"livepatch_five\.ko and its targets: \d+ relocations, .* Try fewer targets"
    ):
        check_size(livepatch, *[target] * (most // each + 1))
