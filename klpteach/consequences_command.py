"""The command `klpteach consequences`; what it needs is imported when it runs."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import Any


def add_parser(verbs: Any) -> None:
    """Add the verb to klpteach's command line."""
    verb = verbs.add_parser("consequences", help="run every story with every proposal, and show what each comes to")
    verb.add_argument("--arch", action="append", choices=("x86_64", "ppc64le"))
    verb.add_argument("--release", action="append", choices=("6.1", "6.12"))
    form = verb.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="one line a cell, as in data/consequences.csv")
    form.add_argument("--json", action="store_true")
    verb.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Compute the table and print it. Exit status 0: that some cells are bad is no error."""
    from .discussion.consequences import ARCHES, RELEASES, compute, to_csv
    from .discussion.consequences_text import by_kernel, grid, legend

    rows = compute(args.arch or ARCHES, args.release or RELEASES)
    if args.csv:
        print(to_csv(rows), end="")
    elif args.json:
        print(json.dumps([asdict(row) for row in rows]))
    else:
        print("\n\n".join(grid(part) for part in by_kernel(rows)), "", legend(), sep="\n")
    return 0
