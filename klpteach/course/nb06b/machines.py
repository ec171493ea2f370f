"""The same four commands on four machines, side by side: each cell but the questions is read off a story."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ...errors import KlpteachError
from ...model.errno import errno_name
from ...model.recording import Recording
from ...model.step import Step
from ...reading.history import History
from ...reading.outcome import outcome_of
from ...reading.slots import old_slots
from ...reading.steps import count
from ...scenarios.scenario import TARGET
from ...scenarios.simulate import simulate
from ...views.table import Table

LIVEPATCH = "livepatch_nfsd_demo"


@dataclass(frozen=True)
class Machine:
    """An architecture on the release that shows it best. elsewhere: its story in which another module takes the old place.

    asks: what the loader asks about what it finds, in words; end: the story in which this machine breaks.
    """

    arch: str
    release: str
    asks: str
    elsewhere: str
    end: str

    def told(self, story: str) -> Recording:
        return simulate(story, self.release, arch=self.arch)


MACHINES = (
    Machine("x86_64", "6.1", "Is the place zero?", "moved", "reload"),
    Machine("ppc64le", "6.1", "Is the word behind a call a nop?", "moved", "reload"),
    Machine("arm64", "7.3", "Nothing.", "moved", "far"),
    Machine("s390x", "6.1", "Has this slot of the GOT been filled before? Then it stays.", "twin", "twin"),
)


def four_machines(machines: Iterable[Machine] = MACHINES) -> Table:
    """What the second, third and fourth command of a reload do on each machine, told by the model.

    >>> four_machines().rows[-2][1:3]
    ['ENOEXEC (−8)', 'ENOEXEC (−8)']
    """
    chosen = tuple(machines)
    reload = [(machine, machine.told("reload")) for machine in chosen]
    heads = ("", *(f"{machine.arch}, Linux {machine.release}" for machine in chosen))
    rows: tuple[tuple[str, Callable[[Machine, Recording], str]], ...] = (
        ("2 `insmod` the livepatch: written", lambda _, told: _written(told)),
        ("3 `rmmod`: still there", lambda _, told: _still_there(told)),
        ("4 `insmod` again: the loader asks", lambda machine, _: machine.asks),
        ("it says", lambda _, told: _says(told)),
        ("errno", lambda _, told: _errno(told[3].errno)),
        ("4′ another module has taken the place", lambda machine, _: _elsewhere(machine)),
    )
    return Table(heads, [[label, *(cell(machine, told) for machine, told in reload)] for label, cell in rows],
                 "The reload, on four machines", labels=True)  # fmt: skip


def endings(machines: Iterable[Machine] = MACHINES) -> Table:
    """A row a machine: what the loader asks, and what becomes of a reload, at the same place and elsewhere.

    >>> endings().rows[3][2:]
    ['loads', 'loads, and 4 slots that the livepatch reads hold the old address: nobody says a word']
    """
    rows = [
        [f"{machine.arch}, Linux {machine.release}", machine.asks,
         "refused" if machine.told("reload")[3].errno else "loads", _elsewhere(machine)]
        for machine in machines
    ]  # fmt: skip
    return Table(("machine", "the loader asks", "back at the same place", "elsewhere"), rows, labels=True)


def _written_keys(history: History) -> list[str]:
    """The sites that the livepatch's own load has written."""
    return [key for key in history.sites if history.states(key)[1].kind == "written"]


def _written(told: Recording) -> str:
    keys = _written_keys(History(told))
    return (
        f"{count(len(keys), 'site')}; the first, `{keys[0].partition(':')[2]}`: `{told[1].bytes_at(keys[0]).hex(' ')}`"
    )


def _still_there(told: Recording) -> str:
    """How many of the sites keep the bytes of the load that has gone, and which slots its addresses."""
    history = History(told)
    keys = _written_keys(history)
    same = sum(told[2].bytes_at(key) == told[1].bytes_at(key) for key in keys)
    table = history.stubs(LIVEPATCH, 2)
    slots = f", and {count(len(table.stale), 'slot')} of {history.arch.stub_words}" if table and table.stale else ""
    return f"{same} of {len(keys)} as they were{slots}"


def _says(told: Recording) -> str:
    return f"`{told[3].lines[0]}`" if told[3].lines else "nothing"


def _errno(errno: int | None) -> str:
    return "0" if not errno else f"{errno_name(errno)} (−{abs(errno)})"


def _elsewhere(machine: Machine) -> str:
    """What the first load at another place comes to."""
    told = machine.told(machine.elsewhere)
    index = [i for i, step in enumerate(told) if step.command == TARGET][1]
    if told[index].errno:
        return "refused as well: the address does not matter"
    stale = old_slots(History(told), index)
    if stale:
        return (
            f"loads, and {count(len(stale), 'slot')} that the livepatch reads hold the old address: nobody says a word"
        )
    return "loads; every site holds the new address"


def by_arch(arch: str) -> Machine:
    """One of the four. Errors: KlpteachError with their names."""
    found = next((machine for machine in MACHINES if machine.arch == arch), None)
    if found is None:
        raise KlpteachError(f"no machine {arch!r} here; there are {', '.join(machine.arch for machine in MACHINES)}.")
    return found


def the_other_end(arch: str) -> Table:
    """The story in which a machine breaks, a row a command: what the kernel says, and what it comes to."""
    machine = by_arch(arch)
    told = machine.told(machine.end)
    rows = [(f"{index + 1} `{step.command}`", _came_back(step), _last_words(step)) for index, step in enumerate(told)]
    end = outcome_of(told)
    return Table(("command", "errno", "it says"), rows, f"{machine.arch}, Linux {machine.release}: {told.title}",
                 note=f"It comes to: {end.kind}. {end.says}")  # fmt: skip


def _came_back(step: Step) -> str:
    if step.oops:
        return "killed"
    return "it never comes back" if step.errno is None else _errno(step.errno)


def _last_words(step: Step) -> str:
    """What a read gave, else the last line of the log; of an oops its first."""
    if step.out:
        return f"`{step.out.strip().splitlines()[0]}`"
    bad = next((line for line in step.lines if step.oops and line.startswith(("BUG:", "Unable to handle"))), "")
    line = bad or (step.lines[-1] if step.lines else "")
    return f"`{line}`" if line else ""
