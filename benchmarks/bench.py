"""How fast klpteach is beside its peers: python benchmarks/bench.py [--json FILE].

Every figure is a ratio of two things measured in this run, in turns, in CPU time, medians: a busy or slow machine moves
both. Nothing here fails a build; a missed goal is printed as missed.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import logging
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

BASE = 0xFFFFFFFFC0201000
Task = Callable[[], object]


class Skipped(Exception):
    """A peer or a file is not here; the text says which and how to get it."""


@dataclass(frozen=True)
class Row:
    """One line of the table. met is None where the comparison was skipped; note then says why."""

    what: str
    ours: str = ""
    theirs: str = ""
    ratio: float | None = None
    goal: str = ""
    met: bool | None = None
    note: str = ""


def cpu(task: Task) -> float:
    """Seconds of CPU time that a task takes in this process."""
    start = time.process_time()
    task()
    return time.process_time() - start


def child_output(code: str) -> str:
    """What a fresh interpreter prints that runs `code`."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True, env=environment
    ).stdout


def child_cpu(code: str) -> float:
    """Seconds of CPU time of a fresh interpreter that runs `code`."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    child_output(code)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def medians(rounds: int, *tasks: Callable[[], float]) -> list[float]:
    """Median of each task's seconds, run in turns so that what disturbs one disturbs the others."""
    taken: list[list[float]] = [[] for _ in tasks]
    for _ in range(rounds + 1):
        for seconds, task in zip(taken, tasks, strict=True):
            seconds.append(task())
    return [statistics.median(seconds[1:]) for seconds in taken]  # the first round warms up


def at_least(what: str, ours: float, theirs: float, goal: float, peer: str) -> Row:
    ratio = theirs / ours
    return Row(
        what, f"{ours * 1e3:.2f} ms", f"{peer} {theirs * 1e3:.1f} ms", round(ratio, 1), f">= {goal:g}x", ratio >= goal
    )


def need(module: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(module)
    except ImportError as error:
        raise Skipped(f"{module} cannot be imported ({error}). Try: pip install -e '.[bench]'") from None


def debian(name: str) -> Path:
    from oracle import Unavailable, debian_modules

    try:
        return debian_modules() / name
    except Unavailable as reason:
        raise Skipped(str(reason)) from None


def resolve(name: str) -> int:
    return 0xFFFFFFFF81000000 + 16 * (zlib.crc32(name.encode()) & 0xFFFF)


# -- (a) tables -----------------------------------------------------------------------------------------------------------


def our_tables(data: bytes) -> tuple[int, int]:
    from klpteach import ModuleFile

    file = ModuleFile(data, "nfsd.ko")
    return len(file.symbols), len(file.relocations)


def pyelftools_tables(data: bytes) -> tuple[int, int]:
    """Symbols and relocations by pyelftools' own iterators, each symbol looked up once."""
    import io

    from elftools.elf.elffile import ELFFile
    from elftools.elf.relocation import RelocationSection
    from elftools.elf.sections import SymbolTableSection

    sections = list(ELFFile(io.BytesIO(data)).iter_sections())
    symbols = [
        (s.name, s["st_shndx"], s["st_value"], s["st_size"], s["st_info"]["bind"], s["st_info"]["type"])
        for section in sections
        if isinstance(section, SymbolTableSection)
        for s in section.iter_symbols()
    ]
    relocations = [
        (section.name, r["r_offset"], r["r_info_type"], symbols[r["r_info_sym"]][0], r["r_addend"])
        for section in sections
        if isinstance(section, RelocationSection)
        for r in section.iter_relocations()
    ]
    return len(symbols), len(relocations)


def lief_tables(data: bytes) -> tuple[int, int]:
    elf = need("lief").ELF.parse(data)
    symbols = [(s.name, s.shndx, s.value, s.size, s.binding, s.type) for s in elf.symtab_symbols]
    relocations = [
        (r.section.name if r.has_section else "", r.address, r.type, r.symbol.name if r.has_symbol else "", r.addend)
        for r in elf.object_relocations
    ]
    return len(symbols), len(relocations)


def tables_beside_pyelftools() -> Row:
    data = debian("nfsd.ko").read_bytes()
    assert our_tables(data) == pyelftools_tables(data)
    ours, theirs = medians(7, lambda: cpu(lambda: our_tables(data)), lambda: cpu(lambda: pyelftools_tables(data)))
    return at_least("symbols and relocations of nfsd.ko as DataFrames", ours, theirs, 15, "pyelftools")


def tables_beside_lief() -> Row:
    need("lief").logging.disable()
    data = debian("nfsd.ko").read_bytes()
    assert our_tables(data) == lief_tables(data)
    ours, theirs = medians(7, lambda: cpu(lambda: our_tables(data)), lambda: cpu(lambda: lief_tables(data)))
    return at_least("symbols and relocations of nfsd.ko as DataFrames", ours, theirs, 4, "lief")


# -- (b) (f) (e) relocation -----------------------------------------------------------------------------------------------


def our_image(path: Path) -> object:
    """Read, check, lay out, relocate; nothing is kept from an earlier round."""
    from klpteach import ModuleFile, load_image

    return load_image(ModuleFile(path.read_bytes(), path.name), BASE, resolve)


def image_beside_cle() -> Row:
    cle, path = need("cle"), debian("nfsd.ko")
    logging.getLogger("cle").setLevel(logging.CRITICAL)

    def cle_load() -> None:
        cle.Loader(str(path), auto_load_libs=False)

    ours, theirs = medians(3, lambda: cpu(lambda: our_image(path)), lambda: cpu(cle_load))
    return at_least("nfsd.ko read, laid out and relocated", ours, theirs, 150, "cle")


def vectorised_beside_the_loop() -> Row:
    """Only writing the relocations: the image is laid out anew before each round, outside the clock."""
    from klpteach import ModuleFile
    from klpteach.model.arch import fast
    from klpteach.model.image import Image
    from klpteach.model.load_image import laid_out
    from klpteach.model.policy import behaviour

    file = ModuleFile.open(debian("nfsd.ko"))

    def apply(vector_from: int) -> tuple[float, Image]:
        me = laid_out(file, {"core": BASE, "init": BASE + 0x1000000}, behaviour("6.1"), print)
        me.simplify_symbols(resolve)
        with contextlib.ExitStack() as stack:
            stack.callback(setattr, fast, "VECTOR_FROM", fast.VECTOR_FROM)
            fast.VECTOR_FROM = vector_from
            return cpu(lambda: me.apply_relocations(lambda relsec: None)), me.image

    at_once, one_by_one = apply(fast.VECTOR_FROM)[1], apply(1 << 40)[1]
    same = [(at_once.memory[region] == one_by_one.memory[region]).all() for region in at_once.memory]
    assert all(same), "the two ways do not agree"
    ours, theirs = medians(7, lambda: apply(fast.VECTOR_FROM)[0], lambda: apply(1 << 40)[0])
    return at_least("relocations of nfsd.ko written", ours, theirs, 6, "plain loop")


# VmHWM and not ru_maxrss: that one is inherited from the process that started this one.
PEAK = """
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
before = peak()
from klpteach import ModuleFile, load_image
image = load_image(ModuleFile.open({path!r}), {base:#x}, lambda name: 0xffffffff81000000)
print(peak() - before)
"""


def memory_of_the_largest() -> Row:
    from klpteach import ModuleFile
    from klpteach.model import arch
    from klpteach.model.layout import layout_sections
    from klpteach.model.policy import behaviour

    path = debian("amdgpu.ko")
    layout = layout_sections(ModuleFile.open(path), arch.of("x86_64"), behaviour("6.1"))
    file, image = path.stat().st_size, sum(layout.sizes.values())
    used = int(child_output(PEAK.format(path=str(path), base=BASE))) / 1024
    allowed = (file + 2 * image) / (1 << 20) + 40
    return Row(
        "memory to relocate amdgpu.ko",
        f"{used:.0f} MB",
        f"file + 2 images + 40 = {allowed:.0f} MB",
        round(used / allowed, 2),
        "<= 1",
        used <= allowed,
        f"file {file >> 20} MB, image {image >> 20} MB",
    )


# -- (c) a story, (d) the import ------------------------------------------------------------------------------------------


def reload_story() -> object:
    from klpteach import Kernel

    kernel = Kernel(release="6.1")
    story = ("insmod nfsd_demo.ko", "insmod livepatch_nfsd_demo.ko", "rmmod nfsd_demo", "insmod nfsd_demo.ko")
    assert [kernel.run(command).errno for command in story] == [0, 0, 0, -8]
    return kernel.recording


def story_beside_nothing() -> Row:
    """The yardstick is reading the three files involved with pyelftools, which is what a listing alone would cost."""
    files = [
        ROOT / "data" / "ko" / "x86_64-6.1" / name
        for name in ("nfsd_demo.ko", "livepatch_nfsd_demo.ko", "nfsd_demo.ko")
    ]
    data = [path.read_bytes() for path in files]
    ours, theirs = medians(
        15, lambda: cpu(reload_story), lambda: cpu(lambda: [pyelftools_tables(each) for each in data])
    )
    return Row(
        "the whole reload story, four commands",
        f"{ours * 1e3:.2f} ms",
        f"pyelftools lists the files: {theirs * 1e3:.1f} ms",
        round(theirs / ours, 1),
        "< 5 ms",
        ours < 5e-3,
    )


def import_beside_numpy() -> Row:
    bare, ours, theirs = medians(
        15, lambda: child_cpu("pass"), lambda: child_cpu("import klpteach"), lambda: child_cpu("import numpy")
    )
    ratio = max(ours - bare, 0.0) / (theirs - bare)
    loaded = "import sys, klpteach; print(*sorted({'numpy','pandas','matplotlib','IPython','ipywidgets','elftools'} & set(sys.modules)))"
    found = child_output(loaded).split()
    return Row(
        "import klpteach",
        f"{max(ours - bare, 0) * 1e3:.0f} ms",
        f"numpy {(theirs - bare) * 1e3:.0f} ms",
        round(ratio, 2),
        "<= 0.3x",
        ratio <= 0.3 and not found,
        f"imports {', '.join(found)}" if found else "nothing third-party is imported",
    )


BENCHES: dict[str, Callable[[], Row]] = {
    "tables/pyelftools": tables_beside_pyelftools,
    "tables/lief": tables_beside_lief,
    "image/cle": image_beside_cle,
    "apply/loop": vectorised_beside_the_loop,
    "story": story_beside_nothing,
    "import/numpy": import_beside_numpy,
    "memory": memory_of_the_largest,
}


def run(names: list[str]) -> Iterator[Row]:
    for name, bench in BENCHES.items():
        if not names or name in names:
            try:
                yield bench()
            except Skipped as reason:
                yield Row(name, note=f"SKIPPED: {reason}")


def print_row(row: Row) -> None:
    verdict = {True: "met", False: "MISSED", None: "-"}[row.met]
    ratio = "" if row.ratio is None else f"{row.ratio:g}"
    print(
        f"{row.what:<50} {row.ours:>10}  {row.theirs:<36} {ratio:>7}  {row.goal:<8} {verdict:<7} {row.note}", flush=True
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Compare klpteach with its peers. Ratios of CPU time, medians, in one run."
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there too")
    parser.add_argument(
        "--only", nargs="+", default=[], choices=BENCHES, metavar="NAME", help=f"of {', '.join(BENCHES)}"
    )
    arguments = parser.parse_args()
    print(f"Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} CPUs\n")
    print(f"{'what':<50} {'klpteach':>10}  {'beside':<36} {'ratio':>7}  {'goal':<8}")
    rows = []
    for row in run(arguments.only):
        print_row(row)
        rows.append(row)
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")


if __name__ == "__main__":
    main()
