"""Bring your own modules, as paths, bytes or uploads; errors stand in the output, and nothing uploaded is lost."""

from __future__ import annotations

from typing import Any

from ...errors import KlpteachError
from ...files.module_file import ModuleFile
from ...model.policy import RELEASES
from ...scenarios.inspection import by_name, looks_like_livepatch
from ..shown import Shown, escape
from .modules import Brought, opened
from .not_a_livepatch import Ordinary

_HELP = (
    "Upload a livepatch (.ko, .ko.xz, .ko.gz, .ko.zst), and its target if you have it. Files stay in this kernel. Where buttons "
    'are dead, or a file is larger than about 10 MB, give paths: <code>kt.bring("livepatch.ko", "nfsd.ko")</code>'
)
_PLAIN = 'Bring your own: kt.bring("livepatch.ko"), or with its target: kt.bring("livepatch.ko", "nfsd.ko"); paths, or the files\' bytes.'


def bring(livepatch: Any = None, target: Any = None) -> Brought | Ordinary | BringWidget:
    """Look at your own livepatch, and at its target where you have that too; without a file: buttons to upload them.

    Each may be a path, the bytes of a file, a ModuleFile, or what an ipywidgets FileUpload holds; target also a list of
    these. Without the target a stand-in with the symbols that the livepatch wants takes its place. What is shown first is
    the verdict for the kernel that the livepatch was built for. A module alone that is no livepatch gets its own tables.
    Errors: ModuleFormatError for what is no module file, KlpteachError for more than one livepatch.

    >>> from klpteach.files.samples import sample
    >>> mine = bring(sample("livepatch_nfsd_demo.ko"))
    >>> mine.waiting, [(o.release, o.failed is None) for o in mine.outcomes]
    ({'nfsd_demo': 10}, [('5.3', False), ('6.1', False), ('6.3', True), ('6.12', True), ('7.3', True)])
    """
    if livepatch is None and target is None:
        return BringWidget()
    patches, targets = list(opened(livepatch)), list(opened(target))
    if len(patches) + len(targets) == 1 and not looks_like_livepatch((patches or targets)[0]):
        return Ordinary((patches or targets)[0])
    patches, targets = _sorted(patches, targets)
    if len(patches) != 1:
        raise KlpteachError(f"One livepatch is looked at at a time; there are {len(patches)} here.")
    return Brought(patches[0], by_name(targets))


def _sorted(patches: list[ModuleFile], targets: list[ModuleFile]) -> tuple[list[ModuleFile], list[ModuleFile]]:
    """Livepatches, and the others. In which place a file was put does not matter: a livepatch is known by what is in it."""
    if len(patches) == 1 and looks_like_livepatch(patches[0]):
        return patches, targets
    files = [*patches, *targets]
    chosen = [file for file in files if looks_like_livepatch(file)]
    return chosen, [file for file in files if not looks_like_livepatch(file)]


class BringWidget(Shown):
    """Two upload buttons and a Look button; `brought` is what was last looked at. Core ipywidgets only."""

    def __init__(self) -> None:
        import ipywidgets as w

        self.brought: Brought | None = None
        kinds, wide = ".ko,.xz,.gz,.zst", w.Layout(width="150px")
        self.livepatch = w.FileUpload(accept=kinds, multiple=False, description="Livepatch", layout=wide)
        self.targets = w.FileUpload(accept=kinds, multiple=True, description="Its targets", layout=wide)
        self.look = w.Button(
            description="Look", button_style="primary", tooltip="What a reload does", layout=w.Layout(width="90px")
        )
        self.release = w.Dropdown(options=list(RELEASES), value="6.1", description="Explore on",
                                  style={"description_width": "initial"}, layout=w.Layout(width="170px"))  # fmt: skip
        self.output, self.story, self.failed = w.HTML(), w.VBox(), w.HTML()
        self.look.on_click(self._look)
        self.release.observe(lambda _: self._explore(), "value")
        buttons = w.HBox([self.livepatch, self.targets, self.look, self.release], layout=w.Layout(flex_flow="row wrap"))
        self.view = w.VBox([w.HTML(f"<p>{_HELP}</p>"), buttons, self.output, self.story])

    def _look(self, _: Any) -> None:
        """Show what is there; what was shown before stays where the new files are refused, or are no livepatch."""
        kept = self.brought.to_html() if self.brought else ""
        try:
            if not self.livepatch.value and not self.targets.value:
                raise KlpteachError("Upload a module first.")
            found = bring(self.livepatch.value or None, self.targets.value or None)
        except Exception as error:  # a callback's error would vanish in the kernel's log
            said = str(error) if isinstance(error, KlpteachError) else f"{type(error).__name__}: {error}"
            self.output.value = f'<p role="alert"><strong>✗</strong> {escape(said)}</p>{kept}'
            return
        if isinstance(found, Brought):
            self.brought = found
            self.output.value = found.to_html()
            if self.release.value == found.release:
                self._explore()
            else:
                self.release.value = found.release  # and that explores
        else:
            self.output.value = found.to_html() + kept

    def _explore(self) -> None:
        if self.brought is None:
            return
        try:
            self.story.children = (self.brought.explore(self.release.value).view,)
        except Exception as error:
            self.failed.value = f"<p><strong>✗</strong> {escape(str(error))}</p>"
            self.story.children = (self.failed,)

    def to_text(self) -> str:
        return _PLAIN

    def to_html(self) -> str:
        return f"<p>{_HELP}</p>"

    def to_widget(self) -> Any:
        return self.view
