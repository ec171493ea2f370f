"""Redirecting functions, and a patch's callbacks (kernel/livepatch/patch.c, core.h)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import messages
from ..errno import EINVAL, Refused
from ..klp_structs import KlpObject, KlpPatch

if TYPE_CHECKING:
    from ..kernel import Kernel


def klp_patch_object(kernel: Kernel, obj: KlpObject) -> None:
    """Redirect every function of the object (kernel/livepatch/patch.c). Errors: Refused(-EINVAL) where ftrace has no call."""
    for func in obj.funcs:
        if not kernel.ftrace_location(obj, func.old_func):
            kernel.log(messages.NO_FTRACE_LOCATION(function=func.old_name))
            klp_unpatch_object(kernel, obj)
            raise Refused(EINVAL)
        kernel.klp.func_stacks.setdefault(func.old_func, []).append(func)
        func.patched = True
    obj.patched = True
    if kernel.rules.pin_targets and obj.mod is not None and not obj.pinned:
        obj.mod.references += 1
        obj.pinned = True


def klp_unpatch_object(kernel: Kernel, obj: KlpObject, nops_only: bool = False) -> None:
    """Take the redirections away."""
    for func in obj.funcs:
        if func.patched and (func.nop or not nops_only):
            stack = kernel.klp.func_stacks[func.old_func]
            stack.remove(func)
            if not stack:
                del kernel.klp.func_stacks[func.old_func]
            func.patched = False
    if not nops_only or obj.dynamic:
        obj.patched = False


def klp_unpin(obj: KlpObject) -> None:
    """Proposal deny-removal: give the reference back."""
    if obj.pinned and obj.mod is not None:
        obj.mod.references -= 1
    obj.pinned = False


def klp_pre_patch_callback(kernel: Kernel, patch: KlpPatch, obj: KlpObject) -> None:
    error = kernel.run_callback(patch.name, obj.label, "pre_patch")
    obj.pre_patch_succeeded = error == 0
    if error:
        kernel.log(messages.PRE_PATCH_FAILED(object=obj.label))
        raise Refused(error)


def klp_post_unpatch_callback(kernel: Kernel, patch: KlpPatch, obj: KlpObject) -> None:
    """Only if pre_patch had succeeded."""
    if obj.pre_patch_succeeded:
        kernel.run_callback(patch.name, obj.label, "post_unpatch")
    obj.pre_patch_succeeded = False
