"""Write the answers down as they are now: python tests/approved/approve.py

Then read the diff. Each line that changed is something that a reader sees, so each is meant, or a mistake.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

from answers import HERE, TABLES, place, text  # noqa: E402

if __name__ == "__main__":
    warnings.simplefilter("error")
    for path in HERE.glob("*.txt"):
        if path.stem not in TABLES:
            path.unlink()
    for name in TABLES:
        now = text(name)
        if not place(name).exists() or place(name).read_text() != now:
            place(name).write_text(now)
            print(f"{place(name).name}: {now.count(chr(10))} lines")
