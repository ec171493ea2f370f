"""Small rules at their edges: where a relocation type begins to refuse, how long a list may be, what a number may be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise, product
from pathlib import Path
from typing import Any

from damaged import short

from klpteach import KlpteachError, Recording
from klpteach.files.elf_h import ARCH_OF_MACHINE
from klpteach.files.relocation_types import HOWTO, MASK64, width_of
from klpteach.files.write import klp_convert, tiny_module
from klpteach.model.arch.sort import heapsort
from klpteach.model.errno import Refused, errno_name, strerror
from klpteach.model.memory import AddressSpace
from klpteach.model.params import kstrtobool, param_set
from klpteach.model.schema import HEAD, STEP

RECORDINGS = Path(__file__).resolve().parents[2] / "data" / "recordings"
EDGES = sorted({sign * (1 << power) + near for power in range(64) for sign in (-1, 1) for near in (-2, -1, 0, 1, 2)})


def relocation_types() -> Iterator[str]:
    """By type: from where to where the kernel takes a value, a sum, and what all values leave in a field of ones and of zeros."""
    for machine, howtos in HOWTO.items():
        for number, howto in sorted(howtos.items()):
            taken = [value for value in EDGES if howto.fits is None or howto.fits(value & MASK64)]
            fields = [howto.stored(old, howto.bits(value & MASK64)) for old in (0, MASK64) for value in EDGES]
            total = howto.sum(S=0x7000123456789ABC, A=-0x1234, P=0x7000000012345678, r2=0x7000123456780000)
            yield (
                f"{machine} {number} {howto.name}: {howto.width} bytes, {hex(min(taken))} to {hex(max(taken))} "
                f"{short(repr(taken).encode())}, sum {total:#x}, fields {short(repr(fields).encode())}"
            )
        yield f"{machine} not known: {[width_of(machine, number) for number in (255, 256, 1025)]} bytes"


# -- files that are made here ------------------------------------------------------------------------------------------------

MADE_OF: dict[str, bytes | int] = {
    ".text": bytes(range(64)), ".text.unlikely": b"", ".init.text": b"\xc3", ".exit.text": b"\xc3\0", ".rodata": b"x",
    ".data": bytes(24), ".data.rel": bytes(8), ".bss": 0, ".bss.more": 4097, "__mcount_loc": bytes(8), ".textual": b"y",
}  # fmt: skip
RAW = ".klp.sym.rela.nfsd.lockd."
NAMES = ("f,0", "f,1", "f.isra.0,2", "f", ",0", "f,", "f,x", "f,0x", "f,0 ", "f,,0", "")


def modules() -> Iterator[str]:
    """tiny_module(), and klp_convert() of what it gives: symbols that become livepatch symbols, and names that do not."""
    for machine, length in product(ARCH_OF_MACHINE, (1, 54, 55, 56, 57)):
        symbols = [
            ("a", ".text", 4),
            ("b", ".data", 8),
            ("c", None, 5),
            (".klp.sym.nfsd.d,0", None, 6),
            (f"{RAW}e,0", None, 7),
        ]
        entries = [
            (where, 8 * number, 1, name, -number)
            for where in (".text", ".data")
            for number, (name, *_) in enumerate(symbols)
        ]
        made = tiny_module("n" * length, MADE_OF, symbols, entries, {"livepatch": "Y"}, machine)
        yield f"{machine} name of {length}: {short(made)}, converted {short(klp_convert(made))}"
    for name, where in product(NAMES, (None, ".text")):
        making = lambda name=name, where=where: klp_convert(
            tiny_module("m", {".text": bytes(8)}, [(RAW + name, where, 0)], [(".text", 0, 1, RAW + name, 0)])
        )
        yield f"{name} in {where}: {_shown(making)}"
    for place, symbol in (("", "s"), (".text", ""), (".data", "s"), (".text", "t")):
        making = lambda place=place, symbol=symbol: tiny_module(
            "m", {".text": b""}, [("s", place, 0)], [(".text", 0, 1, symbol, 0)]
        )
        yield f"{symbol!r} in {place!r}: {_shown(making)}"


# -- recordings -----------------------------------------------------------------------------------------------------------

ADDRESS = "0xffffffffc0201000"
ROW = {"name": "m", "size": 1, "refcount": 0, "used_by": [], "state": "Live", "base": ADDRESS, "taint": ""}
STUBS = {"entries": [], "num_stubs": 1, "used": 1, "past_end_used": 0}


def _table(row: Any) -> Callable[[int], Any]:
    return lambda length: {f"k{number}": row for number in range(length)}


TEXTS: dict[str, Callable[[str], Any]] = {
    "command": lambda text: {"command": text},
    "out": lambda text: {"out": text},
    "label": lambda text: {"label": text},
    "dmesg line": lambda text: {"dmesg": [[None, text]]},
    "module name": lambda text: {"modules": [{**ROW, "name": text}]},
    "module state": lambda text: {"modules": [{**ROW, "state": text}]},
    "holder": lambda text: {"modules": [{**ROW, "used_by": [text]}]},
    "function": lambda text: {"livepatch": {"p": {"enabled": 1, "transition": 0, "objects": {"o": {"functions": [text]}}}}},
    "section": lambda text: {"sections": {"m": {text: ADDRESS}}},
    "symbol": lambda text: {"symbols": {"m": [[ADDRESS, "t", text]]}},
    "symbol type": lambda text: {"symbols": {"m": [[ADDRESS, text, "s"]]}},
    "site": lambda text: {"sites": {f"m:{text}+0x1": "00"}},
    "stub's symbol": lambda text: {"stubs": {"m": {**STUBS, "entries": [{"index": 1, "funcdata": ADDRESS, "symbol": text}]}}},
    "stub of": lambda text: {"stubs": {"m": {**STUBS, "entries": [{"index": 1, "funcdata": ADDRESS, "symbol": "", "of": text}]}}},
}  # fmt: skip
LISTS: dict[str, Callable[[int], Any]] = {
    "dmesg": lambda length: {"dmesg": [[None, ""]] * length},
    "modules": lambda length: {"modules": [ROW] * length},
    "used_by": lambda length: {"modules": [{**ROW, "used_by": ["x"] * length}]},
    "livepatch": lambda length: {"livepatch": _table({"enabled": 1, "transition": 0, "objects": {}})(length)},
    "objects": lambda length: {"livepatch": {"p": {"enabled": 1, "transition": 0, "objects": _table({})(length)}}},
    "sections of all": lambda length: {"sections": _table({})(length)},
    "sections": lambda length: {"sections": {"m": _table(ADDRESS)(length)}},
    "symbols of all": lambda length: {"symbols": _table([])(length)},
    "symbols": lambda length: {"symbols": {"m": [[ADDRESS, "t", "s"]] * length}},
    "sites": lambda length: {"sites": {f"m:.text+{number:#x}": "00" for number in range(length)}},
    "bytes of a site": lambda length: {"sites": {"m:.text+0x1": "00" * length}},
    "digits of a site": lambda length: {"sites": {f"m:.text+0x{'1' * length}": "00"}},
    "stubs of all": lambda length: {"stubs": _table(STUBS)(length)},
    "stubs": lambda length: {"stubs": {"m": {**STUBS, "entries": [{"index": 1, "funcdata": "1", "symbol": None}] * length}}},
    "veneers": lambda length: {"stubs": {"m": {"max_entries": 1, "entries": ["00"] * length}}},
    "bytes of a veneer": lambda length: {"stubs": {"m": {"max_entries": 1, "entries": ["00" * length]}}},
    "placement of all": lambda length: {"placement": _table({})(length)},
    "placement": lambda length: {"placement": {"m": _table("new")(length)}},
    "digits of an address": lambda length: {"sections": {"m": {".text": "f" * length}}},
}  # fmt: skip
NUMBERS: dict[str, Callable[[int], Any]] = {
    "errno": lambda number: {"errno": number},
    "exit": lambda number: {"exit": number},
    "level": lambda number: {"dmesg": [[number, ""]]},
    "size": lambda number: {"modules": [{**ROW, "size": number}]},
    "refcount": lambda number: {"modules": [{**ROW, "refcount": number}]},
    "enabled": lambda number: {"livepatch": {"p": {"enabled": number, "transition": 0, "objects": {}}}},
    "patched": lambda number: {"livepatch": {"p": {"enabled": 1, "transition": 0, "objects": {"o": {"patched": number}}}}},
    "num_stubs": lambda number: {"stubs": {"m": {**STUBS, "num_stubs": number}}},
    "index": lambda number: {"stubs": {"m": {**STUBS, "entries": [{"index": number, "funcdata": "1", "symbol": ""}]}}},
    "max_entries": lambda number: {"stubs": {"m": {"max_entries": number, "entries": []}}},
}  # fmt: skip
HEADS: dict[str, Callable[[int], Any]] = {
    "scenario": lambda length: {"scenario": "x" * length},
    "steps": lambda length: {"steps": [0] * length},
    "config": lambda length: {"config": ["x"] * length},
    "files": lambda length: {"files": _table(None)(length)},
    "init_errno": lambda length: {"init_errno": _table(-1)(length)},
    "vmlinux": lambda length: {"vmlinux": _table(ADDRESS)(length)},
    "cmdline": lambda length: {"kernel": {"cmdline": "x" * length}},
    "release": lambda length: {"kernel": {"release": "6.1" + "x" * length}},
    "major": lambda length: {"kernel": {"release": "6" * length + ".1"}},
    "minor": lambda length: {"kernel": {"release": "6." + "1" * length}},
    "an init_errno": lambda number: {"init_errno": {"x": number}},
}


def recordings() -> Iterator[str]:
    """What a step and a head of a recording may hold at most, and what is said of one more."""
    step = lambda more: STEP({"command": "boot", "errno": 0, "dmesg": [], **more})
    head = lambda more: HEAD({"scenario": "x", "kernel": {}, "steps": [], **more})
    for name, text in TEXTS.items():
        most = _most(lambda length, text=text: step(text("x" * length)))
        yield f"{name}: {most}; {_shown(lambda text=text: step(text(chr(27) + chr(9) + chr(10) + 'é$')))}"
    for name, of_length in LISTS.items():
        yield f"{name}: {_most(lambda length, of_length=of_length: step(of_length(length)))}"
    for name, of_number in NUMBERS.items():
        yield f"{name}: {_most(lambda number, of_number=of_number: step(of_number(number)))}"
        yield f"{name}: down to {_most(lambda number, of_number=of_number: step(of_number(-number)))}"
    for name, of_head in HEADS.items():
        yield f"{name}: {_most(lambda length, of_head=of_head: head(of_head(length)))}"
    for value in (None, True, 1, 1.5, "1", "0x1g", "", [], {}):
        yield f"{value!r}: {'; '.join(_shown(lambda key=key, value=value: step({key: value})) for key in step({}) | NOT_SEEN)}"


NOT_SEEN = dict.fromkeys(
    ("quiet", "oops", "exit", "out", "label", "modules", "livepatch", "sections", "sites", "stubs")
)


def _most(check: Callable[[int], Any]) -> str:
    """The greatest number that passes, and what is said of the next."""
    least = next((number for number in (0, 1, 2) if _passes(check, number)), None)
    if least is None:
        return f"nothing, {_shown(lambda: check(1))}"
    most, beyond = least, next((1 << power for power in range(2, 34) if not _passes(check, 1 << power)), 1 << 34)
    while beyond - most > 1:
        middle = (most + beyond) // 2
        most, beyond = (middle, beyond) if _passes(check, middle) else (most, middle)
    return f"{least} to {most}, then {_shown(lambda: check(beyond))}"


def _passes(check: Callable[[int], Any], number: int) -> bool:
    try:
        check(number)
    except KlpteachError:
        return False
    return True


def _shown(action: Callable[[], Any]) -> str:
    try:
        return short(repr(action()).encode())
    except KlpteachError as error:
        return str(error)[-60:]


def comparisons() -> Iterator[str]:
    """One recording of a real kernel in four, held against the next one, which is of another story or kernel."""
    for folder in sorted(path for path in RECORDINGS.iterdir() if path.is_dir()):
        for one, other in list(pairwise(sorted(folder.glob("*.json"))))[::4]:
            found = Recording.load(one).compare(Recording.load(other))
            yield f"{folder.name} {one.stem}: {len(found)} {short(chr(10).join(map(str, found)).encode())}"


# -- the kernel's library ---------------------------------------------------------------------------------------------------


def library() -> Iterator[str]:
    """sort(), the numbers of parameters, errnos, and the lowest hole."""
    for double, length in product((False, True), range(14)):
        orders = [
            [(number * step + length) % most for number in range(length)]
            for step in (1, 3, 5, 7, 11)
            for most in (2, 3, 17)
        ]
        yield f"sort {length} {double}: {short(repr([heapsort(keys, double) for keys in orders]).encode())}"
    limits = [
        sign * (1 << bits) + near for bits in (7, 8, 15, 16, 31, 32, 63, 64) for sign in (-1, 1) for near in (-1, 0, 1)
    ]
    written = [
        "",
        "0",
        "-0",
        "+1",
        "-+1",
        "+-1",
        "1 ",
        " 1",
        "1\n",
        "1\n\n",
        "x",
        "0x",
        "0xfF",
        "0XA",
        "08",
        "017",
        "-0x10",
        "1e3",
    ]
    for kind in (
        "byte",
        "short",
        "ushort",
        "int",
        "uint",
        "hexint",
        "long",
        "ulong",
        "ullong",
        "bool",
        "invbool",
        "charp",
    ):
        values = [None, *written, *map(str, limits), *map(hex, limits)]
        yield f"{kind}: {short(repr([_param(kind, value) for value in values]).encode())} {[_param(kind, one) for one in written]}"
    words = [
        "",
        "1",
        "0",
        "y",
        "Y",
        "n",
        "N",
        "t",
        "T",
        "f",
        "on",
        "ON",
        "off",
        "of",
        "o",
        "ox",
        "2",
        "yes",
        "no",
        "false",
    ]
    yield f"kstrtobool: {[kstrtobool(word) for word in words]}"
    for number in range(136):
        yield f"{-number}: {errno_name(-number)}, {strerror(-number)}"
    for block, far in product((0, 1 << 16), (None, 1 << 19)):
        yield f"memory {block:#x} {far}: {' '.join(_memory(block, far))}"


def _param(kind: str, value: str | None) -> str | int:
    try:
        return param_set(kind, value)
    except Refused as refused:
        return refused.errno


def _memory(block: int, far: int | None) -> Iterator[str]:
    space = AddressSpace(1 << 20, (1 << 20) + (1 << 18), block=block, far=far)
    for number, size in enumerate(
        (1, 0xFFF, 0x1000, 0x1001, 0x8000, 0x10000, 0x10001, 0x7000, 0x20000, 0x1000, 0x30000)
    ):
        try:
            region = space.alloc(size, "m", ("text", "data", "init_text")[number % 3])
            yield f"{region.start:#x}-{region.end:#x}"
        except Refused as refused:
            yield errno_name(refused.errno)
        if number % 4 == 3:
            space.free(space.regions[len(space.regions) // 2])
