"""The lines of the report, word by word: which function printed each, and what each of their fields says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

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

APPLY = ("NONZERO_SKIPPING", "NONZERO", "NONZERO_619", "EXPECTED_NOP")
# The calls between the user's command and the bytes, outermost first (Linux 6.1), and which messages each one prints.
CALLS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("modprobe", "user space (kmod)", ()),
    ("load_module()", "kernel/module/main.c", ()),
    ("klp_module_coming()", "kernel/livepatch/core.c", ("INIT_FAILED", "REFUSING")),
    ("klp_init_object_loaded()", "kernel/livepatch/core.c", ()),
    ("klp_apply_section_relocs()", "kernel/livepatch/core.c", ()),
    ("apply_relocate_add()", "arch/x86/kernel/module.c", APPLY),
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
    """
    lines = list(lines)
    known = [(message_of(line)[0], line) for line in lines]
    rows = []
    for depth, (function, file, messages_of_it) in enumerate(CALLS):
        printed = [line for name, line in known if name in messages_of_it]
        if not depth:
            printed = [kmod.modprobe(Step("modprobe", errno=errno), module)[1].strip()]
        file = next((messages.ALL[name].source for name, line in known if line in printed), file)  # ppc64le has another
        for line in reversed(printed or [f"(nothing; hands {errno} up)"]):
            order = str(lines.index(line) + 1) if line in lines else ""
            rows.append((order, f"{' ' * depth}`{function}`", line, file))
    spoken = [number for number, row in enumerate(rows) if row[0]]
    note = "As of Linux 6.1. In 5.3 `klp_write_object_relocations()` stood in place of klp_apply_section_relocs(), and the "
    note += "loader was kernel/module.c."
    return Table(("dmesg line", "who, from the outside in", "says", "where"), rows, marked=spoken, note=note)


_FIELDS = ("type", "loc", "val", "patch", "module", "err", "insn", "where")


def anatomy(line: str) -> Table:
    """A dmesg line of the report taken apart: each field, and what it says.

    Errors: KlpteachError for a line that is not known.

    >>> print(anatomy(REPORT[1]).rows[-1])
    ('`(-8)`', 'ENOEXEC, the error that came from below')
    """
    name, fields = message_of(line)
    rows = [*_beginning(line, name), *(_part(key, fields, name) for key in fields if key in _FIELDS)]
    return Table(("in the line", "says"), rows, f"`{line}`")


def _beginning(line: str, name: str) -> Iterable[tuple[str, str]]:
    prefix = line.partition(":")[0]
    yield f"`{prefix}:`", f"printed in {messages.ALL[name].source}"
    if name == "NONZERO_SKIPPING":
        yield "`Skipping`", "not so: the whole load is refused. The word says Linux 6.2 or older."
    if name.startswith("NONZERO"):
        held = "What it held is not printed."
        yield "`existing value is nonzero`", f"the place was not zero, as it is in a good file. {held}"


def _part(key: str, fields: Mapping[str, str], name: str) -> tuple[str, str]:
    """What stands in the line for a field of the message `name`, and what it says."""
    value = fields[key]
    match key:
        case "type":
            howto = HOWTO_X86_64.get(int(value))
            if howto is None:
                return f"`type {value}`", "no type that the kernel knows"
            return f"`type {value}`", f"`{howto.name}`: {howto.width} bytes, {_formula(value)}"
        case "loc":
            hashed = value.startswith("00000000")
            return f"`loc {value}`", "the place, as a hash" if hashed else "the place itself, not hashed"
        case "val" if name == "NONZERO_SKIPPING" and _formula(fields["type"]) != "S + A":
            symbol = hexa(int(value, 16) + 4 & 0xFFFFFFFFFFFFFFFF)
            return f"`val {value}`", f"S + A, before P is subtracted. With A = −4 the symbol is at `{symbol}`."
        case "val":
            return f"`val {value}`", f"what was to be written: {_formula(fields['type'])}"
        case "patch":
            return f"`'{value}'`", "the livepatch whose bytes were to be written"
        case "module" if name == "EXPECTED_NOP":
            return f"`{value}`", "the module whose code is relocated: the livepatch"
        case "module":
            return f"`'{value}'`", "the target, which was being loaded. Its file is fine."
        case "err":
            return f"`({value})`", f"{errno_name(int(value))}, the error that came from below"
        case "insn":
            found = instruction(int(value, 16))
            return f"`got {value}`", f"the instruction found there: `{found}`. This line does print what it found."
        case _:  # where
            call = int(value.partition("+")[2].partition("/")[0], 16) - 4
            return f"`{value}`", f"the instruction behind the call; the call itself is at +{call:#x}"


def _formula(kind: str) -> str:
    howto = HOWTO_X86_64.get(int(kind))
    return "S + A − P" if howto and howto.relative else "S + A"
