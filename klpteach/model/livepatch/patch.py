"""Redirecting functions, and a patch's callbacks (kernel/livepatch/patch.c, core.h)."""

from __future__ import annotations

from bisect import bisect_left

from .. import messages
from ..errno import EBUSY, EINVAL, Refused
from ..klp_structs import KlpFunc, KlpObject, KlpPatch
from ..state import State


def klp_patch_object(kernel: State, obj: KlpObject) -> None:
    """Redirect every function of the object. Errors: Refused(-EINVAL) where ftrace has no call, -EBUSY where it is off."""
    for func in obj.funcs:
        try:
            klp_patch_func(kernel, obj, func)
        except Refused:
            klp_unpatch_object(kernel, obj)
            raise
        kernel.klp.func_stacks.setdefault(func.old_func, []).append(func)
        func.patched = True
    obj.patched = True
    if kernel.rules.pin_targets and obj.mod is not None and not obj.pinned:
        obj.mod.references += 1
        obj.pinned = True


def klp_patch_func(kernel: State, obj: KlpObject, func: KlpFunc) -> None:
    """Ask ftrace for the function, once: a second livepatch finds it redirected. Errors: Refused."""
    if func.old_func in kernel.klp.func_stacks:
        return
    if not has_ftrace_location(obj, func.old_func):
        raise kernel.refuse(messages.NO_FTRACE_LOCATION(function=func.old_name), EINVAL)
    if not kernel.ftrace_enabled:
        raise kernel.refuse(messages.HANDLER_FAILED(function=func.old_name, err=EBUSY), EBUSY)


def has_ftrace_location(obj: KlpObject, address: int) -> bool:
    """Whether the function at an address begins with a call that ftrace can take over (klp_get_ftrace_location()).

    Simplified: in vmlinux every function does; in a module an entry of __mcount_loc in its first 32 bytes counts.
    """
    if obj.mod is None:
        return True
    calls = obj.mod.ftrace_calls
    first = bisect_left(calls, address)
    return first < len(calls) and calls[first] < address + 32


def klp_unpatch_object(kernel: State, obj: KlpObject, nops_only: bool = False) -> None:
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


def run_callback(kernel: State, patch: KlpPatch, obj: KlpObject, kind: str) -> int:
    """A livepatch's callback, if the story declared one. Its errno matters for pre_patch only.

    Code does not run here, so a parameter named pre_patch_ret is taken to be what pre_patch returns, as in the
    kernel's own test modules.
    """
    if function := kernel.callbacks.get((patch.name, obj.label, kind)):
        return function(kernel) or 0
    # parse_args() has seen that it is a number
    return int(kernel.parameter(patch.name, "pre_patch_ret")) if kind == "pre_patch" else 0


def klp_pre_patch_callback(kernel: State, patch: KlpPatch, obj: KlpObject) -> None:
    error = run_callback(kernel, patch, obj, "pre_patch")
    obj.pre_patch_succeeded = error == 0
    if error:
        raise kernel.refuse(messages.PRE_PATCH_FAILED(object=obj.label), error)


def klp_post_unpatch_callback(kernel: State, patch: KlpPatch, obj: KlpObject) -> None:
    """Only if pre_patch had succeeded."""
    if obj.pre_patch_succeeded:
        run_callback(kernel, patch, obj, "post_unpatch")
    obj.pre_patch_succeeded = False
