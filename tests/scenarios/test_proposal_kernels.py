"""What kernels with a proposal in them did, and the model was wrong about once: each point on a recording of its own."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from conftest import ROOT

from klpteach import Kernel, Recording, replay
from klpteach.files.samples import ko_dir_with
from klpteach.model.compare import Difference
from klpteach.model.policy import UNMODIFIED, VARIANTS, available
from klpteach.reading.history import History
from klpteach.reading.loads import module_files
from klpteach.reading.outcome import outcome_of
from klpteach.scenarios import recorded

SHARED = ROOT.parent / "shared" / "proposal-kernels"
needs_shared = pytest.mark.skipif(
    not SHARED.exists(), reason="no recordings of kernels with proposals in ../shared/proposal-kernels"
)
PACKED = [(arch, one) for arch in recorded.ARCHES for one in recorded.named(arch) if one.packed]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recordings and the modules that they name, unpacked."""
    folder = tmp_path_factory.mktemp("proposal-kernels")
    for name in ("recordings.tar.xz", "ko.tar.xz"):
        with tarfile.open(SHARED / name) as packed:
            packed.extractall(folder, filter="data")
    return folder


def told(lab: Path, story: str, variant: str, release: str = "6.1") -> Recording:
    (path,) = (lab / release / variant).glob(f"{story}--*.json")
    return Recording.load(path)


def differences(lab: Path, story: str, variant: str, release: str = "6.1") -> list[str]:
    recording = told(lab, story, variant, release)
    if variant in available() and variant not in recording.proposals:
        recording.proposals = [variant]
    ours, found = replay(recording, lab)
    assert len(ours) > 1
    return [str(one) for one in found]


HELD = {
    "modprobe of a waiting module runs its init": ("target-later", "half-loaded"),
    "insmod & of a waiting module goes on with it": ("race", "half-loaded"),
    "the init that runs is that of the image that waits": ("init-fails", "half-loaded"),
    "a waiting module keeps its init memory and its whole symbol table": ("one-in-use", "half-loaded"),
    "what is not installed is not half-loaded either": ("not-installed", "half-loaded"),
    "a target that waits for its part has no sections in sysfs yet": ("race", "split-per-object"),
    "parts that user space cannot load keep the target away": ("callback-fails", "split-per-object"),
    "6.3's one function has its own words": ("half-way", "clear-checked"),
    "checked clearing that keeps 6.1's code keeps its words": ("half-way", "clear-checked-kept"),
    "a refusal by name begins as lines of livepatch do": ("reload", "refuse-unpatched"),
    "a foreign write that nobody takes back oopses on use": ("foreign-write", "remove-check"),
    "and under the RFC": ("foreign-write", "clear-relocations"),
    "and where the target is pinned": ("foreign-write", "deny-removal"),
    "the checked clearing refuses it": ("foreign-write", "clear-checked"),
    "a part that is loaded afresh works": ("foreign-write", "split-per-object"),
    "a damaged livepatch that nobody stopped oopses on use": ("corrupted", "remove-check"),
    "modprobe ends where a target is forbidden": ("blacklisted", "hard-dependencies"),
}


@needs_shared
@pytest.mark.parametrize(("story", "variant"), HELD.values(), ids=list(HELD))
def test_the_model_does_what_the_kernel_with_the_proposal_did(lab: Path, story: str, variant: str) -> None:
    assert differences(lab, story, variant) == []
    if (lab / "6.12" / variant).exists():
        assert differences(lab, story, variant, "6.12") == []


@needs_shared
def test_a_livepatch_that_needs_its_waiting_targets_export_keeps_the_target_out(lab: Path) -> None:
    """The guest's modprobe looked past modinfo's `depends` here, as insmod does: so it is replayed as insmod."""
    recording = told(lab, "dependency", "split-per-object")
    for step in recording:
        step.command = step.command.replace("modprobe livepatch_dep_demo", "insmod livepatch_dep_demo.ko")
    ours, found = replay(recording, lab)
    assert found == list[Difference]()
    assert ours[1].errno == -16 and [line for line in ours[1].lines if "nfsd_demo" in line][1:] == [
        "livepatch_dep_demo: gave up waiting for init of module nfsd_demo.",
        "livepatch_dep_demo: Unknown symbol nfsd_demo_exported (err -16)",
        "livepatch: user space has no livepatch for module 'nfsd_demo', refusing to load it (err -16)",
    ]


@needs_shared
@pytest.mark.parametrize("variant", ["remove-check", "clear-relocations", "deny-removal", "half-loaded"])
def test_half_of_the_strangers_bytes_stay_and_the_kernel_oopses_when_the_fix_is_run(lab: Path, variant: str) -> None:
    recording = told(lab, "foreign-write", variant)
    files = module_files(recording, ko_dir_with(recording.files, "x86_64", "6.1", lab))
    outcome = outcome_of(recording, History(recording, files))
    assert (outcome.kind, outcome.says) == ("oops-on-use", "cat /proc/nfsd_demo")
    assert recording[outcome.step - 1].oops


def test_only_the_program_that_ran_into_the_foreign_bytes_dies() -> None:
    kernel = Kernel(release="6.1", proposals=["deny-removal"])
    kernel.insmod("nfsd_demo.ko"), kernel.insmod("livepatch_nfsd_demo.ko")
    assert kernel.cat("/proc/nfsd_demo").errno == 0
    kernel.poke("livepatch_nfsd_demo:.text+0x17", "1122334455667788")
    assert kernel.cat("/proc/nfsd_demo").oops and not kernel.wrecked
    kernel.echo(0, "/sys/kernel/livepatch/livepatch_nfsd_demo/enabled")
    assert kernel.cat("/proc/nfsd_demo").errno == 0  # nobody runs the livepatch's functions any more


def test_bytes_in_data_are_no_code() -> None:
    kernel = Kernel(release="6.1")
    kernel.insmod("nfsd_demo.ko"), kernel.insmod("livepatch_nfsd_demo.ko")
    assert kernel.poke("livepatch_nfsd_demo:.data+0x0", "1122334455667788").errno == -11
    assert not kernel.cat("/proc/nfsd_demo").oops


def test_a_target_whose_init_runs_is_busy_for_a_livepatch_that_depends_on_it() -> None:
    kernel = Kernel(release="6.1", proposals=["hard-dependencies"])
    inside: list[int | None] = []
    kernel.module_code["nfsd_demo", "init"] = lambda _: inside.append(kernel.insmod("livepatch_nfsd_demo.ko").errno)
    assert kernel.insmod("nfsd_demo.ko").errno == 0 and inside == [-16]


def test_refused_by_version_a_fixed_file_comes_and_the_vulnerable_one_does_not() -> None:
    for proposal, errnos in {"refuse-unpatched": (-1, -1), "refuse-vulnerable": (-1, 0)}.items():
        kernel = Kernel(release="6.1", proposals=[proposal])
        kernel.insmod("livepatch_nfsd_demo.ko")
        assert (kernel.insmod("nfsd_demo.ko").errno, kernel.insmod("nfsd_demo_v2.ko").errno) == errnos


@pytest.mark.parametrize("release", ["6.1", "6.12"])
def test_one_call_more_closes_the_hole_of_a_load_that_fails_half_way(release: str) -> None:
    errnos = {}
    for proposals in ([], ["clear-relocations"], ["clear-also-on-error"]):
        kernel = Kernel(release=release, proposals=proposals)
        kernel.insmod("livepatch_callbacks.ko", "pre_patch_ret=-19"), kernel.insmod("nfsd_demo.ko")
        kernel.echo(0, "/sys/module/livepatch_callbacks/parameters/pre_patch_ret")
        errnos["+".join(proposals)] = kernel.insmod("nfsd_demo.ko").errno
    assert errnos == {"": -8, "clear-relocations": -8, "clear-also-on-error": 0}


# -- what is packed in data/recordings ------------------------------------------------------------------------------------


@pytest.mark.skipif(not PACKED, reason="no recordings of kernels with proposals are packed in data/recordings")
def test_the_model_does_what_every_packed_recording_shows() -> None:
    wrong = {}
    for arch, one in PACKED:
        _, found = replay(recorded.open_recorded(one.name, arch))
        if found:
            wrong[one.name] = [str(difference) for difference in found[:3]]
    assert wrong == {}


@pytest.mark.skipif(not PACKED, reason="no recordings of kernels with proposals are packed in data/recordings")
def test_a_packed_recording_is_named_after_the_proposals_in_its_kernel() -> None:
    for arch, one in PACKED:
        words = [word for word in one.variant.split("+") if word not in UNMODIFIED]
        assert (
            words and all(word in VARIANTS.get(arch, {}) or word in available(arch) for word in words)
        ) or one.variant in UNMODIFIED
        assert one.release in recorded.open_recorded(one.name, arch).release
