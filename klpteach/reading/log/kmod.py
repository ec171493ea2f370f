"""What insmod, modprobe and rmmod print (kmod, and busybox's), and the script kpatch."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from .case import Case
from .errnos import APPLY
from .row import Found, Row, likely, possible

_INSMOD, _MODPROBE, _RMMOD, _BUSYBOX, _KPATCH = (
    "insmod (kmod)",
    "modprobe (kmod)",
    "rmmod (kmod)",
    "busybox",
    "kpatch (the script)",
)
_BUILD = "kpatch-build (create-diff-object)"
_CORE = "kpatch.ko (core module of old kpatch)"

# What the words after the last colon mean: beginning of the text, in lower case -> sentences
_ENOEXEC = (
    "ENOEXEC (-8): the kernel did not take the file, or a livepatch refused it. dmesg has the line that says why: version magic, "
    'module_layout, this_module, "existing value is nonzero", a livepatch\'s "refusing to load".',
)
_ENOENT = (
    "ENOENT (-2): a symbol that the module needs is not exported by anything loaded (dmesg: Unknown symbol). insmod does not load "
    "dependencies; modprobe does.",
)
_EINVAL = (
    'EINVAL (-22): parameters are seldom the reason. Look in dmesg for "disagrees about version of symbol" (Unknown symbol, err -22) or '
    "for a livepatch that did not find a symbol.",
)
_WORDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("invalid module format", _ENOEXEC),
    ("exec format error", _ENOEXEC),
    ("unknown symbol in module", _ENOENT),
    ("module has wrong symbol version", ("ESRCH (-3): symbol versions do not fit; dmesg names the symbol.",)),
    ("invalid parameter", _EINVAL),
    ("invalid argument", _EINVAL),
    (
        "key was rejected by service",
        (
            "EKEYREJECTED (-129): the kernel insists on a signature (Secure Boot, module.sig_enforce) and this file has none that it knows. "
            "Sign it with a key of MOK or of the kernel's, after any strip.",
        ),
    ),
    (
        "required key not available",
        ("ENOKEY (-126): the file is signed with a key that the kernel does not have, or not signed at all.",),
    ),
    ("package not installed", ("ENOPKG (-65): the kernel lacks the hash or the cipher of the signature.",)),
    (
        "bad message",
        ("EBADMSG (-74): the signature cannot be read: the file was cut, or stripped after it was signed.",),
    ),
    (
        "file exists",
        (
            "EEXIST (-17): a module of this name is loaded already. Or, before 7.x, init() returned it: a livepatch that names a "
            "function of an object twice does.",
        ),
    ),
    ("module already in kernel", ("EEXIST (-17): a module of this name is loaded already.",)),
    (
        "device or resource busy",
        (
            "EBUSY (-16). Of a livepatch: another transition is still going on (cat /sys/kernel/livepatch/*/transition), or a function of it "
            "is held by a kprobe or another tracer (dmesg). Of rmmod: the module is loading or going just now, or it has no exit() and can "
            "never be removed.",
        ),
    ),
    (
        "resource temporarily unavailable",
        ("EAGAIN (-11): the module is in use: open files, mounts, sockets or other modules (lsmod, last columns).",),
    ),
    (
        "operation not permitted",
        (
            "EPERM (-1): not root (CAP_SYS_MODULE), kernel.modules_disabled=1, lockdown, or the kernel's module_blacklist= names it.",
        ),
    ),
    ("permission denied", ("EACCES (-13): a security module (SELinux: module_load) or the file's rights forbid it.",)),
    ("cannot allocate memory", ("ENOMEM (-12): no memory, or no address space or per-CPU room left for modules.",)),
    ("no such device", ("ENODEV (-19): init() did not find its device, or a livepatch's pre_patch callback said no.",)),
    (
        "no such file",
        (
            "ENOENT (-2): the file is not there; or ppc64le had no free stub for a call (then dmesg has a WARNING in stub_for_addr).",
        ),
    ),
    (
        "function not implemented",
        ("ENOSYS (-38): this kernel cannot do what the module asks for; or it has no modules at all.",),
    ),
    ("bad address", ("EFAULT (-14): the file could not be read, mostly.",)),
    ("is in use", ("The module's use count is not zero.",)),
)


def _why(case: Case) -> Iterator[str]:
    why = case.fields.get("why", "").lower()
    for words, says in _WORDS:
        if why.startswith(words):
            yield from says
            break
    else:
        yield "dmesg has the kernel's own line."
    reason = _reason(case)
    if reason:
        yield f"In this log line {reason.number} is the nearest reason."


def _reason(case: Case) -> Found | None:
    """The last line before that gives the errno behind the tool's words, unless it is about another module."""
    errno = _errno(case.fields.get("why", ""))
    own = case.fields.get("module") or case.fields.get("path", "").rpartition("/")[2]
    for found in case.nearest_before():
        if errno in _given(found) and _about(found, own.partition(".ko")[0]):
            return found
    return None


def _errno(why: str) -> int:
    """The errno in the sentence about these words, 0 for others."""
    says = next((says for words, says in _WORDS if why.lower().startswith(words)), ("",))
    number = _NUMBER.search(says[0])
    return int(number[1]) if number else 0


def _about(found: Found, module: str) -> bool:
    names = {found.fields[key].replace("-", "_") for key in ("module", "patch") if key in found.fields}
    return not names or module.replace("-", "_") in names


def _given(found: Found) -> Collection[int]:
    """The errnos that the load can have failed with, if this line is why."""
    if found.name in ("UNKNOWN_SYMBOL", "INIT_FAILED", "APPLY_FAILED", "BTF"):
        return (int(found.fields["err"]) or -2,)
    if found.name in ("DISAGREES", "NO_SYMBOL_VERSION"):
        return (-8,) if found.fields["name"] == "module_layout" else (-22,)
    return _GIVES.get(found.name, ())


_NUMBER = re.compile(r"\((-[0-9]+)\)")
_GIVES: dict[str, Collection[int]] = {
    **dict.fromkeys(("NONZERO", "NONZERO_SKIPPING", "NONZERO_619", "OVERFLOW", "OVERFLOW_619", "UNKNOWN_RELA"), (-8,)),
    **dict.fromkeys(("EXPECTED_NOP", "ARM64_OVERFLOW", "ARM64_UNSUPPORTED", "S390_UNKNOWN", "S390_ERROR"), (-8,)),
    **dict.fromkeys(("VERMAGIC", "LIVEPATCH_OFF", "THIS_MODULE_SIZE"), (-8,)),
    **dict.fromkeys(("NOT_A_LIVEPATCH", "INCOMPATIBLE", "NOT_FOUND", "AMBIGUOUS", "NO_SUCH_POSITION"), (-22,)),
    **dict.fromkeys(("LOCKDOWN", "BLACKLISTED"), (-1,)),
    "UNKNOWN_SYMBOL_OLD": (-2, -22),
    **dict.fromkeys(("VMAP_FAILED", "EXECMEM", "PERCPU_MEMORY"), (-12,)),
    "SYSFS_DUPLICATE": (-17,),
    "REJECTED": (-129, -126),
    "NO_SIZE": (-2,),
    "ENABLE_FAILED": tuple(APPLY),
    "REFUSING": (),  # the line before it, INIT_FAILED or APPLY_FAILED, gives the errno
}


def _enabled(case: Case) -> Iterator[str]:
    """What the files of /sys/kernel/livepatch/PATCH/ answer."""
    why = case["why"].lower()
    if why.startswith("device or resource busy"):
        yield (
            "EBUSY (-16), if it was …/livepatch/PATCH/enabled: a transition of another livepatch is still going on. Before 5.1 also: a "
            "livepatch that was enabled later is still there, and must go first."
        )
        yield "What to do: `grep . /sys/kernel/livepatch/*/transition` says 1 for the one that goes on; wait for it, or write to its own enabled."
    elif why.startswith("invalid argument"):
        yield (
            "EINVAL (-22), if it was …/livepatch/PATCH/enabled: it has that value already (0 to one that is disabled or being disabled), "
            "or it was no 0 or 1; since 5.1 also 1 to a livepatch that is disabled, which must be removed and loaded again."
        )
        yield "Of …/force: no transition of this livepatch is going on; of it only 1 is taken."
    elif why.startswith(("permission denied", "operation not permitted")):
        yield "Only root may write there; `sudo echo 0 > FILE` writes as the user: take `echo 0 | sudo tee FILE`."
    elif why.startswith("no such"):
        yield "The livepatch, or the file's folder, has gone: it is disabled and removed already."
    else:
        yield "dmesg may have the kernel's own line."


def _used_by(case: Case) -> Iterator[str]:
    yield (
        f"Likely, if {case['module']} is a livepatch: it is still enabled, or its transition is not through. What to do: echo 0 > "
        f"/sys/kernel/livepatch/{case['module']}/enabled, wait until that folder is gone (or transition is 0), then rmmod again."
    )
    yield "A livepatch that was forced while it was being removed or replaced stays in use until the next boot."
    yield "Else: lsmod's last column names the modules that use it, lsof and mount what else."


_STALLED = (
    'What to do: `kpatch signal` (before 5.1), look which tasks are left (kpatch list shows "Stalled processes" with their stacks), wait, '
    "or take the livepatch out again."
)

ROWS = (
    # -- the shell: writing to /sys/kernel/livepatch/PATCH/enabled ----------------------------------------------------------
    Row(
        "SHELL_WRITE",
        "the shell",
        "echo: write error: {why}",
        "The kernel refused what was written into a file.",
        by=_enabled,
    ),
    Row(
        "TEE_WRITE",
        "tee",
        "tee: /sys/kernel/livepatch/{patch}: {why}",
        "The kernel refused what was written into /sys/kernel/livepatch/{patch}.",
        by=_enabled,
    ),
    Row(
        "INSMOD",
        _INSMOD,
        "insmod: ERROR: could not insert module {path}: {why}",
        "insmod could not load {path}.",
        by=_why,
    ),
    Row(
        "INSMOD_OLD",
        _INSMOD,
        "insmod: error inserting '{path}': {err} {why}",
        "insmod could not load {path}.",
        by=_why,
        kernels="module-init-tools",
    ),
    Row(
        "INSMOD_OPEN",
        _INSMOD,
        "insmod: ERROR: could not load module {path}: {why}",
        "insmod could not read {path}.",
        (likely("there is no such file, or it is no module."),),
    ),
    Row(
        "MODPROBE",
        _MODPROBE,
        "modprobe: ERROR: could not insert '{module}': {why}",
        "modprobe could not load {module}.",
        by=_why,
    ),
    Row(
        "MODPROBE_OLD",
        _MODPROBE,
        "FATAL: Error inserting {module} ({path}): {why}",
        "modprobe could not load {module}.",
        by=_why,
        kernels="module-init-tools",
    ),
    Row(
        "MODPROBE_NAME",
        _MODPROBE,
        "could not find module by name='{module}'",
        "There is no module {module} in modules.dep of this kernel.",
        (likely("depmod has not run since it was installed, or it belongs to another kernel."),),
    ),
    Row(
        "MODPROBE_NOT_FOUND",
        _MODPROBE,
        "modprobe: FATAL: Module {module} not found in directory {path}",
        "There is no module {module} for the kernel that runs.",
        (
            likely(
                "depmod has not run since it was installed, the package with it is not installed, or it was built for another kernel."
            ),
        ),
        "A livepatch that is not installed is loaded with insmod and its file.",
    ),
    Row(
        "MODPROBE_IN_USE",
        _MODPROBE,
        "modprobe: FATAL: Module {module} is in use.",
        "{module} cannot be removed: it is in use.",
        by=_used_by,
    ),
    Row(
        "MODPROBE_BUILTIN",
        _MODPROBE,
        "modprobe: FATAL: Module {module} is builtin.",
        "{module} is part of the kernel: it can neither be loaded nor removed. A livepatch for it names vmlinux as its object.",
    ),
    Row(
        "MODPROBE_DEP",
        _MODPROBE,
        "modprobe: ERROR: could not remove '{module}': {why}",
        "modprobe could not remove {module}.",
        by=_why,
    ),
    Row(
        "RMMOD_IN_USE_BY",
        _RMMOD,
        "rmmod: ERROR: Module {module} is in use by: {users}",
        "{module} cannot go: {users} (and what follows) need it.",
        cure="Remove those first; modprobe -r does so.",
    ),
    Row(
        "RMMOD_IN_USE",
        _RMMOD,
        "rmmod: ERROR: Module {module} is in use",
        "{module} cannot be removed: it is in use.",
        by=_used_by,
    ),
    Row(
        "RMMOD_NOT_LOADED",
        _RMMOD,
        "rmmod: ERROR: Module {module} is not currently loaded",
        "There is no {module}: it was never loaded, or its load was refused.",
    ),
    Row(
        "RMMOD_BUILTIN",
        _RMMOD,
        "rmmod: ERROR: Module {module} is builtin.",
        "{module} is part of the kernel and cannot be removed.",
    ),
    Row(
        "RMMOD",
        _RMMOD,
        "rmmod: ERROR: could not remove module {module}: {why}",
        "rmmod could not remove {module}.",
        by=_why,
    ),
    Row("RMMOD_KMOD", "libkmod", "could not remove '{module}': {why}", "{module} could not be removed.", by=_why),
    Row(
        "BUSYBOX_INSERT",
        _BUSYBOX,
        "insmod: can't insert '{path}': {why}",
        "busybox's insmod could not load {path}.",
        by=_why,
    ),
    Row(
        "BUSYBOX_MODPROBE",
        _BUSYBOX,
        "modprobe: can't load module {module} ({path}): {why}",
        "busybox's modprobe could not load {module}.",
        by=_why,
    ),
    Row(
        "BUSYBOX_REMOVE",
        _BUSYBOX,
        "rmmod: can't unload module '{module}': {why}",
        "busybox's rmmod could not remove {module}.",
        by=_why,
    ),
    # -- the script kpatch --------------------------------------------------------------------------------------------------
    Row("KPATCH_LOADING", _KPATCH, "loading patch module: {path}", "kpatch loads {path} with insmod."),
    Row(
        "KPATCH_LOAD_FAILED",
        _KPATCH,
        "kpatch: failed to load module {path}",
        "insmod said no; its own words stand before this line, the kernel's reason in dmesg.",
    ),
    Row(
        "KPATCH_WAITING",
        _KPATCH,
        "waiting (up to {count} seconds) for patch transition to complete",
        "The livepatch is loaded, and kpatch waits until all tasks are switched over.",
    ),
    Row("KPATCH_COMPLETE", _KPATCH, "transition complete ({count} seconds)", "All tasks are switched over."),
    Row(
        "KPATCH_STALLED",
        _KPATCH,
        "patch transition has stalled",
        "After 15 seconds some tasks were still not switched over.",
        (
            likely("they sleep in a function that is patched, or in one that calls it."),
            possible("their stacks cannot be read reliably."),
        ),
        _STALLED,
    ),
    Row(
        "KPATCH_SIGNALING",
        _KPATCH,
        "signaling stalled process(es):",
        "kpatch asks the kernel to send fake signals to the tasks that are left (since 5.1 the kernel does so itself).",
    ),
    Row(
        "KPATCH_NO_SIGNAL",
        _KPATCH,
        "kpatch: Livepatch process signaling is performed automatically on your system.",
        "Since 5.1 the kernel itself signals tasks that are left, every 15 seconds. Nothing to do.",
    ),
    Row(
        "KPATCH_SKIP_SIGNAL",
        _KPATCH,
        "kpatch: Skipping manual process signaling.",
        "See the line before: the kernel does it.",
    ),
    Row(
        "KPATCH_GIVING_UP",
        _KPATCH,
        "module {module} did not complete its transition, unloading",
        "kpatch takes {module} out again, since the transition did not end in time. The system runs unpatched.",
        cure=_STALLED,
    ),
    Row(
        "KPATCH_DISABLING_AGAIN",
        _KPATCH,
        "module {module} did not complete its transition, disabling",
        "kpatch disables {module} again, since the transition did not end in time.",
        cure=_STALLED,
    ),
    Row(
        "KPATCH_LOAD_STALLED",
        _KPATCH,
        "kpatch: error: failed to load module {module} (transition stalled)",
        "{module} was taken out again: some tasks could not be switched over in time.",
        cure=_STALLED,
    ),
    Row(
        "KPATCH_REENABLE_STALLED",
        _KPATCH,
        "kpatch: error: failed to re-enable module {module} (transition stalled)",
        "{module} was disabled again: some tasks could not be switched over in time.",
        cure=_STALLED,
    ),
    Row(
        "KPATCH_UNLOAD_STALLED",
        _KPATCH,
        "kpatch: transition stalled for {module}",
        "{module} could not be disabled in time: some tasks still run its code.",
        cure=_STALLED,
    ),
    Row(
        "KPATCH_CHECKSUM",
        _KPATCH,
        "kpatch: error: cannot re-enable patch module {module}, cannot verify checksum match",
        "A disabled module of the same name is loaded from another file.",
        cure="rmmod {module}, then load the new one.",
    ),
    Row(
        "KPATCH_REFCNT",
        _KPATCH,
        "kpatch: failed to unload module {module} (refcnt)",
        "{module} is disabled but still in use.",
        (possible("it was forced, so it can never go."),),
    ),
    Row(
        "KPATCH_DISABLE_FAILED",
        _KPATCH,
        "kpatch: failed to disable module {module}",
        "Writing 0 to its file enabled failed.",
        (
            likely("another transition is going on (EBUSY)."),
            possible("a newer livepatch stands on top of it, on kernels before 5.1."),
        ),
    ),
    Row("KPATCH_NOT_LOADED", _KPATCH, "kpatch: patch module {module} is not loaded", "There is no livepatch {module}."),
    Row("KPATCH_RETRYING", _KPATCH, "kpatch: retrying...", '"Device or resource busy": kpatch tries again.'),
    Row(
        "KPATCH_VERSION",
        _KPATCH,
        "kpatch: invalid module version {built} for kernel {runs}",
        "The livepatch was built for {built}, the kernel is {runs}.",
    ),
    Row(
        "KPATCH_DISABLING",
        _KPATCH,
        "disabling patch module: {module}",
        "kpatch writes 0 to the file enabled of {module}.",
    ),
    Row("KPATCH_UNLOADING", _KPATCH, "unloading patch module: {module}", "kpatch removes {module}."),
    Row(
        "KPATCH_ALREADY",
        _KPATCH,
        "module named {module} already loaded and enabled",
        "Nothing to do: {module} is enabled.",
    ),
    Row(
        "KPATCH_REENABLING",
        _KPATCH,
        "module already loaded, re-enabling",
        "The module is there, disabled; kpatch enables it again.",
    ),
    Row(
        "KPATCH_NO_CORE",
        _KPATCH,
        "kpatch: can't find core module",
        "The kernel has no livepatch (CONFIG_LIVEPATCH), and kpatch.ko, which did without, is not there.",
    ),
    # -- kpatch-build -------------------------------------------------------------------------------------------------------
    Row(
        "BUILD_CANNOT",
        _BUILD,
        "{count} function(s) can not be patched",
        "A changed function cannot be redirected, so no livepatch is built; the line after names it.",
        (likely("it has no call to fentry or mcount: __init, notrace, or a kernel without CONFIG_FUNCTION_TRACER."),),
    ),
    Row(
        "BUILD_NO_FENTRY",
        _BUILD,
        "function {function} has no fentry/mcount call, unable to patch",
        "ftrace could not redirect {function}: it is __init, notrace or inline assembler, or the kernel has no function tracer.",
        cure="Patch its callers, or build with CONFIG_FUNCTION_TRACER and -mfentry.",
    ),
    Row(
        "BUILD_SECTIONS",
        _BUILD,
        "{count} unsupported section change(s)",
        "The patch changes data or a section that a livepatch cannot exchange.",
        cure="Change the data in a callback, or with a shadow variable.",
    ),
    Row(
        "BUILD_DIFFERENCE",
        _BUILD,
        "unreconcilable difference",
        "The two builds differ in a way that no livepatch can bridge; the line before says how.",
    ),
    Row(
        "BUILD_NOTHING",
        _BUILD,
        "ERROR: no changed objects found",
        "Both builds gave the same files.",
        (likely("the patch touches a file that this configuration does not build, or -t names the wrong target."),),
    ),
    Row(
        "BUILD_LOCAL",
        _BUILD,
        "find_local_syms for {file}: found_none",
        "The object's symbols are not in the vmlinux (or module) that was given.",
        (likely("vmlinux and sources are not of the same build: other version, configuration or compiler."),),
    ),
    # -- kpatch.ko ----------------------------------------------------------------------------------------------------------
    Row(
        "CORE_LOADED",
        _CORE,
        "kpatch: loaded patch module '{module}'",
        "{module} is active (kpatch.ko, without the kernel's livepatch).",
    ),
    Row("CORE_UNLOADED", _CORE, "kpatch: unloaded patch module '{module}'", "{module} is no longer active."),
    Row(
        "CORE_ACTIVE",
        _CORE,
        "kpatch: activeness safety check failed for {function}",
        "A task was in {function} when it was to be replaced (EBUSY); a stack follows.",
        cure="Try again; a task that sleeps there must end.",
    ),
    Row(
        "CORE_NMI",
        _CORE,
        "kpatch: NMI activeness safety check failed",
        "An NMI ran a patched function just then; it was undone.",
        cure="Try again.",
    ),
    Row(
        "CORE_DELAYED",
        _CORE,
        "kpatch: delaying patch of unloaded module '{module}'",
        "{module} is not loaded; it is patched when it comes.",
    ),
    Row("CORE_LATE", _CORE, "kpatch: patching newly loaded module '{module}'", "{module} has come and is patched."),
    Row("CORE_NOW", _CORE, "kpatch: patching module '{module}'", "{module} is loaded and is patched."),
    Row(
        "CORE_NO_SYMBOL",
        _CORE,
        "kpatch: symbol '{name}' not found in symbol table",
        "{name} is not in the running kernel: built for another one.",
    ),
    Row(
        "CORE_NO_DYNRELA",
        _CORE,
        "kpatch: unable to find symbol '{name}'",
        "{name} is not in the running kernel or its modules: built for another one.",
    ),
    Row(
        "CORE_MISMATCH",
        _CORE,
        "kpatch: base kernel mismatch for symbol '{name}'",
        "{name} is not where the livepatch expects it: it was built for another kernel.",
        cure="kpatch-build with --sourcedir, --config and --vmlinux of exactly the kernel that runs.",
    ),
    Row("CORE_EXPECTED", _CORE, "kpatch: expected address was {address}", "See the line before."),
    Row(
        "CORE_SKIPPED",
        _CORE,
        "kpatch: Skipped dynrela for {name} ({text}): the instruction has been changed already.",
        "The place holds another instruction already (paravirt, alternatives). Mostly harmless.",
    ),
    Row(
        "CORE_FILTER",
        _CORE,
        "kpatch: can't set ftrace filter at address {address}",
        "The place is none that ftrace knows, or something else holds it.",
    ),
    Row(
        "CORE_HANDLER",
        _CORE,
        "kpatch: can't register ftrace handler",
        "Something else holds the function, or ftrace is off.",
    ),
)
