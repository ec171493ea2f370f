"""What is told again in C has the kernel's names and order, and not the kernel's lines; the real ones are cut out whole."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from markup import check_markup

import klpteach as kt
from klpteach.course.in_c import _retold, bare
from klpteach.views import kernel_source
from klpteach.vm.build import source_folder
from klpteach.vm.recipes import RECIPES

RETOLD = _retold()
told = pytest.mark.parametrize("name", RETOLD)


def code(text: str) -> list[str]:
    """Lines of C without comments and blanks."""
    lines = re.sub(r"/\*.*?\*/", "", text, flags=re.S).splitlines()
    return [squeezed for line in lines if len(squeezed := re.sub(r"\s+", "", line)) > 1]


def real(name: str) -> kernel_source.KernelFunction:
    one = RETOLD[name]
    tree = source_folder(one.release)
    if not tree.exists():
        pytest.skip(f"the source of {one.release} is not here: kt.source(…, fetch=True)")
    return kernel_source.find_function(tree, one.real, RECIPES[one.arch].arch)


@told
def test_a_function_is_told_in_five_to_fifteen_lines(name: str) -> None:
    lines = [line for line in RETOLD[name].c.splitlines() if line]
    assert 5 <= len(lines) <= 15 and max(map(len, lines)) <= 80


@told
def test_it_shows_the_models_code_and_the_bytes_in_html_and_in_words(name: str) -> None:
    page = kt.in_c(name).to_html()
    check_markup(page)
    assert "<script" not in page and "def " in repr(kt.in_c(name)) and '"""' not in kt.in_c(name).python
    values = {step.sites.get(RETOLD[name].site) for step in RETOLD[name].story()} - {None}
    assert values, "the story has this site"


@told
def test_the_kernels_function_is_in_that_file_and_what_is_called_here_is_called_there(name: str) -> None:
    """In the same order: the names that both have, by where they first stand."""
    one, found = RETOLD[name], real(name)
    assert found.file == one.file
    here = dict.fromkeys(re.findall(r"\w+(?=\()", one.c[one.c.index(f"{one.real}(") :]))
    places = [at.start() for word in here if (at := re.search(rf"\b{word}\(", found.text))]
    assert places and places == sorted(places)


@told
def test_no_two_lines_that_follow_each_other_are_the_kernels(name: str) -> None:
    theirs = set(pairwise(code(real(name).text)))
    assert not [pair for pair in pairwise(code(RETOLD[name].c)) if pair in theirs]


def test_a_function_is_cut_out_whole_and_a_prototype_is_not_one(tmp_path) -> None:
    text = "int f(int a);\n\nstatic int\nf(int a)\n{\n\tif (a) {\n\t\treturn 1;\n\t}\n\treturn 0;\n}\n\nint g(void)\n{\n}\n"
    assert kernel_source.cut(text, "f") == (3, text[15:].split("\n\nint g")[0])
    assert kernel_source.cut(text, "h") is None and kernel_source.cut("int f(int a);", "f") is None


def test_the_source_is_never_fetched_unasked_and_its_size_is_said_first(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("KLPTEACH_CACHE", str(tmp_path))
    monkeypatch.setattr("klpteach.vm.build.unpack_source", lambda release: pytest.fail("fetched"))
    reply = kt.source("klp_module_coming", "6.1")
    assert reply.mark == "?" and "140 MB" in reply.text and "fetch=True" in reply.text


def test_where_it_cannot_be_fetched_one_line_says_why(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("KLPTEACH_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    reply = kt.source("klp_module_coming", "6.1", fetch=True)
    assert reply.mark == "?" and "apt-get, dpkg-deb, tar, xz not found" in repr(reply) and "\n" not in repr(reply)
    assert "6.12" in repr(kt.source("klp_module_coming", "6.3"))


def test_a_tree_shows_a_function_with_line_numbers_and_names_near_ones(tmp_path) -> None:
    (tmp_path / "kernel/livepatch").mkdir(parents=True)
    (tmp_path / "Makefile").write_text("# SPDX\nVERSION = 6\nPATCHLEVEL = 1\nSUBLEVEL = 9\nEXTRAVERSION =\n")
    (tmp_path / "kernel/livepatch/core.c").write_text("// <b>\nint klp_do(int n)\n{\n\treturn n < 1;\n}\n")
    shown = kernel_source.find_function(tmp_path, "klp_do", "x86")
    assert shown.headline == "klp_do() in kernel/livepatch/core.c, Linux 6.1.9, lines 2 to 5"
    assert "    4  \treturn n &lt; 1;" in shown.to_html() and "    2  int klp_do(int n)" in repr(shown)
    with pytest.raises(kt.KlpteachError, match="do you mean klp_do"):
        kernel_source.find_function(tmp_path, "klp_dos", "x86")
    with pytest.raises(kt.KlpteachError, match="no function '<b>'"):
        kernel_source.find_function(tmp_path, "<b>", "x86")


def test_code_is_shown_without_docstring_and_comments() -> None:
    assert bare(code).startswith("def code(") and "Lines of C" not in bare(code)


def test_an_unknown_name_or_architecture_is_told_what_there_is() -> None:
    with pytest.raises(kt.KlpteachError, match="restore_r2"):
        kt.in_c("restore_r3")
    with pytest.raises(kt.KlpteachError, match="x86_64"):
        kt.source("klp_module_coming", "6.1", arch="vax")
