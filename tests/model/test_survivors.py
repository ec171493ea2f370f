"""Rules of the kernel that small changes to the model once broke without a test that noticed; each names the rule.

Two changes make no other program: in klp_find_object_symbol() position 1 stops the search after the first symbol, so it can
never be missing once one is seen; in klp_unpatch_object() a dynamic object is dropped at once, patched or not.
"""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
from test_edges import LP, blocked, module

from klpteach import Kernel, ModuleFile
from klpteach.errors import KlpteachError, LoadRefused
from klpteach.files.elf_h import EM_PPC64, EM_X86_64, SHF_WRITE
from klpteach.files.samples import sample
from klpteach.files.write import ElfImage, tiny_module
from klpteach.model import messages
from klpteach.model.errno import EBUSY, EINVAL, ENOEXEC, Refused
from klpteach.model.klp_structs import KlpFunc, KlpObject, KlpPatch
from klpteach.model.livepatch.core import klp_enable_patch, klp_find_object_module, klp_is_patch_compatible
from klpteach.model.livepatch.patch import klp_patch_object, klp_post_unpatch_callback
from klpteach.model.load_image import load_image
from klpteach.model.policy import why_impossible

BUSY = "livepatch_busy"


def file(name: str, symbols: dict[str, str], **modinfo: str) -> ModuleFile:
    made = tiny_module(
        name, {".text": bytes(16)}, [(symbol, section, 0) for symbol, section in symbols.items()], (), modinfo
    )
    return ModuleFile(made, f"{name}.ko")


def loaded(*files: str, release: str = "6.1", **more: object) -> Kernel:
    kernel = Kernel(release=release, **more)  # type: ignore[arg-type]
    assert all(kernel.insmod(name).errno == 0 for name in files)
    return kernel


# -- loading ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("release", ["6.1", "6.12"])
def test_a_module_of_that_name_that_is_not_live_yet_is_busy(release: str) -> None:
    kernel = loaded(f"{LP}.ko", release=release, proposals=["split-per-object"])
    kernel.insmod_in_background("nfsd_demo.ko")
    before = len(kernel.memory.regions)
    assert (kernel.insmod("nfsd_demo.ko").errno, len(kernel.memory.regions)) == (EBUSY, before)


def test_a_module_without_an_exit_function_stays() -> None:
    kernel = Kernel()
    kernel.insmod(file("stays", {"init_module": ".text"}))
    assert kernel.rmmod("stays").errno == EBUSY


def test_a_module_that_never_ran_its_init_does_not_run_its_exit() -> None:
    kernel, ran = Kernel(proposals=["half-loaded"]), list[str]()
    for function in ("init", "exit"):
        kernel.module_code["nfsd_demo", function] = lambda kernel, said=function: ran.append(said)  # type: ignore[misc]
    assert kernel.modprobe(LP).errno == 0
    kernel.echo(0, f"/sys/kernel/livepatch/{LP}/enabled")
    assert [kernel.rmmod(name).errno for name in (LP, "nfsd_demo")] == [0, 0]
    assert ran == []


def test_a_module_from_staging_taints_with_c() -> None:
    kernel = Kernel()
    step = kernel.insmod(ModuleFile(module("raw", staging="Y"), "raw.ko"))
    assert kernel.modules[0].taint == "COE"
    assert "raw: module is from the staging directory, the quality is unknown, you have been warned." in step.lines


def test_what_two_relocations_write_in_common_refuses_the_second() -> None:
    symbols, sites = [("f", ".text", 0)], [(".data", 0, 1, "f", 0), (".data", 4, 1, "f", 0)]
    overlapping = ModuleFile(tiny_module("over", {".text": bytes(8), ".data": bytes(16)}, symbols, sites), "over.ko")
    assert Kernel().insmod(overlapping).errno == ENOEXEC


def test_jump_tables_are_read_only_after_init() -> None:
    image = ElfImage.parse(tiny_module("jumps", {".text": bytes(8), ".data": bytes(8), "__jump_table": bytes(16)}))
    index = next(number for number, section in enumerate(image.sections) if section.name == "__jump_table")
    image.sections[index].flags |= SHF_WRITE
    kernel = Kernel(release="6.12")
    assert kernel.insmod(ModuleFile(image.to_bytes(), "jumps.ko")).errno == 0
    assert kernel.modules[0].image.layout.places[index][0] == "ro_after_init"


# -- livepatch ------------------------------------------------------------------------------------------------------------------


def test_an_object_without_functions_refuses_the_patch() -> None:
    for has_funcs in ((True, False), (False, True)):
        objects = tuple(SimpleNamespace(name=None, funcs=(), has_funcs=has) for has in has_funcs)
        pmod = SimpleNamespace(file=SimpleNamespace(klp=SimpleNamespace(objects=objects), is_livepatch=True))
        with pytest.raises(Refused):
            klp_enable_patch(Kernel(), pmod)  # type: ignore[arg-type]


def test_a_patch_that_replaces_must_know_every_state_and_any_other_need_not() -> None:
    kernel = SimpleNamespace(klp=SimpleNamespace(patches=[SimpleNamespace(states={1: 2})]))

    def compatible(replaces: bool, states: dict[int, int]) -> bool:
        return klp_is_patch_compatible(kernel, SimpleNamespace(replace=replaces, states=states))  # type: ignore[arg-type]

    assert [compatible(True, {}), compatible(False, {})] == [False, True]
    assert [compatible(True, {1: version}) for version in (1, 2, 3)] == [False, True, True]


def test_a_target_whose_coming_livepatch_has_not_seen_is_as_good_as_absent() -> None:
    kernel = loaded("nfsd_demo.ko")
    obj, mod = KlpObject("nfsd_demo", []), kernel.modules[0]
    assert klp_find_object_module(kernel, obj) is mod
    mod.klp_alive = False
    assert klp_find_object_module(kernel, obj) is None


def test_an_object_that_cannot_be_patched_wholly_is_not_patched_at_all() -> None:
    kernel = Kernel()
    obj = KlpObject("t", [KlpFunc("f", 0, old_func=64), KlpFunc("g", 0, old_func=256)])
    obj.mod = SimpleNamespace(ftrace_calls=[64])  # type: ignore[assignment]
    with pytest.raises(Refused) as refused:
        klp_patch_object(kernel, obj)
    assert (refused.value.errno, kernel.klp.func_stacks, obj.patched) == (EINVAL, {}, False)
    assert kernel.dmesg == [(3, "livepatch: failed to find location for function 'g'")]


def test_post_unpatch_runs_once_for_a_pre_patch_that_succeeded() -> None:
    kernel, ran = Kernel(), list[int]()
    patch = KlpPatch(SimpleNamespace(name="lp"), [], False)  # type: ignore[arg-type]
    obj = KlpObject("t", [], pre_patch_succeeded=True)
    kernel.callbacks["lp", "t", "post_unpatch"] = lambda kernel: ran.append(1)
    for _ in range(2):
        klp_post_unpatch_callback(kernel, patch, obj)
    assert ran == [1]


def test_what_is_asked_of_a_transition_that_runs() -> None:
    kernel = blocked()
    enabled = f"/sys/kernel/livepatch/{BUSY}/enabled"
    assert (kernel.echo(1, enabled).errno, kernel.klp.transition is None) == (EINVAL, False)  # it is that already
    assert kernel.klp.target == "patching"
    other = f"/sys/kernel/livepatch/{LP}/enabled"
    kernel.insmod("nfsd_demo.ko")
    assert kernel.insmod(f"{LP}.ko").errno == EBUSY
    assert (kernel.echo(0, enabled).errno, kernel.klp.transition) == (0, None)  # turned round, and nobody is in the way
    kernel = loaded("nfsd_demo.ko", f"{LP}.ko", "busy_demo.ko")
    kernel.transition_blocked = True
    assert kernel.insmod("livepatch_busy.ko").errno == 0 and kernel.klp.transition
    assert kernel.echo(0, other).errno == EBUSY


def test_a_forced_transition_forces_nothing_after_it() -> None:
    kernel = blocked()
    kernel.echo(1, f"/sys/kernel/livepatch/{BUSY}/force")
    assert kernel.klp.transition is None
    kernel.transition_blocked = True
    kernel.echo(0, f"/sys/kernel/livepatch/{BUSY}/enabled")
    assert kernel.klp.transition is not None


@pytest.mark.parametrize("forced", [False, True])
def test_a_replaced_patch_is_out_of_force_and_only_a_forced_one_stays_for_good(forced: bool) -> None:
    kernel = loaded("nfsd_demo.ko", "lockd_demo.ko", "livepatch_cumul1.ko")
    (old,) = kernel.klp.patches
    kernel.transition_blocked = forced
    assert kernel.insmod("livepatch_cumul2.ko").errno == 0
    if forced:
        assert kernel.echo(1, "/sys/kernel/livepatch/livepatch_cumul2/force").errno == 0
        kernel.transition_blocked = False
    assert old.enabled is False and old not in kernel.klp.patches
    assert (kernel.rmmod("livepatch_cumul1").errno == 0) is not forced
    assert kernel.echo(0, "/sys/kernel/livepatch/livepatch_cumul2/enabled").errno == 0
    assert kernel.rmmod("livepatch_cumul2").errno == 0  # the one that replaced was not forced


def test_the_address_of_a_function_is_forgotten_with_its_module() -> None:
    kernel = loaded("nfsd_demo.ko", f"{LP}.ko")
    functions = [func for obj in kernel.klp.patches[0].objects for func in obj.funcs]
    assert all(func.old_func for func in functions)
    kernel.rmmod("nfsd_demo")
    assert not any(func.old_func for func in functions)


def test_before_5_8_a_modules_section_may_use_a_symbol_of_vmlinux() -> None:
    said = {}
    for release in ("5.3", "6.1"):
        said[release] = loaded("nfsd_demo.ko", release=release).insmod(f"{LP}+symbol-vmlinux.ko").lines
    assert any("invalid access to vmlinux symbol" in line for line in said["6.1"])
    assert not any("invalid access to vmlinux symbol" in line for line in said["5.3"])


def test_before_6_1_a_symbols_name_had_128_bytes() -> None:
    from klpteach.files.klp import parse_symbol
    from klpteach.model.policy import behaviour

    name = f".klp.sym.nfsd.{'x' * 200},0"
    assert parse_symbol(name, behaviour("5.3").ksym_name_len) is None and parse_symbol(
        name, behaviour("6.1").ksym_name_len
    )


@pytest.mark.parametrize("clear", ["checked", "unchecked"])
def test_a_type_that_no_kernel_knows_stops_a_checked_clearing_only(clear: str) -> None:
    kernel = loaded("nfsd_demo.ko", f"{LP}.ko", release="6.12")
    kernel.rules = replace(kernel.rules, clear=clear)
    lp = kernel.find_module(LP)
    lp.file = lp.image.file = kernel.open_file(f"{LP}+unknown-type.ko")
    assert any("Unknown rela relocation: 42" in line for line in kernel.rmmod("nfsd_demo").lines) is (
        clear == "checked"
    )


def test_split_livepatches_and_refuse_unpatched_exclude_each_other() -> None:
    assert why_impossible("split-per-object", ["split-per-object", "refuse-unpatched"])


def test_the_levels_are_those_of_the_kernels_sources() -> None:
    """pr_warn() in klp_force_transition() and simplify_symbols(), pr_err() in parse_args()."""
    assert (messages.FORCING.level, messages.COMMON.level, messages.BAD_PARAMETER.level) == (4, 4, 3)


# -- what a second sample found ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("release", ["6.1", "7.3"])
def test_an_init_that_returns_a_positive_number_is_told_off_and_stays(release: str) -> None:
    kernel = Kernel(release=release, init_errno={"nfsd_demo.ko": 5})
    step = kernel.insmod("nfsd_demo.ko")
    assert step.errno == 0 and any("5" in line and "nfsd_demo" in line for line in step.lines[1:])


def test_parameters_go_to_the_module_that_was_asked_for_and_not_to_what_comes_along() -> None:
    got, kernel = dict[str, str](), Kernel()
    load = kernel.commands.insmod
    kernel.commands = replace(
        kernel.commands, insmod=lambda file, params: (got.update({file.name: params}), load(file, params))[1]
    )
    assert kernel.modprobe("livepatch_dep_demo", "enabled=1").errno == 0
    assert got == {"nfsd_demo": "", "livepatch_dep_demo": "enabled=1"}


def test_force_waits_for_a_mutex_that_is_never_given_back() -> None:
    kernel = Kernel("arm64", "7.3")
    kernel.insmod("nfsd_demo.ko"), kernel.insmod(f"{LP}.ko")
    kernel.wrecked = True
    path = f"/sys/kernel/livepatch/{LP}/force"
    assert [kernel.echo(value, path).label for value in (0, 1)] == [None, "hung"]


def test_a_base_must_be_given_and_be_a_page() -> None:
    nfsd = ModuleFile.open(sample("nfsd_demo.ko"))
    with pytest.raises(KlpteachError, match="no address"):
        load_image(nfsd, {}, lambda name: 0)
    with pytest.raises(KlpteachError, match=r"core at 0x1001: the kernel gives whole pages, of 0x1000 bytes here"):
        load_image(nfsd, 0x1001, lambda name: 0)


@pytest.mark.parametrize(
    ("machine", "known", "base"), [(EM_X86_64, 1, 0xFFFFFFFFC0200000), (EM_PPC64, 38, 0xC008000000100000)]
)
@pytest.mark.parametrize("strange", [255, 256])
def test_a_strange_type_among_many_is_refused_as_it_is_alone(machine: int, known: int, base: int, strange: int) -> None:
    said, extra = [], {".stubs": 64, ".toc": bytes(16)} if machine == EM_PPC64 else {}
    for count in (1, 500):  # alone, and among so many that all are written at once
        rows = [(".data", 8 * n, known, "there", 0) for n in range(count - 1)] + [
            (".data", 8 * count, strange, "there", 0)
        ]
        data = tiny_module(
            "strange",
            {".text": bytes(16), ".data": bytes(8 * count + 8), **extra},
            [("there", ".text", 0)],
            rows,
            {},
            machine,
        )
        with pytest.raises(LoadRefused, match="would refuse it") as refused:
            load_image(ModuleFile(data, "strange.ko"), base, lambda name: 0x1000)
        said.append(str(refused.value))
    assert said[0] == said[1] and str(strange) in said[0]
