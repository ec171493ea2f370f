"""What can be seen of a kernel after a command, as a step of a recording has it: the same that a recorder looks at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..files import klp
from ..files.module_file import ModuleFile
from .klp_structs import KlpPatch
from .module import BEFORE_INIT, COMING, Module
from .state import State
from .step import Step


def look(kernel: State, step: Step, file_of: Callable[[Module], ModuleFile] = lambda mod: mod.file.on_disk) -> None:
    """Fill in a step: /proc/modules, sysfs, kallsyms, and the bytes at every site; file_of: whose sites are looked at."""
    step.modules = [proc_modules_row(mod) for mod in reversed(kernel.modules)]
    step.livepatch = {patch.name: sysfs(kernel, patch) for patch in kernel.klp.patches}
    step.sections = {m.name: sections(m) for m in kernel.modules}
    step.symbols = {mod.name: mod.kallsyms() for mod in kernel.modules}
    found = ((mod.name, site_bytes(kernel, mod, file_of(mod))) for mod in kernel.modules if is_seen(mod))
    step.sites = {f"{name}:{key}": value for name, sites in found for key, value in sites.items()}
    if kernel.arch.has_stubs:
        step.stubs = stub_tables(kernel, step, file_of)


def is_seen(mod: Module) -> bool:
    """Whether a recorder can find the module's sections: sysfs has them only after the relocations."""
    return mod.in_sysfs or mod.state != COMING


def sections(mod: Module) -> dict[str, int]:
    """/sys/module/NAME/sections."""
    return {name: at for name, (at, _) in mod.image.sections.items()} if is_seen(mod) else {}


def site_bytes(kernel: State, mod: Module, file: ModuleFile) -> dict[str, bytes]:
    """The bytes now at every livepatch relocation site that the file names."""
    width = kernel.arch.site_width
    found = ((site.key, mod.bytes_at(site.section, site.offset, width or site.width)) for site in klp.sites(file))
    return {key: value for key, value in found if value}


def proc_modules_row(mod: Module) -> dict[str, Any]:
    loading, layout = mod.state == COMING, mod.image.layout  # a load holds a reference until it is done
    size = layout.loading_size if mod.state in BEFORE_INIT else layout.core_size
    taint = f"{mod.taint}+" if loading else mod.taint
    used_by = [holder.name for holder in reversed(mod.holders)] + (["[permanent]"] if mod.permanent else [])
    return {"name": mod.name, "size": size, "refcount": mod.refcount + loading, "used_by": used_by,
            "state": mod.state, "base": mod.base, "taint": taint}  # fmt: skip


def sysfs(kernel: State, patch: KlpPatch) -> dict[str, Any]:
    """/sys/kernel/livepatch/PATCH."""
    objects: dict[str, dict[str, Any]] = {}
    for obj in patch.objects:
        patched = {"patched": int(obj.patched)} if kernel.rules.patched_in_sysfs else {}
        objects[obj.label] = {**patched, "functions": [func.sysfs_name for func in obj.funcs]}
    return {"enabled": int(patch.enabled), "transition": int(patch is kernel.klp.transition), "objects": objects}


def stub_tables(kernel: State, step: Step, file_of: Callable[[Module], ModuleFile]) -> dict[str, Any]:
    """The table of stubs of every livepatch. Labels are for a reader, nothing depends on them."""
    named = {known or kernel.invented(name): name for name, known in kernel.exports.items()}
    for module, rows in (step.symbols or {}).items():
        named |= {address: f"{name} [{module}]" for address, kind, name in rows if kind not in "?ua"}
    label = lambda address: named.get(address, "(no symbol there now)")
    livepatches = [mod for mod in kernel.modules if mod.file.is_livepatch and is_seen(mod)]
    return {mod.name: kernel.arch.stubs(mod.image, file_of(mod), kernel.rules, label) for mod in livepatches}
