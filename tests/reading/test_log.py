"""What a log is said to mean: the truths that depend on an errno, on the lines around, or on a file; and on real recordings."""

import re
from pathlib import Path

import pytest
from conftest import NO_KO

from klpteach.errors import KlpteachError
from klpteach.files.klp import livepatch_sections
from klpteach.files.module_file import ModuleFile
from klpteach.model import messages
from klpteach.model.recording import Recording
from klpteach.reading.log.case import Case, Modules
from klpteach.reading.log.explain import NOTHING, UNKNOWN, as_json, as_text, explain, read, sentences
from klpteach.reading.log.row import Found
from klpteach.reading.log.table import BY_NAME, ROWS, hints

DATA = Path(__file__).resolve().parents[2] / "data"
FIELD = Path(__file__).resolve().parents[3] / "shared" / "field"
FIELDS = sorted(FIELD.glob("f*.txt"))
RECORDINGS = sorted((DATA / "recordings").rglob("*.json"))
OURS = re.compile(
    r"^(module: |module_64: |livepatch: |\w+: (Unknown symbol|loading out-of-tree|module verification)|BUG: )"
)
NONZERO = "module: x86/modules: Skipping invalid relocation target, existing value is nonzero for type {}, loc 00000000, val ff"
FAILED = "livepatch: failed to initialize patch '{}' for module '{}' ({})"
REFUSED = "livepatch: patch '{0}' failed for module '{1}', refusing to load module '{1}'"


def says(*lines: str, ko: str | Path | None = NO_KO, at: int = 0) -> str:
    return " ".join(explain("\n".join(lines), ko)[at].says)


# -- the table ------------------------------------------------------------------------------------------------------------


def test_every_row_finds_its_own_text_and_every_sentence_can_be_filled():
    values = {
        "err": "-2",
        "insn": "e8410018",
        "where": "e_show+0x60/0x548 [lp]",
        "function_at": "e_show+0x1/0x2",
        "why": "File exists",
    }
    values |= {
        name: "7"
        for name in ("type", "index", "max", "pos", "pid", "cpu", "sec", "idx", "source_line", "count", "offset")
    }
    values |= {"loc": "c0401000", "val": "c0401000", "old": "1", "new": "1", "address": "c0401000", "what": "patching"}
    for row in ROWS:
        line = "".join(values.get(piece, "x1") if i % 2 else piece for i, piece in enumerate(row.pieces))
        line = " ".join(line.split())
        found = [one for one in row.find(line)]
        assert len(found) == 1 and found[0].start == 0, (row.name, line)
        said = list(sentences(Case(found[0], found, 0, Modules(NO_KO))))
        assert said and all(one and not re.search(r"\{\w+\}", one) for one in said), row.name
        assert any(hint in line.lower() for hint in hints()), row.name
        assert explain(line, NO_KO)[0].message == row.name, (row.name, line, explain(line)[0].message)


def test_names_are_unique_and_the_model_prints_nothing_that_has_no_row():
    assert len(BY_NAME) == len(ROWS)
    own = {"PRINTK", "POKE", "TARGET_ABSENT", "TOO_LATE", "NO_PART"}  # of test modules and of proposals
    for name, message in messages.ALL.items():
        line = re.sub(
            r"\{(\w+)[^}]*\}", lambda field: {"what": "patching", "insn": "e8410018"}.get(field[1], "1"), message.format
        )
        if name.startswith("STUB_WARNING"):
            line = line.replace("at 1", "at arch/powerpc/kernel/module_64.c:1 stub_for_addr+0x1/0x2")
            line = line.replace(": 1,", ": arch/powerpc/kernel/module_64.c:1 at stub_for_addr+0x1/0x2,")
        if name == "PLT_WARNING":
            line = line.replace("at 1", "at module_emit_plt_entry+0x1/0x2")
        if name not in own:
            assert explain(line, NO_KO)[0].message != "UNKNOWN", line


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_every_line_of_a_recording_about_modules_is_known(path):
    wanted = [line for step in Recording.load(path) for line in step.lines if OURS.match(line)]
    found = read("\n".join(wanted), NO_KO, most=10_000).found
    assert [one.line for one in found] == [" ".join(line.split()) for line in wanted]
    assert all(one.says and one.message != "UNKNOWN" for one in found)


# -- the lines that failed for those who brought them ---------------------------------------------------------------------


@pytest.mark.skipif(not FIELDS, reason="no logs of others in ../shared/field")
@pytest.mark.parametrize("path", FIELDS, ids=lambda path: path.stem)
def test_every_line_that_was_brought_is_explained(path):
    text = path.read_text()
    found = explain(text, NO_KO)
    assert [one.number for one in found] == [n for n, line in enumerate(text.splitlines(), 1) if line.strip()]
    assert all(one.message != "UNKNOWN" for one in found)


@pytest.mark.skipif(not FIELDS, reason="no livepatches of others in ../shared/field")
def test_the_log_of_a_real_refusal_names_the_livepatch_and_its_relocations():
    found = read((FIELD / "real-dmesg-debian-6.1.192.txt").read_bytes(), FIELD).found
    [last] = [one for one in found if one.message == "REVERTING"]
    assert "29 livepatch relocations for nfsd" in " ".join(last.says)
    nonzero = next(one for one in found if one.message == "NONZERO_SKIPPING" and one.fields["type"] == "4")
    assert "more that are not shown" in " ".join(nonzero.says) and "Certain: a livepatch relocation" in " ".join(
        nonzero.says
    )


# -- nonzero --------------------------------------------------------------------------------------------------------------


def test_type_1_without_a_livepatch_line_is_another_struct_module_first():
    said = says(NONZERO.format(1))
    assert said.index("struct module") < said.index("Possible: a livepatch relocation")
    assert "Proposals" not in said


def test_a_livepatchs_line_makes_it_certain_whatever_the_type():
    said = says(NONZERO.format(1), FAILED.format("lp", "nfsd", -8))
    assert (
        "Certain: a livepatch relocation of lp for nfsd" in said and "struct module" not in said and "Proposals" in said
    )


def test_other_types_alone_are_an_earlier_loads_first():
    said = says(NONZERO.format(2))
    assert "Likely: a livepatch relocation" in said
    said = says(NONZERO.format(2), "livepatch: enabling patch 'lp'")
    assert said.index("Likely: no livepatch line follows") < said.index("Possible: a livepatch relocation")


def test_section_and_entry_single_out_the_relocation():
    path = DATA / "ko" / "x86_64-6.12" / "livepatch_nfsd_demo.ko"
    file = ModuleFile.open(path)
    section = livepatch_sections(file)[0]
    kind = (
        int(file.rela(section)["info"][2] & 0xFFFFFFFF)
        if "info" in file.rela(section).dtype.names
        else file.rela(section)[2].tolist()[1]
    )
    line = (
        "module: x86/modules: Invalid relocation target, existing value is nonzero for "
        f"sec {section}, idx 2, type {kind}, loc ffffffffc040101f, val ffffffffffe0904d"
    )
    said = says(line, FAILED.format("livepatch_nfsd_demo", "nfsd_demo", -8), ko=path.parent)
    offset, _, symbol, _ = file.rela(section)[2].tolist()
    assert said.count("The relocation:") == 1
    assert (
        f"{file.section_names[section]}), entry 2: " in said and f"+{offset:#x} → {file.symbol_names[symbol]}" in said
    )
    assert "this kernel does not hash" not in said and "since 6.19" in said


def test_without_a_folder_no_sample_stands_under_a_strangers_log():
    assert "nfsd_demo" not in says(NONZERO.format(2), FAILED.format("livepatch_x", "nfsd", -8), ko=None)
    assert "livepatch_nfsd_demo.ko" in says(
        NONZERO.format(2), FAILED.format("livepatch_nfsd_demo", "nfsd_demo", -8), ko=None
    )


def test_sections_are_counted_for_the_object_only():
    said = says(REFUSED.format("livepatch_spanning", "nfsd_demo"), ko=DATA / "ko" / "x86_64-6.1")
    match = re.search(r"has (\d+) relocations in (\d+) sections that wait for nfsd_demo", said)
    if match:
        file = ModuleFile.open(DATA / "ko" / "x86_64-6.1" / "livepatch_spanning.ko")
        assert int(match[2]) == sum(
            file.section_names[i].startswith(".klp.rela.nfsd_demo.") for i in livepatch_sections(file)
        )


# -- errno ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("err", "word"),
    [
        (-8, "Invalid module format"),
        (-22, "Invalid parameters"),
        (-2, "Unknown symbol in module"),
        (-12, "Cannot allocate memory"),
    ],
)
def test_refusing_says_what_the_user_sees_by_the_errno_of_the_line_before(err, word):
    said = says(FAILED.format("lp", "nfsd", err), REFUSED.format("lp", "nfsd"), at=1)
    assert word in said and f"error {err}," in said
    assert ("loads. Until then" in said) is (err == -8)


def test_refusing_alone_does_not_guess():
    assert "are not in what you pasted" in says(REFUSED.format("lp", "nfsd"))


@pytest.mark.parametrize(
    ("err", "word"),
    [("0", "not exported"), ("-2", "not exported"), ("-16", "still loading"), ("-22", "it is exported")],
)
def test_an_unknown_symbol_depends_on_its_errno(err, word):
    assert word in says(f"livepatch_x: Unknown symbol nfsd_open (err {err})")


def test_the_reason_of_22_is_found_in_the_line_before():
    said = says("lp: disagrees about version of symbol nfsd_open", "lp: Unknown symbol nfsd_open (err -22)", at=1)
    assert "Line 1 says which" in said


@pytest.mark.parametrize(("err", "word"), [(-16, "kprobe"), (-19, "switched itself off"), (-12, "no memory")])
def test_ftraces_errno_is_told_apart(err, word):
    assert word in says(f"livepatch: failed to register ftrace handler for function 'e_show' ({err})")


def test_blacklisted_is_the_kernels_own_list():
    assert "module_blacklist=" in says("Module nfsd is blacklisted")


def test_vermagic_says_whether_release_or_configuration_differs():
    line = "lp: version magic '{}' should be '6.1.0-56-amd64 SMP preempt mod_unload modversions '"
    assert "built for 6.1.0-55-amd64" in says(line.format("6.1.0-55-amd64 SMP preempt mod_unload modversions "))
    assert "differ in: modversions" in says(line.format("6.1.0-56-amd64 SMP preempt mod_unload "))


# -- the life of a livepatch ----------------------------------------------------------------------------------------------

REVERTING = "livepatch: reverting patch '{}' on unloading module '{}'"
APPLYING = "livepatch: applying patch '{}' to loading module '{}'"


def test_reverting_promises_nothing_without_evidence():
    assert "depends on lp" in says(REVERTING.format("lp", "nfsd"))
    assert "came back" in says(REVERTING.format("lp", "nfsd"), APPLYING.format("lp", "nfsd"))
    assert "was refused (line 3)" in says(
        REVERTING.format("lp", "nfsd"), FAILED.format("lp", "nfsd", -8), REFUSED.format("lp", "nfsd")
    )


def test_reverting_knows_the_file():
    said = says(REVERTING.format("livepatch_nfsd_demo", "nfsd_demo"), ko=DATA / "ko" / "x86_64-6.1")
    assert "livepatch relocations for nfsd_demo" in said and "x86_64 since 6.3" in said and "ppc64le" in said


def test_a_transition_that_hangs_is_told_how_to_go_on():
    said = says("livepatch: signaling remaining tasks")
    for word in ("wait", "patch_state", "stack", "enabled", "force"):
        assert word in said


def test_who_holds_it_up_is_named():
    assert "/proc/4242/stack" in says("livepatch: klp_check_stack: nfsd:4242 is sleeping on function e_show")
    found = explain("livepatch: klp_try_switch_task: kworker/0:1:77 has an unreliable stack")[0]
    assert (found.fields["comm"], found.fields["pid"]) == ("kworker/0:1", "77")


# -- what is not known ----------------------------------------------------------------------------------------------------


def test_a_livepatch_line_that_is_not_known_is_shown_with_the_nearest():
    [found] = explain("[ 1.0] livepatch: symbol 'x' was not to be found in any symbol table")
    assert found.message == UNKNOWN.name and "NAME' not found in symbol table" in " ".join(found.says)


def test_lines_of_others_are_passed_over():
    assert explain("usb 1-2: new device\nSubject: [PATCH v2] livepatch: Clear relocation targets\neth0: link up") == []


def test_a_repeated_line_says_where_it_was_explained():
    line = "livepatch: symbol 'x' not found in symbol table"
    assert [one.again for one in explain(f"{line}\nother\n{line}")] == [0, 1]


def test_what_is_left_out_is_said():
    log = read("livepatch: symbol 'x' not found in symbol table\n" * 50, most=10)
    assert len(log.found) == 10 and "Only the first 10" in log.notes[0]


def test_lines_that_only_look_like_messages_are_not_looked_at_without_end():
    log = read("livepatch: x\r" * 30_000)
    assert log.found == [] and "Only 10000 lines were looked at; from line 10001 on nothing was read." in log.notes[0]


def test_what_comes_after_the_last_message_is_no_loss():
    assert (
        read("livepatch: symbol 'x' not found in symbol table\n" * 10 + "usb 1-2: new device\n" * 10, most=10).notes
        == []
    )


@pytest.mark.parametrize("place", ["../libkmod/libkmod-module.c:799", "libkmod/libkmod-module.c:799"])
def test_libkmods_own_place_is_no_part_of_its_message(place):
    line = f"rmmod: ERROR: {place} kmod_module_remove_module() could not remove 'nfsd': Device or resource busy"
    assert [(one.message, one.fields["module"]) for one in explain(line)] == [("RMMOD_KMOD", "nfsd")]


def test_a_folder_that_is_none_is_said_and_not_passed_over(tmp_path):
    (tmp_path / "file").write_text("")
    for none in (tmp_path / "nothing", tmp_path / "file"):
        with pytest.raises(KlpteachError, match="no folder"):
            explain("livepatch: symbol 'x' not found in symbol table", none)


def test_a_message_inside_another_is_not_told_twice():
    line = "insmod: ERROR: could not insert module lp.ko: Unknown symbol in module"
    assert [one.message for one in explain(line)] == ["INSMOD"]


def test_found_is_what_stood_there():
    assert isinstance(next(BY_NAME["NOT_FOUND"].find("livepatch: symbol 'x' not found in symbol table")), Found)


def test_the_text_for_a_terminal_says_what_it_does_not_repeat_and_when_there_is_nothing():
    line = "livepatch: symbol 'x' not found in symbol table"
    assert list(as_text(read(f"{line}\n{line}")))[-3:] == [line, "    As line 1.", ""]
    assert list(as_text(read("eth0: link up"))) == [NOTHING]
    assert as_json(read(line))[0]["fields"] == {"name": "x"}


def test_a_reason_of_another_module_is_not_the_tools_reason():
    lines = (
        "one: Unknown symbol nfsd_open (err -2)",
        "insmod: ERROR: could not insert module /tmp/{}.ko: Unknown symbol in module",
    )
    assert "nearest reason" not in says(lines[0], lines[1].format("other"), at=1)
    assert "line 1 is the nearest reason" in says(lines[0], lines[1].format("one"), at=1)


# -- other machines, other places, whole lines -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "message", "word"),
    [
        ("module lp: overflow in relocation type 283 val ffff800012345678", "ARM64_OVERFLOW", "R_AARCH64_CALL26"),
        ("module lp: unsupported RELA relocation: 311", "ARM64_UNSUPPORTED", "-fPIC"),
        ("module lp: unknown relocation: 65", "S390_UNKNOWN", "R_390_PLT24DBL"),
        ("module lp: relocation error for symbol f (r_type 20, value 0x3ff8)", "S390_ERROR", "R_390_PLT32DBL"),
        ("lp: Relocation type 20 not supported", "TYPE_NOT_SUPPORTED", "R_390_PLT32DBL on s390"),
        ("module: overflow in relocation type 283 val ffff800012345678", "OVERFLOW", "is none of x86"),
    ],
)
def test_a_line_of_another_architecture_is_not_explained_as_x86s(line, message, word):
    [found] = explain(f"[   12.345678] {line}", NO_KO)
    assert found.message == message and word in " ".join(found.says) and "2 GiB: per-CPU" not in " ".join(found.says)


@pytest.mark.parametrize(
    ("reason", "fits", "does_not_fit"),
    [
        ("lp: Unknown symbol nfsd_open (err -2)", "Unknown symbol in module", "Invalid module format"),
        ("lp: Unknown symbol nfsd_open (err -22)", "Invalid parameters", "Unknown symbol in module"),
        ("Loading of unsigned module is rejected", "Key was rejected by service", "Invalid module format"),
        ("lp: disagrees about version of symbol module_layout", "Invalid module format", "Invalid parameters"),
        ("lp: disagrees about version of symbol nfsd_open", "Invalid parameters", "Invalid module format"),
        (FAILED.format("lp", "nfsd", -22), "Invalid parameters", "Key was rejected by service"),
        ("failed to validate module [lp] BTF: -22", "Invalid parameters", "File exists"),
    ],
)
def test_a_line_is_the_reason_only_if_it_gives_that_errno(reason, fits, does_not_fit):
    insmod = "insmod: ERROR: could not insert module lp.ko: "
    assert "line 1 is the nearest reason" in says(reason, insmod + fits, at=1)
    assert "nearest reason" not in says(reason, insmod + does_not_fit, at=1)


def test_the_reason_is_found_behind_a_line_with_another_errno():
    lines = ("lp: Unknown symbol f (err -2)", "Loading of unsigned module is rejected")
    assert "line 1 is" in says(*lines, "insmod: ERROR: could not insert module lp.ko: Unknown symbol in module", at=2)


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("failed to validate module [lp] BTF: -22", "vmlinux"),
        ("-bash: echo: write error: Device or resource busy", "EBUSY"),
        ("bash: line 3: echo: write error: Invalid argument", "that value already"),
        ("tee: /sys/kernel/livepatch/lp/enabled: Invalid argument", "EINVAL"),
    ],
)
def test_what_the_kernel_answers_elsewhere_is_explained(line, word):
    assert word in says(line)


WHOLE = [
    "livepatch: 'lp': reversing transition from patching to unpatching",
    "Modules linked in: lp(OEK) nfsd(+) lockd grace [last unloaded: foo(OE)]",
    "Oops: 0003 [#1] PREEMPT SMP NOPTI",
    "Oops: Oops: 0002 [#1] PREEMPT_RT(full) SMP NOPTI",
    "Oops: Kernel access of bad area, sig: 11 [#1]",
    "Internal error: Oops: 0000000096000004 [#1] PREEMPT SMP",
    "general protection fault, probably for non-canonical address 0xdead000000000100: 0000 [#1] PREEMPT SMP PTI",
    "Oops: general protection fault, maybe for address 0x0: 0000 [#2] SMP KASAN",
]


def test_lines_are_shown_whole():
    assert [one.line for one in explain("\n".join(WHOLE), NO_KO)] == WHOLE
    assert "Livepatches among them: lp (OEK)." in says(WHOLE[1])
    assert "No livepatch is in this line" in says("Modules linked in: nfsd(E) lockd")


def test_the_list_of_modules_ends_where_another_message_begins_and_is_bounded():
    [first, *_] = explain("Modules linked in: nfsd lp(K) CPU: 1 PID: 77 Comm: insmod", NO_KO)
    assert first.line == "Modules linked in: nfsd lp(K)"
    [only] = explain("Modules linked in:" + " x" * 5000, NO_KO)
    assert len(only.line) < 1000


def test_lines_that_no_kernel_prints_are_read_up_to_a_number_of_characters() -> None:
    log = read(("livepatch: " + "a" * 4_989 + "\n") * 1_000)
    assert re.match(r"Only 30\d lines were looked at; from line 30\d on nothing was read\.", log.notes[0])
    assert read("livepatch: symbol 'x' not found in symbol table " * 20_000, most=10**6).notes == []  # 1 MB in one line
