"""Many modules on one page: a box each, in groups, each group with a mark and a count. HTML without colour, and text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from textwrap import fill

from ...views.shown import Shown
from .many_modules import FORTY, IN_USE, LIVEPATCH, loaded, needed_by

_BOX = "display:inline-block;font-family:monospace;font-size:90%;padding:1px 6px;margin:2px"
_EDGE = {"●": "2px solid", "+": "1px solid", "·": "1px dotted", "L": "3px double"}


class ModuleGrid(Shown):
    """Groups of module names: (mark, what they are, names). Names are escaped.

    >>> ModuleGrid([("+", "pulled in", ["fuse", "tun"])])
    + 2  pulled in
      fuse tun
    """

    def __init__(self, groups: Iterable[tuple[str, str, Sequence[str]]], caption: str = "") -> None:
        self.groups, self.caption = [group for group in groups if group[2]], caption

    @property
    def counts(self) -> Mapping[str, int]:
        """Mark -> how many."""
        return {mark: len(names) for mark, _, names in self.groups}

    def to_text(self) -> str:
        lines = [self.caption] if self.caption else []
        for mark, words, names in self.groups:
            text = fill(" ".join(names), 100, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)
            lines += [f"{mark} {len(names)}  {words}", text]
        return "\n".join(lines)

    def to_html(self) -> str:
        html = f"<p><strong>{escape(self.caption)}</strong></p>" if self.caption else ""
        for mark, words, names in self.groups:
            style = f"{_BOX};border:{_EDGE.get(mark, '1px solid')} currentColor"
            boxes = "".join(f'<span style="{style}">{escape(mark)} {escape(name)}</span> ' for name in names)
            head = f"<strong>{escape(mark)} {len(names)}</strong> {escape(words)}"
            html += f"<p style='margin:6px 0 2px'>{head}</p><div>{boxes}</div>"
        return html


def pulled_in(
    in_use: Sequence[str] = IN_USE, targets: Sequence[str] = FORTY, proposals: Iterable[str] = ("hard-dependencies",)
) -> ModuleGrid:
    """What is loaded once the livepatch for `targets` is loaded on a machine that uses `in_use`, and for whose sake."""
    there = loaded(in_use, targets, proposals)
    asked = needed_by(in_use)
    wanted = [name for name in there if name in targets and name not in asked]
    patches = [name for name in there if name.startswith(LIVEPATCH)]
    others = [name for name in there if name not in asked and name not in wanted and name not in patches]
    groups = (
        ("●", "in use, with what they need", [name for name in there if name in asked]),
        ("+", "targets that nobody uses here", wanted),
        ("·", "what those targets need", others),
        ("L", "the livepatch", patches),
    )
    return ModuleGrid(groups, f"{len(there)} modules are loaded.")
