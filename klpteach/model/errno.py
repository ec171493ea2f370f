"""Linux' errnos (include/uapi/asm-generic/errno-base.h), whatever runs this, and a kernel function that returns one."""

from __future__ import annotations

EPERM, ENOENT, ENOEXEC, EAGAIN, ENOMEM, EBUSY, EEXIST, ENODEV, EINVAL = -1, -2, -8, -11, -12, -16, -17, -19, -22
NAMES = {
    EPERM: "EPERM", ENOENT: "ENOENT", ENOEXEC: "ENOEXEC", EAGAIN: "EAGAIN", ENOMEM: "ENOMEM", -13: "EACCES",
    -14: "EFAULT", EBUSY: "EBUSY", EEXIST: "EEXIST", ENODEV: "ENODEV", EINVAL: "EINVAL", -26: "ETXTBSY", -28: "ENOSPC",
    -34: "ERANGE", -38: "ENOSYS", -95: "EOPNOTSUPP", -126: "ENOKEY", -127: "EKEYEXPIRED", -129: "EKEYREJECTED",
}  # fmt: skip


def errno_name(number: int) -> str:
    """The errno's name in C.

    >>> errno_name(-8), errno_name(0)
    ('ENOEXEC', '0')
    """
    return NAMES.get(number, str(number))


class Refused(Exception):
    """`return -EXXX;`. It never leaves the model: a command turns it into its step's errno."""

    def __init__(self, errno: int) -> None:
        super().__init__(errno)
        self.errno = errno


class Oops(Exception):
    """The kernel touched memory that is not there; the command dies, its locks stay held. The line is dmesg's first."""
