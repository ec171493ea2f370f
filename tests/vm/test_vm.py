"""The recorder without a kernel: what it needs from the host, how it reads the guest, and the evidence it has left."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest
from conftest import KO, ROOT

from klpteach import ModuleFile, Recording, replay
from klpteach.cli import main
from klpteach.files.samples import ko_dir, open_ko
from klpteach.model.arch.ppc64le import Ppc64le
from klpteach.model.arch.stubs import MAGIC
from klpteach.model.step import Step
from klpteach.scenarios.course import SCENARIOS
from klpteach.scenarios.evidence import evidence
from klpteach.scenarios.proposals import ON_ANY_KERNEL
from klpteach.scenarios.simulate import get
from klpteach.vm.apt import Apt
from klpteach.vm.fetch import fetch
from klpteach.vm.host import HostError, need, need_room
from klpteach.vm.initramfs import cpio
from klpteach.vm.kernels import RECORDED, kernel_named
from klpteach.vm.qemu import GuestError, GuestKernel, boot
from klpteach.vm.record import file_name, outcome, record, site_list, step_of, write_exports

RECORDINGS = sorted((ROOT / "data" / "recordings" / "x86_64").glob("*.json"))
KERNEL = GuestKernel("x86_64", "6.1", "stock", Path("vmlinuz"), Path("config"))


# -- the evidence -----------------------------------------------------------------------------------------------------------


# A difference that is known: what the model says, and why the kernel need not. Each fails when it stops being true.
KNOWN = {
    "no-alloc--6.12--REFUSED": (
        ["step 1 (insmod livepatch_nfsd_demo+section-not-alloc.ko): oops: True != False"],
        "the kernel reads memory that it has freed: it may fault, or find whatever is there (here a symbol without a name)",
    )
}


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_the_model_does_what_the_real_kernel_did(path: Path) -> None:
    _, differences = replay(Recording.load(path))
    assert [str(d) for d in differences] == KNOWN.get(path.stem, ([], ""))[0]


def test_every_known_difference_is_about_a_recording_that_is_here() -> None:
    assert set(KNOWN) <= {path.stem for path in RECORDINGS}


def test_a_recordings_name_says_its_story_its_kernel_and_its_outcome() -> None:
    for path in RECORDINGS:
        recording = Recording.load(path)
        assert path.stem == f"{recording.scenario}--{recording.release}--{outcome(recording)}"
        assert file_name(recording) == path.name
        assert recording.source == "real kernel" and "Linux version" in recording.kernel["banner"], path.name


def test_a_recording_was_made_with_the_modules_that_are_here() -> None:
    for path in RECORDINGS:
        recording = Recording.load(path)
        folder = KO / f"{recording.arch}-{recording.release}"
        here = {name: hashlib.sha256(open_ko(folder, name).data).hexdigest() for name in recording.files}
        assert recording.files == here, path.name


@pytest.mark.parametrize("arch", RECORDED)
def test_every_story_is_recorded_on_every_kernel_that_it_concerns(arch: str) -> None:
    how, paths = RECORDED[arch], (ROOT / "data" / "recordings" / arch).glob("*.json")
    recorded = {tuple(path.stem.split("--")[:2]) for path in paths}
    assert recorded == {(name, how.name(*key)) for name in how.stories for key in how.concerned(name)}


def test_on_debians_kernels_every_story_is_recorded_but_those_of_kpatch_on_7_3() -> None:
    how, stories = RECORDED["x86_64"], {*SCENARIOS, *evidence(), *ON_ANY_KERNEL}
    assert set(how.stories) == stories
    not_on_every = {name for name in stories if len(how.concerned(name)) < len(how.kernels)}
    assert all(name.startswith("kpatch-") for name in not_on_every)


@pytest.mark.parametrize(
    ("arch", "release"), [(arch, key[0]) for arch in RECORDED for key in RECORDED[arch].kernels if key[1] == "stock"]
)
def test_the_recordings_and_the_modules_make_the_list_of_exports_that_is_here(
    arch: str, release: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = KO / f"{arch}-{release}"
    shutil.copytree(here, tmp_path / here.name, ignore=shutil.ignore_patterns("*.txt"))
    monkeypatch.setattr("klpteach.vm.record.ko_dir", lambda arch, release, variant: tmp_path / here.name)
    write_exports(arch, release, ROOT / "data" / "recordings" / arch)
    name = "vmlinux-exports.txt"
    assert (tmp_path / here.name / name).read_text() == (here / name).read_text()


def test_all_recordings_together_stay_under_20_megabytes() -> None:
    assert sum(path.stat().st_size for path in (ROOT / "data" / "recordings").rglob("*.json")) < 20_000_000


def test_no_path_of_the_recording_machine_is_in_a_recording() -> None:
    for path in RECORDINGS:
        assert not re.search(r"/(home|root|work|tmp)/", path.read_text()), path.name


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
    step = step_of(raw_step(), KERNEL, files)
    assert step.dmesg == [(3, "module: x86/modules: Skipping invalid relocation target")]
    assert step.placement == {"nfsd_demo": {"core": 0xFFFFFFFFC0201000}} and step.modules is None


def test_a_step_that_was_looked_at_has_the_kernels_tables() -> None:
    seen = raw_step(
        errno=0,
        modules="livepatch_dep_demo 16384 1 - Live 0xffffffffc020a000 (OEK)\nnfsd_demo 16384 1 livepatch_dep_demo, Live 0xffffffffc0201000 (OE)\n",
        livepatch={"lp": None, "lp/enabled": "1\n", "lp/transition": "0\n", "lp/force": "", "lp/nfsd_demo": None,
                   "lp/nfsd_demo/patched": "1\n", "lp/nfsd_demo/demo_show,1": None},
        sections={"nfsd_demo": {".text": "0xffffffffc0201000\n"}},
        kallsyms=["ffffffffc0201000 t demo_show\t[nfsd_demo]", "ffffffffc0300000 t trampoline\t[__builtin__ftrace]"],
        sites={"lp:.text+0x15": "0bd0ffff"},
    )  # fmt: skip
    files = {"nfsd_demo.ko": ModuleFile.open(KO / "x86_64-6.1" / "nfsd_demo.ko")}
    step = step_of(seen, KERNEL, files)
    assert [row["used_by"] for row in step.modules or ()] == [[], ["livepatch_dep_demo"]]
    assert step.livepatch == {
        "lp": {"objects": {"nfsd_demo": {"functions": ["demo_show,1"], "patched": 1}}, "enabled": 1, "transition": 0}
    }
    assert step.symbols == {"nfsd_demo": [(0xFFFFFFFFC0201000, "t", "demo_show")]}
    assert step.sites == {"lp:.text+0x15": bytes.fromhex("0bd0ffff")}


def as_the_agent_said_it(step: Step, live: str) -> dict[str, Any]:
    """The agent's line that a step was made from: kallsyms, the bytes of the tables of stubs, the kernel's debug lines."""
    rows = [
        f"{address:x} {kind} {name}" + ("" if module == "vmlinux" else f"\t[{module}]")
        for module, table in (step.symbols or {}).items()
        for address, kind, name in table
    ]
    said = {
        "command": step.command,
        "errno": step.errno,
        "modules": "",
        "livepatch": {},
        "sections": {},
        "kallsyms": rows,
    }
    placed = [f"7,1,1,-;\\x090x{address:x} {name}" for name, address in (step.sections or {})[live].items()]
    heading = f"7,1,0,-;Final section addresses for {live}:"
    said |= {
        "kmsg": [heading, *placed] if step.placement else [],
        "sites": {key: data.hex() for key, data in (step.sites or {}).items()},
    }
    if step.stubs is not None:
        said["stubs"] = {name: bytes_of_stubs(table["entries"]).hex() for name, table in step.stubs.items()}
    return said


def bytes_of_stubs(entries: list[Any]) -> bytes:
    """A table and what is behind it: .plt of arm64 as it is; GOT and PLT of s390x, and ppc64_stub_entry, with the code left out."""
    if any(isinstance(entry, str) for entry in entries):
        return b"".join(map(bytes.fromhex, entries))
    if any("of" in entry for entry in entries):
        return b"".join(
            bytes(14 * entry["of"].startswith("PLT")) + int(entry["funcdata"], 16).to_bytes(8, "big")
            for entry in entries
        )
    addresses = [int(entry["funcdata"], 16) for entry in entries] + [0] * Ppc64le.stubs_behind
    return b"".join(struct.pack("<28xIQ", MAGIC if address else 0, address) for address in addresses)


@pytest.mark.parametrize("arch", RECORDED)
def test_what_the_agent_said_becomes_the_recordings_step_again(arch: str) -> None:
    seen, paths = 0, (ROOT / "data" / "recordings" / arch).glob("*.json")
    for path in (
        path
        for path in paths
        if path.name.split("--")[0] in ("reload", "late", "moved", "moved-40", "cumulative", "percpu", "edge")
    ):
        recording = Recording.load(path)
        kernel = GuestKernel(arch, recording.release, recording.kernel["variant"], path, path)
        folder = ko_dir(arch, recording.release)
        files = {name: open_ko(folder, name) for name in recording.files}
        for number, step in enumerate(recording):
            live = files[step.command.split()[1]].name if step.command.startswith("insmod") else ""
            if step.errno == 0 and step.symbols and live in (step.sections or {}):
                again = step_of(as_the_agent_said_it(step, live), kernel, files)
                where = f"{path.name}, step {number}"
                assert again.placement == step.placement, where
                assert (again.stubs, again.symbols, again.sites) == (step.stubs, step.symbols, step.sites), where
                seen += 1
    assert seen > 20


def test_the_archive_is_what_cpio_would_unpack(tmp_path: Path) -> None:
    if not shutil.which("cpio"):
        pytest.skip("cpio is not installed")
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


def test_a_kernel_that_is_not_recorded_is_refused_with_those_that_are() -> None:
    with pytest.raises(HostError, match=r"no x86_64 kernel '5\.3'; there are 6\.1, 6\.12, 7\.3, 6\.1-small"):
        kernel_named("5.3")
    with pytest.raises(HostError, match=r"no ppc64le kernel 'ppc64le-6\.1-fast'; there are 6\.1-stock, 6\.1-clear"):
        kernel_named("ppc64le-6.1-fast")


def test_a_kept_kernel_that_was_changed_is_not_booted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KLPTEACH_CACHE", str(tmp_path))
    image = tmp_path / "kernels" / "x86_64-6.1" / "linux-image-6.1.0-56-amd64" / "boot" / "vmlinuz-6.1.0-56-amd64"
    image.parent.mkdir(parents=True)
    image.write_bytes(b"kernel")
    (image.parents[1] / "SHA256").write_text(hashlib.sha256(b"kernel").hexdigest() + "\n")
    assert fetch("6.1").image == image
    image.write_bytes(b"Kernel")
    with pytest.raises(HostError, match="not the kernel that was fetched"):
        fetch("6.1")


@pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="dpkg-deb is not installed")
def test_a_kernel_that_is_in_several_packages_is_kept_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KLPTEACH_CACHE", str(tmp_path / "cache"))
    version, inside = "7.3.9+deb13-amd64", {"linux-binary": "vmlinuz", "linux-base": "config"}

    class Packages:
        def newest(self, pattern: str) -> str:
            assert re.fullmatch(pattern, f"linux-binary-{version}")
            return f"linux-binary-{version}"

        def download(self, name: str, into: Path) -> Path:
            tree, deb = tmp_path / name, into / f"{name}.deb"
            modules = tree / "usr/lib/modules" / version
            modules.mkdir(parents=True)
            (modules / inside[name.removesuffix(f"-{version}")]).write_text("CONFIG_LIVEPATCH=y\n")
            (tree / "DEBIAN").mkdir()
            (tree / "DEBIAN/control").write_text(
                "Package: x\nVersion: 1\nArchitecture: all\nMaintainer: x <x@x>\nDescription: x\n"
            )
            subprocess.run(["dpkg-deb", "--build", tree, deb], check=True, capture_output=True)
            return deb

    monkeypatch.setattr("klpteach.vm.fetch.apt_for", lambda release: Packages())
    kernel = fetch("7.3")
    assert kernel.image.name == f"vmlinuz-{version}" and kernel.config == {"LIVEPATCH"}
    assert sorted(path.name for path in kernel.image.parents[1].iterdir()) == ["SHA256", "boot"]


def test_a_package_that_apts_list_does_not_know_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deb = tmp_path / "linux-image-6.1.0-56-amd64_6.1.192-2_amd64.deb"
    deb.write_bytes(b"package")
    listed = f"Package: x\nSHA256: {hashlib.sha256(b'package').hexdigest()}\n"
    monkeypatch.setattr(
        "klpteach.vm.apt.run", lambda *words, **_: listed if words[2] == "linux-image-6.1.0-56-amd64" else ""
    )
    Apt().check(deb)
    deb.write_bytes(b"Package")
    with pytest.raises(HostError, match="another sha256 than apt's list"):
        Apt().check(deb)


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
        boot(RECORDED["x86_64"].machine, tmp_path / "vmlinuz", b"", timeout=3)


@pytest.mark.skipif(not os.environ.get("KLPTEACH_LIVE"), reason="KLPTEACH_LIVE is not set: no real kernel is booted")
def test_a_real_kernel_refuses_the_reload_and_the_model_agrees() -> None:
    try:
        need("qemu-system-x86_64", "gcc")
        kernel = fetch("6.1")
    except HostError as error:
        pytest.skip(f"SKIPPED, no real kernel was booted: {error}")
    live = record(get("reload"), kernel.release)
    assert [step.errno for step in live] == [0, 0, 0, -8]
    assert replay(live)[1] == []
