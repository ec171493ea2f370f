"""klpteach vm fetch | build | run | record | compare: the command line's way to real kernels.

What a verb needs is imported when it runs: `klpteach --help` stays quick.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .fetch import PACKAGE, fetch
from .host import HostError
from .recipes import RECIPES


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `vm` and its own verbs to the command line."""
    parser = verbs.add_parser("vm", help="run and record stories on real kernels under QEMU")
    inner = parser.add_subparsers(required=True, metavar="VERB")

    verb = inner.add_parser("fetch", help="download Debian's kernels into the cache")
    verb.add_argument("--kernel", action="append", choices=list(PACKAGE), help="default: all")
    verb.set_defaults(run=vm_fetch)

    what = "build small kernels, with and without proposals (3 to 10 minutes a release, then seconds each)"
    verb = inner.add_parser("build", help=what)
    verb.add_argument("--arch", default="x86_64", choices=list(RECIPES))
    verb.add_argument("--release", action="append", help="default: all")
    verb.add_argument("--variant", action="append", metavar="NAME", help="such as deny-removal; default: all")
    verb.set_defaults(run=vm_build)

    verb = inner.add_parser("run", help="run a story on a real kernel and print what it says")
    verb.add_argument("scenario")
    verb.add_argument(
        "--kernel",
        default="6.1",
        help="6.1, 6.12, 7.3 (Debian's own), or ARCH-RELEASE-VARIANT such as x86_64-6.1-deny-removal",
    )
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
        "--proposals",
        metavar="ARCH",
        choices=["x86_64", "ppc64le"],
        help="every story on every kernel with a proposal in it, into data/recordings/ARCH-proposals.tar.xz",
    )
    verb.add_argument("--all", action="store_true", help="every story on every kernel it concerns, ppc64le included")
    verb.add_argument("--kernel", action="append", choices=list(PACKAGE), help="default: all")
    verb.add_argument("--arch", choices=["ppc64le", "arm64", "s390x"], help="on all its kernels and variants instead")
    verb.add_argument("--out", metavar="DIR", help="default: data/recordings/x86_64")
    verb.set_defaults(run=vm_record)

    verb = inner.add_parser("try", help="build a kernel with your own patch and see which row of the table it earns")
    verb.add_argument("patch", metavar="FIX.patch", help="against Debian's source of the release")
    verb.add_argument("--kernel", default="6.1", help="6.1, 6.12, ppc64le-6.1 or ppc64le-6.12")
    verb.add_argument("--jobs", type=int, help="stories at a time; default: one a core")
    verb.add_argument("--json", action="store_true", help="the row as one line of JSON")
    verb.add_argument("--again", action="store_true", help="tell the stories anew")
    verb.set_defaults(run=vm_try)

    verb = inner.add_parser("compare", help="two recordings, or folders: do they differ in more than addresses?")
    verb.add_argument("old")
    verb.add_argument("new")
    verb.set_defaults(run=vm_compare)


def vm_compare(args: argparse.Namespace) -> int:
    from .record import compare

    steps = found = 0
    for name, count, differences in compare(Path(args.old), Path(args.new)):
        for difference in differences:
            print(f"{name}: {difference}")
        steps, found = steps + count, found + len(differences)
    print(f"{steps} steps, {found} differences")
    return int(bool(found))


def vm_try(args: argparse.Namespace) -> int:
    from .trial import try_patch

    row = try_patch(
        args.patch, args.kernel, args.jobs, lambda line: print(line, file=sys.stderr, flush=True), args.again
    )
    print(row.to_json() if args.json else row)
    return 0


def vm_fetch(args: argparse.Namespace) -> int:
    for release in args.kernel or PACKAGE:
        print(f"{release}: {fetch(release).image.parent.parent.name}")
    return 0


def vm_build(args: argparse.Namespace) -> int:
    from .build import build_kernel
    from .initramfs import build_agent
    from .variants import VARIANTS

    print(f"the guest's first program: {build_agent(args.arch).name}; modules: make -C data/src")
    known = VARIANTS[args.arch]
    for name in args.variant or ():
        if name not in {variant for _, variant in known}:
            raise HostError(f"no variant {name!r}; there are {', '.join(dict.fromkeys(v for _, v in known))}.")
    wanted = [key for key in known if key[0] in (args.release or [key[0]]) and key[1] in (args.variant or [key[1]])]
    if not wanted:
        raise HostError(f"no such {args.arch} kernel; there are {', '.join(map('-'.join, known))}.")
    for release, variant in wanted:
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
    from ..files.on_disk import check_spared
    from .beside import table
    from .kernels import RECORDED, kernel_named
    from .own import given_files, own_modules, run_own, story_for_own
    from .qemu import dots
    from .record import outcome

    if not args.ko:
        raise HostError("--target is a module that a livepatch patches; give that with --ko.")
    if args.out:
        check_spared((args.ko, *args.target), args.out)
    arch, release, variant = kernel_named(args.kernel)
    story_for_own(args.scenario, arch)
    files = [ModuleFile.open(path) for path in (args.ko, *args.target)]
    given_files(files[0], files[1:], arch)
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

    if args.proposals:
        from .variants.pack import record_proposals

        return 2 if record_proposals(args.proposals) else 0
    if not args.all and not args.scenario:
        raise HostError("name stories to record, or --all.")
    out = Path(args.out) if args.out else None
    kernels = [("x86_64", release, "stock") for release in args.kernel or PACKAGE]
    if args.arch:
        kernels = [(args.arch, *key) for key in RECORDED[args.arch].kernels]
    elif args.all and not args.kernel and not out:
        kernels = [(arch, *key) for arch, how in RECORDED.items() for key in how.kernels]
    return 2 if record_all([] if args.all else args.scenario, kernels, out) else 0
