"""sort() as the kernel has it: a heapsort, so equal entries change places, and not the same ones in every release (lib/sort.c)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def heapsort(keys: Sequence[Any], double_pop: bool) -> list[int]:
    """Indices of `keys` in the order in which sort() leaves them, ascending by key.

    double_pop: the variant of later kernels (6.12; not 6.1), which takes two elements at a time from the heap.
    """
    heap = list(range(len(keys)))
    n, a, shift = len(heap), len(heap) // 2, 0
    if not a:
        return heap
    while True:
        if a:
            a -= 1 << shift
        elif double_pop and n > 3:
            n -= 1
            heap[0], heap[n] = heap[n], heap[0]
            shift = int(keys[heap[1]] <= keys[heap[2]])
            a = 1 << shift
            n -= 1
            heap[a], heap[n] = heap[n], heap[a]
        elif not double_pop and n > 1:
            n -= 1
            heap[0], heap[n] = heap[n], heap[0]
        else:
            break
        _sift_down(heap, keys, a, n, double_pop)
    if double_pop:
        n -= 1
        heap[0], heap[n] = heap[n], heap[0]
        if n == 2 and keys[heap[0]] > keys[heap[1]]:
            heap[0], heap[1] = heap[1], heap[0]
    return heap


def _sift_down(heap: list[int], keys: Sequence[Any], a: int, n: int, double_pop: bool) -> None:
    """Bottom-up: find the path to a leaf, then go back to where the element belongs."""
    b = a
    while (d := 2 * b + 2) < n:
        left, right = keys[heap[d - 1]], keys[heap[d]]
        b = d - 1 if left > right or (left == right and not double_pop) else d
    if d == n:
        b = d - 1
    while b != a and keys[heap[a]] >= keys[heap[b]]:
        b = (b - 1) // 2
    c = b
    while b != a:
        b = (b - 1) // 2
        heap[b], heap[c] = heap[c], heap[b]
