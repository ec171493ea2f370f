"""A notebook in JupyterLab, as a reader has it before them: open, run everything, look at an output."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from .servers import TOKEN, Server

SECONDS = 1000.0
READY = """async () => {
  const panel = window.jupyterapp?.shell.currentWidget;
  if (!panel?.sessionContext) return false;
  await panel.sessionContext.ready;
  return panel.sessionContext.session?.kernel?.status === 'idle';
}"""
NOTHING_RUN = """() => [...window.jupyterapp.shell.currentWidget.content.model.cells]
  .every(cell => cell.type !== 'code' || cell.executionCount === null)"""
ALL_RUN = """() => {
  const panel = window.jupyterapp.shell.currentWidget;
  const code = [...panel.content.model.cells].filter(cell => cell.type === 'code' && cell.sharedModel.getSource().trim());
  const failed = code.some(cell => cell.sharedModel.getOutputs().some(output => output.output_type === 'error'));
  return failed || panel.sessionContext.session.kernel.status === 'idle' && code.every(cell => cell.executionCount > 0);
}"""
ERRORS = """() => [...window.jupyterapp.shell.currentWidget.content.model.cells]
  .flatMap(cell => cell.type === 'code' ? cell.sharedModel.getOutputs() : [])
  .filter(output => output.output_type === 'error').map(output => `${output.ename}: ${output.evalue}`)"""


def copied(notebook: Path, server: Server, folder: str) -> str:
    """Copy a notebook, with the pictures beside it, into a folder of its own below the server's root; its path there."""
    place = server.root / folder
    place.mkdir(parents=True, exist_ok=True)
    for path in (notebook, *notebook.parent.glob("*.svg")):
        shutil.copy(path, place)
    return f"{folder}/{notebook.name}"


class LabPage:
    """A notebook that is open in JupyterLab, in simple mode: one document, nothing else."""

    def __init__(self, page: Any, server: Server) -> None:
        self.page, self.server = page, server

    def open(self, path: str) -> LabPage:
        """Load the page and wait until the notebook has a kernel that is idle."""
        self.page.goto(f"{self.server.url}doc/tree/{path}?reset&token={TOKEN}")
        self.page.wait_for_selector(".jp-NotebookPanel .jp-Cell", timeout=60 * SECONDS)
        self.page.wait_for_function(READY, timeout=60 * SECONDS)
        return self

    def command(self, name: str, **arguments: Any) -> None:
        """Run one of JupyterLab's commands and wait until it says that it is done."""
        self.page.evaluate("([name, args]) => window.jupyterapp.commands.execute(name, args)", [name, arguments])

    def run_all(self) -> LabPage:
        """Run All Cells from the menu, on outputs that were cleared, and wait for the last cell's number."""
        self.command("editmenu:clear-all")
        self.page.wait_for_function(NOTHING_RUN)
        self.page.get_by_role("menuitem", name="Run", exact=True).click()
        self.page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
        self.page.wait_for_function(ALL_RUN, timeout=90 * SECONDS)
        assert self.page.evaluate(ERRORS) == []
        return self

    def run_cell(self, source: str) -> None:
        """Run the code cell whose source holds a string, once more."""
        self.page.evaluate(
            """async source => {
              const content = window.jupyterapp.shell.currentWidget.content;
              content.activeCellIndex = content.widgets.findIndex(
                cell => cell.model.type === 'code' && cell.model.sharedModel.getSource().includes(source));
              await window.jupyterapp.commands.execute('notebook:run-cell');
            }""",
            source,
        )

    def theme(self, name: str) -> None:
        """Light or Dark."""
        self.command("apputils:change-theme", theme=f"JupyterLab {name}")
        dark = "false" if name == "Dark" else "true"
        self.page.wait_for_selector(f"body[data-jp-theme-light={dark}]", state="attached")

    def output(self, source: str, number: int = 0) -> Any:
        """The output area of the code cell whose source holds a string."""
        cell = self.page.locator(".jp-CodeCell", has=self.page.locator(".jp-InputArea", has_text=source)).nth(number)
        cell.scroll_into_view_if_needed()
        return cell.locator(".jp-Cell-outputArea")
