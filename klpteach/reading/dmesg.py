"""What a dmesg line says: who printed it, what its numbers are, and which proposal would change it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import KlpteachError
from ..files.elf_h import EM_PPC64, EM_X86_64
from ..files.klp import livepatch_sections, sites
from ..files.module_file import ModuleFile
from ..files.relocation_types import HOWTO_X86_64
from ..files.samples import data_dir
from ..model import messages
from ..model.errno import errno_name
from ..model.step import hexa
from .dmesg_ppc64le import PPC64LE, expected_nop

_PREFIX = re.compile(
    r"^(?:<\d+>)?(?:\w{3}\s+\d+ [\d:]+ \S+ )?(?:kernel: )?\s*(?:\[\s*[\d.]+\]\s*)?(?:\[\s*[TC]\d+\]\s*)?"
)


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
        for name, message in messages.ALL.items():
            fields = message.match(line)
            if fields is not None and name in _SAYS:
                yield Explanation(
                    line, name, message.source, fields, tuple(s for s in _SAYS[name](fields, modules) if s)
                )
                break


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


Fields = dict[str, str]


def _type_name(fields: Fields) -> str:
    howto = HOWTO_X86_64.get(int(fields["type"]))
    return (
        f"{howto.name} ({howto.width} bytes{', relative to its place' if howto.relative else ''})"
        if howto
        else "a type the kernel does not know"
    )


def _pointer(fields: Fields) -> str:
    loc = fields["loc"]
    if loc.startswith("("):
        return f"loc {loc} is a pointer printed before the kernel could hash it: it says nothing."
    if loc.startswith("00000000"):
        return f"loc {loc} is hashed (%p): it is the same for the same place within one boot, and no address."
    return f"loc {loc} is the place itself: this kernel does not hash pointers."


def _nonzero(fields: Fields, modules: _Modules, old: bool = False) -> list[str]:
    """The line of the report of 2019; old is its wording up to 6.2."""
    howto, val = HOWTO_X86_64.get(int(fields["type"])), int(fields["val"], 16)
    lines = [
        "The kernel wanted to write a relocation and found bytes that were not zero. A relocation's place is zero in the file, so "
        "either the file is corrupt, or an earlier load wrote here and nobody took it back.",
        f"type {fields['type']} is {_type_name(fields)}.",
    ]
    lines.append(_pointer(fields))
    if old and howto and howto.relative:
        lines.append(
            f"val {fields['val']} is S + A, the new value before the place is subtracted; not what was found there. "
            f"With the usual addend -4 the symbol is at {hexa((val + 4) & 0xFFFFFFFFFFFFFFFF)}."
        )
    elif old:
        lines.append(f"val {fields['val']} is S + A, the value to be written; not what was found there.")
    else:
        lines.append(
            f"val {fields['val']} is the value to be written ({'S + A - P' if howto and howto.relative else 'S + A'}); not what was found there."
        )
    if old:
        lines.append(
            '"Skipping" is not what happens: the whole load is refused with ENOEXEC (-8). 6.3 dropped the word.'
        )
    candidates = modules.of_type(int(fields["type"]))
    if candidates:
        lines.append("Livepatch relocations of this type: " + "; ".join(candidates) + ".")
    lines.append(
        "Proposals that change it: remove-check (overwrite), clear-relocations and clear-checked (zeros when the target goes), "
        "deny-removal and hard-dependencies (the target cannot go)."
    )
    return lines


def _nonzero_old(fields: Fields, modules: _Modules) -> list[str]:
    return _nonzero(fields, modules, old=True)


def _mismatch(fields: Fields, modules: _Modules) -> list[str]:
    return [
        "The target went, and the kernel wanted to put zeros back where it had written a relocation; but the bytes were no longer its own. "
        "It stops: this site and those after it in the same section stay written, so the next load of the target will be refused.",
        f"type {fields['type']} is {_type_name(fields)}; val {fields['val']} is what should have been there.",
        _pointer(fields),
        "Kernels since 6.3 print it (0c05e7bd2d01). clear-relocations, the RFC of 2019, would have written zeros without looking.",
    ]


def _expected_nop(fields: Fields, modules: _Modules) -> list[str]:
    return expected_nop(fields, modules.call_before)


def _init_failed(fields: Fields, modules: _Modules) -> list[str]:
    return [
        f"While {fields['module']} was loading, {fields['patch']} could not prepare for it: error {fields['err']} "
        f"({errno_name(int(fields['err']))}). The line before says why.",
        "Printed by klp_module_coming(): the livepatch was loaded first, or has been there since an earlier load.",
    ]


def _refusing(fields: Fields, modules: _Modules) -> list[str]:
    found = [f for f in modules.livepatches() if f.name == fields["patch"]]
    count = sum(site.object == fields["module"] for file in found[:1] for site in sites(file))
    known = (
        f"{found[0].filename} has {count} relocations in {len(livepatch_sections(found[0]))} sections that wait for it."
        if count
        else ""
    )
    return [
        f"The load of {fields['module']} is undone because of {fields['patch']}; its init() never ran. The user sees "
        f'"could not insert \'{fields["module"]}\': Exec format error" from modprobe, "Invalid module format" from insmod.',
        known,
        f"It stays so until {fields['patch']} is disabled, removed and loaded again: then its bytes come fresh from the file.",
    ]


def _sentences(*says: str) -> Callable[[Fields, _Modules], list[str]]:
    return lambda fields, modules: [s.format(**fields) for s in says]


_SAYS: dict[str, Callable[[Fields, _Modules], list[str]]] = {
    "NONZERO_SKIPPING": _nonzero_old,
    "NONZERO": _nonzero,
    "NONZERO_619": _nonzero,
    "MISMATCH": _mismatch,
    "EXPECTED_NOP": _expected_nop,
    "INIT_FAILED": _init_failed,
    "REFUSING": _refusing,
    "OVERFLOW": _sentences(
        "A value does not fit into the 32 bits of relocation type {type}: {val}. Up to 6.2 the cut value has been "
        "written by then; since 6.3 the test comes first."
    ),
    "NOT_MCMODEL": _sentences(
        "{module} was built for addresses below 2 GiB; kernel modules live in the top 2 GiB (-mcmodel=kernel)."
    ),
    "UNKNOWN_RELA": _sentences(
        "{module} has a relocation of type {type}, which the kernel does not know. It accepts 0, 1, 2, 4, 10, 11 and 24."
    ),
    "UNKNOWN_SYMBOL": _sentences(
        "{module} needs {name}, which neither the kernel nor a loaded module exports (error {err}). "
        "insmod does not look for dependencies; modprobe does."
    ),
    "OUT_OF_TREE": _sentences("{module} was not built with the kernel. Said once a boot, harmless."),
    "TAINT_LIVEPATCH": _sentences("{module} is a livepatch. Said for the first one after a boot only."),
    "UNSIGNED": _sentences("{module} has no valid signature. Said once a boot; it loads all the same."),
    "BAD_SECTION_INDEX": _sentences(
        "{module} has a symbol ({name}) in section {index}, and only sections up to {max}: the file is damaged, "
        "or a tool did not know SHN_LIVEPATCH."
    ),
    "NOT_MARKED": _sentences(
        "A livepatch section uses {name}, which is not an SHN_LIVEPATCH symbol. The tool that built it is to blame."
    ),
    "BAD_SYMBOL_NAME": _sentences("{name} is not of the form .klp.sym.OBJECT.NAME,POSITION."),
    "BAD_SECTION_NAME": _sentences("{name} is not of the form .klp.rela.OBJECT.SECTION."),
    "VMLINUX_SYMBOL": _sentences(
        "A section that waits for a module wants {name} of vmlinux. Since 5.8 such a relocation must be an ordinary one."
    ),
    "NOT_FOUND": _sentences("The object has no symbol {name}: another build of the module, or a wrong name."),
    "AMBIGUOUS": _sentences(
        "{object} has more than one {name}, and position 0 says that it is unique. Give the position: 1, 2, …"
    ),
    "NO_SUCH_POSITION": _sentences("{object} has fewer than {pos} symbols named {name}."),
    "NOT_A_LIVEPATCH": _sentences("{module} calls klp_enable_patch() but its modinfo does not say livepatch."),
    "ENABLING": _sentences(
        "{patch} is being enabled; relocations of targets that are loaded have been written by now."
    ),
    "STARTING": _sentences("Every task is to be switched over ({what})."),
    "COMPLETE": _sentences("All tasks are switched over ({what})."),
    "APPLYING": _sentences(
        "{module} is loading and is patched before its init() runs: late module patching. Its relocations were written first."
    ),
    "REVERTING": _sentences(
        "{module} goes, its functions are no longer redirected. Before 6.3 the relocations in {patch} stay written: "
        "the reload of {module} will be refused.",
        "Since 6.3 they are set to zero after this line.",
    ),
    "PRE_PATCH_FAILED": _sentences("The livepatch's own pre_patch callback for {object} said no."),
    "NO_FTRACE_LOCATION": _sentences("{function} does not begin with a call that ftrace could take over."),
    "APPLY_FAILED": _sentences("{patch} could not redirect a function of {module} ({err})."),
    "BAD_PARAMETER": _sentences(
        "{module} was given {name}={value}, which is no value of that parameter's type; its load is refused."
    ),
    "DUPLICATE_EXPORT": _sentences("{module} exports {name}, and so does {owner} already."),
    "BLACKLISTED": _sentences(
        "modprobe was told not to load {module}: blacklisted in modprobe.d or on the command line."
    ),
    "FORCING": _sentences(
        "The administrator ended a transition by force: tasks may still run old code, so this livepatch's module can no longer go."
    ),
    "TOO_LATE": _sentences(
        "{module} comes after {patch} was enabled, and with the proposal refuse-unpatched it may not run unpatched ({err})."
    ),
    "CUT_HERE": _sentences("Here begins a warning with its trace; the next line says where in the kernel."),
    "END_TRACE": _sentences("Here the trace ends."),
    "PAGE_FAULT": _sentences(
        "The kernel touched memory that is not there; what ran is killed, and the locks it held stay held."
    ),
    **{name: _sentences(*says) for name, says in PPC64LE.items()},
}
