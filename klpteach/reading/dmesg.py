"""What a dmesg line says: who printed it, what its numbers are, and which proposal would change it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import KlpteachError
from ..files.elf_h import EM_PPC64, EM_X86_64
from ..files.klp import livepatch_sections, sites
from ..files.module_file import ModuleFile
from ..files.relocation_types import HOWTO_X86_64, LD_TOC, MASK64, Howto
from ..files.samples import data_dir
from ..model import messages
from ..model.errno import errno_name
from ..model.step import hexa

_PREFIX = re.compile(
    r"^(?:<\d+>)?(?:\w{3}\s+\d+ [\d:]+ \S+ )?(?:kernel: )?\s*(?:\[\s*[\d.]+\]\s*)?(?:\[\s*[TC]\d+\]\s*)?"
)


Fields = dict[str, str]


@dataclass(frozen=True)
class Explanation:
    """One known line: the line without its time stamp, where it comes from, its fields, and sentences about it."""

    line: str
    message: str
    source: str
    fields: dict[str, str]
    says: tuple[str, ...]


def explain(text: str, ko: str | os.PathLike[str] | None = None) -> list[Explanation]:
    """Explain every line of a dmesg text that the model knows; the others are passed over.

    ko: a folder of .ko files (searched with its subfolders), to name the relocation behind a line.

    >>> explain("[ 12.3] livepatch: symbol 'nfsd_open' not found in symbol table")[0].message
    'NOT_FOUND'
    """
    return list(_explain(text.splitlines(), _Modules(ko)))


def _explain(lines: Iterable[str], modules: _Modules) -> Iterator[Explanation]:
    for raw in lines:
        line = _PREFIX.sub("", raw, count=1).rstrip()
        for name in [*_WORKED_OUT, *_SENTENCES]:
            message = messages.ALL[name]
            fields = message.match(line)
            if fields is not None:
                says = _WORKED_OUT[name](fields, modules) if name in _WORKED_OUT else _filled(_SENTENCES[name], fields)
                yield Explanation(line, name, message.source, fields, tuple(says))
                break


def _filled(sentences: str | tuple[str, ...], fields: Fields) -> Iterator[str]:
    for sentence in (sentences,) if isinstance(sentences, str) else sentences:
        yield sentence.format(**fields)


class _Modules:
    """The module files that may stand behind a line, read when they are first asked for; broken ones are passed over."""

    def __init__(self, folder: str | os.PathLike[str] | None) -> None:
        self.folder = data_dir() / "ko" if folder is None else folder

    def livepatches(self) -> Iterator[ModuleFile]:
        for path in sorted(Path(self.folder).rglob("*.ko*")):
            try:
                file = ModuleFile.open(path)
            except KlpteachError:
                continue
            if file.is_livepatch:
                yield file

    def of_type(self, kind: int) -> list[str]:
        """Livepatch relocations of a type of x86_64: "file: .text+0x17 -> symbol"."""
        return [
            f"{file.filename}: {site.key} → {site.symbol}"
            for file in self.livepatches()
            if file.machine == EM_X86_64
            for site in sites(file)
            if site.type == kind
        ][:4]

    def call_before(self, module: str, function: str, offset: int) -> str:
        """The relocation of the call that stands before function + offset, "file: .text+0xb0 -> symbol"; "" where none is."""
        for file in self.livepatches():
            if file.name != module or file.machine != EM_PPC64 or function not in file.symbol_names:
                continue
            row = file.symtab[file.symbol_names.index(function)]
            place = (int(row["shndx"]), int(row["value"]) + offset - 4)
            for site in sites(file):
                if (file.section_index(site.section), site.offset) == place:
                    return f"{file.filename}: {site.key} → {site.symbol}"
        return ""


# -- lines whose numbers mean something ------------------------------------------------------------------------------------


def _type_name(howto: Howto | None) -> str:
    if howto is None:
        return "a type the kernel does not know"
    return f"{howto.name} ({howto.width} bytes{', relative to its place' if howto.relative else ''})"


def _pointer(loc: str) -> str:
    if loc.startswith("("):
        return f"loc {loc} is a pointer printed before the kernel could hash it: it says nothing."
    if loc.startswith("00000000"):
        return f"loc {loc} is hashed (%p): it is the same for the same place within one boot, and no address."
    return f"loc {loc} is the place itself: this kernel does not hash pointers."


def _nonzero(fields: Fields, modules: _Modules) -> Iterator[str]:
    """The line of the report of 2019, as the kernel prints it since 6.3."""
    howto = HOWTO_X86_64.get(int(fields["type"]))
    formula = howto.formula if howto else "S + A"
    yield from _not_zero(fields, howto)
    yield f"val {fields['val']} is the value to be written ({formula}); not what was found there."
    yield from _who_changes_it(fields, modules)


def _nonzero_skipping(fields: Fields, modules: _Modules) -> Iterator[str]:
    """The same in its wording up to 6.2, when the check came before P was subtracted."""
    howto, val = HOWTO_X86_64.get(int(fields["type"])), fields["val"]
    yield from _not_zero(fields, howto)
    if howto and howto.relative:
        yield (
            f"val {val} is S + A, the new value before the place is subtracted; not what was found there. "
            f"With the usual addend -4 the symbol is at {hexa((int(val, 16) + 4) & MASK64)}."
        )
    else:
        yield f"val {val} is S + A, the value to be written; not what was found there."
    yield '"Skipping" is not what happens: the whole load is refused with ENOEXEC (-8). 6.3 dropped the word.'
    yield from _who_changes_it(fields, modules)


def _not_zero(fields: Fields, howto: Howto | None) -> Iterator[str]:
    yield (
        "The kernel wanted to write a relocation and found bytes that were not zero. A relocation's place is zero in the "
        "file, so either the file is corrupt, or an earlier load wrote here and nobody took it back."
    )
    yield f"type {fields['type']} is {_type_name(howto)}."
    yield _pointer(fields["loc"])


def _who_changes_it(fields: Fields, modules: _Modules) -> Iterator[str]:
    candidates = modules.of_type(int(fields["type"]))
    if candidates:
        yield "Livepatch relocations of this type: " + "; ".join(candidates) + "."
    yield (
        "Proposals that change it: remove-check (overwrite), clear-relocations and clear-checked (zeros when the target "
        "goes), deny-removal and hard-dependencies (the target cannot go)."
    )


def _mismatch(fields: Fields, modules: _Modules) -> Iterator[str]:
    yield (
        "The target went, and the kernel wanted to put zeros back where it had written a relocation; but the bytes were no "
        "longer its own. It stops: this site and those after it in the same section stay written, so the next load of the "
        "target will be refused."
    )
    kind = _type_name(HOWTO_X86_64.get(int(fields["type"])))
    yield f"type {fields['type']} is {kind}; val {fields['val']} is what should have been there."
    yield _pointer(fields["loc"])
    yield (
        "Kernels since 6.3 print it (0c05e7bd2d01). clear-relocations, the RFC of 2019, would have written zeros without "
        "looking."
    )


def _expected_nop(fields: Fields, modules: _Modules) -> Iterator[str]:
    """The line of restore_r2() on ppc64le, and the call's relocation where its file is at hand."""
    insn, restored = fields["insn"], int(fields["insn"], 16) == LD_TOC
    yield (
        "A call out of a module may change r2, so the kernel writes ld r2,24(r1) over the nop (60000000) after it, to "
        f"restore it. Here it wanted that nop and found {insn}."
    )
    if restored:
        yield f"{insn} is ld r2,24(r1) itself: an earlier load of the target wrote it, and nobody took it back."
    else:
        left = "the compiler left no nop after this call, so nothing can be written there"
        yield f"{insn} is not the restore either: {left}."
    function, _, rest = fields["where"].partition("+")
    if rest:
        offset = int(rest.partition("/")[0], 16)
        call = f"the call stands four bytes before it, at {function}+{offset - 4:#x}"
        yield f"The word is at {function}+{offset:#x}; {call}."
        known = modules.call_before(fields["module"], function, offset)
        if known:
            yield f"Its relocation: {known}."
    yield "The call named is the first of the sorted relocations, which need not be the first in the code."
    if restored:
        yield (
            "Proposals that change it: tolerate-r2 (taken in 6.3, 37251c7114e1), reuse-stub, clear-relocations, "
            "deny-removal and hard-dependencies."
        )


def _init_failed(fields: Fields, modules: _Modules) -> Iterator[str]:
    error = f"error {fields['err']} ({errno_name(int(fields['err']))})"
    yield (
        f"While {fields['module']} was loading, {fields['patch']} could not prepare for it: {error}. The line before says "
        "why."
    )
    yield "Printed by klp_module_coming(): the livepatch was loaded first, or has been there since an earlier load."


def _refusing(fields: Fields, modules: _Modules) -> Iterator[str]:
    module, patch = fields["module"], fields["patch"]
    yield (
        f"The load of {module} is undone because of {patch}; its init() never ran. The user sees "
        f'"could not insert \'{module}\': Exec format error" from modprobe, "Invalid module format" from insmod.'
    )
    file = next((file for file in modules.livepatches() if file.name == patch), None)
    count = sum(site.object == module for site in sites(file)) if file else 0
    if file and count:
        sections = len(livepatch_sections(file))
        yield f"{file.filename} has {count} relocations in {sections} sections that wait for it."
    yield f"It stays so until {patch} is disabled, removed and loaded again: then its bytes come fresh from the file."


_WORKED_OUT: Mapping[str, Callable[[Fields, _Modules], Iterator[str]]] = {
    "NONZERO_SKIPPING": _nonzero_skipping,
    "NONZERO": _nonzero,
    "NONZERO_619": _nonzero,
    "MISMATCH": _mismatch,
    "EXPECTED_NOP": _expected_nop,
    "INIT_FAILED": _init_failed,
    "REFUSING": _refusing,
}
# What is said of a line whatever its numbers are; more than one sentence as a tuple.
_SENTENCES: Mapping[str, str | tuple[str, ...]] = {
    "OVERFLOW": "A value does not fit into the 32 bits of relocation type {type}: {val}. Up to 6.2 the cut value has "
        "been written by then; since 6.3 the test comes first.",
    "NOT_MCMODEL": "{module} was built for addresses below 2 GiB; kernel modules live in the top 2 GiB "
        "(-mcmodel=kernel).",
    "UNKNOWN_RELA": "{module} has a relocation of type {type}, which the kernel does not know. It accepts 0, 1, 2, 4, "
        "10, 11 and 24.",
    "UNKNOWN_SYMBOL": "{module} needs {name}, which neither the kernel nor a loaded module exports (error {err}). "
        "insmod does not look for dependencies; modprobe does.",
    "OUT_OF_TREE": "{module} was not built with the kernel. Said once a boot, harmless.",
    "TAINT_LIVEPATCH": "{module} is a livepatch. Said for the first one after a boot only.",
    "UNSIGNED": "{module} has no valid signature. Said once a boot; it loads all the same.",
    "BAD_SECTION_INDEX": "{module} has a symbol ({name}) in section {index}, and only sections up to {max}: the file "
        "is damaged, or a tool did not know SHN_LIVEPATCH.",
    "NOT_MARKED": "A livepatch section uses {name}, which is not an SHN_LIVEPATCH symbol. The tool that built it is to "
        "blame.",
    "BAD_SYMBOL_NAME": "{name} is not of the form .klp.sym.OBJECT.NAME,POSITION.",
    "BAD_SECTION_NAME": "{name} is not of the form .klp.rela.OBJECT.SECTION.",
    "VMLINUX_SYMBOL": "A section that waits for a module wants {name} of vmlinux. Since 5.8 such a relocation must be "
        "an ordinary one.",
    "NOT_FOUND": "The object has no symbol {name}: another build of the module, or a wrong name.",
    "AMBIGUOUS": "{object} has more than one {name}, and position 0 says that it is unique. Give the position: 1, 2, …",
    "NO_SUCH_POSITION": "{object} has fewer than {pos} symbols named {name}.",
    "NOT_A_LIVEPATCH": "{module} calls klp_enable_patch() but its modinfo does not say livepatch.",
    "ENABLING": "{patch} is being enabled; relocations of targets that are loaded have been written by now.",
    "STARTING": "Every task is to be switched over ({what}).",
    "COMPLETE": "All tasks are switched over ({what}).",
    "APPLYING": "{module} is loading and is patched before its init() runs: late module patching. Its relocations were "
        "written first.",
    "REVERTING": ("{module} goes, its functions are no longer redirected. Before 6.3 the relocations in {patch} stay "
            "written: the reload of {module} will be refused.",
        "Since 6.3 they are set to zero after this line."),
    "PRE_PATCH_FAILED": "The livepatch's own pre_patch callback for {object} said no.",
    "NO_FTRACE_LOCATION": "{function} does not begin with a call that ftrace could take over.",
    "APPLY_FAILED": "{patch} could not redirect a function of {module} ({err}).",
    "BAD_PARAMETER": "{module} was given {name}={value}, which is no value of that parameter's type; its load is "
        "refused.",
    "DUPLICATE_EXPORT": "{module} exports {name}, and so does {owner} already.",
    "BLACKLISTED": "The kernel was told not to load {module}: module_blacklist= on its command line, the only thing "
        "that prints this line.",
    "FORCING": "The administrator ended a transition by force: tasks may still run old code, so this livepatch's "
        "module can no longer go.",
    "TOO_LATE": "{module} comes after {patch} was enabled, and with the proposal refuse-unpatched it may not run "
        "unpatched ({err}).",
    "CUT_HERE": "Here begins a warning with its trace; the next line says where in the kernel.",
    "END_TRACE": "Here the trace ends.",
    "PAGE_FAULT": "The kernel touched memory that is not there; what ran is killed, and the locks it held stay held.",
    # -- ppc64le (arch/powerpc/kernel/module_64.c) --
    "STUB_WARNING": ("stub_for_addr() found no free slot in a module's .stubs: each call to a new address takes one, "
            "and none is ever given back. The load that needed it is refused with ENOENT (-2).",
        "It comes after reloads at other addresses; at the same address the old stub is found again. A livepatch that "
            "is disabled, removed and loaded again begins with a fresh table.",
        "The bound is tested only while the table is searched, so one stub may already stand past its end.",
        "The proposal reuse-stub lets a call keep its own slot."),
    "NO_STUBS": "{module} has no .stubs section. Every ppc64le module needs one; the module linker script makes it.",
    "STUB_RANGE": "A stub of {module} is more than 2 GiB away from its TOC pointer, so it cannot be addressed.",
    "REL24_RANGE": "A branch in {module} would have to go {offset} bytes; it reaches 32 MiB either way.",
    "REL32_RANGE": "A 32-bit distance in {module} would have to be {offset}, which does not fit.",
    "BAD_TOC16": "{module} wants 0x{val} from its TOC pointer in 16 signed bits, which does not fit.",
    "BAD_TOC16_DS": "{module} wants 0x{val} from its TOC pointer in 16 signed bits and a multiple of 4; it is not.",
    "BAD_TOC16_LO_DS": "{module} wants 0x{val} from its TOC pointer, and a multiple of 4; it is not.",
    "UNKNOWN_ADD": "{module} has a relocation of type {type}, which the ppc64le kernel does not know.",
    "CANNOT_CLEAR": ("The proposal clear-relocations cannot tell what the bytes of type {type} were before, so "
            "{module} keeps them."),
    "DATA_ACCESS": ("The kernel wanted to {what} at 0x{address}, where no page is mapped, or none that it may write. "
            "What ran is killed, and the locks it held stay held.",
        "If the trace names stub_for_addr, it searched a full table of stubs beyond its end, with klp_mutex held: from "
            "now on no module can be loaded and no livepatch disabled."),
}  # fmt: skip
