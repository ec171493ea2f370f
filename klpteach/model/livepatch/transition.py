"""A transition: every task moves from the old functions to the new ones, or back (kernel/livepatch/transition.c).

Simplified: tasks are not modelled one by one. A transition completes at once unless in_the_way() says no, or it
is a boot's first one where that waits (first_waits): then klp_transition_work() ends it, a second later.
"""

from __future__ import annotations

from .. import messages
from ..klp_structs import PATCHED, UNPATCHED, KlpPatch
from ..state import State
from .patch import klp_post_unpatch_callback, klp_unpatch_object, run_callback


def klp_init_transition(kernel: State, patch: KlpPatch, target: str) -> None:
    kernel.klp.transition, kernel.klp.target = patch, target
    kernel.log(messages.INITIALIZING(patch=patch.name, what=target))


def klp_start_transition(kernel: State) -> None:
    assert kernel.klp.transition
    kernel.log(messages.STARTING(patch=kernel.klp.transition.name, what=kernel.klp.target))


def klp_reverse_transition(kernel: State) -> None:
    klp = kernel.klp
    assert klp.transition
    was, klp.target = klp.target, UNPATCHED if klp.target == PATCHED else PATCHED
    kernel.log(messages.REVERSING(patch=klp.transition.name, what=f"{was} to {klp.target}"))
    klp.transition.enabled = not klp.transition.enabled
    klp_start_transition(kernel)
    klp_try_complete_transition(kernel)


def in_the_way(kernel: State, patch: KlpPatch) -> bool:
    """Whether a task keeps the transition waiting: the story says so, or it sleeps in a target's old function.

    Simplified: a parameter named block_transition tells that, as in the kernel's own test modules.
    """
    targets = [obj.name for obj in patch.objects if obj.name and obj.mod]
    sleeping = any(kernel.flag(name, "block_transition") for name in targets)
    return kernel.transition_blocked or (sleeping and kernel.klp.target == PATCHED)


def klp_try_at_once(kernel: State) -> None:
    """The first try, right after the start. The next one is made a second later, by klp_transition_work()."""
    waits, kernel.klp.had_transition = kernel.rules.first_waits and not kernel.klp.had_transition, True
    if not waits:
        klp_try_complete_transition(kernel)


def klp_try_complete_transition(kernel: State) -> None:
    """Finish the transition unless a task still sleeps in an old function; a finished unpatching frees the patch."""
    patch = kernel.klp.transition
    if patch is None or (in_the_way(kernel, patch) and not kernel.klp.forced):
        return
    unpatched = kernel.klp.target == UNPATCHED
    klp_complete_transition(kernel)
    if unpatched:
        klp_free_patch(kernel, patch)


def klp_force_transition(kernel: State) -> None:
    """Call the transition done, whoever still sleeps where. What was taken out of force so may be running: for good.

    A forced patch never gives back the reference to its own module; with deny-removal, nor those to its targets.
    """
    klp = kernel.klp
    assert klp.transition
    kernel.log(messages.FORCING())
    if klp.target == UNPATCHED:
        klp.transition.forced = True
    elif klp.transition.replace:
        for old in klp.patches:
            old.forced = old is not klp.transition
    klp.forced = True
    klp_try_complete_transition(kernel)
    klp.forced = False


def klp_complete_transition(kernel: State) -> None:
    klp = kernel.klp
    patch = klp.transition
    assert patch
    kernel.log(messages.COMPLETING(patch=patch.name, what=klp.target))
    if patch.replace and klp.target == PATCHED:
        klp_unpatch_replaced_patches(kernel, patch)
        klp_discard_nops(kernel, patch)
    if klp.target == UNPATCHED:
        for obj in patch.objects:
            if obj.patched:
                klp_unpatch_object(kernel, obj)
    for obj in patch.objects:
        if obj.loaded and klp.target == PATCHED:
            run_callback(kernel, patch, obj, "post_patch")
        elif obj.loaded:
            klp_post_unpatch_callback(kernel, patch, obj)
    kernel.log(messages.COMPLETE(patch=patch.name, what=klp.target))
    klp.transition = None


def klp_unpatch_replaced_patches(kernel: State, patch: KlpPatch) -> None:
    """Older patches lose their functions and their sysfs folder; their callbacks do not run. Their modules stay."""
    for old in [p for p in kernel.klp.patches if p is not patch and kernel.klp.replaces(patch, p)]:
        old.enabled = False
        for obj in old.objects:
            if obj.patched:
                klp_unpatch_object(kernel, obj)
        klp_free_patch(kernel, old)


def klp_discard_nops(kernel: State, patch: KlpPatch) -> None:
    for obj in patch.objects:
        if obj.patched:
            klp_unpatch_object(kernel, obj, nops_only=True)
        if obj.dynamic:
            obj.unpin()
        obj.funcs = [f for f in obj.funcs if not f.nop]
    patch.objects = [o for o in patch.objects if not o.dynamic]


def klp_free_patch(kernel: State, patch: KlpPatch) -> None:
    """Forget the patch and give its module's reference back."""
    # Its relocations stay written, and from here on that hurts nobody: objects_of() does not find the patch any more, so
    # a target that comes back is not looked for in it. "Disable the livepatch" was the way out of the reports of 2018.
    if not patch.forced:
        for obj in patch.objects:
            obj.unpin()
        patch.mod.references -= 1
    if patch in kernel.klp.patches:
        kernel.klp.patches.remove(patch)
