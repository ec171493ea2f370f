"""Is this the answer? Readers write numbers and bytes in many ways; what is compared is what they mean."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any


def same(given: Any, right: Any) -> bool:
    """Whether a reader's answer means the right one: 0x text for a number, hex text for bytes, any sequence for a list.

    >>> same("0x10", 16), same("e8 41 00 18", bytes.fromhex("e8410018")), same(("b", "a"), ["b", "a"])
    (True, True, True)
    >>> same("sixteen", 16), same(True, 1)
    (False, False)
    """
    given = plain(given)
    if isinstance(right, bool) or isinstance(given, bool):
        return given is right
    if isinstance(right, int):
        return as_number(given) == right
    if isinstance(right, bytes):
        return as_bytes(given) == right
    if isinstance(right, str):
        return isinstance(given, str) and given.strip().casefold() == right.strip().casefold()
    if isinstance(right, (set, frozenset)):
        return not isinstance(given, str) and set(given) == set(right)
    if isinstance(right, dict):
        return isinstance(given, dict) and given.keys() == right.keys() and all(same(given[k], right[k]) for k in right)
    if isinstance(right, Sequence):
        listed = isinstance(given, Sequence) and not isinstance(given, (str, bytes))
        return listed and len(given) == len(right) and all(map(same, given, right))
    return bool(given == right)


def plain(value: Any) -> Any:
    """numpy and pandas values as Python's own, anything else as it is; pandas is not imported for it."""
    for convert in ("tolist", "to_dict"):
        if hasattr(value, convert):
            return getattr(value, convert)()
    return bytes(value) if isinstance(value, (bytearray, memoryview)) else value


def as_number(given: Any) -> int | None:
    """A whole number, or its text in any of Python's bases; None where it is neither.

    >>> as_number("0xff"), as_number(" 12 "), as_number("ffff"), as_number(3.0), as_number([])
    (255, 12, 65535, 3, None)
    """
    if isinstance(given, float):
        return int(given) if given.is_integer() else None
    if isinstance(given, int):
        return given
    for base in (0, 16) if isinstance(given, str) else ():
        try:
            return int(given, base)
        except ValueError:
            continue
    return None


def as_bytes(given: Any) -> bytes | None:
    """Bytes, a list of them, or their hex digits (blanks between them do not matter); None where it is neither."""
    try:
        if isinstance(given, str):
            return bytes.fromhex(given.removeprefix("0x").replace(":", " "))
        return bytes(given) if isinstance(given, (bytes, list, tuple)) else None
    except (ValueError, TypeError):
        return None


def as_names(given: Any) -> list[str] | None:
    """Names out of a list, a set, or a text with commas or blanks between them, in small letters; None where it is neither.

    >>> as_names("Clear-Checked, deny-removal"), as_names({"a.ko"}), as_names(7)
    (['clear-checked', 'deny-removal'], ['a'], None)
    """
    parts = given.replace(",", " ").split() if isinstance(given, str) else given
    if not isinstance(parts, (list, tuple, set, frozenset)):
        return None
    return [str(part).strip().casefold().removesuffix(".ko") for part in parts]


def shuffled(rng: random.Random, items: Sequence[str]) -> tuple[dict[str, str], str]:
    """Items in a shuffled order under letters: ({letter: item}, the letters in the right order).

    >>> letters, right = shuffled(random.Random(1), ["first", "second", "third"])
    >>> [letters[letter] for letter in right]
    ['first', 'second', 'third']
    """
    mixed = list(items)
    while len(set(mixed)) > 1 and mixed == list(items):
        rng.shuffle(mixed)
    letters = {chr(ord("a") + number): item for number, item in enumerate(mixed)}
    by_item = {item: letter for letter, item in letters.items()}
    return letters, "".join(by_item[item] for item in items)


def in_order(right: str) -> Callable[[Any], str | None]:
    """A judge for letters in order: a text "cab" or a list of letters. It says how many of the first ones are right.

    >>> in_order("cab")("cba"), in_order("cab")(["c", "a", "b"])
    ('The first 1 of 3 is right; what comes next is not.', None)
    """

    def judge(answer: Any) -> str | None:
        if not isinstance(answer, (str, list, tuple)):
            return f"Give the letters in order, like {''.join(sorted(right))!r}."
        given = "".join(letter for letter in "".join(map(str, answer)).casefold() if letter.isalnum())
        if given == right:
            return None
        if sorted(given) != sorted(right):
            return f"Give each of the letters {', '.join(sorted(right))} once."
        good = next(n for n, (one, other) in enumerate(zip(given, right, strict=True)) if one != other)
        if not good:
            return "Something else comes first."
        return f"The first {good} of {len(right)} {'is' if good == 1 else 'are'} right; what comes next is not."

    return judge


def function_on(cases: Sequence[tuple[tuple[Any, ...], Any]], name: str = "it") -> Callable[[Any], str | None]:
    """A judge for a function that the reader writes: it is called with each case, and the first wrong result is named.

    >>> function_on([((1, 2), 3)], "add")(lambda a, b: a - b)
    'add(1, 2) gives -1; it should be 3.'
    """

    def judge(answer: Any) -> str | None:
        if not callable(answer):
            return f"Give the function itself, without calling it: {name}, not {name}(…)."
        for arguments, right in cases:
            call = f"{name}({', '.join(shown(a) for a in arguments)})"
            try:
                result = answer(*arguments)
            except Exception as error:
                return f"{call} ends in {type(error).__name__}: {error}"
            if not same(result, right):
                return f"{call} gives {shown(result)}; it should be {shown(right)}."
        return None

    return judge


def shown(value: Any) -> str:
    """A value as the course writes it: addresses with 0x and 16 digits, bytes as hex digits.

    >>> shown(0xffffffffc0201000), shown(-8), shown(b"\\x0c\\x20"), shown(["a", 1])
    ('0xffffffffc0201000', '-8', '0c 20', 'a, 1')
    """
    value = plain(value)
    if isinstance(value, bool) or not isinstance(value, (int, bytes, dict, list, tuple, set, frozenset)):
        return str(value)
    if isinstance(value, int):
        big = f"0x{value:016x}" if value >> 32 > 0 else f"{value:#x}"
        return big if abs(value) >= 4096 else str(value)
    if isinstance(value, bytes):
        return value.hex(" ")
    if isinstance(value, dict):
        return ", ".join(f"{key}: {shown(one)}" for key, one in value.items())
    return ", ".join(map(shown, sorted(value) if isinstance(value, (set, frozenset)) else value))
