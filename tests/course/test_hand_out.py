"""klpteach course DIR: all or nothing, and nothing of the reader's is touched."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT

from klpteach.cli import main
from klpteach.course.hand_out import hand_out

RECORDING = "data/recordings/x86_64/callback-fails--6.1--REFUSED.json"


def refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line with which the command refuses a folder, which it leaves as it was."""
    before = sorted(folder.rglob("*"))
    assert main(["course", str(folder)]) == 2
    line = capsys.readouterr().err
    assert line.startswith("klpteach: ") and line.count("\n") == 1 and sorted(folder.rglob("*")) == before
    return line


def course_is_in(folder: Path) -> bool:
    """Whether all notebooks are there, and the evidence, and no draft."""
    names = {path.name for path in (ROOT / "notebooks").glob("*.ipynb")}
    same = (folder / RECORDING).read_bytes() == (ROOT / RECORDING).read_bytes()
    return same and names == {path.name for path in (folder / "notebooks").glob("*.ipynb")} and not drafts(folder)


def drafts(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("name", [RECORDING, "data/recordings/x86_64/mine.json", "data/table.csv"])
def test_a_file_of_the_reader_below_data_is_named_and_stays(name: str, tmp_path: Path, capsys) -> None:
    mine = tmp_path / name
    mine.parent.mkdir(parents=True)
    mine.write_text("MINE")
    assert f"{mine} is there already, and is not the course's." in refused(tmp_path, capsys)
    assert mine.read_text() == "MINE"


@pytest.mark.parametrize("name", ["notebooks", "data", "data/recordings", "data/recordings/x86_64", RECORDING])
@pytest.mark.parametrize("dangling", [False, True], ids=["", "dangling"])
def test_no_symbolic_link_leads_out_of_the_folder(name: str, dangling: bool, tmp_path: Path, capsys) -> None:
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "course"
    (folder / name).parent.mkdir(parents=True)
    if not dangling:
        elsewhere.mkdir()
    (folder / name).symlink_to(elsewhere)
    assert f"{folder / name} is there already" in refused(folder, capsys)
    assert elsewhere.exists() != dangling and (dangling or not any(elsewhere.iterdir()))


@pytest.mark.parametrize("name", ["data", "data/recordings"])
def test_a_file_where_a_folder_is_wanted_is_named(name: str, tmp_path: Path, capsys) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("MINE")
    assert f"{tmp_path / name} is there already" in refused(tmp_path, capsys)


def test_a_folder_where_a_file_is_wanted_is_named(tmp_path: Path, capsys) -> None:
    (tmp_path / RECORDING).mkdir(parents=True)
    assert f"{tmp_path / RECORDING} is there already" in refused(tmp_path, capsys)


def test_the_courses_own_files_may_be_there_and_what_is_missing_is_added(tmp_path: Path) -> None:
    (tmp_path / RECORDING).parent.mkdir(parents=True)
    (tmp_path / RECORDING).write_bytes((ROOT / RECORDING).read_bytes())
    (tmp_path / "mine").write_text("MINE")
    inode = (tmp_path / RECORDING).stat().st_ino
    hand_out(tmp_path)
    assert course_is_in(tmp_path) and (tmp_path / RECORDING).stat().st_ino == inode
    assert (tmp_path / "mine").read_text() == "MINE"


def test_whoever_loses_the_notebooks_gets_them_again_with_the_same_evidence(tmp_path: Path) -> None:
    hand_out(tmp_path)
    (tmp_path / "notebooks").rename(tmp_path / "mine")
    hand_out(tmp_path)
    assert course_is_in(tmp_path)


def test_every_file_can_be_changed_by_its_reader(tmp_path: Path) -> None:
    hand_out(tmp_path)
    assert all(os.stat(path).st_mode & 0o600 == 0o600 for path in tmp_path.rglob("*"))


def test_a_full_disk_is_one_line_leaves_nothing_and_a_second_try_works(small_disk: Path, capsys) -> None:
    for folder in (small_disk / "new" / "below", small_disk):
        assert main(["course", str(folder)]) == 2
        assert capsys.readouterr().err == f"klpteach: {folder}: No space left on device\n"
        assert list(small_disk.iterdir()) == []
    subprocess.run(["mount", "-o", "remount,size=16m", str(small_disk)], check=True)
    hand_out(small_disk / "new" / "below")
    assert course_is_in(small_disk / "new" / "below")


def test_a_folder_that_cannot_be_made_is_named_as_it_was_typed(tmp_path: Path, capsys) -> None:
    (tmp_path / "file").write_text("")
    assert main(["course", str(tmp_path / "file" / "below")]) == 2
    assert capsys.readouterr().err == f"klpteach: {tmp_path}/file/below: Not a directory\n"
