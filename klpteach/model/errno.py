"""A kernel function that returns a negative errno, as a Python exception inside the model."""

from __future__ import annotations

import errno as _errno

EPERM, ENOENT, EAGAIN, ENOMEM, EBUSY, EEXIST, ENODEV, EINVAL, ENOEXEC = (
    -number
    for number in (
        _errno.EPERM,
        _errno.ENOENT,
        _errno.EAGAIN,
        _errno.ENOMEM,
        _errno.EBUSY,
        _errno.EEXIST,
        _errno.ENODEV,
        _errno.EINVAL,
        _errno.ENOEXEC,
    )
)


class Refused(Exception):
    """`return -EXXX;`. It never leaves the model: a command turns it into its step's errno.

    >>> Refused(ENOEXEC).errno
    -8
    """

    def __init__(self, errno: int) -> None:
        super().__init__(errno)
        self.errno = errno


class Oops(Exception):
    """The kernel touched memory that is not there; the command dies, its locks stay held. The line is dmesg's first."""


def errno_name(number: int) -> str:
    """The errno's name in C.

    >>> errno_name(-8), errno_name(0)
    ('ENOEXEC', '0')
    """
    return _errno.errorcode.get(-number, str(number))
