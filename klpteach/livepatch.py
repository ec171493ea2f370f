"""Livepatch: what a patch is at run time, and every path on which it writes, or leaves, relocations.

kernel/livepatch/core.c and transition.c; names and order are the kernel's. `kernel` is klpteach.kernel.Kernel.
Simplified: tasks are not modelled one by one. A transition completes at once unless kernel.transition_blocked is set.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from . import messages
from .elf import SHF_ALLOC, SHN_LIVEPATCH
from .image import TEMPORARY_IMAGE
from .klp import KlpFuncInfo, livepatch_sections, parse_symbol, section_object
from .module import COMING, UNFORMED, Module
from .refusal import EBUSY, EINVAL, ENOENT, Oops, Refused

if TYPE_CHECKING:
    from .kernel import Kernel

PATCHED, UNPATCHED = "patching", "unpatching"


@dataclass(eq=False)
class KlpFunc:
    """struct klp_func. A nop (atomic replace) restores the original: its new_func is the old one."""

    old_name: str
    old_sympos: int
    new_func: int
    nop: bool = False
    old_func: int = 0
    patched: bool = False

    @property
    def sysfs_name(self) -> str:
        return f"{self.old_name},{self.old_sympos or 1}"

    def same_function(self, other: KlpFunc) -> bool:
        """klp_find_func(): positions 0 and 1 are the same."""
        return self.old_name == other.old_name and (self.old_sympos or 1) == (other.old_sympos or 1)


@dataclass(eq=False)
class KlpObject:
    """struct klp_object: name is None for vmlinux; mod is the loaded target, without a reference."""

    name: str | None
    funcs: list[KlpFunc]
    dynamic: bool = False
    mod: Module | None = None
    patched: bool = False
    pre_patch_succeeded: bool = False
    pinned: bool = False                   # proposal deny-removal: we hold a reference to mod

    @property
    def label(self) -> str:
        return self.name or "vmlinux"

    @property
    def loaded(self) -> bool:
        """klp_is_object_loaded()."""
        return self.name is None or self.mod is not None


@dataclass(eq=False)
class KlpPatch:
    """struct klp_patch."""

    mod: Module
    objects: list[KlpObject]
    replace: bool
    enabled: bool = False

    @property
    def name(self) -> str:
        return self.mod.name


@dataclass
class LivepatchState:
    """What core.c and transition.c keep in static variables, under klp_mutex."""

    patches: list[KlpPatch] = field(default_factory=list)       # klp_patches: enabled or in transition, oldest first
    transition: KlpPatch | None = None                          # klp_transition_patch
    target: str = PATCHED                                       # klp_target_state
    func_stacks: dict[int, list[KlpFunc]] = field(default_factory=dict)      # klp_ops by old function, newest last


# -- relocations ----------------------------------------------------------------------------------------------------------


def klp_find_object_symbol(kernel: Kernel, objname: str | None, name: str, sympos: int) -> int:
    """Address of a symbol of an object, by name and position; 0 means that the name must be unique.

    Errors: Refused(-EINVAL) after the kernel's line.
    """
    addresses = list(kernel.object_symbols(objname, name))
    seen = addresses[:sympos] if sympos else addresses[:2]         # where the kernel's search stops
    if not seen or seen[-1] == 0:
        kernel.log(messages.NOT_FOUND(name=name))
    elif len(seen) > 1 and sympos == 0:
        kernel.log(messages.AMBIGUOUS(name=name, object=objname or "(null)"))
    elif sympos not in (0, len(seen)):
        kernel.log(messages.NO_SUCH_POSITION(pos=sympos, name=name, object=objname or "vmlinux"))
    else:
        return seen[-1]
    raise Refused(EINVAL)


def klp_resolve_symbols(kernel: Kernel, pmod: Module, index: int, sec_objname: str) -> None:
    """Look up every symbol that a livepatch section uses and keep its address in the livepatch's own symbol table."""
    file = pmod.file
    for number in file.rela(index)["sym"].tolist():
        name = file.symbol_names[number]
        if file.symtab["shndx"][number] != SHN_LIVEPATCH:
            kernel.log(messages.NOT_MARKED(name=name))
            raise Refused(EINVAL)
        symbol = parse_symbol(name, kernel.rules.ksym_name_len)
        if symbol is None:
            kernel.log(messages.BAD_SYMBOL_NAME(name=name))
            raise Refused(EINVAL)
        if kernel.rules.early_vmlinux and sec_objname != "vmlinux" and symbol.object == "vmlinux":
            kernel.log(messages.VMLINUX_SYMBOL(name=symbol.name))
            raise Refused(EINVAL)
        objname = None if symbol.object == "vmlinux" else symbol.object
        pmod.image.symbols[number] = klp_find_object_symbol(kernel, objname, symbol.name, symbol.sympos)


def klp_write_section_relocs(kernel: Kernel, pmod: Module, index: int, objname: str | None, apply: bool = True) -> None:
    """Apply (or clear) one .klp.rela.OBJECT.SECTION if it belongs to the object; None stands for vmlinux.

    Up to 6.2 klp_apply_section_relocs(). Errors: Refused; Oops where the section was not kept in memory.
    """
    name = pmod.file.section_names[index]
    sec_objname = section_object(name)
    if sec_objname is None:
        kernel.log(messages.BAD_SECTION_NAME(name=name))
        raise Refused(EINVAL)
    if sec_objname != (objname or "vmlinux"):
        return
    if pmod.state != UNFORMED and not pmod.file.shdrs["flags"][index] & SHF_ALLOC:
        # Without SHF_ALLOC the entries stayed in the temporary image, which is gone when init() runs.
        line = messages.PAGE_FAULT(loc=f"{TEMPORARY_IMAGE:016x}")
        kernel.log(line)
        raise Oops(line.render())
    if apply:
        klp_resolve_symbols(kernel, pmod, index, sec_objname)
        pmod.image.apply_relocate_add(index, pmod.name, kernel.rules, kernel.log)
        return
    try:
        pmod.image.clear_relocate_add(index, pmod.name, kernel.rules, kernel.log)
    except Refused:
        pass             # clear_relocate_add() returns nothing: what it could not clear stays, the other sections go on


def klp_clear_object_relocs(kernel: Kernel, patch: KlpPatch, obj: KlpObject) -> None:
    """Take the relocations of an object back (6.3 and later, or a proposal)."""
    if kernel.rules.clear != "no" and obj.name is not None:
        for index in livepatch_sections(patch.mod.file):
            klp_write_section_relocs(kernel, patch.mod, index, obj.name, apply=False)


def klp_init_object_loaded(kernel: Kernel, patch: KlpPatch, obj: KlpObject) -> None:
    """Relocations of the object, then the address of every function to be replaced."""
    if obj.name is not None:
        for index in livepatch_sections(patch.mod.file):
            klp_write_section_relocs(kernel, patch.mod, index, obj.name)
    for func in obj.funcs:
        func.old_func = klp_find_object_symbol(kernel, obj.name, func.old_name, func.old_sympos)
        if func.nop:
            func.new_func = func.old_func


# -- functions ------------------------------------------------------------------------------------------------------------


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
        klp_unpin(obj)


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


# -- enable, disable, transition ------------------------------------------------------------------------------------------


def klp_enable_patch(kernel: Kernel, pmod: Module) -> None:
    """What the init function of a livepatch calls. Errors: Refused; the module's load then fails with that errno."""
    info = pmod.file.klp
    if info is None or not info.objects or not all(obj.has_funcs for obj in info.objects):
        raise Refused(EINVAL)
    if not pmod.file.is_livepatch:
        kernel.log(messages.NOT_A_LIVEPATCH(module=pmod.name))
        raise Refused(EINVAL)
    patch = KlpPatch(pmod, [KlpObject(o.name, [_func(pmod, f) for f in o.funcs]) for o in info.objects], info.replace)
    pmod.references += 1
    try:
        klp_init_patch(kernel, patch)
        __klp_enable_patch(kernel, patch)
    except Refused:
        klp_free_patch(kernel, patch)
        raise


def _func(pmod: Module, info: KlpFuncInfo) -> KlpFunc:
    return KlpFunc(info.old_name, info.old_sympos, pmod.image.address[info.new_section] + info.new_offset)


def klp_init_patch(kernel: Kernel, patch: KlpPatch) -> None:
    """Prepare every object; relocations of the loaded ones are written here."""
    if patch.replace:
        klp_add_nops(kernel, patch)
    for obj in patch.objects:
        obj.mod = klp_find_object_module(kernel, obj)
        if kernel.rules.depend_on_targets and obj.name is not None and obj.mod is not None:
            patch.mod.use(obj.mod)
        if obj.loaded:
            klp_init_object_loaded(kernel, patch, obj)
    kernel.klp.patches.append(patch)


def klp_find_object_module(kernel: Kernel, obj: KlpObject) -> Module | None:
    """The target if it is there and klp_module_coming() has seen it. No reference is taken, on purpose."""
    mod = kernel.find_module(obj.name) if obj.name else None
    return mod if mod and mod.klp_alive else None


def klp_add_nops(kernel: Kernel, patch: KlpPatch) -> None:
    """Atomic replace: what older patches changed and this one does not, it must restore."""
    for old_obj in [obj for old in kernel.klp.patches for obj in old.objects]:
        obj = next((o for o in patch.objects if o.name == old_obj.name), None)
        if obj is None:
            obj = KlpObject(old_obj.name, [], dynamic=True)
            patch.objects.append(obj)
        for func in old_obj.funcs:
            if not any(f.same_function(func) for f in obj.funcs):
                obj.funcs.append(KlpFunc(func.old_name, func.old_sympos, 0, nop=True))


def __klp_enable_patch(kernel: Kernel, patch: KlpPatch) -> None:
    klp = kernel.klp
    if klp.transition:
        raise Refused(EBUSY)
    kernel.log(messages.ENABLING(patch=patch.name))
    klp_init_transition(kernel, patch, PATCHED)
    try:
        for obj in patch.objects:
            if obj.loaded:
                klp_pre_patch_callback(kernel, patch, obj)
                try:
                    klp_patch_object(kernel, obj)
                except Refused:
                    kernel.log(messages.PATCH_OBJECT_FAILED(object=obj.label))
                    raise
    except Refused:
        kernel.log(messages.ENABLE_FAILED(patch=patch.name))
        kernel.log(messages.CANCELING(patch=patch.name))
        klp.target = UNPATCHED
        klp_complete_transition(kernel)
        raise
    klp_start_transition(kernel)
    patch.enabled = True
    klp_try_complete_transition(kernel)


def klp_disable_patch(kernel: Kernel, patch: KlpPatch) -> None:
    """`echo 0 > enabled`. Errors: Refused(-EBUSY) while another transition runs."""
    if kernel.klp.transition:
        raise Refused(EBUSY)
    klp_init_transition(kernel, patch, UNPATCHED)
    for obj in patch.objects:
        if obj.patched:
            kernel.run_callback(patch.name, obj.label, "pre_unpatch")
    klp_start_transition(kernel)
    patch.enabled = False
    klp_try_complete_transition(kernel)


def enabled_store(kernel: Kernel, name: str, value: bool) -> None:
    """A write to /sys/kernel/livepatch/NAME/enabled: disable, or reverse a running transition. Nothing re-enables."""
    patch = next((p for p in kernel.klp.patches if p.name == name), None)
    if patch is None:
        raise Refused(ENOENT)
    if patch.enabled == value:
        raise Refused(EINVAL)
    if patch is kernel.klp.transition:
        klp_reverse_transition(kernel)
    elif not value:
        klp_disable_patch(kernel, patch)
    else:
        raise Refused(EINVAL)


def klp_init_transition(kernel: Kernel, patch: KlpPatch, target: str) -> None:
    kernel.klp.transition, kernel.klp.target = patch, target
    kernel.log(messages.INITIALIZING(patch=patch.name, what=target))


def klp_start_transition(kernel: Kernel) -> None:
    assert kernel.klp.transition
    kernel.log(messages.STARTING(patch=kernel.klp.transition.name, what=kernel.klp.target))


def klp_reverse_transition(kernel: Kernel) -> None:
    klp = kernel.klp
    assert klp.transition
    was, klp.target = klp.target, UNPATCHED if klp.target == PATCHED else PATCHED
    kernel.log(messages.REVERSING(patch=klp.transition.name, what=f"{was} to {klp.target}"))
    klp.transition.enabled = not klp.transition.enabled
    klp_start_transition(kernel)
    klp_try_complete_transition(kernel)


def klp_try_complete_transition(kernel: Kernel) -> None:
    """Finish the transition unless a task still sleeps in an old function; a finished unpatching frees the patch."""
    patch = kernel.klp.transition
    if patch is None or kernel.transition_blocked:
        return
    unpatched = kernel.klp.target == UNPATCHED
    klp_complete_transition(kernel)
    if unpatched:
        klp_free_patch(kernel, patch)


def klp_complete_transition(kernel: Kernel) -> None:
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
            kernel.run_callback(patch.name, obj.label, "post_patch")
        elif obj.loaded:
            klp_post_unpatch_callback(kernel, patch, obj)
    kernel.log(messages.COMPLETE(patch=patch.name, what=klp.target))
    klp.transition = None


def klp_unpatch_replaced_patches(kernel: Kernel, patch: KlpPatch) -> None:
    """Older patches lose their functions and their sysfs folder; their callbacks do not run. Their modules stay."""
    for old in [p for p in kernel.klp.patches if p is not patch]:
        old.enabled = False
        for obj in old.objects:
            if obj.patched:
                klp_unpatch_object(kernel, obj)
        klp_free_patch(kernel, old)


def klp_discard_nops(kernel: Kernel, patch: KlpPatch) -> None:
    for obj in patch.objects:
        if obj.patched:
            klp_unpatch_object(kernel, obj, nops_only=True)
        obj.funcs = [f for f in obj.funcs if not f.nop]
    patch.objects = [o for o in patch.objects if not o.dynamic]


def klp_free_patch(kernel: Kernel, patch: KlpPatch) -> None:
    """Forget the patch and give its module's reference back. Its relocations stay written: nothing walks it any more."""
    for obj in patch.objects:
        klp_unpin(obj)
    if patch in kernel.klp.patches:
        kernel.klp.patches.remove(patch)
    patch.mod.references -= 1


# -- a target comes and goes ----------------------------------------------------------------------------------------------


def objects_of(kernel: Kernel, mod: Module) -> Iterator[tuple[KlpPatch, KlpObject]]:
    """Every enabled patch, in the order of loading, with its object of that name."""
    for patch in list(kernel.klp.patches):
        obj = next((o for o in patch.objects if o.name == mod.name), None)
        if obj is not None:
            yield patch, obj


def klp_module_coming(kernel: Kernel, mod: Module) -> None:
    """A module is about to run its init: patch it first (late module patching). Errors: Refused; the load is undone."""
    assert mod.state == COMING
    if mod.name == "vmlinux" and kernel.rules.early_vmlinux:
        kernel.log(messages.VMLINUX_KO())
        raise Refused(EINVAL)
    mod.klp_alive = True
    for patch, obj in objects_of(kernel, mod):
        try:
            _apply_to_coming(kernel, patch, obj, mod)
        except Refused:
            kernel.log(messages.REFUSING(patch=patch.name, module=mod.name, module_=mod.name))
            mod.klp_alive = False
            if kernel.rules.coming_error_clears_mod:
                obj.mod = None
            # The patches before this one are undone; this one is not: what it wrote stays, also in 6.12.
            klp_cleanup_module_patches_limited(kernel, mod, limit=patch)
            raise


def _apply_to_coming(kernel: Kernel, patch: KlpPatch, obj: KlpObject, mod: Module) -> None:
    obj.mod = mod
    try:
        klp_init_object_loaded(kernel, patch, obj)
    except Refused as refused:
        kernel.log(messages.INIT_FAILED(patch=patch.name, module=mod.name, err=refused.errno))
        raise
    kernel.log(messages.APPLYING(patch=patch.name, module=mod.name))
    klp_pre_patch_callback(kernel, patch, obj)
    try:
        klp_patch_object(kernel, obj)
    except Refused as refused:
        kernel.log(messages.APPLY_FAILED(patch=patch.name, module=mod.name, err=refused.errno))
        klp_post_unpatch_callback(kernel, patch, obj)
        raise
    if patch is not kernel.klp.transition:
        kernel.run_callback(patch.name, obj.label, "post_patch")


def klp_module_going(kernel: Kernel, mod: Module) -> None:
    """A module has run its exit (or failed its init): its functions are no longer redirected."""
    mod.klp_alive = False
    klp_cleanup_module_patches_limited(kernel, mod, limit=None)


def klp_cleanup_module_patches_limited(kernel: Kernel, mod: Module, limit: KlpPatch | None) -> None:
    """Revert all patches of a module, or those before `limit`. Before 6.3 this leaves the relocations written: the bug."""
    for patch, obj in objects_of(kernel, mod):
        if patch is limit:
            break
        if patch is not kernel.klp.transition:
            kernel.run_callback(patch.name, obj.label, "pre_unpatch")
        kernel.log(messages.REVERTING(patch=patch.name, module=mod.name))
        klp_unpatch_object(kernel, obj)
        klp_post_unpatch_callback(kernel, patch, obj)
        klp_clear_object_relocs(kernel, patch, obj)
        obj.mod = None
        for func in obj.funcs:
            func.old_func = 0


def check_targets(kernel: Kernel, mod: Module) -> None:
    """Proposal hard-dependencies: without its targets a livepatch is not loaded. Errors: Refused(-ENOENT)."""
    for obj in mod.file.klp.objects if mod.file.klp else ():
        if obj.name is not None and kernel.find_module(obj.name) is None:
            kernel.log(messages.TARGET_ABSENT(module=mod.name, target=obj.name, err=ENOENT))
            raise Refused(ENOENT)

