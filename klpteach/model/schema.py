"""What a recording's JSON may hold: a check a field. A check gives the value as the model keeps it, or says what is wrong.

Whatever passes can be drawn: every number has its bounds, every list its length, and every name is text that can be shown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import RecordingError, printable, quoted

Check = Callable[[Any], Any]


def _no(value: Any, wanted: str) -> RecordingError:
    return RecordingError(f"{quoted(value)} is no {wanted}")


def text(longest: int = 512, form: str = ".*", keep: str = "", what: str = "") -> Check:
    """Text of a form; control characters and lone surrogates in it are spelled out, but those to keep."""
    pattern = re.compile(form, re.DOTALL)

    def check(value: Any) -> str:
        if not isinstance(value, str) or len(value) > longest or not pattern.fullmatch(value):
            raise _no(value, what or f"text of at most {longest} characters")
        return printable(value, keep)

    return check


def whole(least: int, most: int) -> Check:
    def check(value: Any) -> int:
        if type(value) is not int or not least <= value <= most:
            raise _no(value, f"whole number from {least} to {most}")
        return value

    return check


def flag(value: Any) -> bool:
    if type(value) is not bool:
        raise _no(value, "true or false")
    return value


def address(value: Any) -> int:
    if not isinstance(value, str) or not re.fullmatch(r"(0x)?[0-9a-fA-F]{1,16}", value):
        raise _no(value, "64-bit address in hex")
    return int(value, 16)


def _hexa(value: Any) -> Any:
    address(value)
    return value


def octets(value: Any) -> bytes:
    if not isinstance(value, str) or not re.fullmatch(r"([0-9a-fA-F]{2}){1,64}", value):
        raise _no(value, "up to 64 bytes in hex")
    return bytes.fromhex(value)


def maybe(check: Check) -> Check:
    return lambda value: None if value is None else check(value)


def _within(key: object, check: Check, value: Any) -> Any:
    try:
        return check(value)
    except RecordingError as error:
        raise RecordingError(f"{str(key)[:80]}: {error}") from None


def rows(check: Check, most: int) -> Check:
    def checked(value: Any) -> list[Any]:
        if not isinstance(value, list) or len(value) > most:
            raise _no(value, f"list of at most {most}")
        return [_within(number, check, row) for number, row in enumerate(value)]

    return checked


def table(check: Check, most: int, key: Check | None = None) -> Check:
    """An object whose keys are names that the recording chose."""
    name = key or text()

    def checked(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict) or len(value) > most:
            raise _no(value, f"object of at most {most} keys")
        return {name(key): _within(key, check, row) for key, row in value.items()}

    return checked


def record(must: Mapping[str, Check], may: Mapping[str, Check] | None = None) -> Check:
    """An object whose keys are ours; what it has besides is left out, and what it may have and is null was not looked at."""

    def checked(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise _no(value, "object")
        missing = [key for key in must if key not in value]
        if missing:
            raise RecordingError(f"key {missing[0]!r} is missing")
        here = {key: check for key, check in (may or {}).items() if value.get(key) is not None}
        return {key: _within(key, check, value[key]) for key, check in {**must, **here}.items()}

    return checked


def tuple_of(*checks: Check) -> Check:
    def checked(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list) or len(value) != len(checks):
            raise _no(value, f"list of {len(checks)}")
        return tuple(_within(number, check, one) for number, (check, one) in enumerate(zip(checks, value, strict=True)))

    return checked


def either(key: str, then: Check, otherwise: Check) -> Check:
    """One of two forms, told apart by a key that only the first has."""
    return lambda value: (then if isinstance(value, dict) and key in value else otherwise)(value)


def _octets_in_hex(value: Any) -> Any:
    octets(value)
    return value


# fmt: off
_MODULES, _NAMES, _ADDRESSES = 128, rows(text(), 1024), table(address, 4096)
_ERRNO, _BIT, _SLOT, _LINE = whole(-4095, 0), whole(0, 1), whole(0, 4096), text(8192, keep="\n\t")
_KERNEL = {"arch": text(16, "x86_64|ppc64le|arm64|s390x", what="machine of ours: x86_64, ppc64le, arm64, s390x"),
           "release": text(80, r"\d{1,4}\.\d{1,4}(?!\d).*", what="release"),
           **dict.fromkeys(("version", "variant", "cmdline", "banner", "cpu"), text(4096))}
_MODULE = {"name": text(), "size": whole(0, 1 << 32), "refcount": whole(-1, 1 << 31), "used_by": _NAMES, "state": text(),
           "base": address, "taint": text()}
_STUBS = {"entries": rows(record({"index": _SLOT, "funcdata": _hexa, "symbol": maybe(text(1024))}, {"of": text(1024)}), 4096),
          "num_stubs": _SLOT, "used": _SLOT, "past_end_used": _SLOT}
_PLT = {"max_entries": _SLOT, "entries": rows(_octets_in_hex, 4096)}  # arm64
_PATCH = {"enabled": _BIT, "transition": _BIT, "objects": table(record({}, {"patched": _BIT, "functions": _NAMES}), _MODULES)}
_PLACES = lambda value: {region: base for region, base in table(lambda at: None if at == "new" else address(at), 16)(value).items()
                         if base is not None}  # "new": at some address where no module was before

STEP = record(
    {"command": text(1024, r".*\S.*", what="command")},
    {"errno": _ERRNO, "dmesg": rows(tuple_of(maybe(whole(0, 7)), _LINE), 4096), "quiet": flag, "oops": flag,
     "exit": whole(0, 255), "out": text(1 << 16, keep="\n\t"), "label": text(),
     "modules": rows(record(_MODULE), _MODULES), "livepatch": table(record(_PATCH), _MODULES),
     "sections": table(_ADDRESSES, _MODULES), "symbols": table(rows(tuple_of(address, text(1), text(1024)), 1 << 16), _MODULES),
     "sites": table(octets, 1024, text(1024, r"[^:]+:.+\+0x[0-9a-f]{1,16}", what="site, MODULE:SECTION+0xOFFSET")),
     "stubs": table(either("max_entries", record(_PLT), record(_STUBS)), _MODULES), "placement": table(_PLACES, _MODULES)})
HEAD = record(
    {"scenario": text(), "kernel": record({}, _KERNEL), "steps": rows(lambda step: step, 1000)},
    {"title": text(), "source": text(), "config": _NAMES, "proposals": _NAMES, "files": table(maybe(text()), 1024),
     "init_errno": table(whole(-4095, 4095), 1024), "vmlinux": table(address, 1 << 16)})
# fmt: on
