"""The command line: inspect, relocate, simulate, replay, explain, consequences, and vm (real kernels).

Exit status: 0 fine, 1 a difference or a refused load was found, 2 bad input, with one line that says what.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .errors import KlpteachError, LoadRefused, printable


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit status.

    >>> main(["simulate", "nonsense"])
    2
    """
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError):  # a terminal that knows ASCII only still gets every line
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    args = _parser().parse_args(argv)
    try:
        return int(args.run(args))
    except KlpteachError as error:
        print(f"klpteach: {error}", file=sys.stderr)
        return 1 if isinstance(error, LoadRefused) else 2
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader (head, less) has had enough
            return 0
        print(f"klpteach: {error.filename or 'a file'}: {error.strerror}", file=sys.stderr)
        return 2


def say(*lines: str) -> None:
    print(printable("\n".join(lines)))


def _parser() -> argparse.ArgumentParser:
    from .vm.commands import add_parser

    about = "Livepatch relocations and module reload, on real module files."
    parser = argparse.ArgumentParser(prog="klpteach", description=about)
    verbs = parser.add_subparsers(required=True, metavar="COMMAND")

    def verb(run: Callable[[argparse.Namespace], int], words: str) -> argparse.ArgumentParser:
        added = verbs.add_parser(run.__name__, help=words)
        added.set_defaults(run=run)
        return added

    add = verb(inspect, "what a module file holds, what it patches, whether it survives a reload").add_argument
    add("file")
    target = "the module it patches (else a stand-in is used)"
    add("--target", action="append", default=[], metavar="FILE.ko", help=target)
    add("--json", action="store_true")

    add = verb(relocate, "write the memory image of a module at an address").add_argument
    add("file")
    base = "address of the core block, or text=HEX,data=HEX,… for 6.4 and later"
    add("--base", required=True, metavar="HEX", help=base)
    add("--symbols", required=True, metavar="FILE.json", help='{"name": "0xaddress", …} for undefined symbols')
    add("--release", default="6.1")
    add("--out", required=True, metavar="IMAGE")
    add("--json", action="store_true")

    add = verb(simulate, "run a story in the model, print what the kernel says and a verdict").add_argument
    add("scenario")
    add("--arch", default="x86_64")
    add("--release", default="6.1")
    add("--proposal", action="append", default=[], metavar="P")
    add("--out", metavar="REC.json")
    add("--json", action="store_true")

    add = verb(replay, "run a recording's commands in the model and print every difference").add_argument
    add("recording")
    add("--ko", metavar="DIR", help="holds <arch>-<release>/FILE.ko; default: the project's own modules")
    add("--json", action="store_true")

    add = verb(explain, "explain dmesg lines").add_argument
    add("file", nargs="?", default="-", help="a file, or - for standard input")
    add("--ko", metavar="DIR", help="module files that may stand behind the lines")
    add("--json", action="store_true")

    table = verb(consequences, "run every story with every proposal, and show what each comes to")
    table.add_argument("--arch", action="append", choices=("x86_64", "ppc64le"))
    table.add_argument("--release", action="append", choices=("6.1", "6.12"))
    add = table.add_mutually_exclusive_group().add_argument
    add("--csv", action="store_true", help="one line a cell, as in data/consequences.csv")
    add("--json", action="store_true")

    add_parser(verbs)
    return parser


# -- inspect --------------------------------------------------------------------------------------------------------------


def inspect(args: argparse.Namespace) -> int:
    from .files.module_file import ModuleFile

    file = ModuleFile.open(args.file)
    report = _inspection(file, [ModuleFile.open(path) for path in args.target])
    if args.json:
        print(json.dumps(report, indent=1))
        return 0
    say(
        f"{file.filename}: module {file.name}, {file.arch}, {len(file.shdrs)} sections, {len(file.symtab)} symbols, "
        f"{sum(len(file.rela(i)) for i in file.rela_sections)} relocations"
    )
    say("", f"{'section':<34}{'size':>9}  flags  relocations")
    for row in report["sections"]:
        say(f"{row['name']:<34}{row['size']:>9}  {row['flags']:<5}  {row['relocations'] or ''}")
    say("", *_livepatch_lines(report))
    return 0


def _livepatch_lines(report: dict[str, Any]) -> Iterable[str]:
    if not report["livepatch"]:
        yield "Not a livepatch: its relocations are all written when it is loaded, and nothing waits for another module."
        return
    for obj in report["patches"]:
        yield f"patches {obj['object']}: {', '.join(obj['functions']) or 'no function'}"
    for name, found in report["livepatch_relocations"].items():
        types = ", ".join(f"{count} {kind}" for kind, count in found["types"].items())
        yield f"waits for {name}: {found['count']} livepatch relocations ({types})"
        yield from (f"    {site}" for site in found["sites"])
    for row in report["reload"]:
        where = f" ({row['target']} is a stand-in)" if row["stand_in"] else ""
        yield f"reload of {row['target']} on {row['release']}: {row['outcome']}{where}"
        if row["line"]:
            yield f"    {row['line']}"


def _inspection(file: Any, targets: list[Any]) -> dict[str, Any]:
    from .files.klp import sites

    targets_of = {i: int(file.shdrs["info"][i]) for i in file.rela_sections}
    counts = {file.section_names[at]: len(file.rela(i)) for i, at in targets_of.items() if at < len(file.shdrs)}
    by_object: dict[str, dict[str, Any]] = {}
    for site in sites(file):
        entry = by_object.setdefault(site.object, {"count": 0, "types": Counter(), "sites": []})
        entry["count"] += 1
        entry["types"][file.type_name(site.type)] += 1
        entry["sites"].append(f"{site.key} {file.type_name(site.type)} {site.symbol} {site.addend:+d}")
    return {
        "file": file.filename,
        "name": file.name,
        "arch": file.arch,
        "livepatch": file.is_livepatch,
        "modinfo": file.modinfo,
        "sections": [
            {"name": r.name, "size": int(r.size), "flags": r.flags, "relocations": counts.get(r.name, 0)}
            for r in file.sections.itertuples(index=False)
            if r.name
        ],
        "patches": [
            {"object": o.name or "vmlinux", "functions": [f"{f.old_name},{f.old_sympos or 1}" for f in o.funcs]}
            for o in (file.klp.objects if file.klp else ())
        ],
        "livepatch_relocations": by_object,
        "reload": _reload_rows(file, {t.name: t for t in targets}) if file.is_livepatch and file.klp else [],
    }


def _reload_rows(file: Any, targets: dict[str, Any]) -> list[dict[str, Any]]:
    from .scenarios.reload import survives

    return [
        {
            "target": outcome.target,
            "release": outcome.release,
            "stand_in": outcome.stand_in,
            "outcome": _after_reload(outcome),
            "line": _bad_line(outcome.failed) if outcome.failed else None,
        }
        for outcome in survives(file, targets)
    ]


def _after_reload(outcome: Any) -> str:
    failed = outcome.failed
    if failed:
        return "oops" if failed.oops else f"{failed.command}: {_errno(failed)}"
    return f"works at the same base; at others {outcome.moves}x, then {outcome.ending}" if outcome.ending else "works"


def _bad_line(step: Any) -> str | None:
    return next((text for level, text in step.dmesg if level and level <= 4 and "taint" not in text), None)


def _errno(step: Any) -> str:
    from .model.errno import errno_name

    return f"{errno_name(step.errno or 0)} ({step.errno})"


# -- relocate -------------------------------------------------------------------------------------------------------------


def relocate(args: argparse.Namespace) -> int:
    from .files.module_file import ModuleFile
    from .model.load_image import load_image
    from .model.step import hexa

    file = ModuleFile.open(args.file)
    symbols = _symbols(args.symbols)
    image = load_image(file, _base(args.base), symbols.get, args.release)
    start = min(address for address, _ in image.sections.values())
    start = min([start, *(base for region, base in image.bases.items() if image.layout.sizes[region])])
    flat = bytearray()
    for region in sorted((r for r in image.bases if image.layout.sizes[r]), key=lambda r: image.bases[r]):
        offset = image.bases[region] - start
        if offset > 1 << 28:
            far = f"{region} lies {offset:#x} bytes behind the first region"
            raise KlpteachError(f"{far}: too far apart for one image file.")
        flat.extend(bytes(max(offset - len(flat), 0)))
        flat[offset : offset + len(image.memory[region])] = image.memory[region].tobytes()
    Path(args.out).write_bytes(flat)
    rows = [
        {"section": name, "address": hexa(address), "image_offset": address - start, "size": len(body)}
        for name, (address, body) in image.sections.items()
    ]
    if args.json:
        print(json.dumps({"image": str(args.out), "start": hexa(start), "size": len(flat), "sections": rows}, indent=1))
        return 0
    say(f"{file.filename} on {args.release}: {len(flat)} bytes from {hexa(start)} written to {args.out}")
    say(*(f"{row['address']}  {row['image_offset']:#9x}  {row['size']:>8}  {row['section']}" for row in rows))
    return 0


def _number(text: Any, what: str) -> int:
    try:
        value = text if isinstance(text, int) else int(str(text), 16)
    except ValueError:
        value = -1
    if not 0 <= value < 1 << 64:
        raise KlpteachError(f"{what}: {text!r} is no 64-bit address in hex.")
    return value


def _base(text: str) -> int | dict[str, int]:
    if "=" not in text:
        return _number(text, "--base")
    pairs = [part.partition("=") for part in text.split(",")]
    return {region: _number(address, f"--base {region}") for region, _, address in pairs}


def _symbols(path: str) -> dict[str, int]:
    try:
        raw = json.loads(Path(path).read_text())
    except OSError as error:
        raise KlpteachError(f"{path}: cannot be read ({error.strerror}).") from None
    except ValueError as error:
        raise KlpteachError(f"{path}: not JSON ({error}).") from None
    if not isinstance(raw, dict):
        raise KlpteachError(f'{path}: an object {{"name": "0xaddress", …}} was expected.')
    return {name: _number(address, f"{path}: symbol {name}") for name, address in raw.items()}


# -- simulate, replay, explain --------------------------------------------------------------------------------------------


def simulate(args: argparse.Namespace) -> int:
    from .reading.history import History
    from .reading.outcome import ENDINGS, outcome_of
    from .reading.verdict import verdict
    from .scenarios.simulate import simulate as run

    recording = run(args.scenario, args.release, args.proposal, args.arch)
    if args.out:
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
        say(f"$ {step.command}", *step.lines, *(step.out or "").splitlines())
        if step.oops or step.errno:
            say(f"= {'oops' if step.oops else _errno(step)}")
    say("", f"{last.headline} {last.because}".strip())
    if outcome.kind not in ("works", "refused"):
        say(f"In the end: {ENDINGS[outcome.kind].words}: {outcome.says}.")
    return int(refused)


def replay(args: argparse.Namespace) -> int:
    from .model.recording import Recording
    from .scenarios.replay import replay as run

    ours, differences = run(Recording.load(args.recording), args.ko)
    if args.json:
        print(json.dumps({"steps": len(ours), "differences": [str(d) for d in differences]}))
    else:
        say(*map(str, differences), f"{len(ours)} steps, {len(differences)} differences")
    return int(bool(differences))


def explain(args: argparse.Namespace) -> int:
    from .reading.log.explain import as_json, as_text, read

    if args.file == "-":
        log = read(sys.stdin.buffer, args.ko)
    else:
        with Path(args.file).open("rb") as stream:
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
