"""What notebook 02 asks: what is in the file where a relocation points, and how many relocations wait for whom."""

from __future__ import annotations

import random
import re
from collections import Counter
from pathlib import Path
from typing import Any

from ...files.klp import livepatch_sections, section_object, sites
from ...files.module_file import ModuleFile
from ...files.samples import data_dir, sample
from ...scenarios.scenario import PATCH, TARGET, Scenario
from ...scenarios.simulate import simulate
from ..checks import same
from ..exercise import Exercise, Problem
from ..question import questions
from .rela_entry import rela_sections_of

TITLE = "a real .ko"
LIVEPATCH = "livepatch_nfsd_demo.ko"


def _livepatch() -> ModuleFile:
    return ModuleFile.open(sample(LIVEPATCH))


def bytes_on_disk() -> str:
    """What the file holds at the first livepatch relocation."""
    file = _livepatch()
    site = next(sites(file))
    body = file.section_bytes(file.section_names.index(site.section))[site.offset : site.offset + site.width]
    known = {bytes(4): "zeros", site.addend.to_bytes(4, "little", signed=True): "addend"}
    return known.get(body, "address")


def position_of_dup() -> str:
    """Which demo_dup the name …demo_dup,2 was resolved to: "second" in symbol table order, or another."""
    symbols = simulate("reload", "6.1")[1].symbols or {}
    dups = [row[0] for row in symbols["nfsd_demo"] if row[2] == "demo_dup"]
    found = next(row[0] for row in symbols["livepatch_nfsd_demo"] if "demo_dup," in row[2])
    return "second" if len(dups) == 2 and found == dups[1] else "argument"


def without_flag() -> str:
    """How a livepatch ends whose relocation section lost SHF_RELA_LIVEPATCH, beside the sound one."""
    load = PATCH.replace(".ko", "+section-not-livepatch.ko")
    sound, broken = (simulate(Scenario("flag", "", "", (TARGET, one)), "6.1")[-1] for one in (PATCH, load))
    if broken.errno:
        return "refused"
    return "works" if broken.sites == sound.sites else "wrong"


QUESTIONS = questions("""
bytes-on-disk
In memory the four bytes at .text+0x17 are f5 cf ff ff: a distance to demo_counter. What does the file hold there?
- address: A distance as well, computed by the linker
  You thought of a program that has been linked. A module is relocatable: nobody knows yet where it will be, or where
  its target is.
- addend: The addend −4: fc ff ff ff
  On i386 you would be right: there the addend waits in the place itself (SHT_REL). x86_64 uses SHT_RELA: the a stands
  for the addend, in the entry.
- zeros: Zeros: 00 00 00 00 => zeros
  Everything that is needed is in the relocation's own entry, so the place can stay empty. The check of notebook 05
  relies on it.

two-sections
The code in .text uses seq_printf, which the kernel exports, and demo_counter, which nfsd_demo does not. How many
relocation sections does .text have in this file?
- 1: One
  One was enough when the compiler was done. Then a tool moved what the loader cannot resolve into a section of its own.
- 2: Two
  One for the module loader, one that waits for nfsd_demo. Both have the same info: the number of .text.
- 3: Three
  A third would be there if this code also waited for a second module, or for vmlinux: one for each object.

sympos-2
One of the symbols is `.klp.sym.nfsd_demo.demo_dup,2`. What does the 2 say?
- argument: demo_dup takes two arguments
  C symbols carry no arguments. The number is the livepatch's own, added by the tool that made the file.
- version: It is version 2 of demo_dup
  Symbol versions end in an @. This number is the livepatch's own.
- second: nfsd_demo has several demo_dup; the second is meant => the second of that name
  Static functions of two source files may share a name. The position counts them in the order of the symbol table; 0
  says that the name is unique.

depends
Ten places in livepatch_nfsd_demo point into nfsd_demo. What does its modinfo say under `depends`?
- target: nfsd_demo
  An ordinary module that uses another's symbol depends on it. But depends is made from SHN_UNDEF symbols, and these are
  SHN_LIVEPATCH.
- nothing: Nothing => nothing
  No symbol of this file is bound by the module loader to nfsd_demo. So nothing loads it first, and nothing keeps it
  from being removed.

no-flag
You clear one bit in the file: SHF_RELA_LIVEPATCH in the flags of .klp.rela.nfsd_demo..text. nfsd_demo is loaded. What
does Linux 6.1 do with the livepatch?
- refused: It refuses the file
  You expect a check. The loader sees an ordinary relocation section and a symbol that is not its business, and goes on.
- works: It loads it, and the relocations are right: the section's name says enough
  The kernel goes by the flag; the name only tells the object. Without the flag the loader does it, too early and with S
  = 0.
- wrong: It loads it, with wrong code => it loads, with wrong code
  The module loader takes the section for its own, and the symbol's value is still 0. Nobody is told.
""", {
    "bytes-on-disk": bytes_on_disk, "two-sections": lambda: str(len(rela_sections_of(_livepatch(), ".text"))),
    "sympos-2": position_of_dup,
    "depends": lambda: "target" if "nfsd_demo" in _livepatch().modinfo.get("depends", "") else "nothing",
    "no-flag": without_flag,
})  # fmt: skip


def _candidates() -> list[Path]:
    """Sample livepatches with more than one livepatch section, of every architecture and release."""
    paths = sorted((data_dir() / "ko").glob("*/livepatch_*.ko"))
    return [path for path in paths if len(livepatch_sections(ModuleFile.open(path))) > 1]


def per_object(file: ModuleFile) -> dict[str, int]:
    """Livepatch relocations by the object that their section waits for."""
    return dict(Counter(site.object for site in sites(file)))


def _count(rng: random.Random) -> Problem:
    path = rng.choice(_candidates())
    arch, _, release = path.parent.name.partition("-")
    file, right = ModuleFile.open(path), per_object(ModuleFile.open(path))
    call = f'kt.sample("{path.name}", "{arch}", "{release}")'
    names = [(file.section_names[i], len(file.rela(i))) for i in livepatch_sections(file)]
    by_section = dict(Counter(section_object(name) or "?" for name, _ in names))
    everything = sum(len(file.rela(i)) for i in file.rela_sections)
    slips = [
        (by_section, "You counted sections. Each holds several relocations: 24 bytes an entry."),
        (dict.fromkeys(right, everything), "Those are all relocations of the file; most are for the module loader."),
    ]
    return Problem(
        ask=f"Open `{path.name}`, built for {arch} and Linux {release}:\n\n    file = kt.ModuleFile.open({call})\n\n"
        "How many livepatch relocations wait for each object? Only what is in sections named .klp.rela… counts. By hand: "
        '`file.sections[["name", "size"]]` lists them, and an entry is 24 bytes.',
        answer=right,
        form="object and number, as a dictionary {'nfsd_demo': 3} or as text \"nfsd_demo 3\"",
        judge=lambda answer: _judge_count(answer, right, slips),
        slips=[(wrong, words) for wrong, words in slips if wrong != right],
        hints=("Divide the size of each .klp.rela section by 24, and add up those of one object: it stands before the next dot.",
               "Or count the rows of `file.relocations`: `names = file.relocations.section.astype(str)`, then "
               '`names[names.str.startswith(".klp.rela.")].str.split(".").str[3].value_counts()`'),
        steps=(*(f"`{name}` has {count} {'entry' if count == 1 else 'entries'}" for name, count in names),
               "the object is what stands between .klp.rela. and the next dot",
               f"readelf counts the same: `readelf -rW {path.name}`"),
        because="readelf -rW counts the same.")  # fmt: skip


def _judge_count(answer: Any, right: dict[str, int], slips: list[tuple[dict[str, int], str]]) -> str | None:
    """A dictionary, a Counter or a pandas Series; numpy numbers are numbers."""
    given = answer.to_dict() if hasattr(answer, "to_dict") else answer
    if isinstance(given, str):
        given = {name: int(number) for name, number in re.findall(r"([\w-]+)[\s'\":=]+(\d+)", given)}
    if not isinstance(given, dict):
        return f"Give object and number, like {{{next(iter(right))!r}: 1}}."
    if same(given, right):
        return None
    if slip := next((words for wrong, words in slips if same(given, wrong)), None):
        return slip
    if given.keys() == right.keys():
        return "The objects are right; the numbers are not all."
    there = "is one object" if len(right) == 1 else f"are {len(right)} objects"
    return f"There {there} here; you name {', '.join(map(str, given)) or 'none'}."


EXERCISES = {"count-by-object": Exercise("who waits for whom", _count)}
