"""What a patch is at run time (include/linux/livepatch.h, kernel/livepatch/patch.h)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from .module import Module

# KLP_PATCHED and KLP_UNPATCHED (KLP_TRANSITION_… since 6.11), by their words in dmesg
PATCHED, UNPATCHED = "patching", "unpatching"


@dataclass(eq=False)
class KlpFunc:
    """struct klp_func. A nop (atomic replace) restores the original. Simplified: no new_func, since no code runs here."""

    old_name: str
    old_sympos: int
    nop: bool = False
    old_func: int = 0
    patched: bool = False

    @property
    def sysfs_name(self) -> str:
        return f"{self.old_name},{self.old_sympos or 1}"


@dataclass(eq=False)
class KlpObject:
    """struct klp_object: name is None for vmlinux; mod is the loaded target, without a reference."""

    name: str | None
    funcs: list[KlpFunc]
    dynamic: bool = False
    mod: Module | None = None
    patched: bool = False
    pre_patch_succeeded: bool = False
    pinned: bool = False  # proposal deny-removal: we hold a reference to mod

    @property
    def label(self) -> str:
        return self.name or "vmlinux"

    @property
    def loaded(self) -> bool:
        """klp_is_object_loaded()."""
        return self.name is None or self.mod is not None

    def unpin(self) -> None:
        """Proposal deny-removal: give the reference back."""
        if self.pinned and self.mod is not None:
            self.mod.references -= 1
        self.pinned = False


@dataclass(eq=False)
class KlpPatch:
    """struct klp_patch."""

    mod: Module
    objects: list[KlpObject]
    replace: bool
    enabled: bool = False
    forced: bool = False  # taken out of force while somebody may still run it: its module stays for good

    @property
    def name(self) -> str:
        return self.mod.name

    @property
    def states(self) -> Mapping[int, int]:
        """Id -> version of the system states that the patch declares (struct klp_state)."""
        return self.mod.file.klp.states if self.mod.file.klp else {}


@dataclass
class LivepatchState:
    """What core.c and transition.c keep in static variables, under klp_mutex."""

    patches: list[KlpPatch] = field(default_factory=list)  # klp_patches: enabled or in transition, oldest first
    transition: KlpPatch | None = None  # klp_transition_patch
    had_transition: bool = False  # whether one has begun since boot
    target: str = PATCHED  # klp_target_state
    forced: bool = False  # the running transition waits for nobody
    func_stacks: dict[int, list[KlpFunc]] = field(default_factory=dict)  # klp_ops by old function, newest last
    replaces: Callable[[KlpPatch, KlpPatch], bool] = lambda patch, old: True  # an atomic replace ends every older patch

    def find(self, name: str) -> KlpPatch | None:
        return next((patch for patch in self.patches if patch.name == name), None)
