"""A folder of module files behind a log: found by their files' names, then by the names in them, and never all of thousands."""

from __future__ import annotations

from pathlib import Path

import pytest

from klpteach.files.module_file import ModuleFile
from klpteach.files.samples import sample
from klpteach.files.write import tiny_module
from klpteach.reading.log import case
from klpteach.reading.log.case import Modules


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are opened."""
    names, plain = list[str](), case._readable
    monkeypatch.setattr(case, "_readable", lambda path: names.append(path.name) or plain(path))  # type: ignore[func-returns-value]
    return names


def folder(tmp_path: Path, others: int) -> Path:
    for number in range(others):
        (tmp_path / f"other{number}.ko").write_bytes(tiny_module(f"other{number}", {".text": bytes(16)}))
    (tmp_path / "nfs-ish.ko").write_bytes(tiny_module("nfs_ish", {".text": bytes(16)}))
    (tmp_path / "renamed.ko").write_bytes(tiny_module("inside", {".text": bytes(16)}))
    (tmp_path / "z-livepatch.ko").write_bytes(sample("livepatch_nfsd_demo.ko").read_bytes())
    return tmp_path


def names(files: list[ModuleFile]) -> list[str]:
    return [file.filename for file in files]


def test_a_module_is_found_by_the_name_of_its_file_and_no_other_is_opened(tmp_path: Path, opened: list[str]) -> None:
    assert names(Modules(folder(tmp_path, 20)).named("nfs_ish")) == ["nfs-ish.ko"]
    assert opened == ["nfs-ish.ko"]


def test_a_module_whose_file_has_another_name_is_found_by_what_is_in_it(tmp_path: Path) -> None:
    modules = Modules(folder(tmp_path, 20))
    assert names(modules.named("inside")) == ["renamed.ko"] and modules.named("nobody") == []


def test_of_thousands_of_files_some_are_opened_those_first_that_are_called_a_patch(
    tmp_path: Path, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(case, "_OPENED", 10)
    modules = Modules(folder(tmp_path, 50))
    assert names(modules.livepatches()) == ["z-livepatch.ko"] and modules.named("nobody") == []
    assert len(set(opened)) == 10
