"""The numbers and words that both rooms are built on: limits, the kernel's constants, what each release and machine does."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any

from damaged import short

from klpteach import files, model
from klpteach.model import messages
from klpteach.model.arch import ARCHITECTURES
from klpteach.model.policy import PROPOSALS, available, behaviour, releases

PLAIN = (int, str, bytes, tuple, list, dict, re.Pattern)


def lines() -> Iterator[str]:
    for room in (files, model):
        for found in pkgutil.walk_packages(room.__path__, f"{room.__name__}."):
            yield from _of_module(importlib.import_module(found.name))
    for name, cpu in sorted(ARCHITECTURES.items()):
        values = {key: getattr(cpu, key) for key in sorted(dir(cpu)) if not key.startswith("_")}
        yield from (f"{name}.{key} {_brief(value)}" for key, value in values.items() if isinstance(value, PLAIN))
        for release in releases(name):
            for proposal in ("", *available(name)):
                rules = behaviour(release, [proposal] if proposal else [], name)
                told = {one.name: getattr(rules, one.name) for one in fields(rules)}
                known = {key: value for key, value in told.items() if not callable(value)}
                yield f"{name} {release} {proposal or 'as released'}: {_brief(known)}"
    for name in sorted(PROPOSALS):
        yield f"{name}: {short(repr((PROPOSALS[name].label, PROPOSALS[name].arch)).encode())}"
    for name in sorted(vars(messages)):
        if isinstance(found := vars(messages)[name], messages.Message):
            yield f"messages.{name}: {found.level} {found.source}: {found.format}"


def _of_module(module: ModuleType) -> Iterator[str]:
    """What is written in capitals and made in this file; what it has from another stands there."""
    text = Path(module.__file__ or "").read_text()
    for name, value in vars(module).items():
        own = (
            name.isupper() and not re.search("<class|dtype|Path\\(", repr(value)) and name != "_ELFTOOLS"
        )  # that is a library's
        if own and isinstance(value, PLAIN) and re.search(rf"^(\w+, )*{name}\b.*=", text, re.MULTILINE):
            shown = _brief(value.pattern if isinstance(value, re.Pattern) else value)
            yield f"{module.__name__.removeprefix('klpteach.')}.{name} {shown}"


def _brief(value: Any) -> str:
    """The value itself, or five digits for a long one; functions in it by their names."""
    said = re.sub(r" at 0x[0-9a-f]+", "", repr(value))
    return said if len(said) <= 60 else short(said.encode())
