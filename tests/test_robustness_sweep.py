"""Every public method of the model and every argument: whatever is given, a result or one clear line of klpteach's own error.

What a signature takes is read off it, so a method or an argument that is new is swept, too.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import klpteach as kt
from klpteach.fleet import Fleet, assumptions, default_mixes
from klpteach.fleet.events import Cast
from klpteach.model.step import Step
from klpteach.reading.history import History
from klpteach.scenarios.scenario import Scenario
from klpteach.views.explorer.explorer import Explorer
from klpteach.views.figures.life import life
from klpteach.views.figures.reuse import reuse


class Strange:
    """Of no type that is asked for, and not to be shown, counted or called."""

    def __repr__(self) -> str:
        raise RuntimeError("not to be shown")


# fmt: off
PLAIN: dict[str, Any] = {
    "None": None, "0": 0, "-1": -1, "1.5": 1.5, "not a number": float("nan"), "true": True, "a huge number": 10**30, "5,000 digits": 10**5000,
    "no text": "", "a NUL": "\0", "half a surrogate": "\ud800", "an escape": "\x1b[31m", "a long name": "x" * 300, "a longer name": "x" * 100_000,
    "digits": "9" * 5000, "a negative number in text": "-1", "bytes": b"x", "a list": [], "a dict": {}, "a tuple": (), "an object": Strange(),
    "an array": np.array([1, 2]), "a function of nothing": lambda: 0, "a generator": (x for x in "ab"), "a folder": "/", "a device": "/dev/zero",
}
# fmt: on
WITHIN = {
    **{f"a list of {what}": [value] for what, value in PLAIN.items()},
    **{f"a tuple of {what}": (value,) for what, value in PLAIN.items()},
    **{f"a dict of {what}": {"nfsd_demo.ko": value} for what, value in PLAIN.items()},
    **{
        f"a dict that has {what} for a key": {value: 1}
        for what, value in PLAIN.items()
        if getattr(value, "__hash__", 0)
    },
}
BAD = {**PLAIN, **WITHIN}
BASE = 0xFFFFFFFFC0201000
TARGET, PATCH = (kt.ModuleFile.open(kt.sample(f"{name}.ko")) for name in ("nfsd_demo", "livepatch_nfsd_demo"))


def asked(call: Callable[[], Any]) -> bool:
    """Whether it was answered with a result. Anything but that or one clear line is a bug."""
    try:
        found = call()
        repr(found)
        if isinstance(found, Iterator):
            list(islice(found, 10))
    except kt.KlpteachError as error:
        said = str(error)
        assert said.isprintable() and 10 < len(said) < 900, repr(said)
        return False
    return True


def swept(call: Callable[..., Any], bad: dict[str, Any], **good: Any) -> None:
    """One argument after the other is bad, the others are good. Errors: AssertionError, which names the argument."""
    for name in good:
        for what, value in bad.items():
            try:
                asked(lambda name=name, value=value: call(**{**good, name: value}))  # type: ignore[misc]
            except Exception as error:
                raise AssertionError(f"{name}: {what}: {type(error).__name__}: {str(error)[:200]}") from error


def public(kind: type) -> dict[str, list[str]]:
    """The public methods of a class, each with its parameters."""
    found = inspect.getmembers(kind, lambda member: inspect.isfunction(member) or inspect.ismethod(member))
    parameters = {name: list(inspect.signature(method).parameters) for name, method in found if name[0] != "_"}
    return {name: [one for one in words if one != "self"] for name, words in parameters.items()}


def kernel() -> kt.Kernel:
    loaded = kt.Kernel()
    loaded.insmod("nfsd_demo.ko"), loaded.insmod("livepatch_nfsd_demo.ko")
    return loaded


ENABLED = "/sys/kernel/livepatch/livepatch_nfsd_demo/enabled"
GOOD: dict[str, Any] = {
    "name": "nfsd_demo", "file": "lockd_demo.ko", "params": "", "value": "1", "path": ENABLED, "site": "nfsd_demo:.text+0x0", "count": 1,
    "line": "boot", "command": "boot", "action": lambda: None, "module": "nfsd_demo", "key": "x", "objname": None, "names": [], "regions": [],
    "errno": -22, "mod": kernel().modules[0],
}  # fmt: skip
# What the model asks itself thousands of times in a load (step, and the rest of State) is not checked.
CHECKED = {*vars(kt.Kernel), "open_file", "find_file"} - {"step"}
METHODS = {name: words for name, words in public(kt.Kernel).items() if words and name in CHECKED}


@pytest.mark.parametrize("method", METHODS)
def test_a_kernel_answers_whatever_a_method_is_given(method: str) -> None:
    good = {name: GOOD.get(name) for name in METHODS[method]}
    assert asked(lambda: getattr(kernel(), method)(**good)), "what is good is done"
    swept(lambda **given: getattr(kernel(), method)(**given), BAD if len(good) == 1 else PLAIN, **good)


OPTIONS = list(inspect.signature(kt.Kernel).parameters)


def booted(**given: Any) -> list[Any]:
    """A kernel with these, and what happens on it."""
    made = kt.Kernel(**given)
    steps = [made.insmod("nfsd_demo.ko"), made.insmod("livepatch_nfsd_demo.ko"), made.modprobe("lockd_demo")]
    return [*steps, made.rmmod("nfsd_demo"), made.recording]


@pytest.mark.parametrize("option", OPTIONS)
def test_a_kernel_is_made_of_what_it_is_given_or_says_what_is_wrong(option: str) -> None:
    for what, value in BAD.items():
        try:
            asked(lambda value=value: booted(**{option: value}))  # type: ignore[misc]
        except Exception as error:
            raise AssertionError(f"{what}: {type(error).__name__}: {str(error)[:200]}") from error


def test_what_opens_a_kernels_files_gives_module_files() -> None:
    for value in BAD.values():
        assert not asked(lambda value=value: booted(open_file=lambda folder, name: value))  # type: ignore[misc]


@pytest.mark.parametrize("option", [*inspect.signature(kt.simulate).parameters])
def test_a_story_is_run_with_what_it_is_given_or_says_what_is_wrong(option: str) -> None:
    for what, value in BAD.items():
        try:
            asked(lambda value=value: kt.simulate(**{"scenario": "reload", option: value}))  # type: ignore[misc]
        except Exception as error:
            raise AssertionError(f"{what}: {type(error).__name__}: {str(error)[:200]}") from error


def test_a_module_is_laid_out_as_it_is_told_or_says_what_is_wrong() -> None:
    good = {"module_file": TARGET, "base": BASE, "resolve": lambda name: BASE, "release": "6.1"}
    swept(kt.load_image, BAD, **good)
    swept(kt.load_image, BAD, **good, init_base=BASE + (1 << 24), percpu_base=0x35000)
    swept(
        lambda **base: kt.load_image(PATCH, {**base, "text": BASE}, lambda name: BASE, "6.12"),
        PLAIN,
        data=BASE + (1 << 20),
    )


@pytest.mark.parametrize("what", BAD)
def test_a_function_that_gives_no_address_is_told_so(what: str) -> None:
    answered = asked(lambda: kt.load_image(PATCH, BASE, lambda name: BAD[what]))
    assert answered == (what in ("0", "true")), "None is a symbol that nobody has, and is refused"


def test_addresses_may_be_numbers_of_numpys() -> None:
    base = np.uint64(BASE)
    image = kt.load_image(TARGET, base, lambda name: base)  # type: ignore[arg-type, return-value]
    same = kt.load_image(TARGET, BASE, lambda name: BASE)
    assert image.sections[".text"][1] == same.sections[".text"][1]


def test_a_fleet_lives_with_what_it_is_given_or_says_what_is_wrong() -> None:
    small = {"machines": 5, "days": 2, "mixes": ((),)}
    for field in inspect.signature(kt.Fleet).parameters:
        swept(lambda **given: kt.run_fleet(Fleet(**{**small, **given})), BAD, **{field: small.get(field)})
    swept(kt.run_fleet, BAD, fleet=Fleet(**small), progress=None)  # type: ignore[arg-type]
    swept(assumptions, BAD, fleet=None)
    swept(default_mixes, BAD, arch="x86_64")


def test_a_customer_or_a_cast_of_a_fleet_is_what_it_says() -> None:
    made = {
        kt.Customer: lambda one: {"customers": (one,)},
        Cast: lambda one: {"cast": one, "customers": (kt.Customer("all", 1.0),)},
    }
    for kind, told in made.items():
        needed = {"name": "x", "share": 1.0} if kind is kt.Customer else {}
        for field in inspect.signature(kind).parameters:
            live = lambda told=told, kind=kind, needed=needed, **given: kt.run_fleet(
                Fleet(machines=5, days=30, mixes=((),), **told(kind(**{**needed, **given})))
            )
            swept(live, BAD, **{field: needed.get(field)})


def test_a_fleet_to_which_nothing_happens_lives_its_year() -> None:
    quiet = kt.Customer("all", 1.0, reboots=0.0, hotfixes=0.0, takes_editions=False)
    (tally,) = kt.run_fleet(Fleet(machines=5, days=30, mixes=((),), customers=(quiet,)))
    assert (tally.states, tally.commands, tally.down_days, tally.unpatched_days) == (1, 0, 0, 0)


def test_numbers_without_bounds_are_bounded() -> None:
    for field in ("machines", "days", "edition_days", "rollout_days", "care_days"):
        with pytest.raises(kt.KlpteachError, match="1,000,000 at most" if field == "machines" else "36,500 at most"):
            Fleet(**{field: 10**12})
    with pytest.raises(kt.KlpteachError, match="100,000,000 machine-days at most"):
        Fleet(machines=10**6, days=101)
    with pytest.raises(kt.KlpteachError, match="101 mixes of proposals: 100 at most"):
        Fleet(machines=1, days=1, mixes=((),) * 101)
    for days in (float("inf"), float("nan")):
        with pytest.raises(kt.KlpteachError, match="1 to 36,500 days"):
            Fleet(customers=(kt.Customer("x", 1.0, visits=1.0, visit_days=days),))


RECORDED = kt.simulate("reload")


def test_a_recording_answers_whatever_a_method_is_given(tmp_path: Path) -> None:
    swept(kt.Recording.parse, BAD, text=b"{}", name="x.json")
    swept(kt.Recording.load, BAD, path=tmp_path / "x.json")
    swept(RECORDED.compare, BAD, other=RECORDED)
    swept(kt.replay, BAD, recording=RECORDED, ko=None)
    for field in inspect.signature(kt.Recording).parameters:
        swept(lambda **given: replayed(kt.Recording(**{"scenario": "x", **given})), BAD, **{field: None})


def replayed(recording: kt.Recording) -> Any:
    return repr(recording), recording.arch, recording.release, kt.replay(recording)


def test_a_file_that_no_recording_can_be_saved_to_is_named(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    for what, value in BAD.items():
        try:
            asked(lambda value=value: RECORDED.save(value))  # type: ignore[misc]
        except OSError as error:
            assert error.filename is not None and isinstance(value, str), (
                what
            )  # as everything says it that writes files


STEP_METHODS = {name: words for name, words in public(Step).items() if words}


@pytest.mark.parametrize("method", STEP_METHODS)
def test_a_step_answers_whatever_a_method_is_given(method: str) -> None:
    swept(getattr(RECORDED[1], method), BAD, **dict.fromkeys(STEP_METHODS[method], "nfsd_demo"))


FILE_METHODS = {
    name: words for name, words in public(kt.ModuleFile).items() if words and name not in ("bad", "over", "open")
}


@pytest.mark.parametrize("method", FILE_METHODS)
@pytest.mark.parametrize("file", [TARGET, PATCH], ids=lambda file: file.name)
def test_a_module_file_answers_whatever_a_method_is_given(file: kt.ModuleFile, method: str) -> None:
    good = {"index": 1, "start": 0, "length": 4, "name": ".text", "number": 2}
    call = lambda asked=(), **given: getattr(file, method)(*asked, **given)
    swept(call, BAD, **{name: good[name] for name in FILE_METHODS[method] if name in good})


def test_a_module_file_is_opened_or_says_why_not() -> None:
    swept(kt.ModuleFile.open, BAD, path=kt.sample("nfsd_demo.ko"))
    swept(kt.ModuleFile, BAD, data=TARGET.data, filename="x.ko")
    for index in (41, 10**6, 10**30, -42):
        for method in (TARGET.section_bytes, TARGET.rela):
            with pytest.raises(kt.ModuleFormatError, match="numbers 0 to 40"):
                method(index)
    every = range(len(TARGET.extents))
    assert all(asked(lambda index=index: TARGET.rela(index)) in (True, False) for index in every)  # type: ignore[misc]


# -- names that no file can have ------------------------------------------------------------------------------------------

LONG = ["x" * 300, "y" * 5000, "z" * 100_000]


@pytest.mark.parametrize("name", LONG, ids=len)
def test_insmod_of_a_name_that_is_too_long_says_what_the_kernel_says(name: str) -> None:
    for call in (
        lambda: kt.Kernel().run(f"insmod {name}.ko"), lambda: kt.Kernel().insmod(f"{name}.ko"), lambda: kt.Kernel().insmod(f"/{name}/x.ko"),
        lambda: kt.Kernel().insmod_in_background(f"{name}.ko"), lambda: kt.Kernel().open_file(f"{name}.ko"),
        lambda: kt.ModuleFile.open(f"{name}.ko"),
    ):  # fmt: skip
        with pytest.raises(kt.ModuleFormatError, match="File name too long") as caught:
            call()
        assert len(str(caught.value)) < 400


@pytest.mark.parametrize("name", LONG, ids=len)
def test_modprobe_of_a_name_that_is_too_long_finds_nothing(name: str) -> None:
    assert kt.Kernel().find_file(name) is None
    for step in (kt.Kernel().run(f"modprobe {name}"), kt.Kernel().modprobe(name)):
        assert step.errno == -2 and step.out and "not found in directory" in step.out


@pytest.mark.parametrize("name", [*LONG, "\0", "\ud800", "nowhere", os.devnull], ids=range(7))
def test_a_folder_of_modules_is_a_folder(name: str) -> None:
    for call in (lambda: kt.Kernel(ko=name), lambda: kt.simulate("reload", ko=name)):
        with pytest.raises(kt.KlpteachError, match="is no folder") as caught:
            call()
        assert len(str(caught.value)) < 200


def test_a_recorded_command_with_a_name_that_is_too_long_is_told_in_one_line() -> None:
    for command in (f"insmod {'x' * 300}.ko", f"modprobe {'x' * 300}", f"rmmod {'x' * 300}", f"modinfo {'x' * 300}.ko"):
        for step in (Step(command), Step(command, exit=0, out="")):
            step.placement = {"x" * 300: {"core": BASE}}
            asked(lambda step=step: kt.replay(kt.Recording("x", files=dict(RECORDED.files), steps=[step])))  # type: ignore[misc]


def test_a_number_of_a_module_parameter_may_have_any_length() -> None:
    loaded = kt.Kernel()
    assert loaded.insmod("livepatch_callbacks.ko", f"pre_patch_ret={'9' * 5000}").errno == -34
    assert loaded.insmod("livepatch_callbacks.ko", f"pre_patch_ret=0x{'0' * 5000}").errno == 0
    assert loaded.echo("9" * 5000, "/sys/module/livepatch_callbacks/parameters/pre_patch_ret").errno == -34


# -- recordings without steps ---------------------------------------------------------------------------------------------

EMPTY = b'{"schema": "klpteach-recording/1", "scenario": "none", "kernel": {}, "steps": []}'


def test_a_recording_without_steps_is_replayed_and_is_not_drawn() -> None:
    empty = kt.Recording.parse(EMPTY, "empty.json")
    ours, differences = kt.replay(empty)
    assert (len(ours), differences) == (0, [])
    history = History(empty)
    for draw in (
        lambda: kt.explore(empty), lambda: kt.explore(recording=empty), lambda: kt.explore(history=history),
        lambda: kt.explore(empty, compare=RECORDED), lambda: kt.explore(RECORDED, compare=empty), lambda: kt.explore("reload", compare=empty),
        lambda: Explorer("reload", "6.1", (), empty, None),
    ):  # fmt: skip
        with pytest.raises(kt.RecordingError, match="has no steps"):
            draw()
    for other in (lambda: reuse(empty), lambda: life(empty), lambda: kt.outcome_of(empty)):
        asked(other)


@pytest.mark.parametrize("bad", [0, "x", None, [1], [None], (5,), {"a": 1}, Strange()])
def test_a_story_a_table_and_a_count_of_ones_own_are_looked_at_first(bad: Any) -> None:
    calls: list[Callable[[], Any]] = [
        lambda: Scenario("x", "t", "q", bad), lambda: Scenario("x", "t", "q", ("boot",), init_errno=bad),
        lambda: Scenario("x", "t", "q", ("boot",), vmlinux=bad), lambda: Scenario(bad, "t", "q", ("boot",)),
        lambda: kt.consequences_grid(rows=bad), lambda: kt.consequences_picture(rows=bad),
        lambda: kt.outcome_of(RECORDED, history=bad), lambda: kt.progress(forget=bad),
        lambda: kt.run_fleet(Fleet(machines=2, days=2, mixes=((),)))[0].per_machine(bad),
    ]  # fmt: skip
    for call in calls:
        try:
            call()
        except kt.KlpteachError as error:
            assert str(error).isprintable() and len(str(error)) < 900
