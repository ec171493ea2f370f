"""What differs between kernels, and what each proposal of the discussion would change, as one set of switches.

A Behaviour is everything about a kernel that the model asks for. A release names one; a proposal changes some of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from . import messages
from .errors import PolicyError


@dataclass(frozen=True)
class Behaviour:
    """The switches of the model; each names the commit or the proposal that turned it."""

    release: str
    nonzero: messages.Message = messages.NONZERO_SKIPPING
    check_zero: bool = True  # eda9cec4c9a1 (4.15): a relocation's place must hold zeros
    overflow_first: bool = False  # bbb93362a445 (6.3): compute, test the overflow, then look for zeros
    clear: str = "no"  # what happens when the target goes: "no", "unchecked" (RFC 2019), "checked" (0c05e7bd2d01)
    separate_memory: bool = False  # 6.4: text, data, rodata … of a module are separate allocations
    exists_first: bool = False  # a module of the same name is noticed before any taint line (after 6.4)
    early_vmlinux: bool = True  # 5.8: .klp.rela.vmlinux.* at load, no vmlinux symbols in a module's section
    coming_error_clears_mod: bool = True  # 4ff96fb52c69 (5.4), patch 1/2 of the RFC
    patched_in_sysfs: bool = True  # 6.1: /sys/kernel/livepatch/PATCH/OBJECT/patched
    ksym_name_len: int = 512  # 128 before 6.1
    pin_targets: bool = False  # proposal deny-removal
    depend_on_targets: bool = False  # proposal hard-dependencies


RELEASES: Mapping[str, Behaviour] = {
    "5.3": Behaviour(
        "5.3", early_vmlinux=False, coming_error_clears_mod=False, patched_in_sysfs=False, ksym_name_len=128
    ),
    "6.1": Behaviour("6.1"),
    "6.3": Behaviour("6.3", nonzero=messages.NONZERO, overflow_first=True, clear="checked"),
    "6.12": Behaviour(
        "6.12", nonzero=messages.NONZERO, overflow_first=True, clear="checked", separate_memory=True, exists_first=True
    ),
}


@dataclass(frozen=True)
class Proposal:
    """One idea of the discussion: a name, what it does in a sentence, and the change to the model."""

    name: str
    label: str
    summary: str
    change: Callable[[Behaviour], Behaviour] | None
    arch: str | None = None  # only there; None: everywhere
    excludes: Mapping[str, str] | None = None


def _set(**switches: object) -> Callable[[Behaviour], Behaviour]:
    return lambda behaviour: replace(behaviour, **switches)  # type: ignore[arg-type]


_TWO_WAYS = "both decide what is written to the sites when the target goes; choose one"
PROPOSALS: Mapping[str, Proposal] = {
    p.name: p
    for p in (
        Proposal(
            "remove-check",
            "remove the check",
            "drop the test of eda9cec4c9a1: write over whatever is there",
            _set(check_zero=False),
        ),
        Proposal(
            "deny-removal",
            "deny removal",
            "hold a reference to every patched module, so that rmmod says it is in use",
            _set(pin_targets=True),
        ),
        Proposal(
            "clear-relocations",
            "clear on removal (RFC)",
            "when the target goes, write zeros to every site, whatever is there",
            _set(clear="unchecked"),
            excludes={"clear-checked": _TWO_WAYS},
        ),
        Proposal(
            "clear-checked",
            "clear, checked (6.3)",
            "when the target goes, write zeros where the bytes are still the livepatch's own",
            _set(clear="checked"),
            arch="x86_64",
            excludes={"clear-relocations": _TWO_WAYS},
        ),
        Proposal(
            "hard-dependencies",
            "depend on targets",
            "a livepatch needs its targets loaded and keeps them, like any module that uses another",
            _set(depend_on_targets=True),
        ),
        Proposal(
            "tolerate-r2",
            "accept a restored r2",
            "take an existing ld r2,24(r1) after the call for done",
            None,
            arch="ppc64le",
        ),
        Proposal(
            "reuse-stub",
            "keep the stub",
            "let a call site keep its stub and point that elsewhere",
            None,
            arch="ppc64le",
        ),
        Proposal(
            "split-per-object",
            "split per object",
            "one livepatch module an object, loaded together with its target",
            None,
        ),
        Proposal("no-late-patching", "no late patching", "patch only what is loaded when the livepatch is", None),
    )
}


def behaviour(release: str, proposals: Iterable[str] = (), arch: str = "x86_64") -> Behaviour:
    """The behaviour of a release with proposals switched on. Errors: PolicyError, which says what to choose instead.

    >>> behaviour("6.1", ["clear-checked"]).clear, behaviour("6.12").clear
    ('checked', 'checked')
    >>> behaviour("6.1", ["clear-checked", "clear-relocations"])
    Traceback (most recent call last):
    klpteach.errors.PolicyError: clear-checked and clear-relocations cannot be combined: both decide what is written to the sites when the target goes; choose one.
    """
    if release not in RELEASES:
        raise PolicyError(f"unknown release {release!r}; there are {', '.join(RELEASES)}.")
    rules = RELEASES[release]
    chosen = list(dict.fromkeys(proposals))
    for name in chosen:
        reason = why_impossible(name, chosen, arch)
        if reason:
            raise PolicyError(reason)
        change = PROPOSALS[name].change
        assert change is not None
        rules = change(rules)
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
    if proposal.change is None:
        return f"{name} is not in the model yet; choose among {', '.join(available(arch))}."
    for other, reason in (proposal.excludes or {}).items():
        if other in others:
            return f"{name} and {other} cannot be combined: {reason}."
    return None


def available(arch: str = "x86_64") -> list[str]:
    """The proposals that can be switched on, by name."""
    return [p.name for p in PROPOSALS.values() if p.change and p.arch in (None, arch)]
