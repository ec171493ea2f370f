"""A kernel with a reader's patch in it: built under the release's lock, and the source is afterwards as it was."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ...errors import printable
from ...files.module_file import ModuleFile
from ...files.samples import data_dir, ko_dir
from ..build import build_folder, build_kernel, build_tree, locked, make_words, patched, source_folder
from ..host import HostError, cache_dir, run
from ..qemu import GuestKernel
from ..recipes import RECIPES, Recipe
from ..variants import VARIANTS
from .fix import Fix, fixed

ARCHES = ("x86_64", "ppc64le")  # those of the table
SHOWN = 5  # errors of the compiler
Say = Callable[[str], None]


@dataclass(frozen=True)
class Base:
    """The kernel that a patch is for, as it is without the patch."""

    arch: str
    release: str

    @classmethod
    def named(cls, text: str) -> Base:
        """6.12, or ppc64le-6.12. Errors: HostError for one that cannot be built.

        >>> Base.named("6.1").unmodified, Base.named("ppc64le-6.12").unmodified
        ('small', 'stock')
        """
        arch, _, release = text.rpartition("-")
        base = cls(arch or ARCHES[0], release)
        there = dict.fromkeys(cls(arch, release) for arch in ARCHES for release, _ in VARIANTS[arch])
        if base not in there:
            raise HostError(f"no kernel {text!r} can be built for a patch; there are {', '.join(map(str, there))}.")
        return base

    def __str__(self) -> str:
        return self.release if self.arch == ARCHES[0] else f"{self.arch}-{self.release}"

    @property
    def unmodified(self) -> str:
        """The variant without any patch."""
        return next(variant for release, variant in VARIANTS[self.arch] if release == self.release)

    @property
    def recipe(self) -> Recipe:
        return RECIPES[self.arch]

    @property
    def tree(self) -> Path:
        """Where it is built."""
        return build_folder(self.arch, self.release)

    @property
    def ko(self) -> Path:
        """The sample modules that were built for it."""
        return ko_dir(self.arch, self.release, variant=self.unmodified)


class CompileError(HostError):
    """The compiler's first error in one line; all that are shown, each with its line and caret, have been said before."""


def compiled(fix: Fix, base: Base, folder: Path, say: Say) -> GuestKernel:
    """The kernel with a fix, in a folder of its own: about ten seconds once the release has been built; at first minutes.

    Errors: HostError where something is missing or a hunk does not fit; CompileError.
    """
    release = base.release
    kernel = GuestKernel(base.arch, release, "mine", folder / "vmlinux", folder / "config")
    if kernel.image.exists():
        return kernel
    build_kernel(base.arch, release, base.unmodified, say)
    build_tree(base.arch, release, say)
    with locked(f"linux-source-{release}"):
        if (cache_dir() / "source" / f"aside-{release}").exists():
            say("an earlier build was ended in the middle: its files are put back")
        with patched(release, {}):
            texts = fixed(fix, source_folder(release), release)
        say(f"building Linux {base} with {fix.name} …")
        with patched(release, texts):
            _make(base, [*texts], say)
            if fix.changes_layout:
                say("it changes what modules are built with: the sample modules are built anew …")
                build_modules(base.ko.name, base.tree, folder / "ko")
        folder.mkdir(parents=True, exist_ok=True)
        run(f"{base.recipe.cross}strip", "-o", folder / "vmlinux.part", base.tree / "vmlinux")
        shutil.copy(base.tree / ".config", kernel.config_file)
        (folder / "vmlinux.part").rename(kernel.image)
    return kernel


def modules_of(base: Base, folder: Path, say: Say) -> Path:
    """The sample modules that a kernel built here loads: those of the fix, those of data/ko, or built for a newer source."""
    name = base.ko.name
    own, cached = folder / "ko" / name, cache_dir() / "ko" / name
    if own.exists():
        return own
    wanted = re.findall(r'"(.*)"', (base.tree / "include/generated/utsrelease.h").read_text())[0]
    for there in (base.ko, cached):
        sample = there / "nfsd_demo.ko"
        if sample.exists() and ModuleFile.open(sample).modinfo["vermagic"].split()[0] == wanted:
            return there
    say(f"building the sample modules for {wanted} …")
    with locked(f"linux-source-{base.release}"):
        build_modules(name, base.tree, cache_dir() / "ko")
    return cached


def build_modules(name: str, tree: Path, out: Path) -> None:
    """The course's modules for a build tree, into out/NAME. Errors: HostError."""
    run(sys.executable, data_dir() / "src" / "build.py", name, "--headers", tree, "--out", out, timeout=900)


def _make(base: Base, files: list[str], say: Say) -> None:
    """Build vmlinux, and say what the compiler warns of in these files. Errors: CompileError."""
    words = ["nice", *make_words(base.recipe, base.tree, "vmlinux")]
    done = subprocess.run(words, capture_output=True, text=True, errors="replace", env={**os.environ, "LC_ALL": "C"})
    told = without_paths(done.stderr, source_folder(base.release))
    warned = re.compile(rf"^(?:{'|'.join(map(re.escape, files))}):.*warning: .*$", re.M)
    found = errors_in(told) if done.returncode else warned.findall(told)[:SHOWN]
    for one in found:
        say(printable(one))
    if done.returncode:
        raise CompileError(f"it does not compile: {found[0].splitlines()[0]}")


def without_paths(said: str, tree: Path) -> str:
    """A compiler's words with paths as in the kernel's tree."""
    return said.replace(f"{tree}/", "").replace(f"{tree.parent}/", "")


def errors_in(said: str) -> list[str]:
    r"""The first errors of a compiler or linker, each with the two lines that point at it.

    >>> errors_in("x.c: In function 'f':\nx.c:2:9: error: 'y' undeclared\n    2 |  y;\n      |  ^\nmake: *** [x.o] Error 1\n")
    ["x.c:2:9: error: 'y' undeclared\n    2 |  y;\n      |  ^"]
    """
    lines, found = said.splitlines(), list[str]()
    for number, line in enumerate(lines):
        if re.match(r"[\w/.-]+:\d+(:\d+)?: (fatal )?error: ", line):
            found.append("\n".join([line, *(more for more in lines[number + 1 : number + 3] if more.startswith(" "))]))
        elif match := re.search(r"undefined reference to .*|multiple definition of [^;]*", line):
            found.append(f"the linker: {match[0]}")
    last = [line for line in lines if "rror" in line][-1:]
    return list(dict.fromkeys(found))[:SHOWN] or last or ["make failed without a word"]
