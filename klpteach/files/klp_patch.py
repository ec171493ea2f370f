"""What a livepatch patches, whoever built it.

A livepatch that is written by hand has a struct klp_patch in its data. Those of the two tool chains have none: both make it
in init(), from tables of their own. So there are three forms to read, and where there is none of them the names of the
.klp.rela sections still say which modules are waited for. The result is the same: a KlpPatchInfo.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from .elf import Array, ElfFile, text_of
from .elf_h import KSYM_NAME_LEN, RELA, SHF_WRITE, SHN_UNDEF, THIS_MODULE
from .klp import livepatch_sections, section_object
from .relocation_types import POINTER_TYPE

KLP_OBJECT_SIZE, KLP_FUNC_SIZE = 168, 152  # sizeof on x86_64, the same on 6.1 and 6.12
KLP_PATCH_OBJS, KLP_PATCH_STATES, KLP_PATCH_REPLACE = 8, 16, 24  # offsetof(struct klp_patch, …)
KLP_STATE_SIZE = 24  # struct klp_state: id, version, data
CALLBACKS = ("pre_patch", "post_patch", "pre_unpatch", "post_unpatch")
BY_HAND, KPATCH, KLP_BUILD, BY_NAMES = "struct klp_patch", "kpatch-build", "klp-build", "section names"

Place = tuple[int, int]  # section index, offset in it


@dataclass(frozen=True)
class KlpFuncInfo:
    """One struct klp_func: the function old_name of the object is replaced; its new code stands at section+offset."""

    old_name: str
    new_section: int
    new_offset: int
    old_sympos: int


@dataclass(frozen=True)
class KlpObjectInfo:
    """One struct klp_object: name is None for vmlinux; has_funcs is False where the funcs pointer is NULL."""

    name: str | None
    funcs: tuple[KlpFuncInfo, ...]
    has_funcs: bool = True
    callbacks: tuple[str, ...] = ()  # of CALLBACKS


@dataclass(frozen=True)
class KlpPatchInfo:
    """What a livepatch declares. form: who built it, and so where that was read.

    replace of the two tools is not in the file, but in what their init() is compiled to; both replace unless told not to, so
    it is taken to be True. place: the section and offset of struct klp_patch, None where init() makes it. BY_NAMES: neither
    functions nor replace are known, only which objects are waited for.
    """

    objects: tuple[KlpObjectInfo, ...]
    replace: bool
    states: Mapping[int, int] = field(default_factory=dict)  # id -> version of the system states it changes
    place: Place | None = field(compare=False, default=None)
    form: str = BY_HAND


def read_klp_patch(file: ElfFile) -> KlpPatchInfo | None:
    """What a module declares to patch, by the first form that it has; None for a module that declares nothing.

    Errors: ModuleFormatError where arrays of functions overlap, or a table does not fit its section.

    >>> from klpteach.files.module_file import ModuleFile
    >>> from klpteach.files.samples import sample
    >>> for name in ("livepatch_nfsd_demo.ko", "livepatch_kpatch.ko", "livepatch_klp_build.ko"):
    ...     info = ModuleFile.open(sample(name)).klp
    ...     print(info.form, [obj.name for obj in info.objects])
    struct klp_patch ['nfsd_demo']
    kpatch-build ['nfsd_demo']
    klp-build ['nfsd_demo']
    """
    pointers = _Pointers(file)
    return _by_hand(pointers) or _by_kpatch(pointers) or _by_klp_build(pointers) or _by_names(file)


class _Pointers:
    """The 64-bit absolute relocations of a file: what a pointer in its data points to, before anything is loaded."""

    def __init__(self, file: ElfFile) -> None:
        self.file = file
        self._walked: set[Place] = set()
        infos = file.shdrs["info"]
        self._tables: dict[int, list[int]] = {}  # section -> those with its relocations
        for index in file.rela_sections:
            self._tables.setdefault(int(infos[index]), []).append(index)
        self._sorted: dict[int, tuple[Array, Array]] = {}

    def of(self, section: int) -> tuple[Array, Array]:
        """The pointers in a section by offset, and their offsets; of two to one place the later stands behind."""
        if section not in self._sorted:
            parts = [self.file.rela(index) for index in self._tables.get(section, ())]
            every = np.concatenate([np.zeros(0, RELA), *parts])
            every = every[every["type"] == POINTER_TYPE[self.file.machine]]
            every = every[np.argsort(every["offset"], kind="stable")]
            self._sorted[section] = every, every["offset"].copy()
        return self._sorted[section]

    def at(self, where: Place) -> tuple[int, int] | None:
        """Symbol and addend of the pointer at (section, offset), None where there is none."""
        section, offset = where
        if not 0 <= offset < 1 << 63:
            return None
        entries, offsets = self.of(section)
        found = int(offsets.searchsorted(np.uint64(offset), "right")) - 1
        if found < 0 or offsets[found] != offset:
            return None
        return int(entries["sym"][found]), int(entries["addend"][found])

    def place(self, where: Place) -> Place | None:
        """(section, offset) that the pointer at (section, offset) points to; None where it does not stay in the file."""
        pointer = self.at(where)
        if pointer is None:
            return None
        entry = self.file.symtab[pointer[0]]
        section = int(entry["shndx"])
        if section == SHN_UNDEF or section >= len(self.file.shdrs):
            return None
        return section, int(entry["value"]) + pointer[1]

    def string(self, where: Place) -> str | None:
        place = self.place(where)
        if place is None:
            return None
        # A longer name than the kernel can have is cut: it finds no such symbol.
        return text_of(self.file.bytes_at(place[0], max(place[1], 0), KSYM_NAME_LEN).partition(b"\0")[0])

    def number(self, where: Place, size: int = 8) -> int:
        return int.from_bytes(self.file.bytes_at(*where, size), self.file.byteorder)

    def table(self, name: str, entry: int) -> Iterator[Place]:
        """Where the entries of a section stand whose size is a multiple of an entry's. Errors: ModuleFormatError."""
        index = self.file.section_index(name)
        size = self.file.extents[index][2] if index is not None else 0
        if size % entry:
            raise self.file.bad(f"{name} has {size} bytes, no multiple of {entry}")
        return ((index, offset) for offset in range(0, size, entry)) if index is not None else iter(())

    def func(self, name: Place, new: Place, sympos: int) -> KlpFuncInfo:
        new_section, new_offset = self.place(new) or (0, 0)
        return KlpFuncInfo(self.string(name) or "", new_section, new_offset, sympos)

    def once(self, entry: Place) -> Place:
        """An entry of an array that is walked. Arrays that overlap would show more than the file holds."""
        if entry in self._walked:
            raise self.file.bad("its arrays of functions or objects overlap", hint="No tool makes such a livepatch.")
        self._walked.add(entry)
        return entry


class Entry(NamedTuple):
    """One entry of a tool's table: which object it is for; "" for the zeros behind the last."""

    offset: int
    size: int
    label: str


def table_entries(file: ElfFile) -> dict[int, list[Entry]]:
    """Section index -> the entries of each table that names objects. Errors: ModuleFormatError.

    >>> from klpteach.files.module_file import ModuleFile
    >>> from klpteach.files.samples import sample
    >>> tables = table_entries(ModuleFile.open(sample("livepatch_kpatch_two.ko")))
    >>> [entry.label for entry in next(iter(tables.values()))]
    ['nfsd_demo', 'nfsd_demo', 'nfsd_demo', 'acl_demo', '']
    """
    pointers, found = _Pointers(file), {}
    tables = [
        (".kpatch.funcs", 56, 48),
        (".init.klp_objects", 64, 0),
        *((f".kpatch.callbacks.{k}", 16, 8) for k in CALLBACKS),
    ]
    for name, size, at in tables:
        index = file.section_index(name)
        end = file.extents[index][2] if index is not None else 0
        if index is not None and end >= size:
            whole = range(0, end - size + 1, size)
            named = (pointers.string((index, offset + at)) or "vmlinux" for offset in whole)
            found[index] = [*map(Entry, whole, [size] * len(whole), named), Entry(len(whole) * size, end % size, "")]
    return found


# -- a struct klp_patch in the file ---------------------------------------------------------------------------------------


def _by_hand(pointers: _Pointers) -> KlpPatchInfo | None:
    """Find struct klp_patch by its first member, mod: an absolute relocation against __this_module outside of it.

    All its pointers are zero in the file and carried by relocations, so the arrays are walked by following those; an
    array ends where an element has none. Other structures begin with a pointer to the module too (a parameter, a file's
    operations), but none goes on like a patch.
    """
    for section, offset in _owned_structures(pointers):
        objs = pointers.place((section, offset + KLP_PATCH_OBJS))
        objects = tuple(_objects(pointers, objs)) if objs else ()
        if any(obj.has_funcs for obj in objects):
            replace = bool(pointers.number((section, offset + KLP_PATCH_REPLACE), 1))
            states = pointers.place((section, offset + KLP_PATCH_STATES))
            declared = dict(_states(pointers, states)) if states else {}
            return KlpPatchInfo(objects, replace, declared, (section, offset))
    return None


def _owned_structures(pointers: _Pointers) -> Iterator[Place]:
    """Places in writable sections that hold a pointer to the module itself; a patch has list heads, so it is writable."""
    file = pointers.file
    this_module = file.section_index(THIS_MODULE)
    named = np.array([name == "__this_module" for name in file.symbol_names]) | (file.symtab["shndx"] == this_module)
    for section in np.flatnonzero(file.shdrs["flags"] & SHF_WRITE).tolist():
        if section != this_module:
            entries, offsets = pointers.of(section)
            yield from ((section, offset) for offset in np.unique(offsets[named[entries["sym"]]]).tolist())


def _states(pointers: _Pointers, at: Place) -> Iterator[tuple[int, int]]:
    """struct klp_state[]; an entry with id 0 ends it."""
    section, offset = at
    while number := pointers.number((section, offset)):
        yield number, pointers.number((section, offset + 8), 4)
        offset += KLP_STATE_SIZE


def _objects(pointers: _Pointers, at: Place) -> Iterator[KlpObjectInfo]:
    section, offset = at
    while pointers.at((section, offset)) or pointers.at((section, offset + 8)):
        pointers.once((section, offset))
        funcs = pointers.place((section, offset + 8))
        name = pointers.string((section, offset))
        called = tuple(kind for n, kind in enumerate(CALLBACKS) if pointers.at((section, offset + 16 + 8 * n)))
        listed = tuple(_funcs(pointers, funcs)) if funcs else ()
        yield KlpObjectInfo(name, listed, funcs is not None, called)
        offset += KLP_OBJECT_SIZE


def _funcs(pointers: _Pointers, at: Place) -> Iterator[KlpFuncInfo]:
    section, offset = at
    while pointers.at((section, offset)):
        sympos = pointers.number((section, offset + 16))
        yield pointers.func(pointers.once((section, offset)), (section, offset + 8), sympos)
        offset += KLP_FUNC_SIZE


# -- the tables of the tools ----------------------------------------------------------------------------------------------


def _by_kpatch(pointers: _Pointers) -> KlpPatchInfo | None:
    """.kpatch.funcs: new_addr, new_size, old_addr, old_size, sympos, name, objname, 8 bytes each; one table for all objects.

    Its init() puts objects and functions on lists at their heads, so the last ones come first. .kpatch.callbacks.KIND holds
    pairs of a function and an object's name, and eight zero bytes behind; those objects are made last, so they are in front.
    """
    found: dict[str | None, list[KlpFuncInfo]] = {}
    called: dict[str | None, list[str]] = {}
    for section, offset in pointers.table(".kpatch.funcs", 56):
        name = _object_name(pointers.string((section, offset + 48)))
        func = pointers.func((section, offset + 40), (section, offset), pointers.number((section, offset + 32)))
        found.setdefault(name, []).append(func)
    for kind in CALLBACKS:
        for section, offset in pointers.table(f".kpatch.callbacks.{kind}", 8):
            if offset % 16 == 0 and pointers.at((section, offset)):
                called.setdefault(_object_name(pointers.string((section, offset + 8))), []).append(kind)
    names = list(dict.fromkeys([*found, *called]))
    objects = (
        KlpObjectInfo(name, tuple(found.get(name, ())[::-1]), True, tuple(called.get(name, ()))) for name in names
    )
    return KlpPatchInfo(tuple(reversed(list(objects))), True, form=KPATCH) if names else None


def _by_klp_build(pointers: _Pointers) -> KlpPatchInfo | None:
    """.init.klp_objects: name, funcs, four callbacks, a flag, nr_funcs, 8 bytes each; name is NULL for vmlinux.

    funcs points into .init.klp_funcs: old_name, new_func, sympos. Both go when init() is done (include/linux/
    livepatch_external.h, 6.19).
    """
    objects = []
    for section, offset in pointers.table(".init.klp_objects", 64):
        start, count = pointers.place((section, offset + 8)), pointers.number((section, offset + 56), 4)
        funcs = tuple(_external_funcs(pointers, start, count)) if start and count else ()
        called = tuple(kind for n, kind in enumerate(CALLBACKS) if pointers.at((section, offset + 16 + 8 * n)))
        objects.append(KlpObjectInfo(_object_name(pointers.string((section, offset))), funcs, True, called))
    return KlpPatchInfo(tuple(objects), True, form=KLP_BUILD) if objects else None


def _external_funcs(pointers: _Pointers, start: Place, count: int) -> Iterator[KlpFuncInfo]:
    section, first = start
    room = pointers.file.extents[section][2] - first
    if count * 24 > room:
        raise pointers.file.bad(
            f".init.klp_objects counts {count} functions, .init.klp_funcs has room for {room // 24}"
        )
    for offset in range(first, first + 24 * count, 24):
        sympos = pointers.number((section, offset + 16))
        yield pointers.func(pointers.once((section, offset)), (section, offset + 8), sympos)


def _object_name(name: str | None) -> str | None:
    """What struct klp_object has for it: NULL for vmlinux."""
    return None if name in (None, "vmlinux") else name


def _by_names(file: ElfFile) -> KlpPatchInfo | None:
    """A livepatch that says nothing of itself that we could read: the objects that its relocation sections name."""
    if "livepatch" not in file.modinfo:
        return None
    names = dict.fromkeys(section_object(file.section_names[index]) for index in livepatch_sections(file))
    objects = tuple(KlpObjectInfo(_object_name(name), ()) for name in names if name)
    return KlpPatchInfo(objects, False, form=BY_NAMES) if objects else None
