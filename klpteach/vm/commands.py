"""klpteach vm fetch | build | run | record | compare: the command line's way to real kernels."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .fetch import PACKAGE, fetch
from .host import HostError

if TYPE_CHECKING:
    from ..model.recording import Recording


def add_parser(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `vm` and its own verbs to the command line."""
    parser = verbs.add_parser("vm", help="run and record stories on real kernels under QEMU")
    inner = parser.add_subparsers(required=True, metavar="VERB")

    verb = inner.add_parser("fetch", help="download Debian's kernels into the cache")
    verb.add_argument("--kernel", action="append", choices=list(PACKAGE), help="default: all")
    verb.set_defaults(run=vm_fetch)

    verb = inner.add_parser(
        "build", help="compile the guest's first program; for ppc64le also the kernels (20 minutes)"
    )
    verb.add_argument("--arch", default="x86_64", choices=["x86_64", "ppc64le"])
    verb.set_defaults(run=vm_build)

    verb = inner.add_parser("run", help="run a story on a real kernel and print what it says")
    verb.add_argument("scenario")
    verb.add_argument("--kernel", default="6.1", help="6.1, 6.12, or ppc64le-RELEASE-VARIANT")
    verb.add_argument("--out", metavar="REC.json")
    verb.set_defaults(run=vm_run)

    verb = inner.add_parser("record", help="record stories into data/recordings")
    verb.add_argument("scenario", nargs="*")
    verb.add_argument("--all", action="store_true", help="every story on every kernel it concerns, ppc64le included")
    verb.add_argument("--kernel", action="append", choices=list(PACKAGE), help="default: all")
    verb.add_argument("--out", metavar="DIR", help="default: data/recordings/x86_64")
    verb.set_defaults(run=vm_record)

    verb = inner.add_parser(
        "compare", help="two recordings, or folders of them: do they differ in more than addresses?"
    )
    verb.add_argument("old", type=Path)
    verb.add_argument("new", type=Path)
    verb.set_defaults(run=vm_compare)


def vm_compare(args: argparse.Namespace) -> int:
    from .compare import compare

    steps = found = 0
    for name, count, differences in compare(args.old, args.new):
        print(*(f"{name}: {difference}" for difference in differences), sep="\n", end="\n" * bool(differences))
        steps, found = steps + count, found + len(differences)
    print(f"{steps} steps, {found} differences")
    return int(bool(found))


def vm_fetch(args: argparse.Namespace) -> int:
    for release in args.kernel or PACKAGE:
        kernel = fetch(release)
        print(f"{release}: {kernel.package}")
    return 0


def vm_build(args: argparse.Namespace) -> int:
    from .build import build_kernel
    from .initramfs import build_agent
    from .kernels import KERNELS

    print(f"the guest's first program: {build_agent(args.arch).name}; modules: make -C data/src")
    for release, variant in KERNELS if args.arch == "ppc64le" else ():
        print(f"{release}-{variant}: {build_kernel(release, variant).folder.name}")
    return 0


def vm_run(args: argparse.Namespace) -> int:
    from ..scenarios.simulate import get
    from . import record_ppc64le as ppc64le
    from .kernels import STORIES
    from .qemu import progress
    from .record import outcome, record

    kernel = args.kernel.removeprefix("ppc64le-")
    if kernel != args.kernel:
        release, _, variant = kernel.partition("-")
        known = STORIES.get(args.scenario)
        recording = ppc64le.record(known or get(args.scenario), release, variant or "stock", watch=progress)
    else:
        recording = record(get(args.scenario), args.kernel, watch=progress)
    print(file=sys.stderr)
    for step in recording:
        print(f"$ {step.command}", *step.lines, *([f"= {step.errno}"] if step.errno else []), sep="\n")
    if args.out:
        recording.save(args.out)
    return int(outcome(recording) != "LOADS")


def vm_record(args: argparse.Namespace) -> int:
    from ..files.samples import data_dir, ko_dir
    from ..model.recording import Recording
    from ..scenarios.course import SCENARIOS
    from ..scenarios.evidence import evidence
    from ..scenarios.proposals import ON_ANY_KERNEL
    from ..scenarios.simulate import get
    from .exports import write_exports
    from .record import record

    names = [*SCENARIOS, *evidence(), *ON_ANY_KERNEL] if args.all else args.scenario
    if not names:
        raise HostError("name stories to record, or --all.")
    folder = Path(args.out) if args.out else data_dir() / "recordings" / "x86_64"
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        for release in args.kernel or PACKAGE:
            save(record(get(name), release), folder, release)
    if not args.out:
        for release in args.kernel or PACKAGE:
            write_exports(ko_dir("x86_64", release), map(Recording.load, folder.glob(f"*--{release}--*.json")))
    if args.all and not args.kernel and not args.out:
        from .record_ppc64le import record_all

        return 2 if record_all() else 0
    return 0


def save(recording: Recording, folder: Path, release: str) -> None:
    """Write a recording under the name of its story, its kernel and its outcome; an older outcome's file goes."""
    from .record import outcome

    path = folder / f"{recording.scenario}--{release}--{outcome(recording)}.json"
    for old in folder.glob(f"{recording.scenario}--{release}--*.json"):
        old.unlink()
    recording.save(path)
    print(f"{path.name}: {len(recording)} steps", flush=True)
