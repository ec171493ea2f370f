"""Notebook 01: the numbers of the report mean what it says, checked with recordings, kernel addresses and capstone."""

import re
from collections import Counter

import pytest

import klpteach as kt
from klpteach.course.ds_form import DSForm
from klpteach.course.nb01 import questions, report, val
from klpteach.model.step import hexa
from klpteach.scenarios.recorded import evidence

SEEDS = range(1, 21)
pytestmark = pytest.mark.usefixtures("blank")
symbol = questions.EXERCISES["symbol-behind-a-log"]
word = questions.EXERCISES["decode-a-word"]


# -- what the notebook claims, held against real kernels --------------------------------------------------------------------


def test_up_to_6_2_val_is_the_new_sum_before_the_place_is_subtracted():
    moved = evidence("moved--6.1--REFUSED")
    assert moved.source == "real kernel" and val.val_is(moved) == "new"
    numbers = {number for _, _, number in val.candidates(moved)}
    assert len(numbers) == 4, "in this story no candidate can be taken for another"


def test_since_6_3_val_is_the_distance_that_would_be_written():
    refused = evidence("foreign-write--6.12--REFUSED")
    numbers = Counter(number for _, _, number in val.candidates(refused))
    number = int(val.reason(refused[-1])["val"], 16)
    assert val.val_is(refused) == "distance" and numbers[number] == 1


def test_a_reload_at_the_same_base_cannot_tell_the_old_sum_from_the_new():
    keys = {key: number for key, _, number in val.candidates(evidence("reload--6.1--REFUSED"))}
    assert keys["old"] == keys["new"]


def test_the_model_prints_the_same_val_as_the_real_kernel_in_both_stories():
    for story, release, name in (
        ("moved", "6.1", "moved--6.1--REFUSED"),
        ("foreign-write", "6.12", "foreign-write--6.12--REFUSED"),
    ):
        ours, theirs = kt.simulate(story, release), evidence(name)
        assert val.reason(ours[-1])["val"] == val.reason(theirs[-1])["val"]


def test_loc_is_a_hash_that_changes_with_the_boot_and_only_with_it():
    rows = val.locs().rows
    by_boot = {boot: {row[2] for row in rows if row[0] == boot} for boot, *_ in rows}
    assert len(rows) == 4 and all(len(seen) == 1 for seen in by_boot.values())
    assert len(set.union(*by_boot.values())) == len(by_boot) == 3
    assert len({row[3] for row in rows}) == 1
    assert all(f"{int(row[3].strip('`'), 16):016x}" not in row[2] for row in rows)


def test_the_reports_symbol_is_the_one_of_the_golden_values():
    assert "`0xffffffffa03e2940`" in report.anatomy(report.REPORT[0]).rows[-1][1]


def test_the_lines_climb_in_the_opposite_order_of_dmesg():
    step = evidence("reload--6.1--REFUSED")[3]
    told = [(row[0], row[2]) for row in report.climb(step.lines, "nfsd_demo").rows if row[0]]
    assert told[::-1] == [(str(number), line) for number, line in enumerate(step.lines, 1)]


def test_the_climb_names_the_file_that_prints_and_user_space_on_top():
    files = [row[3] for row in report.climb().rows]
    assert files[0] == "user space (kmod)" and files[-1] == "arch/x86/kernel/module.c"
    assert report.climb([report.REPORT_PPC64LE]).rows[-1][3] == "arch/powerpc/kernel/module_64.c"


def test_the_calls_of_the_climb_stand_in_a_real_kernels_trace():
    trace = "\n".join(evidence("no-alloc--6.1--OOPS")[1].lines)
    names = [name.removesuffix("()") for name, _, _ in report.CALLS[-3:]]
    places = [trace.index(name) for name in reversed(names)]
    assert places == sorted(places)


def test_every_part_that_an_anatomy_names_is_in_the_line():
    for line in (*report.REPORT, report.REPORT_PPC64LE):
        for part, says in report.anatomy(line).rows:
            assert part.strip("`") in line and says


def test_the_wordings_are_those_of_the_recorded_kernels():
    said = {row[0]: row[1] for row in shapes()}
    for name, key in (("moved--6.1--REFUSED", "up to 6.2"), ("foreign-write--6.12--REFUSED", "6.3 to 6.18")):
        assert shape(evidence(name)[-1].lines[0]) == said[key]


def shapes():
    return [(kernel, shape(line.strip("`"))) for kernel, line, _ in val.wordings().rows]


def shape(line):
    return re.sub(r"(?<=loc )\S+(?=,)|(?<=val )[0-9a-f]+", "N", line)


def test_an_unknown_line_is_refused_with_advice():
    with pytest.raises(kt.KlpteachError, match="explain_dmesg"):
        report.anatomy("usb 1-1: new high-speed USB device")


def test_names_in_a_line_cannot_become_markup():
    line = report.REPORT[1].replace("livepatch_nfsd", "<script>x</script>")
    for table in (report.anatomy(line), report.climb([line])):
        assert "<script" not in table._repr_html_() and "<script>" in repr(table)


# -- ppc64le words ----------------------------------------------------------------------------------------------------------


def test_a_word_is_decoded_as_capstone_decodes_it():
    capstone = pytest.importorskip("capstone")
    engine = capstone.Cs(capstone.CS_ARCH_PPC, capstone.CS_MODE_64 | capstone.CS_MODE_LITTLE_ENDIAN)
    for seed in SEEDS:
        number = int(re.search(r"got ([0-9a-f]{8})", word.problem(seed).ask)[1], 16)
        _, _, name, operands = next(engine.disasm_lite(number.to_bytes(4, "little"), 0))
        theirs = f"{name} {operands}".replace(" ", "")
        hexed = re.sub(r"-?0x[0-9a-f]+", lambda m: str(int(m[0], 16)), theirs)
        assert hexed == DSForm.of(number).text.replace(" ", "")


def test_the_word_of_the_report_is_the_one_in_a_real_kernels_memory():
    step = evidence("reload--6.1-stock--REFUSED", "ppc64le")[3]
    assert "got e8410018" in step.lines[0]
    assert step.bytes_at("livepatch_nfsd_demo:.text+0x7c")[4:] == 0xE8410018.to_bytes(4, "little")
    assert DSForm.of(0xE8410018).text == "ld r2,24(r1)"


@pytest.mark.parametrize("seed", SEEDS)
def test_the_decoded_word_is_accepted_in_any_spacing_and_its_slips_are_named(seed):
    problem = word.problem(seed)
    number = int(re.search(r"got ([0-9a-f]{8})", problem.ask)[1], 16)
    found = DSForm.of(number)
    assert found.word == number and problem.answer == found.text
    name, offset = found.text.partition(" ")[0], f"{4 * found.DS:#x}"
    spellings = (f"{name} r{found.RT},{offset}(r{found.RA})", f"{name} {found.RT},{4 * found.DS}({found.RA})")
    for answer in (found.text.upper().replace(",", " , "), *spellings):
        assert kt.check("decode-a-word", answer, seed).mark == "✓"
    if found.RT != found.RA:
        assert "other way round" in kt.check("decode-a-word", found._replace(RT=found.RA, RA=found.RT).text, seed).text
    unscaled = found.text.replace(f"{4 * found.DS}(", f"{found.DS}(")
    assert "four bytes" in kt.check("decode-a-word", unscaled, seed).text
    assert kt.check("decode-a-word", "nop", seed).mark == "✗"


# -- the symbol behind a log ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_the_symbol_that_the_log_gives_is_where_the_target_stood(seed):
    """Worked out here from the words of the problem alone; the exercise took it from the model's kallsyms."""
    problem = symbol.problem(seed)
    val = int(re.search(r"val ([0-9a-f]+)", problem.ask)[1], 16)
    P = int(re.search(r"P = `(0x[0-9a-f]{16})`", problem.ask)[1], 16)
    S = val + 4 if "Skipping" in problem.ask else (val + 4 + P) & 0xFFFFFFFFFFFFFFFF
    assert problem.answer == S and S % 4 == 0 and S >> 30 == 0xFFFFFFFFC0000000 >> 30
    assert kt.check("symbol-behind-a-log", hexa(S), seed).mark == kt.check("symbol-behind-a-log", S, seed).mark == "✓"


@pytest.mark.parametrize("seed", SEEDS)
def test_every_slip_is_wrong_and_told_why(seed):
    problem = symbol.problem(seed)
    assert len(problem.slips) == 3
    for number, words in problem.slips:
        reply = kt.check("symbol-behind-a-log", number, seed)
        assert reply.mark == "✗" and reply.text.startswith(words)


def test_a_wrong_answer_gets_a_hint_and_a_second_one_a_stronger_hint():
    one, two = (kt.check("symbol-behind-a-log", number, 1) for number in (1, 2))
    assert "Skipping" in one.text and "solve for S" in two.text and "kt.worked" in two.text


def test_the_same_seed_is_the_same_problem_and_the_seeds_differ():
    from klpteach.course.exercise import _made

    first = {seed: (symbol.problem(seed).ask, word.problem(seed).ask) for seed in SEEDS}
    _made.cache_clear()
    assert first == {seed: (symbol.problem(seed).ask, word.problem(seed).ask) for seed in SEEDS}
    assert len({ask for ask, _ in first.values()}) == len({ask for _, ask in first.values()}) == len(SEEDS)


def test_the_logs_come_from_kernels_before_and_after_6_3():
    old = Counter("Skipping" in symbol.problem(seed).ask for seed in SEEDS)
    assert min(old[True], old[False]) >= 4


# -- the questions ----------------------------------------------------------------------------------------------------------


def test_the_questions_answers_are_what_the_recordings_say():
    assert {name: question.answer() for name, question in questions.QUESTIONS.items()} == {
        "whose-bytes": "livepatch",
        "loc-again": "per-boot",
        "val-stale-or-new": "new",
        "val-on-6.12": "distance",
        "e8410018": "restore",
    }
