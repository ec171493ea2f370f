"""A reader's own modules on a real kernel: what is checked before it boots, what is loaded, and how it is told. No QEMU here."""

from __future__ import annotations

import io
import lzma
import os
import re
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import KO, ROOT

import klpteach as kt
from klpteach import KlpteachError, ModuleFile, Recording
from klpteach.cli import main
from klpteach.files.write import ElfImage
from klpteach.model.policy import default_release
from klpteach.scenarios.recorded import evidence
from klpteach.vm import own
from klpteach.vm.beside import beside, table
from klpteach.vm.fetch import debian_modules
from klpteach.vm.host import HostError
from klpteach.vm.kernels import RECORDED
from klpteach.vm.own import check_vermagic, own_modules, stories_for_own, story_with
from klpteach.vm.qemu import Guest, GuestKernel

FOLDER = KO / "x86_64-6.1"
FIELD = ROOT.parent / "shared" / "field"
RELEASE = ModuleFile.open(FOLDER / "nfsd_demo.ko").modinfo["vermagic"].split()[0]


def opened(name: str) -> ModuleFile:
    return ModuleFile.open(FOLDER / name)


def changed(file: ModuleFile, name: str = "", **modinfo: str) -> ModuleFile:
    """The file with other words in .modinfo, and another module name."""
    image = ElfImage.parse(file.data)
    words = file.modinfo | modinfo | ({"name": name} if name else {})
    section = next(s for s in image.sections if s.name == ".modinfo")
    section.body = b"".join(f"{key}={value}".encode() + b"\0" for key, value in words.items())
    if name:
        this = next(s for s in image.sections if s.name == ".gnu.linkonce.this_module")
        at = this.body.index(file.name.encode())
        this.body = this.body[:at] + name.encode().ljust(56, b"\0") + this.body[at + 56 :]
    return ModuleFile(image.to_bytes(), f"{name or file.name}.ko")


@pytest.fixture
def kernel(tmp_path: Path) -> GuestKernel:
    """A kernel that is in the cache, with a package of modules: sunrpc, and lockd-demo that depends on it."""
    folder = tmp_path / "linux-image-x"
    (folder / "boot").mkdir(parents=True)
    (folder / "boot" / f"config-{RELEASE}").write_text("CONFIG_MODULE_SIG=y\n")
    (folder / "package.deb").write_bytes(b"a package")
    (folder / "boot" / f"vmlinuz-{RELEASE}").write_bytes(b"")
    boot = folder / "boot"
    return GuestKernel("x86_64", "6.1", "stock", boot / f"vmlinuz-{RELEASE}", boot / f"config-{RELEASE}")


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Instead of dpkg-deb: the archive that it would write; yields a list that counts the passes."""
    passes: list[str] = []
    sunrpc = changed(opened("filler4k.ko"), "sunrpc").data
    lockd = changed(opened("filler4k.ko"), "snd_lockd", depends="sunrpc").data
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, data in (("net/sunrpc.ko.xz", lzma.compress(sunrpc)), ("fs/snd-lockd.ko", lockd), ("fs/README", b"")):
            member = tarfile.TarInfo(f"./lib/modules/x/kernel/{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))

    class Unpacker:
        def __init__(self, command: list[str], stdout: int) -> None:
            passes.append(str(command[0]))
            self.stdout = io.BytesIO(stream.getvalue())

        def __enter__(self) -> Unpacker:
            return self

        def __exit__(self, *error: object) -> None: ...

        def kill(self) -> None: ...

    monkeypatch.setattr("klpteach.vm.fetch.subprocess.Popen", Unpacker)
    monkeypatch.setattr("klpteach.vm.fetch.need", lambda *programs: None)
    yield passes


# -- which files, in which order --------------------------------------------------------------------------------------------


def test_the_target_is_what_the_livepatch_patches_and_all_others_come_before(kernel: GuestKernel) -> None:
    patch = opened("livepatch_kpatch_two.ko")
    found = own_modules(patch, [opened("acl_demo.ko"), opened("nfsd_demo.ko")], kernel)
    assert (found.target.name, [file.name for file in found.before]) == ("acl_demo", ["nfsd_demo"])
    assert found.notes == ()
    assert [file.name for file in found.files] == ["nfsd_demo", "acl_demo", "livepatch_kpatch_two"]


def test_a_module_that_uses_the_target_is_left_out_and_named(kernel: GuestKernel) -> None:
    """acl_demo calls what nfsd_demo exports: with it there, nfsd_demo could not be removed."""
    found = own_modules(opened("livepatch_kpatch_two.ko"), [opened("nfsd_demo.ko"), opened("acl_demo.ko")], kernel)
    assert [file.name for file in found.files] == ["nfsd_demo", "livepatch_kpatch_two"]
    assert found.notes == ("acl_demo uses nfsd_demo, which could not be removed then: it is not loaded.",)


def test_what_the_target_depends_on_is_taken_from_the_package_and_loaded_in_order(
    kernel: GuestKernel, package: list[str]
) -> None:
    target = changed(opened("nfsd_demo.ko"), depends="snd-lockd,sunrpc")
    found = own_modules(opened("livepatch_nfsd_demo.ko"), [target], kernel)
    assert [file.filename for file in found.before] == ["sunrpc.ko", "snd_lockd.ko"]
    assert found.notes == ("snd_lockd, sunrpc: Debian's own, of the kernel's package.",)
    own_modules(opened("livepatch_nfsd_demo.ko"), [target], kernel)
    assert package == ["dpkg-deb"], "the second time they are in the cache"


def test_a_dependency_that_is_given_is_not_fetched(kernel: GuestKernel, package: list[str]) -> None:
    target = changed(opened("nfsd_demo.ko"), depends="lockd_demo")
    found = own_modules(opened("livepatch_nfsd_demo.ko"), [opened("lockd_demo.ko"), target], kernel)
    assert ([file.name for file in found.before], package) == (["lockd_demo"], [])


def test_a_circle_of_dependencies_comes_to_an_end(kernel: GuestKernel) -> None:
    target = changed(opened("nfsd_demo.ko"), depends="lockd_demo")
    circle = changed(opened("lockd_demo.ko"), depends="nfsd_demo,lockd_demo")
    found = own_modules(opened("livepatch_nfsd_demo.ko"), [target, circle], kernel)
    assert [file.name for file in found.before] == ["lockd_demo"]


def test_without_the_package_the_missing_modules_are_named(
    kernel: GuestKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    (kernel.image.parent.parent / "package.deb").unlink()
    monkeypatch.setenv("PATH", "/nowhere")
    target = changed(opened("nfsd_demo.ko"), depends="sunrpc,lockd")
    with pytest.raises(
        HostError, match=r"^sunrpc, lockd must be loaded too, and cannot be fetched: .*apt-get.* Give each"
    ):
        own_modules(opened("livepatch_nfsd_demo.ko"), [target], kernel)


def test_a_module_that_the_package_has_not_is_named(kernel: GuestKernel, package: list[str]) -> None:
    with pytest.raises(HostError, match=r"linux-image-x has no module nonsense\."):
        debian_modules(kernel, ["sunrpc", "nonsense"])


def test_another_kernel_than_debians_has_no_package(kernel: GuestKernel) -> None:
    with pytest.raises(HostError, match=r"no package of modules for ppc64le 6\.1 clear"):
        debian_modules(replace(kernel, arch="ppc64le", variant="clear"), ["sunrpc"])


def test_files_that_do_not_belong_together_are_refused_in_one_line(kernel: GuestKernel) -> None:
    patch, target = opened("livepatch_nfsd_demo.ko"), opened("nfsd_demo.ko")
    for ko, targets, words in (
        (target, [], r"nfsd_demo\.ko is not a livepatch"),
        (opened("livepatch_vmlinux.ko"), [], "nothing to remove|must be loaded|no module"),
        (patch, [opened("lockd_demo.ko")], r"patches nfsd_demo; none of lockd_demo is that\. Try: --target nfsd_demo\.ko"),
        (patch, [target, opened("lockd_demo.ko")], r"lockd_demo: neither patched by livepatch_nfsd_demo\.ko nor needed"),
        (ModuleFile.open(KO / "ppc64le-6.1" / "livepatch_nfsd_demo.ko"), [target], "made for ppc64le, this kernel is x86_64"),
        (patch, [changed(target, vermagic="7.3.4 SMP preempt mod_unload ")], r"'7\.3\.4 SMP preempt mod_unload'.*version magic"),
    ):  # fmt: skip
        with pytest.raises(KlpteachError, match=words) as caught:
            own_modules(ko, targets, kernel)
        assert "\n" not in str(caught.value)


# -- the version magic --------------------------------------------------------------------------------------------------------


def test_the_samples_are_built_for_the_kernel_that_they_are_recorded_on(kernel: GuestKernel) -> None:
    assert check_vermagic(opened("nfsd_demo.ko"), kernel) == []


def test_with_crcs_another_release_is_left_to_them(kernel: GuestKernel) -> None:
    image = kernel.image.with_name("vmlinuz-6.1.0-99-amd64")
    (note,) = check_vermagic(opened("nfsd_demo.ko"), replace(kernel, image=image))
    assert (
        note == f"nfsd_demo.ko is built for {RELEASE}, this kernel is 6.1.0-99-amd64: the CRCs of its symbols decide."
    )


def test_a_struct_module_of_another_kernel_is_known_by_its_crc(kernel: GuestKernel) -> None:
    other = ModuleFile.open(KO / "x86_64-6.12" / "nfsd_demo.ko")
    with pytest.raises(
        KlpteachError, match=r'"disagrees about version of symbol module_layout".* Try: --kernel 6\.12$'
    ):
        check_vermagic(other, kernel)


def test_without_a_version_magic_a_module_is_refused(kernel: GuestKernel) -> None:
    with pytest.raises(KlpteachError, match="is without a version magic"):
        check_vermagic(changed(opened("nfsd_demo.ko"), vermagic=""), kernel)


@pytest.mark.skipif(not FIELD.exists(), reason="no modules in ../shared/field")
def test_a_livepatch_for_another_kernel_is_said_before_anything_boots(kernel: GuestKernel) -> None:
    with pytest.raises(KlpteachError, match=r"livepatch_tun\.ko is built for '7\.3\.4 SMP preempt mod_unload'"):
        own_modules(ModuleFile.open(FIELD / "livepatch_tun.ko"), [ModuleFile.open(FIELD / "tun.ko")], kernel)


@pytest.mark.skipif(not FIELD.exists(), reason="no modules in ../shared/field")
def test_a_livepatch_that_looks_up_another_modules_symbols_has_that_loaded(
    kernel: GuestKernel, package: list[str]
) -> None:
    patch = changed(
        ModuleFile.open(FIELD / "livepatch_nfsd_export.ko"), vermagic=opened("nfsd_demo.ko").modinfo["vermagic"]
    )
    nfsd = changed(opened("nfsd_demo.ko"), "nfsd")
    found = own_modules(patch, [nfsd], kernel)
    assert [file.name for file in found.files] == ["sunrpc", "nfsd", "livepatch_nfsd_export"]


# -- the story ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arch", RECORDED)
def test_a_story_of_own_modules_is_the_courses_with_other_names(arch: str) -> None:
    folder = KO / f"{arch}-{default_release(arch)}"
    files = [ModuleFile.open(folder / f"{name}.ko") for name in ("livepatch_nfsd_demo", "nfsd_demo", "lockd_demo")]
    mine = own.Own(changed(files[0], "livepatch_x"), changed(files[1], "xfs"), (files[2],), ())
    for name, story in stories_for_own(arch).items():
        told = story_with(name, mine, arch).commands
        back = [re.sub(r"\bxfs\b", "nfsd_demo", re.sub("livepatch_x", "livepatch_nfsd_demo", line)) for line in told]
        assert back == ["insmod lockd_demo.ko", *story.commands], name
    told = story_with("disabled", mine, arch).commands
    assert told[1:] == ("insmod xfs.ko", "insmod livepatch_x.ko", "echo 0 > /sys/kernel/livepatch/livepatch_x/enabled",
                        "rmmod xfs", "insmod xfs.ko")  # fmt: skip


def test_a_story_about_other_modules_is_refused_with_those_that_can_be_told(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("foreign-write", "dependency", "cumulative", "init-fails"):
        assert main(["vm", "run", name, "--ko", str(FOLDER / "livepatch_nfsd_demo.ko")]) == 2
        err = capsys.readouterr().err
        assert f"the story {name} is about modules of the course" in err and "reload, late, moved" in err


# -- told: a guest that is not one --------------------------------------------------------------------------------------------


def heard_from(recording: Recording, says: dict[int, tuple[int, str]] | None = None) -> Recording:
    """A recording with lines of a module's own code in it: step -> (level, line)."""
    steps = [replace(step, dmesg=list(step.dmesg)) for step in recording]
    for number, line in (says or {}).items():
        steps[number].dmesg.insert(0, line)
    return replace(recording, steps=steps)


SAMPLES = [opened("nfsd_demo.ko"), opened("livepatch_nfsd_demo.ko")]


def test_what_a_modules_own_code_prints_is_shown_and_not_compared() -> None:
    found = beside(heard_from(evidence("reload--6.1--REFUSED"), {0: (6, "nfsd_demo: here I am \x1b[31m")}), SAMPLES)
    lines = list(table(found))
    assert found.differences == [] and lines[-1] == "4 steps, 0 differences"
    assert "      module  nfsd_demo: here I am \\x1b[31m" in lines
    assert sum(line.startswith("      both    livepatch: ") for line in lines) >= 5
    assert re.search(r"^   3  insmod nfsd_demo\.ko +ENOEXEC \(-8\) +ENOEXEC \(-8\)$", "\n".join(lines), re.M)


def test_a_line_of_the_loader_that_the_model_does_not_say_is_a_difference() -> None:
    says = {0: (3, "nfsd_demo: disagrees about version of symbol module_layout")}
    found = beside(heard_from(evidence("reload--6.1--REFUSED"), says), SAMPLES)
    lines = list(table(found))
    assert (
        len(found.differences) >= 1
        and "      kernel  nfsd_demo: disagrees about version of symbol module_layout" in lines
    )
    assert any(line.startswith("      model   nfsd_demo: loading out-of-tree") for line in lines)


def test_an_init_that_fails_by_itself_is_told_to_the_model_and_said() -> None:
    recording = replace(evidence("init-fails--6.1--REFUSED"), init_errno={})
    name = "nfsd_demo_failinit.ko"
    files = [*SAMPLES, ModuleFile(changed(opened(name), note="of a reader").data, "own_failinit.ko")]
    steps = [replace(step, command=step.command.replace(name, "own_failinit.ko")) for step in recording]
    digests = {n: d for n, d in recording.files.items() if n != name}
    found = beside(replace(recording, steps=steps, files=digests), files)
    assert found.differences == []
    assert found.notes == (
        "init() of own_failinit.ko returned ENODEV in the guest; no file tells that, and the model was told.",
    )


def test_a_target_that_something_holds_is_said() -> None:
    recording = heard_from(evidence("reload--6.1--REFUSED"))
    recording.steps[2].errno = -11
    assert "nfsd_demo cannot be removed here" in " ".join(beside(recording, SAMPLES).notes)


def as_guest(monkeypatch: pytest.MonkeyPatch, kernel: GuestKernel) -> list[bytes]:
    """Nothing boots: what the guest was given is kept, and the recording of the course's story comes back."""
    given: list[bytes] = []

    def from_guest(scenario: object, kernel: object, guest: object, files: object, proposals: object) -> Recording:
        return evidence("reload--6.1--REFUSED")

    def boot(machine: object, image: object, archive: bytes, timeout: float, watch: object, cmdline: str) -> Guest:
        given.append(archive)
        return Guest([], "")

    monkeypatch.setattr("klpteach.vm.record.boot", boot)
    monkeypatch.setattr("klpteach.vm.record.from_guest", from_guest)
    monkeypatch.setattr("klpteach.vm.initramfs.build_agent", lambda arch: kernel.config_file)
    monkeypatch.setitem(RECORDED, "x86_64", replace(RECORDED["x86_64"], kernel=lambda release, variant: kernel))
    return given


def test_vm_run_with_own_files_prints_one_table_and_the_guest_sees_nothing_else(
    kernel: GuestKernel, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    given = as_guest(monkeypatch, kernel)
    renamed = tmp_path / "mine-v2.ko.xz"
    renamed.write_bytes(lzma.compress(SAMPLES[1].data))
    argv = ["vm", "run", "reload", "--ko", str(renamed), "--target", str(FOLDER / "nfsd_demo.ko")]
    assert main([*argv, "--out", str(tmp_path / "rec.json")]) == 1
    out = capsys.readouterr().out.splitlines()
    assert out[1].split() == ["step", "command", "real", "kernel", "model"] and out[-1] == "4 steps, 0 differences"
    names = set(re.findall(rb"070701(?:[0-9a-f]{8}){13}([^\0]+)\0", given[0]))
    assert names == {
        b"dev",
        b"ko",
        b"init",
        b"story",
        b"sites",
        b"ko/nfsd_demo.ko",
        b"ko/livepatch_nfsd_demo.ko",
        b"TRAILER!!!",
    }
    assert b"insmod nfsd_demo.ko\ninsmod livepatch_nfsd_demo.ko\nrmmod nfsd_demo\ninsmod nfsd_demo.ko\n" in given[0]
    assert len(Recording.load(tmp_path / "rec.json")) == 4


def test_files_are_looked_at_before_a_kernel_is_fetched(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fetched(*_: object) -> GuestKernel:
        raise AssertionError("a kernel was asked for")

    monkeypatch.setitem(RECORDED, "x86_64", replace(RECORDED["x86_64"], kernel=fetched))
    assert main(["vm", "run", "reload", "--ko", str(FOLDER / "nfsd_demo.ko")]) == 2
    assert "nfsd_demo.ko is not a livepatch" in capsys.readouterr().err
    with pytest.raises(KlpteachError, match="is not a livepatch"):
        kt.try_real("reload", ko=FOLDER / "nfsd_demo.ko")


def test_a_target_alone_is_no_story(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["vm", "run", "reload", "--target", str(FOLDER / "nfsd_demo.ko")]) == 2
    assert "give that with --ko" in capsys.readouterr().err


def test_try_real_takes_own_files(kernel: GuestKernel, monkeypatch: pytest.MonkeyPatch) -> None:
    as_guest(monkeypatch, kernel)
    found = kt.try_real("reload", ko=FOLDER / "livepatch_nfsd_demo.ko", target=[SAMPLES[0].data])
    assert found.headline.startswith(
        "Run now on Debian's unmodified kernel 6.1.192 with livepatch_nfsd_demo.ko and nfsd_demo.ko."
    )
    assert found.differences == [] and "Model and kernel, 4 steps: no difference." in found.headline
    with pytest.raises(KlpteachError, match="One livepatch is tried at a time"):
        kt.try_real("reload", target=SAMPLES[0])


@pytest.mark.skipif(not os.environ.get("KLPTEACH_LIVE"), reason="KLPTEACH_LIVE is not set: no real kernel is booted")
@pytest.mark.skipif(not FIELD.exists(), reason="no modules in ../shared/field")
def test_a_real_livepatch_of_debians_nfsd_is_refused_and_the_model_agrees(capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["vm", "run", "reload", "--ko", str(FIELD / "livepatch_nfsd_export.ko")])
    out, err = capsys.readouterr()
    if status == 2:
        pytest.skip(f"no real kernel was booted: {err.splitlines()[-1]}")
    assert out.endswith("9 steps, 0 differences\n") and "      both    livepatch: failed to initialize patch" in out
    log = (FIELD / "real-dmesg-debian-6.1.192.txt").read_text()
    said = [line[14:] for line in out.splitlines() if line.startswith("      both    ") and "module 'nfsd'" in line]
    assert len(said) == 3 and all(line in log for line in said)
