"""What no page of the course may do: ask anything outside this machine, or complain in the console."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

HERE = ("127.0.0.1", "localhost", "")


@dataclass
class Guard:
    """Collects requests that leave the machine (and stops them) and errors on the console."""

    outside: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    asked: int = 0

    def watch(self, context: Any) -> None:
        """From now on every page of this browser context is watched."""
        context.route("**/*", self._route)
        context.on("request", lambda request: self._note(request.url))
        context.on("console", lambda message: message.type == "error" and self._complain(message.text))
        context.on("weberror", lambda error: self._complain(str(error.error)))
        context.on("page", lambda page: page.on("websocket", lambda socket: self._note(socket.url)))

    def _note(self, url: str) -> None:
        self.asked += 1
        if leaves_the_machine(url):
            self.outside.append(url)

    def _route(self, route: Any) -> None:
        if leaves_the_machine(route.request.url):
            route.abort()
        else:
            route.continue_()

    def _complain(self, text: str) -> None:
        self.errors.append(text)


def leaves_the_machine(url: str) -> bool:
    """Whether a URL names another machine.

    >>> leaves_the_machine("https://cdn.example/reveal.js"), leaves_the_machine("ws://127.0.0.1:8888/api")
    (True, False)
    >>> leaves_the_machine("data:image/png;base64,"), leaves_the_machine("file:///tmp/slides.html")
    (False, False)
    """
    return (urlsplit(url).hostname or "") not in HERE
