"""From what people paste to lines: any encoding, colours, quotes and blanks become plain text; wrapped lines are joined later."""

from __future__ import annotations

import codecs
import html
import itertools
import quopri
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from ...files.on_disk import encoding_of

BLOCK = 1 << 20  # characters that are looked at together
_PIECE, _FEW = 1 << 16, 1 << 12  # bytes: what is judged together, and too few to be judged
_CONTROL = bytes({*range(1, 32), 127} - set(b"\a\b\t\n\v\f\r\x1b"))
_BLANKS = "\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000\t\x00"
_NOTHING = "\u200b\u200c\u200d\u200e\u200f\u2060\ufeff\u00ad\u202a\u202b\u202c\u202d\u202e"
_PLAIN = str.maketrans(
    {
        **dict.fromkeys(_BLANKS, " "),
        **dict.fromkeys(_NOTHING, None),
        **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u02bc", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u2033\u00ab\u00bb", '"'),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2212", "-"),
        **{
            chr(code + 0xFEE0): chr(code) for code in range(0x21, 0x7F)
        },  # full-width, as Chinese and Japanese type them
    }
)
_ESC = r"(?:\x1b|\^\[|#033|\\x1b|\\033|\\u001b|\\e)"  # as it is, or as cat -v, rsyslog and JSON write it
_ESCAPES = ("\x1b", "^[", "33[", "1b[", "1B[", "\\e[")
_COLOUR = re.compile(rf"{_ESC}\[[0-9;:?]{{0,40}}[A-Za-z]|\x1b\][^\x07\x1b]{{0,300}}(?:\x07|\x1b\\)?")
_ESCAPED = re.compile(r"\\(?:[nrt]|x0[9ad]|u00(?:0[9ad]|a0)|$)|#01[125]|\^M$")  # JSON, kmsg, rsyslog
_UNICODE = re.compile(r"\\u(00[2-7][0-9a-f])", re.IGNORECASE)
_MARKDOWN = re.compile(r"\\([_*\[\]<>#`'\"-])")
_SOFT_BREAK = re.compile(r"^[^\n]{66,76}=\r?$", re.MULTILINE)  # an escape of nine signs is not broken
_HEADER = re.compile(r"^[ >|]{0,60}Content-Transfer-Encoding: {0,9}quoted-printable", re.IGNORECASE | re.MULTILINE)
_LIBKMOD = re.compile(
    r"(?:\.\./)?libkmod/[\w.-]{1,60}:\d{1,6},? \w{1,60}(?:\(\))?:? "
)  # the place in its source, in debug builds and Debian's
_QUOTE = re.compile(r"^[\s>|]{0,60}")


@dataclass(frozen=True, slots=True)
class Line:
    """A line as it stood, its number from 1; cut: its end is the end of a block, not of a line."""

    number: int
    raw: str
    cut: bool = False


@dataclass
class Binary:
    """What is no text is left out, piece by piece, and counted; its line ends stay, so that numbers of lines go on."""

    size: int = 0

    def left_out(self, part: bytes) -> bytes:
        """The bytes of a part that may be text."""
        pieces = (part[at : at + _PIECE] for at in range(0, len(part), _PIECE))
        return b"".join(self._read(piece) for piece in pieces)

    def _read(self, piece: bytes) -> bytes:
        if not _is_binary(piece):
            return piece
        self.size += len(piece)
        return b"\n" * piece.count(b"\n")


def _is_binary(piece: bytes) -> bool:
    """Many control characters, or many bytes that are no UTF-8; zeros stand in logs too (after a power cut) and do not count."""
    size = len(piece) - piece.count(0)
    if size < _FEW:
        return False
    if len(piece) - len(piece.translate(None, _CONTROL)) > size * 0.04:
        return True
    return not piece.isascii() and piece.decode("utf-8", "replace").count("\ufffd") > size * 0.3


def clean(raw: str) -> str:
    """A line in plain characters, one blank between words.

    >>> clean("> \\x1b[33mlivepatch: \\x1b[0msymbol \\u2018nfsd_open\\u2019\\u00a0not&nbsp;found")
    "> livepatch: symbol 'nfsd_open' not found"
    """
    raw = unescaped(raw)
    if not raw.isascii():
        raw = raw.translate(_PLAIN)
    if any(sign in raw for sign in _ESCAPES):
        raw = _COLOUR.sub("", raw)
    if "\\" in raw or "#01" in raw or "^M" in raw:
        raw = _ESCAPED.sub(" ", raw)
        raw = _UNICODE.sub(lambda code: chr(int(code[1], 16)), raw)
        raw = _MARKDOWN.sub(r"\1", raw)
    if "libkmod/" in raw:
        raw = _LIBKMOD.sub("", raw)
    return " ".join(raw.replace("\x00", " ").split())


def unescaped(text: str) -> str:
    """A text without HTML's entities, up to three times: what one page shows, another has escaped again.

    >>> unescaped("&amp;#x27;nfsd&amp;#x27;")
    "'nfsd'"
    """
    for _ in range(3):
        before = text
        if "&" not in text or (text := html.unescape(text)) == before:
            break
    return text


def unquoted(text: str) -> str:
    """A cleaned line without what mail programs put before a continuation."""
    return _QUOTE.sub("", text)


def is_quoted_printable(text: str, small: bool) -> bool:
    """Whether a text is raw mail: its header says so, or its signs, or its line ends; a long log may have one that looks so.

    >>> is_quoted_printable("symbol =E2=80=98nfsd_open=E2=80=99 not found", small=True)
    True
    """
    if "=E2=80=" in text or _HEADER.search(text):
        return True
    return _SOFT_BREAK.search(text) is not None and (small or "=3D" in text)


def decoded(text: str) -> str:
    """Quoted-printable text with its lines whole.

    >>> decoded("live=\\npatch: =3D")
    'livepatch: ='
    """
    return quopri.decodestring(text.encode("utf-8", "replace")).decode("utf-8", "replace")


def blocks(source: str | bytes | BinaryIO, binary: Binary | None = None) -> Iterator[str]:
    """The text in blocks of about a million characters, cut behind a line's end where there is one."""
    rest = ""
    for text in _texts(source, binary or Binary()):
        rest += text
        while len(rest) > BLOCK:
            end = max(rest.rfind("\n", 0, BLOCK), rest.rfind("\r", 0, BLOCK)) + 1 or BLOCK
            yield rest[:end]
            rest = rest[end:]
    if rest:
        yield rest


def _texts(source: str | bytes | BinaryIO, binary: Binary) -> Iterator[str]:
    if isinstance(source, str):
        yield from (source[at : at + BLOCK] for at in range(0, len(source), BLOCK))
        return
    parts = _parts(source)
    first = next(parts, b"")
    encoding = encoding_of(first)
    decoder = codecs.getincrementaldecoder(encoding)("replace")
    for part in itertools.chain([first], parts):
        yield decoder.decode(binary.left_out(part) if encoding == "utf-8" else part)
    yield decoder.decode(b"", True)


def _parts(source: bytes | BinaryIO) -> Iterator[bytes]:
    if isinstance(source, bytes):
        yield from (source[at : at + BLOCK] for at in range(0, len(source), BLOCK))
    else:
        while part := source.read(BLOCK):
            yield part
