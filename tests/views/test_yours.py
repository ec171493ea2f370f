"""Bring your own: modules, dmesg lines, a real kernel. What a reader gives is hostile; what the model says is the recording's."""

import random
import re
import shutil
import subprocess
from datetime import UTC, datetime

import pytest
from markup import check_markup
from oracle import Unavailable, debian_modules

import klpteach as kt
from klpteach.files.samples import sample
from klpteach.files.write import tiny_module
from klpteach.model.arch import ARCHITECTURES
from klpteach.model.policy import RELEASES, default_release, releases
from klpteach.model.recording import Recording
from klpteach.scenarios.reload import survives
from klpteach.views.real import recorded
from klpteach.views.yours import dmesg as bringlog
from klpteach.views.yours import modules as bringown
from klpteach.views.yours.not_a_livepatch import Ordinary
from klpteach.views.yours.upload import BringWidget

PATCH, TARGET = kt.sample("livepatch_nfsd_demo.ko"), kt.sample("nfsd_demo.ko")
NOW = datetime(2019, 8, 14, tzinfo=UTC)


def upload(path, name=None):
    """What an ipywidgets FileUpload holds for a file."""
    return {
        "name": name or path.name,
        "type": "",
        "size": path.stat().st_size,
        "content": memoryview(path.read_bytes()),
    }


# -- modules ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "source",
    [PATCH, str(PATCH), PATCH.read_bytes(), bytearray(PATCH.read_bytes()), kt.ModuleFile.open(PATCH), upload(PATCH), (upload(PATCH),)],
    ids=["path", "text", "bytes", "bytearray", "file", "upload", "uploads"],
)  # fmt: skip
def test_a_livepatch_comes_in_many_shapes(source):
    mine = kt.bring(source)
    assert mine.waiting == {"nfsd_demo": 10} and {o.release for o in mine.outcomes} >= {
        "5.3",
        "6.1",
        "6.3",
        "6.12",
        "7.3",
    }


@pytest.mark.parametrize("release", ["6.1", "6.12"])
def test_the_verdict_is_what_a_real_kernel_did(release):
    real = Recording.load(recorded("reload", release))
    mine = kt.bring(kt.sample("livepatch_nfsd_demo.ko", release=release), kt.sample("nfsd_demo.ko", release=release))
    outcome = next(o for o in mine.outcomes if o.release == release)
    assert not outcome.stand_in
    assert [step.errno for step in outcome.steps] == [step.errno for step in real]
    assert ("refused" in repr(mine).split(f" {release} ")[1].splitlines()[0]) == bool(real[-1].errno)


def test_what_is_shown_is_what_the_command_line_computes():
    mine = kt.bring(PATCH, TARGET)
    theirs = survives(kt.ModuleFile.open(PATCH), {"nfsd_demo": kt.ModuleFile.open(TARGET)})
    assert [o.failed is None for o in mine.outcomes] == [o.failed is None for o in theirs]
    assert len(mine.sites) == 10 and ".text" in set(mine.sections["name"])


@pytest.mark.parametrize("name", ["livepatch_kpatch", "livepatch_klp_build"])
def test_a_livepatch_of_either_tool_gets_verdict_checks_table_and_explorer(name):
    mine = kt.bring(kt.sample(f"{name}.ko"), TARGET)
    text = repr(mine)
    assert text.startswith(f"{name}.ko, built for 6.1.0-56-amd64: nfsd_demo, if it can be removed, is refused")
    assert "read from k" in text and "✓ nfsd_demo: 3 patched functions are there" in text
    assert "✗ refused: ENOEXEC (-8) (with its target, its own kernel)" in text
    assert [step.errno for step in mine.explore().recording] == [0, 0, 0, -8]
    check_markup(mine._repr_html_())


def test_a_livepatch_for_two_modules_can_be_explored_for_each():
    mine = kt.bring(kt.sample("livepatch_kpatch_two.ko"), [TARGET, kt.sample("acl_demo.ko")])
    assert {o.target for o in mine.outcomes} == {"nfsd_demo", "acl_demo"} and "✗" not in "".join(map(str, mine.checks))
    shown = mine.explore("6.1", "acl_demo").recording
    assert [step.command for step in shown] == [
        "insmod nfsd_demo.ko", "insmod acl_demo.ko", "insmod livepatch_kpatch_two.ko", "rmmod acl_demo", "insmod acl_demo.ko",
    ]  # fmt: skip
    assert shown[-1].errno == -8


def test_what_says_livepatch_is_never_called_no_livepatch():
    bare = tiny_module("lp", {".text": bytes(4)}, modinfo={"livepatch": "Y"})
    mine = kt.bring(bare)
    assert "names nothing to patch" in repr(mine) and "not a livepatch" not in repr(mine)
    check_markup(mine._repr_html_())
    with pytest.raises(kt.KlpteachError, match="no reload to explore"):
        mine.explore()


def test_two_files_find_their_places_by_what_is_in_them():
    assert kt.bring(target=[upload(TARGET), upload(PATCH)]).targets.keys() == {"nfsd_demo"}


def test_files_in_each_others_place_are_taken_in_the_right_order():
    for mine in (kt.bring(TARGET, PATCH), kt.bring([TARGET, PATCH])):
        assert mine.livepatch.name == "livepatch_nfsd_demo" and mine.targets.keys() == {"nfsd_demo"}
    with pytest.raises(kt.KlpteachError, match="there are 0 here"):
        kt.bring(TARGET, kt.sample("lockd_demo.ko"))
    with pytest.raises(kt.KlpteachError, match="are both module nfsd_demo"):
        kt.bring(PATCH, [TARGET, kt.sample("nfsd_demo_v2.ko")])


def test_a_livepatch_without_its_mark_is_not_shown_as_an_ordinary_module():
    mine = kt.bring(kt.sample("livepatch_nomark.ko"))
    assert "✗ livepatch_nomark: livepatch=Y is missing" in repr(mine) and "not a livepatch:" not in repr(mine)
    check_markup(mine._repr_html_())


def test_a_stand_in_for_a_module_whose_symbols_it_takes_is_named():
    mine = kt.bring(kt.sample("livepatch_kpatch_two.ko"), kt.sample("acl_demo.ko"))
    assert "(with its target; nfsd_demo is a stand-in, its own kernel)" in repr(mine)


def test_the_explorer_tells_the_readers_own_reload_with_its_sums():
    shown = kt.bring(upload(PATCH, "mine (1).ko"), TARGET).explore("6.1")
    assert [step.errno for step in shown.recording] == [0, 0, 0, -8]
    shown.step = 3
    assert "S + A" in shown.picture.value and "Reload refused" in shown.picture.value


def test_a_ppc64le_livepatch_says_how_often_it_can_be_moved():
    mine = kt.bring(kt.sample("livepatch_nfsd_demo.ko", "ppc64le", "6.12"))
    assert "at other places 1 time, then" in repr(mine)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (b"", "0 bytes"),
        (b"\x7fELF" + bytes(200), "ELF"),
        (b"MZ" + bytes(200), "ELF"),
        ("/no/such/file.ko", "cannot be read"),
        (7, "no module file"),
        ([TARGET, TARGET], "One livepatch"),
        ([PATCH, PATCH], "One livepatch"),
        ([PATCH] * 21, "more than the 20 files"),
    ],
)
def test_bad_input_is_one_clear_error(bad, says):
    with pytest.raises(kt.KlpteachError, match=says) as caught:
        kt.bring(bad)
    assert "\n" not in str(caught.value) and "Traceback" not in str(caught.value)


@pytest.mark.skipif(not shutil.which("readelf"), reason="readelf (binutils) is not installed")
@pytest.mark.parametrize("arch", ["x86_64", "ppc64le"])
def test_a_module_alone_gets_its_own_tables_and_readelf_counts_the_same(arch):
    path = kt.sample("nfsd_demo.ko", arch)
    mine = kt.bring(path)
    assert "is not a livepatch" in repr(mine) and repr(mine).count("✓ works") == len(RELEASES)
    said = subprocess.run(["readelf", "-rW", path], capture_output=True, text=True, check=True).stdout
    counts = dict(re.findall(r"section '\.rela(\S+)' at offset \S+ contains (\d+) entr", said))
    assert mine.by_target == {name: int(number) for name, number in counts.items()}


def test_debians_own_nfsd_can_be_brought_alone_and_loads_again_on_every_release():
    """It has per-CPU data, which a module refers to with 32 bits: a wrong base for that would refuse it."""
    try:
        folder = debian_modules()
    except Unavailable as reason:
        pytest.skip(str(reason))
    mine = kt.bring(folder / "nfsd.ko")
    assert all(errnos == [0, 0, 0] for errnos in mine.reloads.values()), mine.reloads


def test_a_target_that_it_does_not_patch_is_named():
    mine = kt.bring(PATCH, kt.sample("lockd_demo.ko"))
    assert "✗ lockd_demo: lockd_demo.ko was given, and livepatch_nfsd_demo does not patch it" in repr(mine)
    assert "a stand-in" in repr(mine)


def test_a_file_beyond_the_limit_is_refused_before_it_is_read(monkeypatch):
    monkeypatch.setattr(bringown, "MAX_BYTES", 100)
    with pytest.raises(kt.KlpteachError, match="strip -g"):
        kt.bring(PATCH.read_bytes())


def test_damaged_livepatches_end_in_a_verdict_or_in_one_error():
    rng, data = random.Random(7), PATCH.read_bytes()
    endings = set()
    for _ in range(60):
        broken = bytearray(data)
        for _ in range(rng.choice((1, 4, 40))):
            broken[rng.randrange(len(broken))] = rng.randrange(256)
        try:
            endings.add("verdict" if check_markup(kt.bring(bytes(broken))._repr_html_()) is None else "")
        except kt.KlpteachError:
            endings.add("error")
    assert endings == {"verdict", "error"}


EVIL = "<script>alert(1)</script>"


def test_hostile_names_come_out_as_text():
    alone = kt.bring(tiny_module(EVIL, {".text": bytes(16)}))._repr_html_()
    check_markup(alone)
    assert EVIL not in alone and "&lt;script&gt;" in alone
    with pytest.raises(kt.KlpteachError) as caught:
        kt.bring([tiny_module(EVIL, {".text": bytes(16)})] * 2)
    assert "<" not in str(caught.value)
    widget = BringWidget()
    widget.livepatch.value = ({**upload(PATCH, "<b>x"), "content": memoryview(b"no module"), "last_modified": NOW},)
    widget.look.click()
    assert "<b>x" not in widget.output.value and "&lt;b&gt;x" in widget.output.value


# -- the widget ---------------------------------------------------------------------------------------------------------------


def given(widget, livepatch, *targets):
    row = lambda path: {**upload(path), "last_modified": NOW}
    widget.livepatch.value = (row(livepatch),)
    widget.targets.value = tuple(row(path) for path in targets)
    widget.look.click()
    return widget


def test_uploading_and_looking_shows_the_verdict_and_the_explorer():
    widget = given(kt.bring(), PATCH, TARGET)
    assert "✗ refused: ENOEXEC" in widget.output.value and len(widget.story.children) == 1
    before = widget.story.children[0]
    widget.release.value = "6.12"
    assert widget.story.children[0] is not before


def test_an_uploaded_livepatch_is_explored_on_the_release_that_it_was_built_for():
    widget = given(
        kt.bring(), kt.sample("livepatch_klp_build.ko", release="6.12"), kt.sample("nfsd_demo.ko", release="6.12")
    )
    assert widget.release.value == "6.12" and "can be loaded again under it" in widget.output.value
    assert len(widget.story.children) == 1


def test_an_error_stands_in_the_output_and_what_was_shown_stays():
    widget = given(kt.bring(), PATCH)
    widget.livepatch.value = ({**upload(TARGET), "last_modified": NOW},)
    widget.look.click()
    assert "not a livepatch" in widget.output.value and "livepatch_nfsd_demo" in widget.output.value
    assert len(widget.livepatch.value) == 1 and len(widget.story.children) == 1


def test_looking_without_a_file_asks_for_one():
    widget = kt.bring()
    widget.look.click()
    assert "Upload a module first" in widget.output.value and widget.brought is None


def test_the_saved_output_says_what_to_call_where_buttons_are_dead():
    data = kt.bring()._repr_mimebundle_()
    assert "kt.bring(" in data["text/html"] and "kt.bring(" in data["text/plain"]


# -- dmesg --------------------------------------------------------------------------------------------------------------------


def test_every_line_of_a_real_refusal_is_explained():
    lines = Recording.load(recorded("reload", "6.1"))[3].lines
    said = kt.explain_dmesg("\n".join(f"[  12.345678] {line}" for line in lines))
    assert [one.line for one in said.found] == lines and all(one.says for one in said.found)
    check_markup(said._repr_html_())


def test_lines_nobody_knows_are_passed_over_and_it_is_said():
    assert "No line here" in repr(kt.explain_dmesg("eth0: link up\n\n")) and "?" in kt.explain_dmesg("")._repr_html_()


@pytest.mark.parametrize("text", [None, 7, b"livepatch:", "x" * (bringlog._LONGEST + 1)])
def test_what_is_no_text_or_too_long_is_one_error(text):
    with pytest.raises(kt.KlpteachError):
        kt.explain_dmesg(text)


def test_hostile_lines_come_out_as_text():
    said = kt.explain_dmesg(f"livepatch: symbol '{EVIL}' not found in symbol table")
    assert said.found and "<script" not in said._repr_html_()


def test_pasting_explains_and_keeps_what_was_pasted():
    field = kt.paste()
    field.field.value = "livepatch: symbol 'nfsd_open' not found in symbol table"
    field.button.click()
    assert "no symbol nfsd_open" in field.output.value
    field.field.value = "x" * (bringlog._LONGEST + 1)
    field.button.click()
    assert "cannot be explained" in field.output.value and len(field.field.value) > bringlog._LONGEST


# -- a real kernel ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("story", "kernel", "arch"),
    [
        ("reload", "6.1", "x86_64"),
        ("moved", "6.12", "x86_64"),
        ("same-address", "6.12", "ppc64le"),
        ("moved", "6.1", "ppc64le"),
    ],
)
def test_the_models_lines_stand_beside_the_real_kernels_and_agree(story, kernel, arch):
    tried = kt.try_real(story, kernel, arch)
    assert tried.differences == [] and tried.where.startswith("Recorded on")
    real = Recording.load(recorded(story, kernel, arch))
    for line in (line for step in real for line in step.lines):
        assert f"both   {line}" in repr(tried)
    check_markup(tried._repr_html_())


def test_a_difference_is_told_and_shown_line_by_line():
    from dataclasses import replace

    tried = kt.try_real("reload")
    tried.model[3].dmesg[1] = (4, "livepatch: <b>something else</b>")
    other = replace(tried, differences=tried.model.compare(tried.real))
    assert "1 differences" in other.headline.replace(
        "1 difference,", "1 differences,"
    ) and "model  livepatch: <b>" in repr(other)
    assert "<b>something" not in other._repr_html_()


def test_without_a_kernel_the_recording_is_shown_and_the_reason_said(monkeypatch):
    monkeypatch.setenv("PATH", "")
    tried = kt.try_real("reload", live=True)
    assert "Not run now:" in tried.headline and "Recorded on" in tried.headline


def test_a_story_that_nobody_recorded_names_the_kernels_that_have_one():
    with pytest.raises(kt.KlpteachError, match=r"6\.1, 6\.12"):
        kt.try_real("reload", "5.3")


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_a_module_of_any_architecture_that_is_no_livepatch_is_reloaded_on_the_releases_that_there_are(
    arch: str,
) -> None:
    mine = kt.bring(sample("nfsd_demo.ko", arch, default_release(arch)))
    assert isinstance(mine, Ordinary) and list(mine.reloads) == releases(arch)
    assert set(map(tuple, mine.reloads.values())) == {(0, 0, 0)}
    assert mine.to_html().count("works") == len(releases(arch))
