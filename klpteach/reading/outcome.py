"""What a story came to, read off its recording: not what a proposal promises, but what was seen.

The same reading takes a recording of the model and one of a real kernel. Nothing here knows the name of a proposal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from ..arguments import checked
from ..errors import RecordingError, of_type
from ..files import klp
from ..files.module_file import ModuleFile
from ..files.relocation_types import width_of
from ..files.samples import ko_dir_with, open_ko, plain_name
from ..model import arch as arches
from ..model import messages
from ..model.errno import EAGAIN, errno_name
from ..model.livepatch.core import klp_target_names
from ..model.recording import FROM, Recording
from ..model.step import Step
from .history import History
from .kinds import what_it_fills
from .slots import old_slots
from .steps import patch_of

_ORDINARY = (  # lines that a load which works prints as well
    messages.OUT_OF_TREE, messages.TAINT_LIVEPATCH, messages.UNSIGNED, messages.LICENSE, messages.ENABLING,
    messages.STARTING, messages.COMPLETE, messages.APPLYING, messages.REVERTING, messages.POKE,
)  # fmt: skip
_FRAMES = ("------------[ cut here", "livepatch: failed to initialize", "livepatch: patch '")
CALL_AND_NOP = 8  # bytes that a call to another module may change on ppc64le


@dataclass(frozen=True)
class Outcome:
    """What a story came to. kind: a key of ENDINGS. says: the kernel's line, the bytes, or the names behind it.

    pinned, unpatched, unasked: names of modules; unasked_kib: the memory of the last. stale: sites whose bytes are
    neither the file's nor written for the load of their target that is there. stubs, slots: of the fullest table of
    stubs (ppc64le); past_end: stubs behind it. step: the one that shows it, from 1.
    """

    kind: str
    says: str = ""
    refused: tuple[str, ...] = ()
    pinned: tuple[str, ...] = ()
    unpatched: tuple[str, ...] = ()
    unasked: tuple[str, ...] = ()
    unasked_kib: int = 0
    stale: int = 0
    stubs: int = 0
    slots: int = 0
    past_end: int = 0
    step: int = 0


@checked(RecordingError, but=["recording"])
def outcome_of(recording: Recording, history: History | None = None) -> Outcome:
    """Read what a story came to. Errors: RecordingError for what is no recording, or no History.

    >>> from klpteach.scenarios.simulate import simulate
    >>> outcome_of(simulate("reload", "6.1")).kind, outcome_of(simulate("reload", "6.12")).kind
    ('refused', 'works')
    """
    end = _End(history or History(of_type(recording, Recording, FROM, RecordingError)))
    ending = next(ending for ending in ENDINGS.values() if ending.found(end) or ending.kind == "works")
    names = (tuple(end.refused), end.pinned, end.unpatched, end.unasked)
    kib = sum(end.loaded[name]["size"] for name in end.unasked) // 1024
    return Outcome(ending.kind, ending.found(end), *names, kib, end.stale(), *end.stubs, end.shown_at(ending.kind) + 1)


class _End:
    """How a story ended: what was there at the last look, and what had been asked for. Each "" means: nothing of that."""

    def __init__(self, history: History) -> None:
        self.history, self.recording = history, history.recording
        self.index = max((i for i, step in enumerate(self.recording) if step.modules is not None), default=None)
        self.last = Step("nothing") if self.index is None else self.recording[self.index]
        self.loaded = {row["name"]: row for row in self.last.modules or ()}
        # step -> module, of every attempt to load one by name or by file, or to wait for the parts of one in vain
        tried = (i for i, s in enumerate(self.recording) if s.did.loads or (s.did.verb == "wait" and s.refused))
        self.asked = {i: history.asked_for(i) for i in tried}

    def oops(self) -> str:
        return next((_bad_line(step) for step in self.recording if step.oops and step.did.verb != "cat"), "")

    def oops_on_use(self) -> str:
        """The command that used a module and died of it."""
        return next((step.command for step in self.recording if step.oops and step.did.verb == "cat"), "")

    def shown_at(self, kind: str) -> int:
        """The step in which an ending is seen: an oops, a refusal, or else the last look before anybody used anything."""
        steps = list(enumerate(self.recording))
        match kind:
            case "oops" | "oops-on-use":
                found = (i for i, step in steps if step.oops)
            case "refused":
                found = (i for i, name in reversed(self.asked.items()) if name in self.refused)
            case "pinned":
                found = (
                    i for i, step in steps if step.did.what in self.pinned and step.did.verb == "rmmod" and step.refused
                )
            case _:
                found = (i for i, step in reversed(steps) if step.modules is not None and step.did.verb != "cat")
        return next(found, len(steps) - 1)

    @cached_property
    def refused(self) -> dict[str, Step]:
        """Modules that are not there in the end because the last attempt to load them was refused."""
        attempts = {name: self.recording[i] for i, name in self.asked.items()}
        return {name: step for name, step in attempts.items() if step.refused and name not in self.loaded}

    @cached_property
    def pinned(self) -> tuple[str, ...]:
        """Modules other than livepatches that rmmod could not remove, since somebody holds them."""
        tried = (step for step in self.recording if step.did.verb == "rmmod" and step.refused)
        held = (step.did.what for step in tried if step.errno == EAGAIN or "in use" in (step.out or ""))
        return tuple(dict.fromkeys(name for name in held if name not in self.livepatches))

    @cached_property
    def livepatches(self) -> dict[str, list[str]]:
        """Every livepatch that was loaded with success -> the modules that it patches."""
        found = {}
        for i, name in self.asked.items():
            file, seen = self.history.files.get(self.recording[i].did.file), self.history.objects.get(name, set())
            if not self.recording[i].refused and (file.is_livepatch if file else seen):
                found[name] = klp_target_names(file) if file else sorted(seen - {"vmlinux"})
        return found

    @cached_property
    def unpatched(self) -> tuple[str, ...]:
        """Live modules for which the livepatch that should be in force is not: the latest that was loaded and not disabled."""
        wanted: dict[str, str] = {}
        for i, step in enumerate(self.recording):
            name = self.asked.get(i, "")
            if name in self.livepatches and not step.refused:
                wanted.update(dict.fromkeys(self.livepatches[name], name))
            elif step.did.disables and not step.refused:
                wanted = {target: patch for target, patch in wanted.items() if patch != step.did.disables}
        live = [name for name, row in self.loaded.items() if row["state"] == "Live" and name in wanted]
        return tuple(name for name in live if not self.in_force(wanted[name], name))

    def in_force(self, patch: str, target: str) -> bool:
        rows = self.last.livepatch or {}
        parts = (rows[name] for name in (patch, f"{patch}__{target}") if name in rows)
        return any(row["objects"].get(target, {}).get("patched", row["enabled"]) for row in parts)

    def apart(self) -> str:
        """Parts of one livepatch whose transitions ended one after the other in the same step."""
        for step in self.recording:
            lines = filter(None, map(messages.COMPLETE.match, step.lines))
            done = [line["patch"] for line in lines if line["what"] == "patching" and "__" in line["patch"]]
            if len({name.partition("__")[0] for name in done}) < len(done):
                return ", then ".join(done)
        return ""

    @cached_property
    def unasked(self) -> tuple[str, ...]:
        """Modules that are there and that no command named."""
        named = set(self.asked.values())
        return tuple(name for name in reversed(self.loaded) if not {name, name.partition("__")[0]} & named)

    def stale(self) -> int:
        """Sites whose bytes are neither the file's nor written for the load of their target that is there."""
        return 0 if self.index is None else sum(self._is_stale(key, self.index) for key in self.history.sites)

    def _is_stale(self, key: str, index: int) -> bool:
        states, target = self.history.states(key), self.history.target(key) or ""
        there, now = self.history.load_at(target, index), states[index]
        if there is None or now.kind in ("file", "cleared", "absent", "unknown"):
            return now.kind in ("stale", "foreign")
        return there.number != now.load and self.enabled.get(patch_of(key), 0) < there.first

    @cached_property
    def enabled(self) -> dict[str, int]:
        """Livepatch -> the step that enabled it last, and wrote its relocations for all that was loaded."""
        lines = ((i, messages.ENABLING.match(line)) for i, step in enumerate(self.recording) for line in step.lines)
        return {match["patch"]: i for i, match in lines if match}

    @cached_property
    def stubs(self) -> tuple[int, int, int]:
        """(used, slots, used behind the end) of the fullest table."""
        cpu, sections = arches.of(self.recording.arch), self.last.sections or {}
        found = (
            (name, table, sections.get(name, {}).get(cpu.stub_section, 0))
            for name, table in (self.last.stubs or {}).items()
        )
        seen = [cpu.stubs_seen(table, address) for _, table, address in found]
        tables = [(table.used, table.slots, table.past_end) for table in seen]
        return max(tables, key=lambda t: (t[2], t[0] / t[1]), default=(0, 0, 0))

    def old_addresses(self) -> str:
        """Symbols of modules that are there and patched, which the code takes from a slot that was filled for an earlier load."""
        found = old_slots(self.history, self.index) if self.index is not None else ()
        return ", ".join(slot.symbol for slot in found if self.in_force(slot.patch, slot.module))

    def damage(self) -> str:
        """Where a damaged livepatch wrote what its file does not ask for, or left out what it should have written."""
        _, slots, past_end = self.stubs
        for name, file in self.history.files.items():
            if plain_name(name) != name and file.name in self.loaded:
                wanted = (self.recording.files, self.recording.arch, self.recording.release)
                intended = open_ko(ko_dir_with(*wanted), plain_name(name))
                # First what the files tell alone: a recorder may look at the sites of the undamaged file only.
                asked = {site.key: site.type for site in klp.sites(intended) if site.object in self.loaded}
                for place in sorted(asked.keys() - {site.key for site in klp.sites(file)}):
                    return _never_written(place, intended, asked[place])
                for place, before, after in self._strays(file, _covered(intended)):
                    return f"{place}: {before.hex(' ')} became {after.hex(' ')}"
        for key in self.history.sites:
            at, there = (
                self.history.place(key, len(self.recording) - 1),
                {patch_of(key), self.history.target(key) or "?"},
            )
            if at and at[0] % self.history.arch.late_alignment and there <= set(self.loaded):
                return self._skipped(key)
        size = self.history.arch.stub_size
        return f"{past_end} stub behind the last of {slots} slots: {size} bytes" if past_end else ""

    def _skipped(self, key: str) -> str:
        """What damage() says of a site that the kernel passed over."""
        site, file = self.history.sites[key], self.history.files.get(f"{patch_of(key)}.ko")
        place = key.partition(":")[2]
        return _never_written(place, file, site.type) if site and file else f"{place}: a relocation was never written"

    def _strays(self, file: ModuleFile, covered: set[tuple[str, int]]) -> Iterator[tuple[str, bytes, bytes]]:
        """(site, before, after) where bytes differ from the file and no relocation of the undamaged file belongs."""
        for site in klp.sites(file):
            now = (self.last.sites or {}).get(f"{file.name}:{site.key}", b"")
            before = file.section_bytes(file.section_index(site.section) or 0)[site.offset : site.offset + len(now)]
            changed = (i for i, (a, b) in enumerate(zip(before, now, strict=True), site.offset) if a != b)
            if any((site.section, i) not in covered for i in changed):
                yield site.key, bytes(before), now


class Ending(NamedTuple):
    """A kind of outcome: its letter where colour cannot tell, a word or two, a sentence; found: what says so, or ""."""

    kind: str
    letter: str
    words: str
    meaning: str
    found: Callable[[_End], str]


# From worst to best: the first that is found is the outcome.
ENDINGS: Mapping[str, Ending] = {e.kind: e for e in (
    Ending("oops", "X", "oops", "the kernel oopsed", _End.oops),
    Ending("oops-on-use", "O", "oops on use", "everything loads, and the kernel oopses when the fix is run", _End.oops_on_use),
    Ending("corrupt", "C", "memory corrupted", "bytes were written where nothing should be, and nobody said so",
           _End.damage),
    Ending("old-address", "S", "uses an old address",
           "a livepatch goes on to use an address of an earlier load, and nobody said so", _End.old_addresses),
    Ending("unpatched", "U", "runs unpatched",
           "a loaded module runs without the fix that was asked for, and nobody said so",
           lambda end: ", ".join(end.unpatched)),
    Ending("refused", "R", "refused", "something that should be loaded is not, and a line or an errno says so",
           lambda end: "; ".join(dict.fromkeys(map(_bad_line, end.refused.values())))),
    Ending("pinned", "P", "cannot be removed", "a module could not be removed", lambda end: ", ".join(end.pinned)),
    Ending("apart", "A", "fix in two steps", "the parts of one fix came into force one after the other", _End.apart),
    Ending("loads-more", "M", "loads more modules", "modules are loaded that nobody asked for",
           lambda end: ", ".join(end.unasked)),
    Ending("works", "W", "works", "works", lambda end: ""),
)}  # fmt: skip


def _never_written(place: str, file: ModuleFile, kind: int) -> str:
    return f"{place}: the relocation of {what_it_fills(file.type_name(kind))} was never written"


def _covered(file: ModuleFile) -> set[tuple[str, int]]:
    """(section, offset) of every byte that some relocation of the file may write."""
    found: set[tuple[str, int]] = set()
    for index, target in ((i, int(file.shdrs["info"][i])) for i in file.rela_sections):
        for offset, kind, *_ in file.rela(index).tolist() if target < len(file.shdrs) else ():
            width = CALL_AND_NOP if file.type_name(kind) == "R_PPC64_REL24" else width_of(file.machine, kind)
            found |= {(file.section_names[target], offset + i) for i in range(width)}
    return found


def _bad_line(step: Step) -> str:
    """The line that says why: the first that no successful load prints; else the errno, or what the program said."""
    lines = (line for line in step.lines if not line.startswith(_FRAMES))
    said = next((line for line in lines if not any(message.match(line) for message in _ORDINARY)), "")
    return said or (errno_name(step.errno) if step.errno else (step.out or "").strip()) or errno_name(0)
