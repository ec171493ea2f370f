"""What an installed package has: the course's modules, tables, recordings and notebooks, and nothing has to be beside it."""

from __future__ import annotations

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import ROOT

import klpteach

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
STORY = "import klpteach as kt; print(kt.__file__); print(kt.simulate('reload')[3].errno); print(len(kt.explore('reload').to_html()))"


def carried(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """What setup.py puts into the package besides its code. setuptools itself is in no venv since Python 3.12."""
    monkeypatch.chdir(ROOT)
    stand_ins = {"setuptools": {"setup": lambda **_: None}, "setuptools.command.build_py": {"build_py": object}}
    for name, names in {"setuptools.command": {}, **stand_ins}.items():
        monkeypatch.setitem(sys.modules, name, SimpleNamespace(**names))
    return list(runpy.run_path("setup.py")["carried"]())


def in_git(*folders: str) -> set[str]:
    done = subprocess.run(["git", "ls-files", "-z", *folders], cwd=ROOT, capture_output=True, text=True)
    if done.returncode or not done.stdout:
        pytest.skip("not a git checkout")
    return set(done.stdout.split("\0")) - {""}


def elsewhere(target: Path) -> dict[str, str]:
    """An environment in which the package in a folder is the first to be found, and no data folder is named."""
    kept = {name: value for name, value in os.environ.items() if name != "KLPTEACH_DATA"}
    return {**kept, "PYTHONPATH": str(target), "PYTHONDONTWRITEBYTECODE": "1"}


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package as a wheel lays it out, in a folder where nothing else is."""
    target = tmp_path / "site-packages"
    shutil.copytree(ROOT / "klpteach", target / "klpteach", ignore=shutil.ignore_patterns("__pycache__"))
    for path in carried(monkeypatch):
        (target / "klpteach" / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target / "klpteach" / path)
    monkeypatch.chdir(tmp_path)
    return target


def run(*command: str | Path, **options: Any) -> str:
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_everything_in_data_and_notebooks_is_carried_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {path.as_posix() for path in carried(monkeypatch)} == in_git("data", "notebooks")


def test_from_any_folder_an_installed_package_tells_a_story_and_shows_an_explorer(installed: Path) -> None:
    where, errno, size = run(sys.executable, "-c", STORY, env=elsewhere(installed)).split()
    assert Path(where).is_relative_to(installed) and errno == "-8" and int(size) > 10_000


def test_course_puts_the_notebooks_and_the_evidence_that_they_link_to_into_a_folder(installed: Path) -> None:
    command = [sys.executable, "-m", "klpteach", "course", "here"]
    said = run(*command, env=elsewhere(installed))
    made = sorted(Path("here/notebooks").glob("*.ipynb"))
    assert [path.name for path in made] == sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))
    assert said.startswith(f"{len(made)} notebooks")
    for path in made:
        for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", path.read_text(encoding="utf-8")):
            assert (path.parent / link).exists(), f"{path.name}: {link}"


def test_course_writes_over_nothing(installed: Path) -> None:
    mine = Path("here/notebooks/05-the-bug.ipynb")
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    command = [sys.executable, "-m", "klpteach", "course", "here"]
    done = subprocess.run(command, env=elsewhere(installed), capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and mine.read_text() == "mine"


def test_one_version_stands_in_every_file_that_names_it() -> None:
    log = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.M)
    cited = re.findall(r"^version: (\S+)", (ROOT / "CITATION.cff").read_text(), re.M)
    assert [klpteach.__version__, log[0], *cited] == [VERSION] * 3


# -- wheel and sdist: builds, fetches and installs, two minutes -----------------------------------------------------------


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a wheel, an sdist, and a venv with the tools that made and check them."""
    if not os.environ.get("KLPTEACH_DIST"):
        pytest.skip("builds and installs a wheel. Try: make test-dist")
    folder = tmp_path_factory.mktemp("dist")
    made = subprocess.run([sys.executable, "-m", "venv", folder / "tools"], capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"no venv can be made here: {made.stdout.strip()[-200:]}")
    fetched = subprocess.run(
        [folder / "tools/bin/pip", "install", "-q", "build", "twine"], capture_output=True, text=True
    )
    if fetched.returncode:
        pytest.skip(f"build and twine cannot be fetched: {fetched.stderr.strip()[-200:]}")
    run(folder / "tools/bin/python", "-m", "build", "-q", "--outdir", folder / "dist", ROOT)
    return folder


def test_twine_has_nothing_to_say_against_wheel_and_sdist(built: Path) -> None:
    files = sorted((built / "dist").iterdir())
    assert [path.name for path in files] == [f"klpteach-{VERSION}-py3-none-any.whl", f"klpteach-{VERSION}.tar.gz"]
    assert run(built / "tools/bin/twine", "check", "--strict", *files).count("PASSED") == 2


def test_the_wheel_is_made_of_the_packages_files_and_the_course(built: Path) -> None:
    with zipfile.ZipFile(next((built / "dist").glob("*.whl"))) as wheel:
        inside = {name for name in wheel.namelist() if ".dist-info/" not in name}
    wanted = in_git("klpteach") | {f"klpteach/{name}" for name in in_git("data", "notebooks")}
    assert inside == wanted


def test_the_sdist_holds_everything_that_is_in_git(built: Path) -> None:
    with tarfile.open(next((built / "dist").glob("*.tar.gz"))) as sdist:
        inside = {name.partition("/")[2] for name in sdist.getnames()}
    assert {name for name in in_git() if name != ".gitignore" and not name.startswith(".github/")} <= inside


def test_in_an_empty_venv_the_wheel_tells_a_story_from_any_folder(built: Path, tmp_path: Path) -> None:
    here = {"cwd": tmp_path, "env": {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "KLPTEACH_DATA")}}
    run(sys.executable, "-m", "venv", built / "empty", **here)
    run(built / "empty/bin/pip", "install", "-q", next((built / "dist").glob("*.whl")), **here)
    told = subprocess.run([built / "empty/bin/klpteach", "simulate", "reload", "--json"], capture_output=True, **here)
    assert told.returncode == 1 and json.loads(told.stdout)["steps"][3]["errno"] == -8
    where, errno, _ = run(built / "empty/bin/python", "-c", STORY, **here).split()
    assert Path(where).is_relative_to(built / "empty") and errno == "-8"
    assert "notebooks" in run(built / "empty/bin/klpteach", "course", tmp_path / "course", **here)
