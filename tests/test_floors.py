"""Imports point one way: every import counts, also those for type checkers only and those inside functions."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import klpteach

PACKAGE = Path(klpteach.__file__).parent
MODULES = {
    ".".join(("klpteach", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}
# From the ground up; rooms of one floor do not know each other. The package's docstring shows the same list.
FLOORS = (
    ("errors", "version"),
    ("arguments",),
    ("files",),
    ("model",),
    ("scenarios", "reading", "fleet"),
    ("discussion", "vm"),
    ("views",),
    ("course",),
    ("site",),
    ("cli", "__init__"),
    ("__main__",),
)


def imports(module: str) -> Iterator[str]:
    """The modules of the package that a module imports, wherever the statement stands."""
    path = MODULES[module]
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.partition(".")[0] == "klpteach")
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            source = ".".join([*base, *(node.module or "").split(".")]).strip(".")
            if source.partition(".")[0] == "klpteach":
                names = (f"{source}.{alias.name}" for alias in node.names)
                yield from (name if name in MODULES else source for name in names)


def room(module: str) -> str:
    """The folder, or the file, at the top of the package that a module lies in."""
    return module.split(".")[1] if "." in module else "__init__"


def test_every_room_imports_only_what_stands_below_it() -> None:
    floor = {name: height for height, names in enumerate(FLOORS) for name in names}
    upward = [
        f"{module} imports {other}"
        for module in MODULES
        for other in imports(module)
        if room(module) != room(other) and floor[room(other)] >= floor[room(module)]
    ]
    assert not upward


def test_no_file_imports_itself_round_a_corner() -> None:
    try:
        TopologicalSorter({module: set(imports(module)) for module in MODULES}).prepare()
    except CycleError as circle:
        raise AssertionError(" -> ".join(circle.args[1])) from None


def test_the_top_of_the_package_is_read_at_a_glance() -> None:
    assert len({room(module) for module in MODULES}) <= 16


def test_nobody_outside_arch_names_an_architectures_own_file() -> None:
    named = [f"{module} imports {other}" for module in MODULES for other in imports(module)
             if other.startswith("klpteach.model.arch.") and not module.startswith("klpteach.model.arch")]  # fmt: skip
    assert not named


def test_the_packages_docstring_shows_the_floors() -> None:
    shown = " <- ".join(", ".join(names) for names in FLOORS[:-1])
    assert shown in " ".join((klpteach.__doc__ or "").split())
