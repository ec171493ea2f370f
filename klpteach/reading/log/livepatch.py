"""The lines of kernel/livepatch/*.c, from 4.4 to 7.3."""

from __future__ import annotations

from collections.abc import Iterator

from .case import Case, relocations_for
from .errnos import APPLY, FTRACE, INIT, named, seen
from .row import Row, certain, likely, possible

_CORE, _PATCH, _TRANSITION, _SHADOW = (f"kernel/livepatch/{f}.c" for f in ("core", "patch", "transition", "shadow"))
OTHER_BUILD = (
    "the livepatch was built for another build of {of}: another version, other configuration, or a compiler that inlined or "
    "renamed the function"
)
REBUILD = "Compare `readelf -sW` of the running kernel's module (or /proc/kallsyms) with the name, and rebuild against that build."


# -- sentences that depend on errno, file or neighbours -------------------------------------------------------------------


def _init_failed(case: Case) -> Iterator[str]:
    yield f"Error {named(case.err)}: {INIT.get(case.err, 'the line before says why.')}"
    if case.err == -8 and (near := case.before("NONZERO_SKIPPING", "NONZERO", "NONZERO_619", "EXPECTED_NOP")):
        yield f"Here it is the refused relocation of line {near.number}."


def _apply_failed(case: Case) -> Iterator[str]:
    yield f"Error {named(case.err)}: {APPLY.get(case.err, 'the line before says why.')}"


def _ftrace(case: Case) -> Iterator[str]:
    yield f"Error {named(case.err)}: {FTRACE.get(case.err, 'ftrace refused.')}"
    if case.err == -16:
        yield "Look: /sys/kernel/debug/kprobes/list, /sys/kernel/tracing/enabled_functions (flag I), sysctl kernel.ftrace_enabled."


def _refusing(case: Case) -> Iterator[str]:
    module, patch = case["module"], case["patch"]
    cause = case.before("INIT_FAILED", "APPLY_FAILED", patch=patch, module=module)
    callback = case.before("PRE_PATCH_FAILED", object=module)
    if cause is not None:
        err = int(cause.fields["err"])
        yield f"The user sees error {named(err)}, from line {cause.number}. {seen(err)}".rstrip()
        yield from _cure_of_refusal(case, cause.name, err)
    elif callback is not None:
        yield f"The pre_patch callback of {patch} refused (line {callback.number}); its errno is what the user sees."
    else:
        yield "The lines before this one say why, and with which errno; they are not in what you pasted."
        yield f"With {named(-8)}, {seen(-8)} With {named(-22)}, {seen(-22)}"
    for file in case.modules.named(patch)[:1]:
        count, sections = relocations_for(file, module)
        yield f"{file.filename} has {count} relocations in {sections} sections that wait for {module}."


def _cure_of_refusal(case: Case, name: str, err: int) -> Iterator[str]:
    module, patch = case["module"], case["patch"]
    if name == "INIT_FAILED" and err == -8:
        if case.before("OVERFLOW", "OVERFLOW_619", "UNKNOWN_RELA"):
            yield f"What to do: rebuild {patch}; loading it again does not help."
            return
        yield (
            f"What to do: disable {patch}, remove it and load it again; then its bytes come fresh from the file, and {module} "
            f"loads. Until then every load of {module} is refused."
        )
    elif name == "INIT_FAILED" and err in (-22, -2):
        yield (
            f"What to do: as long as {patch} is enabled, this {module} cannot be loaded. Disable {patch}, or build it for this "
            f"{module}; loading the same file again changes nothing."
        )
    elif err == -16:
        yield f"What to do: remove what holds the function, then load {module} again."


def _reverting(case: Case) -> Iterator[str]:
    module, patch = case["module"], case["patch"]
    for file in case.modules.named(patch)[:1]:
        count, _ = relocations_for(file, module)
        if count:
            yield (
                f"{file.filename} has {count} livepatch relocations for {module}. Before 6.3 nothing takes them back: the next "
                f"load of {module} will be refused. On x86_64 since 6.3 they are set to zero after this line, checked one by one; "
                "on ppc64le they stay (and a call that is already restored is accepted since 6.3)."
            )
        else:
            yield f"{file.filename} has no livepatch relocations for {module}, so nothing of this refuses its next load."
        return
    refused = case.after("REFUSING", patch=patch, module=module)
    again = case.after("APPLYING", patch=patch, module=module)
    if refused:
        yield f"Its next load was refused (line {refused.number}): {patch} has livepatch relocations for {module}, and they were still there."
    elif again:
        yield f"{module} came back, and was patched again (line {again.number})."
    else:
        yield (
            f"Whether {module} can be loaded again depends on {patch}: if it has .klp.rela.{module}.* sections (readelf -SW), kernels "
            "before 6.3 refuse, and x86_64 since 6.3 sets them to zero after this line; if it has none, it can."
        )


def _not_marked(case: Case) -> Iterator[str]:
    yield (
        f"sec {case['sec']} is the number of the symbol table here, not of the relocation section; idx {case['idx']} is right: the "
        "entry's number in its .klp.rela section, from 0."
    )


def _stack(case: Case) -> Iterator[str]:
    yield from _hang(case["comm"], case["pid"])


def _hang(comm: str, pid: str) -> Iterator[str]:
    yield f"Look: /proc/{pid}/stack says where {comm} sleeps, /proc/{pid}/patch_state whether it is switched (1: to the new code)."


def _started(case: Case) -> Iterator[str]:
    if case.after("COMPLETE", patch=case["patch"]):
        return
    if case.anywhere("SIGNALING"):
        yield "It did not complete in this log; see the lines about the tasks that are left."
    else:
        yield "No line here says that it completed: the log may end too early. " + (
            f"`cat /sys/kernel/livepatch/{case['patch']}/transition` says 1 while it goes on."
        )


_ALL_WAIT = (
    "What to do, mildest first: wait; find who waits (`grep -l 0 /proc/*/task/*/patch_state` while patching, 1 while unpatching; -1: "
    "no transition) and read its /proc/PID/stack; stop or wake that task; or give up with `echo 0 > "
    "/sys/kernel/livepatch/PATCH/enabled`, which turns the transition round. Last: `echo 1 > …/force` (4.15 and later) calls every "
    "task switched without looking; a task still in an old function may then crash, and a livepatch that was being removed or replaced "
    "so can never be unloaded (before 5.10 none could after a force)."
)

ROWS = (
    # -- symbols and sections -----------------------------------------------------------------------------------------------
    Row(
        "NOT_FOUND",
        _CORE,
        "livepatch: symbol '{name}' not found in symbol table",
        "The object has no symbol {name}: another build of the module, or a wrong name.",
        (likely(OTHER_BUILD.format(of="the object") + "."), possible("the symbol is there, but in another object.")),
        REBUILD,
    ),
    Row(
        "AMBIGUOUS",
        _CORE,
        "livepatch: unresolvable ambiguity for symbol '{name}' in object '{object}'",
        "{object} has more than one {name}, and position 0 says that it is unique.",
        cure="Give the position: 1, 2, … in the order of the object's symbol table (old_sympos, or the number after the comma in .klp.sym).",
        by=lambda case: ["(null) stands for vmlinux."] if "null" in case["object"] else [],
        kernels="4.5 and later",
    ),
    Row(
        "AMBIGUOUS_44",
        _CORE,
        "livepatch: unresolvable ambiguity ({count} matches) on symbol '{name}' in object '{object}'",
        "{object} has {count} symbols named {name}, and this kernel (4.4 and before) cannot be told which one.",
        kernels="4.0 to 4.4",
    ),
    Row(
        "NO_SUCH_POSITION",
        _CORE,
        "livepatch: symbol position {pos} for symbol '{name}' in object '{object}' not found",
        "{object} has fewer than {pos} symbols named {name}.",
        (likely(OTHER_BUILD.format(of="{object}") + "."),),
        REBUILD,
    ),
    Row(
        "NOT_MARKED",
        _CORE,
        "livepatch: symbol {name} is not marked as a livepatch symbol",
        "A livepatch section uses {name}, which is not an SHN_LIVEPATCH symbol. The load fails with EINVAL (-22).",
        (certain("the tool that made the livepatch, or one that changed it later (strip, objcopy), is to blame."),),
        kernels="4.7 to 6.18",
    ),
    Row(
        "NOT_MARKED_NAMELESS",
        _CORE,
        "livepatch: symbol is not marked as a livepatch symbol",
        "A livepatch section uses a symbol without a name that is not an SHN_LIVEPATCH symbol. The load fails with EINVAL (-22).",
        (
            likely(
                "the relocation section has lost its flag SHF_ALLOC, so it is not kept in memory, and what is read there is chance."
            ),
        ),
        kernels="4.7 to 6.18",
    ),
    Row(
        "NOT_MARKED_619",
        _CORE,
        "livepatch: symbol {name} at rela sec {sec} idx {idx} is not marked as a livepatch symbol",
        "A livepatch section uses {name}, which is not an SHN_LIVEPATCH symbol. The load fails with EINVAL (-22).",
        (certain("the tool that made the livepatch, or one that changed it later (strip, objcopy), is to blame."),),
        by=_not_marked,
        kernels="6.19 and later",
    ),
    Row(
        "BAD_SYMBOL_NAME",
        _CORE,
        "livepatch: symbol {name} has an incorrectly formatted name",
        "{name} is not of the form .klp.sym.OBJECT.NAME,POSITION.",
    ),
    Row(
        "BAD_SECTION_NAME",
        _CORE,
        "livepatch: section {name} has an incorrectly formatted name",
        "{name} is not of the form .klp.rela.OBJECT.SECTION.",
    ),
    Row(
        "VMLINUX_SYMBOL",
        _CORE,
        "livepatch: invalid access to vmlinux symbol '{name}' from module-specific livepatch relocation section",
        "A section that waits for a module wants {name} of vmlinux. Since 5.8 such a relocation must be an ordinary one, or stand "
        "in a .klp.rela.vmlinux section.",
    ),
    Row(
        "RELOCATION_FAILED_46",
        _CORE,
        "livepatch: relocation failed for symbol '{name}' at {address} ({err})",
        "A relocation against {name} could not be written (error {err}).",
        kernels="4.0 to 4.6",
    ),
    Row(
        "NOT_A_LIVEPATCH",
        _CORE,
        "livepatch: module {module} is not marked as a livepatch module",
        "{module} calls klp_enable_patch() but its modinfo does not say livepatch. It is refused with EINVAL (-22).",
        cure='Put MODULE_INFO(livepatch, "Y") into its source.',
        kernels="4.7 and later",
    ),
    Row(
        "INCOMPATIBLE",
        _CORE,
        "livepatch: Livepatch patch ({patch}) is not compatible with the already installed livepatches.",
        "{patch} is refused with EINVAL (-22): a livepatch that is installed changes a system state (struct klp_state) that {patch} "
        "does not know, or knows in an older version.",
        (
            certain(
                "each livepatch must carry all states of those before it in the same or a newer version, if it replaces them."
            ),
        ),
        "Remove the older livepatch first, or build {patch} with its states.",
        kernels="5.5 and later",
    ),
    Row(
        "VMLINUX_KO",
        _CORE,
        "livepatch: vmlinux.ko: invalid module name",
        "A module calls itself vmlinux; livepatch would take it for the kernel, so it is refused with EINVAL (-22).",
        cure="Give the module another name.",
    ),
    Row(
        "NO_SIZE",
        _CORE,
        "livepatch: kallsyms size lookup failed for '{name}'",
        "kallsyms finds no size for {name}, which is to be replaced; the load fails with ENOENT (-2).",
        (
            likely(
                "the symbol's section is not kept in memory (an init function, say), or the symbol table is damaged."
            ),
        ),
    ),
    Row(
        "NO_SIZE_NEW",
        _CORE,
        "livepatch: kallsyms size lookup failed for '{name}' replacement",
        "kallsyms finds no size for the new function in place of {name}; the load fails with ENOENT (-2).",
        (likely("the livepatch was stripped, or the new function stands in a section that is not kept (.init.text)."),),
    ),
    Row(
        "NO_CONSISTENCY",
        _CORE,
        "livepatch: This architecture doesn't have support for the livepatch consistency model.",
        "This kernel cannot trust its stack traces, so sleeping tasks are not switched over by looking at them.",
        (
            certain(
                "the architecture, or the kernel's configuration (x86_64: CONFIG_UNWINDER_ORC), has no reliable stack trace."
            ),
        ),
        "Up to about 5.7 the livepatch is refused; later it is enabled, and the transition may never complete.",
        kernels="4.12 and later",
    ),
    Row(
        "NEVER_COMPLETE",
        _CORE,
        "livepatch: The livepatch transition may never complete.",
        "Kernel threads that never leave the kernel cannot be switched over; see the line before.",
    ),
    # -- the life of a patch ------------------------------------------------------------------------------------------------
    Row(
        "TAINT_44",
        _CORE,
        "livepatch: tainting kernel with TAINT_LIVEPATCH",
        "A livepatch is loaded. Harmless.",
        kernels="4.0 to 4.6",
    ),
    Row(
        "ENABLING",
        _CORE,
        "livepatch: enabling patch '{patch}'",
        "{patch} is being enabled; relocations of targets that are loaded have been written by now.",
    ),
    Row(
        "DISABLING", _CORE, "livepatch: disabling patch '{patch}'", "{patch} is being disabled.", kernels="4.0 to 4.11"
    ),
    Row(
        "INITIALIZING",
        _TRANSITION,
        "livepatch: '{patch}': initializing {what} transition",
        "A transition of {patch} is prepared ({what}); a debug line.",
    ),
    Row(
        "STARTING",
        _TRANSITION,
        "livepatch: '{patch}': starting {what} transition",
        "Every task is to be switched over ({what}).",
        by=_started,
    ),
    Row(
        "STARTING_412",
        _TRANSITION,
        "livepatch: '{patch}': {what}...",
        "Every task is to be switched over ({what}).",
        kernels="4.12 to 4.14",
    ),
    Row(
        "COMPLETING",
        _TRANSITION,
        "livepatch: '{patch}': completing {what} transition",
        "The last task is switched over ({what}); a debug line.",
    ),
    Row("COMPLETE", _TRANSITION, "livepatch: '{patch}': {what} complete", "All tasks are switched over ({what})."),
    Row(
        "CANCELING",
        _TRANSITION,
        "livepatch: '{patch}': canceling patching transition, going to unpatch",
        "Enabling {patch} failed half-way, and what was done is undone; a debug line. Lines before it say why.",
    ),
    Row(
        "REVERSING",
        _TRANSITION,
        "livepatch: '{patch}': reversing transition from {turn}",
        "Somebody wrote to …/enabled while a transition of {patch} was going on: it turns round ({turn}); a debug line.",
        by=lambda case: [],
    ),
    Row(
        "APPLYING",
        _CORE,
        "livepatch: applying patch '{patch}' to loading module '{module}'",
        "{module} is loading and is patched before its init() runs: late module patching. Relocations of {patch} for it were "
        "written first.",
    ),
    Row(
        "REVERTING",
        _CORE,
        "livepatch: reverting patch '{patch}' on unloading module '{module}'",
        "{module} goes, or its load is undone; its functions are no longer redirected.",
        by=_reverting,
    ),
    Row(
        "PRE_PATCH_FAILED",
        _CORE,
        "livepatch: pre-patch callback failed for object '{object}'",
        "The livepatch's own pre_patch callback for {object} said no; the load in which it ran fails with its errno.",
    ),
    Row(
        "PATCH_OBJECT_FAILED",
        _CORE,
        "livepatch: failed to patch object '{object}'",
        "While the livepatch was being enabled, a function of {object} could not be redirected; the line before says which and why.",
    ),
    Row(
        "ENABLE_FAILED",
        _CORE,
        "livepatch: failed to enable patch '{patch}'",
        "{patch} is not enabled: what it had begun is undone, and its load fails. The lines before say why.",
    ),
    Row(
        "INIT_FAILED",
        _CORE,
        "livepatch: failed to initialize patch '{patch}' for module '{module}' ({err})",
        "While {module} was loading, {patch}, which was there first, could not prepare for it (klp_module_coming()).",
        by=_init_failed,
    ),
    Row(
        "APPLY_FAILED",
        _CORE,
        "livepatch: failed to apply patch '{patch}' to module '{module}' ({err})",
        "{patch} could not redirect a function of {module}, which was loading.",
        by=_apply_failed,
    ),
    Row(
        "REFUSING",
        _CORE,
        "livepatch: patch '{patch}' failed for module '{module}', refusing to load module '{module_}'",
        "The load of {module} is undone because of {patch}; its init() never ran.",
        by=_refusing,
    ),
    # -- ftrace -------------------------------------------------------------------------------------------------------------
    Row(
        "NO_FTRACE_LOCATION",
        _PATCH,
        "livepatch: failed to find location for function '{function}'",
        "{function} does not begin with a call that ftrace could take over (EINVAL, -22).",
        (
            likely("it is notrace, was built without -pg or -fpatchable-function-entry, or is an init function."),
            possible(
                'ftrace gave up on the whole module earlier: look for ftrace_bug or "failed to allocate entries".'
            ),
        ),
        "Patch its callers instead.",
    ),
    Row(
        "FILTER_FAILED",
        _PATCH,
        "livepatch: failed to set ftrace filter for function '{function}' ({err})",
        "ftrace did not accept the place where {function} is to be redirected.",
        by=_ftrace,
    ),
    Row(
        "HANDLER_FAILED",
        _PATCH,
        "livepatch: failed to register ftrace handler for function '{function}' ({err})",
        "{function} could not be redirected.",
        by=_ftrace,
    ),
    Row(
        "UNREGISTER_FAILED_44",
        _PATCH,
        "livepatch: failed to unregister ftrace handler for function '{function}' ({err})",
        "The redirection of {function} could not be taken back.",
        kernels="4.0 to 4.4",
    ),
    # -- transitions that hang ----------------------------------------------------------------------------------------------
    Row(
        "SIGNALING",
        _TRANSITION,
        "livepatch: signaling remaining tasks",
        "The transition is not through yet: after about 15 seconds, and then again and again, tasks that are left get a fake signal "
        "and kernel threads are woken, so that they pass a place where they can be switched. No program sees the signal; a "
        "system call may return early and begin again.",
        (
            likely("a task sleeps in a function that is patched (or unpatched), or in one that calls it."),
            possible("a kernel thread runs without sleeping, or its stack cannot be read reliably."),
        ),
        'If "patching complete" follows, nothing. ' + _ALL_WAIT,
        kernels="4.15 and later (on its own since 5.1; before, when …/signal was written)",
    ),
    Row(
        "FORCING",
        _TRANSITION,
        "livepatch: forcing remaining tasks to the patched state",
        "The administrator ended a transition by force (…/force): tasks may still run old code. A livepatch that was being removed or "
        "replaced can now never be unloaded (before 5.10: no livepatch at all).",
        cure="Plan a reboot. Whether it was safe, only the author of the livepatch can say.",
        kernels="4.15 and later",
    ),
    Row(
        "SLEEPING_ON",
        _TRANSITION,
        "livepatch: {function}: {comm}:{pid} is sleeping on function {name}",
        "Task {comm} ({pid}) sleeps with {name} on its stack, which the transition is to exchange, so it waits for it; a debug line.",
        by=_stack,
        cure="When it returns from {name}, it is switched. If it never does, it must be woken or ended; or do not patch a function in "
        "which tasks sleep for good, but one that it calls.",
    ),
    Row(
        "UNRELIABLE",
        _TRANSITION,
        "livepatch: {function}: {comm}:{pid} has an unreliable stack",
        "The stack of {comm} ({pid}) cannot be read for sure, so nobody knows whether an old function is on it; a debug line.",
        (
            likely(
                "it was interrupted in an odd place (page fault, BPF, generated code); the next try, a second later, often succeeds."
            ),
            possible(
                "code without ORC data is on its stack: a module built without objtool, or hand-written assembler."
            ),
        ),
        by=_stack,
    ),
    Row(
        "RUNNING",
        _TRANSITION,
        "livepatch: {function}: {comm}:{pid} is running",
        "{comm} ({pid}) was on a processor just then, so its stack could not be looked at; a debug line. It is tried again every second.",
        (possible("if it comes for minutes, the task loops in the kernel without sleeping."),),
        by=_stack,
    ),
    Row(
        "SWITCH_UNKNOWN",
        _TRANSITION,
        "livepatch: {function}: Unknown error code ({err}) when trying to switch {comm}:{pid}",
        "{comm} ({pid}) could not be switched for a reason that should not occur ({err}).",
        by=_stack,
    ),
    Row(
        "PATCH_STATE",
        "fs/proc/base.c",
        "/patch_state:{state}",
        "The state of one task in the transition that is going on: 0 not patched, 1 patched, -1 no transition. Here it is {state}.",
        cure="While a livepatch is being enabled those with 0 are waited for, while it is being disabled those with 1. The other half of "
        "the answer is /proc/PID/stack.",
    ),
    # -- shadow variables ---------------------------------------------------------------------------------------------------
    Row(
        "SHADOW_FAILED",
        _SHADOW,
        "livepatch: Failed to construct shadow variable <{address}, {id}> ({err})",
        "The constructor of the livepatch's shadow variable {id} said no ({err}).",
    ),
    Row(
        "SHADOW_TWICE",
        _SHADOW,
        "Duplicate shadow variable <{address}, {id}>",
        "klp_shadow_alloc() was called for an object that has a shadow variable {id} already. The livepatch's code is to blame; it wants "
        "klp_shadow_get_or_alloc().",
    ),
    # -- before 4.4 or from others ------------------------------------------------------------------------------------------
    Row(
        "DEAD_43",
        _CORE,
        "livepatch: patch '{patch}' is dead, remove it or re-install the module '{module}'",
        "{patch} could not patch {module}, which is loaded unpatched (kernels that old do not refuse it).",
        kernels="4.0 to 4.3",
    ),
)
