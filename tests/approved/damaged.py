"""What a reader is told about each damaged module: one line, of all that is done with a module file.

First what is made of the file: the file written again, its tables, what it patches, its image in memory, its parts and the
stand-ins for its targets. Five digits of the sha256 stand for each, an errno before them where the kernel would refuse. Then
what happens when it is loaded: under which proposal, the errnos, the last line of the first refusal, and five digits for all
that can be seen.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any

from damages import damages, damages_of_many

from klpteach import Kernel, KlpteachError, LoadRefused, ModuleFile, ModuleFormatError, load_image
from klpteach.errors import one_line, printable
from klpteach.files.klp_patch import read_klp_patch
from klpteach.files.samples import sample
from klpteach.files.tables import livepatch_sites
from klpteach.files.write import ElfImage, klp_convert
from klpteach.model.policy import available
from klpteach.model.split import split_per_object
from klpteach.model.step import Step
from klpteach.scenarios.reload import Wanted

# architecture, release, module: targets, and livepatches of all forms; the edge of ppc64le, slots and veneers
SAMPLES = [
    ("x86_64", "6.1", "nfsd_demo"),
    ("x86_64", "6.1", "livepatch_kpatch_two"),
    ("x86_64", "6.12", "livepatch_klp_build"),
    ("x86_64", "7.3", "livepatch_callbacks"),
    ("ppc64le", "6.1", "nfsd_demo"),
    ("ppc64le", "6.1", "livepatch_nfsd_demo"),
    ("ppc64le", "6.12", "livepatch_edge"),
    ("arm64", "7.3", "nfsd_demo"),
    ("arm64", "7.3", "livepatch_fields"),
    ("s390x", "6.1", "nfsd_demo"),
    ("s390x", "6.12", "livepatch_got20"),
    ("s390x", "6.12", "livepatch_nfsd_demo"),
    ("x86_64", "6.12", "livepatch_nfsd_demo many times"),
    ("ppc64le", "6.12", "livepatch_nfsd_demo many times"),
]  # fmt: skip
BASE = {
    "x86_64": 0xFFFFFFFFC0200000,
    "ppc64le": 0xC008000000200000,
    "arm64": 0xFFFF800078000000,
    "s390x": 0x3FF80000000,
}


def lines(arch: str, release: str, module: str) -> Iterator[str]:
    """One line a damage. Half of the damages each, and the proposals take turns: the neighbour in SAMPLES has the others."""
    name, _, many = module.partition(" ")
    file, turn = ModuleFile.open(sample(f"{name}.ko", arch, release)), SAMPLES.index((arch, release, module)) % 2
    kernels = cycle([(), *((name,) for name in available(arch))])
    every = enumerate((damages_of_many if many else damages)(file))
    for what, data in [one for number, one in every if many or not number or number % 2 == turn]:
        yield " | ".join((what, *_answers(data, release, next(kernels))))


def _answers(data: bytes, release: str, proposals: tuple[str, ...]) -> list[str]:
    """First the numbers of what cannot be shown, then what is said in words."""
    said = {"written": _said(lambda: ElfImage.parse(data).to_bytes() + klp_convert(data))}
    try:
        file = ModuleFile(data, "x.ko")
    except ModuleFormatError as error:
        return [_in_words(said), str(error)]
    said["tables"] = _said(lambda: _tables(file))
    said["klp"] = _said(lambda: repr(read_klp_patch(file)).encode())
    said["image"] = _said(lambda: _image(file, release))
    if file.is_livepatch and file.klp:
        said["parts"] = _said(lambda: b"".join(part.data for part in split_per_object(file).values()))
        said["stand-ins"] = _said(lambda: b"".join(one.data for one in Wanted(file).files({}).values()))
    return [_in_words(said), " ".join((*proposals, _story(file, release, proposals)))]


def _in_words(said: dict[str, str]) -> str:
    return " ".join(text if len(text) <= 10 else f"({part}: {text})" for part, text in said.items())


def _said(action: Callable[[], bytes]) -> str:
    try:
        return short(action())
    except LoadRefused as refused:
        return f"{refused.errno}/{short(repr((str(refused), refused.dmesg)).encode())}"
    except KlpteachError as error:
        return one_line(str(error))


def short(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:5]


def _tables(file: ModuleFile) -> bytes:
    frames = (file.sections, file.symbols, file.relocations, livepatch_sites(file))
    plain = (repr(file), file.name, file.arch, file.is_livepatch, file.modinfo_pairs, file.memory_size, file.is_signed)
    return "\n".join([*map(_csv, frames), *map(repr, plain)]).encode(errors="backslashreplace")


def _csv(frame: Any) -> str:
    return str(frame.to_csv(index=False, lineterminator="\n"))


def _image(file: ModuleFile, release: str) -> bytes:
    """All regions, addresses and symbols of the module in memory."""
    exported = lambda name: BASE[file.arch] - 0x1000000 + 64 * len(name)
    image = load_image(file, BASE[file.arch], exported, release)
    regions = b"".join(name.encode() + memory.tobytes() for name, memory in image.memory.items())
    return regions + repr((image.address, image.symbols.tolist(), list(image.sections), image.bases)).encode()


def _story(file: ModuleFile, release: str, proposals: tuple[str, ...]) -> str:
    """Load, remove, reload: errnos, the last line of the log, and all that could be seen."""
    kernel = Kernel(file.arch, release, proposals)
    if file.is_livepatch:
        commands = ["insmod nfsd_demo.ko", file, "rmmod nfsd_demo", "insmod nfsd_demo.ko",
                    f"echo 0 > /sys/kernel/livepatch/{file.name}/enabled", f"rmmod {file.name}", file]  # fmt: skip
    else:
        livepatch = "livepatch_nfsd_demo"
        commands = [f"insmod {livepatch}.ko", file, f"rmmod {file.name}", file,
                    f"echo 0 > /sys/kernel/livepatch/{livepatch}/enabled", f"rmmod {file.name}"]  # fmt: skip
    for command in commands:
        try:
            kernel.insmod(command) if isinstance(command, ModuleFile) else kernel.run(command)
        except KlpteachError as error:
            return f"{told(kernel.recording.steps)} {one_line(str(error))[:60]}"
    return told(kernel.recording.steps)


def told(steps: list[Step]) -> str:
    """A story in a few words: the errnos, the last line of the first refusal, the rest as a number."""
    errnos = " ".join("oops" if step.oops else str(step.errno) for step in steps)
    line = next((step.lines[-1] for step in steps if (step.errno or step.oops) and step.lines), "")
    everything = json.dumps([step.to_json() for step in steps]).encode()
    return " ".join(filter(None, (errnos, printable(line)[:44].strip(), short(everything))))
