"""Proposal split-per-object: from one livepatch file one file an object, each loaded and removed together with its target.

Josh Poimboeuf, 2019-08-14; tried out by Petr Mladek, 2020-01-17. The kernel knows nothing of
it: attach() registers a notifier of module states, and takes the commands of user space.
Simplified: the parts keep the code of all objects; what is cut is the list of objects and the relocations. The requests
to user space are function calls; what can come between them is told as events: `insmod TARGET.ko &`, then `wait TARGET`.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

from ..files.elf_h import MODULE_NAME_LEN, SHF_RELA_LIVEPATCH, SHT_RELA, THIS_MODULE, THIS_MODULE_NAME
from ..files.klp import section_object
from ..files.klp_patch import KLP_OBJECT_SIZE, KLP_PATCH_OBJS, table_entries
from ..files.module_file import ModuleFile
from ..files.relocation_types import POINTER_TYPE
from ..files.write import ElfImage
from . import messages
from .errno import EAGAIN, EEXIST, Refused
from .klp_structs import KlpPatch
from .livepatch.core import enabled_store, klp_module_going
from .livepatch.transition import klp_try_complete_transition
from .loader import delete_module, do_init_module, form_module, load_module, set_parameter, unlink
from .module import GOING, LIVE, Module
from .state import Commands, State

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
    several = len(labels) > 1
    return {label: _part(file, number, label) if several else file for number, label in enumerate(labels)}


def _part(file: ModuleFile, number: int, label: str) -> ModuleFile:
    image, name = ElfImage.parse(file.data), f"{file.name}__{label}"
    if file.klp and file.klp.place:
        _cut_objects(image, file.klp.place, number)
    else:
        _cut_tables(file, image, label)
    raw = name.encode()[: MODULE_NAME_LEN - 1]
    for section in image.sections:
        ours = section_object(section.name) in (label, "vmlinux")
        if section.type == SHT_RELA and section.flags & SHF_RELA_LIVEPATCH and not ours:
            section.body = bytearray()
        elif section.name == ".modinfo":
            section.body = section.body.replace(f"\0name={file.name}\0".encode(), f"\0name={name}\0".encode())
        elif section.name == THIS_MODULE:
            section.body[THIS_MODULE_NAME : THIS_MODULE_NAME + MODULE_NAME_LEN] = raw.ljust(MODULE_NAME_LEN, b"\0")
    return ModuleFile(image.to_bytes(), f"{name}.ko")


def _cut_objects(image: ElfImage, place: tuple[int, int], number: int) -> None:
    """Let klp_patch.objs point to one element of the array, and end the array behind it."""
    where, offset = place
    relas = [section for section in image.sections if section.type == SHT_RELA]
    pointers = ((rela, entry) for rela in relas if rela.info == where for entry in image.relocations(rela))
    wanted = (offset + KLP_PATCH_OBJS, POINTER_TYPE[image.machine])
    rela, objs = next((rela, entry) for rela, entry in pointers if (entry.offset, entry.type) == wanted)
    here = replace(objs, addend=objs.addend + number * KLP_OBJECT_SIZE)
    image.set_relocations(rela, [here if entry == objs else entry for entry in image.relocations(rela)])
    symbol = image.symbols[objs.symbol]
    end = symbol.value + here.addend + KLP_OBJECT_SIZE
    for rela in [rela for rela in relas if rela.info == symbol.shndx]:
        image.set_relocations(rela, [e for e in image.relocations(rela) if e.offset not in (end, end + 8)])


def _cut_tables(file: ModuleFile, image: ElfImage, label: str) -> None:
    """Leave only the entries for one object in the tables of kpatch-build or klp-build; those behind move up."""
    for index, entries in table_entries(file).items():
        section, body = image.sections[index], bytearray()
        moved: dict[int, int] = {}  # offset before -> now
        for entry in entries:
            if entry.label in (label, ""):
                moved |= {entry.offset + at: len(body) + at for at in range(entry.size)}
                body += section.body[entry.offset : entry.offset + entry.size]
        section.body = body
        for rela in [s for s in image.sections if s.type == SHT_RELA and s.info == index]:
            kept = [e for e in image.relocations(rela) if e.offset in moved]
            image.set_relocations(rela, [replace(e, offset=moved[e.offset]) for e in kept])


# -- user space, and who tells it -------------------------------------------------------------------------------------------


@dataclass(eq=False)
class Installed:
    """A livepatch on disk: its parts by object, and whether its targets shall still be patched when they come."""

    name: str
    parts: dict[str, ModuleFile]
    params: str
    enabled: bool = True


class Waiting(NamedTuple):
    """A target in state Coming whose parts are being fetched: which ones, with their parameters, was decided when it came."""

    mod: Module
    parts: list[tuple[ModuleFile, str]]


class Parts:
    """What user space remembers, and what it does in the kernel's stead when a livepatch or a target comes or goes.

    installed: the livepatches on disk, oldest first. waiting: by module name, the loads that wait for one of their parts.
    """

    def __init__(self, kernel: State) -> None:
        self.kernel = kernel
        self.installed: list[Installed] = []
        self.waiting: dict[str, Waiting] = {}
        self.in_background = False

    def find(self, name: str) -> Installed | None:
        return next((one for one in self.installed if one.name == name), None)

    # -- a livepatch ----------------------------------------------------------------------------------------------------

    def insmod(self, file: ModuleFile, params: str) -> None:
        """Of a livepatch the parts of what is loaded now, vmlinux's among them; the others wait on disk.

        Errors: Refused as for any load; then no part stays.
        """
        if not (file.is_livepatch and file.klp):
            return load_module(self.kernel, file, params)
        if self.find(file.name):
            raise Refused(EEXIST)
        new = Installed(file.name, dict(split_per_object(file)), params)
        try:
            for label, part in new.parts.items():
                target = self.kernel.find_module(label)
                if label == "vmlinux" or (target and target.state == LIVE):
                    load_module(self.kernel, part, params)
        except Refused:
            for mod in self._loaded(new):
                self._unload(mod.name)
            raise
        if file.klp.replace:
            self._replace(new)
        self.installed.append(new)

    def _replace(self, new: Installed) -> None:
        """Older livepatches lose their parts for the same objects, and the modules of parts that are out of force go."""
        for old in self.installed:
            for label in new.parts:
                old.parts.pop(label, None)
        for mod in list(self.kernel.modules):
            if mod.file.is_livepatch and mod.state == LIVE and self.kernel.klp.find(mod.name) is None:
                with suppress(Refused):
                    delete_module(self.kernel, mod.name)

    def rmmod(self, name: str) -> None:
        """Of a livepatch all its parts. Errors: Refused(-EAGAIN) while it is enabled."""
        found = self.find(name)
        if found is None:
            return delete_module(self.kernel, name)
        if found.enabled and found.parts:
            raise Refused(EAGAIN)
        for mod in self._loaded(found):
            delete_module(self.kernel, mod.name)
        self.installed.remove(found)

    def write_enabled(self, name: str, value: bool) -> None:
        """A write to a livepatch's `enabled` goes to all its parts."""
        found = self.find(name)
        if found is None:
            return enabled_store(self.kernel, name, value)
        for mod in self._loaded(found):
            enabled_store(self.kernel, mod.name, value)
        found.enabled = value

    def set_parameter(self, name: str, key: str, value: str) -> None:
        """A parameter of a livepatch on disk is kept for parts that are loaded later."""
        found = self.find(name)
        if found is not None:
            others = [word for word in found.params.split() if word.partition("=")[0] != key]
            found.params = " ".join([*others, f"{key}={value}"])
        if found is None or self.kernel.find_module(name):
            set_parameter(self.kernel, name, key, value)

    def _loaded(self, installed: Installed) -> list[Module]:
        return list(filter(None, (self.kernel.find_module(part.name) for part in installed.parts.values())))

    # -- a target -------------------------------------------------------------------------------------------------------

    def load_for(self, mod: Module) -> None:
        """A module is about to run its init: fetch its parts, and load them. Errors: Refused."""
        ours = [one for one in self.installed if one.enabled and mod.name in one.parts]
        wanted = Waiting(mod, [(one.parts[mod.name], one.params) for one in ours])
        if self.in_background and ours:
            self.waiting[mod.name] = wanted
        else:
            self._load(wanted)

    def _load(self, wanted: Waiting) -> None:
        for number, (part, params) in enumerate(wanted.parts):
            try:
                load_module(self.kernel, part, params)
            except Refused as refused:
                for earlier, _ in reversed(wanted.parts[:number]):
                    self._unload(earlier.name)
                # Which part it was only user space knows: the kernel sees how its program ended.
                self.kernel.log(messages.NO_PART(module=wanted.mod.name, err=refused.errno))
                raise

    def unload_for(self, mod: Module) -> None:
        """A target has gone, so its parts go too, with all that was written into them: no reload ever finds old bytes."""
        for patch in [p for p in self.kernel.klp.patches if [obj.name for obj in p.objects] == [mod.name]]:
            self._unload(patch.name)

    def _unload(self, name: str) -> None:
        """Disable a part where it is enabled, wait for that, and remove its module. What a running transition forbids is left."""
        with suppress(Refused):
            if self.kernel.klp.find(name) is not None:
                enabled_store(self.kernel, name, False)
                klp_try_complete_transition(self.kernel)
            delete_module(self.kernel, name)

    def insmod_in_background(self, file: ModuleFile) -> None:
        """insmod FILE &: up to where the target waits in Coming for its parts. Without parts to wait for: to the end."""
        self.in_background = True
        try:
            mod = form_module(self.kernel, file)
        finally:
            self.in_background = False
        if mod.name not in self.waiting:
            do_init_module(self.kernel, mod, "")

    def wait(self, name: str) -> None:
        """The parts that were chosen arrive, and the target's init runs. Nothing where nobody waits. Errors: Refused."""
        if name not in self.waiting:
            return
        waiting = self.waiting.pop(name)
        mod = waiting.mod
        try:
            self._load(waiting)
        except Refused:
            mod.state = GOING
            klp_module_going(self.kernel, mod)
            unlink(self.kernel, mod)
            raise
        do_init_module(self.kernel, mod, "")


def shares_an_object(patch: KlpPatch, old: KlpPatch) -> bool:
    """An atomic replace ends only what was there for the same object: the other parts have a successor each."""
    names = {obj.name for obj in patch.objects}
    return any(obj.name in names for obj in old.objects)


def attach(kernel: State) -> Parts:
    """Let user space stand between the kernel and its commands, and hear of every module that comes and goes."""
    parts = Parts(kernel)
    kernel.coming.append(parts.load_for)
    kernel.going.append(parts.unload_for)
    kernel.klp.replaces = shares_an_object
    kernel.commands = Commands(parts.insmod, parts.insmod_in_background, parts.wait, parts.rmmod,
                               parts.write_enabled, parts.set_parameter)  # fmt: skip
    return parts
