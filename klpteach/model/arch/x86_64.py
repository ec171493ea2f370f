"""Relocation types of x86_64 that the kernel accepts, and how it writes and clears them (arch/x86/kernel/module.c)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...files.elf_h import EM_X86_64
from .. import messages
from ..errno import ENOEXEC, Refused
from ..policy import Behaviour
from .base import MASK64, Arch, Array, Log

if TYPE_CHECKING:
    from ..image import Image

VECTOR_FROM = 64  # entries; below, the plain loop is faster than numpy


def fits_unsigned32(value: int) -> bool:
    """Zero-extended from 32 bits it is still the same 64-bit number."""
    return value == value & 0xFFFFFFFF


def fits_signed32(value: int) -> bool:
    """Sign-extended from 32 bits it is still the same 64-bit number."""
    return value < 0x80000000 or value >= 0xFFFFFFFF80000000


@dataclass(frozen=True, slots=True)
class Howto:
    """How one relocation type turns S (symbol), A (addend) and P (place) into `width` little-endian bytes.

    relative says whether P is subtracted; fits is the kernel's overflow rule, None where it has none.
    Source: __apply_relocate_add(); the numbers are the psABI's.

    >>> HOWTO[2].name, hex(HOWTO[2].value(S=0x1000, A=-4, P=0x2000))
    ('R_X86_64_PC32', '0xffffffffffffeffc')
    """

    name: str
    width: int
    relative: bool = False
    fits: Callable[[int], bool] | None = None

    def value(self, S: int, A: int, P: int) -> int:
        return (S + A - (P if self.relative else 0)) & MASK64


HOWTO = {
    0: Howto("R_X86_64_NONE", 0),
    1: Howto("R_X86_64_64", 8),
    2: Howto(
        "R_X86_64_PC32", 4, relative=True
    ),  # no overflow test: compiled out up to 6.2, gone since bbb93362a445 (6.3)
    4: Howto("R_X86_64_PLT32", 4, relative=True),  # a module is linked without a PLT, so this is PC32
    10: Howto("R_X86_64_32", 4, fits=fits_unsigned32),
    11: Howto("R_X86_64_32S", 4, fits=fits_signed32),
    24: Howto("R_X86_64_PC64", 8, relative=True),
}


def apply_relocate_add(
    rela: Array, target: Array, place: int, symbols: Array, name: str, rules: Behaviour, log: Log
) -> None:
    """Write one relocation section: rela (n, RELA) into target (bytes, uint8), which stands at address `place`.

    symbols holds the address of every symbol (uint64), name is the module's, for messages. Errors: Refused(-ENOEXEC)
    at the first bad entry; what was written before it stays written, as in the kernel.
    Source: apply_relocate_add(); the order of the checks changed with bbb93362a445 (6.3).
    """
    if len(rela) >= VECTOR_FROM and _apply_vectorised(rela, target, place, symbols, rules):
        return
    memory = memoryview(target)  # type: ignore[arg-type]
    for offset, kind, symbol, addend in rela.tolist():
        howto = _howto(kind, name, log)
        if not howto.width:
            continue
        loc, address = place + offset, symbols.item(symbol)
        value = howto.value(address, addend, loc)
        site = memory[offset : offset + howto.width]
        if rules.overflow_first:  # 6.3 and later
            _check_overflow(howto, kind, value, name, log)
            _check_zero(site, kind, loc, value, rules, log)
            _write(site, value)
        else:  # up to 6.2: val is still S + A when the check complains
            _check_zero(site, kind, loc, (address + addend) & MASK64, rules, log)
            _write(site, value)
            _check_overflow(howto, kind, value, name, log)


def clear_relocate_add(
    rela: Array, target: Array, place: int, symbols: Array, name: str, rules: Behaviour, log: Log
) -> None:
    """Undo one relocation section: write zeros where apply_relocate_add() wrote values.

    "checked" (0c05e7bd2d01, 6.3): only where the bytes are still what was written; a stranger's bytes stop it with a
    warning, and what follows in this section stays written. "unchecked" (the RFC of 2019): zeros, whatever is there.
    """
    memory = memoryview(target)  # type: ignore[arg-type]
    for offset, kind, symbol, addend in rela.tolist():
        howto = HOWTO.get(kind)
        if howto is None and rules.clear == "unchecked":
            continue
        howto = howto or _howto(kind, name, log)
        if not howto.width:
            continue
        site = memory[offset : offset + howto.width]
        value = howto.value(symbols.item(symbol), addend, place + offset)
        if rules.clear == "checked":
            _check_overflow(howto, kind, value, name, log)
            if site != value.to_bytes(8, "little")[: howto.width]:
                log(messages.MISMATCH(type=kind, loc=messages.Pointer(place + offset), val=value))
                raise Refused(ENOEXEC)
        site[:] = bytes(howto.width)


def _howto(kind: int, name: str, log: Log) -> Howto:
    if kind not in HOWTO:
        log(messages.UNKNOWN_RELA(module=name, type=kind))
        raise Refused(ENOEXEC)
    return HOWTO[kind]


def _check_zero(site: memoryview, kind: int, loc: int, val: int, rules: Behaviour, log: Log) -> None:
    """The check of eda9cec4c9a1: a relocation's place holds zeros in the file, so anything else is a corrupt module, or
    what the last load left there."""
    if rules.check_zero and any(site):
        log(rules.nonzero(type=kind, loc=messages.Pointer(loc), val=val))
        raise Refused(ENOEXEC)


def _check_overflow(howto: Howto, kind: int, value: int, name: str, log: Log) -> None:
    if howto.fits and not howto.fits(value):
        log(messages.OVERFLOW(type=kind, val=value))
        log(messages.NOT_MCMODEL(module=name))
        raise Refused(ENOEXEC)


def _write(site: memoryview, value: int) -> None:
    site[:] = value.to_bytes(8, "little")[: len(site)]


# -- many relocations at once ---------------------------------------------------------------------------------------------

_WIDTH = np.full(256, -1, "i1")
_RELATIVE = np.zeros(256, bool)
for _number, _row in HOWTO.items():
    _WIDTH[_number], _RELATIVE[_number] = _row.width, _row.relative


def _apply_vectorised(rela: Array, target: Array, place: int, symbols: Array, rules: Behaviour) -> bool:
    """Apply the whole section if nothing in it can fail; else touch nothing and leave it to the loop, which knows the
    kernel's exact error, its order and what is written by then."""
    kinds, offset = rela["type"], rela["offset"]
    if int(kinds.max()) > 255:
        return False
    width = _WIDTH[kinds]
    if (width < 0).any() or _overlap(offset, width):
        return False
    value = symbols[rela["sym"]] + rela["addend"].view("u8")
    value -= np.where(_RELATIVE[kinds], offset + np.uint64(place), np.uint64(0))
    rows = [(howto, np.flatnonzero(kinds == number)) for number, howto in HOWTO.items() if howto.width]
    if any(not _all_fit(howto, value[at]) for howto, at in rows):
        return False
    if rules.check_zero and any(_view(target, howto.width)[offset[at]].any() for howto, at in rows if len(at)):
        return False
    for howto, at in rows:
        if len(at):
            _view(target, howto.width)[offset[at]] = value[at].astype(f"<u{howto.width}")
    return True


def _overlap(offset: Array, width: Array) -> bool:
    """Whether two entries might touch the same bytes, or are not in ascending order: then order matters."""
    return bool((offset[1:] < offset[:-1] + width[:-1].astype("u8")).any())


def _all_fit(howto: Howto, value: Array) -> bool:
    if howto.fits is None:
        return True
    extended = (
        value.astype("<u4").astype("u8")
        if howto.fits is fits_unsigned32
        else value.astype("<i4").astype("i8").view("u8")
    )
    return bool((extended == value).all())


def _view(target: Array, width: int) -> Array:
    """Every position of target as an unaligned little-endian number: view[offset] is the `width` bytes from offset."""
    return np.ndarray((max(len(target) - width + 1, 0),), f"<u{width}", target, 0, (1,))


class X86_64(Arch):
    """x86_64: one kind of memory access for everything, so the hooks only find the bytes."""

    name, machine = "x86_64", EM_X86_64
    page = 0x1000
    relocation_types = HOWTO
    # MODULES_VADDR with CONFIG_RANDOMIZE_BASE is 0xffffffffc0000000; the kernel takes the first 2 MiB and a page (nokaslr).
    module_area, modules_start, modules_end = 0xFFFFFFFFC0000000, 0xFFFFFFFFC0201000, 0xFFFFFFFFFF000000
    kernel_text, temporary_image = 0xFFFFFFFF81000000, 0xFFFFC90000200000
    config = ("MODULE_SIG", "STRICT_MODULE_RWX", "RANDOMIZE_BASE")

    def apply_relocate_add(self, image: Image, index: int, name: str, rules: Behaviour, log: Log) -> None:
        target = int(image.file.shdrs["info"][index])
        place = image.address[target]
        apply_relocate_add(image.file.rela(index), image.bytes_of(target), place, image.symbols, name, rules, log)

    def clear_relocate_add(self, image: Image, index: int, name: str, rules: Behaviour, log: Log) -> None:
        target = int(image.file.shdrs["info"][index])
        place = image.address[target]
        clear_relocate_add(image.file.rela(index), image.bytes_of(target), place, image.symbols, name, rules, log)
