"""Twenty readers of one JupyterHub open and run notebook 05 at the same time, click in its explorer, and find all again."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from .classroom import User, memory

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "notebooks" / "05-the-bug.ipynb"
USERS = int(os.environ.get("KLPTEACH_CLASS_SIZE", "20"))
CLICKS = 12
TOKEN = secrets.token_hex(16)


def free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running hub; its address. It ends, with all its servers, after the tests."""
    pytest.importorskip("jupyterhub", reason="jupyterhub is missing. Try: make test-hub")
    if not (ROOT / "build/npm/node_modules/.bin/configurable-http-proxy").exists():
        pytest.skip("configurable-http-proxy is missing (npm). Try: make test-hub")
    folder, (front, api, proxy) = tmp_path_factory.mktemp("class"), free_ports(3)
    url = f"http://127.0.0.1:{front}"
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "KLPTEACH_COURSE": str(ROOT),
        "KLPTEACH_CLASS": str(folder),
        "KLPTEACH_HUB": url,
        "KLPTEACH_HUB_API": f"http://127.0.0.1:{api}",
        "KLPTEACH_PROXY_API": f"http://127.0.0.1:{proxy}",
        "KLPTEACH_TOKEN": TOKEN,
    }
    command = [sys.executable, "-m", "jupyterhub", "-f", Path(__file__).with_name("jupyterhub_config.py")]
    with (folder / "hub.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            wait_for(f"{url}/hub/health", process, folder / "hub.log")
            yield url
        finally:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    ends = time.monotonic() + 60
    while time.monotonic() < ends and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except OSError:
            time.sleep(0.3)
    raise RuntimeError("the hub does not answer\n" + log.read_text()[-3000:])


async def the_class(hub: str) -> tuple[list[User], list[float], list[tuple[str, str]]]:
    """All users at once: start, open and run, leave, and come back.

    Also each user's memory in MB while all are there, and what each finds at the next login.
    """
    users = [User(f"user{number:02}", hub, TOKEN) for number in range(USERS)]
    await asyncio.gather(*(user.start() for user in users))
    await asyncio.gather(*(user.run(NOTEBOOK, CLICKS) for user in users))
    used = [memory(user.name) for user in users]
    await asyncio.gather(*(user.leave(NOTEBOOK) for user in users))
    again = [User(user.name, hub, TOKEN) for user in users]
    return users, used, await asyncio.gather(*(user.come_back(NOTEBOOK) for user in again))


def test_twenty_readers_run_notebook_05_at_once_and_nothing_is_lost(hub: str) -> None:
    users, used, found = asyncio.run(the_class(hub))
    assert [error for user in users for error in user.errors] == []
    assert all(len(user.answers) == CLICKS for user in users)
    assert found == [(user.name, user.name) for user in users]
    answers = sorted(seconds for user in users for seconds in user.answers)
    report = {
        "users": USERS,
        "seconds until a server answers": max(user.started for user in users),
        "seconds until the notebook has run": max(user.ran for user in users),
        "click to picture, median, seconds": statistics.median(answers),
        "click to picture, p95, seconds": answers[int(0.95 * len(answers))],
        "MB a user, median": statistics.median(used),
        "MB a user, most": max(used),
        "MB all": sum(used),
    }
    print("\n" + "\n".join(f"{name:<36} {value:8.3f}" for name, value in report.items()))
    build = ROOT / "build"
    build.mkdir(exist_ok=True)
    (build / "class.json").write_text(json.dumps(report, indent=1))
    assert min(used) > 50, "no memory was found: are these the users' processes?"


def test_what_a_user_changed_is_still_there_at_the_next_login(hub: str) -> None:
    async def twice() -> list[str]:
        user = User("again", hub, TOKEN)
        await user.start()
        await user.ask("/user/again/api/contents/notebooks", "POST", {"copy_from": "notebooks/05-the-bug.ipynb"})
        await user.ask("/user/again/api/contents/notebooks/talk.ipynb", "DELETE")
        await user.stop()
        await user.start()
        entries = (await user.ask("/user/again/api/contents/notebooks"))["content"]
        await user.stop()
        return [entry["name"] for entry in entries]

    names = asyncio.run(twice())
    assert "05-the-bug-Copy1.ipynb" in names and "talk.ipynb" in names
