"""Everything about one proposal on one page: what it switches, what it costs, what it leaves open, who was for and against."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from html import escape

from ..errors import PolicyError, one_of
from ..model.policy import PROPOSALS, RELEASES, Behaviour, Proposal
from ..reading.outcome import ENDINGS
from .consequences import QUESTIONS, by_kernel, read_consequences
from .costs import Cost, costs_of
from .thread import ONE_SIDED, Statement, lore, positions

ASKS = {question.key: question.asks for question in QUESTIONS}
# What speaks for each, in a sentence, at its strongest.
GIVES = {
    "remove-check": "The reload works, with less code than before, on x86_64 at once.",
    "deny-removal": "What is patched stays, as with every module that another one uses: nothing is left to take back.",
    "clear-relocations": "The reload works at any address, rmmod stays possible, and no stale address is left in the livepatch.",
    "clear-checked": "The same, and bytes that somebody else wrote are noticed: it is what 6.3 does on x86_64.",
    "tolerate-r2": "The reload works with a dozen lines: it is what 6.3 does on ppc64le.",
    "reuse-stub": "Forty reloads of forty succeed on real kernels, and the table of stubs stays as it was.",
    "keep-plt": "Every load succeeds, however far the target goes and however often, and nothing is written behind the table.",
    "clear-got": "A dozen lines in the place that 6.3 made for it, and after a reload elsewhere every slot is right.",
    "hard-dependencies": "No module is ever patched while it loads; the code and the order of events for that could go.",
    "half-loaded": "As hard-dependencies, and no init() runs that nobody asked for; absent hardware does not matter.",
    "split-per-object": "Each load begins with fresh bytes: nothing to check, to clear, or to pin, and nothing unasked is loaded.",
    "no-late-patching": "What the livepatch does is decided when it is loaded; nothing happens to it later.",
    "clear-also-on-error": "As clear-relocations, and the hole that even 6.12 has, a load that fails half way, is closed with one call.",
    "clear-checked-kept": "As clear-checked, and a refused load says what the release always said.",
    "refuse-vulnerable": "As refuse-unpatched, and a machine that has the fixed file installed is not kept from using it.",
    "refuse-unpatched": "As no-late-patching, and no module ever runs without the fix that an enabled livepatch has for it.",
}
# Questions that follow from the code, whoever proposes it.
LEAVES_OPEN = {
    "remove-check": (
        "A relocation at a wrong place overwrites an instruction, and nobody says so: story corrupted.",
        "While the target is away its old addresses stay in the livepatch.",
        "ppc64le has another check, at the call: nothing changes there.",
    ),
    "deny-removal": (
        "A target whose first load fails was never removed, and is refused the next time: story init-fails.",
        "A module that is going away cannot be held any more, so nothing may be patched in it from then on.",
        "A target whose init() fails must be let go, although the livepatch stays.",
        "An atomic replace must hand its targets over, and let go of those that only the old livepatch patched.",
        "After a forced transition nobody knows who still runs the old code: livepatch and targets stay for good.",
    ),
    "clear-relocations": (
        "A livepatch that fails half way is not in the list of what is taken back: story half-way.",
        "Bytes that somebody else wrote there are wiped out with the rest.",
        "On ppc64le the stubs stay, and with reuse-stub a cleared call no longer finds its own.",
        "On s390x it puts back sites that were right, and the slot that is wrong stays: it does not help there.",
    ),
    "clear-checked": (
        "A livepatch that fails half way is not in the list of what is taken back: story half-way.",
        "One foreign write to a site, and the rest of its section is not cleared: story foreign-write.",
    ),
    "tolerate-r2": ("Each move needs new stubs, none is given back, and the table has an end: stories moved, edge.",),
    "reuse-stub": ("Nobody has reviewed it. A call that was cleared no longer leads to its stub.",),
    "keep-plt": (
        "No kernel with it was built. Half of it, the alias alone, was, and there the table ran out at the first move.",
    ),
    "clear-got": (
        "Nobody has reviewed it. After a load that fails half way the kernel does not clear the livepatch that failed, "
        "so its slots stay as they are: story slot-half-way.",
    ),
    "hard-dependencies": (
        "Modules are loaded that nobody uses, each with its init(): story one-in-use.",
        "One target that is not installed, forbidden, or without hardware keeps the fix away from all the others.",
        "No patched module can be removed, not even under a livepatch that is disabled and still loaded.",
    ),
    "half-loaded": (
        "A new state of modules, in which a module is there, patched, and does nothing.",
        "What is not installed is not there to be half-loaded either.",
    ),
    "split-per-object": (
        "The parts of one fix come into force one after the other: story spanning.",
        "Which part a loading target gets is decided before it has it: story race.",
        "The kernel waits for user space in the middle of a load, which may want to load modules itself.",
    ),
    "no-late-patching": (
        "A module that is loaded later comes up without its fix, and nothing says so: story target-later.",
        "After rmmod and reload too: the fix is gone until the livepatch is loaded anew.",
    ),
    "refuse-unpatched": (
        "A module that comes later does not come at all, a fixed file on disk neither, until the livepatch is disabled.",
    ),
    "refuse-vulnerable": (
        "Somebody must say which builds of a module are to be refused, and a livepatch has no place for it.",
    ),
    "clear-also-on-error": ("Bytes that somebody else wrote there are wiped out where the clearing does not compare.",),
    "clear-checked-kept": (
        "One foreign write to a site, and the rest of its section is not cleared: story foreign-write.",
    ),
}


_TIERS = {
    "A": "could go if every target is loaded with the livepatch and stays",
    "B": "could go besides, since every relocation is then written when the livepatch is loaded",
}


@dataclass(frozen=True)
class Dossier:
    """A proposal with its switches (name, before, after on 6.1), costs, open questions and statements. Prints as text."""

    proposal: Proposal
    switches: tuple[tuple[str, object, object], ...]
    costs: tuple[Cost, ...]
    leaves_open: tuple[str, ...]
    statements: tuple[Statement, ...]

    def parts(self) -> Iterator[tuple[str, list[str]]]:
        """(heading, lines) of the page."""
        yield "Gives", [GIVES[self.proposal.name]]
        yield "As it is read here", [self.proposal.chosen]
        yield "In the model", [f"{name}: {before} -> {after}" for name, before, after in self.switches]
        yield "Real kernels", list(_seen(self.proposal))
        yield "Lines of the kernel", _cost_lines(self.costs) or ["nobody counted"]
        yield "Leaves open", list(self.leaves_open)
        for position, heading in (("for", "For"), ("against", "Against"), ("asks", "Asks")):
            found = [_spoken(s) for s in self.statements if s.position == position]
            if found:
                yield heading, found
        name = self.proposal.reading_of or self.proposal.name
        if name in ONE_SIDED:
            yield "Only one side, or none", [ONE_SIDED[name]]

    def __str__(self) -> str:
        head = f"{self.proposal.name}: {self.proposal.summary}"
        return "\n".join(
            [head, *("\n".join([f"\n{title}", *map("  {}".format, said)]) for title, said in self.parts())]
        )

    __repr__ = __str__

    def _repr_html_(self) -> str:
        page = f"<p><strong>{escape(self.proposal.name)}</strong>: {escape(self.proposal.summary)}.</p>"
        for title, lines in self.parts():
            page += f"<h4>{escape(title)}</h4><ul>{''.join(f'<li>{_linked(line)}</li>' for line in lines)}</ul>"
        return page


def about_proposal(name: str) -> Dossier:
    """The page about a proposal. Errors: PolicyError for an unknown name.

    >>> print(str(about_proposal("clear-checked"))[:88])
    clear-checked: when the target goes, write zeros where the bytes are still the livepatch
    """
    one_of(name, PROPOSALS, "proposal", PolicyError)
    before = RELEASES["6.1"]
    after = PROPOSALS[name].change(before)
    switches = ((one.name, getattr(before, one.name), getattr(after, one.name)) for one in fields(Behaviour))
    changed = tuple(switch for switch in switches if switch[1] != switch[2])
    said = tuple(positions(PROPOSALS[name].reading_of or name))  # nobody spoke of one reading alone
    return Dossier(PROPOSALS[name], changed, costs_of(name), LEAVES_OPEN[name], said)


def _seen(proposal: Proposal) -> Iterator[str]:
    """For every kernel of the table: how many of its stories a kernel with this patch has told, and one of them by name."""
    if proposal.reading_of:
        yield f"Not in the table of consequences: another reading of {proposal.reading_of}."
        return
    for cells in by_kernel(row for row in read_consequences() if row.chosen == (proposal.name,)):
        where, seen = f"{cells[0].arch} {cells[0].release}", [row for row in cells if row.recording]
        if seen:
            one = next((row for row in seen if not row.as_wished), seen[0])
            ends = f"{ASKS[one.question]}: {ENDINGS[one.kind].words}"
            yield f"{where}: {len(seen)} of {len(cells)} stories. {ends}: {one.evidence}"
        else:
            yield f"{where}: the model's word, {len(cells)} stories"


def _cost_lines(costs: tuple[Cost, ...]) -> list[str]:
    """Patch series one by one; what could go as a sum a tier."""
    series = (c for c in costs if not c.tier)
    lines = [
        f"{c.item}: +{c.added}{'' if c.removed is None else f'/-{c.removed}'} ({c.kernel}; {c.note})" for c in series
    ]
    for tier, when in _TIERS.items():
        mine = [c for c in costs if c.tier == tier]
        if mine:
            physical, code = sum(c.removed or 0 for c in mine), sum(c.code_removed or 0 for c in mine)
            lines.append(f"{when}: {physical} lines, {code} of code, in {len(mine)} places of {mine[0].kernel}")
    return lines


def _linked(line: str) -> str:
    """A line as HTML; a Message-ID at its end leads to the mail."""
    said, _, rest = line.partition(" <")
    mail = rest.removesuffix(">")
    return f'{escape(said)} <a href="{escape(lore(mail))}">{escape(mail)}</a>' if "@" in rest else escape(line)


def _spoken(statement: Statement) -> str:
    quote = f' "{statement.quote}"' if statement.quote else ""
    where = f"<{statement.message_id}>" if statement.message_id else statement.where
    return f"{statement.date} {statement.person}: {statement.says}.{quote} {where}"
