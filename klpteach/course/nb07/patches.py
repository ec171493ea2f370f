"""A way out as code, twice: the model's line that asks for it, and our lines in a kernel that was built, booted and recorded."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from itertools import takewhile
from textwrap import dedent
from typing import Any

from ...errors import KlpteachError
from ...model.arch import check_zero
from ...model.livepatch.core import klp_module_coming
from ...model.livepatch.patch import klp_patch_object
from ...model.livepatch.relocs import klp_clear_object_relocs
from ...views.shown import Shown, escape
from ...vm.variants.shown import patch_of

# Where the model asks for a way's switch: the function, the switch.
ASKED: Mapping[str, tuple[Callable[..., Any], str]] = {
    "remove-check": (check_zero, "check_zero"),
    "deny-removal": (klp_patch_object, "pin_targets"),
    "clear-relocations": (klp_clear_object_relocs, "clear"),
    "clear-also-on-error": (klp_module_coming, "clear_on_error"),
}
_SUMMARY = "As patches of our own: the model's line, and the kernel's"
_GRID = "display:grid;grid-template-columns:repeat(auto-fit,minmax(min(27em,100%),1fr));gap:4px 18px"
_CODE = "white-space:pre-wrap;overflow-wrap:anywhere;font-size:12.5px;line-height:1.45;margin:0"


class Patches(Shown):
    """Some ways out, folded: for each the model's lines, the size of its patch for x86_64 6.1, and the lines that come."""

    def __init__(self, *proposals: str) -> None:
        self.pairs = [(in_model(name), patch_of(name)) for name in proposals]

    def to_html(self) -> str:
        sides = "".join(
            f'<div><pre style="{_CODE}">{escape(model)}</pre></div><div><pre style="{_CODE}">{escape(str(patch))}</pre></div>'
            for model, patch in self.pairs
        )
        return f'<details><summary>{_SUMMARY}</summary><div style="{_GRID}">{sides}</div></details>'

    def to_text(self) -> str:
        sizes = [f"{model}\n{str(patch).partition(chr(10))[0]}" for model, patch in self.pairs]
        return "\n\n".join([f"{_SUMMARY}; kt.patch_of() shows its lines.", *sizes])


def as_patches(*proposals: str) -> Patches:
    """Ways out beside their patches. Errors: KlpteachError where the model's line is not known here, PolicyError.

    >>> as_patches("remove-check")
    As patches of our own: the model's line, and the kernel's; kt.patch_of() shows its lines.
    <BLANKLINE>
    In the model, check_zero():
        if me.rules.check_zero and any(site.there):
            raise me.refuse(me.rules.nonzero, **site.named(val))
    remove-check on x86_64 6.1: 0 lines come, 14 go, in 1 file
    """
    return Patches(*proposals)


def in_model(proposal: str) -> str:
    """The line of the model that asks for a way's switch, with those that depend on it. Errors: KlpteachError."""
    if proposal not in ASKED:
        raise KlpteachError(f"no line of the model is shown for {proposal!r}; there are {', '.join(ASKED)}.")
    function, switch = ASKED[proposal]
    lines = inspect.getsource(function).splitlines()
    at = next(number for number, line in enumerate(lines) if f"rules.{switch}" in line)
    depth = _depth(lines[at])
    block = [lines[at], *takewhile(lambda line: _depth(line) > depth, lines[at + 1 :])]
    found = dedent("\n".join(block)).replace("\n", "\n    ")
    return f"In the model, {function.__name__}():\n    {found}"


def _depth(line: str) -> int:
    return len(line) - len(line.lstrip())
