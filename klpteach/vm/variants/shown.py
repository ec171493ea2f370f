"""A proposal's patch as a reader sees it: the lines that are ours, the function each piece stands in, how much goes."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from functools import lru_cache

from ...errors import PolicyError, one_of, quoted
from ...files.samples import data_dir
from . import VARIANTS
from .edit import Edit, counted, edited

FILE = "patches.csv"
_CALLED = {"tolerate-r2": "tolerate", "reuse-stub": "reuse"}  # and on ppc64le clear-relocations: clear


@dataclass(frozen=True)
class Piece:
    """One place: the file, the function ("" between functions), our lines, and whether some of the kernel's go for them."""

    path: str
    function: str
    lines: tuple[str, ...]
    takes: bool


@dataclass(frozen=True)
class Size:
    """What a patch comes to, counted by diff, blank lines aside: a row of data/patches.csv."""

    arch: str
    release: str
    variant: str
    files: int
    functions: int
    added: int
    removed: int


@dataclass(frozen=True, repr=False)
class Patch:
    """A proposal as code: its pieces in order, and its size."""

    proposal: str
    pieces: tuple[Piece, ...]
    size: Size

    def __str__(self) -> str:
        size = self.size
        yours = f"{self.proposal} on {size.arch} {size.release}: {size.added} lines come, {size.removed} go, in {size.files} "
        return "\n".join([yours + ("file" if size.files == 1 else "files"), *self._text()])

    __repr__ = __str__  # what a notebook shows

    def _text(self) -> Iterator[str]:
        for piece in self.pieces:
            where = f"{piece.path}, {piece.function}()" if piece.function else piece.path
            yield f"\n{where}" + (":" if piece.lines else ": lines go")
            yield from piece.lines


def patch_of(proposal: str, release: str = "6.1", arch: str = "x86_64") -> Patch:
    """The patch that was built, booted and recorded for a proposal (or a mix with +). Errors: PolicyError where there is none.

    >>> patch = patch_of("deny-removal")
    >>> patch.size.added, patch.size.removed, patch.pieces[1].function
    (18, 8, 'klp_find_object_module')
    """
    variants = VARIANTS[one_of(arch, VARIANTS, "architecture", PolicyError)]
    one_of(release, dict.fromkeys(known for known, _ in variants), "release", PolicyError)
    called = {**_CALLED, "clear-relocations": "clear"} if arch == "ppc64le" else _CALLED
    variant = "+".join(called.get(name, name) for name in proposal.split("+")) if isinstance(proposal, str) else ""
    edits = variants.get((release, variant), ())
    if not edits:
        known = ", ".join(name for known, name in variants if known == release)
        raise PolicyError(f"no kernel {release} for {arch} was built with {quoted(proposal)}; there are {known}.")
    size = next(one for one in sizes() if (one.arch, one.release, one.variant) == (arch, release, variant))
    return Patch(proposal, tuple(map(_piece, edits)), size)


def _piece(edit: Edit) -> Piece:
    function = "" if edit.keeps == "before" and not edit.anchor else edit.function.replace("SYSCALL_DEFINE2(", "sys_")
    lines = tuple(line.expandtabs(8).rstrip() for line in edit.text.strip("\n").split("\n") if line.strip())
    return Piece(edit.path, function, lines, takes=not edit.keeps)


# -- data/patches.csv -----------------------------------------------------------------------------------------------------


@lru_cache
def sizes() -> tuple[Size, ...]:
    """The sizes counted last. Errors: OSError."""
    with (data_dir() / FILE).open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return tuple(map(_size, rows))


def _size(row: Mapping[str, str]) -> Size:
    files, functions, added, removed = (int(row[key]) for key in ("files", "functions", "added", "removed"))
    return Size(row["arch"], row["release"], row["variant"], files, functions, added, removed)


def size_of(arch: str, release: str, variant: str) -> Size:
    """Counted anew, from the edits and the source in the cache. Errors: HostError, OSError without the source."""
    from ..build import source_folder

    edits, tree = VARIANTS[arch][release, variant], source_folder(release)
    texts = edited(tree, edits)
    functions = {(edit.path, edit.function) for edit in edits if edit.function and (edit.anchor or not edit.keeps)}
    return Size(arch, release, variant, len(texts), len(functions), *counted(tree, texts))


def to_csv() -> str:
    """data/patches.csv anew, a line a kernel that has a proposal in it. Errors: as size_of()."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([f.name for f in fields(Size)])
    for arch, variants in VARIANTS.items():
        writer.writerows(asdict(size_of(arch, *key)).values() for key, edits in variants.items() if edits)
    return out.getvalue()
