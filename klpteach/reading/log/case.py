"""What the sentences about one message may look at: its fields, the messages around it, and module files."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ...errors import KlpteachError
from ...files.compressed import MAX_BYTES
from ...files.elf_h import EM_PPC64
from ...files.klp import Site, livepatch_sections, section_object, sites
from ...files.module_file import ModuleFile
from ...files.samples import data_dir
from .row import Found

_NEAR = 6  # messages: as far as the lines of one load reach
_SHOWN = 4  # relocations that are named
_FILES = 32  # of a folder that are looked at for one message
_OPENED = 400  # of a folder, to see what they are


class Modules:
    """The module files that may stand behind a log, read when they are first asked for; broken ones are passed over.

    Without a folder they are the project's samples, and only where the log names one of them.
    Errors: KlpteachError for a folder that is none.
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        if folder is not None and not os.path.isdir(folder):
            raise KlpteachError(
                f"{os.fspath(folder)}: no folder. The relocations behind a log are looked for in a folder of .ko files."
            )
        self.folder = folder
        self._opened: dict[str, list[ModuleFile]] = {}
        self._kept: dict[Path, ModuleFile | None] = {}
        self._room = MAX_BYTES

    def named(self, module: str) -> list[ModuleFile]:
        """Files of the module of that name."""
        if self.folder is None:
            return [file for file in self._samples(module) if _same(file.name, module)]
        by_name = self._read(path for path in self._paths if _same(path.name.partition(".ko")[0], module))
        found = [file for file in by_name if _same(file.name, module)]
        return found or self._read(path for path, name, _ in self._files if _same(name, module))

    def livepatches(self) -> list[ModuleFile]:
        """The livepatches in the reader's own folder."""
        return [] if self.folder is None else self._read(path for path, _, is_livepatch in self._files if is_livepatch)

    def _read(self, paths: Iterable[Path]) -> list[ModuleFile]:
        """The modules in some files, each read once, as long as there is room for them."""
        found = []
        for path in itertools.islice(paths, _FILES):
            if path not in self._kept:
                file = _readable(path)
                self._room -= len(file.data) if file else 0
                self._kept[path] = file if self._room >= 0 else None
            found.append(self._kept[path])
        return [file for file in found if file]

    @cached_property
    def _paths(self) -> list[Path]:
        return _paths(Path(self.folder or ""))

    @cached_property
    def _files(self) -> list[tuple[Path, str, bool]]:
        """Path, module name and whether it is a livepatch: a folder may hold more than fits into memory.

        Of a folder with all modules of a kernel so many are opened, those first that are called a patch.
        """
        first = sorted(self._paths, key=lambda path: ("patch" not in path.name, path))[:_OPENED]
        read = ((path, _readable(path)) for path in first)
        return [(path, file.name, file.is_livepatch) for path, file in read if file]

    def _samples(self, module: str) -> list[ModuleFile]:
        """The project's own modules are named like their files, so only those are opened."""
        if module not in self._opened:
            same = (path for path in _paths(data_dir() / "ko") if _same(path.name.partition(".ko")[0], module))
            self._opened[module] = self._read(same)
        return self._opened[module]


def _same(one: str, other: str) -> bool:
    return one.replace("-", "_") == other.replace("-", "_")


def _paths(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.ko*"))


def _readable(path: Path) -> ModuleFile | None:
    try:
        return ModuleFile.open(path)
    except (KlpteachError, OSError):
        return None


@dataclass
class Case:
    """A message in its log."""

    found: Found
    log: Sequence[Found]
    at: int  # its place in the log
    modules: Modules

    @property
    def fields(self) -> Mapping[str, str]:
        return self.found.fields

    def __getitem__(self, name: str) -> str:
        return self.found.fields[name]

    @property
    def err(self) -> int:
        return int(self.found.fields["err"])

    def after(self, *names: str, **fields: str) -> Found | None:
        """The next message of one of these names (and with these fields), among those that are near."""
        return _first(self.log[self.at + 1 : self.at + 1 + _NEAR], names, fields)

    def before(self, *names: str, **fields: str) -> Found | None:
        """The last such message before."""
        return _first(self.nearest_before(), names, fields)

    def nearest_before(self) -> Sequence[Found]:
        """The messages before that are near, the nearest first."""
        return self.log[max(0, self.at - _NEAR) : self.at][::-1]

    def directly_after(self, *names: str) -> Found | None:
        """The next message, if it is one of these names."""
        return _first(self.log[self.at + 1 : self.at + 2], names, {})

    def anywhere(self, *names: str) -> Found | None:
        """The first message of one of these names in the whole log."""
        return _first(self.log, names, {})


def _first(log: Sequence[Found], names: Sequence[str], fields: Mapping[str, str]) -> Found | None:
    for found in log:
        if found.name in names and all(found.fields.get(key) == value for key, value in fields.items()):
            return found
    return None


# -- relocations of files -------------------------------------------------------------------------------------------------


def relocations_for(file: ModuleFile, module: str) -> tuple[int, int]:
    """How many livepatch relocations of a file wait for a module, and in how many sections."""
    sections = [i for i in livepatch_sections(file) if _same(section_object(file.section_names[i]) or "", module)]
    return sum(len(file.rela(i)) for i in sections), len(sections)


def relocation_at(file: ModuleFile, section: int, index: int, kind: int) -> tuple[str, str] | None:
    """Entry `index` of relocation section number `section`, if it is of that type: the section's name, and ".text+0x17 → symbol"."""
    if section not in file.rela_sections:
        return None
    entries = file.rela(section)
    if index >= len(entries):
        return None
    offset, found, symbol, _ = entries[index].tolist()
    if found != kind:
        return None
    target = int(file.shdrs["info"][section])
    return file.section_names[section], f"{file.section_names[target]}+{offset:#x} → {file.symbol_names[symbol]}"


def named_relocations(found: list[tuple[ModuleFile, Site]]) -> str:
    """A list that says when it is cut."""
    shown = "; ".join(f"{file.filename}: {site.key} → {site.symbol}" for file, site in found[:_SHOWN])
    more = len(found) - _SHOWN
    return shown + (f"; and {more} more that are not shown" if more > 0 else "")


def of_type(files: list[ModuleFile], machine: int, kind: int, module: str = "") -> list[tuple[ModuleFile, Site]]:
    """Livepatch relocations of a type, for one module or for all."""
    return [
        (file, site)
        for file in files
        if file.machine == machine
        for site in sites(file)
        if site.type == kind and (not module or _same(site.object, module))
    ]


def call_before(files: list[ModuleFile], function: str, offset: int) -> str:
    """ppc64le: the relocation of the call that stands before function + offset, "file: .text+0xb0 → symbol", or ""."""
    for file in files:
        if file.machine != EM_PPC64 or function not in file.symbol_names:
            continue
        row = file.symtab[file.symbol_names.index(function)]
        place = (int(row["shndx"]), int(row["value"]) + offset - 4)
        for site in sites(file):
            if (file.section_index(site.section), site.offset) == place:
                return f"{file.filename}: {site.key} → {site.symbol}"
    return ""
