"""Stories in the model: what each release and proposal makes of them. The evidence for the releases is in recordings."""

from __future__ import annotations

import errno as host_errno
import sys
from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from itertools import pairwise

import pytest
from conftest import KO

from klpteach import Kernel, ModuleFile, PolicyError, ScenarioError, simulate
from klpteach.files.corrupt import corrupt
from klpteach.files.klp import sites
from klpteach.model import errno
from klpteach.model.memory import AddressSpace
from klpteach.model.policy import PROPOSALS, RELEASES, available
from klpteach.scenarios.course import SCENARIOS, busy

ENOENT, EAGAIN, EEXIST, ENODEV, EINVAL, ENOEXEC = -2, -11, -17, -19, -22, -8


def errnos(*args, **kwargs):
    return [step.errno for step in simulate(*args, **kwargs)]


def test_the_errnos_are_those_of_linux_whatever_runs_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """On macOS EAGAIN is 35; rmmod of a module in use gives -11 here all the same, as on every Linux."""
    if sys.platform == "linux":
        assert {name: getattr(host_errno, name) for name in errno.NAMES.values()} == {
            name: -number for number, name in errno.NAMES.items()
        }
    monkeypatch.setattr(host_errno, "EAGAIN", 35)
    monkeypatch.setattr(host_errno, "errorcode", {35: "EAGAIN"})
    spec = spec_from_file_location("errno_on_macos", errno.__file__)
    assert spec and spec.loader
    there = module_from_spec(spec)
    spec.loader.exec_module(there)
    assert (there.EAGAIN, there.errno_name(-11)) == (EAGAIN, "EAGAIN")


# -- the bug ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("release", ["5.3", "6.1"])
def test_before_6_3_the_reload_is_refused_with_the_lines_of_the_report(release: str) -> None:
    last = simulate("reload", release)[3]
    first, second, third = last.lines
    assert last.errno == ENOEXEC
    assert first.startswith(
        "module: x86/modules: Skipping invalid relocation target, existing value is nonzero for type 2, loc 0000"
    )
    assert second == "livepatch: failed to initialize patch 'livepatch_nfsd_demo' for module 'nfsd_demo' (-8)"
    assert (
        third
        == "livepatch: patch 'livepatch_nfsd_demo' failed for module 'nfsd_demo', refusing to load module 'nfsd_demo'"
    )


@pytest.mark.parametrize("release", ["6.3", "6.12"])
def test_since_6_3_the_sites_are_zero_while_the_target_is_away(release: str) -> None:
    story = simulate("reload", release)
    assert not any(any(value) for value in story[2].sites.values())
    assert story[3].errno == 0 and all(any(value) for value in story[3].sites.values())


def test_the_reload_is_refused_even_at_the_same_address() -> None:
    story = simulate("reload", "6.1")
    assert story[1].sites == story[2].sites == story[3].sites
    again = Kernel(release="6.1", proposals=["remove-check"])
    for command in SCENARIOS["reload"].commands:
        again.run(command)
    assert again.recording[3].sites == story[1].sites, "the bytes that would be written are the ones that are there"


def test_no_rmmod_is_needed_when_init_fails() -> None:
    assert errnos("init-fails", "6.1") == [0, ENODEV, ENOEXEC]
    assert errnos("init-fails", "6.12") == [0, ENODEV, 0]


def test_a_disabled_livepatch_keeps_its_bytes_and_hurts_nobody() -> None:
    story = simulate("disabled", "6.1")
    assert story[-1].errno == 0 and any(any(value) for value in story[-1].sites.values())


def test_stacked_livepatches_revert_in_the_order_of_loading() -> None:
    lines = simulate("stacked", "6.12")[3].lines
    assert [line.split("'")[1] for line in lines] == ["livepatch_nfsd_demo", "livepatch_stacked"]


def test_when_the_second_livepatch_fails_the_first_is_reverted() -> None:
    """The hole that 6.12 still has: what the failing livepatch wrote is not taken back."""
    bad = ModuleFile(
        corrupt((KO / "x86_64-6.12" / "livepatch_stacked.ko").read_bytes(), "function-missing"), "livepatch_stacked.ko"
    )
    kernel = Kernel(release="6.12")
    assert kernel.insmod("livepatch_nfsd_demo.ko").errno == kernel.insmod(bad).errno == 0
    first, second = kernel.insmod("nfsd_demo.ko"), kernel.insmod("nfsd_demo.ko")
    assert (first.errno, second.errno) == (EINVAL, ENOEXEC)
    assert first.lines[-1] == "livepatch: reverting patch 'livepatch_nfsd_demo' on unloading module 'nfsd_demo'"
    assert "existing value is nonzero" in second.lines[1] and "demo_missing" in first.lines[1]
    written = {key.partition(":")[0] for key, value in first.sites.items() if any(value)}
    assert written == {"livepatch_stacked"}


@pytest.mark.parametrize("release", ["6.1", "6.12"])
def test_a_livepatch_section_without_alloc_is_an_oops_and_the_end(release: str) -> None:
    folder = KO / f"x86_64-{release}"
    bad = ModuleFile(corrupt((folder / "livepatch_nfsd_demo.ko").read_bytes(), "section-not-alloc"), "bad.ko")
    kernel = Kernel(release=release)
    kernel.insmod("nfsd_demo.ko")
    step = kernel.insmod(bad)
    assert step.oops and step.errno is None and step.lines[-1].startswith("BUG: unable to handle page fault")
    with pytest.raises(ScenarioError, match="klp_mutex"):
        kernel.rmmod("nfsd_demo")


CATALOGUE = {
    "nonzero-site": (ENOEXEC, "existing value is nonzero for type"),
    "unknown-type": (ENOEXEC, "module: livepatch_nfsd_demo: Unknown rela relocation: 42"),
    "overflow": (ENOEXEC, "module: `livepatch_nfsd_demo' likely not compiled with -mcmodel=kernel"),
    "site-twice": (ENOEXEC, "existing value is nonzero"),
    "symbol-missing": (EINVAL, "livepatch: symbol 'demo_missing' not found in symbol table"),
    "symbol-ambiguous": (EINVAL, "livepatch: unresolvable ambiguity for symbol 'demo_dup' in object 'nfsd_demo'"),
    "symbol-position-3": (EINVAL, "livepatch: symbol position 3 for symbol 'demo_dup' in object 'nfsd_demo' not found"),
    "symbol-no-comma": (EINVAL, "has an incorrectly formatted name"),
    "symbol-no-object": (EINVAL, "has an incorrectly formatted name"),
    "symbol-wrong-prefix": (EINVAL, "has an incorrectly formatted name"),
    "symbol-wrong-object": (EINVAL, "not found in symbol table"),
    "symbol-vmlinux": (
        EINVAL,
        "livepatch: invalid access to vmlinux symbol 'saved_command_line' from module-specific livepatch relocation section",
    ),
    "symbol-undef": (ENOENT, "livepatch_nfsd_demo: Unknown symbol .klp.sym.nfsd_demo."),
    "symbol-abs": (EINVAL, "is not marked as a livepatch symbol"),
    "symbol-bad-index": (ENOEXEC, "has an invalid section index 768 (max "),
    "section-wrong-prefix": (EINVAL, "has an incorrectly formatted name"),
    "section-no-object": (EINVAL, "has an incorrectly formatted name"),
    "function-missing": (EINVAL, "livepatch: symbol 'demo_missing' not found in symbol table"),
    "function-ambiguous": (EINVAL, "livepatch: unresolvable ambiguity for symbol 'demo_dup' in object 'nfsd_demo'"),
    "undefined-symbol": (ENOENT, "(err -2)"),
    "not-marked": (EINVAL, "livepatch: module livepatch_nfsd_demo is not marked as a livepatch module"),
    "type-none": (0, ""),
    "symbol-position-1": (0, ""),
    "symbol-trailing-junk": (0, ""),
    "section-other-object": (0, ""),
    "section-not-livepatch": (0, ""),
}


def test_each_defect_of_a_livepatch_has_the_kernels_words(folder) -> None:
    name = "livepatch_nfsd_demo.ko"
    for kind, (number, words) in CATALOGUE.items():
        kernel = Kernel(release=folder.name.partition("-")[2])
        kernel.insmod("nfsd_demo.ko")
        step = kernel.insmod(ModuleFile(corrupt((folder / name).read_bytes(), kind), name))
        assert step.errno == number and any(words in line for line in step.lines), (kind, step.lines)


# -- proposals -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("proposal", "reload", "init_fails"),
    [
        ("remove-check", [0, 0, 0, 0], [0, ENODEV, 0]),
        (
            "deny-removal",
            [0, 0, EAGAIN, EEXIST],
            [0, ENODEV, ENOEXEC],
        ),  # never removed, and yet refused: it never arrived
        ("clear-relocations", [0, 0, 0, 0], [0, ENODEV, 0]),
        ("clear-checked", [0, 0, 0, 0], [0, ENODEV, 0]),
        ("hard-dependencies", [0, 0, EAGAIN, EEXIST], [ENOENT, ENODEV, 0]),
    ],
)
def test_what_a_proposal_makes_of_6_1(proposal: str, reload: list[int], init_fails: list[int]) -> None:
    assert errnos("reload", "6.1", [proposal]) == reload
    assert errnos("init-fails", "6.1", [proposal]) == init_fails


def test_without_the_check_a_corrupt_livepatch_goes_unnoticed() -> None:
    """What eda9cec4c9a1 is for."""
    bad = ModuleFile(corrupt((KO / "x86_64-6.1" / "livepatch_nfsd_demo.ko").read_bytes(), "offset-off-by-8"), "bad.ko")
    seen = {}
    for proposals in ((), ("remove-check",)):
        kernel = Kernel(release="6.1", proposals=proposals)
        kernel.insmod("nfsd_demo.ko")
        seen[proposals] = kernel.insmod(bad).errno
    assert seen == {(): ENOEXEC, ("remove-check",): 0}


def test_a_removed_check_leaves_stale_pointers_while_the_target_is_away_and_clearing_does_not() -> None:
    assert any(any(v) for v in simulate("reload", "6.1", ["remove-check"])[2].sites.values())
    assert not any(any(v) for v in simulate("reload", "6.1", ["clear-relocations"])[2].sites.values())


def test_deny_removal_gives_the_reference_back_when_the_livepatch_is_disabled() -> None:
    assert errnos("disabled", "6.1", ["deny-removal"]) == [0, 0, 0, 0, 0]


def test_modprobe_of_a_depending_livepatch_pulls_its_targets_in() -> None:
    kernel = Kernel(release="6.1", proposals=["hard-dependencies"])
    step = kernel.modprobe("livepatch_cumul1")
    assert step.errno == 0 and {row["name"] for row in step.modules} == {"livepatch_cumul1", "nfsd_demo", "lockd_demo"}


@pytest.mark.parametrize("name", sorted(set(PROPOSALS) - set(available("x86_64"))))
def test_what_is_not_for_this_architecture_or_not_there_yet_is_refused_with_a_reason(name: str) -> None:
    with pytest.raises(PolicyError, match=name):
        Kernel(proposals=[name])


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize(
    "proposals", [(), *((p,) for p in available("x86_64")), ("deny-removal", "clear-checked", "hard-dependencies")]
)
def test_every_story_runs_on_every_kernel_and_the_same_twice(release: str, proposals: tuple[str, ...]) -> None:
    for name in SCENARIOS:
        first, second = simulate(name, release, proposals), simulate(name, release, proposals)
        assert first.compare(second) == [] and len(first) == len(SCENARIOS[name].commands)


def test_a_kernel_has_rules_of_its_own_where_they_are_given() -> None:
    """What replays and the exercise with a reader's own policy ask for: nothing is changed in a kernel that runs."""
    rules = replace(RELEASES["6.1"], clear="unchecked")
    assert [step.errno for step in simulate("reload", "6.1", rules=rules)] == [0, 0, 0, 0]
    kernel = Kernel(init_errno={"nfsd_demo.ko": ENODEV}, exports={"_printk": 0x1230}, records_state=False)
    step = kernel.insmod("nfsd_demo.ko")
    assert (step.errno, step.modules, step.sites) == (ENODEV, None, None)
    assert kernel.vmlinux_function("_printk") == 0x1230


# -- memory, callbacks, transitions ------------------------------------------------------------------------------------------


def test_modules_never_overlap_and_keep_a_guard_page() -> None:
    for seed in range(20):
        kernel = Kernel(release="6.12")
        for command in busy(seed).commands:
            kernel.run(command)
        regions = list(kernel.memory)
        assert all(a.end + 0x1000 <= b.start for a, b in pairwise(regions))


def test_a_freed_range_is_taken_again_at_once() -> None:
    space = AddressSpace(0xFFFFFFFFC0201000, 0xFFFFFFFFFF000000)
    first = space.alloc(0x5000, "nfsd", "core")
    space.alloc(0x1000, "lockd", "core")
    space.free(first)
    assert space.alloc(0x4000, "nfsd", "core").start == first.start


def test_some_seeds_bring_the_module_back_to_its_place_and_some_do_not() -> None:
    same = set()
    for seed in range(20):
        story = simulate(busy(seed), "6.12")
        bases = [step.module("nfsd_demo")["base"] for step in story if step.command == "insmod nfsd_demo.ko"]
        same.add(bases[0] == bases[1])
    assert same == {True, False}


def test_callbacks_run_in_the_kernels_order() -> None:
    kernel, seen = Kernel(release="6.1", proposals=["clear-checked"]), []
    for kind in ("pre_patch", "post_patch", "pre_unpatch", "post_unpatch"):
        kernel.callbacks["livepatch_nfsd_demo", "nfsd_demo", kind] = lambda k, kind=kind: seen.append(
            (kind, k.find_module("nfsd_demo").state)
        )
    for command in SCENARIOS["late"].commands[:3]:
        kernel.run(command)
    assert seen == [
        ("pre_patch", "Loading"),
        ("post_patch", "Loading"),
        ("pre_unpatch", "Unloading"),
        ("post_unpatch", "Unloading"),
    ]


def test_a_pre_patch_callback_that_says_no_refuses_the_target_and_leaves_the_sites_written() -> None:
    kernel = Kernel(release="6.12")
    kernel.insmod("livepatch_nfsd_demo.ko")
    kernel.callbacks["livepatch_nfsd_demo", "nfsd_demo", "pre_patch"] = lambda k: ENODEV
    step = kernel.insmod("nfsd_demo.ko")
    assert step.errno == ENODEV
    assert step.lines[-2:] == [
        "livepatch: pre-patch callback failed for object 'nfsd_demo'",
        "livepatch: patch 'livepatch_nfsd_demo' failed for module 'nfsd_demo', refusing to load module 'nfsd_demo'",
    ]
    assert all(any(value) for value in step.sites.values())
    kernel.callbacks.clear()
    assert kernel.insmod("nfsd_demo.ko").errno == ENOEXEC


def stalled_kernel() -> Kernel:
    """The livepatch is there, but one task sleeps in a function that is to be patched."""
    kernel = Kernel(release="6.1")
    kernel.insmod("nfsd_demo.ko")
    kernel.transition_blocked = True
    step = kernel.insmod("livepatch_nfsd_demo.ko")
    assert step.livepatch["livepatch_nfsd_demo"]["transition"] == 1 and step.lines[-1].endswith(
        "starting patching transition"
    )
    return kernel


def test_a_transition_completes_when_no_task_is_in_the_way_any_more() -> None:
    kernel = stalled_kernel()
    kernel.transition_blocked, kernel.dynamic_debug = False, True
    assert kernel.cat("/proc/nfsd_demo").lines == [
        "livepatch: 'livepatch_nfsd_demo': completing patching transition",
        "livepatch: 'livepatch_nfsd_demo': patching complete",
    ]


def test_a_running_transition_can_be_reversed_and_nothing_else_can_start() -> None:
    kernel = stalled_kernel()
    assert kernel.insmod("livepatch_stacked.ko").errno == -16
    path = "/sys/kernel/livepatch/livepatch_nfsd_demo/enabled"
    step = kernel.echo(0, path)
    assert step.lines == ["livepatch: 'livepatch_nfsd_demo': starting unpatching transition"]
    kernel.transition_blocked = False
    step = kernel.cat("/proc/nfsd_demo")
    assert step.lines == ["livepatch: 'livepatch_nfsd_demo': unpatching complete"] and step.livepatch == {}


def test_sites_are_those_that_readelf_would_count(livepatch: ModuleFile) -> None:
    found = list(sites(livepatch))
    assert {site.type for site in found} == {1, 2, 4, 11, 24}
    assert {site.object for site in found} == {"nfsd_demo"} and any(",2" in site.symbol for site in found)


def test_the_sample_whose_init_fails_fails_wherever_it_is_loaded() -> None:
    assert Kernel().insmod("nfsd_demo_failinit.ko").errno == ENODEV


@pytest.mark.parametrize(
    ("file", "bad"), [("livepatch_callbacks.ko", "pre_patch_ret=no"), ("busy_demo.ko", "block_transition=")]
)
def test_a_parameter_that_is_no_such_value_refuses_the_module(file: str, bad: str) -> None:
    step = Kernel().insmod(file, bad)
    assert (step.errno, step.modules) == (EINVAL, [])
    key, _, value = bad.partition("=")
    assert step.lines[-1] == f"{file.removesuffix('.ko')}: `{value}' invalid for parameter `{key}'"


def test_an_unknown_command_names_the_known_ones() -> None:
    with pytest.raises(ScenarioError, match=r"insmod FILE\.ko"):
        Kernel().run("format c:")
