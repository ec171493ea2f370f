"""A .ko as everything here knows it: what is in the file, what makes it a livepatch, and both as tables."""

from __future__ import annotations

import os
from functools import cached_property, lru_cache
from pathlib import Path

from ..arguments import checked
from ..errors import ModuleFormatError
from . import tables
from .elf import ElfFile
from .klp_patch import read_klp_patch
from .on_disk import NoRegularFile, TooLarge, named, read_regular, why_not

MAX_FILE = 256 << 20  # with all its debug sections
_LARGE = 1 << 20
_ADVICE: dict[type[Exception], str] = {
    NoRegularFile: "finit_module() reads regular files only (EINVAL).",
    TooLarge: "Try: strip -g",
}


class ModuleFile(ElfFile):
    """One module file (.ko, .ko.xz, .ko.gz, .ko.zst), checked and ready to be loaded; it never changes.

    Bad input raises ModuleFormatError and nothing else. `shdrs`, `symtab` and `rela(i)` are numpy arrays of the
    dtypes SHDR, SYM and RELA; `sections`, `symbols` and `relocations` are the same as pandas DataFrames; `klp` is what a
    livepatch says that it patches, whoever built it; None where it says nothing.

    >>> from klpteach.files.samples import sample
    >>> ko = ModuleFile.open(sample("livepatch_nfsd_demo.ko"))
    >>> ko.name, ko.arch, ko.is_livepatch
    ('livepatch_nfsd_demo', 'x86_64', True)
    """

    klp = cached_property(read_klp_patch)
    sections = property(tables.sections)
    symbols = property(tables.symbols)
    relocations = property(tables.relocations)

    @classmethod
    @checked(ModuleFormatError)
    def open(cls, path: str | os.PathLike[str]) -> ModuleFile:
        """Read and check a module file. Errors: ModuleFormatError, also where the file cannot be read."""
        path = Path(path)
        try:
            return _read(path)
        except ModuleFormatError:
            raise
        except (OSError, ValueError) as error:
            advice = _ADVICE.get(type(error), "Is the path right?")
            raise ModuleFormatError(f"{named(path)}: {why_not(error)}. {advice}") from None

    @property
    def is_signed(self) -> bool:
        """Whether a signature is appended, by whomever (include/linux/module_signature.h)."""
        return self.data.endswith(b"~Module signature appended~\n")

    @property
    def on_disk(self) -> ModuleFile:
        """The file as it is on disk: itself, except for the copy that the loader of an architecture works on."""
        return self


def _read(path: Path) -> ModuleFile:
    data = read_regular(path, MAX_FILE)
    return (_large if len(data) > _LARGE else _small)(data, path.name)


# A story loads the same file many times; it is checked once, and again when its bytes have changed.
_small, _large = lru_cache(maxsize=64)(ModuleFile), lru_cache(maxsize=2)(ModuleFile)
