"""Two recordings of the same commands, held against each other: every field that both have looked at."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from .step import Step

_HASHED = re.compile(r"(?<=loc )0{8}[0-9a-f]{8}")  # 32 bits; an address has more
_VMALLOC = (  # x86_64 and arm64, ppc64le, s390x
    (0xFF00000000000000, 0xFFFFFFFF80000000), (0xC008000000000000, 0xC00A000000000000), (0x37000000000, 0x40000000000),
)  # fmt: skip
_OOPS = ("BUG:", "Unable to handle kernel ")  # how the first line of an oops begins
_WARNING = re.compile(r"WARNING: .* at (?:\S+ )?(\w+)\+0x")


@dataclass(frozen=True)
class Difference:
    """One thing that two recordings do not agree on."""

    step: int
    command: str
    what: str
    ours: Any
    theirs: Any

    def __str__(self) -> str:
        return f"step {self.step} ({self.command}): {self.what}: {_brief(self.ours)} != {_brief(self.theirs)}"


def _brief(value: Any) -> str:
    if isinstance(value, bytes):
        return value.hex()
    return f"0x{value:016x}" if isinstance(value, int) and value > 0xFFFFFFFF else repr(value)


def compare_steps(ours: Step, theirs: Step, exact_pointers: bool = False) -> Iterator[tuple[str, Any, Any]]:
    """(what, ours, theirs) for every field that both have looked at and that differs."""
    if ours.command != theirs.command:
        yield "command", ours.command, theirs.command
    if ours.oops or theirs.oops:
        # Of one in a `cat` only that it came: what a stranger's bytes do as code, and the lines of that, no file tells.
        if ours.oops != theirs.oops:
            yield "oops", ours.oops, theirs.oops
            return
        # Of one in a `cat` only that it came: what a stranger's bytes do as code, and the lines of that, no file tells.
        if ours.did.verb != "cat" and _before_the_wreck(ours) != _before_the_wreck(theirs):
            yield "dmesg up to the oops", _before_the_wreck(ours), _before_the_wreck(theirs)
        yield from _compare_what_was_seen(ours, theirs)
        return
    if "hung" in (ours.label, theirs.label) and ours.label != theirs.label:
        yield "label", ours.label, theirs.label
    for key in ("errno", "exit"):
        if getattr(ours, key) != getattr(theirs, key):
            yield key, getattr(ours, key), getattr(theirs, key)
    if None not in (ours.out, theirs.out) and ours.out != theirs.out:
        yield "out", ours.out, theirs.out
    yield from _compare_dmesg(ours, theirs, exact_pointers)
    yield from _compare_what_was_seen(ours, theirs)


def _compare_what_was_seen(ours: Step, theirs: Step) -> Iterator[tuple[str, Any, Any]]:
    for key in ("modules", "livepatch", "sections", "symbols", "sites", "stubs"):
        a, b = getattr(ours, key), getattr(theirs, key)
        if a is not None and b is not None:
            if key in ("sections", "symbols", "stubs"):
                # a recorder need not look at every module: what it left out is not compared
                a = {module: rows for module, rows in a.items() if module in b}
            if key == "symbols":
                a = {module: _listed(rows, b[module]) for module, rows in a.items()}
            yield from _compare_values(key, a, b)


def _before_the_wreck(step: Step) -> list[str]:
    """The lines up to the first of the oops; after BUG: without the address, which lies in memory that is long gone."""
    end = next((number for number, line in enumerate(step.lines, 1) if line.startswith(_OOPS)), None)
    lines = step.lines[:end]
    return [re.sub(r"[0-9a-f]{16}", "(address)", line) if line.startswith("BUG:") else line for line in lines]


def _compare_dmesg(ours: Step, theirs: Step, exact_pointers: bool) -> Iterator[tuple[str, Any, Any]]:
    def comparable(step: Step) -> list[tuple[int | None, str]]:
        lines = _warnings_folded(step.dmesg)
        return lines if exact_pointers else [(level, _HASHED.sub("(hashed)", line)) for level, line in lines]

    pairs = zip_longest(comparable(ours), comparable(theirs), fillvalue=(None, None))
    for number, ((level, line), (their_level, their_line)) in enumerate(pairs):
        if line != their_line:
            yield f"dmesg line {number}", line, their_line
        elif None not in (level, their_level) and level != their_level:
            yield f"level of dmesg line {number}", level, their_level


def _warnings_folded(dmesg: Sequence[tuple[int | None, str]]) -> list[tuple[int | None, str]]:
    """A WARNING as one line with the function's name: PID, offset, registers and call trace differ on every machine."""
    folded: list[tuple[int | None, str]] = []
    inside = False
    for level, line in dmesg:
        if line.startswith(("------------[ cut here", "---[ end trace")):
            inside = line.startswith("------------")
        elif not inside:
            folded.append((level, line))
        elif found := _WARNING.match(line):
            folded.append((level, f"WARNING in {found[1]}"))
    return folded


def _in_the_copy(row: tuple[int, str, str]) -> bool:
    """A symbol of a section that is not laid out (.modinfo) points into the temporary copy of the file, anywhere in vmalloc."""
    named = row[1] == "?" and not row[2].startswith(".klp.sym.")
    return named and any(start <= row[0] < end for start, end in _VMALLOC)


def _listed(rows: Sequence[Any], theirs: Sequence[Any]) -> Sequence[Any]:
    """Rows of kallsyms that their recorder lists: on ppc64le one left out what no relocation needs (.modinfo, notes)."""
    if not any(address >> 48 == 0xC008 for address, _, _ in theirs):
        return rows
    names = {name for _, _, name in theirs}
    return [row for row in rows if row[2] in names]


def _not_looked_at(key: str, a: Any, b: Any) -> bool:
    """What one recorder leaves out: a label made for readers; functions; the tables that are freed after a load."""
    label = key.startswith("stubs ") and key.endswith(" symbol")
    return label or (None in (a, b) and key.endswith((" functions", " .symtab", " .strtab", "symbols vmlinux")))


def _compare_values(key: str, a: Any, b: Any) -> Iterator[tuple[str, Any, Any]]:
    """Go down into dictionaries, so that a difference names the one address or byte that differs."""
    if _not_looked_at(key, a, b):
        return
    if isinstance(a, dict) and isinstance(b, dict):
        for name in [*a, *(n for n in b if n not in a)]:
            yield from _compare_values(f"{key} {name}", a.get(name), b.get(name))
    elif key.endswith("functions") and None not in (a, b):
        if set(a) != set(b):
            yield key, a, b
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b) and not key.endswith("used_by"):
        for number, (left, right) in enumerate(zip(a, b, strict=True)):
            yield from _compare_values(f"{key} {number}", left, right)
    elif key.startswith("symbols ") and a and b and _in_the_copy(a) and _in_the_copy(b):
        if a[1:] != b[1:]:
            yield key, a, b
    elif a != b:
        yield key, a, b
