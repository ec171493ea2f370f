"""What a story came to, read off its recording: not what a proposal promises, but what was seen.

The same reading takes a recording of the model and one of a real kernel. Nothing here knows the name of a proposal.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from ..files import klp
from ..files.module_file import ModuleFile
from ..files.relocation_types import width_of
from ..files.samples import ko_dir, open_ko, plain_name
from ..model import messages
from ..model.errno import EAGAIN, errno_name
from ..model.livepatch.core import klp_target_names
from ..model.recording import Recording
from ..model.step import Step
from .steps import patch_line

# From worst to best; the letter stands for it where colour cannot.
KINDS = {
    "oops": "X",
    "corrupt": "C",
    "unpatched": "U",
    "refused": "R",
    "pinned": "P",
    "apart": "A",
    "loads-more": "M",
    "works": "W",
}
WORDS = {
    "oops": "oops",
    "corrupt": "memory corrupted",
    "unpatched": "runs unpatched",
    "refused": "refused",
    "pinned": "cannot be removed",
    "apart": "fix in two steps",
    "loads-more": "loads more modules",
    "works": "works",
}
MEANINGS = {
    "oops": "the kernel oopsed",
    "corrupt": "bytes were written where nothing should be, and nobody said so",
    "unpatched": "a loaded module runs without the fix that was asked for, and nobody said so",
    "refused": "something that should be loaded is not, and a line or an errno says so",
    "pinned": "a module could not be removed",
    "apart": "the parts of one fix came into force one after the other",
    "loads-more": "modules are loaded that nobody asked for",
    "works": "works",
}
_ORDINARY = (  # lines that a load which works prints as well
    messages.OUT_OF_TREE, messages.TAINT_LIVEPATCH, messages.UNSIGNED, messages.LICENSE, messages.ENABLING,
    messages.STARTING, messages.COMPLETE, messages.APPLYING, messages.REVERTING, messages.POKE,
)  # fmt: skip
CALL_AND_NOP = 8  # bytes that a call to another module may change on ppc64le
_FRAMES = ("------------[ cut here", "livepatch: failed to initialize", "livepatch: patch '")


@dataclass(frozen=True)
class Outcome:
    """What a story came to. kind: one of KINDS. says: the kernel's line, the bytes, or the names behind it.

    pinned, unpatched, unasked: names of modules; unasked_kib: the memory of the last. stale: sites whose bytes are
    neither the file's nor written for the load of their target that is there. stubs, slots: of the fullest table of stubs (ppc64le); past_end: stubs behind it.
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


def outcome_of(recording: Recording) -> Outcome:
    """Read what a story came to.

    >>> from klpteach.scenarios.simulate import simulate
    >>> outcome_of(simulate("reload", "6.1")).kind, outcome_of(simulate("reload", "6.12")).kind
    ('refused', 'works')
    """
    return _Reader(recording).outcome()


class _Reader:
    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.last = next((step for step in reversed(recording.steps) if step.modules is not None), Step("nothing"))
        self.loaded = {row["name"]: row for row in self.last.modules or ()}
        self.loads = list(self._loads())

    def outcome(self) -> Outcome:
        oopsed = next((step for step in self.recording if step.oops), None)
        damage, refused = self.damage(), self.refused()
        pinned, unpatched, unasked = self.pinned(), self.unpatched(), self.unasked()
        stubs, slots, past_end = self.stubs()
        found = {
            "oops": _bad_line(oopsed) if oopsed else "",
            "corrupt": damage or (f"{past_end} stub behind the last of {slots} slots: 40 bytes" if past_end else ""),
            "unpatched": ", ".join(unpatched),
            "refused": "; ".join(dict.fromkeys(_bad_line(step) for step in refused.values())),
            "pinned": ", ".join(pinned),
            "apart": self.apart(),
            "loads-more": ", ".join(unasked),
            "works": "",
        }
        kind = next(kind for kind in KINDS if found[kind] or kind == "works")
        kib = sum(self.loaded[name]["size"] for name in unasked) // 1024
        names = (tuple(refused), pinned, unpatched, unasked)
        return Outcome(kind, found[kind], *names, kib, self.stale(), stubs, slots, past_end)

    def file(self, name: str) -> ModuleFile:
        return _open(ko_dir(self.recording.arch, self.recording.release), name)

    def _loads(self) -> Iterator[tuple[Step, str]]:
        """(step, module name) of every attempt to load a module by name or by file."""
        for step in self.recording:
            words = step.command.split()
            if words[:1] == ["insmod"]:
                yield step, self.file(words[1]).name
            elif words[:1] == ["modprobe"] or (words[:1] == ["wait"] and step.refused):
                yield step, words[1]

    def refused(self) -> dict[str, Step]:
        """Modules that are not there in the end because the last attempt to load them was refused."""
        attempts = {name: step for step, name in self.loads}
        return {name: step for name, step in attempts.items() if step.refused and name not in self.loaded}

    def pinned(self) -> tuple[str, ...]:
        """Modules other than livepatches that rmmod could not remove, since somebody holds them."""
        tried = (step for step in self.recording if step.command.startswith("rmmod ") and step.refused)
        held = (step.command.split()[1] for step in tried if step.errno == EAGAIN or "in use" in (step.out or ""))
        return tuple(dict.fromkeys(name for name in held if name not in self.livepatches))

    @cached_property
    def livepatches(self) -> dict[str, ModuleFile]:
        """Every livepatch that was loaded with success: name -> file."""
        found = {}
        for step, name in self.loads:
            file = self.file(step.command.split()[1] if step.command.startswith("insmod") else f"{name}.ko")
            if file.is_livepatch and not step.refused:
                found[name] = file
        return found

    def wanted(self) -> dict[str, str]:
        """Target -> the livepatch that should be in force there: the latest one that was loaded and not disabled."""
        files, wanted = self.livepatches, dict[str, str]()
        names: dict[int, list[str]] = {}
        for step, loaded in self.loads:
            names.setdefault(id(step), []).append(loaded)
        for step in self.recording:
            words = step.command.split()
            if step.refused:
                continue
            name = next((n for n in names.get(id(step), ()) if n in files), None)
            if name:
                wanted.update(dict.fromkeys(klp_target_names(files[name]), name))
            elif words[:2] == ["echo", "0"] and words[-1].endswith("/enabled"):
                gone = words[-1].split("/")[-2]
                wanted = {target: patch for target, patch in wanted.items() if patch != gone}
        return wanted

    def unpatched(self) -> tuple[str, ...]:
        """Live modules for which the livepatch that should be in force is not."""
        live = [name for name, row in self.loaded.items() if row["state"] == "Live"]
        return tuple(name for name in live if (patch := self.wanted().get(name)) and not self.in_force(patch, name))

    def in_force(self, patch: str, target: str) -> bool:
        rows = self.last.livepatch or {}
        parts = (rows[name] for name in (patch, f"{patch}__{target}") if name in rows)
        return any(row["objects"].get(target, {}).get("patched", row["enabled"]) for row in parts)

    def apart(self) -> str:
        """Parts of one livepatch whose transitions ended one after the other in the same step; "" where there is one."""
        for step in self.recording:
            found = (messages.COMPLETE.match(line) for line in step.lines)
            done = [
                match["patch"] for match in found if match and match["what"] == "patching" and "__" in match["patch"]
            ]
            if len({name.partition("__")[0] for name in done}) < len(done):
                return ", then ".join(done)
        return ""

    def unasked(self) -> tuple[str, ...]:
        """Modules that are there and that no command named."""
        named = {name for _, name in self.loads}
        return tuple(n for n in reversed(list(self.loaded)) if n not in named and n.partition("__")[0] not in named)

    def stale(self) -> int:
        """Sites whose bytes are neither the file's nor written for the load of their target that is there."""
        names = {id(step): name for step, name in self.loads}
        number, written = (
            dict[str, int](),
            dict[tuple[str, str], int](),
        )  # a target's loads; which of them wrote a patch
        for step in self.recording:
            name = names.get(id(step), "")
            number[name] = number.get(name, 0) + 1
            for patch, target in self._writes(step):
                written[patch, target] = number.get(target, 0)
        return sum(self._is_stale(*place, number, written) for place in self._places())

    def _writes(self, step: Step) -> Iterator[tuple[str, str]]:
        """(livepatch, target) of all that was written in a step, or at least tried."""
        for message in (messages.APPLYING, messages.INIT_FAILED):
            yield from patch_line(step, message)
        for match in filter(None, map(messages.ENABLING.match, step.lines)):
            file = self.livepatches.get(match["patch"].partition("__")[0])
            yield from ((match["patch"], target) for target in (klp_target_names(file) if file else ()))

    def _places(self) -> Iterator[tuple[str, str, bytes, bytes]]:
        """(livepatch, target, bytes now, bytes of the file) of every site that waits for a module."""
        for name in self.loaded:
            file = self.livepatches.get(name.partition("__")[0])
            for site in klp.sites(file) if file else ():
                now = (self.last.sites or {}).get(f"{name}:{site.key}", b"")[: site.width]
                index = file.section_index(site.section) if file else None
                if now and index and site.object != "vmlinux" and file:
                    yield name, site.object, now, file.section_bytes(index)[site.offset : site.offset + len(now)]

    def _is_stale(
        self,
        patch: str,
        target: str,
        now: bytes,
        plain: bytes,
        number: dict[str, int],
        written: dict[tuple[str, str], int],
    ) -> bool:
        current = number.get(target) if target in self.loaded else None
        return now != plain and written.get((patch, target), 0) != current

    def stubs(self) -> tuple[int, int, int]:
        """(used, slots, used behind the end) of the fullest table."""
        tables = [(t["used"], t["num_stubs"], t["past_end_used"]) for t in (self.last.stubs or {}).values()]
        return max(tables, key=lambda t: (t[2], t[0] / t[1]), default=(0, 0, 0))

    def damage(self) -> str:
        """Bytes of a livepatch that differ from its file where no relocation of the undamaged file belongs; "" if none."""
        for name in self.recording.files:
            if plain_name(name) != name and self.file(name).name in self.loaded:
                file, intended = self.file(name), self.file(plain_name(name))
                for place, before, after in self._strays(file, intended):
                    return f"{place}: {before.hex(' ')} became {after.hex(' ')}"
                left_out = {s.key for s in klp.sites(intended) if s.object in self.loaded} - {
                    s.key for s in klp.sites(file)
                }
                for place in sorted(left_out):
                    return f"{place}: a pointer that was never written"
        return ""

    def _strays(self, file: ModuleFile, intended: ModuleFile) -> Iterator[tuple[str, bytes, bytes]]:
        covered = _covered(intended)
        for site in klp.sites(file):
            now = (self.last.sites or {}).get(f"{file.name}:{site.key}", b"")
            before = file.section_bytes(file.section_index(site.section) or 0)[site.offset : site.offset + len(now)]
            places = range(site.offset, site.offset + len(now))
            if any(a != b and (site.section, i) not in covered for a, b, i in zip(before, now, places, strict=True)):
                yield site.key, bytes(before), now


@lru_cache(maxsize=256)
def _open(folder: Path, name: str) -> ModuleFile:
    return open_ko(folder, name)


@lru_cache(maxsize=64)
def _covered(file: ModuleFile) -> frozenset[tuple[str, int]]:
    """(section, offset) of every byte that some relocation of the file may write."""
    found = set()
    for index in file.rela_sections:
        target = int(file.shdrs["info"][index])
        if target < len(file.shdrs):
            for offset, kind, *_ in file.rela(index).tolist():
                width = CALL_AND_NOP if file.type_name(kind) == "R_PPC64_REL24" else width_of(file.machine, kind)
                found |= {(file.section_names[target], offset + i) for i in range(width)}
    return frozenset(found)


def _bad_line(step: Step) -> str:
    """The line that says why: the first that no successful load prints; else what the program said, or the errno."""
    for line in step.lines:
        if not any(message.match(line) for message in _ORDINARY) and not line.startswith(_FRAMES):
            return line
    return (step.out or "").strip() or errno_name(step.errno or 0)
