"""Modules and paths that a stranger brings: each command answers, or says no in one line, in 2 seconds and 300 MB.

Each kind goes through all commands in one process of its own, which ends when it takes more.
"""

from __future__ import annotations

import gzip
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import KO
from strange_modules import KINDS, NO_FILES, livepatch, sympos_bomb

from klpteach import KlpteachError, ModuleFile, ModuleFormatError
from klpteach.files.write import ElfImage, Rela, Section, Symbol
from klpteach.scenarios.reload import stand_in, survives
from klpteach.scenarios.size import MOST, MOST_ON

SHARED = Path(__file__).parents[3] / "shared" / "strangers"
STRANGERS = sorted(SHARED.glob("*.ko*")) if SHARED.is_dir() else []
SECONDS, MEGABYTES = 8, 300  # processor time, for five releases; 2 s on a quiet machine, and what hangs takes minutes
# What is not klpteach's own (numpy, pandas) is loaded before the clock runs and before memory is counted.
USE = """
import contextlib, io, json, os, resource, sys, time
import numpy, pandas
from klpteach import bring
from klpteach.cli import main
from klpteach.errors import KlpteachError
from klpteach.scenarios import inspection
path, folder, symbols = sys.argv[1:]
numpy.ones(8).sort()
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (MEGABYTES << 20),) * 2)
def told(*arguments):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(list(arguments))
    return code, err.getvalue()
def brought():
    try:
        mine = bring(path)
        return 0, "" if mine.to_html() and mine.to_text() else "nothing"
    except KlpteachError as error:
        return 2, f"klpteach: {error}\\n"
def alone(run):
    reader, writer = os.pipe()
    if not os.fork():  # what one command leaves in memory is not the next one's
        start = time.process_time()
        answer = run()
        os.write(writer, json.dumps((*answer, time.process_time() - start)).encode())
        os._exit(0)
    os.close(writer)
    return json.load(open(reader))
log = "livepatch: failed to initialize patch 'livepatch_strange' for module 'nfsd_demo' (-8)"
open(f"{folder}/log.txt", "w").write(log)
found = {}
for name, run in {
    "inspect": lambda: told("inspect", path), "as JSON": lambda: told("inspect", path, "--json"), "bring": brought,
    "relocate": lambda: told("relocate", path, "--base", "ffffffffc0201000", "--symbols", symbols, "--out", "/dev/null"),
    "explain": lambda: told("explain", f"{folder}/log.txt", "--ko", folder),
}.items():
    found[name] = alone(run)
print(json.dumps(found))
""".replace("MEGABYTES", str(MEGABYTES))


def use(path: Path, tmp_path: Path) -> dict[str, tuple[int, str, float]]:
    """Exit code, standard error and seconds of every command with a file."""
    symbols = tmp_path / "symbols.json"
    symbols.write_text("{}")
    command = [sys.executable, "-c", USE, str(path), str(path.parent), str(symbols)]
    done = subprocess.run(
        command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "KLPTEACH_DATA": ""},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (60, 60)),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-600:]
    return {name: tuple(row) for name, row in json.loads(done.stdout).items()}


def check(found: dict[str, tuple[int, str, float]], refused: bool = False) -> None:
    """Nothing takes long; what is no answer is one line. refused: there can be no answer."""
    for name, (code, err, seconds) in found.items():
        assert seconds < SECONDS, f"{name} took {seconds:.1f} s"
        if name == "explain":
            assert (code, err) == (0, "")
            continue
        assert code == 2 if refused else code in (0, 1, 2), (name, code, err)
        assert not err or (err.startswith("klpteach: ") and err.count("\n") == 1 and len(err) < 700), (name, err)
        assert code != 2 or err, name


@pytest.mark.parametrize("kind", KINDS)
def test_a_strange_module_gets_an_answer_or_one_line_from_every_command(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "strange.ko"
    path.write_bytes(KINDS[kind]())
    check(use(path, tmp_path))


TOO_MANY = {
    "200 objects": "objects to patch", "3,000 objects": "objects to patch", "40,000 functions": "functions to patch",
    "200,000 sites": "livepatch relocations", "60,000 sites with a symbol each": "livepatch relocations",
    "300,000 undefined symbols": "undefined symbols",
}  # fmt: skip


@pytest.mark.parametrize("kind", TOO_MANY)
def test_more_than_is_played_is_counted_before_the_work(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "strange.ko"
    path.write_bytes(KINDS[kind]())
    found = use(path, tmp_path)
    for name in ("inspect", "as JSON", "bring"):
        code, err, seconds = found[name]
        assert code == 2 and f" {TOO_MANY[kind]}, klpteach plays {MOST[TOO_MANY[kind]]} at most" in err
        assert seconds < SECONDS / 4, f"{name} took {seconds:.1f} s"  # each relocation read once takes longer


@pytest.mark.parametrize("path", STRANGERS, ids=lambda path: path.name)
def test_a_module_that_did_harm_once_does_none(path: Path, tmp_path: Path) -> None:
    copy = tmp_path / path.name.removesuffix(".gz")
    copy.write_bytes(gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes())
    check(use(copy, tmp_path))


@pytest.mark.parametrize("kind", NO_FILES)
def test_what_is_no_file_is_refused_at_once(kind: str, tmp_path: Path) -> None:
    start = time.monotonic()
    check(use(NO_FILES[kind](tmp_path), tmp_path), refused=True)
    assert time.monotonic() - start < 120, "it waited"


def test_a_relative_path_means_the_file_of_the_folder_that_is_current_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder, name in (("one", b"aaa"), ("two", b"bbb")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "m.ko").write_bytes(livepatch().replace(b"livepatch_strange", name.ljust(17, b"_")))
        os.utime(tmp_path / folder / "m.ko", (1, 1))
    for folder, letter in (("one", "a"), ("two", "b")):
        monkeypatch.chdir(tmp_path / folder)
        assert ModuleFile.open("m.ko").name[0] == letter


def test_a_file_that_was_written_again_is_read_again_though_size_and_time_are_the_same(tmp_path: Path) -> None:
    path = tmp_path / "m.ko"
    for name in (b"aaa", b"bbb"):
        path.write_bytes(livepatch().replace(b"livepatch_strange", name.ljust(17, b"_")))
        os.utime(path, (1, 1))
        assert ModuleFile.open(path).name[:3] == name.decode()


@pytest.mark.parametrize("letters", [b"\xff", "имя".encode(), "имя".encode()[:-1], b"\xed\xb2\x80"])
def test_a_name_of_any_bytes_can_be_shown_and_is_found_in_the_stand_in(letters: bytes) -> None:
    from strange_modules import name_with

    data = name_with(letters)
    file = ModuleFile(data, "x.ko")
    wanted = [name for name in file.symbol_names if name.endswith("_open,0")]
    assert wanted and all(name.isprintable() for name in wanted)
    asked = wanted[0].removeprefix(".klp.sym.nfsd_demo.").removesuffix(",0")
    assert asked in stand_in(file, "nfsd_demo").symbol_names
    assert ElfImage.parse(data).to_bytes() == data, "the writer gives back the very bytes"


def test_a_position_of_four_billion_does_not_make_as_many_symbols() -> None:
    assert len(stand_in(ModuleFile(sympos_bomb(), "x.ko"), "nfsd_demo").symtab) < 10_000


def test_overlapping_arrays_of_functions_are_refused() -> None:
    with pytest.raises(ModuleFormatError, match="overlap"):
        _ = ModuleFile(KINDS["objects with overlapping arrays of functions"](), "x.ko").klp


CALLS = {"x86_64-6.12": 4, "ppc64le-6.12": 10, "s390x-6.12": 20, "arm64-7.3": 283}  # PLT32, REL24, PLT32DBL, CALL26


def many_calls(kernel: str, calls: int, functions: int) -> ModuleFile:
    """nfsd_demo with so many calls more, to so many functions of the kernel."""
    image = ElfImage.parse((KO / kernel / "nfsd_demo.ko").read_bytes())
    text = next(number for number, section in enumerate(image.sections) if section.name == ".text")
    start, first = len(image.sections[text].body), len(image.symbols)
    image.sections[text].body += bytes(8 * calls)
    image.symbols += [Symbol(f"function{n}", 16) for n in range(functions)]
    more = Section(".rela.text2", 4, 0x40, 0, image.sections.index(image.symtab), text, 8, 24)
    image.sections.append(more)
    image.set_relocations(more, [Rela(start + 8 * n, first + n % functions, CALLS[kernel]) for n in range(calls)])
    return ModuleFile(image.to_bytes(), "nfsd_demo.ko")


@pytest.mark.parametrize("kernel", CALLS)
@pytest.mark.parametrize("functions", [1, 4_000])
def test_a_target_with_as_many_calls_as_are_played_takes_seconds(kernel: str, functions: int) -> None:
    livepatch = ModuleFile.open(KO / kernel / "livepatch_nfsd_demo.ko")
    target = many_calls(kernel, MOST["relocations"] - 1_000, functions)
    begun = time.process_time()
    assert survives(livepatch, {"nfsd_demo": target})
    assert time.process_time() - begun < SECONDS


@pytest.mark.parametrize("kernel", CALLS)
def test_a_target_with_more_is_counted_before_the_work(kernel: str) -> None:
    livepatch = ModuleFile.open(KO / kernel / "livepatch_nfsd_demo.ko")
    most = MOST_ON.get(livepatch.arch, MOST)["relocations"]
    with pytest.raises(KlpteachError, match=f"relocations, klpteach plays {most} at most"):
        survives(livepatch, {"nfsd_demo": many_calls(kernel, most, 1)})
