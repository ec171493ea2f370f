"""Small changes to the model and to the readers of files, one at a time, and whether the tests notice: make mutants.

    python tests/mutants.py --count 60 --seed 1

Each mutant is run in a copy of the repository, with the tests of its room, until the first of them fails (killed), all pass
(SURVIVED), or it has had its seconds of the processor (killed: it hangs). What survives wants a test, or a comment that says why it is the same program.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from queue import Queue
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
TESTS = {
    "files": "tests/files tests/model/test_relocation.py tests/model/test_edges.py tests/model/test_oracle_ld.py",
    "model": "tests/model/test_edges.py tests/model/test_survivors.py tests/model/test_random_stories.py tests/model/test_selftests.py "
    "tests/model/test_relocation.py tests/model/test_kernel.py tests/model/test_ppc64le.py tests/model/test_proposals.py "
    "tests/scenarios/test_replay.py tests/model/test_oracle_ld.py tests/model/test_oracle_ld_ppc64le.py tests/vm",
}  # fmt: skip
SWAPPED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
ERRNOS = ("EPERM", "ENOENT", "ENOEXEC", "EAGAIN", "ENOMEM", "EBUSY", "EEXIST", "ENODEV", "EINVAL", "ERANGE")


class Mutant(NamedTuple):
    path: Path
    line: int
    old: str
    new: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.old} -> {self.new}"


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


def mutants_of(path: Path) -> Iterator[Callable[[], Mutant]]:
    """Every mutant of a file, made when it is asked for."""
    tree = ast.parse((ROOT / path).read_text())
    outside = {
        id(node) for module in tree.body if isinstance(module, ast.Import | ast.ImportFrom) for node in ast.walk(module)
    }
    for parent in ast.walk(tree):
        for field, value in ast.iter_fields(parent):
            for index, node in enumerate(value if isinstance(value, list) else [value]):
                if isinstance(node, ast.stmt | ast.expr) and id(node) not in outside:
                    for new in changes(node):
                        yield lambda p=parent, f=field, i=index, n=node, w=new: made(path, tree, p, f, i, n, w)  # type: ignore[misc]


def made(path: Path, tree: ast.Module, parent: ast.AST, field: str, index: int, node: ast.AST, new: ast.AST) -> Mutant:
    place = getattr(parent, field)
    many = isinstance(place, list)
    try:
        setattr(parent, field, [*place[:index], new, *place[index + 1 :]] if many else new)
        text = ast.unparse(ast.fix_missing_locations(tree))
    finally:
        setattr(parent, field, place)
    brief = [" ".join(ast.unparse(ast.fix_missing_locations(one)).split())[:90] for one in (node, new)]
    return Mutant(path, getattr(node, "lineno", 0), *brief, text)


def survives(mutant: Mutant, copy_of: Path, limit: int) -> bool:
    """Run the tests of the mutant's room; True where none of them notices."""
    place, room = copy_of / mutant.path, mutant.path.parts[1]
    before = place.read_text()
    place.write_text(mutant.text)
    tests = TESTS[room].split()
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    env = {**os.environ, "PYTHONPATH": str(copy_of), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command, cwd=copy_of, env=env, preexec_fn=partial(at_most, limit), capture_output=True, check=False
        )
    finally:
        place.write_text(before)
    return done.returncode == 0


def at_most(seconds: int) -> None:
    """Of the processor, so that a busy machine kills no mutant."""
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for option, default in (("count", 60), ("seed", 1), ("jobs", 2), ("limit", 300)):
        parser.add_argument(f"--{option}", type=int, default=default)
    parser.add_argument("--under", default="klpteach/model klpteach/files")
    args = parser.parse_args()
    folders = [ROOT / folder for folder in args.under.split()]
    paths = sorted(
        path.relative_to(ROOT)
        for folder in folders
        for path in [*folder.rglob("*.py"), *([folder] if folder.is_file() else [])]
    )
    possible = [make for path in paths for make in mutants_of(path)]
    chosen = [make() for make in random.Random(args.seed).sample(possible, min(args.count, len(possible)))]
    print(f"{len(chosen)} of {len(possible)} mutants", flush=True)
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(args.jobs) as pool:
        copies: Queue[Path] = Queue()
        for number in range(args.jobs):
            ignored = shutil.ignore_patterns(".git", ".venv", "build", "__pycache__", ".*_cache")
            copies.put(Path(shutil.copytree(ROOT, Path(scratch) / str(number), ignore=ignored)))

        # Where a test fails without a mutant, each one would count as killed.
        for path in {mutant.path.parts[1]: mutant.path for mutant in chosen}.values():
            if not survives(Mutant(path, 0, "", "", (ROOT / path).read_text()), copies.queue[0], args.limit):
                print(f"{path.parts[1]}: its tests fail as it is; mend that first")
                return 2

        def one(mutant: Mutant) -> bool:
            place = copies.get()
            try:
                lives = survives(mutant, place, args.limit)
            finally:
                copies.put(place)
            print(f"{'SURVIVED' if lives else 'killed  '} {mutant}", flush=True)
            return lives

        left = sum(pool.map(one, chosen))
    print(f"{len(chosen) - left} of {len(chosen)} killed")
    return 0 if left * 10 <= len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
