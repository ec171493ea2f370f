"""What the site's explorers are told: the same frames as the notebook's explorer draws, for every kernel that is offered."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from conftest import ROOT

from klpteach import simulate
from klpteach.cli import main
from klpteach.model import policy
from klpteach.model.arch import ARCHITECTURES
from klpteach.reading.history import History
from klpteach.reading.outcome import ENDINGS
from klpteach.scenarios.simulate import stories
from klpteach.site import build as site
from klpteach.site.shell import explorer
from klpteach.site.tellings import HATCH, framed, kernels, mixes, names, pack_script, packed, told, unpacked
from klpteach.views.explorer.panes import explorer_html

NAME = ("x86_64", "reload", "6.1")


def test_every_mix_of_two_that_the_model_allows_is_told_and_no_other() -> None:
    for arch in ARCHITECTURES:
        offered = set(mixes(arch))
        assert all(policy.possible(mix, arch) for mix in offered) and () in offered
        alone = policy.available(arch)
        assert {mix for mix in offered if len(mix) == 1} == {(name,) for name in alone}
        pairs = [(a, b) for a in alone for b in alone if alone.index(a) < alone.index(b)]
        refused = kernels(names(["reload"]))[arch]["refused"]
        assert all(((a, b) in offered) != bool(refused.get(f"{a}+{b}") and refused.get(f"{b}+{a}")) for a, b in pairs)


def test_every_story_of_every_architecture_is_told_where_its_modules_are() -> None:
    told_of = {(arch, story) for arch, story, _ in names()}
    assert told_of == {(arch, story) for arch in ARCHITECTURES for story in stories(arch)}


@pytest.mark.parametrize("mix", [(), ("clear-relocations",), ("remove-check", "deny-removal")])
def test_a_frame_is_what_the_notebooks_explorer_draws_though_kernels_that_do_the_same_share_it(
    mix: tuple[str, ...],
) -> None:
    """Frames are drawn once for all kernels on which a story comes out the same: so nothing in them may name a proposal."""
    head, frames = told(*NAME)
    recording = simulate("reload", "6.1", mix)
    rows = head["runs"][head["mixes"]["+".join(mix)]]
    assert [row[0] for row in rows] == [step.command for step in recording]
    for index, row in enumerate(rows):
        assert frames[row[1]] == framed(explorer_html(recording, index, history=History(recording), styled=False))


@pytest.mark.parametrize(("asked", "opened"), [(1, 0), (4, 3), (9, 3)])
def test_an_explorer_opens_at_the_step_that_a_cell_asks_for_or_at_the_last(asked: int, opened: int) -> None:
    assert f'data-step="{opened}"' in explorer("reload", "6.1", step=asked)


def test_a_pack_comes_back_as_it_went_in() -> None:
    head, frames = told(*NAME)
    assert unpacked(packed(head, frames)) == (head, frames)
    assert re.fullmatch(r'klp\.pack\("x86_64/reload/6\.1","[A-Za-z0-9+/=]+"\)\n', pack_script(NAME))


def test_frames_hold_no_live_region_and_no_id_but_the_hatch_that_the_script_renames() -> None:
    _, frames = told(*NAME)
    assert not any('role="status"' in frame or "\0" in frame for frame in frames)
    assert {name for frame in frames for name in re.findall(r'id="([^"]*)"', frame)} == {HATCH}


def test_the_script_is_short_and_asks_no_network() -> None:
    script = (ROOT / "klpteach/site/site.js").read_text()
    assert len(script.splitlines()) <= 500
    assert not re.search(r"https?:|fetch\(|XMLHttpRequest|import\(|eval\(", script)


def test_every_kind_of_ending_has_a_look_in_the_grid() -> None:
    css = (ROOT / "klpteach/site/site.css").read_text()
    assert [kind for kind in ENDINGS if f".k-{kind}" not in css] == []


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("nbconvert", reason="nbconvert is missing")
    (tmp_path / "mine").write_text("mine")
    assert main(["site", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert "holds something else" in told and told.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("folder", ["/dev/null/x", "/proc/x"])
def test_where_nothing_can_be_written_no_page_is_made(
    folder: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("klpteach.site.build._write_pages", lambda *_: pytest.fail("began with the work"))
    assert main(["site", folder, "--story", "reload"]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"klpteach: {folder}: ") and told.count("\n") == 1


def test_a_full_disk_leaves_no_site_or_the_earlier_one(small_disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("nbconvert", reason="nbconvert is missing")
    earlier = small_disk / "earlier"
    earlier.mkdir()
    for name in ("site.css", "index.html"):
        (earlier / name).write_text("earlier")
    for folder in (small_disk / "new" / "below", earlier):
        for _ in range(2):
            assert main(["site", str(folder), "--story", "reload"]) == 2
            assert capsys.readouterr().err == f"klpteach: {folder}: No space left on device\n"
    assert [path.name for path in small_disk.iterdir()] == ["earlier"]
    assert {path.name: path.read_text() for path in earlier.iterdir()} == {
        "site.css": "earlier",
        "index.html": "earlier",
    }


def test_a_site_takes_the_place_of_an_earlier_one_and_leaves_no_draft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("nbconvert", reason="nbconvert is missing")

    def pages(folder: Path, wanted: object) -> None:
        (folder / "notebooks").mkdir(parents=True)
        for name in ("site.css", f"notebooks/{mark}.html"):
            (folder / name).write_text(mark)

    monkeypatch.setattr("klpteach.site.build._write_pages", pages)
    (tmp_path / ".klpteach-killed").mkdir()  # of a run that was killed
    for mark in ("first", "second"):
        site.build(tmp_path, ["reload"])
        assert (tmp_path / "site.css").read_text() == mark
        assert [path.name for path in (tmp_path / "notebooks").iterdir()] == [f"{mark}.html"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".klpteach-killed", "notebooks", "packs", "site.css"]


def test_a_site_is_written_where_processes_cannot_share_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("nbconvert", reason="nbconvert is missing")

    def refused(**_: object) -> None:
        raise PermissionError(13, "Permission denied")  # sem_open() without /dev/shm

    monkeypatch.setattr("klpteach.site.build._write_pages", lambda folder, wanted: folder.mkdir())
    monkeypatch.setattr("klpteach.site.build.ProcessPoolExecutor", refused)
    site.build(tmp_path / "site", ["reload"])
    assert {path.parent.name for path in tmp_path.rglob("*.js")} == {"reload"}


def test_a_story_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    pytest.importorskip("nbconvert", reason="nbconvert is missing")
    with pytest.raises(site.KlpteachError, match="no story nonsense"):
        site.build(tmp_path / "new", ["nonsense"])


def test_the_teachers_page_is_on_the_site_and_links_to_its_pages() -> None:
    pytest.importorskip("nbconvert", reason="nbconvert is missing")
    from klpteach.site import pages

    links = set(re.findall(r'href="([\w-]+\.html)"', pages.teaching_page()))
    assert links == {f"{path.stem}.html" for path in pages.lessons()} | {"talk.html"}
    assert "notebooks/teaching.html" in pages.home_page()
