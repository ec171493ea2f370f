"""The lines of the report, word by word: which function printed each, and what each of their fields says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from ...errors import KlpteachError
from ...files.relocation_types import HOWTO_X86_64
from ...model import kmod, messages
from ...model.errno import errno_name
from ...model.step import Step, hexa
from ...views.explorer.instructions import instruction
from ...views.table import Table

# As quoted in <alpine.LSU.2.21.1908141256150.16696@pobox.suse.cz>, 14 August 2019: the x86_64 lines, and ppc64le's first line.
REPORT = (
    "module: x86/modules: Skipping invalid relocation target, existing value is nonzero for type 2, "
    "loc 00000000ba0302e9, val ffffffffa03e293c",
    "livepatch: failed to initialize patch 'livepatch_nfsd' for module 'nfsd' (-8)",
    "livepatch: patch 'livepatch_nfsd' failed for module 'nfsd', refusing to load module 'nfsd'",
)
REPORT_PPC64LE = (
    "module_64: livepatch_nfsd: Expected nop after call, got e8410018 at e_show+0x60/0x548 [livepatch_nfsd]"
)

# The calls between the user's command and the bytes, outermost first (Linux 6.1), and which messages each one prints.
CALLS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("modprobe", "user space (kmod)", ()),
    ("load_module()", "kernel/module/main.c", ()),
    ("klp_module_coming()", "kernel/livepatch/core.c", ("INIT_FAILED", "REFUSING")),
    ("klp_init_object_loaded()", "kernel/livepatch/core.c", ()),
    ("klp_apply_section_relocs()", "kernel/livepatch/core.c", ()),
    (
        "apply_relocate_add()",
        "arch/x86/kernel/module.c",
        ("NONZERO_SKIPPING", "NONZERO", "NONZERO_619", "EXPECTED_NOP"),
    ),
)


def message_of(line: str) -> tuple[str, dict[str, str]]:
    """Which message of klpteach.model.messages a dmesg line is, and its fields. Errors: KlpteachError for an unknown line.

    >>> message_of(REPORT[1])
    ('INIT_FAILED', {'patch': 'livepatch_nfsd', 'module': 'nfsd', 'err': '-8'})
    """
    for name, message in messages.ALL.items():
        fields = message.match(line)
        if fields is not None:
            return name, fields
    raise KlpteachError(f"no line that klpteach knows: {line[:60]}. Try kt.explain_dmesg() with the whole dmesg.")


def climb(lines: Iterable[str] = REPORT, module: str = "nfsd", errno: int = -8) -> Table:
    """Who says what when a load is refused: the calls from the outside in, each with the lines it prints.

    The error begins at the bottom and climbs: read from below, the lines stand in the order of dmesg.
    Source: Linux 6.1, load_module() to apply_relocate_add(). Simplified: prepare_coming_module() and
    klp_apply_object_relocs(), which stand in between and print nothing, are left out.

    >>> climb().rows[-1][:2], climb().rows[0][2]
    (('     `apply_relocate_add()`', '1'), "modprobe: ERROR: could not insert 'nfsd': Exec format error")
    """
    lines = list(lines)
    known = [(message_of(line)[0], line) for line in lines]
    rows = []
    for depth, (function, file, prints) in enumerate(CALLS):
        said = [line for name, line in known if name in prints]
        if not depth:
            said = [kmod.modprobe(Step("modprobe", errno=errno), module)[1].strip()]
        nothing = f"(nothing; hands {errno} up)"
        file = next((messages.ALL[name].source for name, line in known if line in said), file)  # ppc64le has another
        for line in reversed(said or [nothing]):
            order = str(lines.index(line) + 1) if line in lines else ""
            rows.append((f"{' ' * depth}`{function}`", order, line, file))
    spoken = [number for number, row in enumerate(rows) if row[1]]
    return Table(("who, from the outside in", "dmesg line", "says", "where"), rows, marked=spoken)


def anatomy(line: str) -> Table:
    """A dmesg line of the report taken apart: each field, and what it says.

    Errors: KlpteachError for a line that is not known.

    >>> print(anatomy(REPORT[1]).rows[-1])
    ('`(-8)`', 'ENOEXEC, the error that came from below')
    """
    name, fields = message_of(line)
    rows = [*_beginning(line, name), *(_SAYS[key](fields, name) for key in fields if key in _SAYS)]
    return Table(("in the line", "says"), rows, f"`{line}`")


def _beginning(line: str, name: str) -> Iterable[tuple[str, str]]:
    prefix = line.partition(":")[0]
    yield f"`{prefix}:`", f"printed in {messages.ALL[name].source}"
    if name == "NONZERO_SKIPPING":
        yield "`Skipping`", "not so: the whole load is refused. The word says Linux 6.2 or older."
    if name.startswith("NONZERO"):
        yield (
            "`existing value is nonzero`",
            "the place was not zero, as it is in a good file. What it held is not printed.",
        )


Fields = Mapping[str, str]


def _type(fields: Fields, _: str) -> tuple[str, str]:
    howto = HOWTO_X86_64.get(int(fields["type"]))
    formula = "S + A − P" if howto and howto.relative else "S + A"
    known = f"`{howto.name}`: {howto.width} bytes, {formula}" if howto else "no type that the kernel knows"
    return f"`type {fields['type']}`", known


def _loc(fields: Fields, name: str) -> tuple[str, str]:
    hashed = fields["loc"].startswith("00000000")
    return f"`loc {fields['loc']}`", "the place, as a hash" if hashed else "the place itself, not hashed"


def _val(fields: Fields, name: str) -> tuple[str, str]:
    howto, val = HOWTO_X86_64.get(int(fields["type"])), int(fields["val"], 16)
    if howto and howto.relative and name == "NONZERO_SKIPPING":
        symbol = hexa(val + 4 & 0xFFFFFFFFFFFFFFFF)
        return f"`val {fields['val']}`", f"S + A, before P is subtracted. With A = −4 the symbol is at `{symbol}`."
    return f"`val {fields['val']}`", f"what was to be written: {'S + A − P' if howto and howto.relative else 'S + A'}"


def _err(fields: Fields, _: str) -> tuple[str, str]:
    return f"`({fields['err']})`", f"{errno_name(int(fields['err']))}, the error that came from below"


def _insn(fields: Fields, _: str) -> tuple[str, str]:
    word = int(fields["insn"], 16)
    return (
        f"`got {fields['insn']}`",
        f"the instruction found there: `{instruction(word)}`. This line does print what it found.",
    )


def _where(fields: Fields, _: str) -> tuple[str, str]:
    offset = int(fields["where"].partition("+")[2].partition("/")[0], 16)
    return f"`{fields['where']}`", f"the instruction behind the call; the call itself is at +{offset - 4:#x}"


_SAYS: dict[str, Callable[[Fields, str], tuple[str, str]]] = {
    "type": _type,
    "loc": _loc,
    "val": _val,
    "patch": lambda fields, _: (f"`'{fields['patch']}'`", "the livepatch whose bytes were to be written"),
    "module": lambda fields, name: (
        f"`{fields['module']}`" if name == "EXPECTED_NOP" else f"`'{fields['module']}'`",
        "the module whose code is relocated: the livepatch"
        if name == "EXPECTED_NOP"
        else "the target, which was being loaded. Its file is fine.",
    ),
    "err": _err,
    "insn": _insn,
    "where": _where,
}
