"""Bring your own dmesg: paste lines, and read what each that the model knows says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...errors import KlpteachError, quoted
from ...reading.log.explain import NOTHING, Explanation, Log, read
from ..reply import Reply, framed
from ..shown import Shown, escape

_LONGEST = 200_000  # characters
_MOST = 100  # lines that are explained
_NOTHING = f"{NOTHING} Paste whole lines, whatever stands before them; the other lines of the log may stay."


def explain_dmesg(text: str) -> Explained:
    """Explain every message of livepatch, the module loader and their tools in a log; the other lines are passed over.

    Errors: KlpteachError for what is no text, or for more than 200,000 characters.

    >>> explain_dmesg("[ 12.3] livepatch: symbol 'nfsd_open' not found in symbol table")  # doctest: +ELLIPSIS
    livepatch: symbol 'nfsd_open' not found in symbol table
        The object has no symbol nfsd_open: another build of the module, or a wrong name.
        ...
    """
    _check_text(text)
    if len(text) > _LONGEST:
        raise KlpteachError(
            f"{len(text)} characters are more than {_LONGEST}. Try: dmesg | grep -E 'livepatch|module' | tail -100"
        )
    return Explained(read(text, most=_MOST))


def _check_text(text: object) -> None:
    if not isinstance(text, str):
        raise KlpteachError(f"{quoted(text)} is no text; paste the lines of dmesg in quotes.")


class Explained(Shown):
    """The explanations, in the order of the lines."""

    def __init__(self, log: Log) -> None:
        self.found, self.notes = log.found, log.notes

    def to_text(self) -> str:
        return "\n".join(["\n    ".join([one.line, *_says(one)]) for one in self.found] + self.notes) or _NOTHING

    def to_html(self) -> str:
        if not self.found:
            return Reply("?", "Nothing known.", _NOTHING).to_html()
        notes = "".join(f"<p>{escape(note)}</p>" for note in self.notes)
        return "".join(_html(one) for one in self.found) + notes


def _says(one: Explanation) -> Sequence[str]:
    return [f"As line {one.again}."] if one.again else one.says


def _html(one: Explanation) -> str:
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in _says(one))
    return framed(
        f"<pre style='white-space:pre-wrap'>{escape(one.line)}</pre><ul>{items}</ul><small>{escape(one.source)}</small>"
    )


def paste(text: str = "") -> Paste:
    """A field to paste dmesg lines into. Where widgets are dead: kt.explain_dmesg("…"). Errors: as that."""
    _check_text(text)
    return Paste(text)


class Paste(Shown):
    """The field, a button and the output; what is pasted stays when something goes wrong."""

    def __init__(self, text: str = "") -> None:
        import ipywidgets as w

        self.field = w.Textarea(
            text,
            description="dmesg",  # its name, also for who cannot see it
            placeholder="paste lines of dmesg here",
            layout=w.Layout(width="95%", height="120px"),
        )
        self.button = w.Button(description="Explain", button_style="primary", tooltip="What the lines say")
        self.output = w.HTML(explain_dmesg(text).to_html() if text else "")
        self.button.on_click(self._explain)
        self.view = w.VBox([self.field, self.button, self.output])

    def _explain(self, _: Any) -> None:
        try:
            self.output.value = explain_dmesg(self.field.value).to_html()
        except Exception as error:  # a callback's error would vanish in the kernel's log
            self.output.value = Reply("✗", "This cannot be explained.", str(error)).to_html()

    def to_text(self) -> str:
        said = f"\n{explain_dmesg(self.field.value)!r}" if self.field.value else ""
        return f'Paste dmesg lines: kt.explain_dmesg("…"){said}'

    def to_html(self) -> str:
        html = '<p>A field to paste lines of dmesg into. Without buttons: <code>kt.explain_dmesg("…")</code></p>'
        return html + str(self.output.value)

    def to_widget(self) -> Any:
        return self.view
