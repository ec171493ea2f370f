"""One command and what a kernel did: errno, dmesg, and all that was looked at afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

from ..arguments import checked
from ..errors import RecordingError, one_line, printable, quoted
from .params import kstrtobool
from .schema import STEP


class Command(NamedTuple):
    """One line of a story, taken apart; a leading ~ (do not look afterwards) is dropped.

    >>> Command.parse("insmod livepatch_callbacks.ko pre_patch_ret=-19")
    Command(verb='insmod', what='livepatch_callbacks.ko', rest='pre_patch_ret=-19')
    >>> Command.parse("echo 0 > /sys/kernel/livepatch/livepatch_cumul1/enabled").disables
    'livepatch_cumul1'
    """

    verb: str = ""
    what: str = ""
    rest: str = ""

    @classmethod
    def parse(cls, line: str) -> Command:
        did = cls(*line.removeprefix("~").split(maxsplit=2))
        return did._replace(what=module_name(did.what)) if did.verb in ("rmmod", "modprobe") else did

    @property
    def loads(self) -> bool:
        """Whether it is insmod or modprobe of a module (modprobe -r is neither)."""
        return self.verb in ("insmod", "modprobe") and self.what != "-r"

    @property
    def file(self) -> str:
        """The name of the module file that insmod FILE.ko or modprobe NAME loads; "" for any other command."""
        if not self.loads:
            return ""
        return self.what.rpartition("/")[2] if self.verb == "insmod" else f"{self.what}.ko"

    @property
    def path(self) -> str:
        """Where `echo VALUE > PATH` writes; "" for any other command."""
        return self.rest.removeprefix("> ") if self.verb == "echo" else ""

    @property
    def disables(self) -> str:
        """The livepatch that `echo 0 > …/enabled` takes out of force; "" for any other command."""
        folder, _, attribute = self.path.rpartition("/")
        return folder.rpartition("/")[2] if attribute == "enabled" and kstrtobool(self.what) is False else ""


def module_name(name: str) -> str:
    """A module's name as kmod and the kernel have it: _ for every -. An option, or what makes a defect, stays.

    >>> module_name("nfsd-demo"), module_name("nfsd_demo+symbol-missing"), module_name("-r")
    ('nfsd_demo', 'nfsd_demo+symbol-missing', '-r')
    """
    name, plus, defect = name.partition("+")
    return (name if name.startswith("-") else name.replace("-", "_")) + plus + defect


@dataclass(repr=False)
class Step:
    """One command and what was seen after it; a field that is None was not looked at.

    errno: 0, a negative errno, or None where a program of user space ran (then exit and out). dmesg: (level, line)
    pairs. label: "hung" where the command never came back. modules: rows of /proc/modules, newest first. sites:
    "MODULE:SECTION+0xOFF" -> bytes in memory order.

    >>> Step("rmmod nfsd_demo", errno=-16, dmesg=[(3, "nfsd_demo: in use")])
    <Step 'rmmod nfsd_demo': errno -16, lines 1>
    """

    command: str
    errno: int | None = 0
    dmesg: list[tuple[int | None, str]] = field(default_factory=list)
    quiet: bool = False
    oops: bool = False
    exit: int | None = None
    out: str | None = None
    label: str | None = None
    modules: list[dict[str, Any]] | None = None
    livepatch: dict[str, Any] | None = None
    sections: dict[str, dict[str, int]] | None = None
    symbols: Mapping[str, Sequence[tuple[int, str, str]]] | None = None
    sites: dict[str, bytes] | None = None
    stubs: dict[str, Any] | None = None
    placement: dict[str, dict[str, int]] | None = None

    def __repr__(self) -> str:
        ended = (
            "oops" if self.oops else self.label or (f"errno {self.errno}" if self.exit is None else f"exit {self.exit}")
        )
        return f"<Step {quoted(self.command)}: {printable(str(ended), keep='')}, lines {len(self.dmesg)}>"

    @property
    def did(self) -> Command:
        """The command, taken apart."""
        return Command.parse(self.command)

    @property
    def lines(self) -> list[str]:
        """The text of the dmesg lines."""
        return [text for _, text in self.dmesg]

    @property
    def refused(self) -> bool:
        return (self.errno is not None and self.errno < 0) or bool(self.exit)

    @checked(RecordingError)
    def bytes_at(self, site: str) -> bytes:
        """The bytes at a site ("MODULE:SECTION+0xOFF"). Errors: RecordingError for a site that was not looked at."""
        sites = self.sites or {}
        if site not in sites:
            some = ", ".join(sorted(sites)[:4])
            raise RecordingError(f"{self.command}: no site {one_line(site, 255)} in this step; there are {some} …")
        return sites[site]

    @checked(RecordingError)
    def module(self, name: str) -> dict[str, Any] | None:
        """The row of a module, None where it is not loaded (or nobody looked)."""
        return next((row for row in self.modules or () if row["name"] == name), None)

    def to_json(self) -> dict[str, Any]:
        values = {key: getattr(self, key) for key in _OPTIONAL if getattr(self, key) not in (None, False)}
        values |= {key: _TO_JSON[key](value) for key, value in values.items() if key in _TO_JSON}
        return {"command": self.command, "errno": self.errno, "dmesg": [list(line) for line in self.dmesg], **values}

    @classmethod
    def from_json(cls, raw: Any) -> Step:
        """Errors: RecordingError for anything that is no step."""
        return cls(**{"errno": None, **STEP(raw)})


_OPTIONAL = tuple(one.name for one in fields(Step))[3:]  # all but command, errno, dmesg


def hexa(address: int) -> str:
    """An address as everywhere in the course: 0x and 16 digits.

    >>> hexa(0xffffffffc0201000)
    '0xffffffffc0201000'
    """
    return f"0x{address:016x}"


def _hexa_rows(table: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, str]]:
    return {name: {key: hexa(value) for key, value in row.items()} for name, row in table.items()}


# Addresses and bytes are hexadecimal strings in JSON; schema.py reads them.
_TO_JSON: dict[str, Callable[[Any], Any]] = {
    "modules": lambda rows: [{**row, "base": hexa(row["base"])} for row in rows],
    "sections": _hexa_rows,
    "placement": _hexa_rows,
    "symbols": lambda table: {name: [[hexa(at), *row] for at, *row in rows] for name, rows in table.items()},
    "sites": lambda sites: {key: value.hex() for key, value in sites.items()},
}
