"""What differs between kernels, and what each proposal of the discussion would change, as one set of switches.

A Behaviour is everything about a kernel that the model asks for. A release names one; a proposal changes some of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from ..errors import PolicyError
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
    tolerate_r2: bool = False  # 37251c7114e1 (6.3): ppc64le takes an existing `ld r2,24(r1)` after a call for done
    modules_start: int | None = None  # the first address that a module gets, where it is not the architecture's
    slots: str = (
        "once"  # s390x: when a GOT or PLT slot is written: "once", "reset" (proposal clear-got), "always" (a variant)
    )
    stubs: str = "search"  # ppc64le: how a call finds its stub: "search", "reuse" (proposal), "count" (6.18)
    pin_targets: bool = False  # proposal deny-removal
    depend_on_targets: bool = False  # proposal hard-dependencies
    half_load: bool = False  # proposal half-loaded: a target that is only wanted by a livepatch does not run its init
    split_per_object: bool = False  # proposal split-per-object
    late_patching: bool = True  # proposal no-late-patching switches it off
    refuse_unpatched: bool = False  # proposal refuse-unpatched: a module that comes too late is not loaded at all

    def __deepcopy__(self, memo: object) -> Behaviour:
        return self  # it never changes: copies of a kernel share it


_6_3 = Behaviour("6.3", nonzero=messages.NONZERO, overflow_first=True, clear="checked", tolerate_r2=True)
_6_12 = replace(
    _6_3,
    release="6.12",
    separate_memory=True,
    exists_first=True,
    percpu_base=0x39000,
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
        "7.3": {"stubs": "count"},  # b137312fbf2d (6.18): a counter instead of the slot that stays empty
    },
    "s390x": {
        "5.3": {"clear": "no", "check_zero": False},  # nor s390, where nothing is compared with zero either
        "6.12": {"modules_start": 0x3FF60000000},  # by then kernel and modules had moved up in the address space
    },
}


@dataclass(frozen=True)
class Proposal:
    """One idea of the discussion: a name, what it does in a sentence, and the change to the model."""

    name: str
    label: str
    summary: str
    change: Callable[[Behaviour], Behaviour]
    arch: str | None = None  # only there; None: everywhere
    excludes: Mapping[str, str] = field(default_factory=dict)  # another proposal -> why not both


def _set(**switches: object) -> Callable[[Behaviour], Behaviour]:
    return lambda behaviour: replace(behaviour, **switches)  # type: ignore[arg-type]


_TWO_WAYS = "both decide what is written to the sites when the target goes; choose one"
_NOTHING_LEFT = "one loads every target beforehand, the other patches each target when it comes; choose one"
_NO_ONE_WAITS = "then no target is patched when it comes, and a livepatch that comes with its target is just that"
# fmt: off
PROPOSALS: Mapping[str, Proposal] = {p.name: p for p in (
    Proposal("remove-check", "remove the check",
             "drop the test of eda9cec4c9a1: write over whatever is there", _set(check_zero=False)),
    Proposal("deny-removal", "deny removal",
             "hold a reference to every patched module, so that rmmod says it is in use", _set(pin_targets=True)),
    Proposal("clear-relocations", "clear on removal (RFC)",
             "when the target goes, put every site back to what the file has, whatever is there",
             _set(clear="unchecked"), excludes={"clear-checked": _TWO_WAYS}),
    Proposal("clear-checked", "clear, checked (6.3)",
             "when the target goes, write zeros where the bytes are still the livepatch's own",
             _set(clear="checked"), arch="x86_64", excludes={"clear-relocations": _TWO_WAYS}),
    Proposal("tolerate-r2", "accept a restored r2",
             "take an existing ld r2,24(r1) after the call for done", _set(tolerate_r2=True), arch="ppc64le"),
    Proposal("reuse-stub", "keep the stub", "let a call site keep its stub and point that elsewhere",
             _set(tolerate_r2=True, stubs="reuse"), arch="ppc64le"),
    Proposal("clear-got", "forget the slots",
             "when the target goes, forget that the GOT and PLT slots of its symbols are filled (ours)",
             _set(slots="reset"), arch="s390x"),
    Proposal("hard-dependencies", "depend on targets",
             "a livepatch needs its targets loaded and keeps them, like any module that uses another",
             _set(depend_on_targets=True), excludes={"split-per-object": _NOTHING_LEFT}),
    Proposal("half-loaded", "half-load targets",
             "hard dependencies, but a target that only the livepatch asks for is relocated and its init does not run",
             _set(depend_on_targets=True, half_load=True), excludes={"split-per-object": _NOTHING_LEFT}),
    Proposal("split-per-object", "split per object",
             "one livepatch module an object, loaded together with its target and removed with it",
             _set(split_per_object=True),
             excludes={"hard-dependencies": _NOTHING_LEFT, "half-loaded": _NOTHING_LEFT,
                       "no-late-patching": _NO_ONE_WAITS, "refuse-unpatched": _NO_ONE_WAITS}),
    Proposal("no-late-patching", "no late patching",
             "patch only what is loaded when the livepatch is; a module that comes later comes up unpatched",
             _set(late_patching=False), excludes={"split-per-object": _NO_ONE_WAITS}),
    Proposal("refuse-unpatched", "refuse what comes too late",
             "no late patching, and a module that an enabled livepatch names is then not loaded at all",
             _set(late_patching=False, refuse_unpatched=True), excludes={"split-per-object": _NO_ONE_WAITS}),
)}
# fmt: on


# Variants of kernels that were recorded -> the switches that each sets (`count`: the counter of 6.18, tried earlier).
VARIANTS: Mapping[str, Mapping[str, Mapping[str, object]]] = {
    "ppc64le": {
        "clear": {"clear": "unchecked"},
        "tolerate": {"tolerate_r2": True},
        "reuse": {"tolerate_r2": True, "stubs": "reuse"},
        "count": {"tolerate_r2": True, "stubs": "count"},
    },
    "s390x": {"clear": {"slots": "reset"}, "rewrite": {"slots": "always"}},
}


def behaviour(release: str, proposals: Iterable[str] = (), arch: str = "x86_64") -> Behaviour:
    """The behaviour of a release with proposals switched on. Errors: PolicyError, which says what to choose instead.

    >>> behaviour("6.1", ["clear-checked"]).clear, behaviour("6.12").clear
    ('checked', 'checked')
    """
    if release not in RELEASES:
        raise PolicyError(f"unknown release {release!r}; there are {', '.join(RELEASES)}.")
    rules = RELEASES[release]
    for first, switches in ON_ARCH.get(arch, {}).items():
        if list(RELEASES).index(release) >= list(RELEASES).index(first):
            rules = replace(rules, **switches)  # type: ignore[arg-type]
    chosen = list(dict.fromkeys(proposals))
    for name in chosen:
        if reason := why_impossible(name, chosen, arch):
            raise PolicyError(reason)
        rules = PROPOSALS[name].change(rules)
    return rules


def why_impossible(name: str, others: Iterable[str], arch: str = "x86_64") -> str | None:
    """Why a proposal cannot be switched on beside the others, in a sentence; None where it can.

    >>> why_impossible("reuse-stub", [])
    'reuse-stub concerns ppc64le only; x86_64 has nothing like it.'
    """
    proposal = PROPOSALS.get(name)
    if proposal is None:
        return f"unknown proposal {name!r}; there are {', '.join(PROPOSALS)}."
    if proposal.arch not in (None, arch):
        return f"{name} concerns {proposal.arch} only; {arch} has nothing like it."
    chosen, excluded = set(others), proposal.excludes.items()
    found = (f"{name} and {other} cannot be combined: {why}." for other, why in excluded if other in chosen)
    return next(found, None)


def available(arch: str = "x86_64") -> list[str]:
    """The proposals that can be switched on, by name."""
    return [p.name for p in PROPOSALS.values() if p.arch in (None, arch)]


def possible(chosen: Iterable[str], arch: str = "x86_64") -> bool:
    """Whether these proposals can be switched on together.

    >>> possible(["half-loaded", "deny-removal"]), possible(["half-loaded", "split-per-object"])
    (True, False)
    """
    names = list(chosen)
    return not any(why_impossible(name, names, arch) for name in names)
