"""Small changes to the model and to the readers of files, one at a time, and whether the tests notice: make mutants.

    python tests/mutants.py --count 200 --seed 1

First all tests run once, without a mutant, and it is noted which of them runs which line (covering.py). Each mutant is then run in
a copy of the repository with the tests that run its line, the quickest of each file in turn, until one fails (killed) or all have passed
(SURVIVED). A test that takes far longer than before was killed by a mutant that hangs. Tests beyond the seconds that a
mutant may have are left out, and a line that no test runs is a survivor at once. What survives wants a test, or a
comment that says why it is the same program.
"""

from __future__ import annotations

import argparse
import ast
import copy
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
from bisect import bisect
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

from covering import ROOMS, Map, fails, file_of, learn

ROOT = Path(__file__).resolve().parents[1]
PLACE = ROOT / "build" / "mutants"
# The tests of both rooms, but for those that watch the clock: coverage takes time, and nobody looks into other processes.
TESTS = (
    *ROOMS, "tests/model", "tests/files", "tests/approved", "tests/vm", "tests/scenarios",
    "tests/test_robustness.py", "tests/test_robustness_recordings.py",
)  # fmt: skip
APPROVED = "tests/approved/test_approved.py"  # a test of it takes seconds, and sees thousands of results
CLOCKED = (
    "tests/files/test_strange_modules.py",
    "tests/test_robustness.py::test_a_damaged_module_gives_a_result_or_one_clear_line",
    "tests/scenarios/test_inspection.py::test_200_objects_take_a_few_seconds_and_the_limit_is_said",
)
SWAPPED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
ERRNOS = ("EPERM", "ENOENT", "ENOEXEC", "EAGAIN", "ENOMEM", "EBUSY", "EEXIST", "ENODEV", "EINVAL", "ERANGE")


class Mutant(NamedTuple):
    """A changed file. lines: those of the statement that was changed; at_import: it stands outside of every function."""

    path: Path
    lines: range
    at_import: bool
    old: str
    new: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.lines.start}: {self.old} -> {self.new}"


def changes(node: ast.AST) -> Iterator[ast.AST]:
    """What may stand instead of a node."""
    match node:
        case ast.Compare(ops=[op]) if type(op) in SWAPPED:
            new = copy.deepcopy(node)
            new.ops = [SWAPPED[type(op)]()]
            yield new
        case ast.If(test=test) | ast.IfExp(test=test):
            new = copy.deepcopy(node)
            new.test = ast.UnaryOp(ast.Not(), test)
            yield new
        case ast.BoolOp(op=op):
            new = copy.deepcopy(node)
            new.op = ast.Or() if isinstance(op, ast.And) else ast.And()
            yield new
        case ast.Constant(value=bool() as value):
            yield ast.Constant(not value)
        case ast.Constant(value=int() as value):
            yield ast.Constant(value + 1)
        case ast.BinOp(op=ast.Add()) | ast.BinOp(op=ast.Sub()):
            new = copy.deepcopy(node)
            new.op = ast.Sub() if isinstance(node.op, ast.Add) else ast.Add()
            yield new
        case ast.Call(func=ast.Name(id="Refused"), args=[ast.Name(id=name)]):
            yield ast.Call(ast.Name("Refused"), [ast.Name(next(other for other in ERRNOS if other != name))], [])
        case ast.Expr(value=ast.Call()) | ast.Raise() | ast.AugAssign() | ast.Continue() | ast.Break():
            yield ast.Pass()
        case ast.Assign(targets=[ast.Attribute()]):
            yield ast.Pass()


class Place(NamedTuple):
    """Where a node stands: a field of its parent, in which statement, and whether in a function's body."""

    parent: ast.AST
    field: str
    index: int | None
    node: ast.AST
    statement: ast.AST
    at_import: bool


def places(parent: ast.AST, statement: ast.AST, at_import: bool) -> Iterator[Place]:
    """All that may be changed below a node.

    Not what changes no answer: imports, decorators (frozen, maxsize), a zip() that checks the lengths, and annotations.
    """
    for field, value in ast.iter_fields(parent):
        if field in ("decorator_list", "annotation", "returns") or getattr(parent, "arg", None) == "strict":
            continue
        inside = at_import and not (isinstance(parent, ast.FunctionDef | ast.Lambda) and field == "body")
        for index, node in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(node, ast.AST) and not isinstance(node, ast.Import | ast.ImportFrom):
                own = node if isinstance(node, ast.stmt) else statement
                yield Place(parent, field, index if isinstance(value, list) else None, node, own, inside)
                yield from places(node, own, inside)


def mutants_of(path: Path) -> Iterator[Callable[[], Mutant]]:
    """Every mutant of a file, made when it is asked for."""
    tree = ast.parse((ROOT / path).read_text())
    for place in places(tree, tree, at_import=True):
        for new in changes(place.node):
            yield partial(made, path, tree, place, new)


def made(path: Path, tree: ast.Module, place: Place, new: ast.AST) -> Mutant:
    whole = getattr(place.parent, place.field)
    index = place.index
    try:
        changed = new if index is None else [*whole[:index], new, *whole[index + 1 :]]
        setattr(place.parent, place.field, changed)
        text = ast.unparse(ast.fix_missing_locations(tree))
    finally:
        setattr(place.parent, place.field, whole)
    brief = [" ".join(ast.unparse(ast.fix_missing_locations(one)).split())[:90] for one in (place.node, new)]
    return Mutant(path, lines_of(place), place.at_import, *brief, text)


def lines_of(place: Place) -> range:
    """The statement's lines; of one that holds others (if, for …) those before them, of one of several lines the node's own too."""
    first, last = place.statement.lineno, place.statement.end_lineno  # type: ignore[attr-defined]
    body = getattr(place.statement, "body", None)
    return range(first, max(first, body[0].lineno - 1) + 1) if body else range(first, last + 1)


COPY: Path  # each process of the pool has a copy of its own


def own_copy(scratch: str) -> None:
    global COPY
    COPY = Path(shutil.copytree(PLACE / "copy", tempfile.mkdtemp(dir=scratch), dirs_exist_ok=True))


def survives(known: Map, limit: float, mutant: Mutant) -> bool:
    """Run the tests that run the mutant's lines; True where none of them notices."""
    place = COPY / mutant.path
    before, times = place.read_text(), place.stat()
    place.write_text(mutant.text)
    try:
        for tests in rounds(known, known.tests_of(mutant.path, mutant.lines, mutant.at_import), limit):
            if fails(COPY, tests, 20 + int(4 * sum(known.seconds[test] for test in tests))):
                return False
    finally:
        place.write_text(before)
        os.utime(place, ns=(times.st_atime_ns, times.st_mtime_ns))  # so what was compiled of it is still good
    return True


def rounds(known: Map, tests: list[str], limit: float) -> Iterator[list[str]]:
    """First the quick tests of the file that has most of them, since collecting tests takes longer than most; then the
    approved answers, and then the rest."""
    quick = Counter(file_of(test) for test in tests if known.seconds[test] < 0.2)
    if quick:
        yield [test for test in tests if file_of(test) == quick.most_common(1)[0][0]][:20]
    approved = [test for test in tests if file_of(test) == APPROVED]
    for some in (approved, in_turn([test for test in tests if test not in approved])):
        if some:
            spent = list(accumulate(known.seconds[test] for test in some))
            yield some[: max(bisect(spent, limit), 1)]


def in_turn(tests: list[str]) -> list[str]:
    """One test of each file, then the next of each: a file whose tests are slow has its say, too."""
    number = Counter[str]()
    turns = dict[str, int]()
    for test in tests:
        number[file_of(test)] += 1
        turns[test] = number[file_of(test)]
    return sorted(tests, key=turns.__getitem__)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    for option, default in (("count", 200), ("seed", 1), ("jobs", 2), ("limit", 40)):
        parser.add_argument(f"--{option}", type=int, default=default)
    parser.add_argument("--tests", nargs="+", default=TESTS, help="those that shall notice")
    parser.add_argument("--without", nargs="+", default=[], metavar="TEST", help="more tests to leave out")
    parser.add_argument("--under", nargs="+", default=ROOMS, help="folders and files to be changed")
    args = parser.parse_args()
    under = [ROOT / name for name in args.under]
    paths = sorted(path.relative_to(ROOT) for top in under for path in (top.rglob("*.py") if top.is_dir() else [top]))
    possible = [make for path in paths for make in mutants_of(path)]
    chosen = [make() for make in random.Random(args.seed).sample(possible, min(args.count, len(possible)))]
    print(f"{len(chosen)} of {len(possible)} mutants. First the tests as they are:", flush=True)
    known = learn(ROOT, PLACE, [*args.tests, *(f"--deselect={test}" for test in (*CLOCKED, *args.without))])
    if known is None:
        print("A test fails without a mutant, so each mutant would count as killed; mend that first.")
        return 2
    print(f"{len(known.seconds)} tests take {sum(known.seconds.values()):.0f} s", flush=True)
    left, fork = 0, multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory() as scratch, fork.Pool(args.jobs, own_copy, (scratch,)) as pool:
        for mutant, lives in zip(chosen, pool.imap(partial(survives, known, args.limit), chosen), strict=True):
            left += lives
            print(f"{'SURVIVED' if lives else 'killed  '} {mutant}", flush=True)
    print(f"{len(chosen) - left} of {len(chosen)} killed")
    return 0 if left * 10 <= len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
