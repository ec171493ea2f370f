"""JSON of strangers: what cannot be read is one sentence, and none of Python's about its own limits."""

from __future__ import annotations

import pytest

from klpteach.errors import KlpteachError
from klpteach.files.json_text import from_json

NO_JSON = {
    "nothing": ("", "not JSON"),
    "half of an object": ('{"a": ', "not JSON"),
    "bytes that are no letters": (b'{"\xff": 1}', "not JSON"),
    "brackets": ("[" * 100_000, "too many brackets within each other"),
    "objects": ('{"a":' * 100_000 + "1" + "}" * 100_000, "too many brackets within each other"),
    "digits": ("9" * 4301, "a number has thousands of digits"),
    "digits within": ('{"a": [-' + "9" * 100_000 + "]}", "a number has thousands of digits"),
}


@pytest.mark.parametrize("what", NO_JSON)
def test_what_is_no_json_is_said_in_our_own_words(what: str) -> None:
    text, words = NO_JSON[what]
    with pytest.raises(KlpteachError, match=words) as told:
        from_json(text)
    assert told.value.__cause__ is None and "sys." not in str(told.value) and "recursion" not in str(told.value)


def test_json_is_read_as_text_and_as_bytes() -> None:
    assert from_json('{"a": [1, null]}') == from_json(b'{"a": [1, null]}') == {"a": [1, None]}
