"""What a reader sees of an error in a notebook: one line, once, and not the way through the package."""

from __future__ import annotations

import re

import nbformat
import pytest
from nbclient import NotebookClient

from klpteach.errors import KlpteachError, LoadRefused

CELLS = {
    "kt.bring('there is none.ko')": r"ModuleFormatError: there is none\.ko: cannot be read .*",
    "kt.Kernel().rmmod(None)": r"ScenarioError: Kernel\.rmmod\(\) takes name: str; .*",
    "kt.explore(recording=kt.Recording('empty'))": r"RecordingError: 'empty' has no steps.*",
    "from klpteach.scenarios import size\nsize.MOST['functions to patch'] = 1\nkt.bring(kt.sample('livepatch_nfsd_demo.ko'))":
        r"KlpteachError: livepatch_nfsd_demo\.ko: 2 functions to patch, klpteach plays 1 at most.*",
}  # fmt: skip


def test_a_notebook_shows_one_line_of_an_error_and_shows_it_once() -> None:
    cells = [nbformat.v4.new_code_cell(f"import klpteach as kt\n{source}") for source in CELLS]
    run = NotebookClient(nbformat.v4.new_notebook(cells=cells), allow_errors=True, timeout=120).execute()
    for cell, wanted in zip(run.cells, CELLS.values(), strict=True):
        (output,) = cell.outputs
        assert output.output_type == "error" and len(output.traceback) == 1
        assert re.fullmatch(wanted, output.traceback[0]), output.traceback[0]


@pytest.mark.parametrize("error", [KlpteachError("a\x1b[31m\nb"), LoadRefused("c\r", -8, ())])
def test_a_strangers_letters_in_that_line_are_spelled_out(error: KlpteachError) -> None:
    (line,) = error._render_traceback_()
    assert line.isprintable() and line.startswith(f"{type(error).__name__}: ")
