"""What a written value means: kstrtobool() and the integers (lib/kstrtox.c), and the types of module_param() (kernel/params.c)."""

from __future__ import annotations

import re

from .errno import EINVAL, ERANGE, Refused

_BITS = {
    "byte": 8,
    "short": 16,
    "ushort": 16,
    "int": 32,
    "uint": 32,
    "hexint": 32,
    "long": 64,
    "ulong": 64,
    "ullong": 64,
}
_SIGNED = ("short", "int", "long")
_INTEGER = re.compile(r"(-)?\+?(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)\n?")


def kstrtobool(value: str) -> bool | None:
    """What the first letter says, or the second after an o; None for what is neither. Simplified: 5.3 knows no t and f.

    >>> kstrtobool("1"), kstrtobool("yes"), kstrtobool("off"), kstrtobool("2")
    (True, True, False, None)
    """
    first, second = value[:1].lower(), value[1:2].lower()
    if first == "o":
        return {"n": True, "f": False}.get(second)
    return True if first in ("1", "y", "t") else False if first in ("0", "n", "f") else None


def param_set(kind: str, value: str | None) -> str:
    """A value as the parameter's file in sysfs shows it; None where it was given without `=`, which only a bool takes.

    Errors: Refused(-EINVAL) for what is no such value, Refused(-ERANGE) for a number that does not fit.

    >>> param_set("int", "0x10"), param_set("hexint", "16"), param_set("bool", None), param_set("invbool", "off")
    ('16', '0x000010', 'Y', 'N')
    """
    if kind in ("bool", "invbool"):
        flag = kstrtobool("1" if value is None else value)
        if flag is None:
            raise Refused(EINVAL)
        return "Y" if flag else "N"  # an invbool is turned round when it is written, and again when it is read
    if value is None:
        raise Refused(EINVAL)
    if kind not in _BITS:
        return value
    number = kstrtoint(kind, value)
    if kind == "hexint":  # printed with C's %#08x, which has no 0x for 0
        return f"{number:#08x}" if number else "0" * 8
    return str(number)


def kstrtoint(kind: str, value: str) -> int:
    """kstrtoint(value, 0) and its like: 0x is hexadecimal, a leading 0 octal."""
    found = _INTEGER.fullmatch(value)
    signed = kind in _SIGNED
    if found is None or (found[1] and (not signed or "+" in value)):
        raise Refused(EINVAL)
    digits = found[2]
    base = 16 if digits[1:2] in ("x", "X") else 8 if digits[0] == "0" else 10
    if base == 10 and len(digits) > 20:  # no type holds it, and from 4,301 digits on Python does not read it
        raise Refused(ERANGE)
    number = int(digits, base)
    number = -number if found[1] else number
    limit = 1 << (_BITS[kind] - signed)
    if not (-limit if signed else 0) <= number < limit:
        raise Refused(ERANGE)
    return number
