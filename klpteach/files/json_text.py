"""JSON as strangers write it: what cannot be read is said in words of ours, and not in Python's about its own limits."""

from __future__ import annotations

import json
from typing import Any

from ..errors import KlpteachError


def from_json(text: str | bytes) -> Any:
    """The value that a JSON text holds. Errors: KlpteachError, which does not name the file.

    >>> from_json('{"a": ' + "[" * 100_000)
    Traceback (most recent call last):
    klpteach.errors.KlpteachError: not JSON that can be read (too many brackets within each other)
    """
    try:
        return json.loads(text)
    except RecursionError:
        why = "not JSON that can be read (too many brackets within each other)"
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        why = f"not JSON ({error})"
    except ValueError:  # Python makes no int of so many digits
        why = "not JSON that can be read (a number has thousands of digits)"
    raise KlpteachError(why)
