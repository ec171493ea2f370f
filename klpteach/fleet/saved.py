"""A kernel of the model put aside, to be gone on from as often as needed: bytes for what changes, the rest shared.

What changes is pickled: lists of modules and patches, flags, and the memory of the modules without the zeros at its ends.
What never changes once it is made (files, layouts, rules, functions) is kept once and referred to.
"""

from __future__ import annotations

import io
import pickle
from pathlib import PurePath
from types import FunctionType
from typing import Any

import numpy as np

from ..files.module_file import ModuleFile
from ..model.image import Arch, Array, Layout
from ..model.kernel import Kernel
from ..model.messages import Message
from ..model.policy import Behaviour
from ..model.recording import Recording

SHARED = (ModuleFile, Layout, Behaviour, Arch, Message, Recording, FunctionType, PurePath)


class Shelf:
    """Kernels put aside. take() gives a new one each time, equal to the one that was put there.

    >>> shelf, kernel = Shelf(), Kernel()
    >>> kernel.looking = False
    >>> kept = shelf.put(kernel)
    >>> kernel.insmod("nfsd_demo.ko").errno, len(kernel.modules), len(shelf.take(kept).modules)
    (0, 1, 0)
    """

    def __init__(self) -> None:
        self.things: dict[int, object] = {}  # by id(); kept here, so that no id is given again

    def put(self, kernel: Kernel) -> bytes:
        """The kernel as bytes that mean something to this shelf only."""
        self.things[id(kernel._exports)] = kernel._exports
        self.things[id(kernel._known)] = kernel._known
        written = io.BytesIO()
        _Pickler(written, self.things).dump(kernel)
        return written.getvalue()

    def take(self, kept: bytes) -> Kernel:
        """A kernel that goes on from there."""
        kernel: Kernel = _Unpickler(io.BytesIO(kept), self.things).load()
        return kernel


class _Pickler(pickle.Pickler):
    def __init__(self, file: io.BytesIO, things: dict[int, object]) -> None:
        super().__init__(file, protocol=5)
        self.things = things

    def persistent_id(self, thing: object) -> int | None:
        number = id(thing)
        if number not in self.things:
            if not isinstance(thing, SHARED):
                return None
            self.things[number] = thing
        return number

    def reducer_override(self, thing: Any) -> Any:
        if isinstance(thing, np.ndarray) and thing.dtype == np.uint8 and len(thing) % 8 == 0:
            words = np.flatnonzero(thing.view("u8"))
            used = 8 * (int(words[-1]) + 1) if len(words) else 0
            return _memory, (len(thing), thing[:used].tobytes())
        return NotImplemented


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, things: dict[int, object]) -> None:
        super().__init__(file)
        self.things = things

    def persistent_load(self, number: int) -> object:
        return self.things[number]


def _memory(size: int, used: bytes) -> Array:
    memory = np.zeros(size, "u1")
    memory[: len(used)] = np.frombuffer(used, "u1")
    return memory
