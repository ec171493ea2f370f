"""Numbers in words, as verdicts and pictures say them."""

from __future__ import annotations

ERRNO = {
    1: "EPERM",
    2: "ENOENT",
    8: "ENOEXEC",
    11: "EAGAIN",
    12: "ENOMEM",
    14: "EFAULT",
    16: "EBUSY",
    17: "EEXIST",
    19: "ENODEV",
    22: "EINVAL",
    28: "ENOSPC",
    34: "ERANGE",
    95: "EOPNOTSUPP",
    126: "ENOKEY",
}  # Linux' numbers, whatever runs this


def errno_words(number: int | None) -> str:
    """An errno as the headline shows it.

    >>> errno_words(-8)
    'ENOEXEC (−8)'
    """
    return f"{ERRNO.get(-number, 'errno')} (−{-number})" if number else ""


def count(number: int, thing: str = "site") -> str:
    """1 site, 2 sites."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def every(number: int) -> str:
    """all 10 sites, both sites, the one site."""
    return {1: "the one site", 2: "both sites"}.get(number, f"all {number} sites")


def listed(names: list[str]) -> str:
    """Names in a sentence.

    >>> listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"])
    ('a', 'a and b', 'a, b and c')
    """
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))
