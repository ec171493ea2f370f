"""The recorder without a kernel: what it needs from the host, how it reads the guest, and the evidence it has left."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from pathlib import Path

import pytest
from conftest import KO, ROOT

from klpteach import ModuleFile, Recording, replay
from klpteach.cli import main
from klpteach.files.samples import open_ko
from klpteach.scenarios.course import SCENARIOS
from klpteach.scenarios.evidence import evidence
from klpteach.scenarios.proposals import ON_ANY_KERNEL
from klpteach.vm.fetch import FetchedKernel
from klpteach.vm.host import HostError, need, need_room
from klpteach.vm.initramfs import cpio, site_list
from klpteach.vm.qemu import GuestError, boot
from klpteach.vm.record import outcome, step_of

RECORDINGS = sorted((ROOT / "data" / "recordings" / "x86_64").glob("*.json"))
every_recording = pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)


# -- the evidence -----------------------------------------------------------------------------------------------------------


# A difference that is known: what the model says, and why the kernel need not. Each fails when it stops being true.
KNOWN = {
    "no-alloc--6.12--REFUSED": (
        ["step 1 (insmod livepatch_nfsd_demo+section-not-alloc.ko): oops: True != False"],
        "the kernel reads memory that it has freed: it may fault, or find whatever is there (here a symbol without a name)",
    )
}


@every_recording
def test_the_model_does_what_the_real_kernel_did(path: Path) -> None:
    _, differences = replay(Recording.load(path))
    assert [str(d) for d in differences] == KNOWN.get(path.stem, ([], ""))[0]


def test_every_known_difference_is_about_a_recording_that_is_here() -> None:
    assert set(KNOWN) <= {path.stem for path in RECORDINGS}


@every_recording
def test_a_recordings_name_says_its_story_its_kernel_and_its_outcome(path: Path) -> None:
    recording = Recording.load(path)
    assert path.stem == f"{recording.scenario}--{recording.release}--{outcome(recording)}"
    assert recording.source == "real kernel" and "Linux version" in recording.kernel["banner"]


@every_recording
def test_a_recording_was_made_with_the_modules_that_are_here(path: Path) -> None:
    recording = Recording.load(path)
    folder = KO / f"{recording.arch}-{recording.release}"
    assert recording.files == {name: hashlib.sha256(open_ko(folder, name).data).hexdigest() for name in recording.files}


def test_every_story_is_recorded_on_every_kernel() -> None:
    recorded = {tuple(path.stem.split("--")[:2]) for path in RECORDINGS}
    assert recorded == {
        (name, release) for name in [*SCENARIOS, *evidence(), *ON_ANY_KERNEL] for release in ("6.1", "6.12")
    }


def test_all_recordings_together_stay_under_12_megabytes() -> None:
    assert sum(path.stat().st_size for path in (ROOT / "data" / "recordings").rglob("*.json")) < 12_000_000


@every_recording
def test_no_path_of_the_recording_machine_is_in_a_recording(path: Path) -> None:
    assert not re.search(r"/(home|root|work|tmp)/", path.read_text())


# -- the guest's words ------------------------------------------------------------------------------------------------------


def raw_step(**more: object) -> dict[str, object]:
    return {
        "step": 0,
        "command": "insmod nfsd_demo.ko",
        "errno": -8,
        "kmsg": [
            "7,500,1000,-;final section addresses:",
            "7,501,1001,-;\\x090xffffffffc0201000 .text",
            "3,502,1002,-;module: x86/modules: Skipping invalid relocation target\n SUBSYSTEM=module\n",
            "4,503,1003,-;clocksource: timekeeping watchdog",
        ],
        **more,
    }


def test_a_step_has_the_lines_of_the_story_and_no_others() -> None:
    files = {"nfsd_demo.ko": ModuleFile.open(KO / "x86_64-6.1" / "nfsd_demo.ko")}
    step = step_of(raw_step(), files, separate=False)
    assert step.dmesg == [(3, "module: x86/modules: Skipping invalid relocation target")]
    assert step.placement == {"nfsd_demo": {"core": 0xFFFFFFFFC0201000}} and step.modules is None


def test_a_step_that_was_looked_at_has_the_kernels_tables() -> None:
    seen = raw_step(
        errno=0,
        modules="livepatch_dep_demo 16384 1 - Live 0xffffffffc020a000 (OEK)\nnfsd_demo 16384 1 livepatch_dep_demo, Live 0xffffffffc0201000 (OE)\n",
        livepatch={"lp": None, "lp/enabled": "1\n", "lp/transition": "0\n", "lp/force": "", "lp/nfsd_demo": None,
                   "lp/nfsd_demo/patched": "1\n", "lp/nfsd_demo/demo_show,1": None},
        sections={"nfsd_demo": {".text": "0xffffffffc0201000\n"}},
        kallsyms=["ffffffffc0201000 t demo_show\t[nfsd_demo]"],
        sites={"lp:.text+0x15": "0bd0ffff"},
    )  # fmt: skip
    step = step_of(seen, {}, separate=False)
    assert [row["used_by"] for row in step.modules or ()] == [[], ["livepatch_dep_demo"]]
    assert step.livepatch == {
        "lp": {"objects": {"nfsd_demo": {"functions": ["demo_show,1"], "patched": 1}}, "enabled": 1, "transition": 0}
    }
    assert step.symbols == {"nfsd_demo": [(0xFFFFFFFFC0201000, "t", "demo_show")]}
    assert step.sites == {"lp:.text+0x15": bytes.fromhex("0bd0ffff")}


def test_the_archive_is_what_cpio_would_unpack(tmp_path: Path) -> None:
    if not shutil.which("cpio"):
        pytest.skip("cpio is not installed")
    import subprocess

    subprocess.run(
        ["cpio", "-i", "--quiet"], input=cpio({"ko": None, "ko/a.ko": b"abc", "init": b"x"}), cwd=tmp_path, check=True
    )
    assert (tmp_path / "ko" / "a.ko").read_bytes() == b"abc" and os.access(tmp_path / "init", os.X_OK)


def test_the_site_list_names_every_livepatch_relocation_of_a_file_that_bears_its_modules_name() -> None:
    folder = KO / "x86_64-6.1"
    rows = site_list([open_ko(folder, "livepatch_nfsd_demo.ko"), open_ko(folder, "nfsd_demo_failinit.ko")]).splitlines()
    assert len(rows) == 10 and rows[0] == "livepatch_nfsd_demo .text 17 4"


# -- the host ---------------------------------------------------------------------------------------------------------------


def test_a_missing_program_is_named_with_its_package() -> None:
    with pytest.raises(HostError, match="qemu-system-nonsense not found"):
        need("qemu-system-nonsense")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", "/nowhere")
        with pytest.raises(HostError, match="apt-get install qemu-system-x86"):
            need("qemu-system-x86_64")


def test_a_full_disk_is_said_before_anything_is_downloaded(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="MiB are free"):
        need_room(tmp_path, 1 << 40)


def test_without_qemu_a_story_ends_in_one_line_and_status_2(capsys, monkeypatch, tmp_path: Path) -> None:
    vmlinuz = tmp_path / "kernels" / "x86_64-6.1" / "linux-image" / "boot" / "vmlinuz-6.1.0-1-amd64"
    vmlinuz.parent.mkdir(parents=True)
    vmlinuz.write_bytes(b"")
    monkeypatch.setenv("KLPTEACH_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", "/nowhere")
    assert main(["vm", "run", "reload"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "apt-get install" in err


def test_a_guest_that_never_boots_is_ended_and_its_console_told(tmp_path: Path) -> None:
    if not shutil.which("qemu-system-x86_64"):
        pytest.skip("qemu-system-x86_64 is not installed")
    (tmp_path / "vmlinuz").write_bytes(b"\0" * 4096)
    with pytest.raises(GuestError, match="the guest gave 0 steps"):
        boot(tmp_path / "vmlinuz", b"", timeout=3)


@pytest.mark.skipif(not os.environ.get("KLPTEACH_LIVE"), reason="KLPTEACH_LIVE is not set: no real kernel is booted")
def test_a_real_kernel_refuses_the_reload_and_the_model_agrees() -> None:
    from klpteach.scenarios.simulate import get
    from klpteach.vm.fetch import fetch
    from klpteach.vm.record import record

    try:
        need("qemu-system-x86_64", "gcc")
        kernel: FetchedKernel = fetch("6.1")
    except HostError as error:
        pytest.skip(f"SKIPPED, no real kernel was booted: {error}")
    live = record(get("reload"), kernel.release)
    assert [step.errno for step in live] == [0, 0, 0, -8]
    assert replay(live)[1] == []
