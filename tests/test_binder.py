"""Binder: what repo2docker, which builds the image there, makes of this repository; asked without Docker."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

POST_BUILD = ROOT / "binder" / "postBuild"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The build pack that repo2docker chooses for this repository."""
    app = pytest.importorskip("repo2docker.app", reason="repo2docker is missing. Try: pip install -e '.[binder]'")
    packs = pytest.importorskip("repo2docker.buildpacks")
    monkeypatch.chdir(ROOT)
    pack = packs.CondaBuildPack(base_image=app.Repo2Docker().base_image)
    pack.platform = "linux/amd64"
    return pack


@pytest.fixture
def dockerfile(built: Any) -> str:
    return str(built.render(build_args={"NB_UID": "1000", "NB_USER": "jovyan"}))


def test_repo2docker_sees_an_environment_with_a_python_that_the_course_accepts(built: Any) -> None:
    assert built.detect()
    assert built.python_version in SpecifierSet(PROJECT["requires-python"])


def test_it_installs_the_copy_of_the_environment_in_binder(dockerfile: str) -> None:
    assert '--file "binder/environment.yml"' in dockerfile
    assert '--file "environment.yml"' not in dockerfile


def test_post_build_runs_after_the_repository_is_there_and_not_as_root(dockerfile: str) -> None:
    steps = [line.strip() for line in dockerfile.splitlines()]
    copied, run = steps.index("COPY --chown=1000:1000 src/ ${REPO_DIR}/"), steps.index("RUN ./binder/postBuild")
    user = [line for line in steps[:run] if line.startswith("USER ")][-1]
    assert copied < run and user == "USER ${NB_USER}"


def stand_in(folder: Path, name: str, code: int) -> None:
    """A program that writes down how it was called, and ends with an exit status."""
    path = folder / name
    path.write_text(f'#!/bin/sh\necho "{name} $*" >> "{folder}/called"\nexit {code}\n')
    path.chmod(0o755)


@pytest.mark.parametrize(("pip", "python", "says", "calls"), [(0, 0, 0, 2), (1, 0, 1, 1), (0, 1, 1, 2)])
def test_post_build_stops_where_a_step_fails_and_says_so(
    tmp_path: Path, pip: int, python: int, says: int, calls: int
) -> None:
    stand_in(tmp_path, "pip", pip)
    stand_in(tmp_path, "python", python)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run([POST_BUILD], env={"PATH": path}, cwd=ROOT, capture_output=True, text=True)
    called = (tmp_path / "called").read_text().splitlines()
    assert done.returncode == says and len(called) == calls, (done.stderr, called)
    assert called[0] == "pip install --no-deps ."


def environment() -> list[Requirement]:
    """The packages of environment.yml as pip names them; the pin of Python and pip itself left out."""
    packages = (ROOT / "environment.yml").read_text().partition("dependencies:")[2]
    lines = re.findall(r"^  - ([\w-]+)([^\s#]*)", packages, re.M)
    names = {"matplotlib-base": "matplotlib"}
    return [Requirement(names.get(name, name) + bounds) for name, bounds in lines if name not in ("python", "pip")]


def test_every_version_that_is_tested_here_is_one_that_binder_may_choose() -> None:
    locked = [Requirement(line) for line in (ROOT / "constraints.txt").read_text().splitlines()]
    chosen = {r.name: next(iter(r.specifier)).version for r in locked if r.marker is None or r.marker.evaluate()}
    for package in environment():
        assert chosen[package.name] in package.specifier, package


def test_binders_python_and_pyprojects_agree_and_no_package_is_asked_for_twice() -> None:
    text = (ROOT / "environment.yml").read_text()
    (minor,) = re.findall(r"^  - python=([\d.]+)\s", text, re.M)
    names = re.findall(r"^  - ([\w-]+)[=>\s#]", text, re.M)
    assert minor in SpecifierSet(PROJECT["requires-python"]) and len(set(names)) == len(names)
    assert all("#" in line for line in text.splitlines() if re.match(r"  - [\w-]+[=> ]", line)), "a reason each"


def test_the_badge_opens_the_first_notebook_at_the_tag_of_this_version() -> None:
    readme = (ROOT / "README.md").read_text()
    tag, path = re.findall(r"mybinder\.org/v2/gh/[\w-]+/[\w-]+/([\w.]+)\?urlpath=lab/tree/([\w./-]+)\)", readme)[0]
    assert tag == f"v{PROJECT['version']}" and (ROOT / path).is_file()


def test_the_same_packages_installed_by_pip_run_the_course(tmp_path: Path) -> None:
    """Installs what Binder installs, and nothing else, then runs postBuild and the first notebook's code: a minute."""
    if not os.environ.get("KLPTEACH_BINDER"):
        pytest.skip("installs an environment. Try: make test-binder")
    repository, venv = tmp_path / "repository", tmp_path / "venv"
    shutil.copytree(ROOT, repository, ignore=shutil.ignore_patterns(".*", "build", "tests", "*.egg-info"))
    inside = {**os.environ, "PATH": f"{venv / 'bin'}{os.pathsep}{os.environ['PATH']}", "HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    asked = [str(package) for package in environment()]
    subprocess.run(["pip", "install", "-q", "-c", ROOT / "constraints.txt", *asked], env=inside, check=True)
    subprocess.run([repository / "binder" / "postBuild"], cwd=repository, env=inside, check=True)
    code = "import nbclient, nbformat, sys; nbclient.NotebookClient(nbformat.read(sys.argv[1], 4)).execute()"
    for name in ("00-start-here", "05-the-bug"):
        command = ["python", "-c", code, f"{name}.ipynb"]
        subprocess.run(command, cwd=repository / "notebooks", env=inside, check=True)


# -- make badge -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """What make badge touches, in a folder of its own."""
    (tmp_path / "binder").mkdir()
    for name in ("README.md", "binder/badge.py"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    return tmp_path


def make_badge(clone: Path, *given: str) -> subprocess.CompletedProcess[str]:
    """The recipe of the Makefile, without what it would set up."""
    command = ["make", "-f", ROOT / "Makefile", "-s", "badge", f"PYTHON={sys.executable}", *given]
    return subprocess.run(command, cwd=clone, capture_output=True, text=True)


@pytest.mark.skipif(not shutil.which("make"), reason="make is missing")
def test_make_badge_puts_an_account_into_readme_and_leaves_every_other_line(clone: Path) -> None:
    before = (clone / "README.md").read_text().splitlines()
    done = make_badge(clone, "OWNER=some-body", "BRANCH=my/branch")
    after = (clone / "README.md").read_text().splitlines()
    changed = [new for old, new in zip(before, after, strict=True) if old != new]
    assert done.returncode == 0 and changed == [done.stdout.strip()]
    assert "mybinder.org/v2/gh/some-body/klpteach/my%2Fbranch?urlpath=lab/tree/notebooks/00" in changed[0]
    assert make_badge(clone, "OWNER=another").returncode == 0, "once more, with another account"
    assert "/gh/another/klpteach/my%2Fbranch?" in (clone / "README.md").read_text()


@pytest.mark.skipif(not shutil.which("make"), reason="make is missing")
@pytest.mark.parametrize("given", [[], ["OWNER=a b"], ["OWNER=a/b"], ["OWNER=me", "REPO=x?y"], ["OWNER=-me"]], ids=str)
def test_make_badge_says_in_one_line_what_it_cannot_take_and_changes_nothing(clone: Path, given: list[str]) -> None:
    done = make_badge(clone, *given)
    assert done.returncode != 0 and "Try: make badge OWNER=" in done.stderr.splitlines()[0]
    assert (clone / "README.md").read_text() == (ROOT / "README.md").read_text()
