"""What the lines of a log say: every message of the tables, in order, with its sentences; and what was left out."""

from __future__ import annotations

import itertools
import os
import re
import stat
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache, lru_cache
from typing import BinaryIO

from ...errors import KlpteachError, printable
from .case import Case, Modules
from .pasted import Binary, blocks, clean, decoded, is_quoted_printable, unquoted
from .row import Found, Row, lower, packed
from .table import OURS, ROWS, hints, rows_with

MOST = 1000  # messages that are explained
_PLACES = 10_000  # lines that may hold a message: as many are looked at, in a second or two
_CHARACTERS = 1_500_000  # of these lines: those of a kernel have some hundred each, and each is read for many rows
_SMALL = 1 << 18  # characters: such a text is looked at line by line, without hints
_AHEAD = 4  # lines: as many more as a message may be wrapped into
_TAIL = 700  # characters of a line that may be the beginning of a wrapped message
_LONG = 2000  # characters: more than a message has
_WIDTHS = {72, 76, 78, 79, 80, 100, 120, 132, 160}  # of terminals
_OURS = tuple(ours.lower() for ours in OURS)
NOTHING = "No line here comes from the module loader, livepatch or their tools, as far as klpteach knows."
UNKNOWN = Row("UNKNOWN", "not known to klpteach", "{text}")
_NO_LOG = re.compile(r"subject: |\[patch|\[rfc|\bcommit [0-9a-f]{7}|git log", re.IGNORECASE)
_TOOL = re.compile(r"\w+: (?:ERROR|FATAL|WARNING):")  # before a message of libkmod's
_PATCH_WORD = re.compile(r"[a-z]{3,}")


@dataclass(frozen=True)
class Explanation:
    """One message: its text, its row's name, where it comes from, its fields, and sentences about it.

    number: the line of the log it begins in, from 1; again: the number of an earlier line that says the same, or 0.
    """

    line: str
    message: str
    source: str
    fields: dict[str, str]
    says: tuple[str, ...]
    number: int = 0
    again: int = 0


@dataclass
class Log:
    """The explanations in the order of the lines, and notes about what was left out."""

    found: list[Explanation]
    notes: list[str] = field(default_factory=list)


def explain(text: str | bytes, ko: str | os.PathLike[str] | None = None) -> list[Explanation]:
    """Explain every message in a log that is known, or that only livepatch and the module loader print.

    ko: a folder of .ko files (searched with its subfolders), to name the relocation behind a line.

    >>> explain("[Thu Nov 26 11:12:13 2026] livepatch: symbol 'nfsd_open' not found in symbol table")[0].message
    'NOT_FOUND'
    """
    return read(text, ko).found


def read(source: str | bytes | BinaryIO, ko: str | os.PathLike[str] | None = None, most: int = MOST) -> Log:
    """Explain a log of any size: a text, its bytes, or an open file."""
    _no_device(source)
    binary = Binary()
    windows = _windows(source, binary)
    looked = list[int]()
    log = list(itertools.islice(_messages(_affordable(windows, looked)), most))
    notes = []
    if left := next(windows, None):
        said = f"the first {most} messages are explained" if len(log) == most else f"{len(looked)} lines were looked at"
        notes.append(
            f"Only {said}; from line {left.number} on nothing was read. Try fewer lines, or grep for one module."
        )
    if binary.size:
        notes.append(f"{binary.size} bytes are no text and were not read.")
    return Log(list(_explanations(log, Modules(ko))), notes)


def _affordable(windows: Iterator[Window], looked: list[int]) -> Iterator[Window]:
    """As many lines as take seconds; looked: their numbers."""
    room = _CHARACTERS
    for window in itertools.islice(windows, _PLACES):
        looked.append(window.number)
        yield window
        room -= len(window.raw[0])
        if room < 0:
            return


def _no_device(source: str | bytes | BinaryIO) -> None:
    """A device need not end. Standard input may be anything, a terminal too. Errors: KlpteachError."""
    if isinstance(source, (str, bytes)):
        return
    try:
        number = source.fileno()
    except OSError:  # of memory
        return
    mode = os.fstat(number).st_mode
    if number and (stat.S_ISCHR(mode) or stat.S_ISBLK(mode)) and not os.isatty(number):
        name = getattr(source, "name", "this")
        raise KlpteachError(f"{name}: a device, not a log. Give a file, or: dmesg | klpteach explain -")


def as_text(log: Log) -> Iterator[str]:
    """The log's explanations as lines for a terminal; what was explained before is named, not repeated.

    >>> print(*as_text(read("[ 1.0] Module nfsd is blacklisted")), sep="\\n")  # doctest: +ELLIPSIS
    Module nfsd is blacklisted
        [kernel/module/main.c]
        The kernel was told not to load nfsd: ...
    """
    for one in log.found:
        yield one.line
        if one.again:
            yield f"    As line {one.again}."
        else:
            yield f"    [{one.source}]"
            yield from (f"    {sentence}" for sentence in one.says)
        yield ""
    yield from log.notes
    if not log.found:
        yield NOTHING


def as_json(log: Log) -> list[dict[str, object]]:
    """The explanations for a program."""
    return [asdict(one) for one in log.found]


def _explanations(log: Sequence[Found], modules: Modules) -> Iterator[Explanation]:
    seen: dict[str, int] = {}
    for at, found in enumerate(log):
        case = Case(found, log, at, modules)
        says = tuple(printable(sentence, keep="") for sentence in sentences(case))  # names of files and symbols in them
        key = "\n".join([found.text, *says])
        again = seen.setdefault(key, found.number)
        yield Explanation(
            found.text,
            found.name,
            found.row.source,
            dict(found.fields),
            says,
            found.number,
            0 if again == found.number else again,
        )


def sentences(case: Case) -> Iterator[str]:
    """What happened, what depends on the errno and the lines around, causes with how sure, what to do, and which kernels print it."""
    row, fields = case.found.row, case.fields
    if row is UNKNOWN:
        yield from _unknown(case.found.text)
        return
    if row.happened:
        yield row.happened.format_map(fields)
    if row.by:
        yield from row.by(case)
    for cause in row.causes:
        yield str(cause).format_map(fields)
    if row.cure:
        yield row.cure.format_map(fields)
    if row.kernels:
        yield f"Printed by: {row.kernels}."


# -- a message that is in no table ----------------------------------------------------------------------------------------


def _unknown(text: str) -> Iterator[str]:
    yield "This comes from livepatch, the module loader or their tools, but klpteach does not know this line and can say nothing sure about it."
    near = nearest(text)
    if near:
        yield f"The nearest line that it knows: {shown(near)} ({near.source})."


@cache
def _row_words() -> dict[str, set[str]]:
    return {row.name: set(_PATCH_WORD.findall(" ".join(row.pieces[::2]).lower())) for row in ROWS}


def nearest(text: str) -> Row | None:
    """The row that shares most words with a line, None where hardly any."""
    words = set(_PATCH_WORD.findall(text.lower()))
    prefix = text.lower().partition(": ")[0]

    def score(row: Row) -> float:
        own = _row_words()[row.name]
        return len(own & words) / max(1, len(own | words)) + (0.1 if row.pattern.lower().startswith(prefix) else 0)

    best = max(ROWS, key=score)
    return best if score(best) > 0.25 else None


def shown(row: Row) -> str:
    """A row's pattern as a reader takes it: capitals for fields.

    >>> from .table import BY_NAME
    >>> shown(BY_NAME["NOT_FOUND"])
    "livepatch: symbol 'NAME' not found in symbol table"
    """
    return "".join(piece.upper() if i % 2 else piece for i, piece in enumerate(row.pieces)).strip()


# -- from text to messages ------------------------------------------------------------------------------------------------


@dataclass
class Window:
    """A line that may hold the beginning of a message, with those that may continue it; and the rows that it may be."""

    number: int
    raw: list[str]
    rows: tuple[Row, ...]


def _messages(windows: Iterable[Window]) -> Iterator[Found]:
    past = (0, 0)  # line, place: what has been read as the end of a wrapped message
    for window in windows:
        if window.number < past[0]:
            continue
        skip = past[1] if window.number == past[0] else 0
        found, past = _in_window(window, skip)
        yield from found


def _windows(source: str | bytes | BinaryIO, binary: Binary) -> Iterator[Window]:
    """The lines that hold a hint, and those before them, each with its followers."""
    number, rest, stream = 1, "", blocks(source, binary)
    block, following = next(stream, None), next(stream, None)
    small = block is not None and following is None and len(block) <= _SMALL
    mail = block is not None and is_quoted_printable(block, small)
    while block is not None:
        text = rest + (decoded(block) if mail else block)
        lines = text.splitlines()
        keep = min(_AHEAD, max(0, len(lines) - 1)) if following is not None else 0
        if sum(map(len, lines[len(lines) - keep :])) > 20_000:
            keep = 0
        rest = "" if not keep else "\n".join(lines[-keep:]) + ("\n" if text.endswith(("\r", "\n")) else "")
        done = len(lines) - keep
        wanted = _hinted([clean(line) for line in lines], True) if small else _hinted(lines, False)
        for at in sorted({max(0, at - back) for at in wanted for back in (0, 1)}):
            if at < done:
                found = frozenset(hint for near in range(at, at + 1 + _AHEAD) for hint in wanted.get(near, ()))
                yield Window(number + at, lines[at : at + 1 + _AHEAD], rows_with(found))
        number += done
        block, following = following, next(stream, None)


def _hinted(lines: list[str], over_ends: bool) -> dict[int, list[str]]:
    """The places of lines with a hint, and which ones; over_ends: hints too that a line's end breaks."""
    wanted: dict[int, list[str]] = defaultdict(list)
    for gap in ("\n", "") if over_ends else ("\n",):
        text = lower(gap.join(lines))
        starts = list(itertools.accumulate((len(line) + len(gap) for line in lines), initial=0))
        for hint in hints():
            at = text.find(hint)
            while at >= 0:
                line = bisect_right(starts, at) - 1
                wanted[line].append(hint)
                at = text.find(hint, max(at + 1, starts[line + 1] - (0 if gap else len(hint))))
    return wanted


def _in_window(window: Window, skip: int) -> tuple[list[Found], tuple[int, int]]:
    """The messages that begin in a window's first line; and up to where (line, place) its text has been read."""
    line = _clean(window.raw[0])
    rest = line[skip:]
    found = _known(rest, window.rows)
    past = (0, 0)
    joined = _joined(window, rest, found[-1] if found else None)
    if joined:
        past = joined.past
        if found and found[-1].start >= joined.cut:
            found.pop()
        found.append(joined.message)
    found = sorted([*found, *_unknown_in(rest, found)], key=lambda one: one.start)
    for one in found:
        one.number = window.number
        one.last = one.last or window.number
    return found, past


def _clean(raw: str) -> str:
    """clean(); a line is asked for as often as it stands in a window."""
    return clean(raw) if len(raw) > _LONG else _short(raw)


_short = lru_cache(maxsize=64)(clean)


def _known(line: str, rows: Sequence[Row]) -> list[Found]:
    """The messages of a line, none inside another: the one that begins first and then the longer one wins."""
    low = lower(line)
    every = [found for row in rows if row.longest in low for found in row.find(line, low)]
    every.sort(key=lambda found: (found.start, -found.end))
    kept: list[Found] = []
    for found in every:
        if not kept or found.start >= kept[-1].end:
            kept.append(found)
    return kept


@dataclass(frozen=True)
class Joined:
    """A message that begins in a window's first line (from `cut` on, that line's own messages are replaced) and ends in another."""

    message: Found
    cut: int
    past: tuple[int, int]  # the number of the line where it ends, and the place in it


def _joined(window: Window, line: str, last: Found | None) -> Joined | None:
    """Join lines until a message is whole: with a blank where a mail program wrapped, with none where a terminal did."""
    whole = last is not None and last.end >= len(line)
    begin = 0
    if last is not None:
        begin = last.start if whole else last.end
    begin = max(begin, len(line) - _TAIL)
    tail = line[begin:]
    parts = [unquoted(_clean(raw))[:_LONG] for raw in window.raw[1:]]
    rows = _beginning(window.rows, tail, parts) if tail and parts else []
    if not rows:
        return None
    best: Joined | None = None
    for count in range(1, len(parts) + 1):
        edge = best is not None and len(window.raw[count - 1]) in _WIDTHS  # it may go on over the terminal's edge
        if best is not None and not edge:
            break
        for gaps in _gaps(count):
            if best is not None and gaps[-1]:
                continue
            message, starts = _spanning(rows, tail, parts[:count], gaps)
            if message is None or (whole and last and not _better(message, last, begin, window.raw[0], gaps[0])):
                continue
            if best is not None and (
                message.row is not best.message.row or len(message.text) <= len(best.message.text)
            ):
                continue
            place = message.end - starts + len(_clean(window.raw[count])) - len(unquoted(_clean(window.raw[count])))
            cut = begin if whole else message.start + begin
            message.start += begin
            message.last = window.number + count
            best = Joined(message, cut, (window.number + count, place))
            break
    return best


def _gaps(count: int) -> Iterable[tuple[str, ...]]:
    """What may stand between count + 1 pieces; for many, the same everywhere."""
    return itertools.product((" ", ""), repeat=count) if count < 4 else ((" ",) * count, ("",) * count)


def _beginning(rows: Sequence[Row], tail: str, parts: Sequence[str]) -> list[Row]:
    """The rows that may begin in tail and go on in the parts, wherever they were broken."""
    end, text = len(packed(tail)), packed(tail + "".join(parts))
    return [row for row in rows if row.packed[1] in text and 0 <= text.find(row.packed[0]) < end]


def _spanning(rows: Sequence[Row], tail: str, parts: Sequence[str], gaps: Sequence[str]) -> tuple[Found | None, int]:
    """The message that begins in tail and ends in the last part; and where that part begins."""
    text, start = tail, 0
    for gap, part in zip(gaps, parts, strict=True):
        start = len(text) + len(gap)
        text += gap + part
    for message in _known(text, rows):
        if message.start < len(tail) and message.end > start:
            return message, start
    return None, start


def _better(message: Found, last: Found, begin: int, raw: str, gap: str) -> bool:
    """Whether a message that was complete at the line's end goes on: as another message, or over a terminal's edge."""
    if message.start + begin != last.start:
        return False
    if message.row is not last.row:
        return len(message.text) > len(last.text) + 1
    return gap == "" and len(raw) in _WIDTHS and len(message.text) > len(last.text)


def _unknown_in(line: str, known: Sequence[Found]) -> Iterator[Found]:
    """What only livepatch, the loader or their tools print, and what is in no table; known: sorted by place."""
    low = lower(line)
    places = sorted({at for ours in _OURS if ours in low for at in _places(low, ours)})
    if not places:
        return
    starts = [found.start for found in known]
    for at, following in zip(places, [*places[1:], len(line)], strict=False):
        before = bisect_right(starts, at)
        if (before and at < known[before - 1].end) or _NO_LOG.search(line, max(0, at - 120), at):
            continue
        end = min(following, starts[before] if before < len(starts) else following, at + 400)
        text = line[at:end].rstrip()
        if len(text) > 12 and " " in text and not _TOOL.fullmatch(text):
            yield Found(UNKNOWN, {"text": text}, at, end, text)


def _places(low: str, ours: str) -> Iterator[int]:
    at = low.find(ours)
    while at >= 0:
        if at == 0 or not (low[at - 1].isalnum() or low[at - 1] in "_-./'"):
            yield at
        at = low.find(ours, at + 1)
