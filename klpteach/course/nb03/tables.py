"""The tables of notebook 03: sums, relocation types, what moves with a base, what a wrong offset destroys."""

from __future__ import annotations

from typing import Any

import pandas as pd

from ...files.module_file import ModuleFile
from ...files.relocation_types import HOWTO_X86_64, fits_signed32, fits_unsigned32
from ...model.recording import Recording
from ...model.step import hexa
from ...views.table import Table, byte_table
from .loading import damage, moved, written

_EXTENDED: dict[Any, str] = {fits_unsigned32: "zero", fits_signed32: "sign"}


def sums(recording: Recording, step: int, types: tuple[str, ...] = ()) -> pd.DataFrame:
    """S, A, P and the bytes in memory of every livepatch site after a step (1 is the first); types keeps some of them only.

    >>> from klpteach.scenarios.simulate import simulate
    >>> sums(simulate("reload"), step=2).iloc[1]["bytes in memory"]
    'f0 af ff ff'
    """
    rows = []
    for one in written(recording, step):
        S, A, P, howto = one.sum.S, one.sum.A, one.sum.P, HOWTO_X86_64[one.sum.site.type]
        total = hexa(howto.value(S, A, P))
        rows.append([one.sum.site.key, howto.name, hexa(S), A, hexa(P), total, one.stored.hex(" ")])
    table = pd.DataFrame(rows, columns=["site", "type", "S", "A", "P", "sum", "bytes in memory"])
    return table[table["type"].isin(types)].reset_index(drop=True) if types else table


def types(file: ModuleFile | None = None) -> pd.DataFrame:
    """The relocation types that x86_64's module loader knows, and how often a file uses each (livepatch ones included).

    >>> types().loc[2, "written"]
    'S + A − P'
    """
    used = [kind for index in file.rela_sections for kind in file.rela(index)["type"].tolist()] if file else []
    rows = {
        number: {
            "name": howto.name,
            "bytes": howto.width,
            "written": _formula(howto.relative) if howto.width else "nothing",
            "must fit": f"{_EXTENDED[howto.fits]}-extended, it must be the same" if howto.fits else "",
            **({"in this file": used.count(number)} if file else {}),
        }
        for number, howto in HOWTO_X86_64.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("type")


def moves(file: ModuleFile, by: int = 0x5000) -> pd.DataFrame:
    """How many relocations hold other bytes when the module is loaded `by` bytes further on.

    >>> from klpteach.files.samples import sample
    >>> int(moves(ModuleFile.open(sample("nfsd_demo.ko"))).loc[("S + A − P", "in the module"), "changed"])
    0
    """
    where = {True: "in the module", False: "in the kernel"}
    rows = [(_formula(move.relative), where[move.own], move.changed, not move.changed) for move in moved(file, by)]
    table = pd.DataFrame(rows, columns=["written", "S is", "changed", "the same"])
    return table.groupby(["written", "S is"]).sum()


def _formula(relative: bool) -> str:
    return "S + A − P" if relative else "S + A"


def off_by_8() -> Table:
    """Three instructions in the file, relocated, and relocated with one relocation 8 bytes too far and nobody to notice.

    >>> print(repr(off_by_8()).splitlines()[3].split("  ")[-1].strip())
    cf* ff* ff* 11 24 00 00
    """
    in_file, good, bad = damage().values()
    shown = (("in the file", in_file, in_file), ("relocated", good, good), ("8 bytes too far, no check", bad, good))
    return byte_table(("", *good), [(label, [(now[n], right[n]) for n in good]) for label, now, right in shown])
