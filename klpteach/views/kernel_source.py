"""A function of the real kernel as it stands in the distribution's source, on the reader's machine; no line of it is kept here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from ..errors import KlpteachError, one_of
from .reply import Reply
from .shown import Shown, escape

# Where the functions of this course are, besides the architecture's arch/…/kernel/module*.c.
_COMMON = (
    "kernel/livepatch/core.c",
    "kernel/livepatch/patch.c",
    "kernel/livepatch/transition.c",
    "kernel/module/main.c",
    "kernel/module/livepatch.c",
)
_DOWNLOAD = "140 MB, and 1.5 GB when unpacked"


@dataclass(frozen=True, repr=False)
class KernelFunction(Shown):
    """One function: its file in the kernel's tree, the version, the number of its first line, and the text."""

    name: str
    file: str
    version: str
    first: int
    text: str

    @property
    def headline(self) -> str:
        last = self.first + self.text.count("\n")
        return f"{self.name}() in {self.file}, Linux {self.version}, lines {self.first} to {last}"

    def to_text(self) -> str:
        return "\n".join([self.headline, *self._numbered()])

    def to_html(self) -> str:
        return f"<p><strong>{escape(self.headline)}</strong></p><pre>{escape(chr(10).join(self._numbered()))}</pre>"

    def _numbered(self) -> Iterator[str]:
        return (f"{number:5}  {line}" for number, line in enumerate(self.text.split("\n"), self.first))


def source(name: str, release: str = "6.1", arch: str = "x86_64", *, fetch: bool = False) -> KernelFunction | Reply:
    """Show a function of the real kernel, cut out of the source package that Debian ships for a release.

    Where the package is not here yet, the reply says how large it is; fetch=True downloads and unpacks it, once, into the
    cache. arch: whose apply_relocate_add() is meant. Where it cannot be had, one line says why. Errors: KlpteachError for a
    function that is in none of the files of this course, and for an unknown architecture.

    >>> print(source("klp_module_coming", "5.8"))
    ? No source of Linux 5.8 here. Debian has a package for 6.1, 6.12, 7.3.
    """
    from ..vm.build import source_folder, unpack_source
    from ..vm.host import HostError
    from ..vm.recipes import RECIPES
    from ..vm.variants import VARIANTS

    one_of(arch, RECIPES, "architecture")
    releases = sorted({known for variants in VARIANTS.values() for known, _ in variants}, key=_version)
    missing = f"No source of Linux {release} here."
    if release not in releases:
        return Reply("?", missing, f"Debian has a package for {', '.join(releases)}.")
    try:
        tree = source_folder(release)
        if not tree.exists() and not fetch:
            call = f'kt.source("{name}", "{release}", fetch=True)'
            return Reply("?", missing, f"`{call}` downloads Debian's package once: {_DOWNLOAD}, in {tree.parent}.")
        return find_function(unpack_source(release), name, RECIPES[arch].arch)
    except HostError as error:
        return Reply("?", missing, str(error))


def find_function(tree: Path, name: str, arch: str) -> KernelFunction:
    """A function in a kernel tree; arch is the kernel's name of the architecture ("x86"). Errors: KlpteachError."""
    files = [*sorted(tree.glob(f"arch/{arch}/kernel/module*.c"), reverse=True), *(tree / common for common in _COMMON)]
    defined: set[str] = set()
    for path in filter(Path.exists, files):
        text = path.read_text(encoding="utf-8", errors="replace")
        if found := cut(text, name):
            first, lines = found
            return KernelFunction(name, str(path.relative_to(tree)), version_of(tree), first, lines)
        defined |= set(re.findall(r"^\w[\w\s*]*?\b(\w+)\([^;{]*\)\s*^\{", text, re.M))
    near = " or ".join(get_close_matches(str(name), sorted(defined), 3))
    raise KlpteachError(f"no function {str(name)!r} in {', '.join(str(p.relative_to(tree)) for p in files)}"
                        f"{f'; do you mean {near}?' if near else '.'}")  # fmt: skip


def cut(text: str, name: str) -> tuple[int, str] | None:
    """A function out of C as the kernel writes it, with braces in the first column: (its line number, its lines), or None.

    >>> cut("int a(void);\\n\\nint a(void)\\n{\\n\\treturn 1;\\n}\\nint b;\\n", "a")
    (3, 'int a(void)\\n{\\n\\treturn 1;\\n}')
    """
    head = re.compile(rf"^(?:\w[\w\s*]*?[\s*])?{re.escape(str(name))}\s*\([^;{{]*\)\s*^\{{.*?^\}}", re.M | re.S)
    found = head.search(text)
    return (text.count("\n", 0, found.start()) + 1, found[0]) if found else None


def version_of(tree: Path) -> str:
    """6.1.192, from the tree's Makefile."""
    makefile = (tree / "Makefile").read_text(encoding="utf-8")
    return ".".join(re.findall(r"^(?:VERSION|PATCHLEVEL|SUBLEVEL) = (\d+)$", makefile, re.M)[:3])


def _version(release: str) -> tuple[int, ...]:
    return tuple(map(int, release.split(".")))
