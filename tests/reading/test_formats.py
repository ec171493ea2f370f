"""Every line that livepatch and the module loader can print has a row: their printk formats are asked for in Debian's sources."""

import re

import pytest
from conftest import NO_KO
from kernel_formats import RELEASES, Unavailable, formats, printed, source

from klpteach.reading.log.explain import explain
from klpteach.reading.log.table import BY_NAME

DEBUG = {"pr_debug", "pr_devel"}  # of the loader: lines that only its authors switch on, some hundreds a load
# beginning of the text -> why it needs no row
EXCEPTIONS: dict[str, str] = {}


def lines(release):
    try:
        folder = source(release)
    except Unavailable as why:
        pytest.skip(str(why))
    for file, call, text in formats(folder):
        if call in DEBUG and not file.startswith("kernel/livepatch/"):
            continue
        for line in printed(text).split("\n"):
            if line.strip() and not line.startswith(tuple(EXCEPTIONS)):
                yield file, line


@pytest.mark.parametrize("release", RELEASES)
def test_every_format_of_the_kernel_has_a_row(release):
    silent = []
    for file, line in lines(release):
        found = explain(f"[   12.345678] {line}", NO_KO)
        if not (found and found[0].message != "UNKNOWN" and found[0].line == " ".join(line.split())):
            silent.append((file, line, [(one.message, one.line) for one in found]))
    assert not silent, "\n".join(map(str, silent))


def _number(release):
    return tuple(map(int, release.split(".")))


def printed_by(kernels, release):
    """Whether what a row says of its kernels allows this one; words like "about" allow what stands beside."""
    match = re.match(r"([\d.]+)(?: or near,)? (?:and|to)", kernels)
    if match and "stable" not in kernels and _number(match[1]) > _number(release):
        return False
    if match := re.search(r"(?<!about )(?:to|not) ([\d.]+)$", kernels):
        last = _number(match[1])
        return _number(release) > last if " not " in kernels else _number(release) <= last
    return True


@pytest.mark.parametrize("release", RELEASES)
def test_a_row_does_not_deny_the_kernel_that_prints_it(release):
    denied = set()
    for _, line in lines(release):
        row = BY_NAME[explain(line, NO_KO)[0].message]
        if not printed_by(row.kernels, release):
            denied.add((row.name, row.kernels))
    assert not denied


@pytest.mark.parametrize(
    ("kernels", "release", "allowed"),
    [
        ("6.19 and later", "6.12", False),
        ("6.3 to 6.18", "7.3", False),
        ("6.3 to 6.18", "6.12", True),
        ("7.3, not 6.12", "6.12", False),
        ("", "6.1", True),
    ],
)
def test_the_words_about_kernels_are_read(kernels, release, allowed):
    assert printed_by(kernels, release) is allowed
