"""The one legend of the course: every letter, sign and colour of explorer, figures and tables, and what it means."""

from __future__ import annotations

from collections.abc import Iterable

from ..discussion.consequences import WHO
from ..reading.outcome import ENDINGS
from .shown import Shown, escape
from .style import BLUE, GREEN, LETTERS, MEANING, ORANGE, PURPLE, SOFT_GREY, STUB_LETTERS, STUB_MEANING, VERMILION

Rows = list[tuple[str, str]]
SIGNS: Rows = [
    ("✓", "it came out well"), ("✗", "refused, in use, or an oops"), ("!", "it works, and something is not as it should be"),
    ("·", "nothing changed"), ("?", "not looked at"),
]  # fmt: skip
FLAGS: Rows = [
    ("A", "is kept in memory"), ("W", "may be written"), ("X", "is code"), ("I", "info is a section's number"),
    ("K", "belongs to livepatch; readelf prints o"),
]  # fmt: skip
COLOURS = (
    ("blue", BLUE, "solid", "the target; code; a kernel release"), ("orange", ORANGE, "solid", "the livepatch; data; a mail"),
    ("purple", PURPLE, "solid", "another module; what goes after init()"), ("green", GREEN, "solid", "written in this step; read-only data"),
    ("red", VERMILION, "dashed", "stale, refused, not what it should be"), ("grey", SOFT_GREY, "dashed", "hatched: freed, nobody's now"),
)  # fmt: skip


class Legend(Shown):
    """A group a row: what is marked, and each sign with what it says; the colours last."""

    def __init__(self) -> None:
        self.groups = groups()

    def to_html(self) -> str:
        css = "text-align:left;vertical-align:top;padding:2px 12px 2px 4px"
        rows = "".join(
            f'<tr><th scope="row" style="{css};white-space:nowrap">{escape(words)}</th><td style="{css}">{_html(signs)}</td></tr>'
            for words, signs in self.groups
        )
        swatches = "".join(
            f'<div style="line-height:1.7"><span style="border:3px {line} {colour};padding:0 9px;margin-right:7px"></span>{escape(words)}</div>'
            for _, colour, line, words in COLOURS
        )
        colours = f'<tr><th scope="row" style="{css}">colours</th><td style="{css}">{swatches}</td></tr>'
        return f'<table style="max-width:64em"><tbody>{rows}{colours}</tbody></table>'

    def to_text(self) -> str:
        lines = [f"{words}: {'; '.join(f'{sign} {says}' for sign, says in signs)}." for words, signs in self.groups]
        return "\n".join([*lines, f"colours: {'; '.join(f'{name} {words}' for name, *_, words in COLOURS)}."])


def _html(signs: Iterable[tuple[str, str]]) -> str:
    return "; ".join(f"<b>{escape(sign)}</b>&nbsp;{escape(says)}" for sign, says in signs)


def groups() -> list[tuple[str, Rows]]:
    """(what is marked, [(sign, meaning)]), in the order in which a reader meets them.

    >>> dict(groups())["the bytes of a place"][1]
    ('w', 'written by this step')
    """
    bytes_ = [(f"{LETTERS[kind]}{'n' if kind == 'stale' else ''}", MEANING[kind].format(n="n")) for kind in LETTERS]
    slots = [
        (STUB_LETTERS[kind], STUB_MEANING[kind]) for kind in STUB_LETTERS if STUB_LETTERS[kind] not in LETTERS.values()
    ]
    ends = [(ending.letter, ending.words) for ending in reversed(list(ENDINGS.values()))]
    return [
        ("a verdict", SIGNS),
        ("the bytes of a place", bytes_),
        ("a stub or slot", [*slots, ("w k S ·", "as for bytes; · is free")]),
        ("flags of a section", FLAGS),
        ("how a story ends", [*ends, ("*", "not as one would wish")]),
        ("who says so", list(WHO.items())),
    ]


def legend() -> Legend:
    """Every letter, sign and colour that the course uses.

    >>> print(str(legend()).splitlines()[0])
    a verdict: ✓ it came out well; ✗ refused, in use, or an oops; ! it works, and something is not as it should be; · nothing changed; ? not looked at.
    """
    return Legend()
