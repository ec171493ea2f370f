"""What the lines of ppc64le say (arch/powerpc/kernel/module_64.c), for klpteach.reading.dmesg."""

from __future__ import annotations

from collections.abc import Callable, Mapping

_RESTORE_R2 = "e8410018"  # ld r2,24(r1)


def expected_nop(fields: Mapping[str, str], call_before: Callable[[str, str, int], str]) -> list[str]:
    """Sentences about the line of restore_r2(). call_before(module, function, offset) names the call's relocation, or "".

    >>> line = {"module": "lp", "insn": "e8410018", "where": "e_show+0x60/0x548 [lp]"}
    >>> expected_nop(line, lambda *_: "")[2]
    'The word is at e_show+0x60; the call stands four bytes before it, at e_show+0x5c.'
    """
    insn, restored = fields["insn"], fields["insn"] == _RESTORE_R2
    lines = [
        "A call out of a module may change r2, so the kernel writes ld r2,24(r1) over the nop (60000000) after it, to restore it. "
        f"Here it wanted that nop and found {insn}.",
        f"{_RESTORE_R2} is ld r2,24(r1) itself: an earlier load of the target wrote it, and nobody took it back."
        if restored
        else f"{insn} is not the restore either: the compiler left no nop after this call, so nothing can be written there.",
        *_place(fields, call_before),
        "The call named is the first of the sorted relocations, which need not be the first in the code.",
    ]
    if restored:
        lines.append(
            "Proposals that change it: tolerate-r2 (taken in 6.3, 37251c7114e1), reuse-stub, clear-relocations, "
            "deny-removal and hard-dependencies."
        )
    return lines


def _place(fields: Mapping[str, str], call_before: Callable[[str, str, int], str]) -> list[str]:
    function, _, rest = fields["where"].partition("+")
    if not rest:
        return []
    offset = int(rest.partition("/")[0], 16)
    where = (
        f"The word is at {function}+{offset:#x}; the call stands four bytes before it, at {function}+{offset - 4:#x}."
    )
    known = call_before(fields["module"], function, offset)
    return [where, *([f"Its relocation: {known}."] if known else [])]


PPC64LE: Mapping[str, tuple[str, ...]] = {
    "STUB_WARNING": (
        "stub_for_addr() found no free slot in a module's .stubs: each call to a new address takes one, and none is ever "
        "given back. The load that needed it is refused with ENOENT (-2).",
        "It comes after reloads at other addresses; at the same address the old stub is found again. A livepatch that is "
        "disabled, removed and loaded again begins with a fresh table.",
        "The bound is tested only while the table is searched, so one stub may already stand past its end.",
        "The proposal reuse-stub lets a call keep its own slot.",
    ),
    "NO_STUBS": ("{module} has no .stubs section. Every ppc64le module needs one; the module linker script makes it.",),
    "STUB_RANGE": ("A stub of {module} is more than 2 GiB away from its TOC pointer, so it cannot be addressed.",),
    "REL24_RANGE": ("A branch in {module} would have to go {offset} bytes; it reaches 32 MiB either way.",),
    "REL32_RANGE": ("A 32-bit distance in {module} would have to be {offset}, which does not fit.",),
    "BAD_TOC16": ("{module} wants 0x{val} from its TOC pointer in 16 signed bits, which does not fit.",),
    "BAD_TOC16_DS": ("{module} wants 0x{val} from its TOC pointer in 16 signed bits and a multiple of 4; it is not.",),
    "BAD_TOC16_LO_DS": ("{module} wants 0x{val} from its TOC pointer, and a multiple of 4; it is not.",),
    "UNKNOWN_ADD": ("{module} has a relocation of type {type}, which the ppc64le kernel does not know.",),
    "CANNOT_CLEAR": (
        "The proposal clear-relocations cannot tell what the bytes of type {type} were before, so {module} keeps them.",
    ),
    "DATA_ACCESS": (
        "The kernel wanted to {what} at 0x{address}, where no page is mapped, or none that it may write. What ran is "
        "killed, and the locks it held stay held.",
        "If the trace names stub_for_addr, it searched a full table of stubs beyond its end, with klp_mutex held: from now "
        "on no module can be loaded and no livepatch disabled.",
    ),
}
