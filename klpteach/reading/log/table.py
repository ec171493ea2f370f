"""All rows, by name; and the words by which a line is first looked at."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from functools import cache

from . import arch, kmod, livepatch, loader, neighbours, others
from .row import Row

ROWS: tuple[Row, ...] = (*livepatch.ROWS, *arch.ROWS, *others.ROWS, *loader.ROWS, *kmod.ROWS, *neighbours.ROWS)
BY_NAME: dict[str, Row] = {row.name: row for row in ROWS}

# What only the module loader, livepatch or their tools print: such a line is never passed over in silence.
OURS = (
    "livepatch: ",
    "x86/modules: ",
    "module_64: ",
    "insmod: ERROR",
    "modprobe: ERROR",
    "modprobe: FATAL",
    "rmmod: ERROR",
    "kpatch: ",
)

# Words that stand in lines of all sorts, and so do not tell much; such a row is looked for by a whole piece of its text.
_COMMON = frozenset(
    [
        "modules",
        "kernel",
        "kernel.",
        "symbols",
        "failed",
        "error",
        "error:",
        "relocation",
        "with",
        "from",
        "this",
        "that",
        "must",
        "have",
        "table",
        "does",
        "info:",
        "address",
        "already",
        "after",
        "waiting",
        "object",
        "empty",
        "trace",
        "could",
        "loading",
        "linked",
        "returned",
        "handle",
        "cannot",
        "status",
        "string",
        "warning:",
        "inserting",
        "allocate",
        "parameter",
        "transition",
        "invalid",
        "unknown",
        "process",
        "version",
        "disabling",
        "duplicate",
        "import",
        "compressed",
        "initialized",
        "protection",
        "truncated",
        "tainted.",
        "livepatch",
        "can't",
        "name",
        "patch",
        "data",
        "memory",
        "than",
        "init",
        "found",
        "index",
        "type:",
        "loaded",
        "should",
        "large",
        "missing",
        "general",
        "range",
        "remove",
        "header",
        "expected",
        "complete",
        "parameters",
        "initialize",
        "exported",
        "compiled",
        "unable",
        "pid:",
        "cpu#",
        "directory,",
        "extended",
        "ignored",
        "doesn't",
        "stall",
        "stub",
        "zstd",
        "gzip",
        "stalled",
        "stream",
        "request",
        "enabled",
        "disabled",
        "virtual",
        "contain",
        "leading",
        "relative",
        "aligned",
        "bounds",
        "digest",
        "shadow",
        "transition,",
        "versions",
        "percpu",
        "variable",
        "alignment",
        "rejected",
        "fatal:",
        "(section",
        "unloaded",
        "decompression",
        "terminated",
        "only",
        "other",
        "function",
        "needs",
        "least",
        "reading",
        "support",
        "access",
        "detected",
        "buffer",
        "fail-tracking",
    ]
)
_WORD = re.compile(r"[^\s{}]{6,}")


@cache
def hints() -> tuple[str, ...]:
    """Few words or pieces, in lower case, of which every row has one; chosen greedily, the most shared first."""
    chosen = list(dict.fromkeys(ours.split()[0].lower() for ours in OURS))
    left = {row.name: row for row in ROWS if not _has_one(row, chosen)}
    while left:
        count = Counter(word for row in left.values() for word in _words(row))
        best = max(count, key=lambda word: (count[word], len(word), word))
        chosen.append(best)
        left = {name: row for name, row in left.items() if not _has_one(row, [best])}
    return tuple(chosen)


@cache
def rows_with(found: frozenset[str]) -> tuple[Row, ...]:
    """The rows that have one of these hints."""
    return tuple(row for row in ROWS if _has_one(row, found))


def _has_one(row: Row, hints: Iterable[str]) -> bool:
    """Whether every line of the row has one of the hints: it stands in one piece of its text."""
    pieces = [piece.lower() for piece in row.pieces[::2]]
    return any(hint in piece for hint in hints for piece in pieces)


def _words(row: Row) -> set[str]:
    pieces = [piece.lower().strip() for piece in row.pieces[::2]]
    words = {word for piece in pieces for word in _WORD.findall(piece)} - _COMMON
    return words or {max(pieces, key=len)}
