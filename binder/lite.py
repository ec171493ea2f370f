"""Build the course for JupyterLite, a Jupyter that runs in the browser alone: python3 binder/lite.py [FOLDER].

FOLDER (default: build/lite) then holds JupyterLab, the notebooks, and klpteach with its pure Python dependencies as wheels.
numpy, pandas, matplotlib and Pyodide itself are fetched by the reader's browser when a notebook starts.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[1]
OURS = (".", "pyelftools", "ipywidgets", "jupyterlab-widgets")  # what Pyodide has not got, and is Python only
FIRST = "%pip install -q klpteach  # in JupyterLite only: every kernel starts with nothing installed"


def contents(folder: Path) -> None:
    """The course as `klpteach course` hands it out, each notebook with a first cell that installs the wheel."""
    subprocess.run([sys.executable, "-m", "klpteach", "course", folder], check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
    shutil.rmtree(folder / "notebooks/slides")
    for path in sorted((folder / "notebooks").glob("*.ipynb")):
        notebook = nbformat.read(path, 4)
        notebook.cells.insert(0, nbformat.v4.new_code_cell(FIRST, id="install"))
        nbformat.write(notebook, path)


def build(folder: Path) -> None:
    """Write the tree, over an earlier one. Needs the extra `lite`; asks the network for wheels that pip has not kept."""
    scratch = folder.with_name(f"{folder.name}-parts")
    for old in (folder, scratch):
        shutil.rmtree(old, ignore_errors=True)
    contents(scratch / "files")
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-c", ROOT / "constraints.txt", "-w", scratch / "wheels"]
    subprocess.run([*pip, *OURS], check=True, cwd=ROOT)
    wheels = [f"--piplite-wheels={wheel}" for wheel in sorted((scratch / "wheels").glob("*.whl"))]
    lite = [sys.executable, "-m", "jupyter", "lite", "build", "--contents", scratch / "files", "--output-dir", folder]
    subprocess.run([*lite, *wheels], check=True, cwd=scratch, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    out = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build/lite").resolve()
    build(out)
    print(f"{out}: serve it with any web server, such as: python3 -m http.server --bind 127.0.0.1 --directory {out}")
