"""A patch is enabled and disabled, a target comes and goes (kernel/livepatch/core.c)."""

from __future__ import annotations

from collections.abc import Iterator

from ...files.module_file import ModuleFile
from .. import messages
from ..errno import EBUSY, EEXIST, EINVAL, ENOENT, EPERM, Hung, Refused
from ..klp_structs import PATCHED, UNPATCHED, KlpFunc, KlpObject, KlpPatch
from ..module import COMING, Module
from ..state import State
from . import transition
from .patch import klp_patch_object, klp_post_unpatch_callback, klp_pre_patch_callback, klp_unpatch_object, run_callback
from .relocs import klp_clear_object_relocs, klp_init_object_loaded


def klp_mutex_lock(kernel: State) -> None:
    """mutex_lock(&klp_mutex). Errors: Hung where the task that held it has died in an oops."""
    if kernel.wrecked:
        raise Hung


def klp_enable_patch(kernel: State, pmod: Module) -> None:
    """What the init function of a livepatch calls. Errors: Refused; the module's load then fails with that errno."""
    info = pmod.file.klp
    if info is None or not info.objects or not all(obj.has_funcs for obj in info.objects):
        raise Refused(EINVAL)
    if not pmod.file.is_livepatch:
        raise kernel.refuse(messages.NOT_A_LIVEPATCH(module=pmod.name), EINVAL)
    klp_mutex_lock(kernel)
    replace = info.replace or kernel.flag(pmod.name, "replace")  # as in the kernel's own test modules
    patch = KlpPatch(pmod, [], replace)
    for obj in info.objects:
        patch.objects.append(KlpObject(obj.name, [KlpFunc(func.old_name, func.old_sympos) for func in obj.funcs]))
    if not klp_is_patch_compatible(kernel, patch):
        raise kernel.refuse(messages.INCOMPATIBLE(patch=patch.name), EINVAL)
    pmod.references += 1
    try:
        klp_init_patch(kernel, patch)
        __klp_enable_patch(kernel, patch)
    except Refused:
        transition.klp_free_patch(kernel, patch)
        raise


def klp_is_patch_compatible(kernel: State, patch: KlpPatch) -> bool:
    """Whether the patch knows every system state that enabled patches have changed (kernel/livepatch/state.c, 5.5)."""

    def compatible(number: int, version: int) -> bool:
        return patch.states[number] >= version if number in patch.states else not patch.replace

    return all(compatible(*state) for old in kernel.klp.patches for state in old.states.items())


def klp_init_patch(kernel: State, patch: KlpPatch) -> None:
    """Prepare every object; relocations of the loaded ones are written here."""
    if patch.replace:
        klp_add_nops(kernel, patch)
    folder = f"/kernel/livepatch/{patch.name}"
    labels = set[str]()
    for obj in patch.objects:
        obj.mod = klp_find_object_module(kernel, obj)
        if kernel.rules.depend_on_targets and obj.name is not None:
            use_target(kernel, patch, obj)
        kobject_add(kernel, folder, obj.label, labels)
        names = set[str]()
        for func in obj.funcs:
            kobject_add(kernel, f"{folder}/{obj.label}", func.sysfs_name, names)
        if obj.loaded:
            klp_init_object_loaded(kernel, patch, obj)
    kernel.klp.patches.append(patch)


def kobject_add(kernel: State, folder: str, name: str, there: set[str]) -> None:
    """A folder in sysfs for an object or a function; there: the names so far. Errors: Refused(-EEXIST) for one of them."""
    if name in there:
        kernel.log(messages.DUPLICATE_FOLDER(folder=folder, name=name))
        raise kernel.refuse(kernel.rules.duplicate(name=name), EEXIST)
    there.add(name)


def klp_find_object_module(kernel: State, obj: KlpObject) -> Module | None:
    """The target if it is there and klp_module_coming() has seen it."""
    # No reference is taken, on purpose: a patched module shall be removable. A module whose going has begun, or whose
    # coming has not, is as good as absent: klp_module_coming() and klp_module_going() see to it.
    mod = kernel.find_module(obj.name) if obj.name else None
    return mod if mod and mod.klp_alive else None


def klp_add_nops(kernel: State, patch: KlpPatch) -> None:
    """Atomic replace: what older patches changed and this one does not, it must restore."""
    replaced = [old for old in kernel.klp.patches if kernel.klp.replaces(patch, old)]
    for old_obj in [obj for old in replaced for obj in old.objects]:
        obj = next((o for o in patch.objects if o.name == old_obj.name), None)
        if obj is None:
            obj = KlpObject(old_obj.name, [], dynamic=True)
            patch.objects.append(obj)
        known = {func.sysfs_name for func in obj.funcs}  # klp_find_func(): positions 0 and 1 are the same
        for func in old_obj.funcs:
            if func.sysfs_name not in known:
                obj.funcs.append(KlpFunc(func.old_name, func.old_sympos, nop=True))


def __klp_enable_patch(kernel: State, patch: KlpPatch) -> None:
    klp = kernel.klp
    if klp.transition:
        raise Refused(EBUSY)
    kernel.log(messages.ENABLING(patch=patch.name))
    transition.klp_init_transition(kernel, patch, PATCHED)
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
        transition.klp_complete_transition(kernel)
        raise
    transition.klp_start_transition(kernel)
    patch.enabled = True
    transition.klp_try_at_once(kernel)


def klp_disable_patch(kernel: State, patch: KlpPatch) -> None:
    """`echo 0 > enabled`. Errors: Refused(-EBUSY) while another transition runs."""
    if kernel.klp.transition:
        raise Refused(EBUSY)
    transition.klp_init_transition(kernel, patch, UNPATCHED)
    for obj in patch.objects:
        if obj.patched:
            run_callback(kernel, patch, obj, "pre_unpatch")
    transition.klp_start_transition(kernel)
    patch.enabled = False
    transition.klp_try_at_once(kernel)


def enabled_store(kernel: State, name: str, value: bool) -> None:
    """A write to /sys/kernel/livepatch/NAME/enabled: disable, or reverse a running transition. Nothing re-enables."""
    klp_mutex_lock(kernel)
    patch = kernel.klp.find(name)
    if patch is None:
        raise Refused(ENOENT)
    if patch.enabled == value:
        raise Refused(EINVAL)
    if patch is kernel.klp.transition:
        transition.klp_reverse_transition(kernel)
    elif not value:
        klp_disable_patch(kernel, patch)
    else:
        raise Refused(EINVAL)


def force_store(kernel: State, name: str, value: bool) -> None:
    """A write to /sys/kernel/livepatch/NAME/force; 0 does nothing. Errors: Refused(-EINVAL) where no transition of NAME runs."""
    patch = kernel.klp.find(name)
    if patch is None:
        raise Refused(ENOENT)
    if not value:
        return
    klp_mutex_lock(kernel)
    if patch is not kernel.klp.transition:
        raise Refused(EINVAL)
    transition.klp_force_transition(kernel)


# -- a target comes and goes ----------------------------------------------------------------------------------------------


def objects_of(kernel: State, mod: Module) -> Iterator[tuple[KlpPatch, KlpObject]]:
    """Every enabled patch, in the order of loading, with its object of that name."""
    for patch in list(kernel.klp.patches):
        obj = next((o for o in patch.objects if o.name == mod.name), None)
        if obj is not None:
            yield patch, obj


def in_force(kernel: State, mod: Module) -> Iterator[Module]:
    """The livepatches whose functions run in place of some of a module's: those on top of klp_ops' stacks."""
    newest = [stack[-1] for stack in kernel.klp.func_stacks.values()]
    for patch, obj in objects_of(kernel, mod):
        if obj.mod is mod and any(func is top for func in obj.funcs for top in newest):
            yield patch.mod


def klp_module_coming(kernel: State, mod: Module) -> None:
    """A module is about to run its init: patch it first (late module patching). Errors: Refused; the load is undone."""
    assert mod.state == COMING
    if mod.name == "vmlinux" and kernel.rules.early_vmlinux:
        raise kernel.refuse(messages.VMLINUX_KO(), EINVAL)
    klp_mutex_lock(kernel)
    if kernel.rules.refuse_unpatched:
        refuse_unpatched(kernel, mod)
    mod.klp_alive = True
    for patch, obj in objects_of(kernel, mod) if kernel.rules.late_patching else ():
        try:
            # On a second load the reports of 2018 and 2019 begin here: the sites of the first load are still written, so
            # klp_init_object_loaded() returns -ENOEXEC, and the target is not loaded, this time and every time.
            _apply_to_coming(kernel, patch, obj, mod)
        except Refused:
            kernel.log(messages.REFUSING(patch=patch.name, module=mod.name, module_=mod.name))
            mod.klp_alive = False
            # Patch 1/2 of the RFC, and the half that was merged at once (4ff96fb52c69): the module's memory is about to
            # be freed, and the livepatch, disabled later, would follow obj->mod into it.
            if kernel.rules.coming_error_clears_mod:
                obj.mod = None
            # The patches before this one are undone. This one is not: what it wrote stays, also in 6.12, since the
            # clearing of 6.3 sits in the function that stops in front of it.
            klp_cleanup_module_patches_limited(kernel, mod, limit=patch)
            if kernel.rules.clear_on_error:
                klp_clear_object_relocs(kernel, patch, obj)
            raise


def _apply_to_coming(kernel: State, patch: KlpPatch, obj: KlpObject, mod: Module) -> None:
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
        run_callback(kernel, patch, obj, "post_patch")


def klp_module_going(kernel: State, mod: Module) -> None:
    """A module has run its exit (or failed its init): its functions are no longer redirected."""
    # No rmmod is needed to get here: do_init_module() comes by when init() fails. A livepatch that holds its target, as
    # was proposed in 2018, therefore does not help: the first load fails by itself, and the second by what that left.
    klp_mutex_lock(kernel)
    mod.klp_alive = False
    klp_cleanup_module_patches_limited(kernel, mod, limit=None)


def klp_cleanup_module_patches_limited(kernel: State, mod: Module, limit: KlpPatch | None) -> None:
    """Revert all patches of a module, or those before `limit`."""
    for patch, obj in objects_of(kernel, mod):
        if patch is limit:
            break
        if obj.mod is None and not kernel.rules.late_patching:
            continue  # the module came too late: there is nothing to revert
        if patch is not kernel.klp.transition:
            run_callback(kernel, patch, obj, "pre_unpatch")
        kernel.log(messages.REVERTING(patch=patch.name, module=mod.name))
        klp_unpatch_object(kernel, obj)
        klp_post_unpatch_callback(kernel, patch, obj)
        # What klp_write_section_relocs() wrote into the livepatch stays there: until 6.3 nobody takes it back. The next
        # load of this module finds it, and apply_relocate_add() wants zeros (eda9cec4c9a1). That is the bug. While the
        # module is away the bytes point into freed memory. Nobody follows them: with the redirection gone, nobody runs the
        # new functions.
        klp_clear_object_relocs(kernel, patch, obj)
        obj.unpin()
        obj.mod = None
        for func in obj.funcs:
            func.old_func = 0


# -- proposals ------------------------------------------------------------------------------------------------------------


def klp_target_names(file: ModuleFile) -> list[str]:
    """The modules that a livepatch patches, in its order; [] for a file that is no livepatch."""
    return list(dict.fromkeys(obj.name for obj in file.klp.objects if obj.name)) if file.klp else []


def use_target(kernel: State, patch: KlpPatch, obj: KlpObject) -> None:
    """Proposal hard-dependencies: a livepatch uses its targets like any module that uses another, until it is removed.

    Errors: Refused(-ENOENT) without the target, Refused(-EBUSY) while its init runs (as ref_module()).
    """
    if obj.mod is None:
        raise kernel.refuse(messages.TARGET_ABSENT(module=patch.name, target=obj.name, err=ENOENT), ENOENT)
    if obj.mod.state == COMING:
        raise Refused(EBUSY)
    patch.mod.use(obj.mod)


def refuse_unpatched(kernel: State, mod: Module) -> None:
    """Proposal refuse-unpatched: a module that comes too late to be patched does not come. Errors: Refused(-EPERM).

    By version: only if its file is the one that livepatches were made for. Simplified: that is the one installed under its name.
    """
    made_for = kernel.find_file(mod.name) if kernel.rules.refuse_by_version else None
    if made_for and made_for.data != mod.file.on_disk.data:
        return
    for patch, _ in objects_of(kernel, mod):
        raise kernel.refuse(messages.TOO_LATE(module=mod.name, patch=patch.name, err=EPERM), EPERM)
