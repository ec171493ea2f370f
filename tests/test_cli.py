"""The command line as a user meets it: what it prints, and how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import KO, ROOT, SHARED

from klpteach import ModuleFile, Recording, load_image, simulate
from klpteach.cli import main
from klpteach.files.symbol_list import undefined_names

LIVEPATCH = str(KO / "x86_64-6.1" / "livepatch_nfsd_demo.ko")


def run(capsys: pytest.CaptureFixture[str], *argv: str) -> tuple[int, str, str]:
    status = main(list(argv))
    out, err = capsys.readouterr()
    return status, out, err


def test_simulate_prints_the_three_lines_of_the_report(capsys) -> None:
    status, out, _ = run(capsys, "simulate", "reload", "--release", "5.3")
    lines = out.splitlines()
    at = next(i for i, line in enumerate(lines) if "Skipping invalid relocation target" in line)
    assert status == 1
    assert lines[at].startswith(
        "module: x86/modules: Skipping invalid relocation target, existing value is nonzero for type 2, loc 00000000"
    )
    assert lines[at + 1 : at + 4] == [
        "livepatch: failed to initialize patch 'livepatch_nfsd_demo' for module 'nfsd_demo' (-8)",
        "livepatch: patch 'livepatch_nfsd_demo' failed for module 'nfsd_demo', refusing to load module 'nfsd_demo'",
        "= ENOEXEC (-8)",
    ]


def test_simulate_ends_well_where_the_kernel_does(capsys) -> None:
    assert run(capsys, "simulate", "reload", "--release", "6.12")[0] == 0
    assert run(capsys, "simulate", "reload", "--release", "6.1", "--proposal", "clear-checked")[0] == 0


def test_simulate_writes_a_recording_that_replays(capsys, tmp_path: Path) -> None:
    path = str(tmp_path / "reload.json")
    run(capsys, "simulate", "reload", "--out", path)
    assert run(capsys, "replay", path) == (0, "4 steps, 0 differences\n", "")


def test_simulate_as_json_is_the_recordings_steps(capsys) -> None:
    _, out, _ = run(capsys, "simulate", "reload", "--json")
    assert [step["errno"] for step in json.loads(out)["steps"]] == [0, 0, 0, -8]


@pytest.mark.parametrize("options", [(), ("--release", "6.12"), ("--proposal", "reuse-stub")], ids=str)
@pytest.mark.parametrize("story", ["reload", "moved", "init-fails"])
def test_simulate_runs_on_ppc64le_and_its_recording_replays(capsys, story: str, options: tuple, tmp_path: Path) -> None:
    path = str(tmp_path / "story.json")
    status, out, _ = run(capsys, "simulate", story, "--arch", "ppc64le", *options, "--out", path)
    steps = Recording.load(path)
    assert status == int(any(step.refused and step.command.startswith("insmod") for step in steps))
    assert "patching complete" in out and "x86" not in out
    assert steps[-1].stubs and steps.kernel["arch"] == "ppc64le"
    assert run(capsys, "replay", path) == (0, f"{len(steps)} steps, 0 differences\n", "")


def test_inspect_tells_how_many_moves_a_table_of_stubs_bears(capsys) -> None:
    status, out, _ = run(capsys, "inspect", str(KO / "ppc64le-6.12" / "livepatch_edge.ko"))
    lines = [line for line in out.splitlines() if line.startswith("reload of nfsd_demo")]
    assert status == 0
    assert [line.partition(": ")[2].partition(" (nfsd_demo is a stand-in)")[0] for line in lines] == [
        *["insmod nfsd_demo.ko: ENOEXEC (-8)"] * 2,
        "works at the same base; at others 2x, then ENOENT",  # 6.3: one block, so bytes follow the table
        "works at the same base; at others 2x, then oops",  # 6.12: .stubs ends with its page, as recorded
        "works at the same base; at others 2x, then ENOENT",  # 7.3: a slot less, so one more stub fits on the page
    ]


def test_relocate_writes_a_ppc64le_image_with_its_stubs(capsys, tmp_path: Path) -> None:
    symbols = {
        "_mcount": "0xc000000000046f80",
        "seq_printf": "0xc000000000255c90",
        "klp_enable_patch": "0xc00000000011d7f0",
    }
    (tmp_path / "symbols.json").write_text(json.dumps(symbols))
    file, base = str(KO / "ppc64le-6.1" / "livepatch_nfsd_demo.ko"), 0xC008000000100000
    argv = ("relocate", file, "--base", f"{base:x}", "--symbols", str(tmp_path / "symbols.json"))
    status, out, _ = run(capsys, *argv, "--out", str(tmp_path / "image"), "--json")
    report = json.loads(out)
    (stubs,) = (row for row in report["sections"] if row["section"] == ".stubs")
    flat = (tmp_path / "image").read_bytes()
    table = flat[stubs["image_offset"] :][: stubs["size"]]
    found = [int.from_bytes(table[at + 32 : at + 40], "little") for at in range(0, len(table), 40)]
    assert (status, int(report["start"], 16)) == (0, base)
    assert found[:3] == [int(symbols[name], 16) for name in ("_mcount", "seq_printf", "klp_enable_patch")]
    assert set(found[3:]) == {0} and len(found) == 11


@pytest.mark.skipif(not SHARED.exists(), reason="no recordings in ../shared/recordings")
def test_replay_prints_each_difference_and_counts_them(capsys, tmp_path: Path) -> None:
    raw = json.loads((SHARED / "x86_64" / "bug--6.1--nokaslr.json").read_text())
    raw["steps"][6]["errno"] = 0
    (tmp_path / "changed.json").write_text(json.dumps(raw))
    status, out, _ = run(capsys, "replay", str(tmp_path / "changed.json"), "--ko", str(SHARED / "ko"))
    assert status == 1
    assert out.splitlines() == ["step 6 (insmod nfsd_demo.ko): errno: -8 != 0", "11 steps, 1 differences"]


def test_inspect_names_every_site_and_every_release(capsys) -> None:
    status, out, _ = run(capsys, "inspect", LIVEPATCH)
    assert status == 1 and "patches nfsd_demo: demo_show,1, demo_clamp,1" in out
    assert "waits for nfsd_demo: 10 livepatch relocations" in out
    assert (
        "reload of nfsd_demo on 6.1: insmod nfsd_demo.ko: ENOEXEC (-8)" in out
        and "reload of nfsd_demo on 6.12: works" in out
    )


def test_inspect_says_the_verdict_first_and_the_sections_on_request(capsys) -> None:
    status, out, _ = run(capsys, "inspect", LIVEPATCH, "--target", str(KO / "x86_64-6.1" / "nfsd_demo.ko"))
    first = out.splitlines()[0]
    assert status == 1 and first.startswith(
        "livepatch_nfsd_demo.ko, built for 6.1.0-56-amd64: nfsd_demo, if it can be removed,"
    )
    assert "is refused when it comes back: ENOEXEC (-8)" in first and "\nsection " not in out and "build_id" in out
    assert (
        out.index("✓ nfsd_demo: vermagic") < out.index("reload of nfsd_demo on 5.3") < out.index("waits for nfsd_demo")
    )
    assert "6.1: insmod nfsd_demo.ko: ENOEXEC (-8)  <- what it was built for" in out
    assert " -4: left as " in out and "refused on 5.3, 6.1" in out
    _, out, _ = run(capsys, "inspect", LIVEPATCH, "--sections")
    assert out.index("\nsection ") > out.index("waits for nfsd_demo")


@pytest.mark.parametrize("name", ["livepatch_kpatch", "livepatch_klp_build", "livepatch_nfsd_demo"])
def test_inspect_ends_with_0_where_its_own_kernel_reloads_and_no_check_fails(name: str, capsys) -> None:
    folder = KO / "x86_64-6.12"
    assert run(capsys, "inspect", str(folder / f"{name}.ko"), "--target", str(folder / "nfsd_demo.ko"))[0] == 0
    assert run(capsys, "inspect", str(folder / f"{name}.ko"), "--target", str(folder / "lockd_demo.ko"))[0] == 1
    other = str(KO / "x86_64-6.1" / "nfsd_demo.ko")
    assert run(capsys, "inspect", str(folder / f"{name}.ko"), "--target", other)[0] == 1


def test_inspect_as_json_holds_all_of_it(capsys) -> None:
    status, out, _ = run(capsys, "inspect", str(KO / "x86_64-6.1" / "livepatch_kpatch.ko"), "--json")
    report = json.loads(out)
    assert status == 1 and report["ok"] is False and report["form"] == "kpatch-build" and report["replace_assumed"]
    assert (report["built_for"], report["release"]) == ("6.1.0-56-amd64", "6.1")
    assert [row["kind"] for row in report["reload"] if row["built_for"]] == ["refused"]
    waits = report["livepatch_relocations"]["nfsd_demo"]["count"]
    assert len(report["refused_on_reload"]) == waits and report["sections"] and report["checks"][-1]["ok"] is None


def test_an_ordinary_module_is_shown_with_its_sections(capsys) -> None:
    status, out, _ = run(capsys, "inspect", str(KO / "x86_64-6.1" / "nfsd_demo.ko"))
    assert status == 0 and out.startswith("nfsd_demo.ko is not a livepatch") and "\nsection " in out


def test_inspect_ends_with_1_on_a_livepatch_that_is_not_marked(capsys) -> None:
    status, out, _ = run(capsys, "inspect", str(KO / "x86_64-6.1" / "livepatch_nomark.ko"))
    assert status == 1 and "✗ livepatch_nomark: livepatch=Y is missing" in out


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("nfsd_demo", "livepatch_nfsd_demo"), "livepatch_nfsd_demo.ko is one; did you swap them?"),
        (("nfsd_demo", "lockd_demo"), "nfsd_demo.ko is not a livepatch, and --target is for a livepatch only."),
        (("livepatch_nfsd_demo", "nfsd_demo", "nfsd_demo_v2"), "nfsd_demo.ko and nfsd_demo_v2.ko are both module nfsd"),
    ],
)
def test_inspect_says_in_one_line_that_files_do_not_go_together(names: tuple, words: str, capsys) -> None:
    file, *targets = (str(KO / "x86_64-6.1" / f"{name}.ko") for name in names)
    status, out, err = run(capsys, "inspect", file, *(f"--target={target}" for target in targets))
    assert (status, out) == (2, "") and words in err and err.count("\n") == 1


def test_inspect_names_every_stand_in(capsys) -> None:
    _, out, _ = run(capsys, "inspect", str(KO / "x86_64-6.1" / "livepatch_kpatch_two.ko"))
    assert "reload of acl_demo on 6.3: works (acl_demo and nfsd_demo are stand-ins)" in out


def test_inspect_uses_the_target_that_is_given(capsys) -> None:
    _, out, _ = run(capsys, "inspect", LIVEPATCH, "--target", str(KO / "x86_64-6.1" / "nfsd_demo.ko"), "--json")
    rows = json.loads(out)["reload"]
    assert {row["stand_in"] for row in rows} == {False}
    real = simulate("reload", "6.1")[3]
    assert next(row["line"] for row in rows if row["release"] == "6.1") == real.lines[0]


def test_relocate_writes_the_image_that_the_library_computes(capsys, tmp_path: Path) -> None:
    file = ModuleFile.open(KO / "x86_64-6.1" / "nfsd_demo.ko")
    base = 0xFFFFFFFFC0201000
    names = [n for n, s in zip(file.symbol_names, file.symtab["shndx"].tolist(), strict=True) if n and not s]
    symbols = {name: 0xFFFFFFFF81000000 + 16 * i for i, name in enumerate(names)}
    (tmp_path / "symbols.json").write_text(json.dumps({name: hex(address) for name, address in symbols.items()}))
    status, _, err = run(
        capsys,
        "relocate",
        str(KO / "x86_64-6.1" / "nfsd_demo.ko"),
        "--base",
        hex(base),
        "--release",
        "6.1",
        "--symbols",
        str(tmp_path / "symbols.json"),
        "--out",
        str(tmp_path / "image"),
    )
    assert (status, err) == (0, "")
    flat, image = (tmp_path / "image").read_bytes(), load_image(file, base, symbols.get)
    for address, body in image.sections.values():
        assert flat[address - base : address - base + len(body)] == bytes(body)


def test_relocate_says_what_the_kernel_would_when_a_symbol_is_unknown(capsys, tmp_path: Path) -> None:
    (tmp_path / "none.json").write_text("{}")
    status, _, err = run(
        capsys,
        "relocate",
        str(KO / "x86_64-6.1" / "filler4k.ko"),
        "--base",
        "0xffffffffc0201000",
        "--symbols",
        str(tmp_path / "none.json"),
        "--out",
        str(tmp_path / "image"),
    )
    assert status == 1 and "Unknown symbol __fentry__ (err -2)" in err and not (tmp_path / "image").exists()


FILLER, BASE = str(KO / "x86_64-6.1" / "filler4k.ko"), 0xFFFFFFFFC0201000  # it wants two symbols
THUNK = 0xFFFFFFFF81E01000
MAP = (
    "0000000000000000 A fixed_percpu_data\nffffffff81e01000 T __x86_return_thunk\nffffffff81000000 T _stext\n"
    "ffffffff81068a30 T __fentry__\n"
)
LISTS = {
    "System.map": MAP,
    "/proc/kallsyms, where modules have functions of the name": MAP.replace(" T __f", " t __f").replace(
        "ffffffff81000000 T _stext", "ffffffffc0100000 t __fentry__\t[nfsd]\nffffffff81068a30 T __fentry__"
    ),
    "a list that a module's uses stand in": "ffffffff81999990 u __fentry__\t[livepatch_nfsd_demo]\n" + MAP,
    "JSON": '{"__fentry__": "0xffffffff81068a30", "__x86_return_thunk": "ffffffff81e01000"}',
    "JSON with a byte order mark": f'\ufeff\n{{"__fentry__": {0xFFFFFFFF81068A30}, "__x86_return_thunk": {THUNK}}}',
}


def relocated(capsys, tmp_path: Path, text: str, *more: str) -> tuple[int, str, str]:
    (tmp_path / "symbols").write_text(text)
    argv = ("relocate", FILLER, "--base", hex(BASE), "--symbols", str(tmp_path / "symbols"))
    return run(capsys, *argv, "--out", str(tmp_path / "image"), *more)


@pytest.mark.parametrize("name", LISTS)
def test_relocate_takes_lists_of_symbols_as_people_have_them(name: str, capsys, tmp_path: Path) -> None:
    status, out, err = relocated(capsys, tmp_path, LISTS[name])
    assert (status, err) == (0, "") and "one was taken" not in out
    image = load_image(
        ModuleFile.open(FILLER), BASE, {"__fentry__": 0xFFFFFFFF81068A30, "__x86_return_thunk": THUNK}.get
    )
    flat = (tmp_path / "image").read_bytes()
    for address, body in image.sections.values():
        assert flat[address - BASE :][: len(body)] == bytes(body)


def test_relocate_says_which_of_its_symbols_have_several_addresses(capsys, tmp_path: Path) -> None:
    twice = (
        "ffffffff81000000 t __fentry__\nffffffff82000000 t __fentry__\nffffffff81 t x\nffffffff82 t x\n"
        + MAP.replace(" T __f", " u __f")
    )
    _, out, _ = relocated(capsys, tmp_path, twice)
    assert (
        out.endswith(f"__fentry__ has 2 addresses in {tmp_path / 'symbols'}; one was taken\n") and " x has" not in out
    )
    assert json.loads(relocated(capsys, tmp_path, twice, "--json")[1])["doubtful"] == {"__fentry__": 2}


SYMVERS = "0xbdfb6dbb\t__fentry__\tvmlinux\tEXPORT_SYMBOL\t\n0x12345678\tother\tfs/nfsd/nfsd\tEXPORT_SYMBOL_GPL\tNS\n"
NO_LISTS = {
    "zeros": ("0000000000000000 T _stext\n0000000000000000 t x\t[nfsd]\n", "kptr_restrict hides them"),
    "Module.symvers": (
        SYMVERS,
        "CRCs and no addresses. Of the 2 symbols that filler4k.ko wants it lists 1 of vmlinux; nobody",
    ),
    "Module.symvers of something else": (
        SYMVERS.replace("__fentry__", "x"),
        "lists none; nobody exports __fentry__, __x86_return_thunk.",
    ),
    "nothing": ("", "nothing stands in it"),
    "prose": ("Dear kernel,\nwhere are you?", "give a JSON object"),
    "bytes": ("\x7fELF\x02\x01", "give a JSON object"),
    "a torn list": (MAP + "ffffffff8106", "line 5 is not ADDRESS TYPE NAME: 'ffffffff8106'"),
    "JSON that is cut": ('{"a": "0x1"', "not JSON"),
    "a JSON list": ("[]", "an object"),
    "deep JSON": ("[" * 100_000, "too many brackets"),
    "JSON with a long number": ('{"a": "' + "7" * 100_000 + '"}', "is no 64-bit address"),
    "JSON with a longer number": ('{"a": ' + "7" * 4000 + "}", "is no 64-bit address"),
    "JSON with a negative number": ('{"a": -1}', "is no 64-bit address"),
    "JSON with true": ('{"_printk": true}', "symbol _printk: True is no 64-bit address"),
}


@pytest.mark.parametrize("name", NO_LISTS)
def test_what_is_no_list_of_addresses_is_one_clear_line_and_status_2(name: str, capsys, tmp_path: Path) -> None:
    text, words = NO_LISTS[name]
    status, out, err = relocated(capsys, tmp_path, text)
    assert (status, out) == (2, "") and words in err and err.count("\n") == 1 and len(err) < 600
    assert not (tmp_path / "image").exists()


@pytest.mark.parametrize(
    ("source", "words"), [("/dev/zero", "is a device"), ("/", "is a directory"), ("/nowhere", "cannot be read")]
)
def test_a_list_of_symbols_without_end_or_without_a_file_is_one_line(source: str, words: str, capsys) -> None:
    status, _, err = run(capsys, "relocate", FILLER, "--base", hex(BASE), "--symbols", source, "--out", "/dev/null")
    assert status == 2 and words in err and err.count("\n") == 1


def test_a_list_of_symbols_larger_than_any_kernels_is_one_line(capsys, tmp_path: Path) -> None:
    with (tmp_path / "long").open("wb") as file:
        file.truncate((32 << 20) + 1)
    status, _, err = run(
        capsys, "relocate", FILLER, "--base", hex(BASE), "--symbols", str(tmp_path / "long"), "--out", "/dev/null"
    )
    assert status == 2 and "more than the 32 MiB" in err and err.count("\n") == 1


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_a_list_of_symbols_may_have_any_encoding_that_a_log_may_have(encoding: str, capsys, tmp_path: Path) -> None:
    names = undefined_names([ModuleFile.open(FILLER)])
    addresses = json.dumps({name: "0xffffffff81000000" for name in names} | {"_printk": "0xffffffff81000000"})
    (tmp_path / "symbols").write_bytes(addresses.encode(encoding))
    for source in (addresses, (tmp_path / "symbols")):
        if isinstance(source, str):
            (tmp_path / "plain").write_text(source)
            source = tmp_path / "plain"
        out = tmp_path / f"{source.name}.image"
        assert run(capsys, "relocate", FILLER, "--base", hex(BASE), "--symbols", str(source), "--out", str(out))[0] == 0
    assert (tmp_path / "plain.image").read_bytes() == (tmp_path / "symbols.image").read_bytes()


@pytest.mark.parametrize(
    "digits", ["１２", "0x_1_0", "+0x10", " 10", "10 ", "0x", "", "-1", "1e+5", "0x10000000000000000", "f" * 6000]
)
def test_an_address_is_hexadecimal_digits_and_nothing_else(digits: str, capsys, tmp_path: Path) -> None:
    (tmp_path / "none").write_text("{}")
    (tmp_path / "list").write_text(json.dumps({"_printk": digits}))
    command = ["relocate", FILLER, "--out", str(tmp_path / "image")]
    for base, symbols in ((digits, tmp_path / "none"), (hex(BASE), tmp_path / "list")):
        status, out, err = run(capsys, *command, f"--base={base}", "--symbols", str(symbols))
        assert (
            (status, out) == (2, "")
            and "is no 64-bit address in hex" in err
            and err.count("\n") == 1
            and len(err) < 300
        )


def test_this_machines_kallsyms_can_be_read_or_are_hidden(capsys, tmp_path: Path) -> None:
    status, _, err = run(
        capsys, "relocate", FILLER, "--base", hex(BASE), "--symbols", "/proc/kallsyms", "--out", str(tmp_path / "image")
    )
    assert (
        status == 0 or "kptr_restrict" in err or "Unknown symbol" in err or "cannot be read" in err or "nothing" in err
    )


def test_explain_reads_the_report_from_standard_input() -> None:
    text = "\n".join(simulate("reload", "5.3")[3].lines)
    done = subprocess.run(
        [sys.executable, "-m", "klpteach", "explain"], input=text, capture_output=True, text=True, check=True
    )
    assert "R_X86_64_PC32" in done.stdout and "S + A" in done.stdout and "hashed" in done.stdout


def test_explain_knows_every_line_that_the_model_prints() -> None:
    from klpteach.reading.log.explain import explain
    from klpteach.scenarios.course import SCENARIOS

    for name in SCENARIOS:
        for release in ("6.1", "6.12", "7.3"):
            lines = [
                line for step in simulate(name, release) for line in step.lines if not line.startswith("poke_demo")
            ]
            assert [e.line for e in explain("\n".join(f"[   1.{n}] {line}" for n, line in enumerate(lines)))] == lines


BAD = [
    (["simulate", "nonsense"], "unknown story 'nonsense'; there are reload, "),
    (["simulate", "reload", "--release", "7.7"], "unknown release '7.7'; there are 5.3, 6.1, 6.3, 6.12, 7.3."),
    (["simulate", "reload", "--proposal", "pray"], "unknown proposal 'pray'; there are "),
    (["simulate", "reload", "--proposal", "clear-checked", "--proposal", "clear-relocations"], "cannot be combined"),
    (["simulate", "reload", "--proposal", "reuse-stub"], "concerns ppc64le only"),
    (["simulate", "reload", "--arch", "vax"], "architecture 'vax'"),
    (["inspect", "/nowhere/nfsd.ko"], "nfsd.ko: cannot be read"),
    (["inspect", "/"], "/: is a directory, not a file"),
    (["replay", "/nowhere/rec.json"], "rec.json: cannot be read"),
    (["explain", "/nowhere/dmesg"], "/nowhere/dmesg: No such file"),
    (["relocate", LIVEPATCH, "--base", "xyz", "--symbols", "/dev/null", "--out", "/dev/null"], ""),
]


@pytest.mark.parametrize(("argv", "words"), BAD, ids=[" ".join(argv[:4]).replace("/", "_") for argv, _ in BAD])
def test_bad_input_is_one_clear_line_and_status_2(argv: list[str], words: str, capsys) -> None:
    status, out, err = run(capsys, *argv)
    assert status == 2 and out == "" and words in err and err.count("\n") == 1 and err.startswith("klpteach: ")


RECORDINGS = {
    "empty": ("", "not JSON"),
    "a list": ("[]", "schema"),
    "another schema": ('{"schema": "x/1"}', "schema 'x/1'"),
    "no steps": ('{"schema": "klpteach-recording/1", "scenario": "s", "kernel": {}}', "key 'steps' is missing"),
    "a step without command": (
        '{"schema": "klpteach-recording/1", "scenario": "s", "kernel": {}, "steps": [{"errno": 0}]}',
        "step 0 has no 'command'",
    ),
    "a step that is a number": (
        '{"schema": "klpteach-recording/1", "scenario": "s", "kernel": {}, "steps": [7]}',
        "step 0 cannot be read",
    ),
    "bytes that are not hex": (
        '{"schema": "klpteach-recording/1", "scenario": "s", "kernel": {}, "steps": [{"command": "boot", "sites": {"a:b+0x0": "zz"}}]}',
        "step 0 cannot be read",
    ),
    "an unknown command": (
        '{"schema": "klpteach-recording/1", "scenario": "s", "kernel": {"release": "6.1.0"}, "steps": [{"command": "explode"}]}',
        "unknown command 'explode'",
    ),
    "an unknown release": (
        '{"schema": "klpteach-recording/1", "scenario": "s", "kernel": {"release": "2.6.32"}, "steps": []}',
        "unknown release '2.6'",
    ),
    "an unknown proposal": (
        '{"schema": "klpteach-recording/1", "scenario": "s", "kernel": {}, "proposals": ["pray"], "steps": []}',
        "unknown proposal 'pray'",
    ),
    "a file that is not there": (
        '{"schema": "klpteach-recording/1", "scenario": "s", "kernel": {}, "steps": [{"command": "insmod gone.ko"}]}',
        "gone.ko",
    ),
}


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_broken_recording_is_one_clear_line_and_status_2(name: str, tmp_path: Path, capsys) -> None:
    text, words = RECORDINGS[name]
    (tmp_path / "bad.json").write_text(text)
    status, _, err = run(capsys, "replay", str(tmp_path / "bad.json"))
    assert status == 2 and words in err and err.count("\n") == 1


def test_names_from_files_cannot_drive_the_terminal(capsys) -> None:
    from klpteach.cli import say

    say("\x1b]0;owned\x07nfsd")
    assert "\x1b" not in capsys.readouterr().out


RAW = "\x1b[31m"
TYPED = {
    "explain": (["explain", f"/nope{RAW}"], "No such file"),
    "explain of two lines": (["explain", "a\nb"], "a\\nb: No such file"),
    "simulate": (["simulate", "reload", "--out", f"{RAW}/x"], "there is no folder"),
    "course": (["course", f"/dev/full/{RAW}"], "Not a directory"),
    "an option": (["simulate", "reload", f"--x{RAW}"], "unrecognized arguments"),
    "an option of 1 MB": (["simulate", "reload", "--" + "x" * 10**6], "unrecognized arguments"),
    "a choice": (["consequences", "--arch", RAW], "invalid choice"),
    "a command": ([RAW], "invalid choice"),
    "a release of 5,000 digits": (["simulate", "reload", "--release", "9" * 5000], "unknown release"),
    "no release": (["simulate", "reload", "--release", ""], "unknown release ''"),
    "a full disk": (["simulate", "reload", "--out", "/dev/full"], "/dev/full: No space left"),
    "what cannot be read": (["explain", "/proc/self/mem"], "/proc/self/mem: "),
    "a folder": (["simulate", "reload", "--out", "/"], "/: Is a directory"),
}


@pytest.mark.parametrize("what", TYPED)
def test_an_error_repeats_what_was_typed_in_letters_and_not_without_end(what: str, capsys) -> None:
    argv, words = TYPED[what]
    try:
        status = main(argv)
    except SystemExit as end:  # argparse
        status = int(end.code or 0)
    out, err = capsys.readouterr()
    *usage, last = err.removesuffix("\n").split("\n")
    assert (status, out) == (2, "") and words in last and re.match(r"klpteach( \w+)?: ", last) and len(last) < 2100
    assert all(line.isprintable() for line in [*usage, last]) and (not usage or usage[0].startswith("usage: "))


EMPTY = [
    *(
        ["course", ""],
        ["site", ""],
        ["replay", ""],
        ["inspect", ""],
        ["explain", ""],
        ["simulate", ""],
        ["progress", ""],
    ),
    *(["inspect", LIVEPATCH, "--target", ""], ["replay", "reload--6.1--REFUSED", "--ko", ""], ["explain", "--ko", ""]),
    *(
        ["simulate", "reload", "--out", ""],
        ["vm", "run", "reload", "--ko", ""],
        ["vm", "record", "reload", "--out", ""],
    ),
    *(["vm", "compare", "", "new"], ["vm", "compare", "old", ""], ["vm", "try", ""], ["class-link", "--hub", ""]),
]


@pytest.mark.parametrize("argv", EMPTY, ids=" ".join)
def test_an_empty_name_is_refused_and_never_taken_for_the_current_folder(
    argv: list[str], capsys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(argv)
    last = capsys.readouterr().err.splitlines()[-1]
    assert end.value.code == 2 and "it is empty" in last and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("argv", [["simulate", "reload"], ["explain", "--json", "log"], ["vm", "compare", "a", "a"]])
def test_a_full_disk_behind_standard_output_is_said_in_one_line(argv: list[str], tmp_path: Path) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("/dev/full is missing")
    (tmp_path / "log").write_text("livepatch: enabling patch 'x'\n" * 900)
    simulate("reload").save(tmp_path / "a")
    for buffered in ("", "1"):
        environment = {**os.environ, "PYTHONUNBUFFERED": buffered, "PYTHONPATH": str(ROOT)}
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [sys.executable, "-m", "klpteach", *argv],
                cwd=tmp_path,
                env=environment,
                stdout=full,
                stderr=-1,
                text=True,
            )
        assert (done.returncode, done.stderr) == (2, "klpteach: standard output: No space left on device\n")


def test_a_recording_goes_through_a_symbolic_link(tmp_path: Path, capsys) -> None:
    for kept in (tmp_path / "old.json", tmp_path / "new.json"):
        link = tmp_path / f"to-{kept.name}"
        link.symlink_to(kept)
        if kept.name == "old.json":
            kept.write_text("old")
        run(capsys, "simulate", "reload", "--out", str(link))
        assert link.is_symlink() and len(Recording.load(kept)) == 4


def test_a_full_disk_leaves_no_half_of_a_recording(small_disk: Path, capsys) -> None:
    (small_disk / "filler").write_bytes(bytes(60 << 10))
    status, _, err = run(capsys, "simulate", "reload", "--out", str(small_disk / "rec.json"))
    assert (status, err) == (2, f"klpteach: {small_disk}/rec.json: No space left on device\n")
    assert [path.name for path in small_disk.iterdir()] == ["filler"]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("nope", "nope", "nope: no such file or folder."),
        ("/dev/null", "nope", "nope: no such file or folder."),
        ("rec.json", "nope", "nope: no such file or folder."),
        ("/dev/null", "rec.json", "null: is a device, not a file"),
        (".", "rec.json", "one is a folder and the other is not"),
        (".", "empty", "no recording in common"),
    ],
)
def test_compare_says_what_is_not_there(
    old: str, new: str, words: str, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    simulate("reload").save("rec.json")
    status, out, err = run(capsys, "vm", "compare", old, new)
    assert (status, out) == (2, "") and words in err and err.count("\n") == 1


PIPES = [
    ["simulate", "reload", "--out", "pipe"],
    ["relocate", FILLER, "--base", hex(BASE), "--symbols", "symbols.json", "--out", "pipe"],
    ["relocate", FILLER, "--base", hex(BASE), "--symbols", "pipe", "--out", "image"],
    ["replay", "pipe"],
    ["inspect", "pipe"],
]


@pytest.mark.parametrize(
    "argv", PIPES, ids=["simulate --out", "relocate --out", "relocate --symbols", "replay", "inspect"]
)
def test_a_pipe_that_nobody_holds_the_other_end_of_is_refused_without_waiting(argv: list[str], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    names = undefined_names([ModuleFile.open(FILLER)])
    (tmp_path / "symbols.json").write_text(json.dumps(dict.fromkeys([*names, "_printk"], "0xffffffff81000000")))
    done = subprocess.run(
        [sys.executable, "-m", "klpteach", *argv], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 2 and re.fullmatch(r"klpteach: pipe: (is )?a pipe.*\n", done.stderr)


def test_what_is_written_into_a_pipe_with_a_reader_arrives_and_explain_reads_from_one() -> None:
    command = f"{sys.executable} -m klpteach"
    both = f"{command} simulate reload --release 5.3 --out >(cat >&2) > /dev/null; {command} explain <(echo 'Module nfsd is blacklisted')"
    done = subprocess.run(["bash", "-c", both], capture_output=True, text=True, timeout=300)
    assert '"klpteach-recording/1"' in done.stderr and "was told not to load nfsd" in done.stdout


def test_relocate_looks_whether_it_can_write_before_it_says_what_else_is_wrong(capsys, tmp_path: Path) -> None:
    (tmp_path / "none").write_text("{}")
    command = [
        "relocate",
        str(KO / "x86_64-6.1" / "nfsd_demo.ko"),
        "--base",
        hex(BASE),
        "--symbols",
        str(tmp_path / "none"),
        "--out",
    ]
    assert "Unknown symbol" in run(capsys, *command, str(tmp_path / "image"))[2]
    for out, words in (("nowhere/image", "there is no folder"), ("", "Is a directory")):
        status, _, err = run(capsys, *command, str(tmp_path / out))
        assert status == 2 and words in err and err.count("\n") == 1


def test_a_reader_that_stops_early_is_no_error() -> None:
    done = subprocess.run(
        f"{sys.executable} -m klpteach inspect {LIVEPATCH} | head -1", shell=True, capture_output=True, text=True
    )
    assert done.stderr == "" and done.stdout.startswith("livepatch_nfsd_demo.ko")


def test_a_saved_recording_comes_back_the_same(tmp_path: Path) -> None:
    story = simulate("cumulative", "6.12")
    story.save(tmp_path / "rec.json")
    again = Recording.load(tmp_path / "rec.json")
    assert again.steps == Recording.load(tmp_path / "rec.json").steps and story.compare(again) == []


def test_relocate_writes_over_none_of_its_inputs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    module, symbols = tmp_path / "a.ko", tmp_path / "symbols.json"
    module.write_bytes((KO / "x86_64-6.1" / "nfsd_demo.ko").read_bytes())
    symbols.write_text("{}")
    link = tmp_path / "link"
    link.symlink_to(module)
    for out in (module, symbols, link):
        before = out.read_bytes()
        command = ["relocate", str(module), "--base", "ffffffffc0201000", "--symbols", str(symbols), "--out", str(out)]
        assert main(command) == 2 and "which would be lost" in capsys.readouterr().err
        assert out.read_bytes() == before


# -- how a command ends where its surroundings are strange ----------------------------------------------------------------


def shell(command: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A line of bash in which `klpteach` is the command."""
    line = f'klpteach() {{ {sys.executable} -m klpteach "$@"; }}; {command}'
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(["bash", "-c", line], cwd=cwd, env=variables, capture_output=True, text=True, timeout=300)


def test_relocate_writes_over_none_of_its_inputs_by_another_of_their_names(tmp_path: Path, capsys) -> None:
    module, symbols = tmp_path / "a.ko", tmp_path / "symbols.json"
    module.write_bytes(Path(FILLER).read_bytes())
    symbols.write_text(LISTS["JSON"])
    for given in (module, symbols):
        hard, link = tmp_path / "hard", tmp_path / "link"
        os.link(given, hard)
        link.symlink_to(hard)
        for out in (hard, link):
            before = given.read_bytes()
            command = ["relocate", str(module), "--base", hex(BASE), "--symbols", str(symbols), "--out", str(out)]
            status, _, err = run(capsys, *command)
            assert status == 2 and f"{out} is {given} itself, which would be lost" in err
            assert given.read_bytes() == before
        hard.unlink()
        link.unlink()


def test_vm_run_writes_over_none_of_the_modules_that_it_is_given(tmp_path: Path, capsys) -> None:
    mine, target, hard = tmp_path / "mine.ko", tmp_path / "target.ko", tmp_path / "hard"
    mine.write_bytes(Path(LIVEPATCH).read_bytes())
    target.write_bytes((KO / "x86_64-6.1" / "nfsd_demo.ko").read_bytes())
    os.link(target, hard)
    for out, given in ((mine, mine), (hard, target)):
        command = ["vm", "run", "reload", "--ko", str(mine), "--target", str(target), "--out", str(out)]
        status, _, err = run(capsys, *command)
        assert status == 2 and f"{out} is {given} itself" in err


OUTPUT_CLOSED = [
    "simulate reload",
    "consequences --csv",
    "consequences --json",
    f"inspect {LIVEPATCH}",
    "explain log",
    "--help",
    "simulate --help",
    "replay reload--6.1--REFUSED",
]


@pytest.mark.parametrize("words", OUTPUT_CLOSED)
def test_a_closed_standard_output_is_said_in_one_line(words: str, tmp_path: Path) -> None:
    (tmp_path / "log").write_text("livepatch: enabling patch 'x'\n")
    done = shell(f"klpteach {words} >&-", tmp_path)
    assert done.returncode == 2 and re.fullmatch("klpteach: standard output is closed.*\n", done.stderr)
    assert shell(f"klpteach {words} >&- 2>&-", tmp_path).returncode == 2


@pytest.mark.parametrize("words", ["inspect nope", "progress nope", "nonsense", "simulate nonsense", "--nope"])
def test_an_error_does_not_go_to_standard_output_where_standard_error_is_closed(words: str, tmp_path: Path) -> None:
    done = shell(f"klpteach {words} 2>&-", tmp_path)
    assert done.returncode == 2 and "klpteach: " not in done.stdout


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", ["--help", "simulate --help", "vm run --help"])
def test_help_that_cannot_be_written_is_no_success(words: str, unbuffered: str, tmp_path: Path) -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("/dev/full is missing")
    done = shell(f"klpteach {words} > /dev/full", tmp_path, PYTHONUNBUFFERED=unbuffered)
    assert (done.returncode, done.stderr) == (2, "klpteach: standard output: No space left on device\n")


def test_ctrl_c_ends_a_command_by_its_signal_and_without_a_word(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "klpteach", "explain"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin and process.stderr
        process.stdin.write(bytes(1 << 20))  # more than a pipe holds: it is being read when this returns
        process.stdin.flush()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == -signal.SIGINT and process.stderr.read() == b""
        with suppress(BrokenPipeError):
            process.stdin.close()


IMPORTED = {
    "a module": "raise KeyboardInterrupt\n",
    "a callback": "class One:\n    def __del__(self):\n        raise KeyboardInterrupt\nOne()\n",
}


@pytest.mark.parametrize("where", IMPORTED)
def test_ctrl_c_while_something_large_is_imported_is_the_same(where: str, tmp_path: Path) -> None:
    (tmp_path / "numpy.py").write_text(IMPORTED[where])
    command = [sys.executable, "-m", "klpteach", "inspect", LIVEPATCH]
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    done = subprocess.run(command, env=environment, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, b"", b"")


def test_ctrl_c_is_an_exception_for_a_caller_in_python(monkeypatch: pytest.MonkeyPatch) -> None:
    def pressed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("klpteach.reading.log.explain.read", pressed)
    with pytest.raises(KeyboardInterrupt):
        main(["explain", LIVEPATCH])


@pytest.mark.parametrize("verb", ["explain", "progress"])
@pytest.mark.parametrize("name", ["pipe", "link"])
def test_a_named_pipe_is_refused_at_once(verb: str, name: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    done = shell(f"klpteach {verb} {name}", tmp_path)
    assert done.returncode == 2 and "named pipe" in done.stderr and done.stderr.count("\n") == 1


LINE = "Module nfsd is blacklisted"


@pytest.mark.parametrize(
    "command",
    [
        f"klpteach explain <(echo '{LINE}')",
        f"klpteach explain <(sleep 1; echo '{LINE}')",
        f"echo '{LINE}' | klpteach explain",
        f"echo '{LINE}' | klpteach explain -",
        f"echo '{LINE}' | klpteach explain /dev/stdin",
        f"klpteach explain - < <(sleep 1; echo '{LINE}')",
        f"mkfifo pipe; echo '{LINE}' > pipe & sleep 1; klpteach explain - < pipe",
    ],
)
def test_explain_reads_what_a_shell_puts_into_a_pipe(command: str, tmp_path: Path) -> None:
    done = shell(command, tmp_path)
    assert (done.returncode, done.stderr) == (0, "") and "was told not to load nfsd" in done.stdout


@pytest.mark.parametrize("base", ["=5", f"={BASE:#x}", f"text={BASE:#x},=5", " =5"])
def test_a_base_without_its_region_is_one_line(base: str, capsys, tmp_path: Path) -> None:
    (tmp_path / "symbols").write_text(LISTS["JSON"])
    command = ["relocate", FILLER, f"--base={base}", "--symbols", str(tmp_path / "symbols"), "--release", "6.12"]
    status, _, err = run(capsys, *command, "--out", str(tmp_path / "image"))
    assert status == 2 and "no region is named before =" in err and err.count("\n") == 1
    assert not (tmp_path / "image").exists()


STRANGE_JSON = {
    "deep": "[" * 100_000,
    "a long number": '{"a": ' + "7" * 10_000 + "}",
    "deep objects": '{"a":' * 100_000,
}


@pytest.mark.parametrize("what", STRANGE_JSON)
def test_json_beyond_pythons_limits_is_refused_in_our_own_words(what: str, capsys, tmp_path: Path) -> None:
    (tmp_path / "it").write_text(STRANGE_JSON[what])
    symbols = ["relocate", FILLER, "--base", hex(BASE), "--symbols", str(tmp_path / "it"), "--out", "/dev/null"]
    for command in (["replay", str(tmp_path / "it")], symbols, ["progress", str(tmp_path / "it")]):
        status, _, err = run(capsys, *command)
        assert status == 2 and err.count("\n") == 1 and len(err) < 200
        assert not re.search(r"recursion|sys\.|decoding a|Exceeds", err)


def test_a_refusal_names_a_few_of_many_symbols(capsys, tmp_path: Path) -> None:
    (tmp_path / "none").write_text("{}")
    module = str(KO / "x86_64-6.1" / "livepatch_kpatch_two.ko")
    command = ["relocate", module, "--base", hex(BASE), "--symbols", str(tmp_path / "none")]
    status, _, err = run(capsys, *command, "--out", str(tmp_path / "image"))
    assert status == 1 and err.count("Unknown symbol") == 3 and "and 6 more" in err and len(err) < 500
