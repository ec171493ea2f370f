"""One row of the tables: a message of the kernel or of a tool, what happened, why, and what to do.

A row finds its message anywhere in a line. It looks for its first words with str.find and then reads on with one
expression whose fields are bounded and exclude the character that follows them, so time grows with the text only.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from .errnos import WHY

_GAP = re.compile(r"\{(\w+)[^}]*\}")
_HEX = "(?:0x)?[0-9a-f]{1,16}"
_NUMBER = "[0-9]{1,20}"
# after an oops's number: what the kernel was built with; and the modules of "Modules linked in:"
_FLAGS = r"(?: ?(?:PREEMPT(?:[_(][\w()]{1,20})?|SMP|DEBUG_PAGEALLOC|KASAN|NOPTI|PTI)(?![\w-])){0,8}"
_LINKED = r"(?: [\w-]{1,64}(?:\([A-Z+-]{1,20}\))?(?!\S)){0,400}(?: \[last unloaded: [^\]\n]{1,120}\])?"
_FIELDS = {
    "why": "|".join([*(re.escape(words) for words in WHY), r"[\w ,()-]{1,60}"]),
    **dict.fromkeys(("type", "index", "max", "pos", "pid", "cpu", "sec", "idx", "source_line", "count"), _NUMBER),
    **dict.fromkeys(("val", "old", "new", "address"), _HEX),
    "err": "-?[0-9]{1,10}",
    "offset": "-?[0-9]{1,20}",
    "insn": "[0-9a-f]{8}",
    "loc": rf"(?:{_HEX}|\(_{{0,4}}ptrval_{{0,4}}\)|\(efault\)|\(null\))",
    "what": r"\w{1,20}",  # patching, unpatching
    "turn": r"\w{1,20}(?: to \w{1,20})?",  # patching to unpatching
    "reason": r"[\w ]{1,60}",
    "flags": _FLAGS,
    "linked": _LINKED,
    "file": r"[\w./@+-]{1,300}",
    "module": r"[\w.-]{1,100}",
    "module_": r"[\w.-]{1,100}",
    "function_at": r"[\w.$]{1,200}\+0x[0-9a-f]{1,8}(?:/0x[0-9a-f]{1,8})?(?: \[[\w-]{1,64}\])?",
    "where": r"\S{1,300}(?: \[[\w-]{1,64}\])?",
    "comm": ".{1,64}?",  # may hold blanks and colons
    "text": ".{0,300}",
}
_TOKEN = string.ascii_letters + string.digits + "_.-"


@dataclass(frozen=True)
class Cause:
    """Why a message may have come, and how sure that is: certain, likely or possible."""

    sure: str
    says: str

    def __str__(self) -> str:
        return f"{self.sure.capitalize()}: {self.says}"


def certain(says: str) -> Cause:
    return Cause("certain", says)


def likely(says: str) -> Cause:
    return Cause("likely", says)


def possible(says: str) -> Cause:
    return Cause("possible", says)


Saying = Callable[[Any], Iterable[str]]  # of a case.Case: the message, its neighbours and the files at hand


@dataclass(frozen=True)
class Row:
    """A message: pattern (text with {fields}), who prints it and in which kernels; the rest are sentences with the same fields.

    by: sentences that depend on an errno, on the lines around it or on module files; they come after `happened`.
    optional: what stands before the pattern in most logs, and may be missing.

    >>> row = Row("NOT_FOUND", "kernel/livepatch/core.c", "livepatch: symbol '{name}' not found in symbol table", "No {name}.")
    >>> [found.fields for found in row.find("> kernel: livepatch: symbol 'nfsd_open' not found in symbol table")]
    [{'name': 'nfsd_open'}]
    """

    name: str
    source: str
    pattern: str
    happened: str = ""
    causes: tuple[Cause, ...] = ()
    cure: str = ""
    kernels: str = ""
    by: Saying | None = None
    optional: str = ""

    @cached_property
    def pieces(self) -> list[str]:
        """Literal text and names of fields in turn, beginning with text."""
        return _GAP.split(self.pattern)

    @cached_property
    def first(self) -> str:
        """The first words, in lower case: what str.find looks for."""
        return next(text for text in self.pieces[::2] if text).lower()

    @cached_property
    def longest(self) -> str:
        """The longest piece of text, in lower case: a line without it need not be read."""
        return max((piece.lower() for piece in self.pieces[::2]), key=len).strip()

    @cached_property
    def packed(self) -> tuple[str, str]:
        """The first words and the longest piece without blanks."""
        return packed(self.first), packed(self.longest)

    @cached_property
    def regex(self) -> re.Pattern[str]:
        texts, names = self.pieces[::2], self.pieces[1::2]
        parts = [re.escape(texts[0])]
        for name, text in zip(names, texts[1:], strict=True):
            parts.append(f"(?P<{name}>{_FIELDS.get(name) or _until(text)})" + re.escape(text))
        return re.compile(("" if self.pieces[0] else r"(?<![\w.-])") + "".join(parts), re.IGNORECASE)

    def find(self, line: str, low: str = "") -> Iterator[Found]:
        """Every place in a line (cleaned: one blank between words) where the message stands; low is the line in lower case."""
        low = low or lower(line)
        at = low.find(self.first)
        while at >= 0:
            start = at if self.pieces[0] else _token_before(line, at)
            match = self.regex.match(line, start)
            if match:
                before = len(self.optional)
                if before and low[max(0, start - before) : start] == self.optional.lower():
                    start -= before
                yield Found(self, match.groupdict(), start, match.end(), line[start : match.end()].rstrip())
            at = low.find(self.first, at + 1)


def _until(text: str) -> str:
    """The class of a field that ends before this text."""
    if not text:
        return r"[^\s'\"`]{1,512}"
    stop = text[0]
    return f"[^{re.escape(stop)}]{{0,512}}" if stop in "'`\")" else rf"[^\s{re.escape(stop)}]{{1,512}}"


def _token_before(line: str, at: int) -> int:
    """Where the word begins that ends at a place; a module's name is no longer than a hundred characters."""
    piece = line[max(0, at - 100) : at]
    return at - len(piece) + len(piece.rstrip(_TOKEN))


def packed(text: str) -> str:
    """Lower case without blanks: the same however the text was wrapped."""
    return lower(text).replace(" ", "")


def lower(text: str) -> str:
    """Lower case with every character in its place (of 'İ' str.lower() makes two)."""
    return text.replace("\u0130", "i").lower()


@dataclass
class Found:
    """One message in a log: its row and fields, where it stands in its line, its text, and the line's number from 1."""

    row: Row
    fields: Mapping[str, str]
    start: int
    end: int
    text: str
    number: int = 0
    last: int = field(default=0)  # the number of the line where it ends, where it was wrapped

    @property
    def name(self) -> str:
        return self.row.name
