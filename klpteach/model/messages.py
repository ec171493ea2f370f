"""Every line that the kernel prints about modules and livepatches, with its log level; the only place with such text.

The prefix ("module: ", "livepatch: ") is the pr_fmt of the file that prints; kernel/module/*.c has none.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ..errors import printable

Printer = Callable[[int], str]
ERR, WARNING, NOTICE, INFO, DEBUG = 3, 4, 5, 6, 7


class Pointer(int):
    """An address printed with %p: since 4.15 the kernel prints a hash of it instead, another one each boot.

    Where the format says {loc:x}, the kernel's says %lx: that prints the address itself.
    """


class Symbolic(int):
    """An address printed with %pS: symbol+0xOFFSET/0xSIZE [module], or the bare address where there is no symbol."""


@dataclass(frozen=True)
class Message:
    """A printk() format: level, the file that prints it, and the text with named fields.

    >>> NOT_FOUND(name="nfsd_open").render()
    "livepatch: symbol 'nfsd_open' not found in symbol table"
    >>> NOT_FOUND.match("livepatch: symbol 'nfsd_open' not found in symbol table")
    {'name': 'nfsd_open'}
    """

    level: int
    source: str
    format: str

    def __call__(self, **args: Any) -> Line:
        return Line(self, args)

    def __deepcopy__(self, memo: object) -> Message:
        return self  # it never changes: copies of a kernel share it

    @cached_property
    def in_hexadecimal(self) -> frozenset[str]:
        """The fields that are printed as numbers, whatever they are."""
        return frozenset(re.findall(r"\{(\w+):\d*x\}", self.format))

    @cached_property
    def _regex(self) -> re.Pattern[str]:
        pieces = re.split(r"\{(\w+)[^}]*\}", self.format)
        pieces[::2] = map(re.escape, pieces[::2])
        pieces[1::2] = [f"(?P<{name}>{_FIELDS.get(name, '.+?')})" for name in pieces[1::2]]
        return re.compile("".join(pieces) + r"\s*$")

    def match(self, line: str) -> dict[str, str] | None:
        """The fields of a line that this format has printed, None for any other line."""
        found = self._regex.match(line)
        return found.groupdict() if found else None


@dataclass(frozen=True)
class Line:
    """A message with its arguments; rendered when it reaches the log, since only a kernel knows how it hashes pointers."""

    message: Message
    args: dict[str, Any] = field(default_factory=dict)

    @property
    def level(self) -> int:
        return self.message.level

    def render(self, pointer: Printer = "{:016x}".format, symbol: Printer = "{:#x}".format) -> str:
        """The text; pointer prints what %p is given, symbol what %pS is given. A name stays in its line, as in /dev/kmsg."""
        printers: dict[type, Printer] = {Pointer: pointer, Symbolic: symbol}
        plain = self.message.in_hexadecimal
        args = {k: printers[type(v)](v) if type(v) in printers and k not in plain else v for k, v in self.args.items()}
        args = {k: printable(v, keep="") if isinstance(v, str) else v for k, v in args.items()}
        return self.message.format.format(**args)


# What a field looks like; any other is whatever stands there.
_FIELDS = {
    **dict.fromkeys(("type", "index", "max", "pos", "sec", "idx"), r"\d+"),
    **dict.fromkeys(("val", "old", "new"), "[0-9a-f]+"),
    **dict.fromkeys(("err", "offset"), r"-?\d+"),
    "loc": r"(?:[0-9a-fx]+|\(____ptrval____\))",
    "insn": "[0-9a-f]{8}",
    "where": r"\S+(?: \[\S+\])?",
    "plt": r"module_emit_\S+",
    "stub": r"(?:\S+ (?:at )?)?stub_for_addr[^\s,]*",
}

# fmt: off
_X86, _PPC = "arch/x86/kernel/module.c", "arch/powerpc/kernel/module_64.c"
_ARM, _PLT, _ARM_FAULT = "arch/arm64/kernel/module.c", "arch/arm64/kernel/module-plts.c", "arch/arm64/mm/fault.c"
_MAIN, _CORE = "kernel/module/main.c", "kernel/livepatch/core.c"
_TRANSITION, _PATCH = "kernel/livepatch/transition.c", "kernel/livepatch/patch.c"

# -- relocation, x86_64 ---------------------------------------------------------------------------------------------------
# 4.15 to 6.2: S + A
NONZERO_SKIPPING = Message(ERR, _X86, "module: x86/modules: Skipping invalid relocation target, "
    "existing value is nonzero for type {type}, loc {loc}, val {val:x}")
# 6.3 and later: S + A - P
NONZERO = Message(ERR, _X86, "module: x86/modules: Invalid relocation target, existing value is nonzero "
    "for type {type}, loc {loc}, val {val:x}")
# 6.19 and later
NONZERO_619 = Message(ERR, _X86, "module: x86/modules: Invalid relocation target, existing value is nonzero "
    "for sec {sec}, idx {idx}, type {type}, loc {loc:x}, val {val:x}")
MISMATCH = Message(WARNING, _X86, "module: x86/modules: Invalid relocation target, "
    "existing value does not match expected value for type {type}, loc {loc}, val {val:x}")
MISMATCH_619 = Message(WARNING, _X86, "module: x86/modules: Invalid relocation target, "
    "existing value does not match expected value for sec {sec}, idx {idx}, type {type}, loc {loc:x}, val {val:x}")
OVERFLOW = Message(ERR, _X86, "module: overflow in relocation type {type} val {val:x}")
OVERFLOW_619 = Message(ERR, _X86, "module: overflow in relocation type {type} val {val:x} sec {sec} idx {idx}")
NOT_MCMODEL = Message(ERR, _X86, "module: `{module}' likely not compiled with -mcmodel=kernel")
UNKNOWN_RELA = Message(ERR, _X86, "module: {module}: Unknown rela relocation: {type}")

# -- relocation, ppc64le --------------------------------------------------------------------------------------------------
NO_STUBS = Message(ERR, _PPC, "module_64: {module}: doesn't contain .stubs.")
EXPECTED_NOP = Message(ERR, _PPC, "module_64: {module}: Expected nop after call, got {insn:08x} at {where}")
REL24_RANGE = Message(ERR, _PPC, "module_64: {module}: REL24 {offset} out of range!")
REL32_RANGE = Message(ERR, _PPC, "module_64: {module}: REL32 {offset} out of range!")
BAD_TOC16 = Message(ERR, _PPC, "module_64: {module}: bad TOC16 relocation (0x{val:x})")
BAD_TOC16_DS = Message(ERR, _PPC, "module_64: {module}: bad TOC16_DS relocation (0x{val:x})")
BAD_TOC16_LO_DS = Message(ERR, _PPC, "module_64: {module}: bad TOC16_LO_DS relocation (0x{val:x})")
UNKNOWN_ADD = Message(ERR, _PPC, "module_64: {module}: Unknown ADD relocation: {type}")
STUB_RANGE = Message(ERR, _PPC, "module_64: {module}: Address {loc} of stub out of range of {toc}.")
CUT_HERE = Message(WARNING, "kernel/panic.c", "------------[ cut here ]------------")
STUB_WARNING_612 = Message(WARNING, "kernel/panic.c", "WARNING: CPU: {cpu} PID: {pid} at {stub}")
STUB_WARNING = Message(WARNING, "kernel/panic.c", "WARNING: {stub}, CPU#{cpu}: {comm}/{pid}")  # after 6.12
END_TRACE = Message(WARNING, "kernel/panic.c", "---[ end trace 0000000000000000 ]---")
CANNOT_CLEAR = Message(ERR, "no kernel: the proposal clear-relocations",
    "module_64: {module}: cannot clear relocation type {type}")
DATA_ACCESS = Message(1, "arch/powerpc/mm/fault.c",
    "BUG: Unable to handle kernel data access on {what} at 0x{address:08x}")

# -- relocation, arm64 ----------------------------------------------------------------------------------------------------
NO_PLT = Message(ERR, _PLT, "{module}: module PLT section(s) missing")
UNSUPPORTED_RELA = Message(ERR, _ARM, "Modules: module {module}: unsupported RELA relocation: {type}")
OVERFLOW_ARM64 = Message(ERR, _ARM, "Modules: module {module}: overflow in relocation type {type} val {val:x}")
PLT_WARNING = Message(WARNING, "kernel/panic.c",
    "WARNING: arch/arm64/kernel/module-plts.c:{line} at {plt}, CPU#{cpu}: {comm}/{pid}")
READ_ONLY = Message(1, _ARM_FAULT, "Unable to handle kernel write to read-only memory at virtual address {address:016x}")
NO_PAGING = Message(1, _ARM_FAULT, "Unable to handle kernel paging request at virtual address {address:016x}")
# -- relocation, s390x ----------------------------------------------------------------------------------------------------

_S390 = "arch/s390/kernel/module.c"
RELOCATION_ERROR = Message(ERR, _S390,
    "module {module}: relocation error for symbol {name} (r_type {type}, value 0x{val:x})")
UNKNOWN_RELOCATION = Message(ERR, _S390, "module {module}: unknown relocation: {type}")
POINTER_DEREFERENCE = Message(1, "arch/s390/mm/fault.c",
    "Unable to handle kernel pointer dereference in virtual kernel address space")

# -- loading --------------------------------------------------------------------------------------------------------------
OUT_OF_TREE = Message(WARNING, _MAIN, "{module}: loading out-of-tree module taints kernel.")
TAINT_LIVEPATCH = Message(NOTICE, _MAIN, "{module}: tainting kernel with TAINT_LIVEPATCH")
UNSIGNED = Message(NOTICE, _MAIN,
    "{module}: module verification failed: signature and/or required key missing - tainting kernel")
LICENSE = Message(WARNING, _MAIN, "{module}: module license '{license}' taints kernel.")
STAGING = Message(WARNING, _MAIN,
    "{module}: module is from the staging directory, the quality is unknown, you have been warned.")
BAD_ARCH = Message(ERR, _MAIN, "Invalid architecture in ELF header: {machine}")
NO_LEADING_NUL = Message(ERR, _MAIN, "symbol string table missing leading NUL")  # after 6.12
BLACKLISTED = Message(ERR, _MAIN, "Module {module} is blacklisted")
COMMON = Message(WARNING, _MAIN, "{module}: please compile with -fno-common")
GAVE_UP_WAITING = Message(WARNING, _MAIN, "{module}: gave up waiting for init of module {owner}.")
UNKNOWN_SYMBOL = Message(WARNING, _MAIN, "{module}: Unknown symbol {name} (err {err})")
BAD_SECTION_INDEX = Message(ERR, _MAIN, "{module}: Symbol {name} has an invalid section index {index} (max {max})")
INIT_POSITIVE_612 = Message(WARNING, _MAIN,  # with a call trace, which is left out here
    "do_init_module: '{module}'->init suspiciously returned {returned}, it should follow 0/-E convention\n"
    "do_init_module: loading module anyway...")
INIT_POSITIVE = Message(WARNING, _MAIN,
    "{module}: init suspiciously returned {returned}, it should follow 0/-E convention")  # after 6.12
BAD_PARAMETER = Message(ERR, "kernel/params.c", "{module}: `{value}' invalid for parameter `{name}'")
UNKNOWN_PARAMETER = Message(WARNING, _MAIN, "{module}: unknown parameter '{name}' ignored")
WRITE_EXEC = Message(ERR, "kernel/module/strict_rwx.c",
    "{module}: section {section} (index {index}) has invalid WRITE|EXEC flags")
# Up to 6.9 with a call trace, which is left out here, as that of DUPLICATE_FOLDER; size is with the guard page.
NO_MEMORY = Message(WARNING, "mm/vmalloc.c",
    "vmap allocation for size {size} failed: use vmalloc=<size> to increase size")
NO_MEMORY_610 = Message(WARNING, "mm/execmem.c", "execmem: unable to allocate memory")  # 6.10 and later
DUPLICATE_EXPORT = Message(ERR, _MAIN, "{module}: exports duplicate symbol {name} (owned by {owner})")

# -- sysfs ----------------------------------------------------------------------------------------------------------------
DUPLICATE_FOLDER = Message(WARNING, "fs/sysfs/dir.c", "sysfs: cannot create duplicate filename '{folder}/{name}'")
DUPLICATE_NAME = Message(ERR, "lib/kobject.c", "kobject_add_internal failed for {name} with -EEXIST, "
    "don't try to register things with the same name in the same directory.")
DUPLICATE_NAME_65 = Message(ERR, "lib/kobject.c", "kobject: kobject_add_internal failed for {name} with -EEXIST, "
    "don't try to register things with the same name in the same directory.")  # 6.5 and later

# -- livepatch: symbols and sections --------------------------------------------------------------------------------------
NOT_MARKED = Message(ERR, _CORE, "livepatch: symbol {name} is not marked as a livepatch symbol")
NOT_MARKED_619 = Message(ERR, _CORE,
    "livepatch: symbol {name} at rela sec {sec} idx {idx} is not marked as a livepatch symbol")
BAD_SYMBOL_NAME = Message(ERR, _CORE, "livepatch: symbol {name} has an incorrectly formatted name")
BAD_SECTION_NAME = Message(ERR, _CORE, "livepatch: section {name} has an incorrectly formatted name")
VMLINUX_SYMBOL = Message(ERR, _CORE,
    "livepatch: invalid access to vmlinux symbol '{name}' from module-specific livepatch relocation section")
NOT_FOUND = Message(ERR, _CORE, "livepatch: symbol '{name}' not found in symbol table")
AMBIGUOUS = Message(ERR, _CORE, "livepatch: unresolvable ambiguity for symbol '{name}' in object '{object}'")
NO_SUCH_POSITION = Message(ERR, _CORE,
    "livepatch: symbol position {pos} for symbol '{name}' in object '{object}' not found")
NOT_A_LIVEPATCH = Message(ERR, _CORE, "livepatch: module {module} is not marked as a livepatch module")
INCOMPATIBLE = Message(ERR, _CORE,
    "livepatch: Livepatch patch ({patch}) is not compatible with the already installed livepatches.")
VMLINUX_KO = Message(ERR, _CORE, "livepatch: vmlinux.ko: invalid module name")

# -- livepatch: the life of a patch ---------------------------------------------------------------------------------------
ENABLING = Message(NOTICE, _CORE, "livepatch: enabling patch '{patch}'")
INITIALIZING = Message(DEBUG, _TRANSITION, "livepatch: '{patch}': initializing {what} transition")
STARTING = Message(NOTICE, _TRANSITION, "livepatch: '{patch}': starting {what} transition")
COMPLETING = Message(DEBUG, _TRANSITION, "livepatch: '{patch}': completing {what} transition")
COMPLETE = Message(NOTICE, _TRANSITION, "livepatch: '{patch}': {what} complete")
CANCELING = Message(DEBUG, _TRANSITION, "livepatch: '{patch}': canceling patching transition, going to unpatch")
REVERSING = Message(DEBUG, _TRANSITION, "livepatch: '{patch}': reversing transition from {what}")
APPLYING = Message(NOTICE, _CORE, "livepatch: applying patch '{patch}' to loading module '{module}'")
REVERTING = Message(NOTICE, _CORE, "livepatch: reverting patch '{patch}' on unloading module '{module}'")
PRE_PATCH_FAILED = Message(WARNING, _CORE, "livepatch: pre-patch callback failed for object '{object}'")
PATCH_OBJECT_FAILED = Message(WARNING, _CORE, "livepatch: failed to patch object '{object}'")
ENABLE_FAILED = Message(WARNING, _CORE, "livepatch: failed to enable patch '{patch}'")
NO_FTRACE_LOCATION = Message(ERR, _PATCH, "livepatch: failed to find location for function '{function}'")
HANDLER_FAILED = Message(ERR, _PATCH, "livepatch: failed to register ftrace handler for function '{function}' ({err})")
INIT_FAILED = Message(WARNING, _CORE, "livepatch: failed to initialize patch '{patch}' for module '{module}' ({err})")
APPLY_FAILED = Message(WARNING, _CORE, "livepatch: failed to apply patch '{patch}' to module '{module}' ({err})")
FORCING = Message(WARNING, _TRANSITION, "livepatch: forcing remaining tasks to the patched state")
REFUSING = Message(WARNING, _CORE,
    "livepatch: patch '{patch}' failed for module '{module}', refusing to load module '{module_}'")

# -- not livepatch --------------------------------------------------------------------------------------------------------
PAGE_FAULT = Message(1, "arch/x86/mm/fault.c", "BUG: unable to handle page fault for address: {loc}")
FTRACE_DEPRECATED = Message(WARNING, "kernel/trace/ftrace.c",
    "The ftrace_enabled file is deprecated and no longer disables ftrace")
POKE = Message(INFO, "a test module of ours", "poke_demo: old value {old:016x}, new value {new:016x}")
TARGET_ABSENT = Message(ERR, "no kernel: the proposal hard-dependencies",
    "livepatch: {module}: target module {target} is not loaded (err {err})")
TOO_LATE = Message(ERR, "no kernel: the proposal refuse-unpatched",
    "livepatch: {module}: livepatch {patch} is enabled and can no longer patch it, refusing to load (err {err})")
NO_PART = Message(WARNING, "no kernel: the proposal split-per-object",
    "livepatch: user space has no livepatch for module '{module}', refusing to load it (err {err})")
# fmt: on

ALL: dict[str, Message] = {name: value for name, value in globals().items() if isinstance(value, Message)}
