"""The loader's own copy of a module file: what an architecture may change in it before it is laid out."""

from __future__ import annotations

from ...files.elf_h import SHT_RELA
from ...files.module_file import ModuleFile
from ..image import Array

EXACT_UP_TO = 1 << 14  # entries; a longer section with equal entries is sorted stably where nothing depends on it


class LoaderFile(ModuleFile):
    """A file after module_frob_arch_sections(); `on_disk` is the file it came from, `shdrs` its own."""

    def __init__(self, file: ModuleFile) -> None:
        kept = {k: v for k, v in vars(file).items() if k not in ("extents", "symbol_names", "klp")}
        vars(self).update(kept)
        self._on_disk, self.shdrs = file, file.shdrs.copy()

    @property
    def on_disk(self) -> ModuleFile:
        return self._on_disk

    def rela_in_order(self, index: int) -> Array:
        """The entries of a section in the order in which the loader applies them."""
        return self.rela(index)

    def section_bytes(self, index: int) -> bytes:
        is_rela = self.extents[index][0] == SHT_RELA
        return self.rela_in_order(index).tobytes() if is_rela else super().section_bytes(index)
