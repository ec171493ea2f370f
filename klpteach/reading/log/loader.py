"""The lines of the module loader (kernel/module/*.c, before 5.19 kernel/module.c and kernel/module_signing.c) and of kernel/params.c."""

from __future__ import annotations

from collections.abc import Iterator

from .case import Case
from .row import Row, certain, likely, possible

_MAIN, _VERSION, _SIGNING, _SYSFS = (f"kernel/module/{f}.c" for f in ("main", "version", "signing", "sysfs"))
_DECOMPRESS, _PARAMS = "kernel/module/decompress.c", "kernel/params.c"
_DAMAGED = (
    likely("the file is damaged or cut off (an incomplete download, a full disk), or a tool changed it wrongly."),
    possible("it is no module, or one that is still compressed or encrypted."),
)
_OTHER_HEADERS = (
    likely(
        "built with headers or a configuration of another kernel than the one that runs, or Module.symvers was missing or old."
    ),
)
_REBUILD = "Rebuild it with the headers, .config and Module.symvers of exactly the kernel that runs (uname -r), then compare modinfo -F vermagic."
_BY_612, _BY_73 = "6.12 and later, not 6.1", "7.3, not 6.12"
_NOEXEC = "The load is refused with ENOEXEC (-8)."


# -- sentences that depend on an errno or on the lines around -------------------------------------------------------------

_SYMBOL = {
    0: "err 0 (kernels before about 4.15): the same as -2, it is not exported by the kernel or by a loaded module.",
    -2: "err -2: it is not exported by the kernel or by any loaded module; or only to GPL modules, and this one is none "
    "(or uses a proprietary one).",
    -16: "err -16: a module exports it, but is itself still loading (its init() has not returned after 30 seconds).",
    -22: "err -22: it is exported, but may not be used as it is: its CRC (modversions) differs, or its namespace is not "
    "imported.",
    -12: "err -12: no memory.",
}


def _unknown_symbol(case: Case) -> Iterator[str]:
    err, name = int(case.fields.get("err") or 0), case["name"]
    yield _SYMBOL.get(err, f"err {err}: an error from looking it up.")
    proprietary = case.before("PROPRIETARY", "PROPRIETARY_58")
    if err == -2 and proprietary:
        yield f"Here it is the mixture with a proprietary module, as line {proprietary.number} says."
    elif err in (0, -2):
        yield (
            "What to do: insmod does not look for dependencies; modprobe does (after depmod). Look: `modinfo -F depends`, and "
            f"`grep ' {name}$' /proc/kallsyms`."
        )
        if name.startswith(".klp.sym."):
            yield "A .klp.sym symbol should not be looked up here: a tool took away its mark SHN_LIVEPATCH (0xff20)."
        if name.startswith("kpatch_"):
            yield "kpatch_* come from kpatch.ko, the core module of old kpatch (kernels without CONFIG_LIVEPATCH): load that first."
    if err == -22:
        yield from _why_22(case, name)
    if err == -16:
        yield "What to do: wait until it is loaded, and look why its init() hangs."


def _why_22(case: Case, name: str) -> Iterator[str]:
    reason = case.before("DISAGREES", "NO_SYMBOL_VERSION", "NAMESPACE", "NAMESPACE_OLD", "PROPRIETARY", name=name)
    if reason:
        yield f"Line {reason.number} says which of them."
    else:
        yield f"The line before says which: disagrees about version, no symbol version, or namespace. {_REBUILD}"


def _layout(case: Case) -> Iterator[str]:
    if case["name"] == "module_layout":
        yield (
            "module_layout stands for the layout of struct module and a few others: this module was built for a kernel with another one. "
            + _NOEXEC
        )
        if case.found.name == "NO_SYMBOL_VERSION":
            yield "For a kpatch module: built with -t modules or from a tree without Module.symvers."
    else:
        yield f'An "Unknown symbol {case["name"]} (err -22)" follows, and the load is refused.'


def _vermagic(case: Case) -> Iterator[str]:
    ours, kernels = case["built"].split(), case["runs"].split()
    if ours[:1] != kernels[:1]:
        yield f"Certain: built for {' '.join(ours[:1]) or 'no release'}, and {' '.join(kernels[:1])} runs."
    else:
        differ = sorted(set(ours) ^ set(kernels))
        yield f"Certain: the same release with another configuration; they differ in: {', '.join(differ) or 'the order'}."


def _init_returned(case: Case) -> Iterator[str]:
    yield "A positive number is no error to the kernel: the module is loaded all the same."


def _elf(name: str, pattern: str, happened: str, kernels: str = "") -> Row:
    return Row(name, _MAIN, pattern, f"{happened} {_NOEXEC}", _DAMAGED, kernels=kernels)


ROWS = (
    # -- symbols and versions -----------------------------------------------------------------------------------------------
    Row(
        "UNKNOWN_SYMBOL",
        _MAIN,
        "{module}: Unknown symbol {name} (err {err})",
        "{module} needs {name} and does not get it.",
        by=_unknown_symbol,
    ),
    Row(
        "UNKNOWN_SYMBOL_OLD",
        _MAIN,
        "{module}: Unknown symbol {name}",
        "{module} needs {name} and does not get it.",
        by=_unknown_symbol,
        kernels="before 3.0, or cut off",
    ),
    Row(
        "DISAGREES",
        _VERSION,
        "{module}: disagrees about version of symbol {name}",
        "{module} was built against another {name}: the CRC over its types differs from the one of the kernel that runs.",
        _OTHER_HEADERS,
        _REBUILD,
        by=_layout,
    ),
    Row(
        "NO_SYMBOL_VERSION",
        _VERSION,
        "{module}: no symbol version for {name}",
        "{module} has no CRC for {name}, though this kernel checks them (CONFIG_MODVERSIONS).",
        (certain("when it was built, Module.symvers (of the kernel or of the exporting module) did not have {name}."),),
        _REBUILD,
        by=_layout,
    ),
    Row(
        "NO_EXTENDED_VERSION",
        _VERSION,
        "{module}: no extended symbol version for {name}",
        "{module} has no extended CRC for {name}; said once a boot.",
        kernels="6.14 and later",
    ),
    Row(
        "VERMAGIC",
        _MAIN,
        "{module}: version magic '{built}' should be '{runs}'",
        "{module} was not built for this kernel. " + _NOEXEC,
        cure=_REBUILD + " A livepatch is made for one build of one kernel.",
        by=_vermagic,
    ),
    Row(
        "NAMESPACE",
        _MAIN,
        "{module}: module uses symbol ({name}) from namespace {namespace}, but does not import it.",
        "{module} uses {name}, which is exported in the namespace {namespace} only, and does not import that.",
        cure='Put MODULE_IMPORT_NS("{namespace}") into its source (before 6.13 without quotes). Where the kernel allows missing imports '
        "(CONFIG_MODULE_ALLOW_MISSING_NAMESPACE_IMPORTS) it is a warning; else Unknown symbol (err -22) follows.",
        kernels="5.4 and later",
    ),
    Row(
        "NAMESPACE_OLD",
        _MAIN,
        "{module}: module using symbol ({name}) from namespace {namespace}, but does not import it.",
        "{module} uses {name}, which is exported in the namespace {namespace} only, and does not import that.",
        kernels="some vendors' kernels",
    ),
    Row(
        "NAMESPACE_MODULE",
        _MAIN,
        "{module}: module tries to import module namespace: {namespace}",
        '{module} imports a namespace that begins with "module:"; those name their users themselves. It is refused with EPERM (-1).',
        kernels="6.16 and later",
    ),
    Row(
        "PROPRIETARY",
        _MAIN,
        "{module}: module using GPL-only symbols uses symbols {name} from proprietary module {owner}.",
        "{module} uses GPL-only symbols and {name} of the proprietary module {owner}; it may not use both. Unknown symbol (err -2) follows.",
        kernels="5.9 and later",
    ),
    Row(
        "INHERITING",
        _MAIN,
        "{module}: module uses symbols {name} from proprietary module {owner}, inheriting taint.",
        "{module} counts as proprietary from now on, since it uses {name} of {owner}; GPL-only symbols are closed to it.",
        kernels="5.9 and later",
    ),
    Row(
        "PROPRIETARY_58",
        _MAIN,
        "{module}: module using GPL-only symbols uses symbols from proprietary module {owner}.",
        "{module} uses GPL-only symbols and some of the proprietary module {owner}; it may not use both. Unknown symbol (err -2) follows.",
        kernels="5.9 and stable kernels",
    ),
    Row(
        "INHERITING_58",
        _MAIN,
        "{module}: module uses symbols from proprietary module {owner}, inheriting taint.",
        "{module} counts as proprietary from now on, since it uses symbols of {owner}; GPL-only symbols are closed to it.",
        kernels="5.9 and stable kernels",
    ),
    Row(
        "GAVE_UP",
        _MAIN,
        "{module}: gave up waiting for init of module {owner}.",
        "{module} needs a symbol of {owner}, whose init() has not returned for 30 seconds. Unknown symbol (err -16) follows.",
        cure="Look why {owner} hangs in its init().",
    ),
    Row(
        "SYMBOL_GET",
        _MAIN,
        "failing symbol_get of non-GPLONLY symbol {name}.",
        "A module asked for {name} by symbol_get(), which since 6.6 finds GPL-only symbols only.",
        kernels="6.6 and later, and stable kernels",
    ),
    Row(
        "DUPLICATE_EXPORT",
        _MAIN,
        "{module}: exports duplicate symbol {name} (owned by {owner})",
        "{module} exports {name}, and so does {owner} already. " + _NOEXEC,
    ),
    Row(
        "COMMON",
        _MAIN,
        "{module}: please compile with -fno-common",
        "{module} has common symbols, which the kernel does not place. " + _NOEXEC,
    ),
    Row(
        "BAD_SECTION_INDEX",
        _MAIN,
        "{module}: Symbol {name} has an invalid section index {index} (max {max})",
        "{module} has a symbol ({name}) in section {index}, and only sections up to {max}: the file is damaged, or a tool did not know "
        "SHN_LIVEPATCH. " + _NOEXEC,
    ),
    Row(
        "NO_FLAGS",
        _MAIN,
        "{module}: no flags for exported symbols",
        "{module} exports symbols but has no section __kflagstab: it was built for an older kernel. " + _NOEXEC,
        kernels=_BY_73,
    ),
    Row(
        "NO_VERSIONS_EXPORTED",
        _MAIN,
        "{module}: no versions for exported symbols",
        "{module} exports symbols without CRCs, and this kernel has CONFIG_MODVERSIONS; the module is forced and taints the kernel, or is refused.",
    ),
    Row(
        "OBSOLETE_SECTION",
        _MAIN,
        "{module}: ignoring obsolete section {section}",
        "{module} was built for an older kernel: its {section} is not looked at, so what it exports there does not exist.",
        kernels=_BY_73,
    ),
    # -- signature, lockdown, livepatch -------------------------------------------------------------------------------------
    Row(
        "UNSIGNED",
        _MAIN,
        "{module}: module verification failed: signature and/or required key missing - tainting kernel",
        "{module} has no valid signature. Said once a boot; it loads all the same.",
    ),
    Row(
        "REJECTED",
        _SIGNING,
        "Loading of {text} is rejected",
        'This kernel insists on signatures, and refuses: {text}. EKEYREJECTED (-129): "Key was rejected by service".',
        (
            likely(
                '"unsigned module": it has no signature (or was stripped after signing). "unavailable key": its key is not among the '
                'kernel\'s. "unsupported crypto": its hash is not built in.'
            ),
        ),
        "Sign it with a key that the kernel knows (scripts/sign-file, then mokutil --import), after any strip. Look: module.sig_enforce, "
        "Secure Boot, cat /proc/keys.",
        kernels="4.20 or near, and later",
    ),
    Row(
        "LOCKDOWN",
        "security/lockdown/lockdown.c",
        "Lockdown: {comm}: {text} is restricted; see man kernel_lockdown.7",
        "The kernel is locked down (Secure Boot, mostly) and refuses {comm}: {text}.",
        cure='For "unsigned module loading": sign the module. EPERM (-1). Also /sys/kernel/debug and kprobes may be closed. '
        "cat /sys/kernel/security/lockdown.",
        kernels="5.4 and later",
    ),
    Row(
        "LOCKED_DOWN",
        "security/lockdown/lockdown.c",
        "Kernel is locked down from {text}; see man kernel_lockdown.7",
        "From here on the kernel refuses what could change it, unsigned modules among them (reason: {text}).",
        kernels="5.4 and later",
    ),
    Row(
        "BTF",
        "kernel/bpf/btf.c",
        "failed to validate module [{module}] BTF: {err}",
        "The type information (section .BTF) of {module} does not fit the running kernel's, and its load is refused with that error.",
        (
            likely(
                "built against another vmlinux than the one that runs: BTF of a module is a supplement to vmlinux's."
            ),
            possible("vmlinux was built again (or pahole exchanged) after the module."),
        ),
        "Build it against the vmlinux of the running kernel, or drop its types: objcopy --remove-section .BTF FILE (before it is signed). "
        "CONFIG_MODULE_ALLOW_BTF_MISMATCH=y (5.18 or near, and later) loads it without.",
        kernels="5.11 and later",
    ),
    Row(
        "BTF_MISMATCH",
        "kernel/bpf/btf.c",
        "Kernel module BTF mismatch detected, BTF debug info may be unavailable for some modules",
        "A module's type information does not fit this kernel; it is loaded without (CONFIG_MODULE_ALLOW_BTF_MISMATCH). Said once a boot.",
        kernels="5.18 or near, and later",
    ),
    Row(
        "HASH_BLACKLISTED",
        _SIGNING,
        "Module hash {text} is blacklisted",
        "The module's hash is in the kernel's blacklist (dbx or CONFIG_SYSTEM_BLACKLIST_HASH_LIST).",
        kernels="up to 6.12 and a little later",
    ),
    Row(
        "DIGEST_MEMORY",
        _SIGNING,
        "digest memory buffer allocate fail",
        "No memory for the module's hash.",
        kernels="5.10 to 6.12 and a little later",
    ),
    Row(
        "TAINT_LIVEPATCH",
        _MAIN,
        "{module}: tainting kernel with TAINT_LIVEPATCH",
        "{module} is a livepatch. Said for the first one after a boot only.",
        kernels="4.7 and later",
    ),
    Row(
        "LIVEPATCH_OFF",
        _MAIN,
        "{module}: module is marked as livepatch module, but livepatch support is disabled",
        "{module} says livepatch=Y, and this kernel was built without CONFIG_LIVEPATCH. " + _NOEXEC,
        (certain("grep LIVEPATCH /boot/config-$(uname -r) says it is not set."),),
        "Use a kernel with CONFIG_LIVEPATCH=y.",
        kernels="4.7 and later",
    ),
    Row(
        "OUT_OF_TREE",
        _MAIN,
        "{module}: loading out-of-tree module taints kernel.",
        "{module} was not built with the kernel. Said once a boot, harmless.",
    ),
    Row(
        "STAGING",
        _MAIN,
        "{module}: module is from the staging directory, the quality is unknown, you have been warned.",
        "{module} comes from drivers/staging. Harmless.",
    ),
    Row(
        "TEST_TAINT",
        _MAIN,
        "{module}: loading test module taints kernel.",
        "{module} is a test module of the kernel. Harmless.",
        kernels="6.0 and later",
    ),
    Row(
        "LICENSE",
        _MAIN,
        "{module}: module license '{license}' taints kernel.",
        "The license of {module} is not a free one to the kernel: GPL-only symbols are closed to it, klp_enable_patch() among them.",
        cure='A livepatch needs MODULE_LICENSE("GPL").',
    ),
    Row(
        "LICENSE_TAINTS",
        _MAIN,
        "{module}: module license taints kernel.",
        "{module} uses GPL-only symbols and is not GPL by name. Harmless to the load.",
    ),
    Row(
        "RETPOLINE",
        _MAIN,
        "{module}: loading module not compiled with retpoline compiler.",
        "{module} was built without retpolines: it loads, and Spectre v2 is not mitigated in it.",
        kernels="4.15 and later",
    ),
    Row(
        "BLACKLISTED",
        _MAIN,
        "Module {module} is blacklisted",
        "The kernel was told not to load {module}: module_blacklist= on its command line names it (cat /proc/cmdline).",
        cure='The load fails with EPERM (-1), "Operation not permitted". `blacklist` in modprobe.d never prints this line.',
    ),
    Row(
        "FORCED",
        _MAIN,
        "{module}: {name}: kernel tainted.",
        "{module} was loaded by force, without version information ({name}).",
    ),
    # -- loaded twice, init, memory -----------------------------------------------------------------------------------------
    Row(
        "ALREADY_LOADED",
        _SYSFS,
        "{module}: module is already loaded",
        "{module}, or something of that name in /sys/module (a built-in module), is there already; the load fails with EINVAL (-22).",
    ),
    Row(
        "NO_SYSFS",
        _SYSFS,
        "{module}: module sysfs not initialized",
        "{module} came before /sys/module was there, in early boot.",
    ),
    Row(
        "INIT_SUSPICIOUS",
        _MAIN,
        "{caller}: '{module}'->init suspiciously returned {err}, it should follow 0/-E convention",
        "init() of {module} returned {err}.",
        by=_init_returned,
        kernels="up to 6.12 and a little later",
    ),
    Row(
        "INIT_SUSPICIOUS_7",
        _MAIN,
        "{module}: init suspiciously returned {err}, it should follow 0/-E convention",
        "init() of {module} returned {err}.",
        by=_init_returned,
        kernels=_BY_73,
    ),
    Row(
        "LOADING_ANYWAY",
        _MAIN,
        "{module}: loading module anyway...",
        "init() of {module} returned a positive number; see the line before.",
    ),
    Row(
        "RO_AFTER_INIT",
        _MAIN,
        "{module}: module_enable_rodata_ro_after_init() returned {err}, ro_after_init data might still be writable",
        "Data of {module} that should be read-only now is not ({err}). Harmless to its work.",
        kernels=_BY_612,
    ),
    Row(
        "FAIL_TRACKING",
        _MAIN,
        "Could not add fail-tracking for module: {module}",
        "A statistic about failed loads of {module} could not be kept. Harmless.",
        kernels="6.4 and later",
    ),
    Row(
        "STILL_ALIVE",
        _MAIN,
        "{module}: memory allocation(s) from the module still alive, cannot unload cleanly",
        "{module} left memory behind when it went (memory allocation profiling counts it); part of it stays.",
        kernels="6.10 to 6.12 and a little later",
    ),
    Row(
        "PERCPU_ALIGN",
        _MAIN,
        "{module}: per-cpu alignment {offset} > {max}",
        "{module} wants per-CPU data at more than a page's alignment; it gets a page's.",
    ),
    Row(
        "PERCPU_MEMORY",
        _MAIN,
        "{module}: Could not allocate {count} bytes percpu data",
        "The kernel has no room left for {count} bytes of per-CPU data of {module} (ENOMEM, -12).",
        cure="Load fewer modules with per-CPU data, or boot with a larger percpu_alloc reserve (PERCPU_MODULE_RESERVE).",
    ),
    Row(
        "TAINT_LIST",
        "kernel/module/tracking.c",
        "{module}: adding tainted module to the unloaded tainted modules list failed.",
        "The list of tainted modules that have gone is not complete. Harmless.",
        kernels="5.18 and later",
    ),
    Row(
        "UNLOADED_TAINTED",
        "kernel/module/tracking.c",
        "Unloaded tainted modules:",
        "Modules with taints that have gone, and how often; part of a warning or an oops.",
        kernels="5.18 and later",
    ),
    Row(
        "BUSY_MODPROBE",
        "kernel/module/kmod.c",
        "request_module: modprobe {module} cannot be processed, kmod busy with {count} threads for more than {max} seconds now",
        "The kernel wanted {module} but too many modprobe run already.",
        kernels="4.13 and later",
    ),
    Row(
        "DUPLICATE_REQUEST",
        "kernel/module/dups.c",
        "module-autoload: duplicate request for module {module}",
        "The kernel asks for {module} more than once at a time. Harmless.",
        kernels="6.4 and later",
        optional="module: ",
    ),
    Row(
        "BAD_FLAGS",
        "kernel/module/strict_rwx.c",
        "{module}: section {section} (index {index}) has invalid WRITE|EXEC flags",
        "Section {section} of {module} would be writable and executable; strict module memory does not allow it. "
        + _NOEXEC,
        kernels="5.8 and later",
    ),
    Row(
        "CTORS",
        _MAIN,
        "{module}: has both .ctors and .init_array.",
        "{module} was linked from parts of different compilers; refused with EINVAL (-22).",
    ),
    # -- parameters ---------------------------------------------------------------------------------------------------------
    Row(
        "BAD_PARAMETER",
        _PARAMS,
        "{module}: `{value}' invalid for parameter `{name}'",
        "{module} was given {name}={value}, which is no value of that parameter's type; its load is refused.",
    ),
    Row(
        "PARAMETER_TOO_LARGE",
        _PARAMS,
        "{module}: `{value}' too large for parameter `{name}'",
        "{module} was given {name}={value}, which is too long; its load is refused (ENOSPC).",
    ),
    Row(
        "UNKNOWN_PARAMETER",
        _PARAMS,
        "{module}: Unknown parameter `{name}'",
        "{module} has no parameter {name}; its load is refused (ENOENT; since 3.11 it is only ignored, see there).",
    ),
    Row(
        "PARAMETER_IGNORED",
        _MAIN,
        "{module}: unknown parameter '{name}' ignored",
        "{module} has no parameter {name}; it is loaded all the same.",
    ),
    Row(
        "PARAMETERS_AFTER",
        _MAIN,
        "{module}: parameters '{name}' after `--' ignored",
        "What stands after -- is not for {module}. Harmless.",
    ),
    Row(
        "OBSOLETE_PARAMETERS",
        _MAIN,
        "{module}: Ignoring obsolete parameters",
        "{module} has parameters of a form that went long ago. Harmless.",
    ),
    # -- the file -----------------------------------------------------------------------------------------------------------
    Row(
        "NO_SYMBOLS",
        _MAIN,
        "{module}: module has no symbols (stripped?)",
        "{module} has no symbol table: it was stripped too far (strip -s). " + _NOEXEC,
        cure="strip --strip-debug at most.",
    ),
    Row(
        "NO_MODULE",
        _MAIN,
        "{module}: No module found in object",
        "The file has no .gnu.linkonce.this_module: it is no module, or modpost never ran. " + _NOEXEC,
    ),
    Row(
        "THIS_MODULE_SIZE",
        _MAIN,
        "module {module}: .gnu.linkonce.this_module section size must match the kernel's built struct module size at run time",
        "struct module of the file is not as large as the running kernel's. " + _NOEXEC,
        (certain("built with other headers or another configuration."),),
        _REBUILD + " Compare the section's size (readelf -SW) with that of a module that loads.",
        kernels='6.4 and later (before, the same mistake shows as "nonzero for type 1", or not at all)',
    ),
    Row(
        "THIS_MODULE_ONE",
        _MAIN,
        "module {module}: Exactly one .gnu.linkonce.this_module section must exist.",
        "The file has none or more than one. " + _NOEXEC,
        _DAMAGED,
        kernels="6.4 and later",
    ),
    Row(
        "THIS_MODULE_EMPTY",
        _MAIN,
        "module {module}: .gnu.linkonce.this_module section must have a size set",
        "The section is empty. " + _NOEXEC,
        _DAMAGED,
        kernels="6.4 and later",
    ),
    Row(
        "THIS_MODULE_ALLOC",
        _MAIN,
        "module {module}: .gnu.linkonce.this_module must occupy memory during process execution",
        "The section has not the flag SHF_ALLOC. " + _NOEXEC,
        _DAMAGED,
        kernels="6.4 and later",
    ),
    Row(
        "ONE_MODINFO",
        _MAIN,
        "Only one .modinfo section must exist.",
        "The file has none or several. " + _NOEXEC,
        _DAMAGED,
        kernels="6.4 and later",
    ),
    Row(
        "BAD_ARCH",
        _MAIN,
        "Invalid architecture in ELF header: {machine}",
        "The module is for another machine (ELF machine {machine}: 62 x86_64, 21 ppc64, 183 arm64, 22 s390, 243 riscv, 258 loongarch). "
        + _NOEXEC,
    ),
    Row(
        "BAD_MODULE_ARCH",
        _MAIN,
        "Invalid module architecture in ELF header: {machine}",
        "The module is for another kind of this machine ({machine}). " + _NOEXEC,
        kernels="6.3 and later",
    ),
    Row(
        "BAD_TYPE",
        _MAIN,
        "Invalid ELF header type: {type} != {max}",
        "The file is no relocatable object (type {type}, wanted {max}): another byte order, or a program or library. "
        + _NOEXEC,
    ),
    _elf("BAD_LENGTH", "Invalid ELF header len {count}", "The file is shorter than an ELF header ({count} bytes)."),
    _elf(
        "BAD_MAGIC",
        "Invalid ELF header magic: != {magic}",
        "The file does not begin like an ELF file: compressed, encrypted, or something else.",
    ),
    _elf("BAD_SHENTSIZE", "Invalid ELF section header size", "The size of a section header is not the usual one."),
    _elf("BAD_SHOFF", "Invalid ELF section header overflow", "The section table lies beyond the end of the file."),
    _elf(
        "BAD_SHSTRNDX",
        "Invalid ELF section name index: {index} || e_shstrndx ({value}) >= e_shnum ({max})",
        "The number of the section with the names is not that of a section.",
    ),
    _elf(
        "BAD_SHSTR_HDR",
        "Invalid ELF section hdr(type {type})",
        "The section with the names lies beyond the end of the file.",
    ),
    _elf(
        "BAD_SHSTR_TYPE",
        "Invalid ELF section name table type: {type}",
        "The section with the names is not a string table.",
        _BY_612,
    ),
    _elf("EMPTY_NAMES", "empty section name table", "The table of section names is empty."),
    _elf(
        "NAMES_NOT_ENDED",
        "ELF Spec violation: section name table isn't null terminated",
        "The table of section names does not end with a zero.",
    ),
    _elf(
        "SECTION_0",
        "ELF Spec violation: section 0 type({type})!=SH_NULL or non-zero len or addr",
        "Section 0 is not empty.",
    ),
    _elf(
        "BAD_LINK",
        "Invalid ELF sh_link!=SHN_UNDEF({index}) or (sh_link({value}) >= hdr->e_shnum({max})",
        "The symbol table names a string table that is none.",
    ),
    _elf(
        "BAD_SECTION",
        "Invalid ELF section in module (section {index} type {type})",
        "Section {index} lies beyond the end of the file.",
    ),
    _elf(
        "BAD_SECTION_NAME_OFFSET",
        "Invalid ELF section name in module (section {index} type {type})",
        "The name of section {index} lies beyond the table of names.",
    ),
    _elf(
        "BAD_STRTAB_TYPE",
        "Invalid ELF symbol string table type: {type}",
        "The section with the symbols' names is not a string table.",
        _BY_612,
    ),
    _elf("EMPTY_STRTAB", "empty symbol string table", "The table of symbol names is empty.", _BY_73),
    _elf(
        "STRTAB_START",
        "symbol string table missing leading NUL",
        "The table of symbol names does not begin with a zero.",
        _BY_73,
    ),
    _elf(
        "STRTAB_END",
        "symbol string table isn't NUL terminated",
        "The table of symbol names does not end with a zero.",
        _BY_73,
    ),
    _elf(
        "STRTAB_BOUNDS",
        "symbol name out of bounds in string table",
        "A symbol's name lies beyond the table of names.",
        _BY_73,
    ),
    _elf(
        "EXTENDED_PRESENCE",
        "extended version crc+name presence does not match",
        "Of the two sections of extended versions one is missing.",
        "6.14 and later",
    ),
    _elf(
        "EXTENDED_COUNT",
        "more extended version crcs than names",
        "The sections of extended versions do not fit each other.",
        "6.14 and later",
    ),
    Row(
        "TRUNCATED",
        _MAIN,
        "Module len {count} truncated",
        "The file is shorter than its headers say. " + _NOEXEC,
        _DAMAGED,
        kernels="up to about 4.x",
    ),
    # -- compressed modules that the kernel opens itself --------------------------------------------------------------------
    Row(
        "NOT_GZIP",
        _DECOMPRESS,
        "not a gzip compressed module",
        "The kernel was told to unpack the file itself and it is no gzip.",
        kernels="5.17 and later",
    ),
    Row(
        "NOT_XZ",
        _DECOMPRESS,
        "not an xz compressed module",
        "The kernel was told to unpack the file itself and it is no xz.",
        kernels="5.17 and later",
    ),
    Row(
        "NOT_ZSTD",
        _DECOMPRESS,
        "not a zstd compressed module",
        "The kernel was told to unpack the file itself and it is no zstd.",
        kernels="6.2 and later",
    ),
    Row(
        "ZSTD_HEADER",
        _DECOMPRESS,
        "ZSTD-compressed data has an incomplete frame header",
        "The compressed file is cut off.",
        kernels="6.2 and later",
    ),
    Row(
        "ZSTD_WINDOW",
        _DECOMPRESS,
        "ZSTD-compressed data has too large a window size",
        "The file was compressed with a window that the kernel does not take (zstd --ultra or --long).",
        kernels="6.2 and later",
    ),
    Row(
        "ZSTD_INIT",
        _DECOMPRESS,
        "Can't initialize ZSTD stream",
        "No memory to unpack the file, mostly.",
        kernels="6.2 and later",
    ),
    Row(
        "ZSTD_FAILED",
        _DECOMPRESS,
        "ZSTD-decompression failed with status {err}",
        "The compressed file is damaged ({err}).",
        kernels="6.2 and later",
    ),
    Row(
        "DECOMPRESSOR",
        _DECOMPRESS,
        "failed to initialize decompressor: {err}",
        "No memory to unpack the file, mostly ({err}).",
        kernels="5.17 and later",
    ),
    Row(
        "DECOMPRESSION",
        _DECOMPRESS,
        "decompression failed with status {err}",
        "The compressed file is damaged ({err}).",
        kernels="5.17 and later",
    ),
    Row(
        "NO_COMPRESSION_ATTRIBUTE",
        _DECOMPRESS,
        "Failed to create 'compression' attribute",
        "A file in /sys/module could not be made. Harmless.",
        kernels="5.17 and later",
    ),
)
