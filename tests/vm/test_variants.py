"""Kernels with a proposal in them: the edits, what they come to, and what the guest gets besides."""

from __future__ import annotations

import os
import signal
from itertools import chain
from pathlib import Path

import pytest

from klpteach.discussion.consequences import choices
from klpteach.errors import PolicyError
from klpteach.files.samples import ko_dir, open_ko
from klpteach.model.policy import PROPOSALS
from klpteach.model.state import Machine
from klpteach.scenarios.simulate import get
from klpteach.vm import build
from klpteach.vm.host import HostError
from klpteach.vm.kernels import RECORDED, kernel_named
from klpteach.vm.variants import VARIANTS, edited, proposals_of, shown
from klpteach.vm.variants.edit import before, behind, body_of, counted, instead, without
from klpteach.vm.variants.user_space import guest_for

KERNELS = [(arch, *key) for arch, keys in VARIANTS.items() for key in keys]
PATCHED = [(arch, *key) for arch, keys in VARIANTS.items() for key, edits in keys.items() if edits]
SOURCE = """\
int twice(int x);

/* a comment */
static int twice(int x)
{
	if (x < 0)
		return 0;

	return x + x;
}

SYSCALL_DEFINE2(twice, int, x,
		int, y)
{
	return twice(x);
}
"""


# -- an edit ----------------------------------------------------------------------------------------------------------------


def test_a_function_is_its_definition_and_not_its_prototype() -> None:
    start, end = body_of(SOURCE, "twice")
    assert SOURCE[start:end].startswith("static int twice(int x)\n{") and SOURCE[start:end].endswith("x + x;\n}\n")
    start, end = body_of(SOURCE, "SYSCALL_DEFINE2(twice")
    assert SOURCE[start:end].endswith("return twice(x);\n}\n")
    assert body_of(SOURCE, "thrice") == (-1, -1)


def test_an_anchor_is_looked_for_in_its_function_only() -> None:
    changed = before("a.c", "SYSCALL_DEFINE2(twice", "\treturn", "\ty++;\n").applied(SOURCE)
    assert changed == SOURCE.replace("\treturn twice", "\ty++;\n\treturn twice")


def test_what_goes_is_named_by_its_beginning_and_its_end() -> None:
    assert without("a.c", "twice", "\tif (x", until="0;\n\n").applied(SOURCE) == SOURCE.replace(
        "\tif (x < 0)\n\t\treturn 0;\n\n", ""
    )
    assert instead("a.c", "twice", "x < 0", "x < 1", until=")").applied(SOURCE) == SOURCE.replace("x < 0)", "x < 1")


def test_text_behind_a_function_stands_before_the_next_one() -> None:
    changed = behind("a.c", "twice", "int more;\n").applied(SOURCE)
    assert "x + x;\n}\n\nint more;\n\nSYSCALL" in changed


def test_an_edit_that_does_not_fit_says_where() -> None:
    with pytest.raises(HostError, match=r"a\.c, twice\(\): 'gone' stands there 0 times, not 1"):
        before("a.c", "twice", "gone", "").applied(SOURCE)
    with pytest.raises(HostError, match=r"a\.c: 'return' stands there 3 times, not 1"):
        before("a.c", "", "return", "").applied(SOURCE)
    with pytest.raises(HostError, match=r"there is no function thrice\(\)"):
        before("a.c", "thrice", "x", "").applied(SOURCE)
    with pytest.raises(HostError, match="'never' does not stand behind 'x < 0'"):
        without("a.c", "twice", "x < 0", until="never").applied(SOURCE)


def test_lines_are_counted_as_diff_does_without_the_blank_ones(tmp_path: Path) -> None:
    (tmp_path / "a.c").write_text("one\ntwo\n\nthree\n")
    assert counted(tmp_path, {"a.c": "one\n\n2\nthree\nfour\n"}) == (2, 1)


# -- the kernels ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("arch", "release", "variant"), PATCHED, ids="-".join)
def test_the_edits_fit_the_kernel_source_and_come_to_what_the_table_says(arch: str, release: str, variant: str) -> None:
    tree = build.source_folder(release)
    if not tree.exists():
        pytest.skip(f"linux-source-{release} is not in the cache: klpteach vm build")
    if (tree.parent / f"aside-{release}").exists():
        pytest.skip(f"a kernel of {release} is being built: for now its source is another")
    assert shown.size_of(arch, release, variant) in shown.sizes()
    for path, text in edited(tree, VARIANTS[arch][release, variant]).items():
        assert text != (tree / path).read_text()


def test_the_table_of_sizes_has_a_row_for_every_patched_kernel() -> None:
    assert [(one.arch, one.release, one.variant) for one in shown.sizes()] == PATCHED


@pytest.mark.parametrize(("arch", "release", "variant"), KERNELS, ids="-".join)
def test_a_kernels_proposals_are_the_models(arch: str, release: str, variant: str) -> None:
    assert set(proposals_of(variant)) <= set(PROPOSALS)
    assert bool(VARIANTS[arch][release, variant]) == (variant not in ("small", "stock"))


def test_every_column_of_the_table_of_6_1_is_a_kernel() -> None:
    """But on ppc64le: remove-check, since the check is x86_64's."""
    for arch, missing in {"x86_64": set(), "ppc64le": {("remove-check",)}}.items():
        built = {proposals_of(variant) for release, variant in VARIANTS[arch] if release == "6.1"}
        assert {*choices(arch)} - built == missing


def test_no_edit_quotes_more_than_two_lines_of_the_kernel() -> None:
    edits = [edit for variants in VARIANTS.values() for edit in chain.from_iterable(variants.values())]
    assert max(len(text.strip().splitlines()) for edit in edits for text in (edit.anchor, edit.until) if text) <= 2


def test_a_kernel_with_a_proposal_has_a_name_of_its_own_and_debians_keeps_its() -> None:
    assert kernel_named("6.1") == ("x86_64", "6.1", "stock")
    assert kernel_named("x86_64-6.1-deny-removal") == ("x86_64", "6.1", "deny-removal")
    assert RECORDED["x86_64"].name("6.1", "stock") == "6.1"
    assert RECORDED["x86_64"].name("6.1", "small") == "6.1-small"
    assert kernel_named("ppc64le-6.1-deny-removal+reuse") == ("ppc64le", "6.1", "deny-removal+reuse")
    with pytest.raises(
        HostError, match=r"no x86_64 kernel 'x86_64-6\.1-fast'; there are 6\.1, 6\.12, 7\.3, 6\.1-small"
    ):
        kernel_named("x86_64-6.1-fast")


def test_a_source_is_put_back_also_where_a_build_was_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KLPTEACH_CACHE", str(tmp_path))
    tree = build.source_folder("6.1")
    tree.mkdir(parents=True)
    (tree / "a.c").write_text("as it came")
    killed = build.patched("6.1", {"a.c": "changed", "sub/new.c": "new"})
    (tree / "sub").mkdir()
    killed.__enter__()  # and nobody comes back
    assert (tree / "a.c").read_text() == "changed" and (tree / "sub/new.c").exists()
    with build.patched("6.1", {"a.c": "changed again"}):
        assert not (tree / "sub/new.c").exists()
    assert (tree / "a.c").read_text() == "as it came"
    assert [path.name for path in tree.parent.iterdir()] == [tree.name]


def test_a_source_is_put_back_where_the_build_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KLPTEACH_CACHE", str(tmp_path))
    tree = build.source_folder("6.1")
    tree.mkdir(parents=True)
    (tree / "a.c").write_text("as it came")
    with pytest.raises(HostError), build.patched("6.1", {"a.c": "changed"}):
        raise HostError("make failed")
    assert (tree / "a.c").read_text() == "as it came"


def test_a_build_that_is_told_to_end_puts_the_source_back_before_it_gives_up_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KLPTEACH_CACHE", str(tmp_path))
    tree = build.source_folder("6.1")
    tree.mkdir(parents=True)
    (tree / "a.c").write_text("as it came")
    with pytest.raises(SystemExit), build.patched("6.1", {"a.c": "changed"}):
        os.kill(os.getpid(), signal.SIGTERM)
    assert (tree / "a.c").read_text() == "as it came"


# -- a proposal as a reader sees it -----------------------------------------------------------------------------------------


def test_a_patch_shows_our_lines_and_the_function_they_stand_in() -> None:
    patch = shown.patch_of("hard-dependencies")
    assert ("kernel/livepatch/core.c", "klp_init_object") in {(piece.path, piece.function) for piece in patch.pieces}
    assert str(patch).splitlines()[0] == "hard-dependencies on x86_64 6.1: 22 lines come, 0 go, in 3 files"
    assert sum(bool(line.strip()) for piece in patch.pieces for line in piece.lines) == patch.size.added


def test_a_proposal_without_a_patch_says_which_there_are() -> None:
    with pytest.raises(
        PolicyError,
        match=r"no kernel 6\.12 for x86_64 was built with 'deny-removal\+clear-checked'; there are small, remove-check",
    ):
        shown.patch_of("deny-removal+clear-checked", "6.12")
    assert shown.patch_of("reuse-stub", arch="ppc64le").size.variant == "reuse"


# -- the guest --------------------------------------------------------------------------------------------------------------


def test_modprobe_is_told_what_a_livepatch_needs_and_half_loaded_marks_it() -> None:
    folder = ko_dir()
    files = [open_ko(folder, "livepatch_cumul1.ko")]
    plain = guest_for(files, Machine(), (), folder)
    assert [file.filename for file in plain.files] == ["livepatch_cumul1.ko"] and plain.lists == {}
    hard = guest_for(files, Machine(), ("hard-dependencies",), folder)
    assert hard.lists["depends"] == "livepatch_cumul1 nfsd_demo lockd_demo\n"
    assert {file.filename for file in hard.files} == {"livepatch_cumul1.ko", "nfsd_demo.ko", "lockd_demo.ko"}
    half = guest_for(files, Machine(), ("half-loaded",), folder)
    assert half.lists["depends"] == "livepatch_cumul1 ~nfsd_demo ~lockd_demo\n"


def test_a_machine_is_what_its_story_says() -> None:
    folder, five = ko_dir(), [open_ko(ko_dir(), "livepatch_five.ko")]
    absent = guest_for(five, get("not-installed").machine, ("hard-dependencies",), folder)
    assert "sunrpc_demo.ko" not in {file.filename for file in absent.files} and "sunrpc_demo" in absent.lists["depends"]
    assert guest_for(five, get("no-hardware").machine, (), folder).lists["options"] == "kvm_demo absent=1\n"
    assert guest_for(five, get("blacklisted").machine, (), folder).cmdline == "module_blacklist=fuse_demo"


def test_the_parts_of_a_split_livepatch_lie_on_disk() -> None:
    guest = guest_for([open_ko(ko_dir(), "livepatch_cumul1.ko")], Machine(), ("split-per-object",), ko_dir())
    assert guest.lists["parts"].splitlines()[0] == (
        "livepatch_cumul1 livepatch_cumul1 1 nfsd_demo livepatch_cumul1__nfsd_demo.ko livepatch_cumul1__nfsd_demo"
    )
    assert [part.filename for part in guest.parts] == [
        "livepatch_cumul1__nfsd_demo.ko",
        "livepatch_cumul1__lockd_demo.ko",
    ]
