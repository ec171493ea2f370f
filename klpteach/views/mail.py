"""A mail as a link: every Message-ID that is shown leads to its text."""

from __future__ import annotations

from ..discussion.thread import lore
from .shown import escape
from .table import Cell


def mail_link(message_id: str, text: str) -> str:
    """HTML for a mail. text: what is clicked; the Message-ID is its tooltip.

    >>> mail_link("878srgkpmy.fsf@suse.de", "26 August")
    '<a href="https://lore.kernel.org/r/878srgkpmy.fsf@suse.de" title="878srgkpmy.fsf@suse.de">26 August</a>'
    """
    return f'<a href="{escape(lore(message_id))}" title="{escape(message_id)}">{escape(text)}</a>'


def mail_cell(message_id: str, text: str) -> Cell:
    """A mail in a table; in a terminal its Message-ID follows."""
    return Cell(mail_link(message_id, text), f"{text} {message_id}")
