"""Kernels with a proposal in them: Debian's source, changed in a few places when it is built.

What the proposals come to in C, each in a file of its own, and the table of which kernels there are. A proposal of the
discussion is a sentence; a patch has to decide what the sentence leaves open, and the files say what was chosen.

edit.py        how a change is written down, without a line of the kernel's own source
clear.py       remove-check; clear-relocations as the RFC had it; clear-checked as 6.3 merged it; both on x86_64
pin.py         deny-removal, hard-dependencies
late.py        no-late-patching, refuse-unpatched
half.py        half-loaded
split.py       split-per-object
powerpc.py     clear-relocations, tolerate-r2 and reuse-stub on ppc64le
arm64.py       entries of .plt through the alias
s390x.py       slots of the GOT filled anew, two ways
user_space.py  the halves that are no kernel code: what modprobe pulls in, which parts of a livepatch lie on disk
pack.py        recordings of all of them, packed
shown.py       each as a reader sees it: our lines, where they stand, how many go

Built unmodified, a kernel is called "stock", on x86_64 "small": there stock is Debian's own. A mix is one tuple behind another.
"""

from __future__ import annotations

from collections.abc import Mapping

from . import arm64, clear, half, late, pin, powerpc, s390x, split
from .edit import Edit, edited

__all__ = ["VARIANTS", "Edit", "Variants", "edited", "proposals_of"]

Variants = Mapping[tuple[str, str], tuple[Edit, ...]]  # release, variant -> what is changed

# What concerns kernel/livepatch and kernel/module alone: the same edits on every architecture and on 6.1 and 6.12.
_ANYWHERE: Mapping[str, tuple[Edit, ...]] = {
    "deny-removal": pin.DENY_REMOVAL,
    "hard-dependencies": pin.HARD_DEPENDENCIES,
    "split-per-object": split.SPLIT_PER_OBJECT,
    "no-late-patching": late.NO_LATE_PATCHING,
    "refuse-unpatched": late.REFUSE_UNPATCHED,
    "deny-removal+no-late-patching": (*late.NO_LATE_PATCHING, *pin.DENY_REMOVAL_OF_LOADED),
}
_X86_64: Mapping[str, Mapping[str, tuple[Edit, ...]]] = {
    "6.1": {
        "remove-check": clear.REMOVE_CHECK,
        "clear-relocations": clear.CLEAR_RELOCATIONS,
        "clear-checked": clear.CLEAR_CHECKED,
        "clear-checked-kept": clear.CLEAR_CHECKED_KEPT,
        "clear-also-on-error": (*clear.CLEAR_RELOCATIONS, clear.ALSO_ON_ERROR),
        "deny-removal+clear-checked": (*clear.CLEAR_CHECKED, *pin.DENY_REMOVAL),
        "half-loaded": half.HALF_LOADED,
    },
    "6.12": {  # which clears and compares by itself
        "remove-check": clear.REMOVE_CHECK_6_12,
        "clear-relocations": clear.CLEAR_RELOCATIONS_6_12,
        "clear-also-on-error": (clear.ALSO_ON_ERROR,),
        "half-loaded": half.HALF_LOADED_6_12,
    },
}
_PPC64LE: Mapping[str, Mapping[str, tuple[Edit, ...]]] = {
    "6.1": {
        "clear": powerpc.CLEAR,
        "tolerate": (powerpc.TOLERATE,),
        "reuse": (powerpc.TOLERATE, *powerpc.REUSE),
        "half-loaded": half.HALF_LOADED,
        "deny-removal+reuse": (powerpc.TOLERATE, *powerpc.REUSE, *pin.DENY_REMOVAL),
        "clear+reuse": (*powerpc.CLEAR, powerpc.TOLERATE, *powerpc.REUSE),
    },
    "6.12": {  # which tolerates by itself
        "clear": powerpc.CLEAR,
        "clear+reuse": (*powerpc.CLEAR, *powerpc.REUSE),
        "reuse": powerpc.REUSE,
        "half-loaded": half.HALF_LOADED_6_12,
        "deny-removal+reuse": (*powerpc.REUSE, *pin.DENY_REMOVAL),
    },
}


def _variants(unmodified: str, own: Mapping[str, Mapping[str, tuple[Edit, ...]]]) -> Variants:
    return {
        (release, name): edits
        for release, special in own.items()
        for name, edits in {unmodified: (), **special, **_ANYWHERE}.items()
    }


VARIANTS: Mapping[str, Variants] = {
    "x86_64": _variants("small", _X86_64),
    "arm64": {("7.3", "stock"): (), ("7.3", "poke"): arm64.POKE},
    "s390x": {
        ("6.1", "stock"): (),
        ("6.1", "rewrite"): s390x.REWRITE,
        ("6.12", "stock"): (),
        ("6.12", "clear-got"): s390x.CLEAR_SLOTS,
        ("7.3", "stock"): (),
    },
    "ppc64le": {**_variants("stock", _PPC64LE), ("7.3", "stock"): ()},
}

_ALSO_CALLED: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("small", "stock", "kaslr", "a53", "poke", "poke-a53", "rewrite"), ()), "clear": ("clear-relocations",), "tolerate": ("tolerate-r2",), "reuse": ("reuse-stub",),
}  # fmt: skip


def proposals_of(variant: str) -> tuple[str, ...]:
    """The proposals of policy.py that a kernel has in it.

    >>> proposals_of("deny-removal+reuse"), proposals_of("small")
    (('deny-removal', 'reuse-stub'), ())
    """
    return tuple(name for part in variant.split("+") for name in _ALSO_CALLED.get(part, (part,)))
