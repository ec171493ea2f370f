"""What notebook 03 shows of loading on x86_64: sums that were written, what moves with a base, what a wrong offset hits."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import lru_cache

from ...files.elf_h import SHN_UNDEF
from ...files.module_file import ModuleFile
from ...files.relocation_types import HOWTO_X86_64
from ...files.samples import sample
from ...model.kernel import Kernel
from ...model.load_image import load_image
from ...model.recording import Recording
from ...reading.history import History
from ...reading.sums import Sum, sum_at
from ...scenarios.recorded import evidence

LIVEPATCH, DEFECT = "livepatch_nfsd_demo", "offset-off-by-8"
BASE = 0xFFFFFFFFC0201000
PRINTK = 0xFFFFFFFF81000000  # where the kernel's own symbols are taken to be, in a comparison of bases
RECORDED = (
    "reload--6.1--REFUSED", "moved--6.1--REFUSED", "late--6.1--REFUSED", "reload--6.12--LOADS", "moved--6.12--LOADS",
)  # fmt: skip


@dataclass(frozen=True)
class Written:
    """A site after a step: the sum of its relocation, and the bytes in memory."""

    key: str
    sum: Sum
    stored: bytes


def written(recording: Recording, step: int) -> list[Written]:
    """Every x86_64 livepatch site that holds something after a step (1 is the first), in the order of the file."""
    history, index = History(recording), step - 1
    sums = ((key, sum_at(history, key, index), value) for key, value in (recording[index].sites or {}).items())
    return [Written(key, found, value) for key, found, value in sums if found and any(value)]


@lru_cache(maxsize=1)
def recorded_calls() -> tuple[Written, ...]:
    """Every 32-bit distance that real kernels wrote into a livepatch, once each."""
    found: dict[tuple[int, int, int], Written] = {}
    for recording in map(evidence, RECORDED):
        for number, step in enumerate(recording, start=1):
            for one in written(recording, number) if step.sites and not step.refused else ():
                if one.sum.relative and len(one.stored) == 4:
                    found.setdefault((one.sum.S, one.sum.A, one.sum.P), one)
    return tuple(found.values())


def some_calls(rng: random.Random, count: int) -> list[Written]:
    """Some of recorded_calls(), different ones for another seed."""
    return rng.sample(recorded_calls(), count)


@dataclass(frozen=True)
class Move:
    """One relocation of a module that is loaded at two bases: its type, whose symbol it names, and whether its bytes differ."""

    type: str
    relative: bool
    own: bool
    changed: bool


def moved(file: ModuleFile, by: int = 0x5000, base: int = BASE) -> list[Move]:
    """What becomes of every relocation when the whole module is loaded `by` bytes further on (a multiple of a page).

    Simplified: all the kernel's symbols are taken to be at one address, which stays where it is.

    >>> sum(move.changed for move in moved(ModuleFile.open(sample("nfsd_demo.ko")), by=0))
    0
    """
    images = [load_image(file, place, lambda name: PRINTK) for place in (base, base + by)]
    found = []
    for index in file.rela_sections:
        target = int(file.shdrs["info"][index])
        before, after = (bytes(image.bytes_of(target)) for image in images)
        for offset, kind, symbol, _ in file.rela(index).tolist() if before else ():
            howto, span = HOWTO_X86_64[kind], slice(offset, offset + HOWTO_X86_64[kind].width)
            own = int(file.symtab["shndx"][symbol]) != SHN_UNDEF
            found.append(Move(howto.name, howto.relative, own, before[span] != after[span]))
    return found


# What the compiler made of `demo_scale(demo_counter)` in livepatch_nfsd_demo.ko for 6.1: offsets in .text.
INSTRUCTIONS = (("mov demo_counter,%edi", 0x15, 0x1B), ("call demo_scale", 0x1B, 0x20), ("mov …,%rdx", 0x20, 0x27))


def loaded_text(defect: str = "", proposals: tuple[str, ...] = ()) -> tuple[int | None, list[str], bytes]:
    """Load a livepatch, with a defect of klpteach.files.corrupt, beside its target on 6.1: errno, lines, its .text if it stays."""
    kernel = Kernel(release="6.1", proposals=proposals)
    kernel.insmod("nfsd_demo.ko")
    step = kernel.insmod(f"{LIVEPATCH}{'+' if defect else ''}{defect}.ko")
    found = kernel.find_module(LIVEPATCH)
    return step.errno, step.lines, bytes(found.image.sections[".text"][1]) if found else b""


def damage() -> dict[str, dict[str, bytes]]:
    """Three instructions: in the file, relocated as they should be, and with one relocation 8 bytes too far and no check."""
    file = ModuleFile.open(sample(f"{LIVEPATCH}.ko"))
    texts = {
        "in the file": bytes(file.section_bytes(file.section_names.index(".text"))),
        "relocated": loaded_text()[2],
        "one relocation 8 bytes too far, no check": loaded_text(DEFECT, ("remove-check",))[2],
    }
    return {row: {name: text[start:end] for name, start, end in INSTRUCTIONS} for row, text in texts.items()}
