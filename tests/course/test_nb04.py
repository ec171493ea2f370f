"""Notebook 04: orders against real kernels and objdump."""

import pytest
from binutils import disassembled

import klpteach as kt
from klpteach.course.nb04 import klp_arch
from klpteach.course.nb04 import questions as nb04
from klpteach.course.nb04.klp_arch import EVENTS, RELOCATE, REPLACE
from klpteach.course.notebooks import find_exercise
from klpteach.scenarios.recorded import evidence

SEEDS = range(20)


@pytest.mark.parametrize("name", ["order", "swap"])
@pytest.mark.parametrize("seed", SEEDS)
def test_the_right_order_is_accepted_and_another_gets_a_hint(name, seed):
    problem = find_exercise(name).problem(seed)
    assert problem.reply(problem.answer).mark == "✓" and problem.reply(list(problem.answer)).mark == "✓"
    wrong = problem.answer[::-1] if name == "order" else "ac" if problem.answer != "ac" else "bd"
    reply = kt.check(name, wrong, seed)
    assert reply.mark == "✗" and len(reply.text) > 20


@pytest.mark.parametrize("name", ["order", "swap"])
def test_a_seed_gives_its_problem_and_another_seed_another(name):
    asked = [find_exercise(name).problem(seed).ask for seed in SEEDS]
    assert asked == [find_exercise(name).problem(seed).ask for seed in SEEDS] and len(set(asked)) > 12


def test_seeds_ask_about_both_ways_both_kernels_and_every_harm():
    orders, swaps = ([find_exercise(name).problem(seed).ask for seed in range(30)] for name in ("order", "swap"))
    assert all("on 6.12," in ask for ask in orders), "the notebook's figure shows the order of 6.1"
    assert {word for word in ("is coming", "is going") if any(word in ask for ask in orders)} == {
        "is coming",
        "is going",
    }
    assert len({ask.split("two neighbours. ")[1].split("\n")[0] for ask in swaps}) == 3


def test_objdump_reads_the_seven_bytes_as_the_notebook_says():
    call, cli = klp_arch.play([RELOCATE, REPLACE])
    assert disassembled(call.code, 0) == [f"call *{klp_arch.IRQ_DISABLE:#x}"]
    assert disassembled(cli.code, 0) == ["cli", "nopw 0x0(%rax,%rax,1)"]
    clobbered = klp_arch.play([REPLACE, RELOCATE])[-1].code
    said = disassembled(clobbered + bytes.fromhex("4889df"), 0)
    assert said[0] == "cli" and "cmpxchg" in said[1] and len(said) == 3, "two bytes of what follows are swallowed"


def test_of_all_neighbours_only_the_first_two_write_the_same_bytes():
    assert [klp_arch.ends(klp_arch.swapped(n)) for n in range(4)] == ["corrupt", "right", "right", "old"]
    assert [klp_arch.ends(klp_arch.swapped(n), check=True) for n in range(4)] == ["refused", "right", "right", "old"]
    assert klp_arch.ends(EVENTS) == klp_arch.ends(EVENTS, check=True) == "right"


@pytest.mark.parametrize("kernel", ["6.1", "6.12"])
def test_real_kernels_do_what_the_notebook_tells_of_them(kernel):
    ends = {"late": ("REFUSED", "LOADS"), "vmlinux": ("REFUSED", "LOADS"), "cumulative": ("REFUSED", "LOADS")}
    late, vmlinux, cumulative = (evidence(f"{name}--{kernel}--{how[kernel == '6.12']}") for name, how in ends.items())
    assert not any(any(value) for value in late[0].sites.values()) and all(
        any(value) for value in late[1].sites.values()
    )
    early = [[any(value) for value in step.sites.values()] for step in vmlinux[:3]]
    assert early[0] == [False, False, True] and early[1] == [True, True, True]
    assert cumulative[4].lines == ["livepatch: applying patch 'livepatch_cumul2' to loading module 'lockd_demo'"]
    assert [step.errno for step in evidence(f"callback-fails--{kernel}--REFUSED")][1:] == [-19, -8, 0, -8]
    catalogue = evidence(f"catalogue--{kernel}--REFUSED")
    for number, words in (
        (26, "'demo_missing' not found"),
        (32, "position 3"),
        (35, "ambiguity"),
        (53, "vmlinux symbol"),
    ):
        assert words in catalogue[number - 1].lines[-1]
    assert "Unknown symbol nfsd_demo_exported (err -2)" in evidence(f"dependency--{kernel}--LOADS")[0].lines[-1]


def test_when_a_target_is_patched_the_real_lines_stand_in_the_watched_order():
    whats = [event.what for event in nb04.events()]
    assert whats.index("10 relocations written") < whats.index("pre_patch callback") < whats.index("init()")
    said = [line for step in evidence("late--6.1--REFUSED").steps[1:3] for line in step.lines]
    assert [line.split()[1] for line in said] == ["applying", "reverting"]
    printed = [what for what in whats if what.startswith("prints")]
    assert [what.split("“")[1].split()[0] for what in printed] == ["applying", "reverting"]


def test_letters_are_taken_in_any_case_and_with_anything_between_them():
    order, swap = (find_exercise(name).problem(3).answer for name in ("order", "swap"))
    for answer in (order.upper(), "-".join(order), list(order), tuple(order.upper())):
        assert kt.check("order", answer, 3).mark == "✓"
    for answer in (swap.upper(), f"{swap[1]}, {swap[0]}", {*swap}):
        assert kt.check("swap", answer, 3).mark == "✓"
    assert "two letters" in kt.check("swap", None, 3).text and "in order" in kt.check("order", 5, 3).text
