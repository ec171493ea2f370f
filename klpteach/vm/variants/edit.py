"""What a change of the kernel is written as: text of ours and a short anchor that says where it goes.

No kernel source is kept here. A patch would bring the kernel's lines around it along; an Edit names the function it stands
in, and in that function a line or less. What it takes away is named by where that begins and where it ends.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..host import HostError


@dataclass(frozen=True)
class Edit:
    """One change of one place. Made by before(), after(), behind(), instead() and without().

    function: where the anchor is looked for, "" for the whole file. anchor: text that stands there `times` times; "" is the
    whole function. until: what is taken away ends behind the first of this after the anchor. text: what of ours stands there
    afterwards. keeps: where what the anchor names stands then: "behind" our text, "before" it, or "" where it goes.
    """

    path: str
    function: str
    anchor: str
    text: str
    keeps: str
    until: str = ""
    times: int = 1

    def applied(self, source: str) -> str:
        """The changed source. Errors: HostError where the anchor is missing, or stands there more often.

        >>> before("a.c", "", "return 0;", "puts(name); ").applied("{ return 0; }")
        '{ puts(name); return 0; }'
        >>> without("a.c", "", "if (bad)", until="goto out; ").applied("{ if (bad) goto out; return 0; }")
        '{ return 0; }'
        """
        start, end = body_of(source, self.function) if self.function else (0, len(source))
        if start < 0:
            raise HostError(f"{self.path}: there is no function {self.function}().")
        scope = source[start:end]
        anchor = self.anchor or scope
        if (times := scope.count(anchor)) != self.times:
            where = f"{self.path}, {self.function}()" if self.function else self.path
            raise HostError(f"{where}: {anchor.strip()!r} stands there {times} times, not {self.times}.")
        first, *others = scope.split(anchor)
        pieces = [self._put(anchor, rest) for rest in others]
        return source[:start] + first + "".join(pieces) + source[end:]

    def _put(self, anchor: str, rest: str) -> str:
        if self.until:
            taken, found, rest = rest.partition(self.until)
            if not found:
                raise HostError(f"{self.path}: {self.until.strip()!r} does not stand behind {anchor.strip()!r}.")
            anchor += taken + found
        return {"behind": self.text + anchor, "before": anchor + self.text, "": self.text}[self.keeps] + rest


def before(path: str, function: str, anchor: str, text: str) -> Edit:
    """Our text, then the anchor."""
    return Edit(path, function, anchor, text, "behind")


def after(path: str, function: str, anchor: str, text: str) -> Edit:
    """The anchor, then our text."""
    return Edit(path, function, anchor, text, "before")


def behind(path: str, function: str, text: str) -> Edit:
    """Our text behind the end of a function."""
    return Edit(path, function, "", "\n" + text, "before")


def instead(path: str, function: str, anchor: str, text: str, until: str = "") -> Edit:
    """Our text in place of the anchor, or of everything from it to the end of `until`; no anchor: of the function."""
    return Edit(path, function, anchor, text, "", until)


def without(path: str, function: str, anchor: str, until: str = "", times: int = 1) -> Edit:
    """Nothing in place of the anchor, or of everything from it to the end of `until`."""
    return Edit(path, function, anchor, "", "", until, times)


def body_of(source: str, function: str) -> tuple[int, int]:
    """Where the definition of a C function begins and ends, as the kernel writes it; (-1, -1) where there is none.

    A system call is named as it is defined: SYSCALL_DEFINE2(delete_module.

    >>> body_of("int f(int x);\\nstatic int f(int x)\\n{\\n\\treturn x;\\n}\\n", "f")
    (14, 49)
    """
    found = re.search(rf"^(?:\w[^\n;=]*\W)?{re.escape(function)}\b[^;{{}}]*\)\n{{\n.*?^}}\n", source, re.M | re.S)
    return found.span() if found else (-1, -1)


def edited(tree: Path, edits: Iterable[Edit]) -> dict[str, str]:
    """Path -> changed text of every file that the edits touch; nothing is written. Errors: HostError."""
    texts: dict[str, str] = {}
    for edit in edits:
        texts[edit.path] = edit.applied(texts.get(edit.path) or (tree / edit.path).read_text())
    return texts


def counted(tree: Path, texts: Mapping[str, str]) -> tuple[int, int]:
    """(added, removed): lines that are not blank, as diff counts them, of changed texts against the tree."""
    added = removed = 0
    for path, text in texts.items():
        old, new = (tree / path).read_text().splitlines(), text.splitlines()
        lines = [line for line in difflib.unified_diff(old, new, n=0, lineterm="") if line[1:].strip()][2:]
        added += sum(line.startswith("+") for line in lines)
        removed += sum(line.startswith("-") for line in lines)
    return added, removed
