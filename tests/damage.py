"""A random defect in a file, for tests that fuzz."""

from __future__ import annotations

import random


def mutate(data: bytes, seed: int) -> bytes:
    """Bit flips, a cut, or a header field. The same seed, the same bytes."""
    rng, out = random.Random(seed), bytearray(data)
    if not out:
        return b""
    section_headers = int.from_bytes(out[40:48], "big" if out[5:6] == b"\2" else "little")
    start, end = rng.choice(((0, len(out)), (16, 64), (section_headers, len(out))))
    if rng.random() < 0.25 or not start < end <= len(out):
        return bytes(out[: rng.randrange(len(out))])
    for _ in range(rng.randint(1, 8)):
        position = rng.randrange(start, end)
        out[position] = rng.choice((out[position] ^ 1 << rng.randrange(8), 0, 1, 0x7F, 0xFF))
    return bytes(out)
