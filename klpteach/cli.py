"""The command line: inspect, relocate, simulate, replay, explain, consequences, course, site, for a class, and vm (real kernels).

Exit status: 0 fine, 1 a difference or a refused load was found, 2 bad input, with one line that says what.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from .errors import KlpteachError, LoadRefused, one_line, printable

if TYPE_CHECKING:
    from .model.image import Image
    from .scenarios.inspection import Inspection


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit status.

    >>> main(["simulate", "nonsense"])
    2
    """
    if argv is None:
        sys.unraisablehook = _unraisable
    if sys.stderr is None:  # closed (2>&-): print() would take standard output instead
        sys.stderr = os.fdopen(os.open(os.devnull, os.O_WRONLY), "w")
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError):  # a terminal that knows ASCII only still gets every line
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        if sys.stdout is None:  # closed (>&-)
            raise KlpteachError("standard output is closed: nobody would see what this prints. Try: > FILE")
        args = _parser().parse_args(argv)
        status = int(args.run(args))
        sys.stdout.flush()  # what cannot be written is said here, not by Python as it ends
        return status
    except KeyboardInterrupt:
        if argv is not None:  # a caller in Python
            raise
        return _interrupted()
    except KlpteachError as error:
        print(f"klpteach: {error}", file=sys.stderr)
        return 1 if isinstance(error, LoadRefused) else 2
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            _drop_output()  # the reader (head, less) has had enough
            return 0
        print(one_line(f"klpteach: {error.filename or _unnamed()}: {error.strerror or error}"), file=sys.stderr)
        return 2


def _interrupted() -> int:
    """End by the signal of Ctrl-C, as a shell expects it (status 130), and without Python's account of where it was."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.raise_signal(signal.SIGINT)
    return 130


def _unraisable(what: sys.UnraisableHookArgs) -> None:
    """Ctrl-C in a callback, and imports have many: Python would print it and go on."""
    if what.exc_type is KeyboardInterrupt:
        _interrupted()
    sys.__unraisablehook__(what)


def _unnamed() -> str:
    """What an OSError is about that names no file: standard output, where that takes no more line."""
    try:
        print(flush=True)
    except OSError:
        _drop_output()
        return "standard output"
    return "a file"


def _drop_output() -> None:
    """Python writes what is left of standard output as it ends, and would fail once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Parser(argparse.ArgumentParser):
    """Its errors repeat what was typed. No argument is empty, where it has no type: Path("") would be the current folder."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.register("type", None, not_empty)

    def add_subparsers(self, **kwargs: Any) -> argparse._SubParsersAction[Any]:
        verbs = super().add_subparsers(**kwargs)
        verbs.type = str  # its value is the rest of the line, which its own parser looks at
        return verbs

    def print_help(self, file: Any = None) -> None:
        """At once, so that a full disk is said: argparse would not."""
        print(self.format_help(), end="", file=file, flush=True)

    def error(self, message: str) -> NoReturn:
        super().error(one_line(message))


def not_empty(text: str) -> str:
    """The type of an argument that has no other. Errors: ArgumentTypeError."""
    if not text:
        raise argparse.ArgumentTypeError("it is empty; is a variable of your shell not set?")
    return text


def say(*lines: str) -> None:
    """Each stays one line, whatever a stranger's file has in its names."""
    print(*(printable(line, keep="\xa0") for line in lines), sep="\n")


FIRST_RELEASE = "default: 6.1, or the first of an architecture that came to livepatch later"


def _parser() -> argparse.ArgumentParser:
    from .course.classroom.commands import add_parsers
    from .version import __version__
    from .vm.commands import add_parser

    about = "Livepatch relocations and module reload, on real module files."
    parser: argparse.ArgumentParser = _Parser(prog="klpteach", description=about)
    verbs = parser.add_subparsers(required=True, metavar="COMMAND")

    def verb(run: Callable[[argparse.Namespace], int], words: str) -> argparse.ArgumentParser:
        added = verbs.add_parser(run.__name__, help=words)
        added.set_defaults(run=run)
        return added

    add = verb(inspect, "check a livepatch before it is shipped: does its target survive a reload?").add_argument
    add("file")
    target = "a module that it patches, or whose symbols it takes (else a stand-in is used)"
    add("--sections", action="store_true", help="show the table of sections, too")
    add("--target", action="append", default=[], metavar="FILE.ko", help=target)
    add("--json", action="store_true")

    add = verb(relocate, "write the memory image of a module at an address").add_argument
    add("file")
    base = "address of the core block, or text=HEX,data=HEX,… for 6.4 and later"
    add("--base", required=True, type=str, metavar="HEX", help=base)
    symbols = 'addresses of undefined symbols: /proc/kallsyms, System.map, or JSON {"name": "0xaddress", …}'
    add("--symbols", required=True, metavar="FILE", help=symbols)
    add("--release", type=str, help=FIRST_RELEASE)
    add("--out", required=True, metavar="IMAGE")
    add("--json", action="store_true")

    add = verb(simulate, "run a story in the model, print what the kernel says and a verdict").add_argument
    add("scenario")
    add("--arch", default="x86_64")
    add("--release", type=str, help=FIRST_RELEASE)
    add("--proposal", action="append", default=[], metavar="P")
    add("--out", metavar="REC.json")
    add("--json", action="store_true")

    add = verb(replay, "run a recording's commands in the model and print every difference").add_argument
    add("recording", help="a file, or the name of one of the project's own recordings")
    add("--ko", metavar="DIR", help="holds <arch>-<release>/FILE.ko; default: the project's own modules")
    add("--json", action="store_true")

    add = verb(explain, "explain dmesg lines").add_argument
    add("file", nargs="?", default="-", help="a file, or - for standard input")
    add("--ko", metavar="DIR", help="module files that may stand behind the lines")
    add("--json", action="store_true")

    table = verb(consequences, "run every story with every proposal, and show what each comes to")
    table.add_argument("--arch", action="append", choices=("x86_64", "ppc64le", "arm64", "s390x"))
    table.add_argument("--release", action="append", choices=("6.1", "6.12", "7.3"))
    add = table.add_mutually_exclusive_group().add_argument
    add("--csv", action="store_true", help="one line a cell, as in data/consequences.csv")
    add("--json", action="store_true")

    verb(course, "put the notebooks into a folder, to read and to run them").add_argument("folder", metavar="DIR")

    add = verb(site, "write the course as static pages: no server, no kernel, no network").add_argument
    add("folder", metavar="DIR")
    add("--story", action="append", default=[], metavar="S", help="tell only this one in the explorers")

    add_parsers(verbs, __version__)
    add_parser(verbs)
    return parser


# -- inspect --------------------------------------------------------------------------------------------------------------


def inspect(args: argparse.Namespace) -> int:
    """Exit status 1: a check failed, or a load is refused on the kernel that the livepatch was built for."""
    from .files.module_file import ModuleFile
    from .scenarios.inspection import Inspection, by_name, looks_like_livepatch, sections

    file, targets = ModuleFile.open(args.file), [ModuleFile.open(path) for path in args.target]
    livepatch = looks_like_livepatch(file)
    if targets and not livepatch:
        swapped = next(
            (f": {target.filename} is one; did you swap them?" for target in targets if looks_like_livepatch(target)),
            "",
        )
        raise KlpteachError(f"{file.filename} is not a livepatch{swapped or ', and --target is for a livepatch only.'}")
    found = Inspection(file, by_name(targets))
    if args.json:
        print(json.dumps(found.to_json(), indent=1))
        return int(not found.ok)
    say(found.verdict, "", *_identities(found))
    if livepatch:
        say(*_livepatch_lines(found))
    if args.sections or not livepatch:
        say("", f"{'section':<34}{'size':>9}  flags  relocations")
        say(
            *(f"{r['name']:<34}{r['size']:>9}  {r['flags']:<5}  {r['relocations'] or ''}" for r in sections(found.file))
        )
    return int(not found.ok)


def _identities(found: Inspection) -> Iterable[str]:
    from .scenarios.checks import identity

    for file in (found.file, *found.targets.values()):
        told = identity(file)
        ids = "".join(f", {key} {told[key]}" for key in ("srcversion", "build_id") if told[key])
        yield f"{told['file']}: module {told['name']}, {told['arch']}, vermagic {told['vermagic'] or 'none'}{ids}"


def _livepatch_lines(found: Inspection) -> Iterable[str]:
    yield from _maker(found)
    none = "its functions cannot be seen" if found.by_names else "no function"
    for obj in found.patches():
        yield f"patches {obj['object']}: {', '.join(obj['functions']) or none}"
    if found.checks:
        yield from ("", *map(str, found.checks))
    if found.outcomes:
        yield ""
    mine = "what it was built for" if found.exact else f"the nearest to {found.version}"
    for row in found.rows():
        stand_in = f" ({_stand_ins(row['stand_ins'])})" if row["stand_ins"] else ""
        own = f"  <- {mine}" if row["built_for"] else ""
        yield f"reload of {row['target']} on {row['release']}: {row['outcome']}{stand_in}{own}"
        yield from (f"    {text}" for text in (row["line"], row["note"]) if text)
    refused = {(row["target"], row["site"]): row for row in found.refused_sites()}
    for name, waits in found.waiting().items():
        types = ", ".join(f"{count} {kind}" for kind, count in waits["types"].items())
        plural = "" if waits["count"] == 1 else "s"
        yield from ("", f"waits for {name}: {waits['count']} livepatch relocation{plural} ({types})")
        for site in waits["sites"]:
            left = refused.get((name, site.partition(" ")[0]))
            said = f": left as {left['bytes']}, refused on {', '.join(left['releases'])}" if left else ""
            yield f"    {site}{said}"


def _stand_ins(names: Sequence[str]) -> str:
    return f"{names[0]} is a stand-in" if len(names) == 1 else f"{' and '.join(names)} are stand-ins"


def _maker(found: Inspection) -> Iterable[str]:
    from .scenarios.checks import made_by
    from .scenarios.inspection import leftovers

    told, left = made_by(found.file), leftovers(found.file)
    if told["form"]:
        replace = {True: "replaces older livepatches", False: "replaces none", None: "replace not known"}[
            told["replace"]
        ]
        assumed = " (the tool's default; the file does not say)" if told["replace_assumed"] else ""
        yield f"read from {told['form']}: {replace}{assumed}; callbacks: {', '.join(told['callbacks']) or 'none'}"
    if left:
        yield f"{left} relocations of type 0 are what the tool left in place of livepatch relocations; they are not counted"


def _errno(step: Any) -> str:
    from .model.errno import errno_name

    return f"{errno_name(step.errno or 0)} ({step.errno})"


MOST_APART = 64 << 20  # bytes, from the first region to the last in an image file

# -- relocate -------------------------------------------------------------------------------------------------------------


def relocate(args: argparse.Namespace) -> int:
    from .files.module_file import ModuleFile
    from .files.on_disk import check_can_write, check_spared, write_file
    from .files.symbol_list import read_symbols
    from .model.load_image import load_image
    from .model.policy import default_release
    from .model.step import hexa

    file = ModuleFile.open(args.file)
    symbols = read_symbols(args.symbols, file)
    check_spared((args.file, args.symbols), args.out)
    check_can_write(args.out)
    release = default_release(file.arch) if args.release is None else args.release
    image = load_image(file, _base(args.base), symbols.get, release)
    start = min(address for address, _ in image.sections.values())
    start = min([start, *(base for region, base in image.bases.items() if image.layout.sizes[region])])
    regions = sorted((r for r in image.bases if image.layout.sizes[r]), key=lambda r: image.bases[r])
    for region in regions:
        if (offset := image.bases[region] - start) > MOST_APART:
            far = f"{region} lies {offset:#x} bytes behind the first region"
            raise KlpteachError(f"{far}: too far apart for one image file, {MOST_APART:#x} at most.")
    size = image.bases[regions[-1]] + len(image.memory[regions[-1]]) - start
    write_file(args.out, size, _pieces(image, start, regions))
    rows = [
        {"section": name, "address": hexa(address), "image_offset": address - start, "size": len(body)}
        for name, (address, body) in image.sections.items()
    ]
    if args.json:
        found = {"image": str(args.out), "start": hexa(start), "size": size, "sections": rows}
        print(json.dumps({**found, "doubtful": symbols.doubtful}, indent=1))
        return 0
    say(f"{file.filename} on {release}: {size} bytes from {hexa(start)} written to {args.out}")
    say(*(f"{row['address']}  {row['image_offset']:#9x}  {row['size']:>8}  {row['section']}" for row in rows))
    for name, count in symbols.doubtful.items():
        say(f"{name} has {count} addresses in {args.symbols}; one was taken")
    return 0


def _pieces(image: Image, start: int, regions: Iterable[str]) -> Iterator[bytes]:
    """The bytes of the regions, by address, with zeros between them."""
    end = start
    for region in regions:
        yield bytes(image.bases[region] - end)
        yield image.memory[region].tobytes()
        end = image.bases[region] + len(image.memory[region])


def _base(text: str) -> int | dict[str, int]:
    """--base: an address, or REGION=ADDRESS,… Errors: KlpteachError."""
    from .files.symbol_list import number

    pairs = [part.rpartition("=") for part in text.split(",")]
    if any(sign and not region.strip() for region, sign, _ in pairs):
        raise KlpteachError(f"--base {text}: no region is named before =. Try: --base text=HEX,data=HEX")
    found = {region: number(address, f"--base {region}".rstrip()) for region, _, address in pairs}
    if len(found) < len(pairs):
        raise KlpteachError(f"--base {text}: a region is named twice.")
    return found[""] if list(found) == [""] else found


# -- simulate, replay, explain --------------------------------------------------------------------------------------------


def simulate(args: argparse.Namespace) -> int:
    from .files.on_disk import check_can_write
    from .model.arch import of
    from .model.policy import default_release
    from .reading.history import History
    from .reading.outcome import ENDINGS, outcome_of
    from .reading.verdict import verdict
    from .scenarios.simulate import simulate as run

    of(args.arch)  # an architecture that is not in the model has no release either
    if args.out is not None:
        check_can_write(args.out)
    release = default_release(args.arch) if args.release is None else args.release
    recording = run(args.scenario, release, args.proposal, args.arch)
    if args.out is not None:
        recording.save(args.out)
    history = History(recording)
    last, outcome = verdict(recording, len(recording) - 1, history), outcome_of(recording, history)
    refused = any(step.oops or (step.refused and step.did.loads) for step in recording)
    if args.json:
        found = {
            "scenario": recording.scenario,
            "kernel": recording.kernel,
            "proposals": recording.proposals,
            "steps": [step.to_json() for step in recording],
            "verdict": asdict(last),
        }
        print(json.dumps(found))
        return int(refused)
    for step in recording:
        lines = [line for text in step.lines for line in text.split("\n")]
        say(f"$ {step.command}", *lines, *(step.out or "").splitlines())
        if step.oops or step.errno:
            say(f"= {'oops' if step.oops else _errno(step)}")
    say("", f"{last.headline} {last.because}".strip())
    if outcome.kind not in ("works", "refused"):
        say(f"In the end: {ENDINGS[outcome.kind].words}: {outcome.says}.")
    return int(refused)


def replay(args: argparse.Namespace) -> int:
    from .model.recording import Recording
    from .scenarios.recorded import open_recorded
    from .scenarios.replay import replay as run

    named = not os.path.exists(args.recording) and os.sep not in args.recording and not args.recording.endswith(".json")
    ours, differences = run(open_recorded(args.recording) if named else Recording.load(args.recording), args.ko)
    if args.json:
        print(json.dumps({"steps": len(ours), "differences": [str(d) for d in differences]}))
    else:
        say(*map(str, differences), f"{len(ours)} steps, {len(differences)} differences")
    return int(bool(differences))


def explain(args: argparse.Namespace) -> int:
    from .files.on_disk import open_to_read
    from .reading.log.explain import as_json, as_text, read

    if args.file == "-":
        if sys.stdin is None:
            raise KlpteachError("standard input is closed. Try: dmesg | klpteach explain")
        log = read(sys.stdin.buffer, args.ko)
    else:
        with open_to_read(args.file) as stream:
            log = read(stream, args.ko)
    if args.json:
        print(json.dumps(as_json(log), indent=1))
    else:
        say(*as_text(log))
    return 0


def consequences(args: argparse.Namespace) -> int:
    """Compute the table and print it. Exit status 0: that some cells are bad is no error."""
    from .discussion.consequences import ARCHES, RELEASES, by_kernel, compute, grid, legend, to_csv

    rows = compute(args.arch or ARCHES, args.release or RELEASES)
    if args.csv:
        print(to_csv(rows), end="")
    elif args.json:
        print(json.dumps([asdict(row) for row in rows]))
    else:
        print("\n\n".join(map(grid, by_kernel(rows))), "", legend(), sep="\n")
    return 0


# -- the course -----------------------------------------------------------------------------------------------------------


def course(args: argparse.Namespace) -> int:
    from .course.hand_out import hand_out

    made = hand_out(Path(args.folder))
    say(f"{len(made)} notebooks in {made[0].parent}. Try: jupyter lab --notebook-dir={args.folder}")
    return 0


def site(args: argparse.Namespace) -> int:
    from .site.build import build

    def watch(done: int, of: int) -> None:
        if sys.stderr.isatty():
            print(f"\r{done} of {of} stories told", end="" if done < of else "\n", file=sys.stderr, flush=True)

    size = build(Path(args.folder), args.story, watch)
    say(f"{Path(args.folder) / 'index.html'}: open it in a browser. {size / 1e6:.1f} MB in all.")
    return 0
