"""A stranger who means well: while the target is away he writes into a site the very value that the next load will write."""

from __future__ import annotations

from ...model.kernel import Kernel
from ...model.recording import Recording
from ...scenarios.scenario import GONE, TARGET

LIVEPATCH = "livepatch_nfsd_demo"


def right_bytes(release: str = "6.12") -> Recording:
    """The reload at the same address, with the first site filled rightly by somebody else before the second load.

    >>> [step.errno for step in right_bytes("6.12")]
    [0, 0, 0, -11, -8]
    """
    kernel = Kernel(release=release)
    kernel.run(TARGET)
    loaded = kernel.insmod(f"{LIVEPATCH}.ko")
    key, value = next(iter((loaded.sites or {}).items()))
    kernel.run(GONE)
    kernel.run(f"poke {key} {int.from_bytes(_eight(kernel, key, value or b''), 'little'):x}")
    kernel.run(TARGET)
    return kernel.recording


def _eight(kernel: Kernel, key: str, value: bytes) -> bytes:
    """The value and what stands behind it now: a poke writes eight bytes, and the site has four."""
    module = kernel.find_module(LIVEPATCH)
    section, offset = key.partition(":")[2].split("+")
    at = int(offset, 16)
    there = bytes(module.image.sections[section][1][at : at + 8]) if module else bytes(8)
    return value + there[len(value) :]
