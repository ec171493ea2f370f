"""One command, several modules: what was asked for, what came along with it, and who runs without his livepatch."""

from __future__ import annotations

from pathlib import Path

from ..model.step import Step
from .history import History
from .loads import Load


def asked_for(history: History, step: int) -> Load | None:
    """The load that a command asked for by name; where it is not among those that it began, the last of them."""
    tried = history.attempts_in(step)
    word = Path([*history.recording[step].command.split(), "", ""][1]).name
    file = history.files.get(word)
    name = file.name if file else word.removesuffix(".ko").replace("-", "_")
    return next((load for load in tried if load.module == name), tried[-1] if tried else None)


def came_along(history: History, step: int) -> str:
    """A sentence about the modules that nobody asked for; "" where there are none."""
    main = asked_for(history, step)
    others = [
        load.module for load in history.attempts_in(step) if load is not main and load.module != (main and main.module)
    ]
    if not others:
        return ""
    named = ", ".join(others[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
    return f"With it came {named}."


def unpatched_by(step: Step, module: str) -> list[str]:
    """The enabled livepatches that name a loaded module and have not patched it."""
    rows = (step.livepatch or {}).items()
    return [
        patch
        for patch, row in rows
        if row.get("enabled") and not row.get("transition") and row["objects"].get(module, {}).get("patched") == 0
    ]
