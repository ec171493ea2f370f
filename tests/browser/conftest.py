"""One Chromium and one JupyterLab for the run; a guarded page and an own copy of the notebook for each test."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from .guards import Guard
from .lab import LabPage, copied
from .servers import Server, jupyter_lab

ROOT = Path(__file__).resolve().parents[2]
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-color-profile=srgb",
]
OFFLINE = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"


def chromium() -> str:
    """The browser's path: $CHROMIUM, or the distribution's."""
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if not found:
        pytest.skip("no Chromium is here. Try: apt-get install chromium", allow_module_level=True)
    return found


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """The distribution's Chromium, which cannot find any other machine."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is missing. Try: make test-browser")
    path = chromium()
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, headless=True, args=[*FLAGS, OFFLINE])
        yield browser
        browser.close()


@contextmanager
def guarded(browser: Any, theirs: str = "", **options: Any) -> Iterator[Any]:
    """A page from which nothing may leave the machine, and on which nothing may complain.

    theirs: words of an error that the page has without anything of ours. Options: of the browser's context.
    """
    guard = Guard()
    context = browser.new_context(**{"viewport": {"width": 1400, "height": 1000}, **options})
    context.set_default_timeout(30_000)
    guard.watch(context)
    try:
        yield context.new_page()
    finally:
        context.close()
    assert guard.asked, "no request was seen at all"
    assert guard.outside == []
    assert [error for error in guard.errors if not theirs or theirs not in error] == []


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    with guarded(browser) as page:
        yield page


@pytest.fixture(scope="session")
def lab_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with jupyter_lab(tmp_path_factory.mktemp("lab"), tmp_path_factory.mktemp("home")) as server:
        yield server


@contextmanager
def notebook(browser: Any, server: Server, path: Path, **options: Any) -> Iterator[LabPage]:
    """A notebook in JupyterLab, in a copy and with a kernel of its own; both are gone after the block."""
    with guarded(browser, **options) as page:
        try:
            yield LabPage(page, server).open(copied(path, server, path.stem))
        finally:
            server.end_kernels()
