"""A reader's patch as text: what it touches, whether it may, and what the files are with it. Nothing of it is run here."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ...files.on_disk import TooLarge, read_regular, why_not
from ..host import HostError, need

MAX_BYTES = 1 << 20
# What livepatch and the loader are made of. make runs what Makefile, Kconfig, scripts and tools say on the reader's machine,
# and so it does programs that it builds for itself from C files of lib: hence what is allowed, not what is forbidden.
MAY = re.compile(r"arch/(x86|powerpc)/kernel/[\w-]+\.c|arch/powerpc/include/asm/module\.h|kernel/(livepatch|module|trace)/[\w-]+\.[ch]|kernel/kallsyms\.c"
                 r"|include/linux/(livepatch|module|moduleloader|ftrace|kallsyms)\.h", re.ASCII)  # fmt: skip
LAYOUT = (
    "arch/powerpc/include/asm/module.h",
    "include/linux/module.h",
    "include/linux/livepatch.h",
    "include/linux/moduleloader.h",
)
_HEADER = re.compile(r"^(?:---|\+\+\+) ([^\t\n]+)", re.M)
_RENAMED = re.compile(r"^(?:rename|copy) (?:from|to) (.+)$|^(?:old|new) mode 1(?!00644)|^GIT binary patch", re.M)


@dataclass(frozen=True)
class Fix:
    """A patch that may be tried. name: of its file. files: what it touches, as paths in the kernel's tree."""

    name: str
    text: str
    files: tuple[str, ...]

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.text.encode("utf-8", "surrogateescape")).hexdigest()

    @property
    def changes_layout(self) -> bool:
        """Whether modules must be built anew for it: it touches a header that they are built with."""
        return any(path in LAYOUT for path in self.files)


def read_fix(path: str | os.PathLike[str]) -> Fix:
    """Read a patch file, and see that it touches only what a fix may.

    Errors: HostError where it cannot be read, holds no patch, or touches a file that is not on the list.
    """
    name = Path(path).name
    try:
        data = read_regular(path, MAX_BYTES)
    except TooLarge:
        raise HostError(f"{name}: longer than {MAX_BYTES >> 20} MiB; that is no fix.") from None
    except (OSError, ValueError) as error:
        raise HostError(f"{name}: {why_not(error)}.") from None
    return fix_of(data.decode("utf-8", "surrogateescape").replace("\r\n", "\n"), name)


def fix_of(text: str, name: str = "the patch") -> Fix:
    """The same for text.

    >>> fix_of("--- a/kernel/livepatch/core.c\\n+++ b/kernel/livepatch/core.c\\n@@ -1 +1 @@\\n-a\\n+b\\n").files
    ('kernel/livepatch/core.c',)
    """
    named = (match.strip().strip('"') for match in _HEADER.findall(text))
    files = sorted({re.sub(r"^[^/]+/", "", path) for path in named if path != "/dev/null"})
    if not files or "\n@@ " not in text:
        raise HostError(
            f"{name}: there is no patch in it. Try: diff -u a/kernel/livepatch/core.c b/kernel/livepatch/core.c"
        )
    if _RENAMED.search(text):
        raise HostError(f"{name}: a fix may change lines; it renames a file, changes its mode or holds binary data.")
    if bad := [path for path in files if not MAY.fullmatch(path)]:
        shown = ", ".join(path if path.isprintable() else ascii(path) for path in bad[:3])
        raise HostError(f"{name} touches {shown}. A fix may change the C files of kernel/livepatch, kernel/module, kernel/trace "
                        "and arch/{x86,powerpc}/kernel, kernel/kallsyms.c and the headers livepatch, module, moduleloader, ftrace and "
                        "kallsyms: not what make itself, or a program for this machine, is made of.")  # fmt: skip
    return Fix(name, text, tuple(files))


def fixed(fix: Fix, tree: Path, release: str) -> dict[str, str]:
    """Path -> text of every file with the patch; the tree itself is only read. Errors: HostError where a hunk does not fit."""
    need("git")
    with tempfile.TemporaryDirectory(prefix="klpteach-fix-") as scratch:
        copy = Path(scratch)
        for path in _existing(fix.files, tree):
            (copy / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(tree / path, copy / path)
        # A repository around the folder would change what the paths mean, and bring its configuration.
        env = {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "GIT_DIR": str(copy / "none"), "HOME": scratch,
               "GIT_CONFIG_NOSYSTEM": "1"}  # fmt: skip
        text = fix.text.encode("utf-8", "surrogateescape")
        for check in (("--check",), ()):
            done = subprocess.run(["git", "apply", *check, "-"], cwd=copy, input=text, capture_output=True, env=env)
            if done.returncode:
                said = done.stderr.decode("utf-8", "replace").splitlines()
                words = [line.removeprefix("error: ") for line in said if line.startswith("error: ")]
                raise HostError(f"{fix.name} does not fit Linux {release}: {'; '.join(words[:3]) or 'it is damaged'}.")
        texts = {path: (copy / path).read_text() for path in _existing(fix.files, copy)}
    if gone := [path for path in fix.files if path not in texts]:
        raise HostError(f"{fix.name} removes {', '.join(gone)}; a fix may change and add files.")
    return texts


def _existing(files: Iterable[str], tree: Path) -> list[str]:
    return [path for path in files if (tree / path).is_file()]
