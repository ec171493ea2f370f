"""JupyterLab and Voila on a free port of this machine, with settings of their own, for as long as a test run lasts."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TOKEN = "tests"
TEMPLATES = Path(__file__).resolve().parents[2] / "notebooks" / "slides"
QUIET = {
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/docmanager-extension:plugin": {"autosave": False},
}


@dataclass(frozen=True)
class Server:
    """A running server: where it answers, and the folder that it serves."""

    url: str
    root: Path
    log: Path

    def get(self, path: str, method: str = "GET") -> Any:
        """An answer of the REST interface, as JSON; None where there is no body."""
        request = urllib.request.Request(self.url + path, headers={"Authorization": f"token {TOKEN}"}, method=method)
        with urllib.request.urlopen(request, timeout=20) as answer:
            body = answer.read()
        return json.loads(body) if body else None

    def end_kernels(self) -> None:
        """Shut down every session, so that the next test starts with an idle machine."""
        for session in self.get("api/sessions"):
            self.get(f"api/sessions/{session['id']}", "DELETE")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(home: Path) -> dict[str, str]:
    """The environment of a server that neither sees nor changes the settings of whoever runs the tests."""
    settings = home / "settings" / "overrides.json"
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text(json.dumps(QUIET))
    ours = {f"JUPYTER_{kind}_DIR": str(home / kind.lower()) for kind in ("CONFIG", "RUNTIME", "DATA")}
    ours["JUPYTER_PATH"] = str(TEMPLATES)
    state = {"IPYTHONDIR": str(home / "ipython"), "KLPTEACH_PROGRESS": str(home / "progress.json")}
    return {**os.environ, **ours, **state, "PYTHONDONTWRITEBYTECODE": "1", "JUPYTER_PLATFORM_DIRS": "1"}


def wait_until_it_answers(process: subprocess.Popen[bytes], url: str, log: Path, seconds: float = 300) -> None:
    """Poll until the server answers anything at all. Errors: RuntimeError with the end of its log."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"no answer from {url}\n" + log.read_text()[-3000:])


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask a process to end, and its whole group if it does not."""
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def running(arguments: list[str], url: str, root: Path, home: Path, probe: str = "") -> Iterator[Server]:
    """A server process and its answer, ended when the block ends. probe: what is asked to see whether it answers."""
    log = home / "server.log"
    home.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=root,
            env=environment(home),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
        try:
            wait_until_it_answers(process, url + probe, log)
            yield Server(url, root, log)
        finally:
            stop(process)


def of_jupyter(application: str, port: int, root: Path) -> list[str]:
    """What JupyterLab and Notebook 7 are both told."""
    return [
        application,
        "--no-browser",
        "--ip=127.0.0.1",
        f"--port={port}",
        "--expose-app-in-browser",
        f"--notebook-dir={root}",
        f"--IdentityProvider.token={TOKEN}",
        "--ServerApp.allow_root=True",
        "--ServerApp.port_retries=0",
    ]


@contextmanager
def jupyter_lab(root: Path, home: Path) -> Iterator[Server]:
    """JupyterLab on the notebooks below root. The page's application object is exposed, to wait for a kernel and not for a time."""
    port = free_port()
    arguments = [
        *of_jupyter("jupyterlab", port, root),
        "--LabApp.collaborative=False",
        f"--LabApp.app_settings_dir={home / 'settings'}",
        f"--LabApp.user_settings_dir={home / 'user-settings'}",
        f"--LabApp.workspaces_dir={home / 'workspaces'}",
    ]
    with running(arguments, f"http://127.0.0.1:{port}/", root, home) as server:
        yield server


@contextmanager
def notebook_7(root: Path, home: Path) -> Iterator[Server]:
    """Notebook 7 on the notebooks below root."""
    port = free_port()
    with running(of_jupyter("notebook", port, root), f"http://127.0.0.1:{port}/", root, home) as server:
        yield server


@contextmanager
def voila(notebook: Path, home: Path) -> Iterator[Server]:
    """Voila serving one notebook."""
    port = free_port()
    arguments = [
        "voila",
        notebook.name,
        "--no-browser",
        f"--port={port}",
        "--Voila.ip=127.0.0.1",
        "--VoilaConfiguration.extension_denylist=@jupyter-notebook/lab-extension",
        "--template=klpteach",
    ]
    # not its page: that starts a kernel and runs the notebook each time it is asked
    with running(arguments, f"http://127.0.0.1:{port}/", notebook.parent, home, "voila/static/none") as server:
        yield server
