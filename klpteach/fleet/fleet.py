"""A fleet's parameters: customers, their machines, a year; and the year in numbers.

Every number in Fleet and in CUSTOMERS is an assumption, ours, to be replaced by yours: nobody has measured them. What a
machine does with them is not assumed: the model of the kernel decides, command by command (states.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated

from ..arguments import check_fields, checked
from ..errors import ScenarioError, one_line, quoted
from ..model import arch
from ..model.policy import available, behaviour
from .events import Cast

Mix = tuple[str, ...]
MONTH = 30.0  # days
YEARS = 36_500  # days: a hundred of them
MOST_MACHINES, MOST_MIXES, MOST_MACHINE_DAYS = 10**6, 100, 10**8  # a mix takes some 5 s and 200 MB then
CAST = Cast()
LEFT_OUT: Mapping[str, str] = {
    "races": "Events follow each other. What can go wrong between two of them, the trouble of split-per-object, is not here.",
    "places": "On ppc64le it matters where a target lands. Here it goes round a few places (Cast.places), each no other's; no allocator decides.",
    "size": "Two targets stand for the dozens that a cumulative livepatch has; two editions take turns.",
    "price of a module": "A module that nobody asked for counts as a day, not as attack surface, memory or support calls.",
    "stale bytes": "Nothing follows a stale pointer. Machine-days with stale bytes are a risk that has no price here.",
    "unpatched code": "A day without the livepatch has no price either: how bad it is depends on the bug.",
    "the vendor": "Nobody tests a livepatch before it is shipped, and nobody learns from what happened.",
}


@dataclass(frozen=True)
class Customer:
    """One kind of customer, and how its machines are used. Everything here is an assumption.

    share: part of the fleet, 0 to 1. uses: modules that always run there. on_demand: modules that come and go. missing:
    modules whose hardware is absent, so that their init() says -ENODEV. The rest are mean counts per machine and 30 days:
    reloads of a module in use; loads that fail by themselves, in init(); visits of an on-demand module (visit_days each, on
    average); reboots; hotfixes taken besides the cumulative livepatch.
    """

    name: str
    share: float
    uses: tuple[str, ...] = ()
    on_demand: tuple[str, ...] = ()
    missing: frozenset[str] = frozenset()
    reloads: float = 0.0
    failed_loads: float = 0.0
    visits: float = 0.0
    visit_days: float = 3.0
    reboots: float = 0.05
    hotfixes: float = 0.1
    takes_editions: bool = True

    def __post_init__(self) -> None:
        check_fields(self, ScenarioError)


CUSTOMERS: tuple[Customer, ...] = (
    Customer("file servers", 0.25, ("nfsd_demo", "lockd_demo"), reloads=0.3, failed_loads=0.05),
    Customer("compute nodes", 0.40, hotfixes=0.05),
    Customer("workstations", 0.20, on_demand=("nfsd_demo",), failed_loads=0.05, visits=2.0, reboots=0.3),
    Customer("lock servers", 0.10, ("lockd_demo",), reloads=0.1),
    Customer("no lock hardware", 0.05, ("nfsd_demo",), missing=frozenset(("lockd_demo",)), reloads=0.1),
)


_COUNTS = ("machines", "days", "edition_days", "rollout_days", "care_days")


@dataclass(frozen=True)
class Fleet:
    """The parameters of a fleet. Everything here is an assumption; the seed decides who does what when.

    mixes: proposals to compare, each a tuple of names; () is the release as it is. Default: that, and every proposal that
    the model has, alone. edition_days: days from one cumulative livepatch to the next; rollout_days: within so many days
    every machine has taken it. damaged: part of the hotfixes that arrive with a relocation in the wrong place, 0 to 1.
    moved: part of the reloads during which another module takes the freed place. crash: chance per day that overwritten
    code runs and the machine crashes. care_days: an administrator looks at each machine every so many days, and repairs
    what does not run: withdraws the livepatches, loads what is missing, loads the livepatch again; or reboots.

    >>> Fleet(machines=100).customers[0].name
    'file servers'
    >>> Fleet(damaged=2)
    Traceback (most recent call last):
    klpteach.errors.ScenarioError: damaged is 2: a part of something is between 0 and 1.
    """

    machines: int = 10_000
    days: int = 365
    seed: Annotated[int, range(1 << 63)] = 2019
    arch: str = "x86_64"
    release: str = "6.1"
    mixes: tuple[Mix, ...] = ()
    customers: tuple[Customer, ...] = CUSTOMERS
    edition_days: int = 60
    rollout_days: int = 14
    damaged: float = 0.01
    moved: float = 0.3
    crash: float = 0.1
    care_days: int = 4
    cast: Cast = CAST

    def __post_init__(self) -> None:
        for name in _COUNTS:
            value = getattr(self, name)
            most = MOST_MACHINES if name == "machines" else YEARS
            if type(value) is bool or not isinstance(value, int) or not 1 <= value <= most:
                raise ScenarioError(f"{name} is {quoted(value)}: a whole number from 1 is needed, to {most:,} at most.")
        if self.machines * self.days > MOST_MACHINE_DAYS:
            what = f"{self.machines:,} machines for {self.days:,} days"
            raise ScenarioError(f"{what}: {MOST_MACHINE_DAYS:,} machine-days at most.")
        check_fields(self, ScenarioError)
        for name in ("damaged", "moved", "crash"):
            _check_part(name, getattr(self, name))
        for customer in self.customers:
            _check_customer(customer, self.cast)
        if not self.customers or abs(sum(c.share for c in self.customers) - 1) > 1e-6:
            raise ScenarioError("the customers' shares must add up to 1: the whole fleet.")
        object.__setattr__(self, "mixes", tuple(tuple(mix) for mix in self.mixes or default_mixes(self.arch)))
        if len(self.mixes) > MOST_MIXES:
            raise ScenarioError(f"{len(self.mixes):,} mixes of proposals: {MOST_MIXES} at most are compared.")
        arch.of(self.arch)
        for mix in self.mixes:
            behaviour(self.release, mix, self.arch)  # PolicyError now, not when a year has passed


@checked(ScenarioError)
def default_mixes(arch: str = "x86_64") -> tuple[Mix, ...]:
    """The release as it is, then every proposal of the architecture alone."""
    return ((), *((name,) for name in available(arch, readings=False)))


def _check_part(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ScenarioError(f"{name} is {value}: a part of something is between 0 and 1.")


def _check_customer(customer: Customer, cast: Cast) -> None:
    who = one_line(customer.name, 80) or "a customer without a name"
    _check_part(f"share of {who}", customer.share)
    for name in ("reloads", "failed_loads", "visits", "reboots", "hotfixes"):
        if not 0 <= getattr(customer, name) <= MONTH:
            raise ScenarioError(f"{name} of {who} is {getattr(customer, name)}: 0 to 30 in 30 days.")
    if not 1 <= customer.visit_days <= YEARS:
        raise ScenarioError(f"visit_days of {who} is {customer.visit_days}: 1 to {YEARS:,} days.")
    named = {*customer.uses, *customer.on_demand, *customer.missing}
    if unknown := named - set(cast.targets):
        raise ScenarioError(
            f"{who} names {one_line(', '.join(sorted(unknown)), 200)}; there are {', '.join(cast.targets)}."
        )
    if absent := customer.missing & {*customer.uses, *customer.on_demand}:
        raise ScenarioError(f"{who} uses {', '.join(sorted(absent))}, whose hardware it does not have.")


@dataclass(frozen=True)
class Tally:
    """What a year did to the fleet under one mix of proposals. Counts of the whole fleet; *_days are machine-days.

    down: a module that somebody needs is not there. unpatched: a patched-for module runs without its livepatch. behind:
    not the edition that it should have. pinned: days of modules that cannot be removed. unneeded: days of modules that run
    and nobody asked for. stale: days of modules that are away while bytes for them stay written. overwritten: a damaged
    livepatch is in force. crashes: overwritten code ran, or the kernel itself oopsed while livepatching.
    """

    proposals: Mix
    machines: int
    days: int
    refused_loads: int
    refused_removals: int
    refused_livepatches: int
    damaged_refused: int
    damaged_accepted: int
    pulled_in: int
    oopses: int
    crashes: int
    repairs: int
    machines_refused: int  # saw a refused load at least once
    machines_unpatched: int  # ran unpatched for at least a day
    unpatched_at_end: int  # on the last day
    down_days: int
    unpatched_days: int
    behind_days: int
    overwritten_days: int
    unneeded_days: int
    pinned_days: int
    stale_days: int
    states: int  # different states that the model found
    commands: int  # commands that the model ran to find them

    @property
    def name(self) -> str:
        """The mix in a word: "deny-removal", or "as it is"."""
        return " + ".join(self.proposals) or "as it is"

    def per_machine(self, what: str) -> float:
        """A count divided by the number of machines. Errors: ScenarioError for what is none."""
        count = vars(self).get(what) if isinstance(what, str) else None
        if not isinstance(count, int | float):
            known = ", ".join(name for name, value in vars(self).items() if isinstance(value, int | float))
            raise ScenarioError(f"no count {quoted(what)}; there are {known}.")
        return float(count) / self.machines


@checked(ScenarioError)
def assumptions(fleet: Fleet | None = None) -> Mapping[str, object]:
    """Everything that the fleet assumes: parameter -> value, customers' own as "customer: parameter"."""
    fleet = fleet or Fleet()
    own = {f.name: getattr(fleet, f.name) for f in fields(fleet) if f.name not in ("customers", "mixes", "cast")}
    for customer in fleet.customers:
        own |= {f"{customer.name}: {f.name}": getattr(customer, f.name) for f in fields(customer) if f.name != "name"}
    return own
