"""Where a user's own folders are, whoever asks."""

from __future__ import annotations

from pathlib import Path

import pytest

from klpteach.vm.host import cache_dir


@pytest.mark.parametrize("given", ["", "here", "~/here"])
def test_a_cache_folder_of_the_desktop_that_is_not_absolute_does_not_count(
    given: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("KLPTEACH_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", given)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_dir() == tmp_path / ".cache" / "klpteach"
