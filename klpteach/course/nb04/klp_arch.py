"""Two writers of the same bytes: a relocation against the kernel, and the special sections that replace the instruction.

A small simulation for notebook 04. The relocation is written by the model's apply_relocate_add(); the instruction and what
replaces it are bytes that objdump reads as named below. Simplified: one call, one replacement, always the native one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...files.module_file import ModuleFile
from ...files.write import tiny_module
from ...model.errno import Refused
from ...model.load_image import laid_out
from ...model.policy import behaviour

CALL = bytes.fromhex("ff142500000000")  # call *ADDRESS: an absolute address in 32 bits (R_X86_64_32S, 3 bytes in)
NATIVE = bytes.fromhex("fa660f1f440000")  # cli, and a nop of 6 bytes: what bare hardware runs instead
IRQ_DISABLE = 0xFFFFFFFF82C3A9B0  # an invented address for the pointer to call; pv_ops of a real kernel is elsewhere
SITE = 0xFFFFFFFFC0206100
LIVEPATCH = tiny_module("livepatch", {".text": CALL}, [("pv_ops", None, 0)], [(".text", 3, 11, "pv_ops", 0)])

RELOCATE, REPLACE, TARGET, REDIRECT, INIT = EVENTS = (
    "relocations against the kernel are written",
    "special sections replace instructions",
    "relocations against the target are written",
    "functions are redirected",
    "init() of the target runs, and calls a patched function",
)


@dataclass(frozen=True)
class Stage:
    """The seven bytes after one event. ends: "" or how it ended there: "refused", "right", "corrupt", "old"."""

    event: str
    code: bytes
    ends: str = ""


def play(order: Sequence[str] = EVENTS, check: bool = False) -> list[Stage]:
    """Let the events happen in an order; check is whether the kernel has the test of eda9cec4c9a1.

    >>> [stage.code.hex(" ") for stage in play([RELOCATE, REPLACE])]
    ['ff 14 25 b0 a9 c3 82', 'fa 66 0f 1f 44 00 00']
    >>> [stage.code.hex(" ") for stage in play([REPLACE, RELOCATE])]
    ['fa 66 0f 1f 44 00 00', 'fa 66 0f b0 a9 c3 82']
    """
    rules = behaviour("6.1", [] if check else ["remove-check"])
    me = laid_out(ModuleFile(LIVEPATCH, "livepatch.ko"), SITE, rules, lambda line: None)
    me.simplify_symbols(lambda name: IRQ_DISABLE)
    code, redirected, stages = me.image.bytes_of(me.file.section_names.index(".text")), False, []
    for event in order:
        ends = ""
        if event == RELOCATE:
            try:
                me.image.arch.apply_relocate_add(me, me.file.section_names.index(".rela.text"))
            except Refused:
                ends = "refused"
        elif event == REPLACE:
            code[:] = np.frombuffer(NATIVE, "u1")  # apply_paravirt() writes the whole site, whatever is there
        elif event == REDIRECT:
            redirected = True
        elif event == INIT and not redirected:
            ends = "old"
        elif event == INIT:
            ends = "right" if bytes(code) == NATIVE else "corrupt"
        stages.append(Stage(event, bytes(code), ends))
        if ends == "refused":
            break
    return stages


def swapped(first: int, events: Sequence[str] = EVENTS) -> list[str]:
    """The events with number `first` (from 0) and the next one changed about."""
    return [*events[:first], events[first + 1], events[first], *events[first + 2 :]]


def ends(order: Sequence[str], check: bool = False) -> str:
    """How an order ends: "right", "corrupt", "old" (the unpatched function runs) or "refused"."""
    return next((stage.ends for stage in play(order, check) if stage.ends), "right")
