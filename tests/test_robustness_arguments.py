"""A reader's arguments: whatever type or size they have, a result or one clear line of klpteach's own error."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import klpteach as kt
from klpteach.errors import one_line, quoted
from klpteach.model.policy import PROPOSALS

HUGE = 10**5000  # too long for Python to write in digits
WITHIN: list[Any] = []
WITHIN.append(WITHIN)
SELF: dict[str, Any] = {}
SELF["a"] = SELF


class NoRepr:
    def __repr__(self) -> str:
        raise RuntimeError("not to be shown")


# fmt: off
NO_NAMES: dict[str, Any] = {
    "a number": 5, "a number of 5,000 digits": HUGE, "not a number": float("nan"), "bytes": b"x", "a bytearray": bytearray(b"6.1"),
    "an array": np.array([1, 2]), "a list": ["6.1"], "a list in itself": WITHIN, "a set": {"6.1"}, "a dict": {"6.1": 1}, "no text at all": "",
    "a control character": "\x1b[31m", "half a surrogate": "\ud800", "a megabyte": "x" * 10**6, "what has no repr": NoRepr(),
}
ASKED: dict[str, tuple[Callable[[Any], Any], type[kt.KlpteachError]]] = {
    "predict(name)": (kt.predict, kt.KlpteachError),
    "check(name)": (kt.check, kt.KlpteachError),
    "exercise(name)": (kt.exercise, kt.KlpteachError),
    "worked(name)": (kt.worked, kt.KlpteachError),
    "station_map(number)": (kt.station_map, kt.KlpteachError),
    "in_c(name)": (kt.in_c, kt.KlpteachError),
    "about_proposal(name)": (kt.about_proposal, kt.PolicyError),
    "patch_of(proposal)": (kt.patch_of, kt.PolicyError),
    "patch_of(release)": (lambda value: kt.patch_of("deny-removal", value), kt.PolicyError),
    "patch_of(arch)": (lambda value: kt.patch_of("deny-removal", arch=value), kt.PolicyError),
    "Kernel(arch)": (kt.Kernel, kt.PolicyError),
    "Kernel(release)": (lambda value: kt.Kernel(release=value), kt.PolicyError),
    "simulate(scenario)": (kt.simulate, kt.ScenarioError),
    "simulate(release)": (lambda value: kt.simulate("reload", value), kt.PolicyError),
    "simulate(arch)": (lambda value: kt.simulate("reload", arch=value), kt.PolicyError),
    "stories(arch)": (kt.stories, kt.PolicyError),
    "stories(release)": (lambda value: kt.stories(release=value), kt.PolicyError),
    "sample(arch)": (lambda value: kt.sample("nfsd_demo.ko", value), kt.KlpteachError),
    "explore(story)": (kt.explore, kt.ScenarioError),
    "explore(release)": (lambda value: kt.explore(release=value), kt.PolicyError),
    "explore(arch)": (lambda value: kt.explore(arch=value), kt.PolicyError),
    "explore(compare)": (lambda value: kt.explore(compare=(value, ())), kt.PolicyError),
}
# fmt: on


def told(call: Callable[[Any], Any], value: Any, error: type[kt.KlpteachError]) -> str:
    with pytest.raises(error) as caught:
        call(value)
    text = str(caught.value)
    assert text.isprintable() and 20 < len(text) < 1500, repr(text[:300])
    return text


@pytest.mark.parametrize("what", NO_NAMES)
@pytest.mark.parametrize("where", ASKED)
def test_what_is_no_name_is_refused_in_one_line_that_says_what_there_is(where: str, what: str) -> None:
    call, error = ASKED[where]
    text = told(call, NO_NAMES[what], error)
    assert "; there are " in text or "; do you mean " in text


@pytest.mark.parametrize("what", NO_NAMES)
def test_what_is_no_choice_of_a_prediction_is_answered_in_one_line_that_says_what_there_is(what: str) -> None:
    said = repr(kt.predict("same-address", NO_NAMES[what]))
    assert said.startswith("? There is no such choice. Say one of same, mine, zero") and said.isprintable()


@pytest.mark.parametrize("what", NO_NAMES)
def test_a_choice_of_proposals_holds_names_of_proposals(what: str) -> None:
    if what == "a list":  # of one name, which is another thing's
        assert "unknown proposal '6.1'" in told(
            lambda value: kt.Kernel(proposals=value), NO_NAMES[what], kt.PolicyError
        )
    for call in (lambda value: kt.Kernel(proposals=value), lambda value: kt.explore(proposals=value)):
        told(call, NO_NAMES[what] if NO_NAMES[what] is not WITHIN else [WITHIN], kt.PolicyError)


ENDLESS: dict[str, Callable[[], Any]] = {
    "numbers": lambda: range(10**9),
    "one name for ever": lambda: itertools.repeat("deny-removal"),
    "None": lambda: None,
    "numbers without end": itertools.count,
}


@pytest.mark.parametrize("what", ENDLESS)
def test_a_choice_of_proposals_without_end_is_refused_at_its_first_fault(what: str) -> None:
    for call in (lambda value: kt.Kernel(proposals=value), lambda value: kt.explore(proposals=value)):
        told(call, ENDLESS[what](), kt.PolicyError)
    assert kt.Kernel(proposals=(name for name in ["deny-removal"])).recording.proposals == ["deny-removal"]
    assert len(PROPOSALS) > 10, "so many names are read before it is said that there are too many"


@pytest.mark.parametrize("value", [None, b"x", "2", float("nan"), 2.5, True, HUGE, [1], NoRepr()], ids=type)
def test_a_step_or_a_seed_is_a_whole_number(value: Any) -> None:
    assert "is no whole number" in told(lambda step: kt.explore(step=step), value, kt.ScenarioError)
    for call in (kt.exercise, kt.worked, lambda name, seed: kt.check(name, 1, seed)):
        for name in ("fix", "pc32"):  # one problem, and one for every seed
            assert "is no whole number" in told(
                lambda seed, call=call, name=name: call(name, seed), value, kt.KlpteachError
            )


def test_a_step_may_be_any_whole_number() -> None:
    assert kt.explore(step=np.int64(2)).step == 1  # type: ignore[arg-type]
    assert kt.explore(step=10**9).step == kt.explore(step=4).step == 3


@pytest.mark.parametrize(
    "value", [0, True, -1, "reload", b"x", HUGE, NoRepr(), ("6.12",)], ids=lambda value: type(value).__name__
)
def test_an_explorer_takes_recordings_and_a_second_kernel_and_nothing_else(value: Any) -> None:
    for keyword in ("recording", "history", "compare"):
        told(lambda value, keyword=keyword: kt.explore(**{keyword: value}), value, kt.ScenarioError)


def test_a_second_kernel_is_a_release_with_proposals() -> None:
    assert kt.explore(compare=("6.12", "deny-removal")).other.recording.proposals == ["deny-removal"]
    told(lambda value: kt.explore(compare=("6.12", value)), range(10**9), kt.PolicyError)


@pytest.mark.parametrize(
    "value",
    [WITHIN, SELF, [[[[b"x"]]]], 5, HUGE, {"content": 10**12}, {"content": None}, itertools.count()],
    ids=range(8),
)
def test_what_holds_no_module_files_is_refused_in_one_line(value: Any) -> None:
    told(kt.bring, value, kt.KlpteachError)
    told(
        lambda value: kt.bring(target=value),
        value if not isinstance(value, itertools.count) else itertools.count(),
        kt.KlpteachError,
    )


def test_text_is_asked_for_where_text_is_meant() -> None:
    for value in (0, HUGE, b"x", None, NoRepr()):
        told(kt.paste, value, kt.KlpteachError)
        told(kt.sample, value, kt.KlpteachError)
        told(lambda value: kt.sample("nfsd_demo.ko", release=value), value, kt.KlpteachError)
        if value is not None:
            told(kt.progress, value, kt.KlpteachError)


@pytest.mark.parametrize("text", ["x" * 10**7, "\x1b" * 10**5, "\ud800" * 3000, "a\nb"], ids=range(4))
def test_an_error_is_one_line_of_limited_length_whatever_it_repeats(text: str) -> None:
    error = str(kt.KlpteachError(f"no story {text}. Try: reload"))
    assert (
        error.isprintable() and len(error) <= 2000 and error.startswith("no story ") and error.endswith("Try: reload")
    )
    assert len(quoted(text)) <= 80 and quoted(text).isprintable()
    assert one_line("a\tb") == "a\\tb"


def test_every_error_that_lists_names_has_room_for_all_of_them() -> None:
    for arch in ("x86_64", "ppc64le", "arm64", "s390x"):
        assert " … " not in told(lambda arch: kt.simulate("x", arch=arch), arch, kt.ScenarioError)
    for call in (kt.predict, kt.exercise, kt.about_proposal):
        assert " … " not in told(call, "zzzz", kt.KlpteachError)


def test_asking_for_names_imports_nothing_of_a_third_party() -> None:
    code = "import klpteach, klpteach.errors, klpteach.files.on_disk, sys; print({'numpy', 'pandas', 'elftools'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


OBJECTS: dict[str, tuple[Callable[[Any], Any], type[kt.KlpteachError], str]] = {
    "replay": (kt.replay, kt.RecordingError, "Recording.load"),
    "outcome_of": (kt.outcome_of, kt.RecordingError, "Recording.load"),
    "Kernel(machine)": (lambda value: kt.Kernel(machine=value), kt.KlpteachError, "Machine("),
    "Kernel.run": (lambda value: kt.Kernel().run(value), kt.ScenarioError, "one line of a story"),
    "ModuleFile": (kt.ModuleFile, kt.ModuleFormatError, "ModuleFile.open"),
}


@pytest.mark.parametrize("value", [None, 5, 2.5, ["x"], HUGE, NoRepr()], ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("what", OBJECTS)
def test_another_type_than_is_wanted_is_one_line_that_says_what_to_give(what: str, value: Any) -> None:
    call, error, hint = OBJECTS[what]
    assert hint in told(call, value, error)


@pytest.mark.parametrize("call", [kt.replay, kt.outcome_of], ids=["replay", "outcome_of"])
def test_a_file_name_in_place_of_a_recording_is_answered_with_how_to_load_it(call: Callable[[Any], Any]) -> None:
    assert "'reload.json' is no Recording" in told(call, "reload.json", kt.RecordingError)


@pytest.mark.parametrize("call", [kt.consequences_grid, kt.consequences_picture], ids=["grid", "picture"])
@pytest.mark.parametrize("what", NO_NAMES)
def test_a_table_of_consequences_that_nobody_computed_is_refused_with_those_that_there_are(
    call: Any, what: str
) -> None:
    assert "; there are x86_64, ppc64le" in told(call, NO_NAMES[what], kt.KlpteachError)
    assert "; there are 6.1, 6.12" in told(lambda value: call("x86_64", value), NO_NAMES[what], kt.KlpteachError)


def test_a_sample_has_a_name() -> None:
    assert "'' is no name" in told(kt.sample, "", kt.KlpteachError)
