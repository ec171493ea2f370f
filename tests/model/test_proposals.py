"""Each proposal as a switch: what it lets happen, what it forbids, what it costs somewhere else. And what is left after the fix."""

from __future__ import annotations

import re
from itertools import combinations

import pytest

from klpteach import Kernel, ModuleFile, Recording, replay, simulate
from klpteach.cli import main
from klpteach.discussion.dossier import GIVES, LEAVES_OPEN, about_proposal
from klpteach.errors import PolicyError
from klpteach.files.klp import sites
from klpteach.files.samples import data_dir, sample
from klpteach.model.errno import EAGAIN, EEXIST, EINVAL, ENODEV, ENOENT, ENOEXEC, EPERM
from klpteach.model.policy import PROPOSALS, available, behaviour, possible, why_impossible
from klpteach.model.split import split_per_object
from klpteach.model.state import Machine
from klpteach.scenarios.course import SCENARIOS
from klpteach.scenarios.scenario import Scenario
from klpteach.scenarios.simulate import get, stories

LP = "livepatch_nfsd_demo"
SITE_BYTES = "1122334455667788"
ARCHES = ("x86_64", "ppc64le")
KERNELS = [(arch, release) for arch in ARCHES for release in ("6.1", "6.12")]
on_every_kernel = pytest.mark.parametrize(("arch", "release"), KERNELS)


def errnos(story: str | Scenario, release: str, *proposals: str, arch: str = "x86_64") -> list[int | None]:
    return [step.errno for step in simulate(story, release, proposals, arch)]


def loaded(kernel: Kernel) -> list[str]:
    return [mod.name for mod in kernel.modules]


def recorded(arch: str, stem: str) -> Recording:
    (path,) = (data_dir() / "recordings" / arch).glob(f"{stem}--*.json")
    return Recording.load(path)


# -- mixes ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arch", ARCHES)
def test_every_pair_of_proposals_runs_or_is_refused_with_a_reason(arch: str) -> None:
    for pair in combinations(PROPOSALS, 2):
        if possible(pair, arch):
            assert behaviour("6.1", pair, arch) == behaviour("6.1", pair[::-1], arch)  # the order does not matter
            continue
        reason = next(filter(None, (why_impossible(name, pair, arch) for name in pair)))
        assert reason.endswith(".") and len(reason) > 30
        with pytest.raises(PolicyError):
            behaviour("6.1", pair, arch)


def test_the_reason_is_given_from_both_sides() -> None:
    for name, proposal in PROPOSALS.items():
        for other in proposal.excludes:
            assert why_impossible(other, [name], PROPOSALS[other].arch or "x86_64") or other in PROPOSALS[name].excludes
            assert not possible([name, other], proposal.arch or PROPOSALS[other].arch or "x86_64")


@on_every_kernel
def test_each_proposal_changes_something_or_is_what_the_kernel_does_already(arch: str, release: str) -> None:
    same = {name for name in available(arch) if behaviour(release, [name], arch) == behaviour(release, (), arch)}
    merged = {"x86_64": {"clear-checked", "clear-checked-kept"}, "ppc64le": {"tolerate-r2"}}[arch]
    assert same == (merged if release == "6.12" else set())


@pytest.mark.parametrize("name", PROPOSALS)
def test_a_proposal_has_a_page_with_its_strongest_side_and_what_it_leaves_open(name: str) -> None:
    page = about_proposal(name)
    text, html = str(page), page._repr_html_()
    assert text.startswith(name) and GIVES[name] in text and all(line in text for line in LEAVES_OPEN[name])
    assert page.switches and all(statement.says in text for statement in page.statements)
    assert "<script" not in html and html.count("<ul>") == html.count("</ul>") == len(list(page.parts()))
    for story in re.findall(r"stor(?:y|ies) ([\w-]+)(?:, ([\w-]+))?", text):
        assert all(get(one, PROPOSALS[name].arch or "x86_64") for one in story if one)


def test_an_unknown_proposal_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(PolicyError, match="deny-removal"):
        about_proposal("forbid-everything")


# -- deny-removal -------------------------------------------------------------------------------------------------------------


@on_every_kernel
def test_denied_removal_is_refused_by_the_reference_count_without_a_holder(arch: str, release: str) -> None:
    story = simulate("reload", release, ["deny-removal"], arch)
    row = story[1].module("nfsd_demo")
    assert row and (row["refcount"], row["used_by"]) == (1, [])
    assert [step.errno for step in story] == [0, 0, EAGAIN, EEXIST]


@pytest.mark.parametrize("arch", ARCHES)
def test_a_first_load_that_fails_defeats_denied_removal(arch: str) -> None:
    """The module was never removed: it never arrived (Miroslav Benes, 2022-07-21)."""
    assert errnos("init-fails", "6.1", "deny-removal", arch=arch) == [0, ENODEV, ENOEXEC]
    assert errnos("init-fails", "6.12", "deny-removal", arch=arch) == [0, ENODEV, 0]


def test_a_target_whose_init_fails_is_not_held_by_the_livepatch() -> None:
    kernel = Kernel(release="6.12", proposals=["deny-removal"])
    for command in get("init-fails").commands:
        kernel.init_errno["nfsd_demo_failinit.ko"] = ENODEV
        kernel.run(command)
    assert kernel.find_module("nfsd_demo").references == 1
    kernel.run(f"echo 0 > /sys/kernel/livepatch/{LP}/enabled")
    assert kernel.find_module("nfsd_demo").references == 0


def test_a_replaced_livepatch_hands_its_targets_over_to_the_new_one() -> None:
    kernel = Kernel(release="6.12", proposals=["deny-removal"])
    for name in ("nfsd_demo", "livepatch_cumul1", "livepatch_cumul2"):
        kernel.insmod(f"{name}.ko")
    assert kernel.find_module("nfsd_demo").references == 1
    kernel.run("echo 0 > /sys/kernel/livepatch/livepatch_cumul2/enabled")
    assert kernel.rmmod("nfsd_demo").errno == 0


def test_a_module_that_only_the_replaced_livepatch_patched_is_let_go() -> None:
    kernel = Kernel(release="6.12", proposals=["deny-removal"])
    for name in ("nfsd_demo", "kvm_demo", "livepatch_five", "livepatch_cumul2"):
        kernel.insmod(f"{name}.ko")
    assert kernel.find_module("kvm_demo").references == 0
    assert kernel.rmmod("kvm_demo").errno == 0 and kernel.rmmod("nfsd_demo").errno == EAGAIN


def test_after_a_forced_transition_livepatch_and_targets_are_pinned_for_good() -> None:
    def forced(*proposals: str) -> tuple[int | None, ...]:
        kernel = Kernel(release="6.12", proposals=proposals)
        kernel.insmod("nfsd_demo.ko")
        kernel.insmod(f"{LP}.ko")
        kernel.transition_blocked = True
        kernel.run(f"echo 0 > /sys/kernel/livepatch/{LP}/enabled")
        step = kernel.run(f"echo 1 > /sys/kernel/livepatch/{LP}/force")
        assert step.lines[0] == "livepatch: forcing remaining tasks to the patched state"
        assert step.lines[-1] == f"livepatch: '{LP}': unpatching complete"
        return kernel.rmmod(LP).errno, kernel.rmmod("nfsd_demo").errno

    assert forced() == (EAGAIN, 0)  # the kernel today keeps the livepatch's module
    assert forced("deny-removal") == (EAGAIN, EAGAIN)  # and then its targets too


def test_nothing_is_forced_where_no_transition_runs() -> None:
    kernel = Kernel(release="6.12")
    kernel.insmod("nfsd_demo.ko")
    assert kernel.run(f"echo 1 > /sys/kernel/livepatch/{LP}/force").errno == ENOENT
    kernel.insmod(f"{LP}.ko")
    assert kernel.run(f"echo 1 > /sys/kernel/livepatch/{LP}/force").errno == EINVAL


# -- hard-dependencies, half-loaded ---------------------------------------------------------------------------------------------


@on_every_kernel
def test_a_cumulative_livepatch_pulls_in_four_modules_that_nobody_uses(arch: str, release: str) -> None:
    now, then = (simulate("one-in-use", release, p, arch)[-1].modules for p in ((), ("hard-dependencies",)))
    assert {row["name"] for row in now} == {"nfsd_demo", "livepatch_five"}
    assert {row["name"] for row in then} - {row["name"] for row in now} == {
        "lockd_demo", "kvm_demo", "fuse_demo", "sunrpc_demo",
    }  # fmt: skip
    assert all(row["used_by"] == ["livepatch_five"] for row in then if row["name"] != "livepatch_five")


def test_insmod_of_a_livepatch_looks_for_no_dependency_and_is_refused() -> None:
    step = Kernel(proposals=["hard-dependencies"]).insmod(f"{LP}.ko")
    assert step.errno == ENOENT and "nfsd_demo is not loaded" in step.lines[-1]


@pytest.mark.parametrize(
    ("story", "errno", "left_behind", "words"),
    [
        ("no-hardware", ENODEV, {"nfsd_demo", "lockd_demo"}, "No such device"),
        ("not-installed", ENOENT, {"nfsd_demo", "lockd_demo", "kvm_demo", "fuse_demo"}, "Module sunrpc_demo not found"),
        ("blacklisted", EPERM, {"nfsd_demo", "lockd_demo", "kvm_demo"}, "Operation not permitted"),
    ],
)
def test_one_target_that_cannot_be_loaded_keeps_the_fix_away_from_the_others(
    story: str, errno: int, left_behind: set[str], words: str
) -> None:
    last = simulate(story, "6.12", ["hard-dependencies"])[-1]
    assert last.errno == errno and words in str(last.out)
    assert {row["name"] for row in last.modules or ()} == left_behind  # what came before the failure stays
    assert simulate(story, "6.12")[-1].errno == 0


def test_a_half_loaded_target_needs_no_hardware_and_its_init_has_not_run() -> None:
    kernel = Kernel(proposals=["half-loaded"], machine=Machine(without_hardware=frozenset({"kvm_demo"})))
    kernel.module_code["kvm_demo", "init"] = lambda k: pytest.fail("a half-loaded module ran its init")
    assert kernel.modprobe("livepatch_five").errno == 0
    row = kernel.recording.steps[-1].module("kvm_demo")
    assert row and row["state"] == "Half-loaded" and row["used_by"] == ["livepatch_five"]
    assert kernel.recording.steps[-1].livepatch["livepatch_five"]["objects"]["kvm_demo"]["patched"] == 1


def test_a_half_loaded_target_goes_live_when_somebody_asks_for_it() -> None:
    kernel = Kernel(proposals=["half-loaded"])
    kernel.modprobe("livepatch_five")
    base = kernel.find_module("fuse_demo").base
    assert kernel.insmod("fuse_demo.ko").errno == 0
    assert (kernel.find_module("fuse_demo").state, kernel.find_module("fuse_demo").base) == ("Live", base)


def test_a_half_loaded_target_whose_init_fails_goes_on_waiting() -> None:
    kernel = Kernel(proposals=["half-loaded"], machine=Machine(without_hardware=frozenset({"kvm_demo"})))
    kernel.modprobe("livepatch_five")
    assert kernel.insmod("kvm_demo.ko").errno == ENODEV
    assert kernel.find_module("kvm_demo").state == "Half-loaded"


def test_a_half_loaded_target_can_go_once_the_livepatch_has_gone() -> None:
    kernel = Kernel(proposals=["half-loaded"])
    kernel.modprobe("livepatch_five")
    assert kernel.rmmod("fuse_demo").errno == EAGAIN
    kernel.run("echo 0 > /sys/kernel/livepatch/livepatch_five/enabled")
    assert [kernel.rmmod(name).errno for name in ("livepatch_five", "fuse_demo")] == [0, 0]


# -- split-per-object -----------------------------------------------------------------------------------------------------------


@on_every_kernel
def test_each_part_is_a_whole_livepatch_for_one_object(arch: str, release: str) -> None:
    whole = ModuleFile.open(sample("livepatch_five.ko", arch, release))
    parts = split_per_object(whole)
    assert list(parts) == [obj.name for obj in whole.klp.objects] and len(parts) == 5
    for name, part in parts.items():
        assert [obj.name for obj in part.klp.objects] == [name] and part.klp.replace and part.is_livepatch
        (mine,) = (obj for obj in whole.klp.objects if obj.name == name)
        assert part.klp.objects[0] == mine
        assert part.name == f"livepatch_five__{name}"
        assert {site.object for site in sites(part)} == {name}
    count = sum(len(list(sites(part))) for part in parts.values())
    assert count == len(list(sites(whole)))


def test_readelf_finds_nothing_wrong_with_a_part(tmp_path) -> None:
    import shutil
    import subprocess

    if not shutil.which("readelf"):
        pytest.skip("readelf is not installed")
    for label, part in split_per_object(ModuleFile.open(sample("livepatch_five.ko"))).items():
        (tmp_path / "part.ko").write_bytes(part.data)
        done = subprocess.run(["readelf", "-aW", tmp_path / "part.ko"], capture_output=True, text=True)
        assert done.returncode == 0 and "Error" not in done.stderr + done.stdout, done.stderr
        assert f".klp.rela.{label}..text" in done.stdout


@on_every_kernel
def test_a_part_comes_and_goes_with_its_target_so_every_reload_finds_fresh_bytes(arch: str, release: str) -> None:
    story = simulate("reload", release, ["split-per-object"], arch)
    assert [step.errno for step in story] == [0] * 4
    assert [{row["name"] for row in step.modules} for step in story] == [
        {"nfsd_demo"}, {"nfsd_demo", LP}, set(), {"nfsd_demo", LP},
    ]  # fmt: skip


def test_only_the_parts_of_loaded_targets_are_loaded() -> None:
    kernel = Kernel(proposals=["split-per-object"])
    kernel.insmod("nfsd_demo.ko")
    kernel.insmod("livepatch_five.ko")
    assert loaded(kernel) == ["nfsd_demo", "livepatch_five__nfsd_demo"]
    kernel.insmod("fuse_demo.ko")
    assert "livepatch_five__fuse_demo" in loaded(kernel)
    kernel.run("echo 0 > /sys/kernel/livepatch/livepatch_five/enabled")
    assert kernel.rmmod("livepatch_five").errno == 0 and loaded(kernel) == ["nfsd_demo", "fuse_demo"]


def test_one_fix_for_two_modules_comes_into_force_in_two_steps() -> None:
    now, then = (simulate("spanning", "6.12", p)[-1].lines for p in ((), ("split-per-object",)))
    ended = "patching complete"
    assert (sum(ended in line for line in now), sum(ended in line for line in then)) == (1, 2)


def test_the_newer_livepatch_loses_the_race_for_a_target_that_is_loading() -> None:
    story = simulate("race", "6.12", ["split-per-object"])
    assert story[1].module("nfsd_demo")["state"] == "Loading"  # it waits for its part of the first
    assert {row["name"] for row in story[-1].modules} == {"nfsd_demo", "livepatch_cumul1__nfsd_demo"}
    assert simulate("race", "6.12")[-1].livepatch["livepatch_cumul2"]["objects"]["nfsd_demo"]["patched"] == 1


def test_a_target_whose_part_is_refused_is_not_loaded_either() -> None:
    kernel = Kernel(release="6.12", proposals=["split-per-object"])
    assert kernel.insmod(f"{LP}+symbol-missing.ko").errno == 0  # nothing of it is needed yet
    step = kernel.insmod("nfsd_demo.ko")
    assert step.errno == EINVAL and loaded(kernel) == []
    assert step.lines[-1].endswith("user space has no livepatch for module 'nfsd_demo', refusing to load it (err -22)")


def test_an_enabled_split_livepatch_is_in_use_and_there_once() -> None:
    kernel = Kernel(proposals=["split-per-object"])
    kernel.insmod(f"{LP}.ko")
    assert kernel.rmmod(LP).errno == EAGAIN and kernel.insmod(f"{LP}.ko").errno == EEXIST


def test_split_per_object_listens_and_a_kernel_without_it_tells_nobody() -> None:
    plain, split = Kernel(), Kernel(proposals=["split-per-object"])
    assert (plain.split, plain.coming, plain.going) == (None, [], [])
    assert split.split and split.coming == [split.split.load_for] and split.going == [split.split.unload_for]


# -- no-late-patching, refuse-unpatched -----------------------------------------------------------------------------------------


@on_every_kernel
def test_without_late_patching_a_later_target_comes_up_unpatched_and_nothing_says_so(arch: str, release: str) -> None:
    story = simulate("target-later", release, ["no-late-patching"], arch)
    last = story[-1]
    assert last.errno == 0 and not any("livepatch:" in line for line in last.lines)
    assert last.livepatch[LP]["objects"]["nfsd_demo"]["patched"] == 0


@on_every_kernel
def test_refuse_unpatched_says_so_and_keeps_the_module_out(arch: str, release: str) -> None:
    last = simulate("target-later", release, ["refuse-unpatched"], arch)[-1]
    assert last.errno == EPERM and last.module("nfsd_demo") is None
    assert last.lines[-1].startswith(f"livepatch: nfsd_demo: livepatch {LP} is enabled and can no longer patch it")


def test_without_late_patching_an_unpatched_module_goes_without_a_word_about_reverting() -> None:
    kernel = Kernel(release="6.12", proposals=["no-late-patching"])
    kernel.insmod(f"{LP}.ko")
    kernel.insmod("nfsd_demo.ko")
    assert kernel.rmmod("nfsd_demo").lines == []


# -- remove-check: what the check is for ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("release", ["6.1", "6.12"])
def test_without_the_check_a_damaged_livepatch_overwrites_an_instruction(release: str) -> None:
    bad = f"{LP}+offset-off-by-8.ko"
    assert simulate("corrupted", release)[-1].errno == ENOEXEC
    last = simulate("corrupted", release, ["remove-check"])[-1]
    file = ModuleFile.open(sample(f"{LP}.ko", release=release))
    intended = {site.key for site in sites(file)}
    (hit,) = [key for key in last.sites if key.partition(":")[2] not in intended]
    section, offset = hit.partition(":")[2].split("+0x")
    before = file.section_bytes(file.section_index(section))[int(offset, 16) : int(offset, 16) + 4]
    assert any(before) and last.errno == 0 and last.sites[hit] != before, bad


@pytest.mark.parametrize("release", ["6.1", "6.12"])
def test_ppc64le_has_no_such_check_and_takes_the_damaged_livepatch_as_it_did_on_a_real_kernel(release: str) -> None:
    (step,) = (s for s in recorded("ppc64le", f"catalogue--{release}-stock") if "off-by-8" in s.command)
    mine = simulate("corrupted", release, arch="ppc64le")[-1]
    assert step.errno == mine.errno == 0
    first = next(key for key, data in step.sites.items() if data.hex() == "0100004800000060")
    assert first.startswith(f"{LP}:.text")  # `bl .`: the call that nobody relocated calls itself


# -- the bug after the fix --------------------------------------------------------------------------------------------------------


def test_6_12_still_refuses_for_good_what_failed_half_way_once() -> None:
    """(a) pre_patch said no once; then nothing is wrong any more, and the kernel says nonzero for ever."""
    model, real = simulate("callback-fails", "6.12"), recorded("x86_64", "callback-fails--6.12")
    ends = [[step.errno for step in story if step.command != "boot"] for story in (model, real)]
    assert ends[0] == ends[1] and ends[0][-1] == ENOEXEC
    assert any("existing value is nonzero" in line for line in model[-1].lines)


def test_6_12_is_stopped_by_one_foreign_write_to_a_site() -> None:
    for story in (simulate("foreign-write", "6.12"), recorded("x86_64", "foreign-write--6.12")):
        assert story[-1].errno == ENOEXEC
        assert any("does not match expected value" in line for step in story for line in step.lines)


@pytest.mark.parametrize("source", ["model", "recording"])
def test_on_ppc64le_the_table_of_stubs_runs_out_on_an_unmodified_6_12(source: str) -> None:
    """(b) the same address: nothing. One other module in between, once: a stub behind the end, then refusals."""

    def story(name: str) -> Recording:
        if source == "recording":
            return recorded("ppc64le", f"{name}--6.12-stock")
        return simulate(name, "6.12", arch="ppc64le")

    def tables(name: str) -> list[tuple[int, int]]:
        steps = [step for step in story(name) if step.command.lstrip("~") == "insmod nfsd_demo.ko" and step.stubs]
        found = [(step.stubs or {}).get(LP) for step in steps]
        return [(table["used"], table["past_end_used"]) for table in found if table]

    assert len(set(tables("same-address"))) == 1
    assert tables("moved") == [(11, 0), (11, 1), (11, 1), (11, 1)]
    assert [s.errno for s in story("moved") if s.command == "insmod nfsd_demo.ko"] == [0, 0, ENOENT, ENOENT, ENOENT]
    assert story("edge")[-1].oops


@pytest.mark.parametrize("release", ["6.1", "6.12"])
def test_with_reused_stubs_all_moves_succeed_and_the_table_stays_as_it_was(release: str) -> None:
    """(c)"""
    model, real = (
        simulate("moved-40", release, ["reuse-stub"], "ppc64le"),
        recorded("ppc64le", f"moved-40--{release}-reuse"),
    )
    for story in (model, real):
        loads = [step.errno for step in story if step.command.lstrip("~") == "insmod nfsd_demo.ko"]
        assert loads == [0] * 41
        assert story[-1].stubs[LP]["used"] == story[1].stubs[LP]["used"] if story[1].stubs.get(LP) else True


def test_clearing_takes_from_a_call_what_reuse_needs_to_find_its_stub() -> None:
    """A mix that is possible and does not help: after clearing, no branch leads to a stub any more."""
    used = simulate("moved", "6.1", ["clear-relocations", "reuse-stub"], "ppc64le")[-1].stubs[LP]
    alone = simulate("moved", "6.1", ["reuse-stub"], "ppc64le")[-1].stubs[LP]
    assert (used["used"], used["past_end_used"], alone["used"], alone["past_end_used"]) == (11, 1, 8, 0)


# -- the stories ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arch", ARCHES)
def test_a_story_is_known_by_its_name_and_asks_a_question(arch: str) -> None:
    for name, story in stories(arch).items():
        assert story.name == name and story.question.endswith("?") and get(name, arch) == story
    assert set(SCENARIOS) - set(stories(arch)) <= {"dependency"}


@on_every_kernel
def test_every_story_runs_under_every_proposal(arch: str, release: str) -> None:
    for name, story in stories(arch).items():
        if len(story.commands) > 20 or (name == "edge" and release == "6.1"):
            continue
        for chosen in [(), *((one,) for one in available(arch))]:
            recording = simulate(story, release, chosen, arch)
            assert len(recording) == len(story.commands) or recording[-1].oops


@on_every_kernel
def test_a_saved_story_of_the_model_replays_without_a_difference(arch: str, release: str, tmp_path) -> None:
    for name, proposals in (("race", ["split-per-object"]), ("spanning", ["split-per-object"]), ("one-in-use", ["half-loaded"]),
                            ("target-later", ["refuse-unpatched"]), ("reload", ["deny-removal"]), ("no-hardware", ["hard-dependencies"])):  # fmt: skip
        simulate(name, release, proposals, arch).save(tmp_path / "story.json")
        _, differences = replay(Recording.load(tmp_path / "story.json"))
        assert differences == [], (name, differences[:3])


def test_a_load_in_the_background_is_an_ordinary_load_where_nobody_waits() -> None:
    kernel = Kernel(release="6.12")
    assert kernel.run("insmod nfsd_demo.ko &").errno == 0 and kernel.run("wait nfsd_demo").errno == 0
    assert kernel.find_module("nfsd_demo").state == "Live"


def test_the_command_line_says_what_a_silent_story_came_to(capsys) -> None:
    assert main(["simulate", "target-later", "--release", "6.12", "--proposal", "no-late-patching"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "In the end: runs unpatched: nfsd_demo."
    assert main(["simulate", "reload", "--release", "6.12"]) == 0
    assert "In the end" not in capsys.readouterr().out
