"""The tables of notebook 04: which of two symbols, and two writers of the same bytes."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from ...files.elf_h import SHN_UNDEF
from ...files.module_file import ModuleFile
from ...scenarios.recorded import evidence
from ...views.table import LEFT, Table, byte_table
from .klp_arch import NATIVE, RELOCATE, REPLACE, play


def positions(file: ModuleFile, name: str) -> pd.DataFrame:
    """Every symbol of that name in the order of the symbol table, with its sympos; references to elsewhere do not count.

    >>> from klpteach.files.samples import sample
    >>> positions(ModuleFile.open(sample("nfsd_demo.ko")), "demo_dup").index.tolist()
    [1, 2]
    """
    symbols = zip(file.symbol_names, file.symtab["shndx"].tolist(), file.symtab["value"].tolist(), strict=True)
    rows = [
        {"name": name, "section": file.section_names[section], "offset": hex(value)}
        for found, section, value in symbols
        if found == name and section != SHN_UNDEF
    ]
    return pd.DataFrame(rows, index=pd.RangeIndex(1, len(rows) + 1, name="sympos"))


def early_and_late() -> Table:
    """The bytes of three sites of a livepatch on a real 6.12, command by command: two for nfsd_demo, one for vmlinux."""
    story = evidence("vmlinux--6.12--LOADS")[:4]
    rows = [(f"`{step.command}`", *(f"`{value.hex(' ')}`" for value in (step.sites or {}).values())) for step in story]
    return Table(("command", "for nfsd_demo", "for nfsd_demo", "for vmlinux"), rows, css=LEFT)


def two_writers() -> Table:
    """The seven bytes of one call, in both orders of relocation and replacement, and what the check makes of it.

    >>> "fa 66 0f b0* a9* c3* 82*" in repr(two_writers())
    True
    """
    orders = {"relocated, then replaced": [RELOCATE, REPLACE], "replaced, then relocated": [REPLACE, RELOCATE]}
    rows: list[tuple[str, Sequence[str | tuple[bytes, bytes]]]] = []
    for label, order in orders.items():
        first, second = (stage.code for stage in play(order))
        means = "cli, and a nop of 6 bytes" if second == NATIVE else "cli, and what nobody wrote"
        checked = play(order, check=True)[-1].ends or "the same"
        rows.append((label, [(first, first), (second, NATIVE), means, checked]))
    heads = ("", "after the first", "after the second", "the CPU reads", "with the check")
    return byte_table(heads, rows)
