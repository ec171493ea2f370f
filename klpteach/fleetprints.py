"""When two machines of the fleet are in the same state, and what that state means for who runs them."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable
from dataclasses import fields
from functools import lru_cache
from typing import NamedTuple

from .elf import ModuleFile
from .fleetevents import Cast, livepatches
from .kernel import Kernel
from .klp import Site, sites
from .livepatch.structs import KlpObject, KlpPatch
from .module import LIVE, Module

STUB_SIZE, R_PPC64_REL24 = 40, 10  # sizeof(struct ppc64_stub_entry); a call


class Condition(NamedTuple):
    """What a state means for who runs the machine. Masks have Cast.bit() of each target; edition: 0, 1, or -1 for none.

    patched: an enabled livepatch redirects its functions. pinned: it is loaded and in use, so rmmod is refused. stale:
    it is away, and a livepatch still has bytes written for it. damaged: a damaged livepatch is in force. hangs: oopsed.
    """

    loaded: int = 0
    patched: int = 0
    pinned: int = 0
    stale: int = 0
    edition: int = -1
    damaged: bool = False
    hangs: bool = False


def fingerprint(kernel: Kernel) -> Hashable:
    """All that can decide what the kernel answers later, and nothing else: two histories that agree here have one future.

    Addresses are left out on x86_64, where no outcome depends on them. On ppc64le they stay, with every livepatch's stubs
    and calls: whether a call finds its stub again depends on where its target was before.
    """
    if kernel.wrecked:
        return "hangs"
    modules = sorted((_module(mod) for mod in kernel.modules), key=repr)
    patches = tuple(_patch(patch) for patch in kernel.klp.patches)
    where = _addresses(kernel) if kernel.arch == "ppc64le" else ()
    split = tuple(
        (one.name, one.enabled, tuple((o, part.filename) for o, part in one.parts.items()))
        for one in kernel.split.installed
    )
    return (tuple(modules), patches, kernel.klp.transition is not None, split, where)


def _module(mod: Module) -> Hashable:
    held = tuple(sorted(holder.name for holder in mod.holders))
    return (mod.name, mod.file.filename, mod.state, mod.klp_alive, mod.references, held, written(mod))


def written(mod: Module) -> tuple[str, ...]:
    """Keys of the livepatch sites whose bytes are not the file's."""
    return tuple(site.key for site, kept in _site_bytes(mod.file) if _now(mod, site) != kept)


def _now(mod: Module, site: Site) -> bytes | None:
    return mod.bytes_at(site.section, site.offset, site.width)


def _patch(patch: KlpPatch) -> Hashable:
    return (patch.name, *_switches(patch), tuple(_object(obj) for obj in patch.objects))


def _object(obj: KlpObject) -> Hashable:
    return (*_switches(obj), obj.loaded, tuple(_switches(func) for func in obj.funcs))


def _switches(struct: KlpPatch | KlpObject | object) -> tuple[Hashable, ...]:
    """The fields that are flags or names: everything in such a struct but addresses and pointers."""
    values = (getattr(struct, f.name) for f in fields(struct))  # type: ignore[arg-type]
    return tuple(value for value in values if value is None or isinstance(value, bool | str))


@lru_cache(maxsize=64)
def _site_bytes(file: ModuleFile) -> list[tuple[Site, bytes]]:
    """Every livepatch site, with the bytes that the file has there."""
    index = {name: number for number, name in reversed(list(enumerate(file.section_names)))}
    return [
        (site, bytes(file.section_bytes(index[site.section])[site.offset : site.offset + site.width]))
        for site in sites(file)
        if site.section in index
    ]


def _addresses(kernel: Kernel) -> Hashable:
    """Where every mapping stands, and what the livepatches' calls have left behind."""
    regions = tuple((region.start, region.owner, region.kind) for region in kernel.memory)
    return (regions, tuple(_calls(mod) for mod in kernel.modules if mod.file.is_livepatch))


def _calls(mod: Module) -> bytes:
    """The table of stubs with the slot behind its end, which a search looks at too, and both words of every call site."""
    digest = hashlib.blake2b(mod.name.encode(), digest_size=16)
    names = mod.file.section_names
    if ".stubs" in names:
        region, offset = mod.image.layout.places[names.index(".stubs")]
        size = int(mod.file.shdrs["size"][names.index(".stubs")])
        digest.update(mod.image.memory[region][offset : offset + size + STUB_SIZE].tobytes())
    for site, _ in _site_bytes(mod.file.on_disk):
        if site.type == R_PPC64_REL24:
            digest.update(mod.bytes_at(site.section, site.offset, 8) or b"")
    return digest.digest()


# -- what a state means ---------------------------------------------------------------------------------------------------


def condition(kernel: Kernel, cast: Cast) -> Condition:
    """What can be seen of a machine in its present state."""
    if kernel.wrecked:
        return Condition(hangs=True)
    here = [mod for mod in kernel.modules if cast.is_target(mod.name)]
    live = _mask(cast, (mod.name for mod in here if mod.state == LIVE))
    enabled = [patch for patch in kernel.klp.patches if patch.enabled]
    in_force = [(patch, obj.name) for patch in enabled for obj in patch.objects if obj.patched]
    known = livepatches(kernel)
    return Condition(
        loaded=live,
        patched=live & _mask(cast, (name for _, name in in_force if name)),
        pinned=_mask(cast, (mod.name for mod in here if mod.refcount)),
        stale=_mask(cast, (name for mod in kernel.modules for name in written_for(mod)))
        & ~_mask(cast, (mod.name for mod in here)),
        edition=next((number for number, name in enumerate(cast.editions) if known.get(name)), -1),
        damaged=any("+" in patch.mod.file.filename for patch, _ in in_force),
    )


def _mask(cast: Cast, names: Iterable[str]) -> int:
    """The bits of those names that are targets."""
    return sum(cast.bit(name) for name in set(names) if cast.is_target(name))


def written_for(mod: Module) -> set[str]:
    """The objects for which a livepatch has bytes written that are not its file's."""
    return {site.object for site, kept in _site_bytes(mod.file) if _now(mod, site) != kept}
