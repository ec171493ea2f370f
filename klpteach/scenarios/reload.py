"""Does a livepatch survive a reload of its targets? Asked of the model, for every release, with any .ko.

Where a module's file is not at hand, a stand-in takes its place: a tiny module with just the symbols that the livepatch
asks for. What happens on a reload depends on the livepatch's bytes, not on the target's code.
"""

from __future__ import annotations

import gc
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

from ..errors import KlpteachError
from ..files.elf_h import EM_PPC64, EM_S390
from ..files.klp import Site, count_sites, is_module_name, parse_symbol, waiting_sites, zero_sites
from ..files.module_file import ModuleFile
from ..files.relocation_types import POINTER_TYPE
from ..files.write import tiny_module
from ..model import arch as architectures
from ..model.errno import ENODEV, errno_name
from ..model.kernel import Kernel
from ..model.livepatch.core import klp_target_names
from ..model.livepatch.relocs import old_slots
from ..model.policy import RELEASES, releases
from ..model.recording import Recording
from ..model.step import Step
from .size import check_size

MANY = 40  # moves
FEW = 16  # targets for each of which a kernel of its own is started; more share one
APART = 40_000  # livepatch relocations times targets: as many are looked at in such kernels
NAMESAKES = 4096  # symbols that a stand-in has beyond one of each name; no module has so many
# The first version that a release of the model stands for. 5.8: vmlinux early. 6.4: memory in several pieces. 6.19: messages that
# name section and entry.
STANDS_FROM: Mapping[str, tuple[int, int]] = {
    "5.3": (0, 0),
    "6.1": (5, 8),
    "6.3": (6, 3),
    "6.12": (6, 4),
    "7.3": (6, 19),
}


class Refusing(NamedTuple):
    """A site that a second load refuses: what it holds when its target has gone, and in the file."""

    site: Site
    now: bytes
    in_file: bytes


@dataclass(frozen=True)
class Outcome:
    """What one release does with one target. steps: insmod target, insmod livepatch, rmmod target, insmod target.

    steps end with what cannot be gone on from. refusing: the sites for which a second load is refused. half_way: whether
    a load that failed half way makes the next one be refused; None where it was not tried.
    """

    release: str
    target: str
    stand_in: bool
    steps: tuple[Step, ...]
    refusing: tuple[Refusing, ...] = ()
    half_way: bool | None = None
    moves: int | None = None  # ppc64le: how many reloads at ever new bases the table of stubs bears; None: any number
    ending: str = ""  # what ends them: an errno's name, or oops
    old_slots: tuple[
        str, ...
    ] = ()  # s390x: symbols that the livepatch uses at their old addresses after a reload elsewhere
    helpers: tuple[str, ...] = ()  # stand-ins for other modules, whose symbols it is patched with
    zeros: int = 0  # relocations that the livepatch's own load has written, with 0 for a livepatch symbol

    @property
    def stand_ins(self) -> tuple[str, ...]:
        """Every module that a stand-in was loaded for."""
        return (self.target, *self.helpers) if self.stand_in else self.helpers

    @property
    def failed(self) -> Step | None:
        """The first refused step; None if the target can be reloaded."""
        return next((step for step in self.steps if step.refused or step.oops), None)

    @property
    def kind(self) -> str:
        """works, refused, oops (of the reload), or what did not even come so far: no target, no livepatch, not removed.

        zeros: nothing is refused, but the livepatch calls and reads at address 0, whatever is loaded.
        """
        if self.failed is None:
            return "zeros" if self.zeros else "works"
        if self.failed.oops and len(self.steps) == 4:
            return "oops"
        return ("no target", "no livepatch", "not removed", "refused")[len(self.steps) - 1]


def built_for(file: ModuleFile) -> tuple[str, str]:
    """The kernel that a module was built for, and the release of the model that is nearest; "" where vermagic is missing.

    >>> from klpteach.files.samples import sample
    >>> built_for(ModuleFile.open(sample("nfsd_demo.ko")))
    ('6.1.0-56-amd64', '6.1')
    """
    version = file.modinfo.get("vermagic", "").partition(" ")[0]
    numbers = re.match(r"(\d{1,4})\.(\d{1,4})", version)
    if not numbers:
        return version, ""
    wanted = int(numbers[1]), int(numbers[2])
    return version, [release for release in RELEASES if _stands_from(release) <= wanted][-1]


def _stands_from(release: str) -> tuple[int, int]:
    major, minor = release.split(".")
    return STANDS_FROM.get(release, (int(major), int(minor)))


def of_distribution(version: str) -> bool:
    """Whether a release is of an enterprise distribution, whose kernels have fixes of later ones.

    >>> of_distribution("5.14.0-362.8.1.el9_3.x86_64"), of_distribution("6.1.0-56-amd64")
    (True, False)
    """
    return bool(re.search(r"\.el\d|uek|-default$|-150\d+", version))


# -- whom a livepatch wants -------------------------------------------------------------------------------------------


class Wanted:
    """What a livepatch asks other modules for, read once: its sites by object, and the symbols of every module.

    Errors: KlpteachError, before the work, for one that is larger than what is played here.
    """

    def __init__(self, livepatch: ModuleFile) -> None:
        check_size(livepatch)
        self.livepatch = livepatch
        self.places = {name: number for number, name in reversed(list(enumerate(livepatch.section_names)))}
        self.sites: dict[str, list[Site]] = defaultdict(list)  # object that is waited for -> sites
        self.helpers: dict[str, dict[str, None]] = defaultdict(dict)  # the same -> other modules whose symbols it takes
        self.zeros = sum(map(len, zero_sites(livepatch).values()))  # relocations that its load has written with 0
        self.symbols: dict[str, dict[str, int]] = defaultdict(dict)  # module -> symbol -> how many of that name
        for site in waiting_sites(livepatch):
            self.sites[site.object].append(site)
            if symbol := parse_symbol(site.symbol):
                self._want(symbol.object, symbol.name, symbol.sympos)
                if symbol.object not in ("vmlinux", site.object):
                    self.helpers[site.object][symbol.object] = None
        for obj in livepatch.klp.objects if livepatch.klp else ():
            for func in obj.funcs:
                self._want(obj.name or "vmlinux", func.old_name, func.old_sympos)

    def _want(self, module: str, name: str, sympos: int) -> None:
        self.symbols[module][name] = max(self.symbols[module].get(name, 1), sympos)

    def files(self, targets: Mapping[str, ModuleFile]) -> dict[str, ModuleFile]:
        """A file for every module that it patches or takes symbols from: as given, else a stand-in."""
        names = dict.fromkeys([*klp_target_names(self.livepatch), *self.symbols])
        stand_ins = {name: self.stand_in(name) for name in names if name not in targets and name != "vmlinux"}
        return {**stand_ins, **targets}

    def stand_in(self, module: str) -> ModuleFile:
        """A module of that name with the functions and symbols that the livepatch wants to find in it."""
        room, names = NAMESAKES, []
        for name, count in self.symbols.get(module, {}).items():
            more = min(count - 1, room)
            room -= more
            names += [name] * (1 + more)
        symbols = [("__stand_in_text", ".text", 0), *((name, ".text", 32 * n) for n, name in enumerate(names))]
        machine = self.livepatch.machine
        pointer = POINTER_TYPE[machine]
        calls = [("__mcount_loc", 8 * n, pointer, "__stand_in_text", 32 * n) for n in range(len(names))]
        room = max(len(names), 1)
        sections: dict[str, bytes | int] = {".text": bytes(32 * room), "__mcount_loc": bytes(8 * room)}
        # the loader makes them as long as it needs
        sections |= dict.fromkeys(architectures.of(self.livepatch.arch).own_sections, 0)
        return ModuleFile(tiny_module(module, sections, symbols, calls, machine=machine), f"{module}.ko")


def stand_in(livepatch: ModuleFile, target: str) -> ModuleFile:
    """A module of that name with the functions and symbols that the livepatch wants to find in it.

    >>> from klpteach.files.samples import sample
    >>> stand_in(ModuleFile.open(sample("livepatch_nfsd_demo.ko")), "nfsd_demo").name
    'nfsd_demo'
    """
    return Wanted(livepatch).stand_in(target)


# -- the reload -----------------------------------------------------------------------------------------------------------


def survives(
    livepatch: ModuleFile, targets: Mapping[str, ModuleFile] | None = None, wanted: Wanted | None = None
) -> list[Outcome]:
    """For every release and every module the livepatch patches: load it, load the livepatch, remove it, load it again.

    targets: module name -> file, where it is at hand; what they depend on is loaded first where that is given, too. Every
    target gets a kernel of its own, where only it goes and comes, unless they are many (plays_apart): on x86_64 each then
    waits for relocations of its own, so that tells the same; on ppc64le moves are not counted then. wanted: where the
    livepatch has been read already.
    Errors: KlpteachError for a file that is no livepatch.
    """
    if not livepatch.is_livepatch or not livepatch.klp:
        raise KlpteachError(
            f"{livepatch.filename} is not a livepatch: its modinfo does not say livepatch, or it names nothing to patch. "
            "Try: give it as the target of a livepatch."
        )
    wanted, given = wanted or Wanted(livepatch), targets or {}
    check_size(livepatch, *given.values())
    names, files = _targets(livepatch), wanted.files(given)
    apart, big = plays_apart(livepatch), livepatch.memory_size > 8 << 20
    groups = [[name] for name in names] if apart else [names]
    found = []
    for release in releases(livepatch.arch):
        for group in groups:
            outcomes = _Play(wanted, files, release, group).outcomes()
            if apart and (elsewhere := _ELSEWHERE.get(livepatch.machine)):
                outcomes = [elsewhere(outcome, _Play(wanted, files, release, group)) for outcome in outcomes]
            found += [_with_stand_ins(outcome, wanted, given) for outcome in outcomes]
            if big:  # a kernel that is done with refers to itself, and its memory would stay for a while
                gc.collect()
    order = {name: number for number, name in enumerate(names)}
    return sorted(found, key=lambda outcome: order[outcome.target])


def plays_apart(livepatch: ModuleFile) -> bool:
    """Whether each target has a kernel of its own: of many, or of a large livepatch, all go and come together."""
    targets = len(_targets(livepatch))
    return targets <= FEW and (targets == 1 or targets * count_sites(livepatch) <= APART)


def _targets(livepatch: ModuleFile) -> list[str]:
    """The modules that it patches, but for names that no module can have."""
    return [name for name in klp_target_names(livepatch) if is_module_name(name)]


def story(livepatch: ModuleFile, target: str, targets: Mapping[str, ModuleFile], release: str) -> Recording:
    """The reload of one target with all that can be seen after each command, for the explorer."""
    wanted = Wanted(livepatch)
    play = _Play(wanted, wanted.files(targets), release, [target])
    play.kernel.records_state = True
    play.reload()
    return play.kernel.recording


class _Play:
    """One kernel of one release, and the targets of a livepatch that are loaded, removed and loaded again in it."""

    def __init__(self, wanted: Wanted, files: Mapping[str, ModuleFile], release: str, names: list[str]) -> None:
        self.wanted, self.files, self.release, self.names = wanted, files, release, names
        livepatch = wanted.livepatch
        title = f"reload of {names[0] if len(names) == 1 else f'{len(names)} modules'} under {livepatch.name}"
        self.kernel = Kernel(livepatch.arch, release, scenario="reload", title=title, records_state=False)
        # Each release is asked about a livepatch that was built for it: that kernel has what the file names.
        self.kernel.known = frozenset()
        self.kernel.add_to_vmlinux(wanted.symbols.get("vmlinux", {}))
        self.steps: dict[str, list[Step]] = {name: [] for name in names}

    def outcomes(self) -> list[Outcome]:
        """What became of every target."""
        refusing = self.reload()
        holes = dict(self.fail_half_way())
        told = ((name, tuple(self.steps[name]), tuple(refusing.get(name, ()))) for name in self.names)
        return [Outcome(self.release, name, False, steps, left, holes.get(name)) for name, steps, left in told]

    def reload(self) -> dict[str, list[Refusing]]:
        """Everybody comes, the livepatch, the targets go and come back; the sites that a second load refuses."""
        kernel, livepatch = self.kernel, self.wanted.livepatch
        order = list(self._in_order())
        for name in order:
            self._step(name, partial(kernel.insmod, self.files[name]))
        going = [name for name in order if name in self.steps and not self._over(name)]
        if kernel.wrecked or not going:
            return {}
        loaded = kernel.insmod(livepatch)
        for name in going:
            self.steps[name].append(loaded)
        if loaded.refused or loaded.oops:
            return {}
        for name in reversed(going):
            self._step(name, partial(kernel.rmmod, name))
        refusing = {name: list(self._refusing(name)) for name in going}
        for name in going:
            if not self._over(name):
                self._step(name, partial(kernel.insmod, self.files[name]))
        return refusing

    def fail_half_way(self) -> Iterator[tuple[str, bool]]:
        """Once more after the reload: a pre_patch callback fails when the relocations are written; and the next load?

        Any step that fails after them would do: a second livepatch of the same target, a function that is not traced.
        """
        kernel, patch = self.kernel, self.wanted.livepatch.name
        names = [name for name in self.steps if self.wanted.sites.get(name) and len(self.steps[name]) == 4]
        # What is left of a good load is left of a failed one, too.
        yield from ((name, True) for name in names if self.steps[name][-1].refused)
        there = [name for name in self._in_order() if name in names and not self._over(name)]
        for name in reversed(there if not kernel.wrecked else []):
            kernel.rmmod(name)
        for name in there:
            if kernel.wrecked:
                return
            kernel.callbacks[patch, name, "pre_patch"] = lambda _: ENODEV
            failed = kernel.insmod(self.files[name])
            del kernel.callbacks[patch, name, "pre_patch"]
            again = failed if failed.oops else kernel.insmod(self.files[name])
            yield name, again.refused or again.oops

    def _in_order(self) -> Iterator[str]:
        """The targets, and before each what its file depends on, where that is given, and whose symbols it is patched with."""
        waiting, begun = list(reversed(self.names)), set[str]()
        done: dict[str, None] = {}
        while waiting:
            name = waiting[-1]
            missing = [] if name in begun else [need for need in self._needs(name) if need not in begun]
            begun.add(name)
            waiting += missing
            if not missing:
                done[waiting.pop()] = None
        return iter(done)

    def _needs(self, name: str) -> Iterator[str]:
        depends = self.files[name].modinfo.get("depends", "").replace("-", "_").split(",")
        yield from (need for need in (*depends, *self.wanted.helpers.get(name, ())) if need in self.files)

    def _step(self, name: str, command: Callable[[], Step]) -> None:
        if not self.kernel.wrecked:
            step = command()
            if name in self.steps:
                self.steps[name].append(step)

    def _over(self, name: str) -> bool:
        """Whether the story of this target has ended."""
        return any(step.refused or step.oops for step in self.steps[name])

    def _refusing(self, name: str) -> Iterator[Refusing]:
        """Sites that were not taken back: nonzero on x86_64, calls without their nop on ppc64le before 6.3."""
        kernel, livepatch = self.kernel, self.wanted.livepatch
        mod = kernel.find_module(livepatch.name)
        for site in self.wanted.sites.get(name, ()) if mod else ():
            width = kernel.arch.site_width or site.width
            now = mod.bytes_at(site.section, site.offset, width) or b"" if mod else b""
            in_file = livepatch.bytes_at(self.wanted.places[site.section], site.offset, width)
            if kernel.arch.zero_sites:
                left = kernel.rules.check_zero and any(now)
            else:
                left = site.type in kernel.arch.call_types and now[4:] != in_file[4:] and not kernel.rules.tolerate_r2
            if left:
                yield Refusing(site, now, in_file)


def _with_stand_ins(outcome: Outcome, wanted: Wanted, given: Mapping[str, ModuleFile]) -> Outcome:
    helpers = tuple(name for name in wanted.helpers.get(outcome.target, ()) if name not in given)
    return replace(outcome, stand_in=outcome.target not in given, helpers=helpers, zeros=wanted.zeros)


def _with_moves(outcome: Outcome, play: _Play) -> Outcome:
    """Go on with the story in a kernel of its own: reload elsewhere until it is refused, or oopses, or MANY succeeded."""
    calls = play.kernel.arch.call_types
    if outcome.failed or not any(site.type in calls for site in play.wanted.sites.get(outcome.target, ())):
        return outcome  # without a call no stub is ever made, and any number of moves succeeds
    play.reload()
    for done in range(MANY):
        play.kernel.rmmod(outcome.target)
        play.kernel.fill(3)
        step = play.kernel.insmod(play.files[outcome.target])
        if step.refused or step.oops:
            return replace(outcome, moves=done, ending="oops" if step.oops else errno_name(step.errno or 0))
    return outcome


def _with_old_slots(outcome: Outcome, play: _Play) -> Outcome:
    """Reload once more, elsewhere, in a kernel of its own: which slots still hold an address of before?"""
    if outcome.failed:
        return outcome
    play.reload()
    kernel, livepatch = play.kernel, play.kernel.find_module(play.wanted.livepatch.name)
    assert livepatch is not None
    kernel.memory.start = max(region.end for region in kernel.memory) + kernel.arch.page  # all that was taken stays so
    kernel.rmmod(outcome.target)
    kernel.insmod(play.files[outcome.target])
    parsed = (parse_symbol(name) for name, _ in old_slots(livepatch, outcome.target))
    return replace(outcome, old_slots=tuple(symbol.name for symbol in parsed if symbol))


_ELSEWHERE: Mapping[int, Callable[[Outcome, _Play], Outcome]] = {EM_PPC64: _with_moves, EM_S390: _with_old_slots}
