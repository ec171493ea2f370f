"""klpteach class-link, klpteach progress: the command line's way to a class. What a verb needs is imported when it runs."""

from __future__ import annotations

import argparse
import sys

from ... import errors


def add_parsers(verbs: argparse._SubParsersAction[argparse.ArgumentParser], version: str) -> None:
    """Add both verbs to the command line."""
    parser = verbs.add_parser("class-link", help="a link that gives each student of a JupyterHub a copy of the course")
    parser.add_argument("--hub", required=True, metavar="URL", help="your JupyterHub; it needs nbgitpuller")
    parser.add_argument("--repo", required=True, metavar="URL", help="the course's repository, open to all")
    parser.add_argument("--branch", default=f"v{version}", help=f"a branch or a tag; default: v{version}")
    parser.add_argument("--notebook", default="00", metavar="N", help="what opens: 00 (default) to 09, or talk")
    parser.set_defaults(run=class_link)

    parser = verbs.add_parser(
        "progress", help="a table of a class, from the texts that kt.progress() gave its students"
    )
    parser.add_argument("file", nargs="+", metavar="FILE.txt", help="one a student, named like the student")
    parser.add_argument("--csv", action="store_true", help="a column for each prediction and each exercise")
    parser.set_defaults(run=progress)


def class_link(args: argparse.Namespace) -> int:
    from .link import class_link as link

    print(link(args.hub, args.repo, args.branch, args.notebook))
    return 0


def progress(args: argparse.Namespace) -> int:
    """Exit status 2: some file is no progress text. The others are in the table all the same."""
    from .report import class_csv, class_table, read_class

    students = read_class(args.file)
    if args.csv:
        print(class_csv(students), end="")
    else:
        print(errors.printable(class_table(students).to_text()))
    refused = [student for student in students if student.refused]
    for student in refused:
        print(f"klpteach: {student.name}: {student.refused}", file=sys.stderr)
    return 2 if refused else 0
