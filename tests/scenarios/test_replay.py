"""The model against real kernels: every command of every recording, every line and byte that was seen."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
from conftest import SHARED, shared_recordings

from klpteach import Recording, RecordingError, replay, simulate


@pytest.mark.parametrize("path", [*shared_recordings("x86_64"), *shared_recordings("ppc64le")])
def test_the_model_does_what_the_real_kernel_did(path: Path) -> None:
    ours, differences = replay(Recording.load(path), SHARED / "ko")
    assert [str(d) for d in differences] == []
    assert len(ours) > 0


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
