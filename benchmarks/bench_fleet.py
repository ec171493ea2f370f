"""How long a fleet takes: python benchmarks/bench_fleet.py [--machines N] [--arch A] [--release R].

For every proposal: seconds of CPU to live through a year, of these seconds what the model took to build the table, and the
same as a ratio to a list of Python objects that draws one random number a machine and day (for a tenth of the machines).
Then the process's largest memory. Nothing here fails a build; a missed goal is printed as missed.
"""

from __future__ import annotations

import argparse
import random
import resource
import time
from collections.abc import Callable

from klpteach.fleet import Fleet
from klpteach.fleet.days import calendar
from klpteach.fleet.states import StateTable
from klpteach.fleet.walk import Walk

GOAL_SECONDS, GOAL_MB = 5.0, 1024.0


def cpu(task: Callable[[], object]) -> float:
    """Seconds of CPU time that a task takes."""
    start = time.process_time()
    task()
    return time.process_time() - start


def plain_loop(machines: int, days: int) -> None:
    """The least that a loop over machine objects would do."""
    rng = random.Random(1)
    states = [0] * machines
    for _ in range(days):
        for number in range(machines):
            if rng.random() < 0.03:
                states[number] ^= 1


def table_again(walk: Walk) -> float:
    """Seconds to ask the model again for every edge that the walk has used."""
    fresh = StateTable(walk.cast, walk.fleet.release, walk.table.proposals, walk.fleet.arch)
    return cpu(lambda: [fresh.follow(state, event) for state, event in walk.table.edges])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--machines", type=int, default=100_000)
    parser.add_argument("--arch", default="x86_64")
    parser.add_argument("--release", default="6.1")
    options = parser.parse_args()
    fleet = Fleet(machines=options.machines, arch=options.arch, release=options.release)
    loop = 10 * cpu(lambda: plain_loop(fleet.machines // 10, fleet.days))
    start = time.process_time()
    year = calendar(fleet)
    drawn = time.process_time() - start
    print(f"{fleet.machines:,} machines, {fleet.days} days, {fleet.arch} {fleet.release}; calendar {drawn:.2f} s")
    print(
        f"{'proposal':24}{'year s':>8}{'model s':>9}{'states':>8}{'commands':>10}{'loop/year':>11}  goal {GOAL_SECONDS:g} s"
    )
    for mix in fleet.mixes:
        start = time.process_time()
        walk = Walk(fleet, year, mix)
        for day in range(fleet.days):
            walk.live(day)
        tally, spent = walk.tally(), time.process_time() - start
        met = "met" if spent + drawn <= GOAL_SECONDS else "MISSED"
        print(
            f"{tally.name:24}{spent:8.2f}{table_again(walk):9.2f}{tally.states:8}{tally.commands:10}{loop / spent:10.0f}x  {met}"
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"largest memory {peak:.0f} MB, goal {GOAL_MB:.0f} MB: {'met' if peak <= GOAL_MB else 'MISSED'}")


if __name__ == "__main__":
    main()
