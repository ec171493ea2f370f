"""When two machines of the fleet are in the same state, and what that state means for who runs them."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import fields
from functools import lru_cache
from typing import NamedTuple

from ..files.klp import Site, placed_sites
from ..files.module_file import ModuleFile
from ..model.kernel import Kernel
from ..model.klp_structs import KlpFunc, KlpObject, KlpPatch
from ..model.module import LIVE, Module
from .events import Cast, livepatches


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
    """All that can decide what the kernel answers later, and nothing else: equal fingerprints have the same future.

    Addresses are left out on x86_64, where no outcome depends on them. On ppc64le those of the targets stay, with every
    livepatch's stubs and calls: whether a call finds its stub again depends on where its target was before.
    """
    if kernel.wrecked:
        return "hangs"
    modules = sorted(map(_module, kernel.modules), key=repr)
    patches = tuple(map(_patch, kernel.klp.patches))
    on_disk = kernel.split.installed if kernel.split else ()
    parts = [tuple((label, part.filename) for label, part in one.parts.items()) for one in on_disk]
    installed = tuple((one.name, one.enabled, own) for one, own in zip(on_disk, parts, strict=True))
    where = _addresses(kernel) if kernel.arch.has_stubs else ()
    waits = kernel.rules.first_waits and not kernel.klp.had_transition
    return (tuple(modules), patches, kernel.klp.transition is not None, waits, installed, where)


def _module(mod: Module) -> Hashable:
    held = tuple(sorted(holder.name for holder in mod.holders))
    return (mod.name, mod.file.filename, mod.state, mod.klp_alive, mod.references, held, written(mod))


def written(mod: Module) -> tuple[str, ...]:
    """Keys of the livepatch sites whose bytes are not the file's."""
    return tuple(site.key for site in _written(mod))


def _written(mod: Module) -> Iterator[Site]:
    for section, found in _site_bytes(mod.file).items():
        body = mod.image.bytes_of(section).tobytes()
        for site, kept in found:
            if body[site.offset : site.offset + site.width] != kept:
                yield site


def _patch(patch: KlpPatch) -> Hashable:
    objects = ((*_switches(obj), obj.loaded, *map(_switches, obj.funcs)) for obj in patch.objects)
    return (patch.name, *_switches(patch), *objects)


def _switches(struct: KlpPatch | KlpObject | KlpFunc) -> tuple[Hashable, ...]:
    """The fields that are flags or names: everything in such a struct but addresses and pointers."""
    values = (getattr(struct, f.name) for f in fields(struct))
    return tuple(value for value in values if value is None or isinstance(value, bool | str))


@lru_cache(maxsize=64)
def _site_bytes(file: ModuleFile) -> dict[int, list[tuple[Site, bytes]]]:
    """Section -> its livepatch sites, with the bytes that the file has there."""
    found: dict[int, list[tuple[Site, bytes]]] = {}
    for section, site in placed_sites(file):
        body = file.section_bytes(section)
        found.setdefault(section, []).append((site, bytes(body[site.offset : site.offset + site.width])))
    return found


def _addresses(kernel: Kernel) -> Hashable:
    """Where every target is put, and what the livepatches' calls have left behind."""
    there = tuple(sorted((name, *sorted(place.items())) for name, place in kernel.placement.items()))
    patches = [mod for mod in kernel.modules if mod.file.is_livepatch]
    return (there, tuple(sorted((mod.name, kernel.arch.left_behind(mod.image, kernel.rules)) for mod in patches)))


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
    stale = _mask(cast, (name for mod in kernel.modules for name in written_for(mod)))
    return Condition(
        loaded=live,
        patched=live & _mask(cast, (name for _, name in in_force if name)),
        pinned=_mask(cast, (mod.name for mod in here if mod.refcount)),
        stale=stale & ~_mask(cast, (mod.name for mod in here)),
        edition=next((number for number, name in enumerate(cast.editions) if known.get(name)), -1),
        damaged=any("+" in patch.mod.file.filename for patch, _ in in_force),
    )


def _mask(cast: Cast, names: Iterable[str]) -> int:
    """The bits of those names that are targets."""
    return sum(cast.bit(name) for name in set(names) if cast.is_target(name))


def written_for(mod: Module) -> set[str]:
    """The objects for which a livepatch has bytes written that are not its file's."""
    return {site.object for site in _written(mod)}
