"""What became of modules and sites: held against recordings of real kernels, then against properties, then examples."""

import pytest
from recordings import all_real, all_without_files, real

from klpteach.files.klp import parse_symbol
from klpteach.model.recording import Recording
from klpteach.model.step import Step
from klpteach.reading.calls import call_at, is_call
from klpteach.reading.differences import first_difference
from klpteach.reading.history import History
from klpteach.reading.steps import is_look
from klpteach.reading.verdict import SYMBOLS, held, verdict
from klpteach.scenarios.course import SCENARIOS
from klpteach.scenarios.simulate import simulate

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
    assert tried is not None and tried.refused and tried.base == placed["core"] and not tried.from_val


def test_every_step_of_every_real_recording_has_a_verdict():
    for name, history in all_real().items():
        for step in range(len(history.recording)):
            judged = verdict(history.recording, step, history)
            assert judged.kind in SYMBOLS and judged.headline, (name, step)


def test_lifetimes_agree_with_every_module_table():
    for name, history in all_without_files().items():
        for index, step in enumerate(history.recording):
            if step.modules is not None:
                there = {load.module for load in history.loads if load.at(index)}
                assert there == {row["name"] for row in step.modules}, (name, index)


def test_no_value_is_carried_into_a_step_that_was_not_looked_at():
    for name, history in all_without_files().items():
        for key in history.sites:
            for step, state in zip(history.recording, history.states(key), strict=True):
                assert state.value is None or state.value == (step.sites or {})[key], (name, key, step.command)


# -- real kernels, ppc64le ----------------------------------------------------------------------------------------------------


def test_stub_tables_count_what_the_recorder_counted():
    for name, history in all_without_files("ppc64le").items():
        for index, step in enumerate(history.recording):
            for module, raw in (step.stubs or {}).items():
                table = history.stubs(module, index)
                if table is None:
                    continue
                inside = [slot for slot in table.slots if not slot.past_end]
                counted = (raw["num_stubs"], sum(slot.state != "free" for slot in inside))
                assert (table.num, table.used) == counted, (name, index)
                assert raw["used"] == table.used and len(table.past_end) == raw["past_end_used"], (name, index)


def test_the_stub_that_a_call_goes_to_leads_to_the_symbol_of_its_relocation():
    """Three witnesses: the branch's bytes, the table in memory, and the relocation in the module file."""
    for name, history in all_real("ppc64le").items():
        for index in range(len(history.recording)):
            for key, site in history.sites.items():
                call = call_at(history, key, index) if site else None
                table = history.stubs(key.partition(":")[0], index)
                if site is None or call is None or call.slot is None or table is None:
                    continue
                slot = next(slot for slot in table.slots if slot.index == call.slot)
                symbol = parse_symbol(site.symbol)
                if slot.load:
                    assert symbol and (slot.function, slot.module) == (symbol.name, symbol.object), (name, index, key)


def test_a_good_stub_leads_where_the_recorder_found_a_symbol_of_the_target():
    for name, history in all_without_files("ppc64le").items():
        for index, step in enumerate(history.recording):
            for module, raw in (step.stubs or {}).items():
                table, labels = history.stubs(module, index), {e["index"]: e["symbol"] for e in raw["entries"]}
                for slot in table.slots if table else ():
                    if slot.state in ("written", "kept"):
                        assert labels[slot.index] == f"{slot.function} [{slot.module}]", (name, index)


def test_the_word_that_the_kernel_names_stands_after_the_call_that_was_found():
    for name, history in all_real("ppc64le").items():
        for index, step in enumerate(history.recording):
            key = history.failing(index)
            if any("Expected nop after call, got e8410018" in line for line in step.lines) and step.sites:
                assert key is not None and is_call(history, key), (name, index)
                assert call_at(history, key, index).words[1] == 0xE8410018, (name, index)


def test_ppc64le_mappings_are_whole_pages_of_64_kib():
    for name in ("reload--6.1-stock--REFUSED", "moved--6.12-stock--STUBS"):
        extents = [extent for load in real(f"ppc64le/{name}.json").loads for extent in load.extents]
        assert extents and all(edge % 0x10000 == 0 for extent in extents for edge in extent)


def test_every_move_on_the_real_612_leaves_stubs_to_a_load_that_is_gone():
    history = real("ppc64le/moved--6.12-stock--STUBS.json")
    stale = [len(history.stubs("livepatch_nfsd_demo", step).stale) for step in (1, 2, 4, 5, 7)]
    assert stale == [0, 3, 3, 6, 7]


def test_with_reuse_no_slot_is_lost_however_often_the_target_moves():
    history = real("ppc64le/moved-40--6.12-reuse--LOADS.json")
    tables = [history.stubs("livepatch_nfsd_demo", step) for step in range(len(history.recording))]
    assert {table.used for table in tables if table} == {8} and not any(table.past_end for table in tables if table)


def test_a_stub_to_the_same_address_is_good_again_after_the_reload():
    history = real("ppc64le/same-address--6.12-stock--LOADS.json")
    states = [{slot.state for slot in history.stubs("livepatch_nfsd_demo", step).slots[5:8]} for step in (2, 3)]
    assert states == [{"stale"}, {"kept"}]


@pytest.mark.parametrize(
    ("name", "step", "kind", "words"),
    [
        ("reload--6.1-stock--REFUSED", 3, "refused", "After the call at .text+0xb0 the kernel wants a nop"),
        ("moved--6.1-stock--REFUSED", 4, "refused", "the failed attempt took one more slot, 9 of 11 are used"),
        ("moved--6.1-stock--REFUSED", 13, "refused", "the failed attempt wrote one more slot past its end"),
        ("moved--6.12-stock--STUBS", 4, "works", "It took 3 new stubs: 11 of 11 slots used, 3 of them stale."),
        ("moved--6.12-stock--STUBS", 7, "refused", "No slot is left for a new call: 11 of 11"),
        ("sibling-moved--6.12-stock--STUBS", 7, "overrun", "1 stub was written behind the table"),
        ("edge--6.12-stock--OOPS", 10, "oops", "no module can be loaded any more"),
        ("reload--6.1-clear--LOADS", 2, "cleared", "8 sites that pointed to nfsd_demo are as in the file again."),
        ("no-nop--6.1-stock--REFUSED", 1, "refused", "stands 38600001, not nop (60000000)"),
    ],
)
def test_the_verdict_on_a_real_ppc64le_step(name, step, kind, words):
    history = real(f"ppc64le/{name}.json")
    judged = verdict(history.recording, step, history)
    assert judged.kind == kind and words in judged.because


# -- properties ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("release", ["5.3", "6.1", "6.3", "6.12", "7.3"])
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
    found = History(simulate(story)).loads
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


@pytest.mark.parametrize("arch", ["x86_64", "ppc64le"])
def test_a_damaged_livepatch_is_read_from_the_file_that_was_made_for_it(arch):
    """NAME+DEFECT.ko lies in no folder: it is made on the spot, for the reader as for the kernel."""
    history = History(simulate("corrupted", proposals=["remove-check"], arch=arch))
    last, known = len(history.recording) - 1, [key for key, site in history.sites.items() if site]
    assert known == list(history.sites) and len(known) >= 8
    for key in known:
        site, found = history.sites[key], history.sum_at(key, last)
        assert site.symbol.startswith(".klp.sym.nfsd_demo.") and history.file_bytes(key) is not None, key
        if not is_call(history, key):
            assert found and (found.S + found.A - (found.P if found.relative else 0) - found.value) % 2**32 == 0, key


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


def test_a_module_that_no_enabled_livepatch_patches_is_said_to_run_unpatched():
    judged = verdict(simulate("late", proposals=["no-late-patching"]), 1)
    assert judged.kind == "unpatched" and "livepatch_nfsd_demo is enabled" in judged.because


def test_no_real_kernel_leaves_a_target_of_an_enabled_livepatch_unpatched():
    for name, history in all_without_files().items():
        kinds = [verdict(history.recording, step, history).kind for step in range(len(history.recording))]
        assert "unpatched" not in kinds, name


def test_what_came_along_with_a_module_is_named():
    judged = verdict(simulate("one-in-use", proposals=["half-loaded"]), 1)
    assert judged.headline.startswith("Livepatch loaded") and "With it came" in judged.because
    assert "lockd_demo" in judged.because


def test_the_first_difference_of_two_kernels_is_where_the_sites_part():
    old, new = (real(f"x86_64/reload--{name}.json").recording for name in ("6.1--REFUSED", "6.1--REFUSED"))
    assert first_difference(old, new) is None
    assert first_difference(old, simulate("reload", "6.12")) is not None
    stubs = [real(f"ppc64le/moved--6.12-{name}.json").recording for name in ("stock--STUBS", "reuse--LOADS")]
    assert first_difference(*stubs) == 4


def test_commands_that_only_look_are_known():
    assert is_look("cat /proc/nfsd_demo") and is_look("lsmod") and not is_look("rmmod nfsd_demo")


def test_what_was_written_is_called_by_its_number_and_kind():
    assert [held(*n) for n in ((0, 1), (0, 3), (1, 0), (4, 0), (1, 1))] == [
        *("an address", "addresses", "a call", "calls", "calls and addresses")
    ]
