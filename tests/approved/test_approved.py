"""Answers that somebody has read, compared line by line: what a reader is told of damaged modules, stories, and small rules."""

from __future__ import annotations

from itertools import zip_longest

import pytest
from answers import HERE, TABLES, place, text

FIRST = 5  # differing lines that are shown


@pytest.mark.parametrize("name", TABLES)
def test_every_answer_is_the_approved_one(name: str) -> None:
    approved, now = place(name).read_text().splitlines(), text(name).splitlines()
    pairs = enumerate(zip_longest(approved, now, fillvalue="nothing"), 1)
    differ = [f"line {number}\n  was {old}\n  now {new}" for number, (old, new) in pairs if old != new]
    advice = "python tests/approved/approve.py writes what is now; then read the diff."
    assert not differ, "\n".join([f"{len(differ)} answers of {name} changed:", *differ[:FIRST], advice])


def test_all_answers_together_can_still_be_read() -> None:
    assert {path.stem for path in HERE.glob("*.txt")} == TABLES.keys()
    assert sum(path.stat().st_size for path in HERE.glob("*.txt")) < 300_000
