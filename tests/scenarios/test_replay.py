"""The model against real kernels: every command of every recording, every line and byte that was seen."""

from __future__ import annotations

import copy
import re
from pathlib import Path

import pytest
from conftest import SHARED, shared_recordings

from klpteach import Recording, RecordingError, replay, simulate


@pytest.mark.parametrize("path", [*shared_recordings("x86_64"), *shared_recordings("ppc64le")])
def test_the_model_does_what_the_real_kernel_did(path: Path) -> None:
    ours, differences = replay(Recording.load(path), SHARED / "ko")
    assert [str(d) for d in differences] == []
    assert len(ours) > 0


# -- Debian's 7.3, recorded elsewhere with other sources of modules beside ours ------------------------------------------------

SEVEN = SHARED.parent / "linux-7.3"
NOT_GIVEN = {"extra--6.12": "its modules for 6.12 are not there"}
# What no file tells: eexist_demo's init() returns its parameter ret, -17 where insmod gives none; and what static_demo says.
RETURNED = {"eexist_demo.ko": -17, "eexist_demo.ko ret=-16": -16, "eexist_demo.ko ret=3": 3}
SAID = ("static_demo: call 2, per-CPU pointer right",)


def recordings_of_7_3() -> list[object]:
    found = sorted((SEVEN / "recordings").glob("*.json"))
    if not found:
        return [pytest.param(None, marks=pytest.mark.skip(reason="no recordings in ../shared/linux-7.3"))]
    skips = {name: pytest.mark.skip(reason=why) for name, why in NOT_GIVEN.items()}
    return [pytest.param(path, id=path.stem, marks=skips.get(path.stem, ())) for path in found]


@pytest.fixture(scope="module")
def ko_of_7_3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The modules of these recordings in one folder."""
    folder = tmp_path_factory.mktemp("ko") / "x86_64-7.3"
    folder.mkdir()
    for path in [*(SEVEN / "ko" / folder.name).iterdir(), *(SEVEN / "extra-ko").iterdir()]:
        (folder / path.name).symlink_to(path)
    return folder.parent


@pytest.mark.parametrize("path", recordings_of_7_3())
def test_the_model_does_what_debians_7_3_did(path: Path, ko_of_7_3: Path) -> None:
    recording = Recording.load(path)
    recording.init_errno |= {file: errno for file, errno in RETURNED.items() if file.split()[0] in recording.files}
    for step in recording:
        step.dmesg = [line for line in step.dmesg if line[1] not in SAID]
    assert [str(d) for d in replay(recording, ko_of_7_3)[1]] == []


def test_the_place_in_a_line_is_compared_where_it_is_no_hash() -> None:
    plain, hashed = (simulate(story, release) for story, release in (("half-way", "7.3"), ("half-way", "6.12")))
    for recording, noticed in ((plain, 1), (hashed, 0)):
        moved = copy.deepcopy(recording)
        step = moved[-1]
        (number,) = (number for number, line in enumerate(step.lines) if "nonzero" in line)
        level, line = step.dmesg[number]
        another = re.sub(r"(?<=loc )[0-9a-f]{16}", lambda at: at[0][:-1] + "10"[at[0][-1] == "1"], line)
        assert another != line
        step.dmesg[number] = level, another
        assert len(recording.compare(moved)) == noticed


# -- what a comparison notices ----------------------------------------------------------------------------------------------


def changed_recordings() -> list[tuple[str, object]]:
    """One thing of a recording changed: a conformance test that does not notice would prove nothing."""

    def errno(step: dict) -> None:
        step["errno"] = -22

    def dmesg(step: dict) -> None:
        step["dmesg"][0][1] = step["dmesg"][0][1].replace("type 2", "type 4")

    def level(step: dict) -> None:
        step["dmesg"][1][0] = 3

    def missing_line(step: dict) -> None:
        del step["dmesg"][2]

    def size(step: dict) -> None:
        step["modules"][0]["size"] += 4096

    def refcount(step: dict) -> None:
        step["modules"][0]["refcount"] = 0

    def patched(step: dict) -> None:
        step["livepatch"]["livepatch_nfsd_demo"]["objects"]["nfsd_demo"]["patched"] ^= 1

    def one_byte(step: dict) -> None:
        key = next(iter(step["sites"]))
        step["sites"][key] = "ff" + step["sites"][key][2:]

    def one_site_more(step: dict) -> None:
        step["sites"]["livepatch_nfsd_demo:.text+0x0"] = "00000000"

    return [
        (change.__name__, change)
        for change in (errno, dmesg, level, missing_line, size, refcount, patched, one_byte, one_site_more)
    ]


@pytest.mark.skipif(not SHARED.exists(), reason="no recordings in ../shared/recordings")
@pytest.mark.parametrize("change", [c for _, c in changed_recordings()], ids=[n for n, _ in changed_recordings()])
def test_a_replay_notices(change, tmp_path: Path) -> None:
    import json

    raw = json.loads((SHARED / "x86_64" / "bug--6.1--nokaslr.json").read_text())
    raw = copy.deepcopy(raw)
    change(raw["steps"][6])
    (tmp_path / "changed.json").write_text(json.dumps(raw))
    _, differences = replay(Recording.load(tmp_path / "changed.json"), SHARED / "ko")
    assert {d.step for d in differences} == {6}


@pytest.mark.skipif(not SHARED.exists(), reason="no recordings in ../shared/recordings")
@pytest.mark.parametrize("module, row", [("nfsd_demo", 6), ("livepatch_nfsd_demo", 20)])
def test_a_replay_notices_a_symbol_elsewhere(module: str, row: int, tmp_path: Path) -> None:
    recording = Recording.load(SHARED / "x86_64" / "bug--6.1--nokaslr.json")
    address, kind, name = recording[3].symbols[module][row]
    recording[3].symbols[module][row] = (address + 16, kind, name)
    _, differences = replay(recording, SHARED / "ko")
    assert [d.what for d in differences] == [f"symbols {module} {row}"]


def test_a_replay_says_which_module_file_is_missing(tmp_path: Path) -> None:
    recording = Recording("reload", kernel={"arch": "x86_64", "release": "6.1.0-56-amd64"}, files={"nfsd.ko": "00"})
    with pytest.raises(RecordingError, match=r"nfsd\.ko is not in"):
        replay(recording, tmp_path)


@pytest.mark.skipif(not SHARED.exists(), reason="no recordings in ../shared/recordings")
def test_a_replay_notices_another_word_of_a_program() -> None:
    recording = Recording.load(SHARED / "x86_64" / "dependency_kmod--6.1--nokaslr.json")
    recording[0].out = (recording[0].out or "").replace("Unknown symbol", "Some symbol")
    assert [d.what for d in replay(recording, SHARED / "ko")[1]] == ["out"]


def test_a_replay_with_another_build_of_a_module_says_so(tmp_path: Path) -> None:
    recording = simulate("reload", "6.1")
    recording.files["nfsd_demo.ko"] = "0" * 64
    with pytest.raises(RecordingError, match="another build than the recorded one"):
        replay(recording)


def test_a_replay_of_a_model_recording_agrees_with_itself(tmp_path: Path) -> None:
    for release in ("6.1", "6.12"):
        first = simulate("cumulative", release)
        first.save(tmp_path / "one.json")
        _, differences = replay(Recording.load(tmp_path / "one.json"))
        assert differences == []


def test_what_was_typed_is_no_observation_and_no_difference() -> None:
    recording = simulate("reload", "6.1")
    typed = {"rmmod nfsd_demo": "rmmod nfsd-demo", "insmod nfsd_demo.ko": "insmod  nfsd_demo.ko"}
    for step in recording:
        step.command = typed.get(step.command, step.command)
    ours, differences = replay(recording)
    assert "rmmod nfsd-demo" in [step.command for step in ours] and differences == []
