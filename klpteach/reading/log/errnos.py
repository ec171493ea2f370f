"""What an errno looks like to the user of insmod and modprobe, and what it means in the lines that carry one.

kmod puts its own words for some: tools/insmod.c and tools/modprobe.c; the others are strerror()'s.
"""

from __future__ import annotations

from ...model.errno import errno_name

# errno -> what insmod prints, what modprobe prints
SEEN: dict[int, tuple[str, str]] = {
    -1: ("Operation not permitted", "Operation not permitted"),
    -2: ("Unknown symbol in module", "Unknown symbol in module, or unknown parameter (see dmesg)"),
    -3: ("Module has wrong symbol version", "No such process"),
    -4: ("Interrupted system call", "Interrupted system call"),
    -8: ("Invalid module format", "Exec format error"),
    -11: ("Resource temporarily unavailable", "Resource temporarily unavailable"),
    -12: ("Cannot allocate memory", "Cannot allocate memory"),
    -14: ("Bad address", "Bad address"),
    -16: ("Device or resource busy", "Device or resource busy"),
    -17: ("File exists", "Module already in kernel"),
    -19: ("No such device", "No such device"),
    -22: ("Invalid parameters", "Invalid argument"),
    -38: ("Function not implemented", "Function not implemented"),
    -129: ("Key was rejected by service", "Key was rejected by service"),
}


def named(number: int) -> str:
    """An errno with its name.

    >>> named(-8), named(0)
    ('-8, ENOEXEC', '0')
    """
    name = errno_name(number)
    return str(number) if name == str(number) else f"{number}, {name}"


def seen(number: int) -> str:
    """What the user sees of it."""
    if number not in SEEN:
        return ""
    insmod, modprobe = SEEN[number]
    return f'insmod says "{insmod}", modprobe says "{modprobe}".'


# klp_init_object_loaded(): relocations of the object, then its functions
INIT: dict[int, str] = {
    -2: "no size in kallsyms for a function, or (ppc64le) no free stub for a call; a line before says which.",
    -8: "a relocation was refused by the architecture: bytes at its place that are not zero (x86_64) or a nop that is none "
    "(ppc64le), a value that does not fit, or an unknown type; the line before says which.",
    -12: "no memory.",
    -22: "a symbol or section did not pass: not found, not unique, not marked or badly named; the line before says which.",
}
# klp_patch_object(): ftrace
APPLY: dict[int, str] = {
    -12: "no memory for the ftrace handler.",
    -16: "something else already redirects a function of it (see the line before), or kernel.ftrace_enabled is 0.",
    -19: "ftrace has switched itself off after a bug; only a reboot brings it back.",
    -22: "a function has no place where ftrace could take over; the line before names it.",
}
# register_ftrace_function() and ftrace_set_filter_ip()
FTRACE: dict[int, str] = {
    -2: "ftrace does not know this place.",
    -12: "no memory.",
    -16: "something else already changes where this function goes: a kprobe with a post handler, another live patching system "
    "(kpatch.ko), or before 6.0 a BPF trampoline (fentry, LSM); or kernel.ftrace_enabled is 0 (from 5.5 on that is refused).",
    -19: "ftrace has switched itself off after a bug (look for ftrace_bug earlier in the log); only a reboot brings it back.",
    -22: "the address is no place that ftrace knows.",
}

# The words behind the last colon of insmod, modprobe and rmmod: the longer first, where one begins like another
WHY = (
    "Unknown symbol in module, or unknown parameter (see dmesg)",
    "Unknown symbol in module, or unknown parameter",
    "Unknown symbol in module",
    "Module has wrong symbol version",
    "Invalid module format",
    "Invalid parameters",
    "Invalid parameter",
    "Invalid argument",
    "Exec format error",
    "Key was rejected by service",
    "Required key not available",
    "Package not installed",
    "Bad message",
    "File exists",
    "Module already in kernel",
    "Device or resource busy",
    "Resource temporarily unavailable",
    "Operation not permitted",
    "Permission denied",
    "Cannot allocate memory",
    "No such device or address",
    "No such device",
    "No such file or directory",
    "Function not implemented",
    "Bad address",
)
