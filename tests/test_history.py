"""What became of modules and sites: held against recordings of real kernels, then against properties, then examples."""

from pathlib import Path

import pytest

from klpteach.reading.history import History, loads, module_files
from klpteach.reading.signs import is_look
from klpteach.reading.verdict import SYMBOLS, verdict
from klpteach.recording import Recording, Step
from klpteach.scenarios import SCENARIOS, simulate

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "recordings"
RECORDINGS = ROOT / "data" / "recordings"
REAL = [*sorted(RECORDINGS.glob("*/*.json")), *sorted(SHARED.glob("*/*.json"))]


def real(name: str | Path) -> History:
    """A recording of a real kernel with the module files that it was made with."""
    path = RECORDINGS / name
    recording = Recording.load(path)
    return History(
        recording,
        module_files(recording, path.parents[1] / "ko" / f"{recording.arch}-{recording.release}")
        or module_files(recording, ROOT / "data" / "ko" / f"{recording.arch}-{recording.release}"),
    )


# -- real kernels -------------------------------------------------------------------------------------------------------------


def test_after_rmmod_every_site_of_the_real_livepatch_is_stale_from_load_one():
    history = real("x86_64/reload--6.1--REFUSED.json")
    assert len(history.sites) == 10
    assert {(history.states(key)[2].kind, history.states(key)[2].load) for key in history.sites} == {("stale", 1)}


def test_on_the_real_612_the_sites_are_cleared_and_written_again():
    history = real("x86_64/reload--6.12--LOADS.json")
    for key in history.sites:
        assert [history.states(key)[i].kind for i in (1, 2, 3)] == ["written", "cleared", "written"]


def test_the_sum_of_every_real_site_gives_the_bytes_that_the_real_kernel_wrote():
    for name, step in (
        ("x86_64/reload--6.1--REFUSED.json", 1),
        ("x86_64/reload--6.12--LOADS.json", 1),
        ("x86_64/reload--6.12--LOADS.json", 3),
    ):
        history = real(name)
        for key in history.sites:
            found = history.sum_at(key, step)
            assert found is not None and found.stored == history.recording[step].bytes_at(key)


def test_the_printed_val_and_the_placement_tell_the_same_address():
    """S, worked out from the line that the kernel printed, is as far into the module as it was in load 1."""
    history = real("x86_64/reload--6.1--REFUSED.json")
    key = history.failing(3)
    assert key == "livepatch_nfsd_demo:.text+0x17"
    now, then = history.sum_at(key, 3), history.sum_at(key, 1)
    assert now and then and now.from_val and not then.from_val
    first, second = (load for load in history.loads if load.module == "nfsd_demo" and load.number in (1, 2))
    assert now.S - second.base == then.S - first.base


def test_a_refused_real_load_has_the_address_it_would_have_had():
    history = real("x86_64/moved--6.1--REFUSED.json")
    tried = history.attempt_at("nfsd_demo", 4)
    placed = (history.recording[4].placement or {})["nfsd_demo"]
    assert tried is not None and tried.refused and tried.base == placed["core"] and tried.seen_in == "placement"


@pytest.mark.parametrize("path", REAL, ids=lambda path: path.stem)
def test_every_step_of_every_real_recording_has_a_verdict(path):
    history = real(path)
    for step in range(len(history.recording)):
        judged = verdict(history.recording, step, history)
        assert judged.kind in SYMBOLS and judged.headline


@pytest.mark.parametrize("path", REAL, ids=lambda path: path.stem)
def test_lifetimes_agree_with_every_module_table(path):
    recording = Recording.load(path)
    history = History(recording, {})
    for index, step in enumerate(recording):
        if step.modules is not None:
            assert {load.module for load in history.loads if load.at(index)} == {row["name"] for row in step.modules}


@pytest.mark.parametrize("path", REAL, ids=lambda path: path.stem)
def test_no_value_is_carried_into_a_step_that_was_not_looked_at(path):
    recording = Recording.load(path)
    history = History(recording, {})
    for key in history.sites:
        for step, state in zip(recording, history.states(key), strict=True):
            assert state.value is None or state.value == (step.sites or {})[key]


# -- properties ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("release", ["5.3", "6.1", "6.3", "6.12"])
@pytest.mark.parametrize("story", SCENARIOS)
def test_a_stale_site_is_not_as_in_the_file_and_a_cleared_one_is(story, release):
    history = History(simulate(story, release))
    for key in history.sites:
        for state in history.states(key):
            if state.kind in ("stale", "foreign"):
                assert state.value != history.file_bytes(key)
            if state.kind in ("file", "cleared"):
                assert state.value == history.file_bytes(key)


@pytest.mark.parametrize("story", SCENARIOS)
def test_loads_of_a_module_are_counted_without_a_gap(story):
    found = loads(simulate(story))
    for name in {load.module for load in found}:
        assert [load.number for load in found if load.module == name] == list(
            range(1, 1 + sum(load.module == name for load in found))
        )


@pytest.mark.parametrize("story", ["reload", "late", "moved", "cumulative"])
def test_a_written_site_holds_its_sum(story):
    history = History(simulate(story))
    for key in history.sites:
        for step, state in enumerate(history.states(key)):
            found = history.sum_at(key, step)
            if state.kind == "written" and found:
                assert found.stored == state.value


# -- examples -----------------------------------------------------------------------------------------------------------------


def test_a_foreign_write_is_told_from_the_kernels_own():
    history = History(simulate("foreign-write"))
    kinds = {key: history.states(key)[2].kind for key in history.sites}
    assert list(kinds.values()).count("foreign") >= 1 and kinds[history.recording[2].command.split()[1]] == "foreign"


def test_a_disabled_livepatch_keeps_stale_bytes_although_its_target_is_back():
    history = History(simulate("disabled"))
    key = next(iter(history.sites))
    assert (history.states(key)[4].kind, history.states(key)[4].load) == ("stale", 1)
    assert history.load_at("nfsd_demo", 4).number == 2


def test_remove_check_counts_the_identical_bytes_as_written_by_the_second_load():
    history = History(simulate("reload", proposals=["remove-check"]))
    key = next(iter(history.sites))
    last = history.states(key)[3]
    assert (last.kind, last.load, last.changed) == ("written", 2, False)


def test_the_verdict_names_the_outcome_first():
    recording = simulate("reload")
    assert [verdict(recording, i).kind for i in range(4)] == ["works", "works", "stale", "refused"]
    assert "ENOEXEC (−8)" in verdict(recording, 3).headline
    assert "even the right ones" in verdict(recording, 3).because


def test_at_another_address_the_verdict_says_that_the_bytes_point_elsewhere():
    recording = simulate("moved")
    assert "point elsewhere" in verdict(recording, len(recording) - 1).because


def test_clear_checked_turns_refused_into_works():
    assert verdict(simulate("reload"), 3).kind == "refused"
    assert verdict(simulate("reload", proposals=["clear-checked"]), 3).kind == "works"


def test_deny_removal_is_in_use_and_the_second_load_is_already_there():
    recording = simulate("reload", proposals=["deny-removal"])
    assert [verdict(recording, i).kind for i in (2, 3)] == ["in-use", "exists"]


def test_an_oops_is_said_whatever_the_command():
    recording = Recording(
        "made", steps=[Step("insmod a.ko", None, [(1, "BUG: unable to handle page fault")], oops=True)]
    )
    assert verdict(recording, 0).kind == "oops"


def test_a_step_that_nobody_looked_at_is_not_judged_by_an_old_one():
    recording = Recording("made", steps=[Step("insmod a.ko", None, quiet=True)])
    assert verdict(recording, 0).kind == "unknown"


def test_commands_that_only_look_are_known():
    assert is_look("cat /proc/nfsd_demo") and is_look("lsmod") and not is_look("rmmod nfsd_demo")
