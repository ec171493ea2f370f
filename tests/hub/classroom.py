"""One user of the class, without a browser: a server, a kernel, the notebook's cells, and clicks on the explorer."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest
from tornado.websocket import websocket_connect

PATIENCE = 300.0  # seconds; what is lost is an error, what is slow is a figure
AsyncHTTPClient.configure(None, max_clients=1000)  # a class is not ten browsers behind one another
FIND = """
from klpteach.views.explorer.explorer import Explorer
_e = [value for value in Out.values() if isinstance(value, Explorer)][0]
print(_e.next.model_id, _e.back.model_id, _e.picture.model_id)
"""
ANSWER = """
from klpteach.course import progress as book
book.keep(book.Progress({{"same-address": [{name!r}]}}))
"""
ANSWERS = """
from klpteach.course import progress as book
print(*book.recall().predictions["same-address"])
"""


@dataclass
class User:
    """A user and what they waited for, in seconds: `started` their server, `ran` the whole notebook, `answers` each click."""

    name: str
    hub: str
    token: str
    started: float = 0.0
    ran: float = 0.0
    answers: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    async def ask(self, path: str, method: str = "GET", body: Any = None, refused: int = 0) -> Any:
        """An answer of the hub or of the user's server, as JSON. refused: a status that is no error here."""
        request = HTTPRequest(
            self.hub + path,
            method=method,
            headers={"Authorization": f"token {self.token}", "Content-Type": "application/json"},
            body=json.dumps(body) if method in ("POST", "PUT") else None,
            connect_timeout=PATIENCE,
            request_timeout=PATIENCE,
        )
        answer = await AsyncHTTPClient().fetch(request, raise_error=False)
        if answer.code != refused:
            answer.rethrow()
        return json.loads(answer.body) if answer.body else None

    async def start(self) -> None:
        """Log in and wait for the server."""
        begun = time.monotonic()
        await self.ask(f"/hub/api/users/{self.name}", "POST", refused=409)  # 409: the user is there already
        await self.ask(f"/hub/api/users/{self.name}/server", "POST", {})
        while time.monotonic() - begun < PATIENCE:
            try:
                await self.ask(f"/user/{self.name}/api/status")
                break
            except HTTPClientError:
                await asyncio.sleep(0.3)
        self.started = time.monotonic() - begun

    async def stop(self) -> None:
        """Log out: the server ends, the folder stays."""
        await self.ask(f"/hub/api/users/{self.name}/server", "DELETE")
        while (await self.ask(f"/hub/api/users/{self.name}"))["servers"]:
            await asyncio.sleep(0.2)

    async def run(self, notebook: Path, clicks: int) -> None:
        """Open the notebook, run all its cells, and click Next and Back in its explorer."""
        begun = time.monotonic()
        cells = (await self.open(notebook))["cells"]
        assert [cell["source"] for cell in cells] == [cell.source for cell in nbformat.read(notebook, 4).cells]
        for cell in cells:
            if cell["cell_type"] == "code":
                await self.execute(cell["source"])
        self.ran = time.monotonic() - begun
        forward, back, picture = (await self.execute(FIND)).split()
        for number in range(clicks):  # it opens at the last step: back twice, forward twice
            self.answers.append(await self.click((back, forward)[number % 4 >= 2], picture))

    async def open(self, notebook: Path) -> Any:
        """A new kernel for the user's copy of a notebook; what the copy holds."""
        path = f"notebooks/{notebook.name}"
        content = (await self.ask(f"/user/{self.name}/api/contents/{path}"))["content"]
        session = {"path": path, "name": notebook.name, "type": "notebook", "kernel": {"name": "python3"}}
        kernel = (await self.ask(f"/user/{self.name}/api/sessions", "POST", session))["kernel"]["id"]
        url = f"{self.hub.replace('http', 'ws', 1)}/user/{self.name}/api/kernels/{kernel}/channels"
        self.socket = await websocket_connect(
            HTTPRequest(
                url,
                headers={"Authorization": f"token {self.token}"},
                connect_timeout=PATIENCE,
                request_timeout=PATIENCE,
            ),
            max_message_size=2**26,
        )
        return content

    async def leave(self, notebook: Path) -> None:
        """Write one's name into the notebook, save it, give an answer, and log out."""
        path = f"/user/{self.name}/api/contents/notebooks/{notebook.name}"
        content = (await self.ask(path))["content"]
        content["cells"].append(nbformat.v4.new_markdown_cell(self.name))
        await self.ask(path, "PUT", {"type": "notebook", "format": "json", "content": content})
        await self.execute(ANSWER.format(name=self.name))
        self.socket.close()
        await self.stop()

    async def come_back(self, notebook: Path) -> tuple[str, str]:
        """Log in again: what the notebook's last cell says, and what was answered."""
        await self.start()
        last = (await self.open(notebook))["cells"][-1]["source"]
        answered = await self.execute(ANSWERS)
        self.socket.close()
        await self.stop()
        return last, answered.strip()

    async def send(self, kind: str, content: dict[str, Any]) -> str:
        header = {"msg_id": uuid.uuid4().hex, "msg_type": kind, "username": self.name, "session": "class"}
        message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
        await self.socket.write_message(json.dumps(message))
        return header["msg_id"]

    async def answer(self, asked: str) -> Any:
        """The next message that answers a request. A kernel that is lost or says nothing any more is an error, not a wait."""
        while True:
            text = await asyncio.wait_for(self.socket.read_message(), PATIENCE)
            if text is None:
                raise ConnectionError(
                    f"{self.name}'s kernel is lost: {self.socket.close_code} {self.socket.close_reason}"
                )
            message = json.loads(text)
            if message["parent_header"].get("msg_id") == asked:
                return message

    async def execute(self, source: str) -> str:
        """Run a cell until the kernel is idle again; what it printed. An error is noted."""
        content = {"code": source, "silent": False, "store_history": True, "allow_stdin": False}
        asked, printed = await self.send("execute_request", content), ""
        while True:
            message = await self.answer(asked)
            if message["msg_type"] == "stream":
                printed += message["content"]["text"]
            if message["msg_type"] == "error":
                self.errors.append(message["content"]["evalue"])
            if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
                return printed

    async def click(self, button: str, picture: str) -> float:
        """Seconds from a click on a button to the explorer's new picture."""
        begun = time.monotonic()
        data = {"method": "custom", "content": {"event": "click"}}
        asked = await self.send("comm_msg", {"comm_id": button, "data": data})
        while True:
            content = (await self.answer(asked))["content"]
            if content.get("comm_id") == picture and "value" in content["data"].get("state", {}):
                return time.monotonic() - begun


def memory(user: str) -> float:
    """MB of a user's server and kernel: their own pages, and their share of those that they have in common."""
    total, mark = 0, f"JUPYTERHUB_USER={user}\0".encode()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (process / "environ").read_bytes():
                rollup = (process / "smaps_rollup").read_text()
                total += int(rollup.partition("\nPss:")[2].split()[0])
        except (OSError, IndexError):
            continue
    return total / 1024
