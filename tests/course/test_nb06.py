"""Notebook 06: words behind calls against real kernels' memory, stubs against objdump, and the reader's restore_r2()."""

import re
from functools import partial

import pytest
from binutils import disassembled, objdump

import klpteach as kt
from klpteach.course.nb06 import questions as nb06
from klpteach.course.nb06 import restore, tables
from klpteach.course.notebooks import find_exercise, find_question
from klpteach.reading.calls import words_of
from klpteach.scenarios.recorded import evidence

SEEDS = range(20)
evidence_of = partial(evidence, arch="ppc64le")
ENDS = {
    ("reload", "6.1"): "REFUSED",
    ("reload", "6.12"): "LOADS",
    ("sibling", "6.1"): "LOADS",
    ("sibling", "6.12"): "LOADS",
}


def stock(story, release):
    return evidence_of(f"{story}--{release}-stock--{'REFUSED' if story == 'no-nop' else ENDS[story, release]}")


def test_the_questions_answers_are_what_real_kernels_did():
    assert find_question("which-call").answer() == "b0"
    assert "lp_demo_show+0x6c/" in stock("reload", "6.1")[3].lines[0]  # the word behind the call at .text+0xb0
    assert find_question("data-only").answer() == "loads"
    assert not any(step.errno for step in evidence_of("data-only--6.1-stock--LOADS"))
    moved = evidence_of("moved--6.12-stock--STUBS")
    loads = [step.errno for step in moved if step.command == "insmod nfsd_demo.ko"]
    assert find_question("four-moves").answer() == str(loads[1:].count(0))
    cleared = evidence_of("reload--6.1-clear--LOADS")[2]
    put_back = {words_of(value)[1] for key, value in cleared.sites.items() if ":.text+" in key}
    assert find_question("put-back").answer() == "nop" and put_back == {0x60000000}


@pytest.mark.parametrize("release", ["6.1", "6.12"])
def test_every_case_of_the_restore_is_in_a_real_kernels_memory_or_refusals(release):
    known = dict(restore.cases(release))
    story = stock("reload", release)
    for key, words in restore.calls_of(restore.LIVEPATCH, release).items():
        assert known[words] == words_of(story[1].sites[key])[1]
        before = words_of(story[2].sites[key])
        if not story[3].errno:
            assert known[before] == words_of(story[3].sites[key])[1]
    if story[3].errno:
        assert known[words_of(story[2].sites["livepatch_nfsd_demo:.text+0xb0"])] == story[3].errno
    refused = stock("no-nop", release)[1]
    assert known[restore.BRANCH, 0x38600001] == refused.errno and "got 38600001" in " ".join(refused.lines)
    assert not any(step.errno for step in stock("sibling", release)) and known[0x48000000, 0] == 0


def test_the_order_of_calls_is_the_order_of_the_slots_on_a_real_kernel():
    entries = stock("reload", "6.1")[1].stubs["livepatch_nfsd_demo"]["entries"]
    on_kernel = [entry["symbol"].split()[0] for entry in entries if "[nfsd_demo]" in (entry["symbol"] or "")]
    table = tables.order_of_calls(stock("reload", "6.1"))
    assert [row[2].strip("`") for row in table.rows] == on_kernel and len(on_kernel) == 3


@pytest.mark.parametrize("story", ["moved--6.12-stock--STUBS", "moved--6.1-stock--REFUSED"])
def test_the_slots_are_counted_as_on_a_real_kernel(story):
    recording = evidence_of(story)
    model = kt.simulate("moved", recording.release, arch="ppc64le")
    assert tables.slots(model).rows == tables.slots(recording).rows and len(model) > 10


def test_a_stub_reads_as_objdump_reads_it():
    rows = tables.a_stub(6).rows[:6]
    code = b"".join(int(row[1].strip("`"), 16).to_bytes(4, "little") for row in rows)
    assert [row[2].strip("`") for row in rows] == disassembled(code, arch="ppc64le")


def test_the_loads_are_those_that_objdump_finds():
    found = set()
    for name in ("nfsd_demo", "livepatch_nfsd_demo", "livepatch_cumul1", "kvm_demo", "sunrpc_demo"):
        for _, code, text in objdump("ppc64le", "-d", "-j", ".text", kt.sample(f"{name}.ko", "ppc64le")):
            if text.split()[0] == "ld":
                found.add(int.from_bytes(bytes.fromhex(code), "little"))
    assert found == set(restore.loads_of_doublewords())


def ld(rt, offset, ra):
    return 58 << 26 | rt << 21 | ra << 16 | offset & 0xFFFC


@pytest.mark.parametrize("seed", SEEDS)
def test_a_right_encoder_is_accepted_and_wrong_ones_get_a_hint(seed):
    assert find_exercise("encode-ld").problem(seed).reply(ld).mark == "✓"
    for wrong in (
        lambda rt, offset, ra: ld(ra, offset, rt),
        lambda rt, offset, ra: 58 << 26 | rt << 21 | ra << 16 | offset // 4 & 0x3FFF,
        lambda rt, offset, ra: 58 << 26 | rt << 21 | ra << 16 | offset,
    ):
        reply = kt.check("encode-ld", wrong, seed)
        assert reply.mark == "✗" and "ld(" in reply.text and len(reply.text) > 60


@pytest.mark.parametrize("seed", SEEDS)
def test_four_bytes_are_decoded_and_each_slip_is_named(seed):
    problem = find_exercise("decode-ld").problem(seed)
    assert ld(*problem.answer).to_bytes(4, "little").hex(" ") in problem.ask
    assert problem.reply(problem.answer).mark == "✓"
    for wrong, words in problem.slips:
        assert problem.reply(wrong).mark == "✗" and problem.reply(wrong).text == words
    assert kt.check("decode-ld", (0, 0, 0), seed).text


@pytest.mark.parametrize("seed", SEEDS)
def test_the_worked_restore_runs_and_is_right_and_the_other_releases_is_not(seed):
    problem = find_exercise("restore-r2").problem(seed)
    release = "6.12" if "6.12" in problem.ask else "6.1"
    scope = {}
    exec(problem.shown, scope)
    assert problem.reply(scope["restore_r2"]).mark == "✓"
    exec(nb06._code("6.1" if release == "6.12" else "6.12"), scope)
    assert problem.reply(scope["restore_r2"]).mark == "✗"
    assert kt.check("restore-r2", lambda call, after: 0xE8410018, seed).mark == "✗"


@pytest.mark.parametrize("name", sorted(nb06.EXERCISES))
def test_a_seed_is_a_problem(name):
    asked = {find_exercise(name).make(nb06.random.Random(f"x:{seed}")).ask for seed in SEEDS}
    again = {find_exercise(name).make(nb06.random.Random(f"x:{seed}")).ask for seed in SEEDS}
    assert asked == again and len(asked) > 1


@pytest.mark.parametrize("slot", [-1, 11, 99])
def test_a_slot_that_is_not_there_is_one_clear_line(slot):
    with pytest.raises(kt.KlpteachError, match="has 11 slots"):
        tables.a_stub(slot)


@pytest.mark.parametrize("seed", range(1, 9))
def test_by_hand_the_words_of_one_instruction_or_two_calls_will_do(seed):
    encode, restore = (find_exercise(name).problem(seed) for name in ("encode-ld", "restore-r2"))
    rt, offset, ra = map(
        int, re.search(r"By hand instead: the word of ld r(\d+),(-?\d+)\(r(\d+)\)", encode.ask).groups()
    )
    word = encode.answer(rt, offset, ra)
    assert kt.check("encode-ld", f"{word:#x}", seed).mark == kt.check("encode-ld", word, seed).mark == "✓"
    calls = [(int(a, 16), int(b, 16)) for a, b in re.findall(r"restore_r2\((0x\w+), (0x\w+)\)$", restore.ask, re.M)]
    right = [restore.answer(*one) for one in calls]
    assert len(right) == 2
    assert (
        kt.check("restore-r2", right, seed).mark == kt.check("restore-r2", ", ".join(map(str, right)), seed).mark == "✓"
    )
    for wrong in (right[:1], [right[0], 5], 0, "no", [None]):
        assert kt.check("restore-r2", wrong, seed).mark == "✗"
    assert kt.check("encode-ld", word ^ 4, seed).mark == "✗"


@pytest.mark.parametrize("word", ("x", 1 << 32, -1, None))
def test_what_is_no_word_is_one_clear_line(word):
    with pytest.raises(kt.KlpteachError, match=r"is no word\. Give a number"):
        restore.poked(word)
