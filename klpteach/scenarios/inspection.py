"""A livepatch looked at before it is shipped: the verdict for the kernel that it was built for, the other releases, checks.

The command line prints it, a notebook shows it, a program reads it as JSON.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ..errors import KlpteachError, printable
from ..files.elf_h import EM_PPC64
from ..files.klp import Site, is_module_name
from ..files.klp_patch import BY_NAMES
from ..files.module_file import ModuleFile
from ..model import messages
from ..model.errno import errno_name
from ..model.loader import calls_klp_enable_patch
from ..model.policy import RELEASES
from ..model.step import Step
from .checks import Check, checks, identity, is_unmarked, made_by
from .reload import Outcome, Wanted, built_for, of_distribution, plays_apart, survives

NO_MEMORY_PROTECTION = (
    "5.3 as released leaves a module's read-only data writable on ppc64le (up to 5.13): there it is loaded"
)
_ORDINARY = (messages.OUT_OF_TREE, messages.TAINT_LIVEPATCH, messages.UNSIGNED, messages.LICENSE)
_UNFIXED = ("5.3", "6.1")
_BAD_KINDS = ("refused", "zeros", "oops", "no livepatch", "no target")


def looks_like_livepatch(file: ModuleFile) -> bool:
    """Whether a file is a livepatch, or would be one if it said so."""
    return file.is_livepatch or is_unmarked(file)


def by_name(targets: Iterable[ModuleFile]) -> dict[str, ModuleFile]:
    """Targets by the name of their module. Errors: KlpteachError where two have the same."""
    found: dict[str, ModuleFile] = {}
    for file in targets:
        other = found.setdefault(file.name, file)
        if other is not file:
            raise KlpteachError(f"{other.filename} and {file.filename} are both module {file.name}: give one of them.")
    return found


@dataclass(frozen=True)
class Inspection:
    """A module file, and the targets that were given with it by module name.

    >>> from klpteach.files.samples import sample
    >>> found = Inspection(ModuleFile.open(sample("livepatch_nfsd_demo.ko", release="6.12")))
    >>> print(found.verdict)
    livepatch_nfsd_demo.ko, built for 6.12.117+deb12-amd64: nfsd_demo, if it can be removed, can be loaded again under it.
    """

    file: ModuleFile
    targets: Mapping[str, ModuleFile] = field(default_factory=dict)

    @cached_property
    def wanted(self) -> Wanted:
        return Wanted(self.file)

    @cached_property
    def outcomes(self) -> list[Outcome]:
        """For each module that is patched and each release: target, livepatch, rmmod, target again, in the model."""
        return survives(self.file, self.targets, self.wanted) if self.file.is_livepatch and self.file.klp else []

    @cached_property
    def checks(self) -> list[Check]:
        """What was looked at besides; holes that a load leaves which fails half way come last."""
        if not looks_like_livepatch(self.file):
            return []
        helpers = {helper for names in self.wanted.helpers.values() for helper in names}
        return [*checks(self.file, self.targets, helpers), *self._together(), *self._half_way()]

    @property
    def own(self) -> list[Outcome]:
        """What the release does that the livepatch was built for, or the nearest one."""
        return [outcome for outcome in self.outcomes if outcome.release == self.release]

    @property
    def version(self) -> str:
        """The kernel that it was built for, as vermagic says it."""
        return built_for(self.file)[0]

    @property
    def release(self) -> str:
        return built_for(self.file)[1]

    @property
    def exact(self) -> bool:
        """Whether the model has that very release."""
        return f"{self.version}.".startswith(f"{self.release}.")

    @property
    def by_names(self) -> bool:
        """Whether only the names of its sections say what it patches."""
        return self.file.klp is not None and self.file.klp.form == BY_NAMES

    @property
    def ok(self) -> bool:
        """Whether no check failed, and on the kernel that it was built for no load is refused and no slot is left old."""
        bad = [outcome for outcome in self.own if outcome.kind in _BAD_KINDS and not self._of_later_kernels(outcome)]
        old_slots = any(outcome.old_slots for outcome in self.own)
        return not bad and not old_slots and all(check.ok is not False for check in self.checks)

    # -- in words -----------------------------------------------------------------------------------------------------

    @property
    def verdict(self) -> str:
        """What happens on the kernel that it was built for, in a sentence or two, and how many checks failed."""
        return printable(self._with_failed_checks, keep="")

    @property
    def _with_failed_checks(self) -> str:
        failed = sum(check.ok is False for check in self.checks)
        if not failed or is_unmarked(self.file):
            return self._verdict
        besides = "But" if all(outcome.kind == "works" for outcome in self.own) else "Besides,"
        return f"{self._verdict} {besides} {failed} check{'s' if failed > 1 else ''} failed (below)."

    @property
    def _verdict(self) -> str:
        name = self.file.filename
        if is_unmarked(self.file):
            ends = "the kernel refuses it: EINVAL (-22)"
            if not calls_klp_enable_patch(self.file):
                ends = "nothing of it is ever patched"
            return f"{name} is built as a livepatch, but not marked as one (livepatch=Y in .modinfo): {ends}."
        if not self.file.is_livepatch:
            return f"{name} is not a livepatch: its relocations are all written when it is loaded, and nothing waits."
        if self.file.klp is None:
            return f"{name} is a livepatch that names nothing to patch: no table is known here, no relocation waits."
        if not self.outcomes and not self._never():
            return f"{name} patches no module, only the kernel itself: nothing can be reloaded."
        if not self.release:
            return f"{name} does not say which kernel it was built for (vermagic). The releases one by one are below."
        near = "" if self.exact else f" (nearest in the model: {self.release})"
        only = " This is about its relocations; more of it cannot be seen." if self.by_names else ""
        return f"{name}, built for {self.version}{near}: {' '.join(self._sentences())}{only}"

    def _sentences(self) -> Iterator[str]:
        """One sentence for each kind of outcome on the own release."""
        kinds = dict.fromkeys(outcome.kind for outcome in self.own)
        for kind in kinds:
            outcomes = [outcome for outcome in self.own if outcome.kind == kind]
            yield _sentence(kind, outcomes)
            yield from {note for outcome in outcomes if (note := self.notes(outcome))}
        if "refused" in kinds and self.release in _UNFIXED and of_distribution(self.version):
            yield "This is the kernel as released: a distribution's kernel may have backported 6.3's fix."
        if self._never():
            yield f"{_listed(self._never())} is never patched: no module can have this name."

    def _never(self) -> list[str]:
        objects = self.file.klp.objects if self.file.klp else ()
        return [obj.name for obj in objects if obj.name and not is_module_name(obj.name)]

    def _together(self) -> Iterator[Check]:
        if self.outcomes and not plays_apart(self.file):
            many = len({outcome.target for outcome in self.outcomes})
            says = f"all {many} targets go and come together here: of one whose neighbour is refused the errno may be another"
            yield Check(None, self.file.name, says)

    def _half_way(self) -> Iterator[Check]:
        holes: dict[str, list[str]] = {}
        for outcome in self.outcomes:
            if outcome.half_way:
                holes.setdefault(outcome.target, []).append(outcome.release)
        by_releases: dict[tuple[str, ...], list[str]] = {}
        for target, releases in holes.items():
            by_releases.setdefault(tuple(releases), []).append(target)
        for some, targets in by_releases.items():
            fails = "if a load fails after its relocations are written (a callback says no: notebook 04, section 4)"
            yield Check(None, _listed(targets), f"{fails}, the next load is refused, on {_listed(some)}")

    def notes(self, outcome: Outcome) -> str:
        """What should be known of a row of the releases; "" for most."""
        if self._of_later_kernels(outcome):
            return NO_MEMORY_PROTECTION
        if self.file.machine == EM_PPC64 and outcome.kind == "works" and not plays_apart(self.file):
            return "with so many targets the moves that its stubs bear are not counted"
        return ""

    def _of_later_kernels(self, outcome: Outcome) -> bool:
        """An oops of the model that 5.3 does not have: the model protects read-only memory on every release."""
        oops = outcome.failed is not None and outcome.failed.oops and outcome.kind == "no livepatch"
        return oops and self.file.machine == EM_PPC64 and outcome.release == "5.3"

    # -- for a program ------------------------------------------------------------------------------------------------

    def refused_sites(self) -> Iterator[dict[str, Any]]:
        """Every relocation that a reload refuses somewhere: its bytes when the target has gone, and the releases."""
        found: dict[Site, dict[str, Any]] = {}
        for outcome in sorted(self.outcomes, key=lambda outcome: outcome.release != self.release):
            for site, now, in_file in outcome.refusing:
                row = found.setdefault(site, self._refused_site(outcome.target, site, now, in_file))
                row["releases"].append(outcome.release)
        known = list(RELEASES)
        yield from ({**row, "releases": sorted(row["releases"], key=known.index)} for row in found.values())

    def _refused_site(self, target: str, site: Site, now: bytes, in_file: bytes) -> dict[str, Any]:
        return {
            "target": target,
            "site": site.key,
            "type": self.file.type_name(site.type),
            "symbol": site.symbol,
            "addend": site.addend,
            "bytes": now.hex(" "),
            "in_file": in_file.hex(" "),
            "releases": [],
        }

    def to_json(self) -> dict[str, Any]:
        """All of it."""
        file = self.file
        return {
            **identity(file),
            "verdict": self.verdict,
            "ok": self.ok,
            "built_for": self.version,
            "release": self.release,
            "livepatch": file.is_livepatch,
            **made_by(file),
            "modinfo": file.modinfo,
            "targets": [identity(target) for target in self.targets.values()],
            "checks": [{"ok": c.ok, "about": c.about, "says": c.says} for c in self.checks],
            "patches": self.patches(),
            "livepatch_relocations": self.waiting(),
            "unmarked": is_unmarked(file),
            "leftover_entries": leftovers(file) if file.is_livepatch else 0,
            "reload": self.rows(),
            "refused_on_reload": list(self.refused_sites()),
            "sections": sections(file),
        }

    def patches(self) -> list[dict[str, Any]]:
        """Each object and its functions with their positions."""
        objects = self.file.klp.objects if self.file.klp else ()
        return [
            {"object": obj.name or "vmlinux", "functions": [f"{f.old_name},{f.old_sympos or 1}" for f in obj.funcs]}
            for obj in objects
        ]

    def waiting(self) -> dict[str, dict[str, Any]]:
        """Object -> its livepatch relocations, counted by type and by module of the symbol, and one by one."""
        found = {}
        for name, sites in self.wanted.sites.items():
            types = Counter(self.file.type_name(site.type) for site in sites)
            rows = [f"{site.key} {self.file.type_name(site.type)} {site.symbol} {site.addend:+d}" for site in sites]
            found[name] = {"count": len(sites), "types": types, "sites": rows}
        return found

    def rows(self) -> list[dict[str, Any]]:
        """What each release does with each target."""
        return [self._row(outcome) for outcome in self.outcomes]

    def _row(self, outcome: Outcome) -> dict[str, Any]:
        return {
            "target": outcome.target,
            "release": outcome.release,
            "built_for": outcome.release == self.release,
            "stand_in": outcome.stand_in,
            "stand_ins": outcome.stand_ins,
            "kind": outcome.kind,
            "outcome": outcome_words(outcome),
            "line": bad_line(outcome.failed) if outcome.failed else None,
            "half_way": outcome.half_way,
            "note": self.notes(outcome),
        }


def _sentence(kind: str, outcomes: list[Outcome]) -> str:
    names, errno = _listed(o.target for o in outcomes), _errno(outcomes[0].failed)
    it, line = "it" if len(outcomes) == 1 else "they", bad_line(outcomes[0].failed) if outcomes[0].failed else ""
    is_, comes = ("is", "it comes") if len(outcomes) == 1 else ("are", "they come")
    match kind:
        case "works":
            ends = {f"{o.moves} move{'' if o.moves == 1 else 's'}, then {o.ending}" for o in outcomes if o.ending}
            more = f", at other addresses only so often: {_listed(sorted(ends))}" if ends else ""
            return (
                f"{names}, if {it} can be removed, can be loaded again under it{more}.{_old_slots_sentence(outcomes)}"
            )
        case "zeros":
            come = "comes" if len(outcomes) == 1 else "come"
            return f"{names} {come} back and nothing is said, but {_hold_zero(outcomes[0].zeros)}: it crashes on use."
        case "refused":
            cure = f"Disable the livepatch before {it} {is_} removed, unload it, and load all again."
            return f"{names}, if {it} can be removed, {is_} refused when {comes} back: {errno}. {cure}"
        case "oops":
            return f"the kernel oopses when {names} {'comes' if len(outcomes) == 1 else 'come'} back."
        case "not removed":
            return f"{names} cannot be removed ({errno}), so there is no reload."
        case "no livepatch":
            what = "oopses in its load" if outcomes[0].failed and outcomes[0].failed.oops else f"refuses it: {errno}"
            return f"with {names} loaded the kernel {what}. {line}".rstrip()
        case _:
            return f"{names} cannot be loaded: {errno}. {line}".rstrip()


def _hold_zero(number: int) -> str:
    hold = "relocation of the livepatch holds" if number == 1 else "relocations of the livepatch hold"
    return f"{number} {hold} 0 for a symbol"


def _old_slots_sentence(outcomes: list[Outcome]) -> str:
    """What a livepatch goes on to use at an old address, in a sentence; "" where it uses nothing so (s390x)."""
    symbols = list(dict.fromkeys(name for outcome in outcomes for name in outcome.old_slots))
    if not symbols:
        return ""
    slots, them = ("slot keeps", "it") if len(symbols) == 1 else ("slots keep", "them")
    return (
        f" But at another address nothing is refused and nothing is said, and {len(symbols)} {slots} the old one "
        f"({_listed(symbols)}): the code that reads {them} uses what is there now. Hidden symbols have no slot."
    )


def outcome_words(outcome: Outcome) -> str:
    """What came of it, short: the command that failed and its errno."""
    failed = outcome.failed
    if outcome.kind == "zeros":
        return f"nothing is refused, but {_hold_zero(outcome.zeros)}"
    if outcome.old_slots:
        return f"works at the same base; at others {len(outcome.old_slots)} of its slots keep the old address"
    if failed:
        return f"oops in {failed.command}" if failed.oops else f"{failed.command}: {_errno(failed)}"
    return f"works at the same base; at others {outcome.moves}x, then {outcome.ending}" if outcome.ending else "works"


def bad_line(step: Step | None) -> str:
    """The line that says why: the first that no successful load prints."""
    texts = (text for level, text in step.dmesg if level is None or level <= messages.WARNING) if step else ()
    return next((text for text in texts if not any(message.match(text) for message in _ORDINARY)), "")


def _errno(step: Step | None) -> str:
    return f"{errno_name(step.errno or 0)} ({step.errno})" if step else ""


def _listed(names: Iterable[str]) -> str:
    *most, last = list(names)
    if len(most) > 5:
        most, last = most[:4], f"{len(most) - 3} more"
    return f"{', '.join(most)} and {last}" if most else last


# -- the sections ---------------------------------------------------------------------------------------------------------


def sections(file: ModuleFile) -> list[dict[str, Any]]:
    """Name, size, flags and number of relocations of each section."""
    targets = {i: int(file.shdrs["info"][i]) for i in file.rela_sections}
    counts: Counter[str] = Counter()
    for index, target in targets.items():
        if target < len(file.shdrs):
            counts[file.section_names[target]] += int((file.rela(index)["type"] != 0).sum())
    rows = zip(file.section_names, file.sections.itertuples(index=False), strict=True)
    return [
        {"name": name, "size": int(row.size), "flags": row.flags, "relocations": counts[name]}
        for name, row in rows
        if name
    ]


def leftovers(file: ModuleFile) -> int:
    """Entries of type 0 (klp-build leaves one where it has made a livepatch relocation): the loader passes over them."""
    return sum(int((file.rela(index)["type"] == 0).sum()) for index in file.rela_sections)
