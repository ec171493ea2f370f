"""Upload buttons for your own modules. Core ipywidgets only; errors stand in the output, and nothing uploaded is lost."""

from __future__ import annotations

from html import escape
from typing import Any

import ipywidgets as w

from ...errors import KlpteachError
from .modules import Brought, bring

_HELP = (
    "Upload a livepatch (.ko, .ko.xz, .ko.gz), and its target if you have it. Files stay in this kernel. Where buttons "
    'are dead, or a file is larger than about 10 MB, give paths: <code>kt.bring("livepatch.ko", "nfsd.ko")</code>'
)
_PLAIN = 'Bring your own: kt.bring("livepatch.ko"), or with its target: kt.bring("livepatch.ko", "nfsd.ko"); paths, or the files\' bytes.'


class BringWidget:
    """Two upload buttons and a Look button; `brought` is what was last looked at."""

    def __init__(self) -> None:
        self.brought: Brought | None = None
        kinds = ".ko,.xz,.gz"
        self.livepatch = w.FileUpload(
            accept=kinds, multiple=False, description="Livepatch", layout=w.Layout(width="150px")
        )
        self.targets = w.FileUpload(
            accept=kinds, multiple=True, description="Its targets", layout=w.Layout(width="150px")
        )
        self.look = w.Button(
            description="Look", button_style="primary", tooltip="What a reload does", layout=w.Layout(width="90px")
        )
        self.release = w.Dropdown(options=["5.3", "6.1", "6.3", "6.12"], value="6.1", description="Explore on",
                                  style={"description_width": "initial"}, layout=w.Layout(width="170px"))  # fmt: skip
        self.output, self.story = w.HTML(), w.VBox()
        self.look.on_click(self._look)
        self.release.observe(lambda _: self._explore(), "value")
        buttons = w.HBox([self.livepatch, self.targets, self.look, self.release], layout=w.Layout(flex_flow="row wrap"))
        self.view = w.VBox([w.HTML(f"<p>{_HELP}</p>"), buttons, self.output, self.story])

    def _look(self, _: Any) -> None:
        """Show what is there; what was shown before stays where the new files are refused."""
        try:
            if not self.livepatch.value and not self.targets.value:
                raise KlpteachError("Upload a module first.")
            found = bring(self.livepatch.value or None, self.targets.value or None)
            assert not isinstance(found, BringWidget)  # there are files
        except Exception as error:  # a callback's error would vanish in the kernel's log
            said = str(error) if isinstance(error, KlpteachError) else f"{type(error).__name__}: {error}"
            kept = self.brought._repr_html_() if self.brought else ""
            self.output.value = f'<p role="alert"><strong>✗</strong> {escape(said)}</p>{kept}'
            return
        if not isinstance(found, Brought):  # no livepatch: its own tables, and below them what was looked at before
            self.output.value = found._repr_html_() + (self.brought._repr_html_() if self.brought else "")
            return
        self.brought = found
        self.output.value = found._repr_html_()
        self._explore()

    def _explore(self) -> None:
        if self.brought is None:
            return
        try:
            self.story.children = (self.brought.explore(self.release.value).view,)
        except Exception as error:
            self.story.children = (w.HTML(f"<p><strong>✗</strong> {escape(str(error))}</p>"),)

    def __repr__(self) -> str:
        return _PLAIN

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        bundle = self.view._repr_mimebundle_()
        data = dict(bundle[0] if isinstance(bundle, tuple) else bundle or {})
        return data | {"text/html": f"<p>{_HELP}</p>", "text/plain": _PLAIN}
