"""klpteach vm fetch | build | run | record | compare: the command line's way to real kernels.

What a verb needs is imported when it runs: `klpteach --help` stays quick.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .fetch import PACKAGE, fetch
from .host import HostError


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `vm` and its own verbs to the command line."""
    parser = verbs.add_parser("vm", help="run and record stories on real kernels under QEMU")
    inner = parser.add_subparsers(required=True, metavar="VERB")

    verb = inner.add_parser("fetch", help="download Debian's kernels into the cache")
    verb.add_argument("--kernel", action="append", choices=list(PACKAGE), help="default: all")
    verb.set_defaults(run=vm_fetch)

    what = "compile the guest's first program; for ppc64le and s390x also the kernels (20 minutes)"
    verb = inner.add_parser("build", help=what)
    verb.add_argument("--arch", default="x86_64", choices=["x86_64", "ppc64le", "s390x"])
    verb.set_defaults(run=vm_build)

    verb = inner.add_parser("run", help="run a story on a real kernel and print what it says")
    verb.add_argument("scenario")
    verb.add_argument("--kernel", default="6.1", help="6.1, 6.12, 7.3, or ARCHITECTURE-RELEASE-VARIANT")
    verb.add_argument(
        "--ko", metavar="FILE.ko", help="your livepatch instead of the course's: kernel and model in a table"
    )
    target = "the module it patches, and what that needs; else Debian's"
    verb.add_argument("--target", action="append", default=[], metavar="FILE.ko", help=target)
    verb.add_argument("--out", metavar="REC.json")
    verb.set_defaults(run=vm_run)

    verb = inner.add_parser("record", help="record stories into data/recordings")
    verb.add_argument("scenario", nargs="*")
    verb.add_argument(
        "--all", action="store_true", help="every story on every kernel it concerns, ppc64le and s390x included"
    )
    verb.add_argument("--kernel", action="append", choices=list(PACKAGE), help="default: all")
    verb.add_argument("--out", type=Path, metavar="DIR", help="default: data/recordings/x86_64")
    verb.set_defaults(run=vm_record)

    verb = inner.add_parser("compare", help="two recordings, or folders: do they differ in more than addresses?")
    verb.add_argument("old", type=Path)
    verb.add_argument("new", type=Path)
    verb.set_defaults(run=vm_compare)


def vm_compare(args: argparse.Namespace) -> int:
    from .record import compare

    steps = found = 0
    for name, count, differences in compare(args.old, args.new):
        for difference in differences:
            print(f"{name}: {difference}")
        steps, found = steps + count, found + len(differences)
    print(f"{steps} steps, {found} differences")
    return int(bool(found))


def vm_fetch(args: argparse.Namespace) -> int:
    for release in args.kernel or PACKAGE:
        print(f"{release}: {fetch(release).image.parent.parent.name}")
    return 0


def vm_build(args: argparse.Namespace) -> int:
    from .build import build_kernel
    from .initramfs import build_agent
    from .variants import VARIANTS

    print(f"the guest's first program: {build_agent(args.arch).name}; modules: make -C data/src")
    for release, variant in VARIANTS.get(args.arch, ()):
        print(f"{release}-{variant}: {build_kernel(args.arch, release, variant).image.parent.name}")
    return 0


def vm_run(args: argparse.Namespace) -> int:
    from ..scenarios.simulate import get
    from .kernels import kernel_named
    from .qemu import progress
    from .record import outcome, record

    if args.ko or args.target:
        return _run_own(args)
    arch, release, variant = kernel_named(args.kernel)
    recording = record(get(args.scenario, arch), release, variant, arch, watch=progress)
    print(file=sys.stderr)
    for step in recording:
        print(f"$ {step.command}", *step.lines, sep="\n")
        if step.errno:
            print(f"= {step.errno}")
    if args.out:
        recording.save(args.out)
    return int(outcome(recording) != "LOADS")


def _run_own(args: argparse.Namespace) -> int:
    from ..files.module_file import ModuleFile
    from .beside import table
    from .kernels import RECORDED, kernel_named
    from .own import own_modules, run_own, story_for_own
    from .qemu import dots
    from .record import outcome

    if not args.ko:
        raise HostError("--target is a module that a livepatch patches; give that with --ko.")
    arch, release, variant = kernel_named(args.kernel)
    story_for_own(args.scenario, arch)
    files = [ModuleFile.open(path) for path in (args.ko, *args.target)]
    kernel = RECORDED[arch].kernel(release, variant)
    own = own_modules(files[0], files[1:], kernel)
    for note in own.notes:
        print(note, flush=True)
    try:
        found = run_own(args.scenario, own, kernel, dots)
    finally:
        print(file=sys.stderr)  # an error's line, too, begins a new one
    real = found.real
    print(f"{real.kernel['release']} ({real.kernel['version']})", *table(found), sep="\n")
    if args.out:
        real.save(args.out)
    return int(bool(found.differences) or outcome(real) != "LOADS")


def vm_record(args: argparse.Namespace) -> int:
    from .kernels import RECORDED
    from .record import record_all

    if not args.all and not args.scenario:
        raise HostError("name stories to record, or --all.")
    kernels = [("x86_64", release, "stock") for release in args.kernel or PACKAGE]
    if args.all and not args.kernel and not args.out:
        kernels = [(arch, *key) for arch, how in RECORDED.items() for key in how.kernels]
    return 2 if record_all([] if args.all else args.scenario, kernels, args.out) else 0
