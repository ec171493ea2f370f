"""What a stranger relies on: the set-up files agree, importing is cheap, nothing of a machine is in the repository."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import import_module

import pytest
from conftest import ROOT

import klpteach


def test_importing_klpteach_imports_nothing_third_party() -> None:
    code = (
        "import sys, klpteach; "
        "print(sorted({m.partition('.')[0] for m in sys.modules} & {'numpy', 'pandas', 'matplotlib', 'IPython', 'ipywidgets', 'elftools'}))"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


def test_the_model_imports_no_pandas_no_matplotlib_and_no_widgets() -> None:
    code = (
        "import sys; from klpteach import Kernel, simulate, replay, load_image; import klpteach.reading.log.explain, klpteach.scenarios.reload; "
        "simulate('reload'); print(sorted({m.partition('.')[0] for m in sys.modules} & {'pandas', 'matplotlib', 'ipywidgets', 'IPython'}))"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


def test_an_installed_package_finds_the_course_from_its_notebooks(tmp_path) -> None:
    """As on Binder: installed, not editable, and run in notebooks/."""
    target = tmp_path / "site"
    shutil.copytree(ROOT / "klpteach", target / "klpteach", ignore=shutil.ignore_patterns("__pycache__"))
    code = "import klpteach as kt; print(kt.__file__, kt.simulate('reload')[3].errno)"
    environment = {**os.environ, "PYTHONPATH": str(target)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT / "notebooks", env=environment, capture_output=True, text=True
    )
    assert done.stdout.split() == [str(target / "klpteach" / "__init__.py"), "-8"], done.stderr


def test_without_the_sample_modules_one_line_says_where_to_point(tmp_path) -> None:
    environment = {**os.environ, "KLPTEACH_DATA": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "klpteach", "simulate", "reload"], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "KLPTEACH_DATA" in done.stderr


def test_every_public_name_is_there_and_says_what_it_does() -> None:
    for name in klpteach.__all__:
        assert getattr(klpteach, name).__doc__, name


def test_what_the_module_build_imports_from_the_library_is_there() -> None:
    """Some of it is imported only when a ppc64le kernel has to be built."""
    tree = ast.parse((ROOT / "data" / "src" / "build.py").read_text())
    wanted = [
        (node.module, name.name) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for name in node.names
    ]
    ours = [(module, name) for module, name in wanted if module and module.startswith("klpteach")]
    assert ours and all(hasattr(import_module(module), name) for module, name in ours), ours


def test_both_environment_files_have_the_same_bytes() -> None:
    assert (ROOT / "environment.yml").read_bytes() == (ROOT / "binder" / "environment.yml").read_bytes()


def test_the_environment_asks_for_the_same_packages_and_lower_bounds_as_pyproject() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {
        line.partition(">=")[0]: line.partition(">=")[2]
        for line in project["dependencies"] + project["optional-dependencies"]["lab"]
    }
    lines = re.findall(r"^  - ([\w-]+)>=([\d.]+)", (ROOT / "environment.yml").read_text(), re.M)
    assert {name.replace("matplotlib-base", "matplotlib"): bound for name, bound in lines} == wanted


def test_the_constraints_hold_names_and_versions_and_no_addresses() -> None:
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        assert re.fullmatch(r"[\w.-]+==[\w.]+( ; .*)?", line), line
        assert "://" not in line and "@" not in line


def tracked() -> list[str]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode or not done.stdout:
        pytest.skip("not a git checkout")
    return [name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_no_binary_is_committed_but_our_own_modules_and_packed_recordings() -> None:
    binaries = {name for name in tracked() if b"\0" in (ROOT / name).read_bytes()[:4096]}
    ours = r"data/ko/[\w.-]+/[\w.]+\.ko|data/recordings/(x86_64|ppc64le)-proposals\.tar\.xz|.*\.png"
    assert [name for name in binaries if not re.fullmatch(ours, name)] == []


def test_no_path_of_a_machine_is_in_any_file() -> None:
    pattern = re.compile(rb"(?<![\w.])/(home|root|work|Users)/[\w.-]+/")
    found = {name: pattern.search((ROOT / name).read_bytes()) for name in tracked()}
    assert {name: match[0] for name, match in found.items() if match} == {}
