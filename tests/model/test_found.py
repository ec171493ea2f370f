"""What a search, a read or a tool finds: symbols, files, stubs and their names, as kallsyms, sysfs and kmod tell them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_edges import LP
from test_survivors import file

from klpteach import Kernel, ModuleFile
from klpteach.files.elf_h import SHN_ABS
from klpteach.files.write import ElfImage, tiny_module
from klpteach.model import kmod
from klpteach.model.arch import fast
from klpteach.model.errno import ENODEV, ENOENT
from klpteach.model.klp_structs import KlpFunc, KlpObject, KlpPatch
from klpteach.model.livepatch.core import klp_add_nops
from klpteach.model.loader import form_module


def test_a_foreign_write_to_a_place_that_is_not_there_finds_nothing() -> None:
    kernel = Kernel()
    kernel.insmod("nfsd_demo.ko")
    for place in ("nobody:.text+0x0", "nfsd_demo:.nothing+0x0", "nfsd_demo:.text+0xfffff8", "nfsd_demo"):
        assert kernel.poke(place, "1").errno == ENOENT, place


def test_a_symbol_that_kallsyms_drops_is_found_until_init_has_run() -> None:
    """klp_find_object_symbol() looks through the table in the init memory, and later through what is kept of it."""
    names = [("code", ".text", 0), ("early", ".init.text", 0), ("other", None, 0)]
    made = ModuleFile(tiny_module("t", {".text": bytes(16), ".init.text": bytes(16)}, names), "t.ko")
    kernel = Kernel(exports={"other": 0xFFFFFFFF81000010})
    kernel.known = frozenset({"t.ko"})
    assert kernel.insmod(made).errno == 0
    mod = kernel.find_module("t")
    for state, found in (("Loading", {"code", "early"}), ("Live", {"code"})):
        mod.state = state
        assert {name for name, _, _ in names if mod.find_symbols(name)} == found


@pytest.mark.parametrize(("release", "absolute", "found"), [("6.1", 0, ""), ("6.1", 1, "number"), ("6.12", 1, "")])
@pytest.mark.parametrize("section", [".text", ".init.text"])
def test_below_the_first_symbol_of_a_module_there_is_no_name_but_a_number(
    release: str, absolute: int, found: str, section: str
) -> None:
    """find_kallsyms_symbol(): the search begins with the value of symbol 0, so a small number is the nearest one below; 6.12.117
    has the fix of 2026 that lets it begin with the memory which the address lies in. A symbol without a name is nobody's."""
    names = [("code", section, 16), ("nameless", section, 24), ("number", section, 0)]
    image = ElfImage.parse(tiny_module("t", {".text": bytes(64), ".init.text": bytes(64)}, names))
    for index, symbol in enumerate(image.symbols):
        image.symbols[index] = {
            "number": replace(symbol, shndx=SHN_ABS, value=absolute),
            "nameless": replace(symbol, name=""),
        }.get(symbol.name, symbol)
    kernel = Kernel(release=release)
    kernel.step("insmod t.ko", lambda: form_module(kernel, ModuleFile(image.to_bytes(), "t.ko")))
    mod = kernel.modules[0]
    start = mod.image.address[mod.file.section_names.index(section)]
    assert str(mod.symbol_of(start + 8) or "").partition("+")[0] == found
    assert str(mod.symbol_of(start + 32)).startswith("code+0x10/")


def test_a_damage_outside_of_the_code_hangs_nobody_who_calls_it() -> None:
    """On ppc64le a call that was not written leads to itself; a pointer that was not written is another matter."""
    kernel = Kernel("ppc64le", "6.12")
    kernel.insmod("nfsd_demo.ko")
    kernel.insmod(f"{LP}.ko")
    pmod = kernel.find_module(LP)
    whole = ElfImage.parse(pmod.file.on_disk.data)
    data = next(section for section in whole.sections if section.name == ".klp.rela.nfsd_demo..data.rel")
    text = next(section for section in whole.sections if section.name == ".klp.rela.nfsd_demo..text")
    for section, hangs in ((data, False), (text, True)):
        old = whole.relocations(section)
        whole.set_relocations(section, old[1:])
        pmod.file = ModuleFile(whole.to_bytes(), f"{LP}+section-other-object.ko")
        assert kernel._is_damaged(pmod) is hangs, section.name
        whole.set_relocations(section, old)


def test_what_the_old_livepatch_replaced_and_the_new_one_does_not_runs_as_it_was_in_between() -> None:
    """klp_add_nops(): until the transition is complete such a function has a way back to its original."""
    kernel = Kernel()
    kernel.insmod("livepatch_five.ko")
    mod = kernel.find_module("livepatch_five")
    new = KlpPatch(mod, [KlpObject("lockd_demo", [KlpFunc("lockd_show", 0)])], replace=True)
    klp_add_nops(kernel, new)
    nops = {(obj.name, func.old_name, obj.dynamic) for obj in new.objects for func in obj.funcs if func.nop}
    assert nops == {
        ("nfsd_demo", "demo_show", True), ("kvm_demo", "kvm_demo_show", True), ("fuse_demo", "fuse_demo_show", True),
        ("sunrpc_demo", "sunrpc_demo_show", True),
    }  # fmt: skip


def test_a_stub_is_labelled_with_the_function_that_it_leads_to() -> None:
    kernel = Kernel("ppc64le", "6.12")
    kernel.insmod("nfsd_demo.ko")
    step = kernel.insmod(f"{LP}.ko")
    labels = {entry["symbol"] for entry in step.stubs[LP]["entries"]}  # type: ignore[index]
    named = {str(label) for label in labels if str(label).endswith("[nfsd_demo]")}
    functions = {f"{name} [nfsd_demo]" for _, kind, name in (step.symbols or {})["nfsd_demo"] if kind in "tT"}
    assert named and named <= functions


@pytest.mark.parametrize(("intree", "taint"), [("N", "OE"), ("Y", "E")])
def test_the_files_of_a_module_in_sysfs_are_there_also_where_one_is_empty(intree: str, taint: str) -> None:
    kernel = Kernel()
    kernel.known = frozenset({"t.ko"})
    kernel.insmod(file("t", {}, **({"intree": "Y"} if intree == "Y" else {})))
    read = {name: kernel.cat(f"/sys/module/t/{name}") for name in ("taint", "refcnt", "initstate", "nothing")}
    assert [step.errno for step in read.values()] == [0, 0, 0, ENOENT]
    assert [step.out for step in read.values()] == [f"{taint}\n", "0\n", "live\n", None]


def test_of_two_files_with_one_modules_name_the_first_by_name_is_taken(tmp_path: Path) -> None:
    for name in ("dash-ed.ko", "dash_ed.ko.xz"):
        (tmp_path / name).write_bytes(file("dash_ed", {}).data)
    found = Kernel(ko=tmp_path).find_file("dash_ed")
    assert found is not None and found.filename == "dash-ed.ko"


def test_while_livepatch_hears_of_a_module_whose_init_failed_it_is_going() -> None:
    kernel, states = Kernel(init_errno={"nfsd_demo.ko": ENODEV}), list[str]()
    kernel.callbacks[LP, "nfsd_demo", "post_unpatch"] = lambda kernel: states.append(
        kernel.find_module("nfsd_demo").state
    )
    kernel.insmod(f"{LP}.ko")
    assert kernel.insmod("nfsd_demo.ko").errno == ENODEV
    assert states == ["Unloading"]


def test_rmmod_asks_sysfs_before_the_kernel() -> None:
    kernel = Kernel()
    for name in ("nfsd_demo", "livepatch_nfsd_demo"):
        kernel.insmod(f"{name}.ko")
    told = {name: kmod.rmmod_objection(kernel, name) for name in ("nobody", "nfsd_demo", LP)}
    assert told == {
        "nobody": "rmmod: ERROR: Module nobody is not currently loaded\n",
        "nfsd_demo": None,
        LP: f"rmmod: ERROR: Module {LP} is in use\n",
    }


def test_memory_that_is_shorter_than_a_field_has_no_place_for_one() -> None:
    assert [len(fast.view(np.zeros(length, "u1"), 0, 4)) for length in (0, 3, 4, 5)] == [0, 0, 1, 2]
