"""The mail of 14 August 2019 point by point: who says it, what, in which words, and where the course tries it out."""

from __future__ import annotations

import re
from typing import NamedTuple

from ...views.mail import mail_link
from ...views.reply import inline
from ...views.shown import Shown, escape
from ...views.style import BLUE, GREEN, VERMILION
from ..notebooks import STATIONS

SEED = "alpine.LSU.2.21.1908141256150.16696@pobox.suse.cz"
# Who speaks, how far in the mail quotes it, the colour of its line, and the mail in which it was first said.
VOICES = {
    "R": ("Miroslav Benes, 19 July, in the patch", 2, BLUE, "20190719122840.15353-3-mbenes@suse.cz"),
    "J": ("Josh Poimboeuf, 28 July", 1, VERMILION, "20190728200427.dbrojgu7hafphia7@treble"),
    "A": ("Miroslav Benes, 14 August", 0, GREEN, SEED),
}


class Point(NamedTuple):
    """voice: a key of VOICES. says: in our words; quote: the mail's, or empty. answer: what Miroslav Benes replies to it on
    14 August. where: "05.1 Four bytes, two loads" is the first section of notebook 05.
    """

    voice: str
    says: str
    quote: str
    where: tuple[str, ...]
    answer: str = ""


POINTS = (
    Point("R", "A module that was patched, removed and loaded again does not load.", "it fails to load with:",
          ("01.1 The report", "05.1 Four bytes, two loads")),
    Point("R", "Three lines of x86_64 say so. The first is the cause, the others pass it on.", "", ("01.6 Word by word",)),
    Point("R", "The livepatch still holds what the load before wrote into it, and the loader wants zeros.",
          "a symbol in the _previous_ loading of nfsd", ("05.1 Four bytes, two loads", "03.5 A check that wants zeros")),
    Point("R", "ppc64le refuses too, over the word behind a call.", "we have a similar issue",
          ("01.7 On ppc64le", "06.2 The refusal")),
    Point("R", "First way out: drop the check. But it finds damaged modules.", "useful for detecting corrupted modules",
          ("03.6 Without the check", "07.2 Remove the check")),
    Point("R", "Second way out: a patched module may not be removed. Forbid it first, and find another way if users suffer. That "
          "is not free either.", "would also complicate the existing code a lot", ("07.3 Deny removal",)),
    Point("R", "Third way out, and what the patch does: put the places back. It differs from architecture to architecture.",
          "it may prove to be simpler in the end", ("06.4 What to put back", "07.4 Take them back")),
    Point("J", "He does not like it: much code for each architecture.", "just so users can unload a patched module",
          ("07.6 Side by side", "09.1 Two positions"), "“Yes, it is unfortunate.”"),
    Point("J", "Why not the second way out?", "Remind me why we didn't do", ("07.3 Deny removal",),
          "Petr Mladek found “a couple of issues” in that patch, “Nothing unfixable”, at the price of more code. So the way by "
          "architecture was tried first, which is why this patch exists; he will come back to the other."),
    Point("J", "The opposite direction: a livepatch depends on its targets, as other modules do, and they are loaded first. Then "
          "the bug cannot be.", "ensuring that a module is loaded *before* we patch it", ("08.1 Like any other module",)),
    Point("A", "Then a cumulative livepatch loads modules that a customer does not need, and some care.",
          "only things which are crucial for their systems",
          ("04.6 One fixes all", "08.2 Three of forty", "08.3 A target that cannot be had")),
    Point("A", "To split livepatches, as Josh Poimboeuf had once proposed, is possible and has faults of its own.",
          "that have issues as well", ("08.4 One livepatch a target",)),
    Point("A", "Therefore a talk at the Linux Plumbers Conference, to find a way together.", "Rethinking late module patching",
          ("09.2 What came",)),
    Point("J", "With dependencies much nasty code could go: the coming and going, the .klp.arch sections.",
          "the sources of most of our bugs", ("04.3 Coming and going", "04.5 Two writers, four bytes", "08.5 What could go"),
          "“Yes.”"),
    Point("J", "Does anybody need the flexibility? He doubts it, and would love to see a patch that forbids it.",
          "I would much rather live patching be stable than flexible.", ("09.1 Two positions", "09.6 A year of a fleet")),
    Point("A", "He agrees that to unload a module makes little sense, so one could try.", "famous last words",
          ("07.3 Deny removal", "09.7 Were they right?")),
)  # fmt: skip


class MailMap(Shown):
    """The points as a numbered list; further in is earlier, as in the mail."""

    @property
    def headline(self) -> str:
        return f"One mail, {len(POINTS)} points. What is further in was said earlier."

    def to_text(self) -> str:
        lines = [self.headline]
        for number, point in enumerate(POINTS, 1):
            who, depth, _, _ = VOICES[point.voice]
            quote = f" “{point.quote}”" if point.quote else ""
            answer = f" Miroslav Benes, 14 August: {point.answer}" if point.answer else ""
            lines.append(f"{number:2} {'> ' * depth}{who}: {point.says}{quote}{answer} [{'; '.join(point.where)}]")
        return "\n".join(lines)

    def to_html(self) -> str:
        mails = "; ".join(f"{mail_link(mail, who)}" for who, _, _, mail in VOICES.values())
        items = "".join(map(_item, POINTS))
        return f"<p><strong>{escape(self.headline)}</strong> {mails}.</p><ol>{items}</ol>"


def mail_map() -> MailMap:
    """The mail with which this course begins, as a list of its points, each with the places that treat it.

    >>> print(repr(mail_map()).splitlines()[3])
     3 > > Miroslav Benes, 19 July, in the patch: The livepatch still holds what the load before wrote into it, and the loader wants zeros. “a symbol in the _previous_ loading of nfsd” [05.1 Four bytes, two loads; 03.5 A check that wants zeros]
    """
    return MailMap()


def address(place: str) -> str:
    """The notebook and heading of a place.

    >>> address("05.1 Four bytes, two loads")
    '05-the-bug.ipynb#1.-Four-bytes,-two-loads'
    """
    number, section, title = re.match(r"(\w+)\.(\d+) (.*)", place).groups()  # type: ignore[union-attr]
    file = next(station.file for station in STATIONS if station.number == number)
    return f"{file}#{section}.-{title.replace(' ', '-')}"


def _item(point: Point) -> str:
    who, depth, colour, _ = VOICES[point.voice]
    quote = f" <q>{escape(point.quote)}</q>" if point.quote else ""
    answer = f"<br><b>Miroslav Benes, 14 August</b>: {inline(point.answer)}" if point.answer else ""
    links = " · ".join(f'<a href="{escape(address(place))}">{escape(place)}</a>' for place in point.where)
    look = f"border-left:4px solid {colour};padding:0 0 0 10px;margin:2px 0 8px {22 * depth}px"
    return f'<li><div style="{look}"><b>{escape(who)}</b>: {escape(point.says)}{quote}{answer}<br>{links}</div></li>'
