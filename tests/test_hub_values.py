"""The values for Zero to JupyterHub: names and types that the chart knows, and figures that were measured. No helm is needed."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

yaml = pytest.importorskip("yaml", reason="PyYAML is missing. Try: make test")
FILE = ROOT / "binder" / "zero-to-jupyterhub.yaml"
VALUES: dict[str, Any] = yaml.safe_load(FILE.read_text())
# What the chart takes (its values.schema.yaml, July 2026), of what we give: an integer is a number, a quantity a text.
CHART = {
    "singleuser.image.name": str, "singleuser.image.tag": str, "singleuser.memory.guarantee": str,
    "singleuser.memory.limit": str, "singleuser.cpu.guarantee": float, "singleuser.cpu.limit": float,
    "singleuser.storage.capacity": str, "singleuser.storage.homeMountPath": str,
    "singleuser.lifecycleHooks.postStart.exec.command": list, "singleuser.defaultUrl": str, "singleuser.startTimeout": int,
    "cull.enabled": bool, "cull.timeout": int, "prePuller.continuous.enabled": bool,
}  # fmt: skip


def leaves(values: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def megabytes(quantity: str) -> float:
    number, unit = re.fullmatch(r"([\d.]+)([KMGT])i?", quantity).groups()  # type: ignore[union-attr]
    return float(number) * 1000.0 ** ("KMGT".index(unit) - 1)


def test_every_value_is_one_that_the_chart_knows_and_has_its_type() -> None:
    given = dict(leaves(VALUES))
    assert given.keys() == CHART.keys()
    for path, value in given.items():
        wanted = (int, float) if CHART[path] is float else CHART[path]
        assert isinstance(value, wanted) and isinstance(value, bool) == (CHART[path] is bool), path


def test_the_charts_own_schema_takes_the_values_over_its_defaults() -> None:
    folder = os.environ.get("KLPTEACH_Z2JH", "")
    if not folder:
        pytest.skip("KLPTEACH_Z2JH names no copy of the chart (its folder jupyterhub/)")
    schema, whole = (yaml.safe_load(Path(folder, name).read_text()) for name in ("values.schema.yaml", "values.yaml"))
    for path, value in leaves(VALUES):
        *rooms, name = path.split(".")
        room = whole
        for one in rooms:
            room = room.setdefault(one, {})
        room[name] = value
    pytest.importorskip("jsonschema").Draft7Validator(schema).validate(whole)


def test_a_student_is_promised_what_one_was_measured_to_take_and_may_open_three_more() -> None:
    (measured,) = re.findall(r"Each takes (\d+) MB", (ROOT / "README.md").read_text())
    memory = VALUES["singleuser"]["memory"]
    assert float(measured) <= megabytes(memory["guarantee"]) <= 1.2 * float(measured)
    assert megabytes(memory["limit"]) >= 4 * float(measured)


def test_the_image_is_this_version_and_its_user_is_the_charts() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert VALUES["singleuser"]["image"]["tag"] == project["version"]
    build = next(line for line in FILE.read_text().splitlines() if "jupyter-repo2docker" in line)
    assert f"--image-name REGISTRY/klpteach:{project['version']} " in build
    assert "--user-id 1000 --user-name jovyan" in build and "homeMountPath: /home/jovyan" in FILE.read_text()


def test_what_runs_at_the_start_hands_out_the_course_once_and_never_ends_a_server(tmp_path: Path) -> None:
    """The command itself, with the home folder elsewhere and a stand-in for klpteach."""
    *shell, script = VALUES["singleuser"]["lifecycleHooks"]["postStart"]["exec"]["command"]
    (tmp_path / "klpteach").mkdir()
    program = tmp_path / "bin" / "klpteach"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$*" >> {tmp_path}/called\nmkdir -p "$2/notebooks"\nexit 1\n')
    program.chmod(0o755)
    for _ in range(2):
        path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run([*shell, script], env={"PATH": path, "HOME": str(tmp_path)})
        assert done.returncode == 0
    assert (tmp_path / "called").read_text() == f"course {tmp_path}/klpteach\n"


def test_what_opens_first_is_what_the_course_hands_out() -> None:
    opened = VALUES["singleuser"]["defaultUrl"].removeprefix("/lab/tree/klpteach/")
    assert (ROOT / opened).is_file()
