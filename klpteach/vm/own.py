"""A reader's own livepatch and target on a real kernel: what must be loaded with them, and a story told with their names.

Everything is checked before a guest is booted: an error is one line that says what to give instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ..errors import KlpteachError
from ..files.klp import parse_symbol, waiting_sites
from ..files.module_file import ModuleFile
from ..files.samples import ko_dir, open_ko
from ..files.symbol_list import undefined_names
from ..model.kallsyms import exported_names
from ..model.livepatch.core import klp_target_names
from ..model.state import Machine
from ..scenarios.scenario import LIVEPATCH, Scenario
from ..scenarios.simulate import commands_for, get, stories
from .beside import Beside, beside
from .fetch import PACKAGE, debian_modules
from .host import HostError
from .qemu import GuestKernel, Watch
from .record import run_guest

SAMPLE = "nfsd_demo"
BYSTANDERS = ("lockd_demo.ko", "filler4k.ko", "filler64k.ko", "room_demo.ko")  # they only take a place in memory
MAX_FILES = 128 << 20  # of all modules together: a guest has 512 MiB, and holds them twice
MARGIN = 600  # seconds more than a story of the samples: large modules load slowly, on a busy host very slowly
_PLAIN = re.compile(r"~?(insmod|rmmod|fill) \S+|echo 0 > /sys/kernel/livepatch/\S+/enabled")


@dataclass(frozen=True)
class Own:
    """A livepatch, the module that comes and goes in the story, what is loaded before the story, and remarks about them."""

    livepatch: ModuleFile
    target: ModuleFile
    before: tuple[ModuleFile, ...]
    notes: tuple[str, ...]

    @property
    def files(self) -> list[ModuleFile]:
        return [*self.before, self.target, self.livepatch]


def own_modules(ko: ModuleFile, targets: Iterable[ModuleFile], kernel: GuestKernel) -> Own:
    """Put a reader's files in order; what they need is taken from the further targets, else from Debian's package.

    Errors: KlpteachError for files that do not belong together or that this kernel refuses; HostError where a module that is
    needed is not to be had.
    """
    livepatch, given, patched = given_files(ko, targets, kernel.arch)
    if given and not given.keys() & set(patched):
        raise KlpteachError(
            f"{livepatch.filename} patches {', '.join(patched)}; none of {', '.join(given)} is that. Try: --target {patched[0]}.ko"
        )
    notes = [note for file in (livepatch, *given.values()) for note in check_vermagic(file, kernel)]
    name = next((name for name in given if name in patched), patched[0])
    found, fetched = _complete({livepatch.name: livepatch, **given}, name, kernel)
    target = found[name]
    uses = {file.name: _uses(file, found) for file in found.values()}
    others = [other for other in patched if other in given and other != name]
    waiting = [other for other in others if name in _closure(other, uses)]
    first = [*uses[name], *_needs(livepatch, name), *(other for other in others if other not in waiting)]
    before = tuple(found[needed] for needed in _in_order(first, uses, {name, livepatch.name}))
    notes += [f"{other} uses {name}, which could not be removed then: it is not loaded." for other in waiting]
    strangers = given.keys() - {file.name for file in [*before, target]} - {*waiting}
    if strangers:
        raise KlpteachError(f"{', '.join(sorted(strangers))}: neither patched by {livepatch.filename} nor needed.")
    if fetched:
        notes.append(f"{', '.join(fetched)}: Debian's own, of the kernel's package.")
    own = Own(livepatch, target, before, tuple(notes))
    if sum(len(file.data) for file in own.files) > MAX_FILES:
        raise KlpteachError(f"all modules together are more than {MAX_FILES >> 20} MiB. Try: strip -g")
    return own


def given_files(
    ko: ModuleFile, targets: Iterable[ModuleFile], arch: str
) -> tuple[ModuleFile, dict[str, ModuleFile], list[str]]:
    """The livepatch, the other files by name, and what it patches: checked before a kernel is fetched, which takes long.

    Errors: KlpteachError for what is no livepatch, patches no module, or is made for another machine.
    """
    livepatch, given = _named(ko), {file.name: file for file in map(_named, targets)}
    patched = _patched(livepatch)
    for file in (livepatch, *given.values()):
        if file.arch != arch:
            raise KlpteachError(f"{file.filename} is made for {file.arch}, this kernel is {arch}.")
    return livepatch, given, patched


def run_own(story: str, own: Own, kernel: GuestKernel, watch: Watch = None) -> Beside:
    """Tell a story with these modules on a real kernel, and in the model. Errors: ScenarioError, KlpteachError, HostError."""
    scenario, folder = story_with(story, own, kernel.arch), ko_dir(kernel.arch, kernel.release)
    known = {file.filename for file in own.files}
    others = [open_ko(folder, name) for name in dict.fromkeys(scenario.files) if name not in known]
    files = [*own.files, *others]
    return beside(run_guest(scenario, kernel, scenario.commands, files, watch, MARGIN), files)


# -- the story ------------------------------------------------------------------------------------------------------------


def stories_for_own(arch: str = "x86_64") -> Mapping[str, Scenario]:
    """The stories that can be told of any livepatch and its target: of the samples there are just these two, and bystanders.

    >>> list(stories_for_own())
    ['reload', 'late', 'moved', 'retry', 'workaround', 'disabled', 'fifty-moves']
    """
    return {name: story for name, story in stories(arch).items() if _of_any_module(story)}


def _of_any_module(story: Scenario) -> bool:
    both, files = {f"{SAMPLE}.ko", f"{LIVEPATCH}.ko"}, set(story.files)
    plain = all(_PLAIN.fullmatch(line) for line in story.commands)
    return plain and both <= files <= both | {*BYSTANDERS} and story.machine == Machine() and not story.init_errno


def story_for_own(name: str, arch: str) -> Scenario:
    """One of them. Errors: ScenarioError for an unknown name, KlpteachError for a story that is about other modules."""
    story, possible = get(name, arch), stories_for_own(arch)
    if name not in possible:
        raise KlpteachError(
            f"the story {name} is about modules of the course; with your own there are {', '.join(possible)}."
        )
    return story


def story_with(name: str, own: Own, arch: str) -> Scenario:
    """A story with the reader's names; what the modules need is loaded first. Errors: ScenarioError, KlpteachError."""
    story = story_for_own(name, arch)
    names = {SAMPLE: own.target.name, LIVEPATCH: own.livepatch.name}
    ours = re.compile(rf"\b({LIVEPATCH}|{SAMPLE})\b")
    told = [ours.sub(lambda match: names[match[1]], line) for line in commands_for(story, ko_dir(arch))]
    return replace(story, commands=(*(f"insmod {file.filename}" for file in own.before), *told))


# -- the files ------------------------------------------------------------------------------------------------------------


def _named(file: ModuleFile) -> ModuleFile:
    """The file under its module's name, as commands want it. Errors: KlpteachError for a name that is none."""
    if not re.fullmatch(r"\w{1,55}", file.name, re.ASCII):
        raise KlpteachError(f"{file.filename}: {file.name[:60]!r} is no name of a module.")
    return file if file.filename == f"{file.name}.ko" else ModuleFile(file.data, f"{file.name}.ko")


def _patched(livepatch: ModuleFile) -> list[str]:
    if not livepatch.is_livepatch:
        raise KlpteachError(
            f"{livepatch.filename} is not a livepatch: its modinfo does not say so. Try: it as --target, a livepatch as --ko"
        )
    names = klp_target_names(livepatch)
    if not names:
        raise KlpteachError(f"{livepatch.filename} patches no module: there is nothing to remove and load again.")
    return names


def _depends(file: ModuleFile) -> list[str]:
    return [name.replace("-", "_") for name in file.modinfo.get("depends", "").split(",") if name]


def _needs(livepatch: ModuleFile, target: str) -> list[str]:
    """What a livepatch wants beside its target: modules that it is linked against, and objects whose symbols it looks up."""
    symbols = (parse_symbol(site.symbol) for site in waiting_sites(livepatch) if site.object == target)
    objects = [symbol.object for symbol in symbols if symbol and symbol.object not in ("vmlinux", target)]
    return list(dict.fromkeys([*(name for name in _depends(livepatch) if name != target), *objects]))


def _complete(
    given: Mapping[str, ModuleFile], target: str, kernel: GuestKernel
) -> tuple[dict[str, ModuleFile], list[str]]:
    """All files that are needed, by module name, and which of them had to be fetched."""
    found, fetched = dict(given), list[str]()
    livepatch = next(iter(given.values()))
    while True:
        wanted = [target, *_needs(livepatch, target), *(name for file in found.values() for name in _depends(file))]
        missing = [name for name in dict.fromkeys(wanted) if name not in found]
        if not missing:
            return found, fetched
        try:
            found |= {name: _named(file) for name, file in debian_modules(kernel, missing).items()}
        except HostError as error:
            need = f"{', '.join(missing)} must be loaded too, and cannot be fetched"
            raise HostError(f"{need}: {str(error).rstrip('.')}. Give each with --target FILE.ko.") from None
        fetched += missing


def _uses(file: ModuleFile, found: Mapping[str, ModuleFile]) -> list[str]:
    """What a module is linked against: what its modinfo says, and whose exports it names."""
    wanted = undefined_names([file])
    providers = [name for name, other in found.items() if other is not file and wanted & exported_names(other).keys()]
    return list(dict.fromkeys([*_depends(file), *providers]))


def _closure(name: str, uses: Mapping[str, list[str]]) -> set[str]:
    return {*_in_order([name], uses, set())}


def _in_order(names: Iterable[str], uses: Mapping[str, list[str]], seen: set[str]) -> Iterator[str]:
    """Names in an order in which each comes after what it uses."""
    for name in names:
        if name not in seen:
            seen.add(name)
            yield from _in_order(uses[name], uses, seen)
            yield name


# -- the version magic ----------------------------------------------------------------------------------------------------


def kernel_magic(kernel: GuestKernel) -> tuple[str, str]:
    """Release and flags of a kernel's version magic: the flags are those of the samples, which are built for it."""
    sample = open_ko(ko_dir(kernel.arch, kernel.release), f"{SAMPLE}.ko").modinfo["vermagic"]
    release, _, flags = sample.partition(" ")
    image = kernel.image.name
    return image.removeprefix("vmlinuz-") if image.startswith("vmlinuz-") else release, flags.strip()


def check_vermagic(file: ModuleFile, kernel: GuestKernel) -> Sequence[str]:
    """Remarks on a file's version magic. Errors: KlpteachError where the kernel refuses it.

    A file with symbol CRCs may be made for another release, if the flags agree: then the CRCs decide
    (kernel/module/version.c, same_magic() and check_modstruct_version()).
    """
    release, flags = kernel_magic(kernel)
    theirs, _, their_flags = file.modinfo.get("vermagic", "").partition(" ")
    crcs = "modversions" in flags.split() and "__versions" in file.section_names
    other = next((known for known in PACKAGE if theirs.startswith(f"{known}.")), None)
    hint = f" Try: --kernel {other}" if other and other != kernel.release else ""
    if their_flags.strip() != flags or (theirs != release and not crcs):
        built = f"built for '{theirs} {their_flags.strip()}'" if theirs else "without a version magic"
        says = 'it says "version magic … should be …" and refuses with ENOEXEC'
        raise KlpteachError(f"{file.filename} is {built}, this kernel is '{release} {flags}': {says}.{hint}")
    if theirs == release:
        return []
    ours, here = _module_layout(file), _layout_of(kernel, release)
    if None not in (ours, here) and ours != here:
        says = 'it says "disagrees about version of symbol module_layout" and refuses with ENOEXEC'
        raise KlpteachError(f"{file.filename} is built for {theirs}, this kernel is {release}: {says}.{hint}")
    return [f"{file.filename} is built for {theirs}, this kernel is {release}: the CRCs of its symbols decide."]


def _layout_of(kernel: GuestKernel, release: str) -> int | None:
    """The CRC of this kernel's module_layout, as the samples have it; None where they are built for another."""
    sample = open_ko(ko_dir(kernel.arch, kernel.release), f"{SAMPLE}.ko")
    return _module_layout(sample) if sample.modinfo["vermagic"].startswith(f"{release} ") else None


def _module_layout(file: ModuleFile) -> int | None:
    """The CRC of module_layout in __versions: struct modversion_info is 8 bytes of CRC and 56 of name."""
    section = file.section_index("__versions")
    rows = bytes(file.section_bytes(section)) if section is not None else b""
    found = (rows[at : at + 64] for at in range(0, len(rows), 64))
    return next((int.from_bytes(row[:8], "little") for row in found if row[8:].rstrip(b"\0") == b"module_layout"), None)
