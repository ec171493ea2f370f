"""The tables in data/*.csv, as rows of text."""

from __future__ import annotations

import csv

from ..errors import KlpteachError
from ..files.samples import data_dir

_HINT = "Set KLPTEACH_DATA to the data folder."


def read_rows(name: str, columns: list[str], hint: str = _HINT) -> list[dict[str, str]]:
    """The rows of a table. Errors: KlpteachError where the file is missing or has other columns."""
    try:
        with (data_dir() / name).open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if reader.fieldnames != columns:
                raise KlpteachError(f"{name}: its columns are not {', '.join(columns)}. Is it this version's file?")
            return list(reader)
    except OSError as error:
        raise KlpteachError(f"{name}: cannot be read ({error.strerror}). {hint}") from None
