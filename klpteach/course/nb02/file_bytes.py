"""A section's bytes as they are in the file, with a bracket round every place that a relocation will write."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from ...errors import KlpteachError
from ...files.elf_h import SHF_RELA_LIVEPATCH
from ...files.klp import parse_symbol
from ...files.module_file import ModuleFile
from ...files.relocation_types import width_of
from ...views.shown import Shown
from ...views.style import BLUE, VERMILION
from ...views.table import ONE_LINE, Cell, Table

ROW = 16
_MARKS = {True: ("[", "]"), False: ("(", ")")}  # a livepatch relocation or an ordinary one: by shape, colour only adds


@dataclass(frozen=True)
class Hole:
    """One relocation's place in a section: who writes it (the loader, or livepatch later), and what will stand there."""

    offset: int
    width: int
    type: str
    symbol: str
    addend: int
    livepatch: bool

    @property
    def says(self) -> str:
        """The relocation in a few words, with the bracket of its kind."""
        opening, closing = _MARKS[self.livepatch]
        sign = f"{'−' if self.addend < 0 else '+'} {abs(self.addend)}"
        return f"{opening}{self.offset:#x}{closing} {self.type} {self.symbol}{f' {sign}' if self.addend else ''}"


def holes(file: ModuleFile, section: str) -> list[Hole]:
    """Every relocation of a section, by offset. Errors: KlpteachError for a section that is not there.

    >>> from klpteach.files.samples import sample
    >>> ko = ModuleFile.open(sample("livepatch_nfsd_demo.ko"))
    >>> [hole.says for hole in holes(ko, ".text")][2]
    '[0x17] PC32 demo_counter − 4'
    """
    target = _index(file, section)
    found = []
    for index in file.rela_sections:
        livepatch = bool(int(file.shdrs["flags"][index]) & SHF_RELA_LIVEPATCH)
        entries = file.rela(index).tolist() if int(file.shdrs["info"][index]) == target else ()
        for offset, kind, symbol, addend in entries:
            name = file.symbol_names[symbol] or file.section_names[int(file.symtab["shndx"][symbol])]
            if parsed := parse_symbol(name):
                name = f"{parsed.name},{parsed.sympos}" if parsed.sympos else parsed.name
            short = file.type_name(kind).removeprefix("R_X86_64_").removeprefix("R_PPC64_")
            found.append(Hole(offset, width_of(file.machine, kind), short, name, addend, livepatch))
    return sorted(found, key=lambda hole: hole.offset)


def _index(file: ModuleFile, section: str) -> int:
    if section not in file.section_names:
        known = ", ".join(name for name in file.section_names if name and not name.startswith("."))
        raise KlpteachError(f"{file.filename} has no section {section}. Try .text, .data or one of: {known}")
    return file.section_names.index(section)


class FileBytes(Shown):
    """A hex dump with its relocations beside it: [..] waits for livepatch, (..) is written when the module loads.

    >>> from klpteach.files.samples import sample
    >>> print(FileBytes(ModuleFile.open(sample("livepatch_nfsd_demo.ko")), ".text.unlikely"))
    .text.unlikely of livepatch_nfsd_demo.ko: 26 bytes, as they are in the file
    0x0000  e8(00 00 00 00)b8 f4 01 00 00 89 3d[00 00 00 00] (0x1) PLT32 __fentry__ − 4   [0xc] PC32 demo_last − 4
    ...
    """

    def __init__(self, file: ModuleFile, section: str = ".text") -> None:
        self.file, self.section = file, section
        self.body = file.section_bytes(_index(file, section))
        self.holes = holes(file, section)
        self._opens = {hole.offset: hole for hole in self.holes}
        self._closes = {hole.offset + hole.width: hole for hole in self.holes}

    @property
    def title(self) -> str:
        """What is shown, in words."""
        return f"{self.section} of {self.file.filename}: {len(self.body)} bytes, as they are in the file"

    def _inside(self, offset: int) -> Hole | None:
        return next((hole for hole in self.holes if hole.offset <= offset < hole.offset + hole.width), None)

    def _row(self, start: int) -> Iterator[tuple[str, Hole | None]]:
        """Separators and bytes of one row in turn; a bracket takes the place of the blank between two bytes."""
        stop = min(start + ROW, len(self.body))
        for offset in range(start, stop + 1):
            opens, closes = self._opens.get(offset), self._closes.get(offset)
            if opens and offset < stop:  # else it opens the next row
                yield _MARKS[opens.livepatch][0], opens
            elif closes and offset > start:  # else it was closed at the end of the row before
                yield _MARKS[closes.livepatch][1], closes
            else:
                yield " ", None
            if offset < stop:
                yield f"{self.body[offset]:02x}", self._inside(offset)

    def _legend(self, start: int) -> list[Hole]:
        return [hole for hole in self.holes if start <= hole.offset < start + ROW]

    def to_text(self) -> str:
        rows = [self.title]
        for start in range(0, len(self.body), ROW):
            dump = "".join(text for text, _ in self._row(start))
            says = "   ".join(hole.says for hole in self._legend(start))
            rows.append(f"{start:#06x} {dump:<49} {says}".rstrip())
        return "\n".join(rows)

    def to_html(self) -> str:
        rows = list(map(self._row_html, range(0, len(self.body), ROW)))
        table = Table(("offset", "bytes", "what will be written"), rows, css=ONE_LINE).to_html()
        late, early = (_styled(" ".join(marks), Hole(0, 0, "", "", 0, kind)) for kind, marks in _MARKS.items())
        legend = f"<code>{late}</code> waits for its target: livepatch writes it. <code>{early}</code> is written when"
        return f"<p><strong>{escape(self.title)}</strong></p>{table}<p>{legend} this module itself loads.</p>"

    def _row_html(self, start: int) -> list[str | Cell]:
        dump = "".join(_styled(text, hole) for text, hole in self._row(start))
        says = "<br>".join(_styled(hole.says, hole) for hole in self._legend(start))
        return [f"`{start:#06x}`", Cell(f'<code style="white-space:pre">{dump}</code>'), Cell(f"<code>{says}</code>")]


def _styled(text: str, hole: Hole | None) -> str:
    if hole is None:
        return escape(text)
    line, weight = (f"3px solid {VERMILION}", "700") if hole.livepatch else (f"1px dotted {BLUE}", "400")
    return f'<span style="border-bottom:{line};font-weight:{weight}">{escape(text)}</span>'  # text keeps the theme's colour
