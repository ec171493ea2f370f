"""What the numbers of the first line could be, held against a story: loc in several boots, val against every candidate."""

from __future__ import annotations

from collections.abc import Iterable

from ...files.klp import Site, sites
from ...files.samples import ko_dir, open_ko
from ...model import messages
from ...model.messages import Pointer
from ...model.recording import Recording
from ...model.step import Step, hexa
from ...scenarios.recorded import evidence
from ...scenarios.simulate import simulate
from ...views.table import Table
from .report import message_of

PATCH = "livepatch_nfsd_demo"
BOOTS = ("reload--6.1--REFUSED", "retry--6.1--REFUSED", "moved--6.1--REFUSED")  # one boot of one kernel each
MASK64 = 0xFFFFFFFFFFFFFFFF


def reason(step: Step) -> dict[str, str]:
    """The fields of the step's "nonzero" line; empty where it printed none."""
    line = next((line for line in step.lines if "existing value is nonzero" in line), None)
    return message_of(line)[1] if line else {}


def locs(names: Iterable[str] = BOOTS) -> Table:
    """Every loc that these recordings hold, and the address that it stands for."""
    rows = [
        (f"{boot}", f"{name}, step {number}", f"`{reason(step)['loc']}`", f"`{hexa(place(evidence(name)))}`")
        for boot, name in enumerate(names, start=1)
        for number, step in enumerate(evidence(name), start=1)
        if reason(step)
    ]
    return Table(("boot", "recording", "loc", "the place is at"), rows)


def first_site(recording: Recording) -> Site:
    """The site that the kernel writes first in the sample livepatch: the one that a refusal names."""
    return next(sites(open_ko(ko_dir(release=recording.release), f"{PATCH}.ko")))


def place(recording: Recording) -> int:
    """P of that site: where the livepatch stands in this recording."""
    site = first_site(recording)
    sections = next(step.sections for step in recording if step.sections and PATCH in step.sections)
    return sections[PATCH][site.section] + site.offset


def symbol_values(recording: Recording) -> list[int | None]:
    """S of that site after each step, from /proc/kallsyms: a livepatch symbol keeps what it was last resolved to.

    >>> [hexa(S) for S in symbol_values(simulate("moved"))[3:]]
    ['0xffffffffc0203010', '0xffffffffc020d010']
    """
    wanted = first_site(recording).symbol
    tables = ((step.symbols or {}).get(PATCH, ()) for step in recording)
    return [next((row[0] for row in rows if row[2] == wanted), None) for rows in tables]


def candidates(recording: Recording) -> list[tuple[str, str, int]]:
    """What val could be in the last step: (key, words, number) for the bytes found and every sum, old and new."""
    site, P, values = first_site(recording), place(recording), symbol_values(recording)
    new, old, A = values[-1] or 0, next(S for S in reversed(values[:-1]) if S), site.addend
    found = recording[-1].bytes_at(f"{PATCH}:{site.key}")
    number = int.from_bytes(found, "little", signed=True) & MASK64
    return [
        ("found", f"the bytes found there, {found.hex(' ')}, as a number", number),
        ("old", "S + A of the first load", old + A & MASK64),
        ("new", "S + A of this load", new + A & MASK64),
        ("distance", "S + A − P of this load", new + A - P & MASK64),
    ]


def val_is(recording: Recording) -> str:
    """Which candidate the last step's val is: "found", "old", "new" or "distance"; the first that fits."""
    val = int(reason(recording[-1])["val"], 16)
    return next(key for key, _, number in candidates(recording) if number == val)


def what_val_is(recording: Recording) -> Table:
    """Every candidate for val beside what the last step printed.

    >>> [row[2] for row in what_val_is(simulate("moved", "6.1")).rows]
    ['', '', '← this one', '']
    """
    val = reason(recording[-1])["val"]
    rows = [(words, f"`{hexa(n)}`", "← this one" if f"{n:x}" == val else "") for _, words, n in candidates(recording)]
    marked = [number for number, row in enumerate(rows) if row[2]]
    return Table(("candidate", "its value", f"`val {val}`"), rows, marked=marked)


def wordings() -> Table:
    """The first line as each kernel words it, for one and the same refusal (that of the story "moved")."""
    story = simulate("moved", "6.1")
    P, printed = place(story), reason(story[-1])
    args = {"type": first_site(story).type, "loc": Pointer(P), "sec": 38, "idx": 0}
    hashed, full = printed["loc"], int(printed["val"], 16)
    val = full - P & MASK64
    lines = (
        ("up to 6.2", messages.NONZERO_SKIPPING(**args, val=full).render(lambda _: hashed), "S + A"),
        ("6.3 to 6.18", messages.NONZERO(**args, val=val).render(lambda _: hashed), "S + A − P"),
        ("6.19 and later", messages.NONZERO_619(**args, val=val).render("{:x}".format), "S + A − P"),
    )
    return Table(("kernel", "first line", "val is"), [(k, f"`{line}`", v) for k, line, v in lines])
