"""The fleet: every machine's life is what the model of the kernel says, and the same seed is the same year."""

from __future__ import annotations

import copy
import random
from dataclasses import replace

import numpy as np
import pytest

from klpteach.errors import KlpteachError, PolicyError, ScenarioError
from klpteach.files.samples import ko_dir
from klpteach.fleet import CUSTOMERS, LEFT_OUT, Customer, Fleet, Tally, assumptions, default_mixes, run_fleet
from klpteach.fleet.days import Kind, calendar, kinds
from klpteach.fleet.events import Cast, Event, perform
from klpteach.fleet.fingerprint import condition, fingerprint, written
from klpteach.fleet.states import StateTable
from klpteach.fleet.walk import Walk
from klpteach.model.kernel import Kernel
from klpteach.model.policy import available

CAST = Cast()
MOVING = Cast(("nfsd_demo",), ("livepatch_nfsd_demo", "livepatch_cumul2"), places=4)
NO_LOCKD = frozenset(("lockd_demo",))
EVENTS = [
    *(Event(kind, target) for kind in ("start", "start-moved", "fail", "stop") for target in CAST.targets),
    *(Event("edition", name, missing) for name in CAST.editions for missing in (frozenset(), NO_LOCKD)),
    *(Event(kind, CAST.hotfix) for kind in ("hotfix", "damaged")),
    Event("withdraw"),
]
OF_ARCH = {"x86_64": ("6.1", "6.12"), "ppc64le": ("6.1", "6.12"), "s390x": ("6.1", "6.12"), "arm64": ("7.3",)}
ALONE = [(arch, release, mix) for arch, found in OF_ARCH.items() for release in found for mix in default_mixes(arch)]
QUIET = (Customer("all", 1.0, ("nfsd_demo",), hotfixes=0.0, reboots=0.0),)


def one(release: str = "6.1", proposals: tuple[str, ...] = (), **changed: object) -> Tally:
    """A small fleet under one mix."""
    return run_fleet(Fleet(machines=400, release=release, mixes=(proposals,), **changed))[0]  # type: ignore[arg-type]


# -- the table is the model -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arch", "release", "mix"), ALONE, ids=lambda value: "+".join(value) if isinstance(value, tuple) else value
)
def test_a_walk_by_the_table_is_the_walk_of_one_kernel_step_by_step(arch, release, mix):
    """Two histories with one fingerprint have one future: the table joins them, one kernel that lives through all does not."""
    table, rng = StateTable(CAST, release, mix, arch), random.Random(f"{arch} {release} {mix}")
    for _ in range(2):
        kernel, state = Kernel(arch, release, mix), 0
        kernel.records_state = False
        for event in rng.choices(EVENTS, k=40):
            edge = table.follow(state, event)
            assert edge.effects == perform(kernel, event, CAST), event
            assert table.conditions[edge.target] == condition(kernel, CAST), event
            state = edge.target
            if kernel.wrecked:
                break


def test_the_table_asks_the_model_once_for_each_state_and_event():
    table = StateTable(CAST)
    start = Event("start", "nfsd_demo")
    first = table.follow(0, start)
    asked = table.commands
    assert asked > 0
    assert table.follow(0, start) is first and table.commands == asked


@pytest.mark.parametrize("mix", [(), ("split-per-object",)], ids=str)
def test_a_copy_of_a_kernel_goes_on_alone_and_shares_what_never_changes(mix):
    kernel = StateTable(CAST, "6.1", mix).boot()
    for command in ("modprobe nfsd_demo", "modprobe livepatch_cumul1"):
        kernel.run(command)
    before, other = fingerprint(kernel), copy.deepcopy(kernel)
    assert fingerprint(other) == before
    assert all(mine.file is its.file for mine, its in zip(kernel.modules, other.modules, strict=True))
    for command in (
        "rmmod nfsd_demo",
        "echo 0 > /sys/kernel/livepatch/livepatch_cumul1/enabled",
        "rmmod livepatch_cumul1",
    ):
        assert other.run(command).errno == 0
    assert other.modules == [] and fingerprint(kernel) == before
    assert list(other.memory) == [] and len(list(kernel.memory)) == len(kernel.modules)


def test_the_fingerprint_sees_bytes_that_stay_written():
    table = StateTable(CAST)
    fresh, dirty = table.boot(), table.boot()
    fresh.run("modprobe livepatch_cumul1")
    for command in ("modprobe nfsd_demo", "modprobe livepatch_cumul1", "rmmod nfsd_demo"):
        dirty.run(command)
    assert fingerprint(fresh) != fingerprint(dirty)
    assert [written(kernel.find_module("livepatch_cumul1")) != () for kernel in (fresh, dirty)] == [False, True]


def test_the_fingerprint_of_x86_64_does_not_see_addresses():
    kernels = [Kernel(), Kernel()]
    kernels[0].run("insmod filler4k.ko")
    for kernel in kernels:
        kernel.run("modprobe nfsd_demo")
    kernels[0].run("rmmod filler4k")
    assert kernels[0].modules[0].base != kernels[1].modules[0].base
    assert fingerprint(kernels[0]) == fingerprint(kernels[1])


def test_a_machine_that_hangs_stays_as_it_is():
    table = StateTable(CAST)
    kernel = table.boot()
    kernel.run("modprobe nfsd_demo")
    kernel.run("insmod livepatch_nfsd_demo+section-not-alloc.ko")
    assert kernel.wrecked
    assert condition(kernel, CAST).hangs and fingerprint(kernel) == "hangs"
    hanging = table._number(kernel)
    assert table.follow(hanging, Event("start", "nfsd_demo")).target == hanging


# -- what a year brings ---------------------------------------------------------------------------------------------------


def test_the_reload_bug_is_there_up_to_6_2_and_gone_with_6_3():
    assert [one(release, damaged=0.0).refused_loads > 0 for release in ("5.3", "6.1", "6.3", "6.12")] == [1, 1, 0, 0]


def test_who_never_reloads_never_meets_the_bug():
    calm = one(customers=QUIET)
    assert (calm.refused_loads, calm.down_days, calm.repairs) == (0, 0, 0)
    assert one(customers=(replace(QUIET[0], reloads=0.5),)).refused_loads > 0


def test_without_the_check_damaged_livepatches_are_taken_and_crash_machines():
    stock, unchecked = one(damaged=0.5), one(proposals=("remove-check",), damaged=0.5)
    assert stock.damaged_refused > 0 and unchecked.damaged_refused == 0
    assert stock.crashes == 0 and unchecked.crashes > 0
    assert unchecked.overwritten_days >= unchecked.crashes
    assert unchecked.refused_loads == 0


def test_denied_removal_pins_what_is_patched():
    pinned = one(proposals=("deny-removal",), damaged=0.0)
    assert pinned.refused_removals > 0 and pinned.pinned_days > 0 and pinned.unneeded_days > 0


def test_an_init_that_fails_defeats_denied_removal():
    visitor = Customer("visitors", 1.0, on_demand=("nfsd_demo",), visits=1.0, failed_loads=0.0, hotfixes=0.0)
    years = [
        one(proposals=("deny-removal",), customers=(replace(visitor, failed_loads=often),)) for often in (0.0, 1.0)
    ]
    assert [year.refused_loads > 0 for year in years] == [False, True]


def test_hard_dependencies_load_what_nobody_wants_and_fail_without_the_hardware():
    tally = one(proposals=("hard-dependencies",))
    assert tally.pulled_in > 0 and tally.unneeded_days > 0
    assert tally.refused_livepatches > 0, "lockd_demo has no hardware on some machines"
    assert tally.machines_unpatched == 20 and tally.behind_days == 20 * 365


def test_hard_dependencies_are_harmless_where_everything_is_used_and_there():
    everything = (Customer("all", 1.0, CAST.targets, reloads=0.5),)
    tally = one(proposals=("hard-dependencies",), customers=everything, damaged=0.0)
    assert (tally.unneeded_days, tally.refused_livepatches, tally.unpatched_days) == (0, 0, 0)
    assert tally.refused_removals > 0


@pytest.mark.parametrize("mix", default_mixes())
def test_what_is_counted_fits_together(mix):
    tally = one(proposals=mix)
    machine_days = tally.machines * tally.days
    for name in ("down_days", "unpatched_days", "behind_days", "overwritten_days"):
        assert 0 <= getattr(tally, name) <= machine_days
    for name in ("unneeded_days", "pinned_days", "stale_days"):
        assert 0 <= getattr(tally, name) <= machine_days * len(CAST.targets)
    assert tally.machines_refused <= min(tally.refused_loads, tally.machines)
    assert tally.unpatched_at_end <= tally.machines_unpatched <= tally.machines
    assert (tally.unpatched_days > 0) == (tally.machines_unpatched > 0)
    assert tally.crashes >= tally.oopses


def test_counting_only_who_moved_is_counting_everyone():
    fleet = Fleet(machines=300, days=90, damaged=0.3, mixes=(("remove-check",),))
    walk = Walk(fleet, calendar(fleet), ("remove-check",))
    total = np.zeros(0, np.int64)
    for day in range(fleet.days):
        walk.live(day)
        everyone = np.bincount(walk._place(np.arange(fleet.machines)), minlength=len(walk.present))
        assert everyone.tolist() == walk.present.tolist(), day
        total = np.pad(total, (0, len(everyone) - len(total))) + everyone
    assert total.tolist() == walk.days_in.tolist() and total.sum() == 300 * 90


# -- the calendar ---------------------------------------------------------------------------------------------------------


def test_the_same_seed_is_the_same_year_and_another_is_another():
    first, again, other = (run_fleet(Fleet(machines=300, seed=seed, mixes=((),))) for seed in (1, 1, 2))
    assert first == again != other


def test_a_proposal_changes_nothing_in_the_calendar():
    alone, beside = (
        run_fleet(Fleet(machines=200, mixes=mixes)) for mixes in ((("remove-check",),), ((), ("remove-check",)))
    )
    assert alone[0] == beside[1]


def test_events_come_as_often_as_the_parameters_say():
    fleet = Fleet(
        machines=20_000, customers=(Customer("all", 1.0, ("nfsd_demo",), reloads=1.5, hotfixes=0.6),), moved=0.25
    )
    year = calendar(fleet)
    count = {kind: len(year.events[kind][1]) for kind in kinds(fleet)}
    months = 20_000 * 365 / 30
    assert count[Kind("reload", "nfsd_demo")] == pytest.approx(1.5 * 0.75 * months, rel=0.02)
    assert count[Kind("reload-moved", "nfsd_demo")] == pytest.approx(1.5 * 0.25 * months, rel=0.02)
    assert count[Kind("hotfix")] == pytest.approx(0.6 * 0.99 * months, rel=0.02)
    assert count[Kind("reload", "lockd_demo")] == 0, "nobody has it"


def test_no_machine_has_the_same_event_twice_a_day():
    fleet = Fleet(
        machines=50, days=60, customers=(Customer("all", 1.0, on_demand=CAST.targets, visits=20, visit_days=1),)
    )
    year = calendar(fleet)
    for kind in kinds(fleet):
        for day in range(fleet.days):
            machines = year.on(kind, day).tolist()
            assert len(machines) == len(set(machines)), (kind, day)


def test_every_machine_has_one_customer_in_the_shares_asked_for():
    owner = calendar(Fleet(machines=1_000, days=3)).owner
    assert np.bincount(owner).tolist() == [round(customer.share * 1_000) for customer in CUSTOMERS]


def test_progress_tells_every_day_of_every_mix():
    told: list[tuple[int, int]] = []
    run_fleet(Fleet(machines=10, days=4, mixes=((), ("remove-check",))), lambda done, total: told.append((done, total)))
    assert told == [(day, 8) for day in range(1, 9)]


# -- parameters -----------------------------------------------------------------------------------------------------------


def test_every_proposal_is_compared_in_one_reading_unless_you_choose():
    assert Fleet().mixes == ((), *((name,) for name in available(readings=False)))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"machines": 0}, "machines is 0"),
        ({"machines": 1.5}, "whole number"),
        ({"days": -3}, "days is -3"),
        ({"damaged": 1.1}, "between 0 and 1"),
        ({"crash": -0.1}, "between 0 and 1"),
        ({"customers": ()}, "add up to 1"),
        ({"customers": (Customer("half", 0.5),)}, "add up to 1"),
        ({"customers": (Customer("x", 1.0, ("nfsd",)),)}, "names nfsd; there are nfsd_demo, lockd_demo"),
        ({"customers": (Customer("x", 1.0, ("nfsd_demo",), missing=frozenset(("nfsd_demo",))),)}, "does not have"),
        ({"customers": (Customer("x", 1.0, reloads=31),)}, "0 to 30"),
        ({"customers": (Customer("x", 1.0, visit_days=0.5),)}, "1 to 36,500 days"),
    ],
)
def test_a_parameter_that_makes_no_sense_is_told_in_one_line(wrong, says):
    with pytest.raises(ScenarioError, match=says) as told:
        Fleet(**wrong)
    assert "\n" not in str(told.value) and isinstance(told.value, KlpteachError)


@pytest.mark.parametrize(
    "wrong", [{"release": "4.4"}, {"mixes": (("no-such",),)}, {"arch": "riscv64"}, {"arch": "arm64"}]
)
def test_what_the_model_does_not_know_is_refused_before_the_year_begins(wrong):
    with pytest.raises(PolicyError):
        Fleet(**wrong)


def test_all_assumptions_can_be_read():
    told = assumptions()
    assert told["crash"] == Fleet().crash and told["file servers: reloads"] == CUSTOMERS[0].reloads
    assert len(told) > 5 * 8


def test_the_cast_is_real_modules():
    for arch in ("x86_64", "ppc64le"):
        for name in (*CAST.targets, *CAST.editions, CAST.hotfix):
            assert (ko_dir(arch) / f"{name}.ko").exists(), name


# -- what a reader sees ---------------------------------------------------------------------------------------------------


def test_the_assumptions_are_told_with_what_is_left_out():
    from klpteach.views.frames import assumption_table

    table = assumption_table()
    assert set(assumptions()) | set(LEFT_OUT) == set(table.index)
    assert set(table["what it is"]) == {"assumed", "left out"}


# -- ppc64le --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mix", [(), ("reuse-stub",), ("clear-relocations",)], ids=str)
def test_on_ppc64le_the_table_knows_where_a_target_has_been(mix):
    """Refused or not depends on which places have stubs already: a fingerprint without addresses and stubs fails here."""
    table, rng = StateTable(MOVING, "6.12", mix, "ppc64le"), random.Random(5)
    events = [Event(kind, "nfsd_demo") for kind in ("stop", "stop", "start", "start-moved")]
    events += [Event("edition", "livepatch_nfsd_demo"), Event("withdraw")]
    refused = 0
    for _ in range(4):
        kernel, state = Kernel("ppc64le", "6.12", mix), 0
        kernel.records_state = False
        for event in [events[-2], *rng.choices(events, weights=(6, 6, 4, 8, 1, 1), k=40)]:
            edge = table.follow(state, event)
            assert edge.effects == perform(kernel, event, MOVING), event
            state, refused = edge.target, refused + edge.effects.refused_loads
            assert table.conditions[state] == condition(kernel, MOVING), event
            if kernel.wrecked:
                break
    assert (refused > 0) == (mix != ("reuse-stub",))


def test_on_ppc64le_a_target_that_keeps_moving_uses_up_the_stubs_unless_a_site_keeps_its_stub():
    """real-kernels: the table of stubs runs out on an unmodified 6.12; the proposal reuse-stub is there for that."""
    mover = (Customer("movers", 1.0, ("nfsd_demo",), reloads=10, reboots=0, hotfixes=0),)
    fleet = Fleet(
        machines=4, days=60, arch="ppc64le", release="6.12", edition_days=365, moved=1.0, customers=mover,
        mixes=((), ("reuse-stub",)), cast=MOVING,
    )  # fmt: skip
    stock, reuse = run_fleet(fleet)
    assert stock.refused_loads + stock.oopses > 0
    assert (reuse.refused_loads, reuse.oopses) == (0, 0)
