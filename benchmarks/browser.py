"""From a click to the changed picture, in JupyterLab and Chromium: python benchmarks/browser.py [--json FILE].

The explorer beside other ways to make such a widget, all on one page, in turns: what a busy machine does to one it does to
all. A click is timed in the page, from the event to the first frame after the output has changed; for a matplotlib canvas,
after its pixels have. Also: seconds from starting the server to the first output of notebook 00, and the size of the
environment.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import nbformat
from nbformat.v4 import new_code_cell, new_notebook

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from browser.conftest import FLAGS, chromium  # noqa: E402
from browser.lab import LabPage, copied  # noqa: E402
from browser.servers import jupyter_lab  # noqa: E402

ROUNDS = 25
EXPLORER = """import klpteach as kt
e = kt.explore("reload", release="6.1")
e"""
OTHERS = """import ipywidgets as w, matplotlib.pyplot as plt
from klpteach.scenarios.simulate import simulate
from klpteach.views.figures.reuse import reuse, reuse_rows
stories = {(): simulate("reload", "6.1"), ("clear-relocations",): simulate("reload", "6.1", ["clear-relocations"])}
def told(on): return stories[("clear-relocations",) if on else ()]"""
PEERS = {
    "interactive_output with an inline figure": """%matplotlib inline
box = w.Checkbox(False, description="inline")
def show(on):
    display(reuse(told(on)).figure)
w.VBox([box, w.interactive_output(show, {"on": box})])""",
    "one Image, a new PNG each time": """box = w.Checkbox(False, description="image")
image = w.Image(value=reuse(told(False)).png, layout=w.Layout(height="560px"))
box.observe(lambda change: setattr(image, "value", reuse(told(change["new"])).png), "value")
w.VBox([box, image])""",
    "ipympl, one canvas drawn anew": """%matplotlib widget
box = w.Checkbox(False, description="ipympl")
def draw(on):
    axes.clear()
    for number, row in enumerate(reuse_rows(told(on))):
        axes.barh(number, 1 + number); axes.text(0, number, str(row)[:60])
    axes.set_title("cleared" if on else "as it is"); figure.canvas.draw_idle()
box.observe(lambda change: draw(change["new"]), "value")
display(box)
figure, axes = plt.subplots(figsize=(9, 5))
plt.show()""",
    "anywidget, both pictures in the page": """import anywidget, traitlets
class TwoPictures(anywidget.AnyWidget):
    _esm = '''export default { render({ model, el }) {
      const label = document.createElement("label"), box = document.createElement("input"), picture = document.createElement("div");
      box.type = "checkbox"; label.append(box, "anywidget"); picture.className = "kx"; el.append(label, picture);
      const show = () => { picture.innerHTML = model.get("pictures")[Number(box.checked)]; };
      box.addEventListener("change", show); show();
    } };'''
    pictures = traitlets.List().tag(sync=True)
description="anywidget"
def picture(*on): return kt.explore("reload", release="6.1", proposals=on).picture.value
TwoPictures(pictures=[picture(), picture("clear-relocations")])""",
}
LABELS = {"interactive_output with an inline figure": "inline", "one Image, a new PNG each time": "image"}
LABELS |= {"ipympl, one canvas drawn anew": "ipympl", "anywidget, both pictures in the page": "anywidget"}

# Milliseconds from a click on a control to the first frame after what it changes has changed.
TIMED = """([area, control]) => new Promise((resolve, reject) => {
  const look = () => {
    const canvases = [...area.querySelectorAll('canvas')];
    if (canvases.length) return canvases.map(canvas => canvas.toDataURL()).join();
    const image = area.querySelector('.kx') ?? area.querySelector('img');
    return image ? image.src || image.innerHTML : '';
  };
  const before = look(), start = performance.now();
  const frame = () => {
    if (look() && look() !== before) return requestAnimationFrame(() => resolve(performance.now() - start));
    if (performance.now() - start > 20000) return reject(new Error('nothing changed: ' + area.innerHTML.slice(0, 2000)));
    requestAnimationFrame(frame);
  };
  control.click();
  requestAnimationFrame(frame);
})"""


def timed(output: Any, role: str, name: str) -> float:
    """One click, in milliseconds."""
    control = output.get_by_role(role, name=name, exact=True).first.element_handle()
    return float(output.page.evaluate(TIMED, [output.element_handle(), control]))


def clicks(lab: LabPage) -> dict[str, list[float]]:
    """Milliseconds of every click, by what was clicked, in turns; the first round only warms up."""
    explorer, taken = lab.output("e = kt.explore("), {}
    switches = [("explorer: a proposal switched", "checkbox", "clear on removal (RFC)")]
    steps = [("explorer: a step", "button", "Back"), ("explorer: a step", "button", "Next")]
    peers = {what: lab.output(f'description="{LABELS[what]}"') for what in PEERS}
    for _ in range(3):  # to the step where a proposal changes map, bytes and verdict
        timed(explorer, "button", "Next")
    for _ in range(ROUNDS + 1):
        for what, role, name in [*steps, *switches]:
            taken.setdefault(what, []).append(timed(explorer, role, name))
        for what, output in peers.items():
            taken.setdefault(what, []).append(timed(output, "checkbox", LABELS[what]))
    return {what: values[2:] for what, values in taken.items()}


def summary(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {"median ms": statistics.median(ordered), "p95 ms": ordered[round(0.95 * (len(ordered) - 1))]}


def megabytes(folder: Path) -> float:
    return sum(file.lstat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6


def measure() -> dict[str, Any]:
    """Start a server, time the first output of notebook 00, then the clicks."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        root, home = Path(name) / "root", Path(name) / "home"
        root.mkdir()
        browser = playwright.chromium.launch(executable_path=chromium(), headless=True, args=FLAGS)
        begun = time.monotonic()
        with jupyter_lab(root, home) as server:
            answered = time.monotonic() - begun
            lab = LabPage(browser.new_page(viewport={"width": 1400, "height": 1000}), server)
            lab.open(copied(ROOT / "notebooks" / "00-start-here.ipynb", server, "start"))
            opened = time.monotonic() - begun
            lab.command("notebook:clear-all-cell-outputs")
            lab.run_cell("kt.self_check()")
            lab.output("kt.self_check()").get_by_text("Everything is here.").wait_for()
            first = time.monotonic() - begun
            server.end_kernels()
            path = root / "clicks.ipynb"
            metadata = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
            cells = [new_code_cell(source) for source in (EXPLORER, OTHERS, *PEERS.values())]
            nbformat.write(new_notebook(cells=cells, metadata=metadata), path)
            page = browser.new_page(viewport={"width": 1400, "height": 1000})
            taken = clicks(LabPage(page, server).open(path.name).run_all())
        browser.close()
    ours = statistics.median(taken["explorer: a proposal switched"])
    return {
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "clicks": {
            what: summary(values) | {"times the explorer": statistics.median(values) / ours, "clicks": len(values)}
            for what, values in taken.items()
        },
        "seconds": {"the server answers": answered, "the notebook is open": opened, "the first output": first},
        "MB of the environment": megabytes(Path(sys.prefix)),
    }


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    given = parser.parse_args(argv)
    found = measure()
    print(f"{'click to picture':<44}{'median':>10}{'p95':>10}{'ratio':>8}")
    for what, row in found["clicks"].items():
        print(f"{what:<44}{row['median ms']:>7.0f} ms{row['p95 ms']:>7.0f} ms{row['times the explorer']:>8.1f}")
    for what, seconds in found["seconds"].items():
        print(f"{what:<44}{seconds:>7.1f} s")
    print(f"{'the environment':<44}{found['MB of the environment']:>7.0f} MB")
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
