"""What stands beside: warnings, oopses, ftrace's bug report, and the kernel's hints about hanging tasks."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .case import Case
from .row import Row, likely, possible

_PANIC, _X86_FAULT, _PPC_FAULT, _FTRACE = (
    "kernel/panic.c",
    "arch/x86/mm/fault.c",
    "arch/powerpc/mm/fault.c",
    "kernel/trace/ftrace.c",
)
_KILLED = "What ran is killed, and the locks it held stay held: no further module may load, no livepatch be disabled, if it was in there."

_STUBS = (
    "stub_for_addr() found no free slot in a module's .stubs: each call to a new address takes one, and none is ever given back. The load "
    "that needed it is refused with ENOENT (-2).",
    "It comes after reloads at other addresses; at the same address the old stub is found again. A livepatch that is disabled, removed and "
    "loaded again begins with a fresh table.",
    "The bound is tested only while the table is searched, so one stub may already stand past its end.",
    "The proposal reuse-stub lets a call keep its own slot.",
)
_KNOWN_PLACES = (
    ("stub_for_addr", _STUBS),
    (
        "ftrace_bug",
        (
            "ftrace found other bytes at a function's start than it expects, and has switched itself off: until the next boot no livepatch "
            "can be enabled or disabled (ENODEV, -19).",
            "Likely: something else wrote there (a second livepatch system, a security module), or the module was built wrongly (kpatch: "
            'a function without its fentry call). The lines "ftrace failed to modify", "actual" and "expected" say where.',
        ),
    ),
    (
        "klp_",
        (
            "The warning is livepatch's own: a state that should not occur. The report with the trace belongs to live-patching@vger.kernel.org.",
        ),
    ),
    ("check_kernel_text_object", ("A usercopy check, not livepatch.",)),
)


def _warning(case: Case) -> Iterator[str]:
    place = f"{case.fields.get('function_at', '')} {case.fields.get('file', '')}"
    for word, says in _KNOWN_PLACES:
        if word in place:
            yield from says
            return
    if "kernel/livepatch/" in place:
        yield from _KNOWN_PLACES[2][1]
    elif "kernel/module" in place or "module.c" in place:
        yield "It is the module loader's; the trace says during which load."
    elif "unwind" in place:
        yield "It is the stack unwinder's: a task whose stack cannot be read is not switched over."
    else:
        yield "It need not have to do with modules: a warning is only where the kernel noticed something. The trace below says on which way."


def _in_module(case: Case) -> Iterator[str]:
    where = case.fields.get("where", "")
    if "[" in where:
        module = where.partition("[")[2].rstrip("]")
        yield f"The code is in the module {module}, not in the kernel itself."
    if "stub_for_addr" in where:
        yield "It searched a full table of stubs beyond its end, with klp_mutex held: no module can be loaded any more."
    if "apply_relocate_add" in where or "klp_" in where:
        yield "It happened while relocations or livepatches were being handled."


_TAINTED = re.compile(r"([\w-]+)\(([A-Z+-]+)\)")


def _linked(case: Case) -> Iterator[str]:
    loaded = case["linked"].partition("[last unloaded")[0]
    if not loaded.strip():
        return
    found = [f"{name} ({taints})" for name, taints in _TAINTED.findall(loaded) if "K" in taints]
    if found:
        yield f"Livepatches among them: {', '.join(found)}."
    else:
        yield "No livepatch is in this line: none has (K)."


_FAULT = (
    possible("a pointer to something that has gone: data or code of a module that was removed."),
    possible(
        "a write to memory that is read-only (#PF: permissions violation), such as a livepatch's relocation in .rodata."
    ),
)

ROWS = (
    Row(
        "CUT_HERE",
        _PANIC,
        "------------[ cut here ]------------",
        "Here begins a warning or a bug report with its trace; the next line says where in the kernel.",
    ),
    Row(
        "END_TRACE",
        _PANIC,
        "---[ end trace {id} ]---",
        "Here the trace ends. The number is a random one for this boot (0 since 5.17).",
    ),
    Row(
        "WARNING",
        _PANIC,
        "WARNING: CPU: {cpu} PID: {pid} at {file}:{source_line} {function_at}",
        "A warning of the kernel at {file}:{source_line}, in {function_at}. It goes on.",
        by=_warning,
        kernels="4.2 to about 6.18",
    ),
    Row(
        "WARNING_AT",
        _PANIC,
        "WARNING: CPU: {cpu} PID: {pid} at {function_at}",
        "A warning of the kernel in {function_at}. It goes on.",
        by=_warning,
    ),
    Row(
        "WARNING_LATER",
        _PANIC,
        "WARNING: {file}:{source_line} at {function_at}, CPU#{cpu}: {comm}/{pid}",
        "A warning of the kernel at {file}:{source_line}, in {function_at}, while {comm} ran. It goes on.",
        by=_warning,
        kernels="7.3, not 6.12",
    ),
    Row(
        "WARNING_OLD",
        _PANIC,
        "WARNING: at {file}:{source_line} {function_at}",
        "A warning of the kernel at {file}:{source_line}, in {function_at}. It goes on.",
        by=_warning,
        kernels="up to 3.x and vendors' kernels",
    ),
    # -- faults -------------------------------------------------------------------------------------------------------------
    Row(
        "PAGE_FAULT",
        _X86_FAULT,
        "BUG: unable to handle page fault for address: {address}",
        "The kernel touched memory at {address} that is not there, or that it may not use so. " + _KILLED,
        _FAULT,
        "The line RIP: says where, the lines #PF: whether it read, wrote or executed.",
        kernels="5.2 and later",
    ),
    Row(
        "PAGE_FAULT_OLD",
        _X86_FAULT,
        "BUG: unable to handle kernel paging request at {address}",
        "The kernel touched memory at {address} that is not there, or that it may not use so. " + _KILLED,
        _FAULT,
        "The line IP: or RIP: says where; Oops: 0003 is a write to read-only memory, 0000 a read of what is not mapped, 0010 or 0011 a jump to it.",
        kernels="before 5.2",
    ),
    Row(
        "NULL_POINTER",
        _X86_FAULT,
        "BUG: kernel NULL pointer dereference, address: {address}",
        "The kernel used a pointer that is NULL (plus an offset: {address}). " + _KILLED,
        kernels="5.2 and later",
    ),
    Row(
        "NULL_POINTER_OLD",
        _X86_FAULT,
        "BUG: unable to handle kernel NULL pointer dereference at {address}",
        "The kernel used a pointer that is NULL (plus an offset: {address}). " + _KILLED,
    ),
    Row(
        "PF_ACCESS",
        _X86_FAULT,
        "#PF: supervisor {access} access in kernel mode",
        "The fault was a {access} (write access to read-only memory, if permissions are the reason), by the kernel.",
        kernels="5.2 and later",
    ),
    Row(
        "PF_ERROR",
        _X86_FAULT,
        "#PF: error_code({code}) - {text}",
        'Why: "not-present page" is memory that is not mapped (freed, or a wild pointer); "permissions violation" is mapped, but read-only or not executable.',
        kernels="5.2 and later",
    ),
    Row(
        "NX",
        _X86_FAULT,
        "kernel tried to execute NX-protected page",
        "The kernel jumped to memory that holds no code.",
        (likely("a pointer to a function of a module that has gone, or a wrongly relocated call."),),
    ),
    Row(
        "OOPS",
        "arch/x86/kernel/dumpstack.c",
        "Oops: {code} [#{count}]{flags}",
        "The kernel's fault number {count} of this boot (code {code}). "
        + _KILLED
        + " Only the first one can be trusted.",
        optional="Internal error: ",
    ),
    Row(
        "OOPS_PPC",
        "arch/powerpc/kernel/traps.c",
        "Oops: {reason}, sig: {count} [#{index}]",
        "The kernel's fault number {index} of this boot ({reason}). " + _KILLED + " Only the first one can be trusted.",
    ),
    Row(
        "OOPS_NAMED",
        "arch/x86/kernel/dumpstack.c",
        "Oops: Oops: {code} [#{count}]{flags}",
        "The kernel's fault number {count} of this boot (code {code}). "
        + _KILLED
        + " Only the first one can be trusted.",
        kernels="6.9 and later",
    ),
    Row(
        "GPF",
        "arch/x86/kernel/traps.c",
        "general protection fault, {text}: {code} [#{count}]{flags}",
        "The processor refused an address ({text}). " + _KILLED,
        (likely("a pointer that was overwritten or freed."),),
        optional="Oops: ",
    ),
    Row(
        "GPF_OLD",
        "arch/x86/kernel/traps.c",
        "general protection fault: {code} [#{count}]{flags}",
        "The processor refused an address. " + _KILLED,
        optional="Oops: ",
    ),
    Row(
        "INVALID_OPCODE",
        "arch/x86/kernel/traps.c",
        "invalid opcode: {code} [#{count}]{flags}",
        "The processor met bytes that are no instruction: a BUG(), or code that was written wrongly. " + _KILLED,
        optional="Oops: ",
    ),
    Row(
        "KERNEL_BUG", "lib/bug.c", "kernel BUG at {file}:{source_line}!", "A BUG() at {file}:{source_line}. " + _KILLED
    ),
    Row("RIP", "arch/x86/kernel/dumpstack.c", "RIP: {segment}:{where}", "Where it happened: {where}.", by=_in_module),
    Row(
        "IP_OLD",
        "arch/x86/kernel/dumpstack.c",
        "IP: [<{address}>] {where}",
        "Where it happened: {where}.",
        by=_in_module,
        kernels="up to about 4.9",
    ),
    Row("NOT_SYNCING", _PANIC, "Kernel panic - not syncing: {text}", "The machine has stopped: {text}"),
    Row(
        "PPC_DATA",
        _PPC_FAULT,
        "BUG: Unable to handle kernel data access on {access} at {address}",
        "The kernel wanted to {access} at {address}, where no page is mapped, or none that it may use so. " + _KILLED,
        (
            likely(
                "if the trace names stub_for_addr, it searched a full table of stubs beyond its end, with klp_mutex held: from now on no module can be loaded and no livepatch disabled."
            ),
        ),
        kernels="5.6 or near, and later",
    ),
    Row(
        "PPC_DATA_AT",
        _PPC_FAULT,
        "BUG: Unable to handle kernel data access at {address}",
        "The kernel used memory at {address} that is not there. " + _KILLED,
    ),
    Row(
        "PPC_FETCH",
        _PPC_FAULT,
        "BUG: Unable to handle kernel instruction fetch",
        "The kernel jumped to an address where no code is. " + _KILLED,
    ),
    Row(
        "PPC_OLD",
        _PPC_FAULT,
        "Unable to handle kernel paging request for {text} at address {address}",
        "The kernel used memory at {address} that is not there ({text}). " + _KILLED,
        kernels="up to about 5.5",
    ),
    Row(
        "ARM64_FAULT",
        "arch/arm64/mm/fault.c",
        "Unable to handle kernel {text} at virtual address {address}",
        "The kernel used memory at {address} that is not there, or that it may not use so ({text}). " + _KILLED,
    ),
    Row(
        "S390_FAULT",
        "arch/s390/mm/fault.c",
        "Unable to handle kernel pointer dereference in virtual kernel address space",
        "The kernel used memory that is not there, or that it may not use so. " + _KILLED,
        cure="The line Failing address: says which, the line Krnl PSW : where in the code.",
    ),
    Row(
        "MODULES_LINKED",
        "kernel/module/main.c",
        "Modules linked in:{linked}",
        "The modules that were loaded, in brackets their taints: (K) a livepatch, (O) built outside the kernel, (E) unsigned, (F) forced, (P) proprietary, (+) loading, (-) going.",
        by=_linked,
    ),
    # -- memory and names ---------------------------------------------------------------------------------------------------
    Row(
        "VMAP_FAILED",
        "mm/vmalloc.c",
        "vmap allocation for size {count} failed: use vmalloc=<size> to increase size",
        "There is no free room of {count} bytes in the addresses kept for this. During a load: no room for modules (ENOMEM, -12).",
        cure="The advice vmalloc= does not help modules: fewer or smaller modules do, or a reboot. /proc/modules shows their sizes.",
    ),
    Row(
        "EXECMEM",
        "mm/execmem.c",
        "execmem: unable to allocate memory",
        "There is no room for code: during a load, none for the module (ENOMEM, -12).",
        kernels="6.10 and later",
    ),
    Row(
        "SYSFS_DUPLICATE",
        "fs/sysfs/dir.c",
        "sysfs: cannot create duplicate filename '{name}'",
        "Something wanted to make {name} in /sys, and it is there already. A trace follows; the caller gets EEXIST (-17).",
        (likely("of a livepatch: it names the same object, or the same function of one, twice."),),
    ),
    Row(
        "KOBJECT_DUPLICATE",
        "lib/kobject.c",
        "kobject_add_internal failed for {name} with -EEXIST, don't try to register things with the same name in the same directory.",
        "{name} could not be made in /sys, since it is there already; the lines before say where.",
        optional="kobject: ",
    ),
    # -- ftrace -------------------------------------------------------------------------------------------------------------
    Row(
        "FTRACE_BUG",
        _FTRACE,
        "------------[ ftrace bug ]------------",
        _KNOWN_PLACES[1][1][0],
        cure="Only a reboot brings ftrace back.",
    ),
    Row(
        "FTRACE_MODIFY",
        _FTRACE,
        "ftrace failed to modify",
        'The bytes at this function\'s start are not those that ftrace expects; "actual" and "expected" follow.',
        (
            likely(
                "something else wrote there (int3 of a probe, another live patching system), or the module was built or loaded wrongly."
            ),
        ),
    ),
    Row(
        "FTRACE_FAULT",
        _FTRACE,
        "ftrace faulted on modifying",
        "The place of a function could not be read: its memory is not mapped (an init section that has gone, or one that was never kept).",
    ),
    Row("FTRACE_WRITE", _FTRACE, "ftrace faulted on writing", "The place of a function could not be written."),
    Row(
        "FTRACE_UNKNOWN",
        _FTRACE,
        "ftrace faulted on unknown error",
        "ftrace could not change a function for another reason.",
    ),
    Row(
        "FTRACE_FLAGS",
        _FTRACE,
        "ftrace record flags: {flags}",
        "What ftrace knew of the place; a line for ftrace's own authors.",
    ),
    Row(
        "FTRACE_ENTRIES",
        _FTRACE,
        "ftrace: failed to allocate entries for module '{module}' functions",
        "No memory for ftrace's table of {module}: its functions cannot be traced or livepatched.",
    ),
    Row(
        "FTRACE_DEPRECATED",
        _FTRACE,
        "The ftrace_enabled file is deprecated and no longer disables ftrace",
        "Writing 0 to kernel.ftrace_enabled does nothing on this kernel; livepatches stay in force. Said once.",
        kernels="7.3, not 6.12",
    ),
    # -- hanging ------------------------------------------------------------------------------------------------------------
    Row(
        "HUNG_TASK",
        "kernel/hung_task.c",
        "INFO: task {comm}:{pid} blocked for more than {count} seconds.",
        "{comm} ({pid}) has waited for {count} seconds without being woken.",
        (
            possible("for klp_mutex or module_mutex, held by something that died (look for an oops before)."),
            possible("for a device or a network server."),
        ),
        "The trace below says for what. A task that sleeps in a patched function holds up a transition as long.",
    ),
    Row(
        "SOFT_LOCKUP",
        "kernel/watchdog.c",
        "BUG: soft lockup - CPU#{cpu} stuck for {count}s!",
        "A processor ran in the kernel for {count} seconds without scheduling.",
        (possible("a livepatch whose new function loops; or a very long list of tasks or symbols."),),
    ),
    Row(
        "RCU_STALL",
        "kernel/rcu/tree_stall.h",
        "rcu: INFO: {flavour} detected stall",
        "RCU waits for a processor or a task that does not let go.",
    ),
    Row(
        "RCU_STALL_SELF",
        "kernel/rcu/tree_stall.h",
        "rcu: INFO: {flavour} self-detected stall",
        "RCU waits for this processor, which does not let go.",
    ),
)
