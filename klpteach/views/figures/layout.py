"""A module in memory: its sections page by page, as layout_sections() puts them, and the livepatch's sites among them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from ...files.elf_h import SHF_EXECINSTR, SHF_WRITE
from ...files.klp import sites
from ...files.module_file import ModuleFile
from ...model import arch
from ...model.image import section_flags
from ...model.kernel import Kernel
from ...model.layout import layout_sections
from ...model.policy import behaviour
from ...model.step import hexa
from ...reading.steps import count
from ..style import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION
from .base import INK, PALE, SIZE, SOFT, Drawing, canvas, fits

_INCHES = 9.4  # what a line is wide
Placement = Mapping[str, int]
Row = dict[str, Any]
MOST_ROWS = 14
_KINDS = {
    "code": (BLUE, "#cfe3f1", "X"),
    "read-only data": (GREEN, "#cfeae0", "A"),
    "read-only after init": (SKY, "#dff1fb", "A+"),
    "data": (ORANGE, "#faeccb", "W"),
    "init, freed later": (PURPLE, "#f3e2ec", "−"),
}  # fmt: skip (X, A, W: the section's own flags)


def layout(file: ModuleFile, release: str = "6.1", placement: Placement | None = None) -> Drawing:
    """Draw where a release puts a module's sections: a row a page (more pages a row for a large module).

    placement: region -> address, as Step.placement has it; without it the model loads the module alone, and the
    addresses are those it got, or would have got where the load is refused. Errors: KlpteachError for an unknown release.
    """
    rows = layout_rows(file, release, placement)
    step = _step(rows)
    lines = _lines(rows, step)
    figure, axes = canvas(1.4 + 0.62 * len(lines))
    for number, start in enumerate(lines):
        _page(axes, number, start, step, bool(number) and start - lines[number - 1] > step)
        _sections(axes, number, start, step, rows)
    _legend(axes, len(lines), {row["kind"] for row in rows}, any(row["sites"] for row in rows))
    axes.set(xlim=(-0.24, 1.01), ylim=(len(lines) + 0.8, -0.3))
    shown = [{key: value for key, value in row.items() if key != "offsets"} for row in rows]
    return Drawing(figure, layout_alt(file, rows, step), shown)


def layout_rows(file: ModuleFile, release: str = "6.1", placement: Placement | None = None) -> list[Row]:
    """A dict a section in memory: section, kind, region, address, end, size, sites (how many), offsets (theirs)."""
    laid = layout_sections(file, arch.of(file.arch), behaviour(release))
    bases = placement or (Kernel(file.arch, release).insmod(file).placement or {}).get(file.name, {})
    rows = []
    for index, (region, offset) in laid.places.items():
        size, name, address = int(file.shdrs["size"][index]), file.section_names[index], bases.get(region, 0) + offset
        waiting = tuple(site.offset for site in sites(file) if site.section == name)
        if size:
            rows.append({"section": name, "kind": _kind(file, index, region), "region": region, "address": address,
                         "end": address + size, "size": size, "sites": len(waiting), "offsets": waiting})  # fmt: skip
    return sorted(rows, key=lambda row: (row["address"], row["end"]))


def layout_alt(file: ModuleFile, rows: list[Row], step: int) -> str:
    """The figure in words."""
    said = [f"{file.name} in memory, {count(step, 'byte')} a row, {count(len(rows), 'section')}."]
    for kind in _KINDS:
        mine = [_said(row) for row in rows if row["kind"] == kind]
        if mine:
            more = f" and {len(mine) - 6} more" if len(mine) > 6 else ""
            said.append(f"{kind[0].upper()}{kind[1:]}: {', '.join(mine[:6])}{more}.")
    return " ".join(said)


def _said(row: Row) -> str:
    waiting = f", {count(row['sites'], 'livepatch site')}" if row["sites"] else ""
    return f"{row['section']} at {hexa(row['address'])} ({count(row['size'], 'byte')}{waiting})"


def _kind(file: ModuleFile, index: int, region: str) -> str:
    flags = section_flags(file)[index]
    if region.startswith("init"):
        return "init, freed later"
    if flags & SHF_EXECINSTR:
        return "code"
    if "ro_after_init" in region or file.section_names[index] in (".data..ro_after_init", "__jump_table"):
        return "read-only after init"
    return "data" if flags & SHF_WRITE else "read-only data"


def _step(rows: list[Row]) -> int:
    """Bytes a row: a page, or as many pages (a power of two) as it takes to stay within a screen."""
    return next(step for step in (0x1000 << n for n in range(64)) if len(_lines(rows, step)) <= MOST_ROWS)


def _lines(rows: list[Row], step: int) -> list[int]:
    return sorted({start for row in rows for start in range(row["address"] & -step, row["end"], step)})


def _page(axes: Axes, number: int, start: int, step: int, gap: bool) -> None:
    axes.add_patch(Rectangle((0, number), 1, 0.72, facecolor="#fafafa", edgecolor=PALE, linewidth=1, zorder=0))
    axes.text(-0.01, number + 0.36, hexa(start), family="monospace", size=SIZE - 1, ha="right", va="center", color=INK)
    if gap:
        axes.text(-0.12, number - 0.14, "…", size=SIZE, ha="center", va="center", color=SOFT)


def _sections(axes: Axes, number: int, start: int, step: int, rows: list[Row]) -> None:
    """The boxes of one line; names that do not fit in their boxes stand after the last one."""
    left_out, right = [], 0.0
    for row in rows:
        low, high = max(row["address"], start), min(row["end"], start + step)
        if low < high:
            left_out += [] if _section(axes, number, start, step, row) else [row["section"]]
            right = max((high - start) / step, right)
    left_out.sort(key=lambda name: not name.startswith(".klp"))  # what a livepatch adds is named first
    room, names = (1 - right) * _INCHES - 0.3, left_out
    while names and not fits("  ".join(names), room, SIZE - 1):
        names = names[:-1]
    more = [f"+{len(left_out) - len(names)}"] if len(names) < len(left_out) else []
    if names:
        said = "  ".join(names + more)
        axes.text(right + 0.014, number + 0.36, said, size=SIZE - 1, va="center", color=SOFT, zorder=4)


def _section(axes: Axes, number: int, start: int, step: int, row: Row) -> bool:
    """One box; whether its name had room in it."""
    low, high = max(row["address"], start), min(row["end"], start + step)
    left, width = (low - start) / step, max((high - low) / step, 0.0035)
    edge, face, letter = _KINDS[row["kind"]]
    axes.add_patch(Rectangle((left, number), width, 0.72, facecolor=face, edgecolor=edge, linewidth=1.6, zorder=2))
    label = f"{letter}  {row['section']}"
    text = next((t for t in (label, row["section"], letter) if fits(t, width * _INCHES - 0.1, SIZE - 1)), "")
    axes.text(left + width / 2, number + 0.36, text, size=SIZE - 1, ha="center", va="center", zorder=4, color=INK)
    for offset in row["offsets"]:
        at = row["address"] + offset
        if low <= at < high:
            axes.plot((at - start) / step, number + 0.78, marker="^", color=VERMILION, markersize=8, zorder=5)
    return row["section"] in text


def _legend(axes: Axes, lines: int, kinds: set[str], with_sites: bool) -> None:
    x = 0.0
    for kind, (edge, face, letter) in _KINDS.items():
        if kind in kinds:
            axes.add_patch(Rectangle((x, lines + 0.2), 0.02, 0.36, facecolor=face, edgecolor=edge, linewidth=1.6))
            axes.text(x + 0.026, lines + 0.38, f"{letter} {kind}", size=SIZE - 1, va="center", color=SOFT)
            x += 0.055 + 0.0115 * (len(kind) + 2)
    if with_sites:
        axes.plot(-0.225, lines + 0.38, marker="^", color=VERMILION, markersize=9)
        axes.text(-0.21, lines + 0.38, "livepatch site", size=SIZE - 1, va="center", color=SOFT)
