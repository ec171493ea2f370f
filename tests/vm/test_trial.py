"""klpteach vm try without a kernel: what may be tried at all, what a refusal says, and how a row is read."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from klpteach import simulate
from klpteach.cli import main
from klpteach.vm import build, trial
from klpteach.vm.host import HostError
from klpteach.vm.qemu import GuestError, GuestKernel
from klpteach.vm.trial import compile, fix, row
from klpteach.vm.trial.compile import SHOWN, Base, CompileError, errors_in, without_paths
from klpteach.vm.trial.fix import fix_of, fixed, read_fix

CORE = "kernel/livepatch/core.c"
OLD = "int one;\nint two;\nint three;\n"


def patch(path: str = CORE, old: str = "int two;", new: str = "int deux;") -> str:
    return f"--- a/{path}\n+++ b/{path}\n@@ -1,3 +1,3 @@\n int one;\n-{old}\n+{new}\n int three;\n"


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A source of one file in a cache of its own; its folder has a space in its name."""
    cache = tmp_path / "my cache"
    monkeypatch.setenv("KLPTEACH_CACHE", str(cache))
    folder = build.source_folder("6.1")
    (folder / CORE).parent.mkdir(parents=True)
    (folder / CORE).write_text(OLD)
    return folder


# -- what may be tried ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["kernel/module/main.c", "kernel/trace/ftrace.c", "arch/x86/kernel/module.c",
                                  "include/linux/livepatch.h", "kernel/kallsyms.c"])  # fmt: skip
def test_what_livepatch_and_the_loader_are_made_of_may_be_changed(path: str) -> None:
    assert fix_of(patch(path)).files == (path,)


@pytest.mark.parametrize("path", [
    "Makefile", "kernel/livepatch/Makefile", "kernel/livepatch/Kconfig", "scripts/mod/modpost.c", "tools/objtool/check.c",
    "lib/gen_crc32table.c", "include/linux/types.h", "kernel/livepatch/../../Makefile", "/etc/passwd", "../core.c",
    "kernel/livepatch/core.c/x", "arch/x86/kernel/../../../scripts/x.c", "kernel/livepatch/core.c\x1b[2J",
])  # fmt: skip
def test_anything_else_is_refused_before_something_runs(path: str) -> None:
    with pytest.raises(HostError, match="A fix may change") as refusal:
        fix_of(patch(path))
    assert str(refusal.value).isprintable()


def test_both_names_of_a_file_must_be_allowed() -> None:
    with pytest.raises(HostError, match="touches Makefile"):
        fix_of(patch().replace(f"+++ b/{CORE}", "+++ b/Makefile"))
    with pytest.raises(HostError, match="touches scripts/x"):
        fix_of(patch() + "--- /dev/null\n+++ b/scripts/x.c\n@@ -0,0 +1 @@\n+x\n")


@pytest.mark.parametrize("more", ["rename from kernel/livepatch/core.c\nrename to x.c\n", "old mode 100644\nnew mode 120000\n",
                                  "GIT binary patch\n"])  # fmt: skip
def test_a_patch_that_does_more_than_change_lines_is_refused(more: str) -> None:
    with pytest.raises(HostError, match="may change lines"):
        fix_of(f"diff --git a/{CORE} b/{CORE}\n{more}{patch()}")


def test_a_nonsense_patch_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a fix.patch").write_text("make it work\n")
    assert main(["vm", "try", str(tmp_path / "a fix.patch")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "a fix.patch: there is no patch in it" in said
    with pytest.raises(HostError, match="cannot be read"):
        read_fix(tmp_path / "none.patch")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.patch")
    with pytest.raises(HostError, match=r"pipe\.patch: is a pipe, not a file"):
        read_fix(tmp_path / "pipe.patch")


def test_a_file_that_is_too_long_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "long.patch").write_bytes(b"x" * (fix.MAX_BYTES + 1))
    with pytest.raises(HostError, match="longer than 1 MiB"):
        read_fix(tmp_path / "long.patch")


def test_an_unknown_release_is_refused_with_those_there_are(tmp_path: Path) -> None:
    for name in ("5.4", "arm64-7.3", "ppc64le", "-6.1-", ""):
        with pytest.raises(
            HostError, match=r"can be built for a patch; there are 6\.1, 6\.12, ppc64le-6\.1, ppc64le-6\.12"
        ):
            trial.try_patch(tmp_path / "none.patch", name)


# -- whether it fits --------------------------------------------------------------------------------------------------------


def test_a_patch_that_fits_gives_the_texts_and_leaves_the_tree_alone(tree: Path) -> None:
    assert fixed(fix_of(patch()), tree, "6.1") == {CORE: OLD.replace("two", "deux")}
    assert (tree / CORE).read_text() == OLD


def test_a_repository_around_the_cache_changes_nothing(tree: Path) -> None:
    (tree.parent / ".git").mkdir()
    (tree.parent / ".git" / "config").write_text("[apply]\n\twhitespace = error\n")
    assert fixed(fix_of(patch(new="int deux; ")), tree, "6.1") == {CORE: OLD.replace("two;", "deux; ")}


def test_a_hunk_that_does_not_fit_is_named(tree: Path) -> None:
    with pytest.raises(HostError, match=rf"the patch does not fit Linux 6\.1: patch failed: {CORE}:1"):
        fixed(fix_of(patch(old="int zwei;")), tree, "6.1")


def test_a_new_file_may_come_and_none_may_go(tree: Path) -> None:
    new = "--- /dev/null\n+++ b/kernel/livepatch/mine.c\n@@ -0,0 +1 @@\n+int mine;\n"
    assert fixed(fix_of(new), tree, "6.1") == {"kernel/livepatch/mine.c": "int mine;\n"}
    gone = f"--- a/{CORE}\n+++ /dev/null\n@@ -1,3 +0,0 @@\n-int one;\n-int two;\n-int three;\n"
    with pytest.raises(HostError, match=r"removes kernel/livepatch/core\.c"):
        fixed(fix_of(gone), tree, "6.1")


# -- the compiler -----------------------------------------------------------------------------------------------------------

GCC = """\
  CC      kernel/livepatch/core.o
/somewhere/source/linux-source-6.1/kernel/livepatch/core.c: In function 'klp_find_object_module':
/somewhere/source/linux-source-6.1/kernel/livepatch/core.c:60:9: error: 'mutex' undeclared (first use in this function)
   60 |         mutex;
      |         ^~~~~
/somewhere/source/linux-source-6.1/kernel/livepatch/core.c:61:1: error: expected ';' before '}' token
   61 | }
      | ^
make[3]: *** [scripts/Makefile.build:250: kernel/livepatch/core.o] Error 1
"""


def test_the_compilers_errors_keep_their_carets_and_lose_our_paths() -> None:
    found = errors_in(without_paths(GCC, Path("/somewhere/source/linux-source-6.1")))
    assert [one.splitlines()[0] for one in found] == [
        "kernel/livepatch/core.c:60:9: error: 'mutex' undeclared (first use in this function)",
        "kernel/livepatch/core.c:61:1: error: expected ';' before '}' token",
    ]
    assert found[0].endswith("^~~~~") and "/somewhere" not in "".join(found)


def test_no_more_than_five_errors_are_shown_and_a_silent_end_has_words() -> None:
    many = "".join(f"a.c:{number}:1: error: x{number}\n" for number in range(9))
    assert len(errors_in(many)) == SHOWN == 5
    assert errors_in("vmlinux.o: undefined reference to `f'\n") == ["the linker: undefined reference to `f'"]
    assert errors_in("") == ["make failed without a word"]


def test_errors_are_said_line_by_line_and_the_refusal_names_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = tmp_path / "make.sh"
    make.write_text("#!/bin/sh\ncat >&2 <<'E'\n" + GCC + "E\nexit 2\n")
    make.chmod(0o755)
    monkeypatch.setattr(compile, "make_words", lambda *_: [str(make)])
    monkeypatch.setattr(compile, "source_folder", lambda _: Path("/somewhere/source/linux-source-6.1"))
    said: list[str] = []
    with pytest.raises(
        CompileError, match=r"does not compile: kernel/livepatch/core\.c:60:9: error: 'mutex' undeclared"
    ):
        compile._make(Base("x86_64", "6.1"), [CORE], said.append)
    assert len(said) == 2 and said[0].splitlines()[1:] == ["   60 |         mutex;", "      |         ^~~~~"]


# -- the row ----------------------------------------------------------------------------------------------------------------


def a_row(**kinds: str) -> row.Row:
    cells = row.known_rows("6.1")["deny-removal"] | {name.replace("_", "-"): kind for name, kind in kinds.items()}
    told = tuple(row.Told(question, kind, f"says {kind}") for question, kind in cells.items())
    return row.Row("my.patch", "0" * 64, "6.1", "6.1.192", told)


def test_the_nearest_known_row_is_named_and_where_it_differs() -> None:
    mine = a_row(race="hangs")
    assert mine.nearest == ("deny-removal", len(mine.told) - 1)
    text = str(mine)
    assert "The nearest known row is deny-removal: 17 of 18 cells are the same." in text
    assert "There 'a newer livepatch while a target loads' is: " in text and "here: hangs." in text


def test_a_row_survives_being_written(tmp_path: Path) -> None:
    mine = a_row(reload="panics")
    (tmp_path / "row.json").write_text(mine.to_json())
    assert row.Row.load(tmp_path / "row.json") == mine
    assert json.loads(mine.to_json())["nearest"] == {"proposals": "deny-removal", "same": 17, "of": 18}


# -- the whole, without a kernel --------------------------------------------------------------------------------------------


@pytest.fixture
def no_kernel(tree: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What would be built and told; every story hangs."""
    done: list[str] = []

    def build_it(one: fix.Fix, base: Base, folder: Path, say: trial.Say) -> GuestKernel:
        done.append("built")
        folder.mkdir(parents=True, exist_ok=True)
        return GuestKernel(base.arch, base.release, "mine", folder / "vmlinux", folder / "config")

    def tell(story: object, kernel: object, modules: object) -> None:
        done.append("told")
        error = GuestError("the guest gave 2 steps")
        error.how, error.last = "hangs", "livepatch: enabling patch"
        raise error

    monkeypatch.setattr(trial, "compiled", build_it)
    monkeypatch.setattr(trial, "modules_of", lambda *_: Path("none"))
    monkeypatch.setattr(trial, "tell", tell)
    monkeypatch.setattr(trial, "need", lambda *_: None)
    monkeypatch.setattr(trial, "build_agent", lambda *_: None)
    return done


def test_a_fix_that_hangs_is_told_so_after_three_stories_and_a_second_try_answers_at_once(
    tmp_path: Path, no_kernel: list[str]
) -> None:
    (tmp_path / "a fix.patch").write_text(patch())
    said: list[str] = []
    first = trial.try_patch(tmp_path / "a fix.patch", jobs=1, say=said.append)
    assert [one.kind for one in first.told] == ["hangs"] * 3 + ["left-out"] * 15
    assert no_kernel == ["built", "told", "told", "told"] and said[0].split() == ["1", "of", "18", "reload", "hangs"]
    (tmp_path / "the same.patch").write_text(patch())
    assert trial.try_patch(tmp_path / "the same.patch") == first
    assert no_kernel == ["built", "told", "told", "told"]
    assert trial.try_patch(tmp_path / "a fix.patch", jobs=1, again=True) == first and no_kernel.count("told") == 6


def test_on_ppc64le_its_own_stories_are_told_and_its_own_rows_are_near(tmp_path: Path, no_kernel: list[str]) -> None:
    (tmp_path / "a.patch").write_text(patch("arch/powerpc/kernel/module_64.c"))
    found = trial.try_patch(tmp_path / "a.patch", "ppc64le-6.12", jobs=1, say=lambda line: None)
    assert (found.arch, found.release, len(found.told)) == (
        "ppc64le",
        "6.12",
        len(row.known_rows("6.12", "ppc64le")[""]),
    )
    assert "on Linux 6.12, ppc64le" in str(found) and json.loads(found.to_json())["arch"] == "ppc64le"


def test_a_command_that_never_came_back_is_a_hang_even_where_the_rest_of_the_story_went_on() -> None:
    recording = simulate("reload", "6.12")
    assert trial._came_to("reload", recording).kind == "works"
    recording.steps[1].label, recording.steps[1].errno = "hung", None
    assert trial._came_to("reload", recording) == row.Told("reload", "hangs", "insmod livepatch_nfsd_demo.ko")


def test_a_kernel_that_could_not_tell_every_story_earns_no_row(tmp_path: Path, no_kernel: list[str]) -> None:
    (tmp_path / "a.patch").write_text(patch())
    lines = str(trial.try_patch(tmp_path / "a.patch", jobs=1, say=lambda line: None)).splitlines()
    assert lines[-1] == "This kernel hangs in 3 stories, so the other 15 were left out: it earns no row."
    assert len(lines) == 1 + 3 + 1


def test_a_release_without_known_rows_has_no_nearest(tmp_path: Path, no_kernel: list[str]) -> None:
    (tmp_path / "a.patch").write_text(patch())
    found = trial.try_patch(tmp_path / "a.patch", "ppc64le-7.3", jobs=1, say=lambda line: None)
    assert found.nearest == ("", 0) and "nearest" not in str(found)


def test_what_was_told_before_an_interruption_is_kept(
    tmp_path: Path, no_kernel: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.patch").write_text(patch())

    def interrupted(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trial.try_patch(tmp_path / "a.patch", jobs=1, say=interrupted)
    before = no_kernel.count("told")
    trial.try_patch(tmp_path / "a.patch", jobs=1)
    assert 1 <= before <= 3 and no_kernel.count("told") - before <= 3


def test_a_guest_that_ends_for_another_reason_is_no_kind(
    tmp_path: Path, no_kernel: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise GuestError("the guest gave 0 steps, then it panicked or died")

    monkeypatch.setattr(trial, "tell", killed)
    (tmp_path / "a.patch").write_text(patch())
    with pytest.raises(GuestError):
        trial.try_patch(tmp_path / "a.patch", jobs=1)
