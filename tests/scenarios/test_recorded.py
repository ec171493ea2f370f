"""The recordings by name: files, and what is packed beside them."""

from __future__ import annotations

from pathlib import Path

import pytest

from klpteach.errors import RecordingError
from klpteach.scenarios import recorded

ROOT = Path(__file__).resolve().parents[2]
SOME = ["late--6.1--REFUSED", "reload--6.1--REFUSED"]


@pytest.fixture
def packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with two recordings in an archive and none as a file."""
    (tmp_path / "recordings").mkdir()
    monkeypatch.setattr(recorded, "data_dir", lambda: tmp_path)
    recorded.pack([ROOT / f"data/recordings/x86_64/{name}.json" for name in reversed(SOME)], recorded.archive("x86_64"))
    return recorded.archive("x86_64")


def test_what_is_packed_reads_as_the_file_does(packed: Path) -> None:
    from klpteach.model.recording import Recording

    assert recorded.names("x86_64") == SOME
    for name in SOME:
        assert recorded.open_recorded(name) == Recording.load(ROOT / f"data/recordings/x86_64/{name}.json")


def test_the_same_recordings_give_the_same_archive(packed: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.tar.xz"
    recorded.pack([ROOT / f"data/recordings/x86_64/{name}.json" for name in SOME], again)
    assert again.read_bytes() == packed.read_bytes()


def test_an_archive_that_was_replaced_is_read_anew(packed: Path) -> None:
    assert len(recorded.names("x86_64")) == 2
    recorded.pack([ROOT / f"data/recordings/x86_64/{SOME[0]}.json"], packed)
    assert recorded.names("x86_64") == SOME[:1]


def test_a_damaged_archive_is_one_clear_line(packed: Path) -> None:
    packed.write_bytes(packed.read_bytes()[:-200])
    with pytest.raises(
        RecordingError, match=r"^x86_64-proposals\.tar\.xz: damaged \(.*\)\. Is the download complete\?$"
    ):
        recorded.names("x86_64")


def test_a_member_that_is_too_long_is_refused(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorded, "MAX_BYTES", 1000)
    with pytest.raises(RecordingError, match=r"late--6\.1--REFUSED\.json is longer"):
        recorded.names("x86_64")


def test_a_name_that_nobody_recorded_is_one_clear_line() -> None:
    with pytest.raises(RecordingError, match=r"^nowhere: no such recording\. Try: "):
        recorded.open_recorded("nowhere")


def test_every_packed_recording_has_kept_the_errno_of_steps_that_nobody_looked_after() -> None:
    for name in (one.name for one in recorded.named("x86_64") if one.packed and one.story == "fifty-moves"):
        assert not any(step.quiet and step.errno is None for step in recorded.open_recorded(name, "x86_64")), name
