"""Does a livepatch survive a reload of its target? Asked of the model, for every release, with any .ko.

Where the target's file is not at hand, a stand-in takes its place: a tiny module with just the symbols that the
livepatch asks for. What happens on a reload depends on the livepatch's bytes, not on the target's code.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..errors import KlpteachError
from ..files.elf_h import EM_PPC64
from ..files.klp import parse_symbol, sites
from ..files.module_file import ModuleFile
from ..files.relocation_types import POINTER_TYPE
from ..files.write import tiny_module
from ..model.errno import errno_name
from ..model.kernel import Kernel
from ..model.livepatch.core import klp_target_names
from ..model.policy import RELEASES
from ..model.recording import Recording
from ..model.step import Step

MANY = 40  # moves


@dataclass(frozen=True)
class Outcome:
    """What one release does: errno of each command of the story, and the lines of the first that failed."""

    release: str
    target: str
    stand_in: bool
    recording: Recording
    moves: int | None = None  # ppc64le: how many reloads at ever new bases the table of stubs bears; None: any number
    ending: str = ""  # what ends them: an errno's name, or oops

    @property
    def failed(self) -> Step | None:
        """The first refused step; None if the target can be reloaded."""
        return next((step for step in self.recording if step.refused or step.oops), None)


def stand_in(livepatch: ModuleFile, target: str) -> ModuleFile:
    """A module of that name with the functions and symbols that the livepatch wants to find in it.

    >>> from klpteach.files.samples import sample
    >>> stand_in(ModuleFile.open(sample("livepatch_nfsd_demo.ko")), "nfsd_demo").name
    'nfsd_demo'
    """
    symbols = (parse_symbol(site.symbol) for site in sites(livepatch))
    asked = [(symbol.name, symbol.sympos) for symbol in symbols if symbol and symbol.object == target]
    objects = [obj for obj in livepatch.klp.objects if obj.name == target] if livepatch.klp else []
    asked += [(func.old_name, func.old_sympos) for obj in objects for func in obj.funcs]
    wanted: dict[str, int] = {}
    for name, position in asked:
        wanted[name] = max(wanted.get(name, 1), position)
    names = [name for name, count in wanted.items() for _ in range(count)]
    rows = [("__stand_in_text", ".text", 0), *((name, ".text", 32 * n) for n, name in enumerate(names))]
    pointer = POINTER_TYPE[livepatch.machine]
    calls = [("__mcount_loc", 8 * n, pointer, "__stand_in_text", 32 * n) for n in range(len(names))]
    room = max(len(names), 1)
    sections: dict[str, bytes | int] = {".text": bytes(32 * room), "__mcount_loc": bytes(8 * room)}
    if livepatch.machine == EM_PPC64:
        sections[".stubs"] = 0  # the loader makes it as long as it needs
    return ModuleFile(tiny_module(target, sections, rows, calls, machine=livepatch.machine), f"{target}.ko")


def survives(livepatch: ModuleFile, targets: dict[str, ModuleFile] | None = None) -> list[Outcome]:
    """For every release and every module the livepatch patches: load it, load the livepatch, remove it, load it again.

    targets: module name -> file, where it is at hand. Errors: KlpteachError for a file that is no livepatch.
    """
    if not livepatch.is_livepatch or not livepatch.klp:
        why = "its modinfo does not say livepatch, or it has no struct klp_patch"
        hint = "Try: give it as the target of a livepatch."
        raise KlpteachError(f"{livepatch.filename} is not a livepatch: {why}. {hint}")
    names, files = klp_target_names(livepatch), targets or {}
    return [_reload(livepatch, name, files.get(name), release) for name in names for release in RELEASES]


def _reload(livepatch: ModuleFile, name: str, target: ModuleFile | None, release: str) -> Outcome:
    kernel = Kernel(livepatch.arch, release, scenario="reload", title=f"reload of {name} under {livepatch.name}")
    symbols = (parse_symbol(site.symbol) for site in sites(livepatch))
    # Which kernel it was made for is not known here: that one has what it names.
    kernel.add_to_vmlinux({symbol.name for symbol in symbols if symbol and symbol.object == "vmlinux"})
    file = target or stand_in(livepatch, name)
    for load in (file, livepatch, None, file):
        step = kernel.insmod(load) if load else kernel.rmmod(name)
        if step.oops:
            break
    outcome = Outcome(release, name, target is None, kernel.recording)
    if not kernel.arch.has_stubs or outcome.failed:
        return outcome
    moves, ending = _moves(kernel, file, name)
    return replace(outcome, moves=moves, ending=ending)


def _moves(kernel: Kernel, file: ModuleFile, name: str) -> tuple[int | None, str]:
    """Go on with the story: reload elsewhere until it is refused, or oopses, or MANY succeeded."""
    kernel.recording = Recording("moves", kernel=kernel.recording.kernel)  # not part of the story that is shown
    for done in range(MANY):
        kernel.rmmod(name)
        kernel.fill(3)
        step = kernel.insmod(file)
        if step.refused or step.oops:
            return done, "oops" if step.oops else errno_name(step.errno or 0)
    return None, ""
