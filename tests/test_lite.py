"""The tree that `make lite` builds, as far as it can be looked at without a network. The first test builds it: a minute."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import pytest
from conftest import ROOT

import klpteach
from klpteach.course.progress import Progress, to_text

LINE = to_text(Progress({"reload": ["loads"]}))
PURE = f"""
import sys, klpteach
from klpteach import KlpteachError
from klpteach.course.progress import from_text
from klpteach.model.policy import RELEASES
foreign = {{"numpy", "pandas", "matplotlib", "IPython", "ipywidgets", "elftools"}} & {{name.partition(".")[0] for name in sys.modules}}
said = f"{{klpteach.__version__}} {{from_text({LINE!r}).predictions['reload'][0]}} {{len(RELEASES) > 4}} {{sorted(foreign)}}"
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not os.environ.get("KLPTEACH_LITE"):
        pytest.skip("builds JupyterLite. Try: make test-lite")
    pytest.importorskip("jupyterlite_core", reason="jupyterlite-core is missing. Try: make test-lite")
    folder = tmp_path_factory.mktemp("built") / "lite"
    done = subprocess.run([sys.executable, ROOT / "binder/lite.py", folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (found,) = (built / "pypi").glob("klpteach-*.whl")
    return found


def test_the_wheel_is_this_version_is_indexed_and_carries_modules_and_recordings(built: Path, wheel: Path) -> None:
    index = json.loads((built / "pypi/all.json").read_text())
    assert list(index["klpteach"]["releases"]) == [klpteach.__version__]
    assert {"pyelftools", "ipywidgets"} <= index.keys(), "what Pyodide has not got is there, too"
    inside = set(zipfile.ZipFile(wheel).namelist())
    assert {"klpteach/data/ko/x86_64-6.1/nfsd_demo.ko", "klpteach/notebooks/glossary.md"} <= inside
    assert any(name.startswith("klpteach/data/recordings/x86_64/reload--6.1") for name in inside)


def test_every_notebook_is_there_and_begins_by_installing_the_wheel(built: Path) -> None:
    ours = sorted((ROOT / "notebooks").glob("*.ipynb"))
    assert sorted(path.name for path in (built / "files/notebooks").glob("*.ipynb")) == [path.name for path in ours]
    for path in ours:
        first, *rest = nbformat.read(built / "files/notebooks" / path.name, 4).cells
        assert first.source.startswith("%pip install -q klpteach")
        assert [cell.source for cell in rest] == [cell.source for cell in nbformat.read(path, 4).cells]


def test_the_notebooks_are_listed_for_the_file_browser_and_the_widgets_have_their_half_in_the_browser(
    built: Path,
) -> None:
    listed = json.loads((built / "api/contents/notebooks/all.json").read_text())["content"]
    assert "05-the-bug.ipynb" in {entry["name"] for entry in listed}
    extensions = json.loads((built / "jupyter-lite.json").read_text())["jupyter-config-data"]["federated_extensions"]
    names = {extension["name"] for extension in extensions}
    assert {"@jupyter-widgets/jupyterlab-manager", "@jupyterlite/pyodide-kernel-extension"} <= names


def test_the_wheel_is_imported_and_reads_a_progress_text_without_third_parties(wheel: Path, tmp_path: Path) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{PURE}\nprint(said)"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True)
    assert done.stdout == f"{klpteach.__version__} loads True []\n", done.stderr


def test_pyodide_itself_imports_the_wheel_and_reads_a_progress_text(wheel: Path, tmp_path: Path) -> None:
    pyodide, node = ROOT / "build/npm/node_modules/pyodide/pyodide.mjs", shutil.which("node")
    if not (pyodide.exists() and node):
        pytest.skip("Pyodide (npm) or node is missing. Try: make test-lite")
    script = tmp_path / "run.mjs"
    script.write_text(
        'import { readFileSync } from "node:fs";\n'
        f"import {{ loadPyodide }} from {json.dumps(pyodide.as_uri())};\n"
        "const pyodide = await loadPyodide();\n"
        f'pyodide.unpackArchive(new Uint8Array(readFileSync({json.dumps(str(wheel))})), "wheel");\n'
        f"console.log(pyodide.runPython({json.dumps(PURE + 'said')}));\n"
    )
    done = subprocess.run([node, script], capture_output=True, text=True)
    assert done.stdout == f"{klpteach.__version__} loads True []\n", done.stderr[-500:]
