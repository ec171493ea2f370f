"""The lines of arch/x86/kernel/module.c and arch/powerpc/kernel/module_64.c, from 4.4 to 7.3."""

from __future__ import annotations

from collections.abc import Iterator

from ...files.elf_h import EM_X86_64
from ...files.relocation_types import HOWTO_X86_64, MASK64
from ...model.step import hexa
from .case import Case, call_before, named_relocations, of_type, relocation_at
from .others import not_of_x86
from .row import Found, Row, likely

_X86, _PPC = "arch/x86/kernel/module.c", "arch/powerpc/kernel/module_64.c"
_RESTORE_R2 = "e8410018"  # ld r2,24(r1)
_R_X86_64_64 = 1

# -- x86_64: the bytes were not zero --------------------------------------------------------------------------------------


def _nonzero(case: Case) -> Iterator[str]:
    yield _type_says(case)
    livepatch = case.directly_after("INIT_FAILED")
    yield from _whose(case, livepatch)
    yield _pointer(case)
    yield _value(case)
    yield from _relocations(case, livepatch)
    if livepatch or int(case["type"]) != _R_X86_64_64:
        yield (
            "Proposals that change it for a livepatch: remove-check (overwrite), clear-relocations and clear-checked (zeros when the "
            "target goes), deny-removal and hard-dependencies (the target cannot go)."
        )


def _whose(case: Case, livepatch: Found | None) -> Iterator[str]:
    """The causes, most likely first: a livepatch's line is followed by klp_module_coming()'s, an ordinary module's by none."""
    if livepatch:
        yield (
            f"Certain: a livepatch relocation of {livepatch.fields['patch']} for {livepatch.fields['module']}, as line "
            f"{livepatch.number} says. An earlier load of {livepatch.fields['module']} wrote here, and nobody took it back."
        )
        if case.found.name != "NONZERO_SKIPPING":
            yield (
                "This kernel takes such bytes back when the target goes (6.3 and later), so the earlier load probably failed half-way "
                "(a callback or a later livepatch refused), or the taking back stopped at a foreign byte."
            )
        return
    ordinary = (
        "Likely: the module that was being loaded was built with other headers or another configuration than the running kernel, so "
        "its struct module has another layout (another kernel version, CONFIG_DEBUG_INFO_BTF_MODULES without pahole, another "
        "compiler): its .rela.gnu.linkonce.this_module writes where the loader has written already."
    )
    check = (
        "What to do: rebuild it with the headers, .config and compiler of the kernel that runs; compare the size of "
        ".gnu.linkonce.this_module (readelf -SW) and the offsets in .rela.gnu.linkonce.this_module with a module that loads."
    )
    stale = (
        '{} a livepatch relocation that an earlier load of its target left; then "livepatch: failed to initialize patch" follows, '
        "and it helps to disable the livepatch, remove it and load it again."
    )
    if int(case["type"]) == _R_X86_64_64:
        yield "No livepatch line follows, and type 1 in an ordinary module is mostly not a livepatch's."
        yield ordinary
        yield check
        yield stale.format("Possible:")
    elif any(found.row.source.startswith("kernel/") for found in case.log[case.at + 1 :]):
        yield "Likely: no livepatch line follows, so the bytes are those of the module that was being loaded itself: its file is damaged or was built for another kernel."
        yield stale.format("Possible:")
    else:
        yield stale.format("Likely:")
        yield "Possible: the file is damaged, or an ordinary module was built for another kernel."


def _type_says(case: Case) -> str:
    howto = HOWTO_X86_64.get(int(case["type"]))
    if not howto:
        return f"type {case['type']} is a type the kernel does not know."
    relative = ", relative to its place" if howto.relative else ""
    return f"type {case['type']} is {howto.name} ({howto.width} bytes{relative})."


def _pointer(case: Case) -> str:
    loc = case["loc"]
    if loc.startswith("("):
        return f"loc {loc} is a pointer printed before the kernel could hash it: it says nothing."
    if "sec" in case.fields:
        return f"loc {loc} is the place itself: since 6.19 this line prints it as a number, not as a pointer."
    if loc.startswith("00000000"):
        return f"loc {loc} is hashed (%p): it is the same for the same place within one boot, and no address."
    return f"loc {loc} is the place itself: this kernel does not hash pointers."


def _value(case: Case) -> str:
    howto, val, old = HOWTO_X86_64.get(int(case["type"])), int(case["val"], 16), case.found.name == "NONZERO_SKIPPING"
    relative = bool(howto and howto.relative)
    if not old:
        return f"val {case['val']} is the value to be written ({'S + A - P' if relative else 'S + A'}); not what was found there."
    if not relative:
        return f"val {case['val']} is S + A, the value to be written; not what was found there."
    return (
        f"val {case['val']} is S + A, the new value before the place is subtracted; not what was found there. "
        f"With the usual addend -4 the symbol is at {hexa((val + 4) & MASK64)}."
    )


def _relocations(case: Case, livepatch: Found | None) -> Iterator[str]:
    """The relocation behind a line, as near as the line and the files allow."""
    files = case.modules.livepatches()
    if livepatch:
        files = case.modules.named(livepatch.fields["patch"])
    if "sec" in case.fields:
        places = [
            (file, place)
            for file in files
            if (place := relocation_at(file, int(case["sec"]), int(case["idx"]), int(case["type"]))) is not None
        ]
        for file, (section, entry) in places[:3]:
            yield f"The relocation: {file.filename}, section {case['sec']} ({section}), entry {case['idx']}: {entry}."
        if not places:
            yield (
                f"sec {case['sec']} is a section of the module that was being relocated (a livepatch: of the livepatch's file), idx "
                f"{case['idx']} the entry in it, from 0: `readelf -SW` and `readelf -rW` of that file name it."
            )
        return
    module = livepatch.fields["module"] if livepatch else ""
    candidates = of_type(files, EM_X86_64, int(case["type"]), module)
    if candidates:
        which = f"for {module} of this type" if module else "of this type"
        yield f"Livepatch relocations {which}: {named_relocations(candidates)}."


def _mismatch(case: Case) -> Iterator[str]:
    yield _type_says(case)
    yield f"val {case['val']} is what should have been there."
    yield _pointer(case)
    livepatch = case.before("REVERTING")
    if "sec" in case.fields:
        yield from _relocations(case, livepatch)
    yield "Kernels since 6.3 print it (0c05e7bd2d01). clear-relocations, the RFC of 2019, would have written zeros without looking."


def _overflow(case: Case) -> Iterator[str]:
    if other := not_of_x86(int(case["type"])):
        yield other
        return
    yield from map(str, _OUT_OF_REACH)
    if "sec" in case.fields:
        yield from _relocations(case, case.directly_after("INIT_FAILED"))
    else:
        yield "Up to 6.2 the cut value has been written by then; since 6.3 the test comes first."


_NOT_ZERO = (
    "The kernel wanted to write a relocation and found bytes that were not zero. Its place is zero in the file, so something wrote "
    "there before; the load is refused with ENOEXEC (-8)."
)
_STRANGER = (
    "The target went, and the kernel wanted to put zeros back where it had written a relocation; but the bytes were no longer its own. "
    "It stops: this site and those after it in the same section stay written, so the next load of the target will be refused."
)
_OVERFLOW = (
    "A value does not fit into the field of relocation type {type}: {val}. The load is refused with ENOEXEC (-8)."
)
_OUT_OF_REACH = (
    likely("it refers to something outside the top 2 GiB: per-CPU data, user addresses, an undefined symbol."),
    likely("it was built without -mcmodel=kernel."),
)

# -- ppc64le --------------------------------------------------------------------------------------------------------------


def _expected_nop(case: Case) -> Iterator[str]:
    insn, restored = case["insn"], case["insn"] == _RESTORE_R2
    if restored:
        yield f"{_RESTORE_R2} is ld r2,24(r1) itself: an earlier load of the target wrote it, and nobody took it back."
    else:
        yield f"{insn} is not the restore either: the compiler left no nop after this call, so nothing can be written there."
    yield from _place(case)
    yield "The call named is the first of the sorted relocations, which need not be the first in the code."
    if restored:
        yield (
            "What to do: disable the livepatch, remove it and load it again. Kernels since 6.3 take the restore for right."
        )
        yield (
            "Proposals that change it: tolerate-r2 (taken in 6.3, 37251c7114e1), reuse-stub, clear-relocations, "
            "deny-removal and hard-dependencies."
        )


def _place(case: Case) -> Iterator[str]:
    function, _, rest = case.fields.get("where", "").partition("+")
    if not rest:
        return
    offset = int(rest.partition("/")[0], 16)
    yield f"The word is at {function}+{offset:#x}; the call stands four bytes before it, at {function}+{offset - 4:#x}."
    known = call_before(case.modules.named(case["module"]), function, offset)
    if known:
        yield f"Its relocation: {known}."


_NOP = (
    "A call out of a module may change r2, so the kernel writes ld r2,24(r1) over the nop (60000000) after it, to restore it. Here it "
    "wanted that nop and found {insn}."
)


def _ppc(name: str, text: str, happened: str, kernels: str = "") -> Row:
    return Row(name, _PPC, "{module}: " + text, happened, kernels=kernels, optional="module_64: ")


ROWS = (
    Row(
        "NONZERO_SKIPPING",
        _X86,
        "x86/modules: Skipping invalid relocation target, existing value is nonzero for type {type}, loc {loc}, val {val}",
        _NOT_ZERO,
        by=_nonzero,
        cure='"Skipping" is not what happens: the whole load is refused. 6.3 dropped the word.',
        kernels="4.15 to 6.2",
        optional="module: ",
    ),
    Row(
        "NONZERO",
        _X86,
        "x86/modules: Invalid relocation target, existing value is nonzero for type {type}, loc {loc}, val {val}",
        _NOT_ZERO,
        by=_nonzero,
        kernels="6.3 to 6.18",
        optional="module: ",
    ),
    Row(
        "NONZERO_619",
        _X86,
        "x86/modules: Invalid relocation target, existing value is nonzero for sec {sec}, idx {idx}, type {type}, loc {loc}, val {val}",
        _NOT_ZERO,
        by=_nonzero,
        kernels="6.19 and later",
        optional="module: ",
    ),
    Row(
        "MISMATCH",
        _X86,
        "x86/modules: Invalid relocation target, existing value does not match expected value for type {type}, loc {loc}, val {val}",
        _STRANGER,
        by=_mismatch,
        kernels="6.3 to 6.18",
        optional="module: ",
    ),
    Row(
        "MISMATCH_619",
        _X86,
        "x86/modules: Invalid relocation target, existing value does not match expected value for sec {sec}, idx {idx}, "
        "type {type}, loc {loc}, val {val}",
        _STRANGER,
        by=_mismatch,
        kernels="6.19 and later",
        optional="module: ",
    ),
    Row(
        "OVERFLOW_619",
        _X86,
        "overflow in relocation type {type} val {val} sec {sec} idx {idx}",
        _OVERFLOW,
        by=_overflow,
        kernels="6.19 and later",
        optional="module: ",
    ),
    Row(
        "OVERFLOW",
        _X86,
        "overflow in relocation type {type} val {val}",
        _OVERFLOW,
        by=_overflow,
        kernels="up to 6.18",
        optional="module: ",
    ),
    Row(
        "NOT_MCMODEL",
        _X86,
        "`{module}' likely not compiled with -mcmodel=kernel",
        "It follows an overflow: {module} may have been built for addresses below 2 GiB, while kernel modules live in the top 2 GiB "
        "(-mcmodel=kernel). It is the kernel's guess; the line before is the fact.",
        optional="module: ",
    ),
    Row(
        "UNKNOWN_RELA",
        _X86,
        "{module}: Unknown rela relocation: {type}",
        "{module} has a relocation of type {type}, which the kernel does not know. It accepts 0, 1, 2, 4, 10, 11 and 24. The load is "
        "refused with ENOEXEC (-8).",
        (
            likely(
                "built with -fPIC or -fPIE, or by a compiler that is newer than the kernel expects (types 9, 41, 42: GOTPCREL)."
            ),
        ),
        optional="module: ",
    ),
    Row(
        "UNKNOWN_REL32",
        _X86,
        "{module}: Unknown relocation: {type}",
        "{module} has a relocation of type {type}, which a 32-bit x86 kernel does not know.",
        optional="module: ",
    ),
    Row(
        "RELOCATE_DEBUG",
        _X86,
        "Applying relocate section {index} to {max}",
        "Relocation section {index} of the module is applied to section {max}; a debug line of a kernel built with it.",
    ),
    # -- ppc64le ------------------------------------------------------------------------------------------------------------
    _ppc(
        "NO_STUBS",
        "doesn't contain .stubs.",
        "{module} has no .stubs section. Every ppc64le module needs one; the module linker script makes it.",
    ),
    _ppc(
        "NO_TOC_OR_STUBS",
        "doesn't contain .toc or .stubs.",
        "{module} has no .stubs or .toc section. Every ppc64le module needs them; the module linker script makes them.",
        kernels="up to about 5.18",
    ),
    _ppc(
        "NO_GOT",
        "doesn't contain .mygot.",
        "{module} has no .mygot section, which a kernel with PC-relative code (Power10) needs.",
        kernels="6.8 and later",
    ),
    Row(
        "EXPECTED_NOP",
        _PPC,
        "{module}: Expected nop after call, got {insn} at {where}",
        _NOP,
        by=_expected_nop,
        kernels="4.16 and later",
        optional="module_64: ",
    ),
    Row(
        "EXPECTED_NOP_415",
        _PPC,
        "{module}: Expect noop after relocate, got {insn}",
        _NOP,
        by=_expected_nop,
        kernels="up to 4.15",
        optional="module_64: ",
    ),
    _ppc(
        "REL24_RANGE",
        "REL24 {offset} out of range!",
        "A branch in {module} would have to go {offset} bytes; it reaches 32 MiB either way.",
    ),
    _ppc(
        "REL32_RANGE",
        "REL32 {offset} out of range!",
        "A 32-bit distance in {module} would have to be {offset}, which does not fit.",
    ),
    _ppc(
        "REL34_RANGE",
        "REL34 {offset} out of range!",
        "A 34-bit distance in {module} would have to be {offset}, which does not fit.",
        kernels="6.8 and later",
    ),
    _ppc(
        "BAD_TOC16",
        "bad TOC16 relocation ({val})",
        "{module} wants {val} from its TOC pointer in 16 signed bits, which does not fit.",
    ),
    _ppc(
        "BAD_TOC16_DS",
        "bad TOC16_DS relocation ({val})",
        "{module} wants {val} from its TOC pointer in 16 signed bits and a multiple of 4; it is not.",
    ),
    _ppc(
        "BAD_TOC16_LO_DS",
        "bad TOC16_LO_DS relocation ({val})",
        "{module} wants {val} from its TOC pointer, and a multiple of 4; it is not.",
    ),
    _ppc(
        "UNKNOWN_ADD",
        "Unknown ADD relocation: {type}",
        "{module} has a relocation of type {type}, which the ppc64le kernel does not know.",
    ),
    _ppc(
        "STUB_RANGE",
        "Address {loc} of stub out of range of {toc}.",
        "A stub of {module} is more than 2 GiB away from its TOC pointer, so it cannot be addressed.",
    ),
    _ppc(
        "TOC_RANGE",
        "Address of {function} out of range of kernel_toc.",
        "{function} is more than 2 GiB away from the kernel's TOC, so a stub of {module} cannot reach it.",
    ),
    _ppc(
        "STUB_ALIGN",
        "Address of stub entry is not 8-byte aligned",
        "A stub of {module} lies at an odd place; the linker script is to blame.",
        kernels="6.8 and later",
    ),
    _ppc(
        "STUB_RANGE_34",
        "Address of {function} out of range of 34-bit relative address.",
        "A stub of {module} cannot reach {function} in 34 bits.",
        kernels="6.8 and later",
    ),
    _ppc(
        "STUB_NOT_IN",
        "stub {address} not in module {module_}",
        "ftrace followed a call of {module} to {address}, which is no stub of {module_}.",
    ),
    _ppc(
        "STUB_MAGIC_FAULT",
        "fault reading magic for stub {address} for {module_}",
        "ftrace could not read the stub at {address} of {module_}.",
    ),
    _ppc(
        "STUB_MAGIC",
        "bad magic for stub {address} for {module_}",
        "What ftrace found at {address} is no stub of {module_}: its memory was overwritten, or the call is not one through a stub.",
    ),
    _ppc(
        "STUB_DATA_FAULT",
        "fault reading funcdata for stub {address} for {module_}",
        "ftrace could not read where the stub at {address} of {module_} goes.",
    ),
    Row(
        "CANNOT_CLEAR",
        "no kernel: the proposal clear-relocations",
        "{module}: cannot clear relocation type {type}",
        "The proposal clear-relocations cannot tell what the bytes of type {type} were before, so {module} keeps them.",
        optional="module_64: ",
    ),
)
