"""Linux' errnos (include/uapi/asm-generic/errno.h), whatever runs this, and a kernel function that returns one."""

from __future__ import annotations

EPERM, ENOENT, ENOEXEC, EAGAIN, ENOMEM, EBUSY, EEXIST, ENODEV, EINVAL, ERANGE = (
    -1, -2, -8, -11, -12, -16, -17, -19, -22, -34,
)  # fmt: skip
ESRCH, EIO, EACCES, EOPNOTSUPP = -3, -5, -13, -95
_NAMES = """EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT ENOTBLK EBUSY EEXIST EXDEV
ENODEV ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG ENOSPC ESPIPE EROFS EMLINK EPIPE EDOM ERANGE"""
NAMES = {-number: name for number, name in enumerate(_NAMES.split(), 1)} | {
    -38: "ENOSYS", -61: "ENODATA", -62: "ETIME", -74: "EBADMSG", -75: "EOVERFLOW", -95: "EOPNOTSUPP", -110: "ETIMEDOUT",
    -126: "ENOKEY", -127: "EKEYEXPIRED", -128: "EKEYREVOKED", -129: "EKEYREJECTED",
}  # fmt: skip
# What strerror() of the C library says, by name: another system's, or another library's, says it otherwise.
_WORDS = """EPERM: Operation not permitted; ENOENT: No such file or directory; ESRCH: No such process;
EINTR: Interrupted system call; EIO: Input/output error; ENXIO: No such device or address; E2BIG: Argument list too long;
ENOEXEC: Exec format error; EBADF: Bad file descriptor; ECHILD: No child processes; EAGAIN: Resource temporarily unavailable;
ENOMEM: Cannot allocate memory; EACCES: Permission denied; EFAULT: Bad address; ENOTBLK: Block device required;
EBUSY: Device or resource busy; EEXIST: File exists; EXDEV: Invalid cross-device link; ENODEV: No such device;
ENOTDIR: Not a directory; EISDIR: Is a directory; EINVAL: Invalid argument; ENFILE: Too many open files in system;
EMFILE: Too many open files; ENOTTY: Inappropriate ioctl for device; ETXTBSY: Text file busy; EFBIG: File too large;
ENOSPC: No space left on device; ESPIPE: Illegal seek; EROFS: Read-only file system; EMLINK: Too many links;
EPIPE: Broken pipe; EDOM: Numerical argument out of domain; ERANGE: Numerical result out of range;
ENOSYS: Function not implemented; ENODATA: No data available; ETIME: Timer expired; EBADMSG: Bad message;
EOVERFLOW: Value too large for defined data type; EOPNOTSUPP: Operation not supported; ETIMEDOUT: Connection timed out;
ENOKEY: Required key not available; EKEYEXPIRED: Key has expired; EKEYREVOKED: Key has been revoked;
EKEYREJECTED: Key was rejected by service"""
WORDS = {name.strip(): words for name, words in (one.split(": ") for one in _WORDS.split(";"))}


def errno_name(number: int) -> str:
    """The errno's name in C.

    >>> errno_name(-8), errno_name(0)
    ('ENOEXEC', '0')
    """
    return NAMES.get(number, str(number))


def strerror(number: int) -> str:
    """The errno in words, as the tools print it.

    >>> strerror(-12), strerror(-4000)
    ('Cannot allocate memory', 'Unknown error 4000')
    """
    return WORDS.get(NAMES.get(number, ""), f"Unknown error {-number}")


class Refused(Exception):
    """`return -EXXX;`. It never leaves the model: a command turns it into its step's errno."""

    def __init__(self, errno: int) -> None:
        self.errno = errno


class Hung(Exception):
    """The command waits for a lock that nobody will give back: it never returns, in state D, and cannot be killed."""


class Oops(Exception):
    """The kernel touched memory that is not there; the command dies, its locks stay held. The line is dmesg's first.

    wrecks: whether klp_mutex is one of the locks.
    """

    def __init__(self, line: str, wrecks: bool = True) -> None:
        super().__init__(line)
        self.wrecks = wrecks
