"""What is in a module file, as pandas DataFrames. pandas is imported when a table is asked for: the model needs none.

Names are as they can be shown: in a table a control character is spelled out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from elftools.elf import enums

from ..errors import printable
from . import klp
from .elf import ElfFile
from .elf_h import RELA, SHN_ABS, SHN_COMMON, SHN_LIVEPATCH, SHN_UNDEF

if TYPE_CHECKING:
    import pandas as pd

_SECTION_TYPES = {number: name for name, number in enums.ENUM_SH_TYPE_BASE.items() if isinstance(number, int)}
_SPECIAL = {SHN_UNDEF: "UNDEF", SHN_ABS: "ABS", SHN_COMMON: "COMMON", SHN_LIVEPATCH: "LIVEPATCH"}
_FLAGS = tuple(zip((0x1, 0x2, 0x4, 0x10, 0x20, 0x40, 0x80, 0x200, 0x00100000), "WAXMSILGK", strict=True))


def sections(file: ElfFile) -> pd.DataFrame:
    """One row a section, index as in the file. Flags are readelf's letters, and K for SHF_RELA_LIVEPATCH."""
    import pandas as pd

    shdrs = file.shdrs
    kinds = [_SECTION_TYPES.get(kind, hex(kind)) for kind in shdrs["type"].tolist()]
    flags = ["".join(letter for bit, letter in _FLAGS if word & bit) for word in shdrs["flags"].tolist()]
    numbers = {
        "align" if key == "addralign" else key: shdrs[key] for key in ("size", "addralign", "offset", "link", "info")
    }
    return pd.DataFrame({"name": _shown(file.section_names), "type": kinds, "flags": flags, **numbers})


def _shown(names: Iterable[str]) -> list[str]:
    return [printable(name, keep="") for name in names]


def _section_label(file: ElfFile, number: int) -> str:
    return _SPECIAL.get(number) or (file.section_names[number] if number < len(file.shdrs) else hex(number))


def _unique(labels: list[str]) -> list[str]:
    """Categories must differ; two sections of one name become name and name#2."""
    seen: dict[str, int] = {}
    result = []
    for label in labels:
        seen[label] = seen.get(label, 0) + 1
        result.append(label if seen[label] == 1 else f"{label}#{seen[label]}")
    return result if len(set(result)) == len(result) else [f"{n}:{label}" for n, label in enumerate(labels)]


def symbols(file: ElfFile) -> pd.DataFrame:
    """One row a symbol, index as in the file: relocations refer to it by that, since names come twice."""
    import pandas as pd

    info = file.symtab["info"]
    numbers, codes = np.unique(file.symtab["shndx"], return_inverse=True)
    labels = _unique(_shown(_section_label(file, n) for n in numbers.tolist()))
    kinds = ["NOTYPE", "OBJECT", "FUNC", "SECTION", "FILE", "other"]
    return pd.DataFrame({
        "name": np.array(_shown(file.symbol_names), dtype=object),
        "section": pd.Categorical.from_codes(codes.reshape(-1), labels),
        "value": file.symtab["value"],
        "size": file.symtab["size"],
        "bind": pd.Categorical.from_codes(np.minimum(info >> 4, 3), ["LOCAL", "GLOBAL", "WEAK", "other"]),
        "type": pd.Categorical.from_codes(np.minimum(info & 15, 5), kinds),
    })  # fmt: skip


def relocations(file: ElfFile) -> pd.DataFrame:
    """One row a relocation, in file order: section (the SHT_RELA one), target, offset, type, symbol, symbol_index, addend."""
    import pandas as pd

    parts = [file.rela(i) for i in file.rela_sections]
    rela = np.concatenate([np.zeros(0, RELA), *parts])
    codes = np.repeat(np.arange(len(parts)), [len(p) for p in parts])
    names = _shown(file.section_names[i] for i in file.rela_sections)
    infos = np.array([int(file.shdrs["info"][i]) for i in file.rela_sections], "i8")
    there, which = np.unique(infos, return_inverse=True)  # .rela.text and .klp.rela.OBJECT..text are for the same one
    targets = _shown(file.section_names[i] if i < len(file.shdrs) else str(i) for i in there.tolist())
    numbers, kinds = np.unique(rela["type"], return_inverse=True)
    return pd.DataFrame({
        "section": pd.Categorical.from_codes(codes, _unique(names)),
        "target": pd.Categorical.from_codes(which.reshape(-1)[codes], _unique(targets)),
        "offset": rela["offset"],
        "type": pd.Categorical.from_codes(kinds.reshape(-1), _unique([file.type_name(n) for n in numbers.tolist()])),
        "symbol": np.array(_shown(file.symbol_names), dtype=object)[rela["sym"]],
        "symbol_index": rela["sym"],
        "addend": rela["addend"],
    })  # fmt: skip


def livepatch_sites(file: ElfFile) -> pd.DataFrame:
    """One row a livepatch relocation: the object it waits for, the site in the livepatch, type, symbol, position, addend."""
    import pandas as pd

    rows = []
    for site in klp.waiting_sites(file):
        symbol = klp.parse_symbol(site.symbol)
        name, position = (symbol.name, symbol.sympos) if symbol else (site.symbol, None)
        words = _shown((site.object, site.key, file.type_name(site.type), name))
        rows.append((*words[:3], site.width, words[3], position, site.addend))
    return pd.DataFrame(rows, columns=["object", "site", "type", "bytes", "symbol", "sympos", "addend"])
