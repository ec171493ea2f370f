"""Proposal split-per-object: from one livepatch file one file an object, each loaded and removed together with its target.

Josh Poimboeuf, 2019-08-14; tried out by Petr Mladek, 2020-01-17. `kernel` is klpteach.model.kernel.Kernel.
Simplified: the parts keep the code of all objects; what is cut is the list of objects and the relocations. The requests
to user space are function calls; what can come between them is told as events: `insmod TARGET.ko &`, then `wait TARGET`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from ..files.elf_h import SHF_RELA_LIVEPATCH, SHT_RELA
from ..files.klp import KLP_OBJECT_SIZE, KLP_PATCH_OBJS, section_object
from ..files.module_file import ModuleFile
from ..files.relocation_types import POINTER_TYPE
from ..files.write import ElfImage, Rela, Section
from . import messages
from .errno import EAGAIN, EEXIST, Refused
from .klp_structs import KlpPatch
from .livepatch.core import enabled_store, klp_disable_patch
from .loader import delete_module, do_init_module, form_module, load_module, unlink
from .module import COMING, GOING, LIVE, Module

if TYPE_CHECKING:
    from .kernel import Kernel

THIS_MODULE_NAME = 24  # offsetof(struct module, name)


# -- the files ------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=64)
def split_per_object(file: ModuleFile) -> dict[str, ModuleFile]:
    """Object (or "vmlinux") -> a livepatch file for that object only. One object: the file itself.

    >>> from klpteach.files.samples import sample
    >>> parts = split_per_object(ModuleFile.open(sample("livepatch_cumul1.ko")))
    >>> {label: part.name for label, part in parts.items()}
    {'nfsd_demo': 'livepatch_cumul1__nfsd_demo', 'lockd_demo': 'livepatch_cumul1__lockd_demo'}
    """
    labels = [obj.name or "vmlinux" for obj in file.klp.objects] if file.klp else []
    if len(labels) < 2:
        return dict.fromkeys(labels, file)
    return {label: _part(file, number, label) for number, label in enumerate(labels)}


def _part(file: ModuleFile, number: int, label: str) -> ModuleFile:
    image, name = ElfImage.parse(file.data), f"{file.name}__{label}"
    _cut_objects(file, image, number)
    for section in image.sections:
        keep = section_object(section.name) in (label, "vmlinux")
        if section.type == SHT_RELA and section.flags & SHF_RELA_LIVEPATCH and not keep:
            section.body = bytearray()
    _rename(image, file.name, name)
    return ModuleFile(image.to_bytes(), f"{name}.ko")


def _cut_objects(file: ModuleFile, image: ElfImage, number: int) -> None:
    """Let klp_patch.objs point to one element of the array, and end the array behind it."""
    assert file.klp is not None
    where, offset = file.klp.place
    rela, objs = _pointer(image, where, offset + KLP_PATCH_OBJS)
    here = Rela(objs.offset, objs.symbol, objs.type, objs.addend + number * KLP_OBJECT_SIZE)
    image.set_relocations(rela, [here if entry == objs else entry for entry in image.relocations(rela)])
    symbol = image.symbols[objs.symbol]
    end = symbol.value + here.addend + KLP_OBJECT_SIZE
    for section in [s for s in image.sections if s.type == SHT_RELA and s.info == symbol.shndx]:
        kept = [entry for entry in image.relocations(section) if entry.offset not in (end, end + 8)]
        image.set_relocations(section, kept)


def _pointer(image: ElfImage, section: int, offset: int) -> tuple[Section, Rela]:
    wanted = POINTER_TYPE[image.machine]
    for rela in (s for s in image.sections if s.type == SHT_RELA and s.info == section):
        for entry in image.relocations(rela):
            if entry.offset == offset and entry.type == wanted:
                return rela, entry
    raise AssertionError("a file with a struct klp_patch has a relocation for its objs")


def _rename(image: ElfImage, old: str, new: str) -> None:
    for section in image.sections:
        if section.name == ".modinfo":
            section.body = section.body.replace(f"\0name={old}\0".encode(), f"\0name={new}\0".encode())
        elif section.name == ".gnu.linkonce.this_module":
            section.body[THIS_MODULE_NAME : THIS_MODULE_NAME + 56] = new.encode().ljust(56, b"\0")


# -- the kernel, and modprobe's hook ---------------------------------------------------------------------------------------


@dataclass(eq=False)
class Installed:
    """A livepatch on disk: its parts by object, and whether its targets shall still be patched when they come."""

    name: str
    parts: dict[str, ModuleFile]
    params: str
    enabled: bool = True


@dataclass(eq=False)
class SplitState:
    """What user space remembers: the livepatches on disk, oldest first, and the loads that wait for one of their parts."""

    installed: list[Installed] = field(default_factory=list)
    waiting: dict[str, Waiting] = field(default_factory=dict)
    in_background: bool = False


@dataclass(eq=False)
class Waiting:
    """A target in state Coming whose parts are being fetched: which ones was decided when it came."""

    mod: Module
    parts: list[tuple[ModuleFile, str]]  # with their parameters
    init_errno: int


def install(kernel: Kernel, file: ModuleFile, params: str) -> None:
    """insmod of a livepatch: the parts of what is loaded now, vmlinux's among them; the others wait on disk.

    Errors: Refused as for any load; then no part stays.
    """
    if _find(kernel, file.name):
        raise Refused(EEXIST)
    new = Installed(file.name, dict(split_per_object(file)), params)
    try:
        for label, part in new.parts.items():
            target = kernel.find_module(label)
            if label == "vmlinux" or (target and target.state == LIVE):
                load_module(kernel, part, params)
    except Refused:
        for mod in _loaded(kernel, new):
            _unload(kernel, mod.name)
        raise
    if file.klp and file.klp.replace:
        for old in kernel.split.installed:
            for label in new.parts:
                old.parts.pop(label, None)
        _remove_replaced(kernel)
    kernel.split.installed.append(new)


def remove(kernel: Kernel, name: str) -> bool:
    """rmmod of a livepatch: all its parts. False where it is none of ours. Errors: Refused(-EAGAIN) while it is enabled."""
    found = _find(kernel, name)
    if found is None:
        return False
    if found.enabled and found.parts:
        raise Refused(EAGAIN)
    for mod in _loaded(kernel, found):
        delete_module(kernel, mod.name)
    kernel.split.installed.remove(found)
    return True


def disable(kernel: Kernel, name: str, value: bool) -> bool:
    """A write to the livepatch's `enabled`: goes to all parts. False where it is none of ours."""
    found = _find(kernel, name)
    if found is None:
        return False
    for mod in _loaded(kernel, found):
        enabled_store(kernel, mod.name, value)
    found.enabled = value
    return True


def remember_parameter(kernel: Kernel, name: str, key: str, value: str) -> bool:
    """A parameter of a livepatch on disk, for parts that are loaded later. False where it is none of ours."""
    found = _find(kernel, name)
    if found is None:
        return False
    others = [word for word in found.params.split() if word.partition("=")[0] != key]
    found.params = " ".join([*others, f"{key}={value}"])
    return True


def coming(kernel: Kernel, mod: Module) -> None:
    """modprobe's hook: a module is about to run its init; fetch its parts, and load them. Errors: Refused."""
    ours = [one for one in kernel.split.installed if one.enabled and mod.name in one.parts]
    wanted = [(one.parts[mod.name], one.params) for one in ours]
    if kernel.split.in_background and wanted:
        kernel.split.waiting[mod.name] = Waiting(mod, wanted, 0)
        return
    _load_parts(kernel, mod, wanted)


def _load_parts(kernel: Kernel, mod: Module, parts: list[tuple[ModuleFile, str]]) -> None:
    for number, (part, params) in enumerate(parts):
        try:
            load_module(kernel, part, params)
        except Refused:
            kernel.log(messages.REFUSING(patch=part.name, module=mod.name, module_=mod.name))
            for earlier, _ in reversed(parts[:number]):
                _unload(kernel, earlier.name)
            raise


def going(kernel: Kernel, mod: Module) -> None:
    """The other hook: a target has gone, so its parts go too, with all that was written into them."""
    for patch in [p for p in kernel.klp.patches if [obj.name for obj in p.objects] == [mod.name]]:
        _unload(kernel, patch.name)


def load_in_background(kernel: Kernel, file: ModuleFile, init_errno: int) -> None:
    """insmod FILE &: up to where the target waits in Coming for its parts. Without parts to wait for: to the end."""
    kernel.split.in_background = True
    try:
        mod = form_module(kernel, file)
    finally:
        kernel.split.in_background = False
    if mod.name in kernel.split.waiting:
        kernel.split.waiting[mod.name].init_errno = init_errno
    else:
        do_init_module(kernel, mod, "", init_errno)


def wait(kernel: Kernel, name: str) -> None:
    """The parts that were chosen arrive, and the target's init runs. Nothing where nobody waits. Errors: Refused."""
    waiting = kernel.split.waiting.pop(name, None)
    if waiting is None:
        return
    try:
        _load_parts(kernel, waiting.mod, waiting.parts)
    except Refused:
        waiting.mod.klp_alive = False
        waiting.mod.state = GOING
        unlink(kernel, waiting.mod)
        raise
    assert waiting.mod.state == COMING
    do_init_module(kernel, waiting.mod, "", waiting.init_errno)


def _find(kernel: Kernel, name: str) -> Installed | None:
    return next((one for one in kernel.split.installed if one.name == name), None)


def _loaded(kernel: Kernel, installed: Installed) -> Iterator[Module]:
    for part in list(installed.parts.values()):
        mod = kernel.find_module(part.name)
        if mod is not None:
            yield mod


def _patch(kernel: Kernel, name: str) -> KlpPatch | None:
    return next((p for p in kernel.klp.patches if p.name == name), None)


def _unload(kernel: Kernel, name: str) -> None:
    """Disable a part where it is enabled, and remove its module. What a running transition forbids is left."""
    patch = _patch(kernel, name)
    with suppress(Refused):
        if patch is not None:
            klp_disable_patch(kernel, patch)
        delete_module(kernel, name)


def _remove_replaced(kernel: Kernel) -> None:
    """The modules of parts that an atomic replace has put out of force."""
    for mod in list(kernel.modules):
        if mod.file.is_livepatch and mod.state == LIVE and _patch(kernel, mod.name) is None:
            with suppress(Refused):
                delete_module(kernel, mod.name)
