"""What is no kernel code of a proposal: what modprobe pulls in, and which parts of a livepatch lie on disk.

And what a story's machine is like: what is not installed, what is forbidden, whose hardware is absent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...files.module_file import ModuleFile
from ...files.samples import open_ko
from ...model.livepatch.core import klp_target_names
from ...model.split import split_per_object
from ...model.state import Machine
from ...model.step import Command

PULLED_IN = {"hard-dependencies": "", "half-loaded": "~"}  # proposal -> how /depends marks a target of a livepatch


@dataclass(frozen=True)
class Guest:
    """files: those that the story's machine has on its disk. parts: of split livepatches. lists: the agent's, by file name."""

    files: list[ModuleFile]
    parts: list[ModuleFile]
    lists: dict[str, str]
    cmdline: str


def guest_for(files: Sequence[ModuleFile], machine: Machine, proposals: Iterable[str], folder: Path) -> Guest:
    """What a guest of these proposals has besides a story's own files. folder: where targets that come along are.

    Errors: ModuleFormatError for a file that is needed and missing.
    """
    chosen, on_disk = {*proposals}, {file.filename: file for file in files}
    depends = [(file, modinfo_depends(file)) for file in files]
    for mark in (PULLED_IN[name] for name in PULLED_IN if name in chosen):
        depends += [(file, [f"{mark}{name}" for name in klp_target_names(file)]) for file in files if file.is_livepatch]
    for name in [name.lstrip("~") for _, names in depends for name in names]:
        if name not in machine.not_installed:
            on_disk.setdefault(f"{name}.ko", open_ko(folder, f"{name}.ko"))
    for name in machine.not_installed:
        on_disk.pop(f"{name}.ko", None)
    lists = {"depends": "".join(f"{file.name} {' '.join(names)}\n" for file, names in depends if names),
             "options": "".join(f"{name} absent=1\n" for name in sorted(machine.without_hardware))}  # fmt: skip
    parts: list[ModuleFile] = []
    if "split-per-object" in chosen:
        lists["parts"], parts = _parts(on_disk.values())
    forbidden = " ".join(f"module_blacklist={name}" for name in sorted(machine.blacklist))
    return Guest([*on_disk.values()], parts, {name: text for name, text in lists.items() if text}, forbidden)


def modinfo_depends(file: ModuleFile) -> list[str]:
    """The modules that a file says it needs."""
    return [name for name in file.modinfo.get("depends", "").split(",") if name]


def _parts(files: Iterable[ModuleFile]) -> tuple[str, list[ModuleFile]]:
    """KEY NAME REPLACE LABEL FILE MODULE of every part of every livepatch, and the files of those that were cut."""
    rows, cut = list[str](), list[ModuleFile]()
    for file in [file for file in files if file.is_livepatch and file.klp]:
        parts = split_per_object(file)
        whole = f"{file.filename.removesuffix('.ko')} {file.name} {int(bool(file.klp and file.klp.replace))}"
        rows += [f"{whole} {label} {part.filename} {part.name}\n" for label, part in parts.items()]
        cut += [part for part in parts.values() if len(parts) > 1]
    return "".join(rows), cut


def loads_of(command: Command, loads: Iterable[str], machine: Machine) -> list[str]:
    """The files of which a command's placement lines tell, in order: what is forbidden does not get as far."""
    if command.verb not in ("insmod", "modprobe", "wait"):
        return []
    return [name for name in loads if name.removesuffix(".ko") not in machine.blacklist]
