"""Notebook 02's upload: a reader's own module, and one whose symbol, module and file names are markup."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from klpteach import sample
from klpteach.files.write import tiny_module

from .conftest import ROOT, notebook
from .lab import LabPage
from .servers import Server

PATCH, TARGET = sample("livepatch_nfsd_demo.ko").read_bytes(), sample("nfsd_demo.ko").read_bytes()
NAME, MARKUP = b"demo_counter", b"<b id=ran>xx"  # of one length, so that the file stays a good one
SCRIPT = "<img src=data:, onerror=window.ran=1><script>window.ran=1</script>"


@pytest.fixture(scope="module")
def lab(browser: Any, lab_server: Server) -> Iterator[LabPage]:
    with notebook(browser, lab_server, ROOT / "notebooks" / "02-a-real-ko.ipynb") as lab:
        yield lab.run_all()


@pytest.fixture
def bring(lab: LabPage) -> Any:
    """The output with the upload buttons, made anew."""
    lab.run_cell("kt.bring()")
    output = lab.output("kt.bring()")
    output.get_by_role("button", name="Look").wait_for()
    return output


def give(output: Any, button: str, name: str, data: bytes) -> None:
    """Choose a file with one of the buttons, and wait until the button counts it."""
    control = output.get_by_role("button", name=button)
    with output.page.expect_file_chooser() as chooser:
        control.click()
    chooser.value.set_files({"name": name, "mimeType": "application/octet-stream", "buffer": data})
    output.get_by_role("button", name=f"{button} (1)").wait_for()


def look(output: Any, words: str) -> str:
    output.get_by_role("button", name="Look").click()
    output.get_by_text(words).first.wait_for()
    return str(output.inner_text())


def test_a_readers_own_livepatch_gets_a_verdict_and_an_explorer(bring: Any) -> None:
    give(bring, "Livepatch", "livepatch_nfsd_demo.ko", PATCH)
    give(bring, "Its targets", "nfsd_demo.ko", TARGET)
    assert "ENOEXEC" in look(bring, "refused: ENOEXEC")
    bring.locator(".kx").wait_for()
    for _ in range(3):
        bring.get_by_role("button", name="Next", exact=True).click()
    bring.get_by_text("Reload refused").first.wait_for()


def test_markup_in_a_symbols_name_comes_out_as_text(bring: Any) -> None:
    assert NAME in PATCH and NAME in TARGET and len(NAME) == len(MARKUP)
    give(bring, "Livepatch", "livepatch_nfsd_demo.ko", PATCH.replace(NAME, MARKUP))
    give(bring, "Its targets", "nfsd_demo.ko", TARGET.replace(NAME, MARKUP))
    look(bring, "refused: ENOEXEC")
    bring.locator(".kx").wait_for()
    bring.get_by_role("button", name="Next", exact=True).click()
    bring.get_by_text(f"PC32 → {MARKUP.decode()}").first.wait_for()
    assert bring.page.locator("#ran").count() == 0


def test_a_script_in_the_names_of_a_module_and_of_its_file_does_not_run(bring: Any) -> None:
    symbol = f".klp.sym.nfsd_demo.{SCRIPT},1"
    data = tiny_module(
        SCRIPT, {".text": bytes(16)}, [(symbol, None, 0)], [(".text", 4, 2, symbol, -4)], {"livepatch": "Y"}
    )
    give(bring, "Livepatch", f"{SCRIPT.replace('/', '-')}.ko", data)
    look(bring, "✗")
    assert bring.page.evaluate("window.ran") is None


def test_a_file_that_is_no_module_gets_one_clear_line(bring: Any) -> None:
    give(bring, "Livepatch", "notes.ko", b"not a module")
    said = look(bring, "✗")
    assert "notes.ko" in said and "Traceback" not in said
