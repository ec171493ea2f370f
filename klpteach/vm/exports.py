"""vmlinux-exports.txt: which undefined symbols of the sample modules the kernel exports, and where (nokaslr)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..files.elf_h import SHN_UNDEF
from ..files.module_file import ModuleFile
from ..model.module import exported_names
from ..model.recording import Recording

HEADER = "# what Debian's {release} kernel exports of that these modules need; addresses with nokaslr where recorded\n"


def write_exports(folder: Path, recordings: Iterable[Recording]) -> None:
    """Write the list for a folder of modules: every name they need and none of them exports; addresses as recorded."""
    files = [ModuleFile.open(path) for path in sorted(folder.glob("*.ko"))]
    needed = {
        name
        for file in files
        for name, section in zip(file.symbol_names, file.symtab["shndx"].tolist(), strict=True)
        if name and section == SHN_UNDEF
    }
    own = {name for file in files for name in exported_names(file)}
    seen = {
        name: address
        for recording in recordings
        for step in recording
        for rows in (step.symbols or {}).values()
        for address, kind, name in rows
        if kind == "u"
    }
    lines = [f"{seen[name]:#018x} {name}" if name in seen else name for name in sorted(needed - own)]
    header = HEADER.format(release=folder.name.partition("-")[2])
    (folder / "vmlinux-exports.txt").write_text(header + "\n".join(lines) + "\n")
