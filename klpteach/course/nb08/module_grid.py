"""Many modules on one page: a box each, in groups, each group with a word and a count. HTML without colour, and text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from textwrap import fill

from ...views.shown import Shown
from .many_modules import FORTY, IN_USE, LIVEPATCH, loaded, needed_by

_BOX = "display:inline-block;font-family:monospace;font-size:90%;padding:1px 6px;margin:2px"
_EDGE = {"in use": "2px solid", "pulled in": "1px solid", "needed": "1px dotted", "livepatch": "3px double"}


class ModuleGrid(Shown):
    """Groups of module names: (a word, what they are, names). The word chooses the edge of the boxes. Names are escaped.

    >>> ModuleGrid([("pulled in", "targets that nobody uses here", ["fuse", "tun"])])
    2 pulled in: targets that nobody uses here
      fuse tun
    """

    def __init__(self, groups: Iterable[tuple[str, str, Sequence[str]]], caption: str = "") -> None:
        self.groups, self.caption = [group for group in groups if group[2]], caption

    @property
    def counts(self) -> Mapping[str, int]:
        """Word -> how many."""
        return {mark: len(names) for mark, _, names in self.groups}

    def to_text(self) -> str:
        lines = [self.caption] if self.caption else []
        for mark, words, names in self.groups:
            text = fill(" ".join(names), 100, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)
            lines += [f"{len(names)} {mark}: {words}", text]
        return "\n".join(lines)

    def to_html(self) -> str:
        html = f"<p><strong>{escape(self.caption)}</strong></p>" if self.caption else ""
        for mark, words, names in self.groups:
            style = f"{_BOX};border:{_EDGE.get(mark, '1px solid')} currentColor"
            boxes = "".join(f'<span style="{style}">{escape(name)}</span> ' for name in names)
            head = f"<strong>{len(names)} {escape(mark)}</strong>: {escape(words)}"
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
        ("in use", "three, with what they need", [name for name in there if name in asked]),
        ("pulled in", "targets that nobody uses here", wanted),
        ("needed", "what those targets need", others),
        ("livepatch", "itself", patches),
    )
    return ModuleGrid(groups, f"{len(there)} modules are loaded.")
