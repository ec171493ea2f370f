"""Lists of symbols as people have them: a JSON object, /proc/kallsyms, System.map; and Module.symvers, which has no addresses.

Which of them a file is, its content says.
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from ..errors import KlpteachError, one_line, quoted, some
from .elf_h import SHN_UNDEF
from .json_text import from_json
from .module_file import ModuleFile
from .on_disk import TooLarge, encoding_of, read_regular, why_not

MAX_LIST = 32 << 20  # bytes; /proc/kallsyms with every module loaded has about 15 MB
_ROW = re.compile(r"([0-9a-f]{8,16}) ([A-Za-z?]) (\S+)(?:[ \t]+\[(\S+)\])?\s*$")
_ADDRESS = re.compile(r"(0[xX])?0*[0-9a-fA-F]{1,16}")
_CRC = re.compile(r"0x[0-9a-f]{8}\t(\S+)\t(\S+)(?:\t(?:EXPORT\w*|__\w+))?")
_KINDS = 'a JSON object {"name": "0xaddress", …}, /proc/kallsyms or System.map'


class SymbolList:
    """Addresses by name. several: how many addresses a name has, where that is more than one; then a global one is taken."""

    def __init__(self, addresses: dict[str, int], several: dict[str, int] | None = None) -> None:
        self.addresses, self.several = addresses, several or {}
        self.doubtful: dict[str, int] = {}  # those of `several` that were asked for

    def get(self, name: str) -> int | None:
        if name in self.several:
            self.doubtful[name] = self.several[name]
        return self.addresses.get(name)


def read_symbols(path: str | os.PathLike[str], wanted_by: ModuleFile) -> SymbolList:
    """The addresses in a file. Errors: KlpteachError; for a Module.symvers it says who exports what the module wants."""
    text = _text(path)
    first = text.lstrip()[:200]
    if first.startswith(("{", "[")):
        return SymbolList(dict(_from_json(text, str(path))))
    if _CRC.match(first):
        raise KlpteachError(f"{path}: {_from_symvers(text, wanted_by)}")
    if _ROW.match(first.partition("\n")[0]):
        return _from_rows(text, str(path))
    raise KlpteachError(f"{path}: {'nothing stands in it' if not first else 'this is none of them'}; give {_KINDS}.")


def number(value: Any, what: str) -> int:
    """A 64-bit address, of a number or of hexadecimal digits. Errors: KlpteachError.

    >>> hex(number("ffffffffc0201000", "--base"))
    '0xffffffffc0201000'
    """
    digits = hex(value) if type(value) is int and value >= 0 else value
    if not isinstance(digits, str) or not _ADDRESS.fullmatch(digits):
        raise KlpteachError(f"{what}: {quoted(value)} is no 64-bit address in hex.")
    return int(digits, 16)


def undefined_names(files: Iterable[ModuleFile]) -> set[str]:
    """The symbols that modules leave to others; .TOC. is the module's own."""
    return {
        name
        for file in files
        for name, section in zip(file.symbol_names, file.symtab["shndx"].tolist(), strict=True)
        if section == SHN_UNDEF and name and not name.startswith(".")
    }


def _text(path: str | os.PathLike[str]) -> str:
    """A file's text; its size is not asked for, since /proc says 0."""
    try:
        data = read_regular(path, MAX_LIST, sized=False)
    except TooLarge as error:
        raise KlpteachError(f"{path}: {error}; that is no list of symbols. Give {_KINDS}.") from None
    except (OSError, ValueError) as error:
        raise KlpteachError(f"{path}: {why_not(error)}.") from None
    encoding = encoding_of(data)
    return data.decode("utf-8-sig" if encoding == "utf-8" else encoding, "replace")


def _from_json(text: str, path: str) -> Iterator[tuple[str, int]]:
    try:
        raw = from_json(text)
    except KlpteachError as error:
        raise KlpteachError(f"{path}: {error}.") from None
    if not isinstance(raw, dict):
        raise KlpteachError(f'{path}: an object {{"name": "0xaddress", …}} was expected.')
    for name, address in raw.items():
        yield name, number(address, f"{path}: symbol {one_line(name, 80)}")


def _from_rows(text: str, path: str) -> SymbolList:
    """ADDRESS TYPE NAME, in /proc/kallsyms with [MODULE] behind; an upper-case type is a global symbol.

    A module is linked against exported symbols, and those are global; a static function may have the same name.
    """
    found: defaultdict[str, dict[int, bool]] = defaultdict(dict)
    for count, line in enumerate(text.split("\n"), 1):
        row = _ROW.match(line)
        if row is None:
            if line.strip():
                raise KlpteachError(f"{path}: line {count} is not ADDRESS TYPE NAME: {quoted(line)}")
        elif row[2] not in "uU?":  # names that somebody uses, not that are there
            address = int(row[1], 16)
            found[row[3]][address] = found[row[3]].get(address, False) or row[2].isupper()
    if not any(address for places in found.values() for address in places):
        hidden = "every address is 0: kernel.kptr_restrict hides them from all but root"
        raise KlpteachError(f"{path}: {hidden}. Try: sudo cat /proc/kallsyms > kallsyms.txt")
    chosen = {name: max(places, key=places.__getitem__) for name, places in found.items()}
    several = {n: len(places) for n, places in found.items() if len(places) > 1 and sum(places.values()) != 1}
    return SymbolList(chosen, several)


def _from_symvers(text: str, file: ModuleFile) -> str:
    owner = {row[1]: row[2].rpartition("/")[2] for row in map(_CRC.match, text.splitlines()) if row}
    wanted = undefined_names([file])
    by = Counter(owner[name] for name in wanted if name in owner)
    nobody = sorted(wanted - owner.keys())
    who = ", ".join(f"{count} of {module}" for module, count in by.most_common(4)) or "none"
    missing = f"; nobody exports {some(nobody)}" if nobody else ""
    return (
        f"a Module.symvers has CRCs and no addresses. Of the {len(wanted)} symbols that {file.filename} wants it lists "
        f"{who}{missing}. For the image give System.map, or /proc/kallsyms read by root."
    )
