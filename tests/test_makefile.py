"""What `make lab` says on a machine that lacks something, and the same in three lines for machines without make."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from conftest import ROOT

pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="make is missing")
README = (ROOT / "README.md").read_text()
SCREENLESS = {
    name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
}


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder as git leaves it, as far as setting up looks at it."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    return tmp_path


def stand_in(folder: Path, **programs: str) -> dict[str, str]:
    """An environment in which some programs are shell scripts of ours, and no uv is there."""
    (folder / "programs").mkdir()
    for name, script in programs.items():
        path = folder / "programs" / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
    return {**SCREENLESS, "PATH": f"{folder / 'programs'}{os.pathsep}/usr/bin{os.pathsep}/bin"}


def make(clone: Path, *given: str, **environment: str) -> tuple[int, list[str]]:
    """Exit status and lines, without make's own."""
    done = subprocess.run(["make", *given], cwd=clone, env=environment, capture_output=True, text=True)
    lines = (done.stdout + done.stderr).splitlines()
    return done.returncode, [line for line in lines if not line.startswith("make")]


def a_venv_whose_pip_says(clone: Path, words: str) -> None:
    (clone / ".venv/bin").mkdir(parents=True)
    for name in ("pip", "python"):
        path = clone / ".venv/bin" / name
        path.write_text(f"#!/bin/sh\necho 'WARNING: first' >&2\necho '{words}' >&2\nexit 1\n")
        path.chmod(0o755)


def steps_of_lab() -> list[str]:
    """The three commands of `make lab`, from what make would run with pip."""
    environment = {**SCREENLESS, "PATH": "/usr/bin:/bin", "DISPLAY": ":0"}
    done = subprocess.run(
        ["make", "-n", "-B", "lab", "PYTHON=python3"], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    text = done.stdout.replace("\\\n", " ")
    (venv,) = re.findall(r"(python3 -m venv \S+)", text)
    (install,) = re.findall(r"(\.venv/bin/pip install) \$quiet .*?(-c \S+ -e \S+)", text)
    (lab,) = re.findall(r"^\.venv/bin/jupyter lab .*$", text, re.M)
    kept = [word for word in lab.split() if not re.match(r"--(ip|port|ServerApp)", word)]
    return [venv, " ".join(install).replace("'", '"'), " ".join(kept)]


def test_readme_has_what_make_lab_does_in_three_lines_for_machines_without_make() -> None:
    shown = re.findall(r"```sh\n(python3 -m venv.*?)```", README, re.S)
    assert [block.splitlines() for block in shown] == [steps_of_lab()]


def test_readme_has_the_same_three_lines_for_windows() -> None:
    (shown,) = re.findall(r"```bat\n(.*?)```", README, re.S)
    unix = [
        re.sub(r"\.venv\\Scripts\\", ".venv/bin/", line).replace("py -m", "python3 -m") for line in shown.splitlines()
    ]
    assert unix == steps_of_lab()


def test_without_what_only_unix_has_the_course_works() -> None:
    """As on Windows: these modules are not there."""
    code = """
import sys
sys.modules.update(dict.fromkeys(("fcntl", "resource", "pwd", "grp", "termios"), None))
import klpteach as kt
public = [getattr(kt, name) for name in kt.__all__]
kt.predict("reload", "loads")
print(kt.simulate("reload")[3].errno, len(kt.explore("reload").to_html()) > 10_000, kt.progress().headline)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["-8", "True", "Your", "progress"], done.stderr


@pytest.mark.parametrize(("system", "opens"), [("Darwin", True), ("Linux", False)])
@pytest.mark.parametrize("target", ["lab", "talk"])
def test_a_browser_opens_where_there_is_one_and_macos_always_has_one(
    target: str, system: str, opens: bool, tmp_path: Path
) -> None:
    environment = stand_in(tmp_path, uname=f"echo {system}")
    done = subprocess.run(["make", "-n", target], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and ("--no-browser" in done.stdout) != opens


def test_without_python_one_line_names_what_to_install(clone: Path) -> None:
    status, lines = make(clone, "lab", "PYTHON=no-such-python", **SCREENLESS)
    assert status == 2 and lines == ["python3 is missing. Try: apt-get install python3 python3-venv"]


def test_a_folder_that_cannot_be_written_to_is_said_in_one_line(clone: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere; only a read-only mount would stop it")
    clone.chmod(0o555)
    status, lines = make(clone, "lab", **SCREENLESS)
    clone.chmod(0o755)
    assert status == 2 and len(lines) == 1 and "cannot be written to" in lines[0]


def test_a_disk_without_room_is_said_before_anything_is_fetched(clone: Path, tmp_path: Path) -> None:
    environment = stand_in(
        tmp_path, df="echo head; echo dev 1000000 900000 102400 90% /", python3=f'exec {sys.executable} "$@"'
    )
    status, (line,) = make(clone, "lab", **environment)
    assert status == 2 and line.startswith("The disk is too full: 100 MB are free") and not (clone / ".venv").exists()


COMPLAINTS = {
    "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device": "The disk is full.",
    "WARNING: Retrying after connection broken by NewConnectionError: Temporary failure in name resolution": "No network:",
    "  Caused by: dns error: failed to lookup address information": "No network:",
}


@pytest.mark.parametrize("words", COMPLAINTS)
def test_a_known_failure_of_pip_is_one_line_that_says_what_it_comes_to(words: str, clone: Path, tmp_path: Path) -> None:
    a_venv_whose_pip_says(clone, words)
    environment = stand_in(tmp_path, python3=f'exec {sys.executable} "$@"', df="echo head; echo dev 9 9 9000000 9% /")
    status, (_, line) = make(clone, "lab", **environment)
    assert status == 2 and line.startswith(COMPLAINTS[words])


def test_another_failure_of_pip_is_shown_in_its_own_words(clone: Path, tmp_path: Path) -> None:
    a_venv_whose_pip_says(clone, "ERROR: hashes do not match")
    environment = stand_in(tmp_path, python3=f'exec {sys.executable} "$@"')
    status, (_, first, second, last) = make(clone, "lab", **environment)
    assert status == 2 and (first, second) == ("WARNING: first", "ERROR: hashes do not match")
    assert "own words stand above" in last


def test_every_target_that_the_makefile_names_in_its_head_is_there() -> None:
    text = (ROOT / "Makefile").read_text()
    head = text.partition("\n\n")[0]
    targets = set(re.findall(r"^([\w-]+):", text, re.M))
    assert set(re.findall(r"\bmake ([\w-]+)", head)) <= targets
    assert set(re.findall(r"\.PHONY: (.*)", text)[0].split()) <= targets


def test_the_oldest_versions_are_asked_for_by_a_lower_bound_of_each_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [
        *project["dependencies"],
        *project["optional-dependencies"]["lab"],
        *project["optional-dependencies"]["test"],
    ]
    assert [package for package in asked if ">=" not in package] == []
