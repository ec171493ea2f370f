"""The lines of the module loaders of arm64 and s390 (arch/*/kernel/module.c), which begin with "module NAME:"."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from elftools.elf.enums import ENUM_RELOC_TYPE_AARCH64, ENUM_RELOC_TYPE_S390X, ENUM_RELOC_TYPE_x64

from .case import Case
from .row import Row, likely, possible

_ARM64, _S390 = "arch/arm64/kernel/module.c", "arch/s390/kernel/module.c"
_NOEXEC = "The load is refused with ENOEXEC (-8)."


def _by_number(types: Mapping[str, int]) -> dict[int, str]:
    return {number: name for name, number in types.items() if not name.startswith("_")}


_TYPES = {
    "arm64": _by_number(ENUM_RELOC_TYPE_AARCH64),
    "s390": _by_number(ENUM_RELOC_TYPE_S390X),
    "x86_64": _by_number(ENUM_RELOC_TYPE_x64),
}


def elsewhere(number: int) -> str:
    """The architectures whose toolchains know a relocation type, and its names there.

    >>> elsewhere(283)
    'R_AARCH64_CALL26 on arm64'
    """
    return ", ".join(f"{types[number]} on {arch}" for arch, types in _TYPES.items() if number in types)


def not_of_x86(number: int) -> str:
    """A sentence where a type in a line without a module's name cannot be one of x86; else nothing."""
    if number in _TYPES["x86_64"]:
        return ""
    names = elsewhere(number) or "a type that klpteach does not know"
    return f"Type {number} is none of x86: it is {names}, so this line is not of x86, though x86 prints one like it."


def _arm64(case: Case) -> Iterator[str]:
    yield _named(case, "arm64")


def _s390(case: Case) -> Iterator[str]:
    yield _named(case, "s390")


def _named(case: Case, arch: str) -> str:
    name = _TYPES[arch].get(int(case["type"]))
    return f"On {arch} type {case['type']} is {name}." if name else f"{arch} has no type {case['type']}."


def _anywhere(case: Case) -> Iterator[str]:
    names = elsewhere(int(case["type"]))
    yield f"The line does not say on which machine: type {case['type']} is {names or 'not known to klpteach'}."


def _arm64_got(case: Case) -> Iterator[str]:
    yield from _arm64(case)
    if int(case["type"]) in (311, 312):
        yield "Likely: it was built with -fPIC or -fPIE, so it looks for addresses in a GOT; the loader of arm64 fills none in."
    elif int(case["type"]) == 275:
        yield "Likely: an old kernel with CONFIG_ARM64_ERRATUM_843419 (4.4, say), which takes no ADRP in a module; later ones do."
    else:
        yield "Likely: it was built by another compiler, or with other flags, than the kernel's own modules."


ROWS = (
    Row(
        "ARM64_OVERFLOW",
        _ARM64,
        "module {module}: overflow in relocation type {type} val {val}",
        "arm64: in {module} the value {val} does not fit into the field of relocation type {type}. " + _NOEXEC,
        (
            likely("what it refers to is too far away: a branch reaches 128 MiB, ADRP 4 GiB, a 32-bit distance 2 GiB."),
            possible("a livepatch's symbol was resolved to something outside the kernel and its modules."),
        ),
        "Rebuild it with the headers, .config and compiler of the kernel that runs; look whether CONFIG_RANDOMIZE_MODULE_REGION_FULL "
        "puts modules far from the kernel.",
        by=_arm64,
    ),
    Row(
        "ARM64_UNSUPPORTED",
        _ARM64,
        "module {module}: unsupported RELA relocation: {type}",
        "arm64: {module} has a relocation of type {type}, which the loader of arm64 does not know. " + _NOEXEC,
        by=_arm64_got,
    ),
    Row(
        "ARM64_NO_PLT",
        "arch/arm64/kernel/module-plts.c",
        "{module}: module PLT section(s) missing",
        "arm64: {module} has no section .plt or no .init.plt, where the loader makes entries for calls that reach too far. "
        + _NOEXEC,
        (likely("it was linked without the kernel's scripts/module.lds, which makes both."),),
        "Build it with the kernel's own make, as a module outside the tree is built.",
    ),
    Row(
        "S390_UNKNOWN",
        _S390,
        "module {module}: unknown relocation: {type}",
        "s390: {module} has a relocation of type {type}, which the loader of s390 does not know (microblaze and others print the same "
        "line). " + _NOEXEC,
        (
            likely("the file was damaged, or built by a toolchain that is newer than the kernel expects."),
            possible("the module is for another machine."),
        ),
        by=_s390,
    ),
    Row(
        "S390_ERROR",
        _S390,
        "module {module}: relocation error for symbol {name} (r_type {type}, value {address})",
        "s390: in {module} the value {address} for {name} does not fit into relocation type {type}, or is odd where a branch wants even. "
        + _NOEXEC,
        (likely("{name} is too far away: most branches of s390 reach 4 GiB, the short ones 64 KiB."),),
        by=_s390,
    ),
    Row(
        "TYPE_NOT_SUPPORTED",
        "a module loader or a tool: no kernel/module.c that klpteach knows",
        "Relocation type {type} not supported",
        "Something has a relocation of type {type}, and what was to write it does not know how.",
        by=_anywhere,
    ),
)
