"""A stranger's recording: whatever its JSON says, one clear line, or a recording that every view can draw.

KLPTEACH_MUTATIONS says how many damaged recordings are tried (one in 100 of it; default 15).
"""

from __future__ import annotations

import copy
import json
import os
import random
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from oracle import SAMPLES

import klpteach as kt
from klpteach.cli import main
from klpteach.errors import KlpteachError, RecordingError
from klpteach.reading.history import History
from klpteach.reading.outcome import outcome_of
from klpteach.reading.verdict import verdict
from klpteach.views.explorer.panes import explorer_html, map_pane
from klpteach.views.explorer.two_kernels import compare_html
from klpteach.views.figures.life import life
from klpteach.views.figures.reuse import reuse
from klpteach.views.frames import story

MUTATIONS = int(os.environ.get("KLPTEACH_MUTATIONS", "1500")) // 100
BATCHES = 5
NAMES = ("$x", "$\\frac{", "\\", "\x1b]0;title\x07", "\x00", "\ud800", "<script>", "a b", "", "‮evil", "&amp;", "x" * 400, "é", "%s{0}",
         "a:b+0x1", "nfsd_demo", "livepatch_nfsd_demo")  # fmt: skip
VALUES: tuple[Any, ...] = (None, True, False, 0, 1, -1, 5, -22, 255, 4096, 1 << 31, 1 << 64, -(1 << 70), 1.5, float("nan"), [], {}, [[1]], [{}],
                           {"a": 1}, [None], "0x0", "0xffffffffffffffff", "-0x1000", "zz", "00", "new", "x" * 100_000, *NAMES)  # fmt: skip
COMMANDS = ("", " ", "~", "insmod", "rmmod", "modprobe", "modprobe -r", "echo", "echo 0 >", "echo 0 > x", "poke", "fill", "fill x", "cat",
            "insmod ../../etc/passwd", "insmod $\\frac{.ko", "rmmod \x1b[2J", "boot", "stk", "poke a:b 0", "lsmod -x", "modinfo nothing.ko",
            "busybox cat /sys/module/../refcnt", "echo 1 > /sys/kernel/livepatch/x/enabled", "insmod nfsd_demo.ko a=b c", "insmod a\x00b.ko",
            "poke livepatch_nfsd_demo:.text+0x15 ffffffff", "insmod " + "a" * 300, "rm -rf /")  # fmt: skip


def originals() -> list[dict[str, Any]]:
    told = [
        kt.simulate("reload"),
        kt.simulate("reload", "6.12", arch="ppc64le"),
        kt.simulate("late", "6.1", arch="ppc64le"),
    ]
    return [as_json(recording) for recording in told]


def as_json(recording: kt.Recording) -> dict[str, Any]:
    head = {"schema": "klpteach-recording/1", "scenario": recording.scenario, "title": recording.title, "source": recording.source,
            "kernel": recording.kernel, "files": recording.files, "config": recording.config, "proposals": [], "init_errno": {}}  # fmt: skip
    return {**head, "steps": [step.to_json() for step in recording]}


ORIGINALS = originals()


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) in a JSON value."""
    for key, inner in list(value.items() if isinstance(value, dict) else enumerate(value)):
        yield value, key
        if isinstance(inner, dict | list):
            yield from places(inner)


def damage(raw: dict[str, Any], rng: random.Random) -> None:
    """One thing changed: a value, a key, a command, or a name wherever it stands."""
    top = raw if rng.random() < 0.2 else rng.choice(raw["steps"])
    if not isinstance(top, dict) or not top:
        return
    key = rng.choice([key for key in top if key != "schema"])
    inner = list(places(top[key])) if isinstance(top[key], dict | list) else []
    container, key = rng.choice([(top, key), *inner])
    kind = rng.choice(("value", "name", "key", "gone", "twice", "command", "everywhere"))
    if kind in ("value", "name"):
        container[key] = copy.deepcopy(rng.choice(VALUES if kind == "value" else NAMES))
    elif kind == "key" and isinstance(container, dict) and container is not raw:
        container[rng.choice(NAMES)] = container.pop(key)
    elif kind == "gone" and container is not raw:
        del container[key]
    elif kind == "twice" and isinstance(container, list):
        container.insert(key, copy.deepcopy(container[key]))
    elif kind == "command":
        rng.choice(raw["steps"])["command"] = rng.choice(COMMANDS)
    else:
        old, new = (
            rng.choice(("nfsd_demo", "livepatch_nfsd_demo", ".text", "demo_show")),
            json.dumps(rng.choice(NAMES))[1:-1],
        )
        changed = json.loads(json.dumps(raw).replace(old, new))
        raw.clear()
        raw.update(changed)


def one_line(error: KlpteachError) -> None:
    assert str(error).isprintable() and 20 < len(str(error)) < 1500, repr(str(error))


def shown(text: str) -> None:
    """Fit for a terminal and for a widget's message."""
    text.encode()
    assert text.replace("\n", "").replace("\t", "").isprintable(), repr(text)


def draw(recording: kt.Recording) -> None:
    """Every view of a recording."""
    for one in (recording, *recording):
        shown(repr(one))
    history = History(recording)
    for step in range(len(recording)):
        shown(str(verdict(recording, step, history)))
        shown(explorer_html(recording, step, history=history))
        shown(compare_html(history, history, step))
        svg = map_pane(history, step)
        ET.fromstring(svg[svg.index("<svg") : svg.rindex("</svg>") + 6])
    explorers = (
        lambda: kt.explore(recording=recording),
        lambda: kt.explore(recording=recording, compare=recording),
        lambda: kt.explore(recording=kt.simulate("reload"), compare=recording),
    )
    if len(recording):
        outcome_of(recording, history)
        story(recording)
        for view in (explorer() for explorer in explorers):
            shown(repr(view)), shown(view.to_html())
    else:
        for explorer in explorers:
            with pytest.raises(RecordingError, match="has no steps"):
                explorer()
    for drawing in (lambda: reuse(recording, history), lambda: life(recording, history=history)):
        try:
            figure = drawing()
        except KlpteachError as error:  # a picture of sites wants a site
            one_line(error)
        else:
            shown(figure.alt), ET.fromstring(figure.svg())
    assert recording.compare(recording) == []


def use(path: Path) -> bool:
    """Everything that is done with a recording; whether it could be loaded. Whatever comes out but one clear line is a bug."""
    try:
        recording = kt.Recording.load(path)
    except RecordingError as error:
        one_line(error)
        return False
    draw(recording)
    again = path.with_name("again.json")
    recording.save(again)
    assert kt.Recording.load(again) == recording
    try:
        draw(kt.replay(recording)[0])
    except KlpteachError as error:
        one_line(error)
    return True


@pytest.mark.parametrize("batch", range(BATCHES))
def test_a_damaged_recording_gives_one_clear_line_or_is_drawn_by_every_view(batch: int, tmp_path: Path) -> None:
    drawn = 0
    for seed in range(batch, MUTATIONS, BATCHES):
        rng = random.Random(seed)
        raw = copy.deepcopy(rng.choice(ORIGINALS))
        for _ in range(rng.choice((1, 1, 2, 5))):
            if (
                isinstance(raw.get("steps"), list)
                and raw["steps"]
                and all(isinstance(step, dict) for step in raw["steps"])
            ):
                damage(raw, rng)
        path = tmp_path / "hostile.json"
        path.write_text(json.dumps(raw))
        start = time.process_time()
        try:
            drawn += use(path)
        except Exception as error:
            raise AssertionError(f"seed {seed}: {type(error).__name__}: {error}") from error
        assert time.process_time() - start < 20, f"seed {seed} took too long"
    assert drawn, "all are refused, so this shows little"


def test_a_recording_without_steps_is_read_saved_and_replayed(tmp_path: Path) -> None:
    path = tmp_path / "empty.json"
    path.write_text(json.dumps({**ORIGINALS[0], "steps": []}))
    assert use(path) and kt.replay(kt.Recording.load(path))[1] == []


def with_step(**changed: Any) -> dict[str, Any]:
    raw = copy.deepcopy(ORIGINALS[0])
    raw["steps"][1] |= changed
    return raw


def with_head(**changed: Any) -> dict[str, Any]:
    return copy.deepcopy(ORIGINALS[0]) | changed


REFUSED = {
    "a command that is a number": with_step(command=5),
    "no command": with_step(command=None),
    "a command that is a list": with_step(command=[]),
    "a blank command": with_step(command="  "),
    "a line that is a number": with_step(dmesg=[[4, 5]]),
    "a level that is text": with_step(dmesg=[["4", "x"]]),
    "a pair of three": with_step(dmesg=[[4, "x", "y"]]),
    "an errno in words": with_step(errno="EINVAL"),
    "an errno above 0": with_step(errno=5),
    "an exit status of 256": with_step(exit=256),
    "a module without a base": with_step(modules=[{"name": "a"}]),
    "a negative address": with_step(placement={"nfsd_demo": {"core": "-0x1000"}}),
    "an address of 68 bits": with_step(placement={"nfsd_demo": {"core": "0x1ffffffffffffffff"}}),
    "a section that is a number": with_step(sections={"nfsd_demo": {".text": 5}}),
    "symbols that are numbers": with_step(symbols={"nfsd_demo": [5]}),
    "a symbol that is a list": with_step(symbols={"nfsd_demo": [["0x0", "t", []]]}),
    "stubs as a list": with_step(stubs=[]),
    "stubs without entries": with_step(stubs={"livepatch_nfsd_demo": {"num_stubs": 1, "used": 0, "past_end_used": 0}}),
    "an address of a stub that is no hex": with_step(
        stubs={
            "a": {
                "entries": [{"index": 0, "funcdata": "zz", "symbol": None}],
                "num_stubs": 1,
                "used": 0,
                "past_end_used": 0,
            }
        }
    ),
    "a livepatch that is a list": with_step(livepatch={"livepatch_nfsd_demo": []}),
    "a site of half a byte": with_step(sites={"livepatch_nfsd_demo:.text+0x0": "0"}),
    "a site without a place": with_step(sites={"x": "00"}),
    "a release that is a number": with_head(kernel={"release": 5}),
    "a release that is a list": with_head(kernel={"release": []}),
    "a release in words": with_head(kernel={"release": "new"}),
    "a command line that is a number": with_head(kernel={"cmdline": 5}),
    "a variant that is a list": with_head(kernel={"variant": []}),
    "another machine": with_head(kernel={"arch": "vax"}),
    "a proposal that is a list": with_head(proposals=[[1]]),
    "a title that is a number": with_head(title=5),
    "steps that are numbers": with_head(steps=[1]),
    "a million steps": with_head(steps=[{"command": "boot"}] * 1_000_000),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_of_a_wrong_kind_is_refused_in_one_line_also_by_the_command(
    what: str, tmp_path: Path, capsys: Any
) -> None:
    path = tmp_path / "rec.json"
    path.write_text(json.dumps(REFUSED[what], separators=(",", ":")))
    with pytest.raises(RecordingError) as caught:
        kt.Recording.load(path)
    one_line(caught.value)
    assert main(["replay", str(path)]) == 2 and capsys.readouterr().err == f"klpteach: {caught.value}\n"


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff", b"null", b"5", b"[" * 100_000, b'{"a":' * 100_000, b"1" * 5000, b'{"schema": ' + b"[" * 5000, bytes(9 << 20),
     b'{"schema": {"' + b"x" * 5000 + b'": 1}}'],
    ids=range(10),
)  # fmt: skip
def test_what_is_no_recording_at_all_is_refused_in_one_line(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "rec.json").write_bytes(data)
    with pytest.raises(RecordingError) as caught:
        kt.Recording.load(tmp_path / "rec.json")
    one_line(caught.value)


def test_a_pipe_a_device_and_a_folder_are_no_recordings(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for path in (tmp_path / "pipe", tmp_path / "zero", tmp_path, tmp_path / "nothing.json", tmp_path / "a\0b"):
        with pytest.raises(RecordingError) as caught:
            kt.Recording.load(path)
        one_line(caught.value)


@pytest.mark.parametrize(
    "name", ["$\\frac{x", "a$b$c", "\\", "\x1b]0;title\x07", "\ud800", "<b onclick=x>", "\u202eevil"]
)
def test_any_name_is_drawn_as_text(name: str, tmp_path: Path) -> None:
    raw = json.loads(json.dumps(ORIGINALS[0]).replace("nfsd_demo", json.dumps(name)[1:-1]))
    (tmp_path / "rec.json").write_text(json.dumps(raw))
    recording = kt.Recording.load(tmp_path / "rec.json")
    draw(recording)
    assert "<b onclick" not in kt.explore(recording=recording).to_html()


def test_a_module_with_control_characters_in_its_name_says_so_in_letters() -> None:
    sample = next(ko for ko in SAMPLES if ko.name == "livepatch_nfsd_demo.ko").read_bytes()
    evil = sample.replace(b"livepatch_nfsd_demo", b"\x1b]0;title\x07_nfsd_dem")
    file = kt.ModuleFile(evil, "\x1b[31m.ko")
    brought = kt.bring(evil)
    for text in (repr(file), repr(brought), repr(brought.explore()), brought.explore().to_html()):
        shown(text)
    with pytest.raises(kt.ModuleFormatError) as caught:
        kt.ModuleFile(evil[:500], "\x1b[31m.ko")
    one_line(caught.value)


@pytest.mark.parametrize(
    "command",
    ["simulate reload", "simulate edge --arch ppc64le", "consequences --release 6.1", "explain -", "simulate \udcff"],
)
def test_a_terminal_that_knows_ascii_only_gets_every_line(command: str) -> None:
    words = [sys.executable, "-m", "klpteach", *command.split()]
    run = subprocess.run(
        words,
        input="livepatch: caf\u00e9 \u2212 'x'".encode(),
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert run.returncode in (0, 1, 2) and b"Traceback" not in run.stderr and (run.stdout + run.stderr).isascii()
