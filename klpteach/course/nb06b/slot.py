"""A slot of the GOT along time on s390x: what it holds, and where its symbol is by then."""

from __future__ import annotations

from ...errors import KlpteachError
from ...files.klp import parse_symbol
from ...model.recording import Recording
from ...model.step import Step, hexa
from ...scenarios.recorded import evidence
from ...views.table import Table


def what_it_prints(name: str) -> Table:
    """Every read of /proc in a recording of a real kernel: what the module's own code answered."""
    told = evidence(name, "s390x")
    rows = [(f"{index + 1} `{step.command}`", f"`{step.out.strip()}`") for index, step in enumerate(told) if step.out]
    return Table(("step", "it prints"), rows, f"Recorded on Linux {told.kernel['version']}")


def slot_and_symbol(recording: Recording, symbol: str, livepatch: str = "livepatch_nfsd_demo") -> Table:
    """After each command: the address in a livepatch's GOT slot of a symbol, and the symbol's own address (s390x).

    Errors: KlpteachError where the livepatch has no such slot.
    """
    rows = []
    for index, step in enumerate(recording):
        name, held = slot_of(step, symbol, livepatch)
        if name:
            at = _address(step, name, livepatch)
            right = "gone" if at is None else "the same" if at == held else f"`{hexa(at)}`"
            rows.append((f"{index + 1} `{step.command}`", f"`{hexa(held)}`" if held else "empty", right))
    if not rows:
        raise KlpteachError(f"{livepatch} has no slot for {symbol!r} in this story.")
    with_it = f", with {' and '.join(recording.proposals)}" if recording.proposals else ""
    caption = f"The slot of `{symbol}` in the GOT of {livepatch}{with_it}"
    return Table(("after", "the slot holds", "the symbol is at"), rows, caption)


def slot_of(step: Step, symbol: str, livepatch: str) -> tuple[str, int]:
    """(the symbol's name in the livepatch, what its slot holds); ("", 0) where there is none."""
    for entry in (step.stubs or {}).get(livepatch, {}).get("entries", ()):
        what, _, name = entry.get("of", "").partition(" ")
        parsed = parse_symbol(name)
        if what == "GOT" and parsed and parsed.name == symbol:
            return name, int(entry["funcdata"], 16)
    return "", 0


def _address(step: Step, name: str, livepatch: str) -> int | None:
    """Where a symbol is: in its module's own table, while that is loaded."""
    parsed = parse_symbol(name)
    rows = (step.symbols or {}).get(parsed.object if parsed else "", ())
    return next((at for at, _, other in rows if parsed and other == parsed.name), None)
