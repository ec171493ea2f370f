"""Which tests run which lines, and only those of them again: what makes tests/mutants.py quick.

One run of all tests under coverage, with a context a test, tells it. Each run is a fork of a process that has imported
what is not ours, and sees the copy of the repository that is its current folder.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import coverage
import elftools.elf.elffile
import hypothesis
import numpy
import pandas
import pytest

ROOMS = ("klpteach/model", "klpteach/files")
WARM = (elftools, hypothesis, numpy, pandas)
# hypothesis was imported before pytest could look at its asserts: that is no warning here
PYTEST = ("-q", "--no-header", "--hypothesis-seed=0", "-Wignore::pytest.PytestAssertRewriteWarning")
IMPORT = ""  # the context of what runs before the first test


@dataclass
class Map:
    """What each test takes in seconds of the processor, and by file and line the tests that run it."""

    state: str
    seconds: dict[str, float] = field(default_factory=dict)
    lines: dict[str, dict[int, set[str]]] = field(default_factory=dict)

    def tests_of(self, path: Path, lines: range, at_import: bool) -> list[str]:
        """The tests that run one of these lines, quickest first.

        Of what runs when the file is imported no test is the one that runs it: then those that run anything of the file.
        """
        of_file = self.lines.get(str(path), {})
        found = set().union(*(of_file.get(line, ()) for line in lines))
        if at_import or IMPORT in found:
            found = set().union(*of_file.values())
        return sorted(found & self.seconds.keys() or self.seconds, key=lambda test: self.seconds[test]) if found else []


@dataclass
class Learning:
    """A plugin of pytest: what runs during a test is noted under the test's name."""

    cov: coverage.Coverage
    seconds: dict[str, float] = field(default_factory=dict)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self.cov.switch_context(item.nodeid)
        begun = time.process_time()
        try:
            return (yield)
        finally:
            self.seconds[item.nodeid] = time.process_time() - begun
            self.cov.switch_context(IMPORT)


@dataclass
class Only:
    """A plugin of pytest: of what was collected these tests, in this order."""

    tests: list[str]

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        place = {test: number for number, test in enumerate(self.tests)}
        items[:] = sorted((item for item in items if item.nodeid in place), key=lambda item: place[item.nodeid])


def learn(root: Path, place: Path, tests: Collection[str]) -> Map | None:
    """Run all tests in a copy, PLACE/copy; None where one fails. What was learned is kept while no file is another."""
    copy, kept, now = place / "copy", place / "map.pickle", state_of(root)
    if kept.exists() and (found := pickle.loads(kept.read_bytes())).state == now:
        return found
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(root, copy, ignore=shutil.ignore_patterns(".*", "build", "__pycache__"))

    def run() -> int:
        sys.dont_write_bytecode = False  # so that a mutant's process compiles one file only
        cov = coverage.Coverage(data_file=None, source=[str(copy / room) for room in ROOMS], config_file=False)
        cov.set_option("run:core", "ctrace")  # the one of Python 3.14 notes a line for one test only
        learning = Learning(cov)
        with cov.collect():
            code = pytest.main([*PYTEST, *tests], plugins=[learning])
        found, data = Map(now, learning.seconds), cov.get_data()
        for path in data.measured_files():
            lines = data.contexts_by_lineno(path)
            found.lines[str(Path(path).relative_to(copy))] = {line: set(names) for line, names in lines.items()}
        if not code:
            kept.write_bytes(pickle.dumps(found))
        return code

    return pickle.loads(kept.read_bytes()) if in_a_fork(copy, run, 3600) == 0 else None


def state_of(root: Path) -> str:
    """Another one whenever a file of the library, its data or its tests is another."""
    files = sorted(
        path for top in ("klpteach", "tests", "data") for path in (root / top).rglob("*.*") if path.is_file()
    )
    bodies = (path.read_bytes() for path in files if path.suffix != ".pyc")
    return hashlib.sha256(b"".join(hashlib.sha256(body).digest() for body in bodies)).hexdigest()


def fails(copy: Path, tests: list[str], seconds: int) -> bool:
    """Whether one of these tests fails, or they take longer."""

    def run() -> int:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(1, 2)
        return pytest.main([*PYTEST, "-x", *dict.fromkeys(map(file_of, tests))], plugins=[Only(tests)])

    return in_a_fork(copy, run, seconds) != 0


def file_of(test: str) -> str:
    return test.partition("::")[0]


def in_a_fork(copy: Path, run: Callable[[], Any], seconds: int) -> int:
    """What run() returns in a process of its own with this copy; another number than 0 where it does not end by itself."""
    child = os.fork()
    if not child:
        code = 1
        try:
            signal.alarm(10 * seconds)  # of the clock, for what sleeps for ever; a busy machine shall kill no mutant
            resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
            resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
            os.chdir(copy)
            os.environ["PYTHONPATH"] = str(copy)
            sys.path[:0] = [str(copy)]
            sys.dont_write_bytecode = True
            code = int(run())
            sys.stdout.flush()
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitpid(child, 0)[1]
