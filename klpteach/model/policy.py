"""What differs between kernels, and what each proposal of the discussion would change, as one set of switches.

A Behaviour is everything about a kernel that the model asks for. A release names one; a proposal changes some of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice

from ..errors import PolicyError, one_of, quoted
from . import messages
from .errno import EBUSY, EEXIST


@dataclass(frozen=True)
class Behaviour:
    """The switches of the model; each names the commit or the proposal that turned it."""

    release: str
    nonzero: messages.Message = messages.NONZERO_SKIPPING
    mismatch: messages.Message = messages.MISMATCH
    overflow: messages.Message = messages.OVERFLOW
    not_marked: messages.Message = messages.NOT_MARKED
    check_zero: bool = True  # eda9cec4c9a1 (4.15): a relocation's place must hold zeros
    overflow_first: bool = False  # bbb93362a445 (6.3): compute, test the overflow, then look for zeros
    clear: str = "no"  # what happens when the target goes: "no", "unchecked" (RFC 2019), "checked" (0c05e7bd2d01)
    separate_memory: bool = False  # 6.4: text, data, rodata … of a module are separate allocations
    text_in_blocks: bool = False  # x86_64: text is taken from blocks of 2 MiB that are executable and never writable
    ro_after_init: tuple[str, ...] = (".data..ro_after_init", "__jump_table")  # sections; and .static_call_sites later
    percpu_relocated: bool = False  # the relocations of a module's per-CPU data are applied, too
    stub_warning: messages.Message = messages.STUB_WARNING_612
    check_strtab: bool = False  # the table of symbols' names must begin with an empty one
    init_positive: messages.Message = messages.INIT_POSITIVE_612
    patch_files: tuple[str, ...] = ()  # in /sys/kernel/livepatch/PATCH: replace since 6.11, stack_order since 6.14
    ftrace_switch: bool = True  # kernel.ftrace_enabled can be set to 0; later that is refused
    init_eexist: int = EEXIST  # what init_module() returns where init() says -EEXIST; -EBUSY later
    exists_first: bool = False  # a module of the same name is noticed before any taint line (after 6.4)
    early_vmlinux: bool = True  # 5.8: .klp.rela.vmlinux.* at load, no vmlinux symbols in a module's section
    coming_error_clears_mod: bool = True  # 4ff96fb52c69 (5.4), patch 1/2 of the RFC
    patched_in_sysfs: bool = True  # 6.1: /sys/kernel/livepatch/PATCH/OBJECT/patched
    ksym_name_len: int = 512  # 128 before 6.1
    refuse_wx: bool = True  # 5c3a7db0c7ec (5.7): no section is both written and run
    no_memory: messages.Message = messages.NO_MEMORY
    duplicate: messages.Message = messages.DUPLICATE_NAME
    percpu_base: int = 0x35000  # where a module's per-CPU data begins, behind the kernel's own; recorded (percpu)
    # A boot's first transition is not over at the first try, for the stack of swapper/0 is found unreliable, but a second later.
    first_waits: bool = False
    tolerate_r2: bool = False  # 37251c7114e1 (6.3): ppc64le takes an existing `ld r2,24(r1)` after a call for done
    erratum_843419: bool = False  # arm64: the CPU (Cortex-A53) may go wrong at an adrp in the last words of a page
    plt_keep: bool = False  # arm64, proposal keep-plt: a call site keeps its entry of .plt, a veneer its register
    plt_alias: bool = False  # arm64, variant poke: entries of .plt are written late as the other late relocations are
    modules_start: int | None = None  # the first address that a module gets, where it is not the architecture's
    # s390x: GOT and PLT slots are written "once", "always" (a variant), or again after a "reset" (proposal clear-got)
    slots: str = "once"
    stubs: str = "search"  # ppc64le: how a call finds its stub: "search", "reuse" (proposal), "count" (6.18)
    pin_targets: bool = False  # proposal deny-removal
    depend_on_targets: bool = False  # proposal hard-dependencies
    half_load: bool = False  # proposal half-loaded: a target that is only wanted by a livepatch does not run its init
    split_per_object: bool = False  # proposal split-per-object
    late_patching: bool = True  # proposal no-late-patching switches it off
    refuse_unpatched: bool = False  # proposal refuse-unpatched: a module that comes too late is not loaded at all
    refuse_by_version: bool = False  # and only if its file is the one that the livepatch was made for
    clear_on_error: bool = False  # what a livepatch wrote for a target is cleared, too, where it then fails for it

    def __deepcopy__(self, memo: object) -> Behaviour:
        return self  # it never changes: copies of a kernel share it


_6_3 = Behaviour("6.3", nonzero=messages.NONZERO, overflow_first=True, clear="checked", tolerate_r2=True)
_6_12 = replace(
    _6_3,
    release="6.12",
    separate_memory=True,
    exists_first=True,
    percpu_base=0x39000,
    patch_files=("replace",),
    no_memory=messages.NO_MEMORY_610,
    duplicate=messages.DUPLICATE_NAME_65,
)
# The wordings are those of 6.19. The other rules were read in 7.3.4; which release after 6.12 brought each is not looked up.
_7_3 = replace(
    _6_12,
    release="7.3",
    nonzero=messages.NONZERO_619,
    mismatch=messages.MISMATCH_619,
    overflow=messages.OVERFLOW_619,
    not_marked=messages.NOT_MARKED_619,
    text_in_blocks=True,
    ro_after_init=(*_6_12.ro_after_init, ".static_call_sites"),
    percpu_relocated=True,
    percpu_base=0xFFFFFFFF83F6B000,
    init_eexist=EBUSY,
    init_positive=messages.INIT_POSITIVE,
    patch_files=("replace", "stack_order"),
    ftrace_switch=False,
    check_strtab=True,
    stub_warning=messages.STUB_WARNING,
)
RELEASES: Mapping[str, Behaviour] = {
    "5.3": Behaviour("5.3", early_vmlinux=False, coming_error_clears_mod=False, patched_in_sysfs=False,
                     ksym_name_len=128, refuse_wx=False),
    "6.1": Behaviour("6.1"),
    "6.3": _6_3,
    "6.12": _6_12,
    "7.3": _7_3,
}  # fmt: skip

# What an architecture's own code decides: architecture -> from which release on -> switches.
ON_ARCH: Mapping[str, Mapping[str, Mapping[str, object]]] = {
    "ppc64le": {
        "5.3": {"clear": "no"},  # 0c05e7bd2d01 gave powerpc no clear_relocate_add()
        # Run with dyndbg: 6.1 says "swapper/0:0 has an unreliable stack" in the first transition and in no later one, 6.12 and
        # 7.3 never do. Why, and which release was the last, is not looked up; 5.3 and 6.3 were not run.
        "6.1": {"first_waits": True},
        "6.12": {"first_waits": False},
        "7.3": {"stubs": "count"},  # b137312fbf2d (6.18): a counter instead of the slot that stays empty
    },
    "arm64": {"5.3": {"clear": "no", "check_zero": False}},  # nor arm64, where nothing is compared with zero either
    "s390x": {
        "5.3": {"clear": "no", "check_zero": False},  # nor s390, where nothing is compared with zero either
        "6.12": {"modules_start": 0x3FF60000000},  # by then kernel and modules had moved up in the address space
    },
}


@dataclass(frozen=True)
class Proposal:
    """One idea of the discussion: a name, what it does in a sentence, and the change to the model.

    chosen: what the sentence leaves open, how it is read here, and what else it could mean. reading_of: the proposal that
    this is another reading of; such a one is a switch, and no column of the table of consequences.
    """

    name: str
    label: str
    summary: str
    change: Callable[[Behaviour], Behaviour]
    arch: str | None = None  # only there; None: everywhere
    excludes: Mapping[str, str] = field(default_factory=dict)  # another proposal -> why not both
    chosen: str = ""
    reading_of: str | None = None


def _set(**switches: object) -> Callable[[Behaviour], Behaviour]:
    return lambda behaviour: replace(behaviour, **switches)  # type: ignore[arg-type]


def _as_6_3(behaviour: Behaviour) -> Behaviour:
    """One function that writes and clears (0c05e7bd2d01); a kernel that has it already stays as it is."""
    if behaviour.clear == "checked" and behaviour.overflow_first:
        return behaviour
    return replace(behaviour, clear="checked", overflow_first=True, nonzero=messages.NONZERO)


def _also_on_error(behaviour: Behaviour) -> Behaviour:
    """Where nothing is cleared by itself, as the RFC does; else as the kernel does it."""
    return replace(behaviour, clear="unchecked" if behaviour.clear == "no" else behaviour.clear, clear_on_error=True)


_TWO_READINGS = "they are two readings of one proposal; choose one"
_TWO_WAYS = "both decide what is written to the sites when the target goes; choose one"
_NOTHING_LEFT = "one loads every target beforehand, the other patches each target when it comes; choose one"
_NO_ONE_WAITS = "then no target is patched when it comes, and a livepatch that comes with its target is just that"
# fmt: off
PROPOSALS: Mapping[str, Proposal] = {p.name: p for p in (
    Proposal("remove-check", "remove the check",
             "drop the test of eda9cec4c9a1: write over whatever is there", _set(check_zero=False),
             chosen="The test goes for every module, not only for livepatches: the places of an ordinary one hold what its file "
                    "has, so it was never asked there."),
    Proposal("deny-removal", "deny removal",
             "hold a reference to every patched module, so that rmmod says it is in use", _set(pin_targets=True),
             chosen="The reference is given back when the livepatch is disabled or replaced; after a forced transition it is kept. "
                    "Until rmmod of the livepatch would be as true to the sentence: then the story disabled ends pinned, too."),
    Proposal("clear-relocations", "clear on removal (RFC)",
             "when the target goes, put every site back to what the file has, whatever is there",
             _set(clear="unchecked"), excludes={"clear-checked": _TWO_WAYS},
             chosen="A load that fails inside livepatch is no going: what was written for it stays. The other reading is "
                    "clear-also-on-error. Relocations of unknown types are passed over."),
    Proposal("clear-also-on-error", "clear, also after an error",
             "as clearing on removal, and also when a livepatch fails for a target that is loading",
             _also_on_error, excludes={"clear-relocations": _TWO_READINGS}, reading_of="clear-relocations",
             chosen="One call more, where klp_module_coming() gives up. On a kernel that clears by itself that is all it adds."),
    Proposal("clear-checked", "clear, checked (6.3)",
             "when the target goes, write zeros where the bytes are still the livepatch's own",
             _as_6_3, arch="x86_64", excludes={"clear-relocations": _TWO_WAYS},
             chosen="One function that writes and clears, as 6.3 has it: with it change the words of the line about a nonzero "
                    "target, its val (S + A - P), and that an overflow is noticed first. The other reading is clear-checked-kept."),
    Proposal("clear-checked-kept", "clear, checked, writing as before",
             "as the checked clearing of 6.3, while the code that writes stays as the kernel has it",
             _set(clear="checked"), arch="x86_64", reading_of="clear-checked",
             excludes={"clear-checked": _TWO_READINGS, "clear-relocations": _TWO_WAYS},
             chosen="Only the clearing compares; the lines of a refused load are those of the release."),
    Proposal("tolerate-r2", "accept a restored r2",
             "take an existing ld r2,24(r1) after the call for done", _set(tolerate_r2=True), arch="ppc64le",
             chosen="Any ld r2,24(r1) after the call is accepted, whoever wrote it: as 6.3 does."),
    Proposal("reuse-stub", "keep the stub", "let a call site keep its stub and point that elsewhere",
             _set(tolerate_r2=True, stubs="reuse"), arch="ppc64le",
             chosen="The stub is found by where the call leads, so it accepts a restored r2 as well. A list of sites and stubs, "
                    "kept beside, would do it without, and take memory."),
    Proposal("keep-plt", "keep the .plt entry",
             "write entries of .plt through the alias, and let a call site keep its entry (ours)",
             _set(plt_alias=True, plt_keep=True), arch="arm64",
             chosen="Which entry a site has is kept beside, since the site's own bits are overwritten before an entry is asked for; "
                    "a veneer keeps the register of the adrp that it stands for."),
    Proposal("clear-got", "forget the slots",
             "when the target goes, forget that the GOT and PLT slots of its symbols are filled (ours)",
             _set(slots="reset"), arch="s390x",
             chosen="The marks go, no byte is written; where a load fails inside livepatch the core does not ask for it."),
    Proposal("hard-dependencies", "depend on targets",
             "a livepatch needs its targets loaded and keeps them, like any module that uses another",
             _set(depend_on_targets=True), excludes={"split-per-object": _NOTHING_LEFT},
             chosen="Asked in klp_enable_patch(), which alone knows the targets of a livepatch; kept until rmmod of the livepatch, as "
                    "modules that use others do it; a target whose init runs is -EBUSY. depmod would have to learn the targets "
                    "from the file: how is open. Until the livepatch is disabled would be the other reading."),
    Proposal("half-loaded", "half-load targets",
             "hard dependencies, but a target that only the livepatch asks for is relocated and its init does not run",
             _set(depend_on_targets=True, half_load=True), excludes={"split-per-object": _NOTHING_LEFT},
             chosen="The init that runs later is that of the image that waits, whatever file is named then; where it fails the "
                    "module goes on waiting; exports of a module that waits do not count, and its init memory stays. All of "
                    "that is open: a kernel could as well compare the files, or let a failed one go."),
    Proposal("split-per-object", "split per object",
             "one livepatch module an object, loaded together with its target and removed with it",
             _set(split_per_object=True),
             excludes={"hard-dependencies": _NOTHING_LEFT, "half-loaded": _NOTHING_LEFT,
                       "no-late-patching": _NO_ONE_WAITS, "refuse-unpatched": _NO_ONE_WAITS},
             chosen="The kernel runs a program and waits for it, while the target is loading; an atomic replace ends livepatches of "
                    "the same object only. A kernel that asks for the part and goes on would not hang, and run unpatched for a while."),
    Proposal("no-late-patching", "no late patching",
             "patch only what is loaded when the livepatch is; a module that comes later comes up unpatched",
             _set(late_patching=False), excludes={"split-per-object": _NO_ONE_WAITS},
             chosen="A module that was patched, removed and loaded again comes up unpatched as well; a newer livepatch may patch it."),
    Proposal("refuse-unpatched", "refuse what comes too late",
             "no late patching, and a module that an enabled livepatch names is then not loaded at all",
             _set(late_patching=False, refuse_unpatched=True), excludes={"split-per-object": _NO_ONE_WAITS},
             chosen="By the module's name, whatever version its file is: a fixed one is refused, too, until the livepatch is "
                    "disabled. The other reading is refuse-vulnerable."),
    Proposal("refuse-vulnerable", "refuse what is known to be vulnerable",
             "no late patching, and a module that an enabled livepatch names is not loaded if its file is the one to be fixed",
             _set(late_patching=False, refuse_unpatched=True, refuse_by_version=True), reading_of="refuse-unpatched",
             excludes={"split-per-object": _NO_ONE_WAITS, "refuse-unpatched": _TWO_READINGS},
             chosen="By the file: another build of the module, a fixed one, comes as it is and is not patched. No livepatch says "
                    "today which build it was made for; here it is the one that lies installed under the module's name."),
)}
# fmt: on


# The first release in which an architecture has livepatch, and the commit; not listed: before all that are in the model.
# arm64's was applied on 1 July 2025 and pulled after 6.16, in the merge window of 6.17.
LIVEPATCH_SINCE: Mapping[str, tuple[str, str]] = {"arm64": ("6.17", "fd1e0fd71f65")}

# Variants of kernels that were recorded, by architecture -> the switches that each sets. ppc64le: count is the counter of 6.18,
# tried earlier. arm64: poke is a changed kernel, a53 another CPU, kaslr another command line.
VARIANTS: Mapping[str, Mapping[str, Mapping[str, object]]] = {
    "ppc64le": {
        "clear": {"clear": "unchecked"},
        "tolerate": {"tolerate_r2": True},
        "reuse": {"tolerate_r2": True, "stubs": "reuse"},
        "count": {"tolerate_r2": True, "stubs": "count"},
    },
    "arm64": {
        "poke": {"plt_alias": True},
        "a53": {"erratum_843419": True},
        "poke-a53": {"plt_alias": True, "erratum_843419": True},
        "kaslr": {},
    },
    "s390x": {"rewrite": {"slots": "always"}},
}
UNMODIFIED = ("", "stock", "small")  # what a recording calls a kernel with no proposal in it


def names_of(proposals: str | Iterable[str]) -> list[str]:
    """The names in a choice of proposals: one name, or some. Errors: PolicyError for anything that holds other things.

    >>> names_of("reuse-stub"), names_of(("deny-removal", "clear-checked"))
    (['reuse-stub'], ['deny-removal', 'clear-checked'])
    """
    try:
        given = [proposals] if isinstance(proposals, str) else list(islice(proposals, len(PROPOSALS) + 1))
    except TypeError:
        raise PolicyError(f"{quoted(proposals)} is no list of proposals; try ['clear-checked'].") from None
    found = [one_of(name, PROPOSALS, "proposal", PolicyError) for name in given]
    if len(found) > len(PROPOSALS):
        raise PolicyError(f"more proposals than there are: {len(PROPOSALS)}.")
    return found


def behaviour(release: str, proposals: Iterable[str] = (), arch: str = "x86_64") -> Behaviour:
    """The behaviour of a release with proposals switched on. Errors: PolicyError, which says what to choose instead.

    >>> behaviour("6.1", ["clear-checked"]).clear, behaviour("6.12").clear
    ('checked', 'checked')
    """
    one_of(release, RELEASES, "release", PolicyError)
    if reason := no_livepatch(release, arch):
        raise PolicyError(reason)
    rules = RELEASES[release]
    for first, switches in ON_ARCH.get(arch, {}).items():
        if list(RELEASES).index(release) >= list(RELEASES).index(first):
            rules = replace(rules, **switches)  # type: ignore[arg-type]
    chosen = list(dict.fromkeys(names_of(proposals)))
    for name in chosen:
        if reason := why_impossible(name, chosen, arch):
            raise PolicyError(reason)
        rules = PROPOSALS[name].change(rules)
    return rules


# What an architecture's code never asks for: two kernels that differ in nothing else are one kernel there.
NEVER_ASKED: Mapping[str, tuple[str, ...]] = {
    "x86_64": ("tolerate_r2", "stubs"),
    "ppc64le": ("check_zero", "overflow_first", "nonzero"),
}


def kernel_of(release: str, words: Iterable[str] = (), arch: str = "x86_64") -> Behaviour:
    """What a kernel does, by its proposals or the names of variants; equal for kernels that cannot be told apart.

    Errors: PolicyError for a word that is neither, and for what cannot be combined.

    >>> kernel_of("6.12", ["clear-checked"]) == kernel_of("6.12"), kernel_of("6.1", ["clear-checked"]) == kernel_of("6.1")
    (True, False)
    >>> kernel_of("6.1", ["reuse"], "ppc64le") == kernel_of("6.1", ["reuse-stub"], "ppc64le")
    True
    """
    names, variants = [word for word in words if word not in UNMODIFIED], VARIANTS.get(arch, {})
    rules = behaviour(release, [name for name in names if name not in variants], arch)
    for name in names:
        rules = replace(rules, **variants.get(name, {}))  # type: ignore[arg-type]
    plain = RELEASES[release]
    return replace(rules, **{switch: getattr(plain, switch) for switch in NEVER_ASKED.get(arch, ())})


def no_livepatch(release: str, arch: str) -> str | None:
    """That an architecture had no livepatch yet, in a sentence; None where it had.

    >>> no_livepatch("6.1", "arm64")
    'arm64 has livepatch since 6.17 (fd1e0fd71f65), so there is none in 6.1.'
    """
    first, commit = LIVEPATCH_SINCE.get(arch, ("0.0", ""))
    if _numbers(release) >= _numbers(first):
        return None
    return f"{arch} has livepatch since {first} ({commit}), so there is none in {release}."


def _numbers(release: str) -> tuple[int, ...]:
    return tuple(int(number) for number in release.split("."))


def releases(arch: str = "x86_64") -> list[str]:
    """The releases of the model in which an architecture has livepatch, oldest first.

    >>> releases("arm64")
    ['7.3']
    """
    return [release for release in RELEASES if not no_livepatch(release, arch)]


def default_release(arch: str = "x86_64") -> str:
    """The release that is meant where none is named: 6.1, or the first of an architecture that came to livepatch later.

    >>> default_release(), default_release("arm64")
    ('6.1', '7.3')
    """
    found = releases(arch)
    return "6.1" if "6.1" in found else found[0]


def why_impossible(name: str, others: Iterable[str], arch: str = "x86_64") -> str | None:
    """Why a proposal cannot be switched on beside the others, in a sentence; None where it can.

    >>> why_impossible("reuse-stub", [])
    'reuse-stub concerns ppc64le only; x86_64 has nothing like it.'
    """
    proposal = PROPOSALS.get(name)
    if proposal is None:
        return f"unknown proposal {quoted(name)}; there are {', '.join(PROPOSALS)}."
    if proposal.arch not in (None, arch):
        return f"{name} concerns {proposal.arch} only; {arch} has nothing like it."
    chosen, excluded = set(others), proposal.excludes.items()
    found = (f"{name} and {other} cannot be combined: {why}." for other, why in excluded if other in chosen)
    return next(found, None)


def available(arch: str = "x86_64", readings: bool = True) -> list[str]:
    """The proposals that can be switched on, by name. readings: also other readings of one that is there."""
    known = [p for p in PROPOSALS.values() if p.arch in (None, arch)]
    return [p.name for p in known if readings or p.reading_of is None]


def possible(chosen: Iterable[str], arch: str = "x86_64") -> bool:
    """Whether these proposals can be switched on together.

    >>> possible(["half-loaded", "deny-removal"]), possible(["half-loaded", "split-per-object"])
    (True, False)
    """
    names = list(chosen)
    return not any(why_impossible(name, names, arch) for name in names)
