"""What a step means, in words, outcome first: the line above the explorer's picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from . import messages
from .history import History, Load, State, is_look, nonzero_line, patch_line
from .recording import Recording, Step, hexa

SYMBOLS = {
    "works": "✓",
    "cleared": "✓",
    "refused": "✗",
    "in-use": "✗",
    "oops": "✗",
    "stale": "!",
    "exists": "!",
    "foreign": "!",
    "info": "·",
    "unknown": "?",
}
ERRNO = {
    1: "EPERM",
    2: "ENOENT",
    8: "ENOEXEC",
    11: "EAGAIN",
    12: "ENOMEM",
    14: "EFAULT",
    16: "EBUSY",
    17: "EEXIST",
    19: "ENODEV",
    22: "EINVAL",
    28: "ENOSPC",
    34: "ERANGE",
    95: "EOPNOTSUPP",
    126: "ENOKEY",
}  # Linux' numbers, whatever runs this
_PLAIN: tuple[tuple[messages.Message, str], ...] = (
    (messages.UNKNOWN_SYMBOL, "It needs {name}, and nothing that is loaded exports it."),
    (messages.NOT_FOUND, "livepatch looked for {name} in the target and did not find it."),
    (messages.AMBIGUOUS, "{object} has {name} more than once, and the livepatch does not say which one it means."),
    (messages.NO_SUCH_POSITION, "The livepatch asks for {name} number {pos} in {object}; there are not so many."),
    (messages.NOT_A_LIVEPATCH, "It asks to be a livepatch, but its modinfo has no livepatch tag."),
    (messages.NOT_MARKED, "A livepatch relocation uses {name}, which is not marked as a livepatch symbol."),
    (messages.BAD_SYMBOL_NAME, "The livepatch symbol {name} is not named as .klp.sym.OBJECT.SYMBOL,POSITION."),
    (messages.BAD_SECTION_NAME, "The section {name} is not named as .klp.rela.OBJECT.SECTION."),
    (messages.VMLINUX_SYMBOL, "A relocation section for a module uses {name}, a symbol of the kernel itself."),
    (messages.OVERFLOW, "The sum {val} does not fit into the bytes of a relocation of type {type}."),
    (messages.UNKNOWN_RELA, "It has a relocation of type {type}, which this kernel does not know."),
    (messages.TARGET_ABSENT, "Its target {target} is not loaded, and this proposal makes that a condition."),
)


@dataclass(frozen=True)
class Verdict:
    """kind: a key of SYMBOLS. headline: the outcome in a few words; because: one to three sentences."""

    kind: str
    headline: str
    because: str = ""

    @property
    def symbol(self) -> str:
        return SYMBOLS[self.kind]

    def __str__(self) -> str:
        return f"{self.symbol} {self.headline} {self.because}".rstrip()


def verdict(recording: Recording, step: int, history: History | None = None) -> Verdict:
    """The verdict on one step of a recording.

    >>> from klpteach.scenarios import simulate
    >>> judged = verdict(simulate("reload"), 2)
    >>> judged.symbol, judged.headline
    ('!', 'Removed, and stale bytes stay.')
    """
    return _Judge(history or History(recording), step).judge()


def errno_words(number: int | None) -> str:
    """An errno as the headline shows it.

    >>> errno_words(-8)
    'ENOEXEC (−8)'
    """
    return f"{ERRNO.get(-number, 'errno')} (−{-number})" if number else ""


def count(number: int, thing: str = "site") -> str:
    """1 site, 2 sites."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def every(number: int) -> str:
    """all 10 sites, both sites, the one site."""
    return {1: "the one site", 2: "both sites"}.get(number, f"all {number} sites")


class _Judge:
    """One step and its history; each method judges one kind of command."""

    def __init__(self, history: History, index: int) -> None:
        self.history, self.index = history, index
        self.step: Step = history.recording[index]
        self.seen = history.seen(index)  # looking changes nothing, so a later look tells the outcome too
        self.words = self.step.command.split()

    def judge(self) -> Verdict:
        step, verb = self.step, self.words[0] if self.words else ""
        if step.oops:
            return Verdict(
                "oops",
                "Oops: the kernel itself failed.",
                f"{step.lines[0] + '.' if step.lines else ''} The command was killed; locks it held stay held.",
            )
        if step.quiet:
            return Verdict(
                "unknown",
                "Nobody looked.",
                "Nothing was recorded after this command; its dmesg lines stand in the next step.",
            )
        table: dict[str, Callable[[], Verdict]] = {
            "insmod": self._load,
            "modprobe": self._load,
            "rmmod": self._remove,
            "echo": self._echo,
            "poke": self._poke,
            "boot": self._boot,
        }
        judge = self._look if is_look(step.command) and verb != "boot" else table.get(verb, self._other)
        return judge()

    # -- loading ------------------------------------------------------------------------------------------------------

    def _load(self) -> Verdict:
        if "-r" in self.words:
            return self._other()
        if self.step.refused:
            return self._refused()
        names = [load.module for load in self.history.attempts_in(self.index)]
        if not names:
            return Verdict("info", "Already there.", "Nothing had to be loaded.")
        patches = {patch for patch, module in patch_line(self.step, messages.APPLYING) if module == names[-1]}
        if patches:
            return self._patched_again(names[-1], sorted(patches))
        is_patch = any(key.startswith(f"{names[-1]}:") for key in self.history.sites) or names[-1] in (
            self.step.livepatch or {}
        )
        return self._livepatch(names[-1]) if is_patch else self._plain_load(names[-1])

    def _patched_again(self, module: str, patches: list[str]) -> Verdict:
        states = self._states(lambda key: self.history.target(key) == module and key.partition(":")[0] in patches)
        written = [s for s in states if s.kind == "written"]
        earlier = self._stale_before(module, patches)
        where = self._where(module)
        if not states:
            return Verdict("works", "Loaded and patched.", f"{module} is there{where}. The sites were not looked at.")
        if earlier:
            why = f"{count(earlier)} still held old bytes; this kernel wrote over them."
        else:
            why = f"The sites were as in the file, so {every(len(written))} could be written."
        return Verdict("works", "Loaded and patched.", f"{module} is there{where}. {why}")

    def _stale_before(self, module: str, patches: list[str]) -> int:
        """How many sites were stale at the latest look before this step."""
        total = 0
        for key in self.history.sites:
            if self.history.target(key) == module and key.partition(":")[0] in patches:
                seen = [state.kind for state in self.history.states(key)[: self.index] if state.value is not None]
                total += bool(seen) and seen[-1] in ("stale", "foreign")
        return total

    def _livepatch(self, patch: str) -> Verdict:
        keys = [key for key in self.history.sites if key.startswith(f"{patch}:")]
        written = [key for key in keys if self._state(key).kind in ("written", "kept")]
        waiting = sorted({self.history.target(key) or "?" for key in keys if self._state(key).kind == "file"})
        if not keys:
            return Verdict("works", "Livepatch loaded.", f"{patch} has no livepatch relocations of its own.")
        if all(self._state(key).kind == "unknown" for key in keys):
            return Verdict("works", "Livepatch loaded.", "Its sites were not looked at.")
        wait = (
            f"{' and '.join(waiting)} {'is' if len(waiting) == 1 else 'are'} not loaded: "
            f"{count(len(keys) - len(written))} stay as in the file."
            if waiting
            else ""
        )
        if not written:
            return Verdict("works", "Livepatch loaded, and it waits.", wait)
        targets = " and ".join(sorted({self.history.target(key) or "its target" for key in written}))
        return Verdict(
            "works",
            "Livepatch loaded and applied.",
            f"{count(len(written))} in its own text and data now hold addresses in {targets}. {wait}".rstrip(),
        )

    def _plain_load(self, module: str) -> Verdict:
        left = [
            key for key in self.history.sites if self.history.target(key) == module and self._state(key).kind == "stale"
        ]
        if left:
            owners = ", ".join(sorted({key.partition(":")[0] for key in left}))
            return Verdict(
                "works",
                "Loaded, not patched.",
                f"{owners} is disabled, so nobody looked at its {count(len(left))} from "
                f"load {self._state(left[0]).load}. They stay stale.",
            )
        return Verdict("works", "Loaded.", f"{module} is there{self._where(module)}.")

    def _where(self, module: str) -> str:
        """at 0x…, and whether that is where it was before."""
        now, before = self._loads(module)
        if now is None or now.base is None:
            return ""
        if before is None or before.base is None:
            return f" at {hexa(now.base)}"
        same = "the same address as before" if before.base == now.base else f"no longer at {hexa(before.base)}"
        return f" at {hexa(now.base)}, {same}"

    def _loads(self, module: str) -> tuple[Load | None, Load | None]:
        """This step's load of a module, and the latest successful one before it."""
        tried = [load for load in self.history.loads if load.module == module and load.first <= self.index]
        earlier = [load for load in tried if load.first < self.index and not load.refused]
        return (tried[-1] if tried else None), (earlier[-1] if earlier else None)

    # -- refusals -----------------------------------------------------------------------------------------------------

    def _refused(self) -> Verdict:
        step, found = self.step, nonzero_line(self.step)
        again = any(load.number > 1 for load in self.history.attempts_in(self.index))
        name = "Reload refused" if again and step.errno == -8 else "Refused"
        if step.errno is None:
            said = (step.out or "").strip().split("\n")[-1]
            because = self._nonzero() if found else self._from_dmesg()
            return Verdict("refused", f"{name}.", f"{because or f'The program said: {said}'}")
        if step.errno == -17:
            return Verdict(
                "exists", f"Already loaded: {errno_words(-17)}.", "A module of this name is there. Nothing changed."
            )
        headline = f"{name}: {errno_words(step.errno)}."
        if found:
            return Verdict("refused", headline, self._nonzero())
        return Verdict(
            "refused", headline, self._init_failed() or self._from_dmesg() or "The kernel gave no reason in its log."
        )

    def _nonzero(self) -> str:
        key = self.history.failing(self.index)
        failed = patch_line(self.step, messages.INIT_FAILED)
        if not failed:
            return (
                "A relocation's place in the module's own file was not zero. That is the damage which the check is for."
            )
        patch, module = failed[0]
        place = f" at {key.partition(':')[2]}" if key else ""
        state = self._known_state(key)
        if state is not None and state.kind == "foreign":
            return f"The bytes of {patch}{place} were not zero: something else wrote there."
        if state is None or state.load is None:
            return f"The bytes of {patch}{place} were not zero."
        same = self._same_place(module, state.load)
        return f"The bytes of {patch}{place} were not zero: they are from load {state.load}. {same}"

    def _same_place(self, module: str, number: int) -> str:
        now = self.history.attempt_at(module, self.index)
        old = next((load for load in self.history.loads if load.module == module and load.number == number), None)
        if now is None or old is None or now.base is None or old.base is None:
            return ""
        if now.base == old.base:
            return f"{module} came back to the same address: the old bytes were even the right ones, and still it is refused."
        return f"{module} would now be at {hexa(now.base)}, not at {hexa(old.base)}: the old bytes point elsewhere."

    def _init_failed(self) -> str:
        file = next((word for word in self.words[1:] if word.endswith(".ko")), "")
        applied = patch_line(self.step, messages.APPLYING)
        if not applied and file not in self.history.recording.init_errno:
            return ""
        module = applied[0][1] if applied else file
        left = self._states(lambda key: self.history.target(key) == module and self._state(key).kind == "stale")
        cleared = self._states(
            lambda key: self.history.target(key) == module and self._state(key).kind in ("file", "cleared")
        )
        tail = (
            f" {count(len(left))} stay behind, stale: no rmmod was needed for that."
            if left
            else " The sites are zero again."
            if applied and cleared
            else ""
        )
        when = f"livepatch had patched {module} before; it was undone." if applied else ""
        return f"Its own init() failed. {when}{tail}".replace("  ", " ")

    def _from_dmesg(self) -> str:
        for line in self.step.lines:
            for message, words in _PLAIN:
                fields = message.match(line)
                if fields:
                    return words.format(**fields)
            if "Expected nop after call" in line:
                return "After a call the kernel expects a nop and finds the instruction that an earlier load had put there."
        bad = [text for level, text in self.step.dmesg if level is None or level <= 4]
        return f"The kernel says: {bad[-1]}" if bad else ""

    # -- removing and the rest ----------------------------------------------------------------------------------------

    def _remove(self) -> Verdict:
        module = self.words[1] if len(self.words) > 1 else "?"
        if self.step.refused:
            return self._not_removed(module)
        keys = [key for key in self.history.sites if self.history.target(key) == module]
        states = {key: self._state(key) for key in keys}
        stale, foreign, cleared = (
            [key for key in keys if states[key].kind == kind] for kind in ("stale", "foreign", "cleared")
        )
        if stale:
            return self._left_behind(module, stale, [key for key in keys if states[key].kind != "absent"])
        if foreign:
            return Verdict(
                "foreign",
                "Removed; a foreign value stays.",
                f"{count(len(foreign))} did not hold the livepatch's own value and "
                f"{'was' if len(foreign) == 1 else 'were'} left alone. {count(len(cleared))} cleared.",
            )
        if cleared:
            return Verdict(
                "cleared",
                "Removed and cleared.",
                f"{count(len(cleared))} that pointed to {module} are zero again, as in the file.",
            )
        if any(state.kind == "unknown" for state in states.values()):
            return Verdict("unknown", "Removed.", "The sites were not looked at.")
        own = any(key.startswith(f"{module}:") for key in self.history.sites)
        return Verdict(
            "works",
            "Removed.",
            "Its memory is given back, and its sites with it: the next load starts with the file's bytes."
            if own
            else "Its memory is given back.",
        )

    def _left_behind(self, module: str, stale: list[str], keys: list[str]) -> Verdict:
        owners = " and ".join(dict.fromkeys(key.partition(":")[0] for key in stale))
        number = self._state(stale[0]).load
        share = every(len(stale)).capitalize() if len(stale) == len(keys) else f"{len(stale)} of {count(len(keys))}"
        if any(messages.MISMATCH.match(line) for line in self.step.lines):
            return Verdict(
                "foreign",
                "Removed; clearing stopped halfway.",
                f"A site did not hold the value that was expected, and the kernel went no "
                f"further there: {share[0].lower()}{share[1:]} in {owners} still hold what load {number} wrote.",
            )
        return Verdict(
            "stale",
            "Removed, and stale bytes stay.",
            f"{share} in {owners} that point to {module} still hold what load {number} wrote.",
        )

    def _not_removed(self, module: str) -> Verdict:
        row, number = self.step.module(module), self.step.errno
        if number is None:
            return Verdict("in-use", "Not removed.", (self.step.out or "").strip().replace("\n", " "))
        if number == -2:
            return Verdict("info", f"Not removed: {errno_words(number)}.", f"{module} is not loaded.")
        if number == -11:
            users = ", ".join(row["used_by"]) if row else ""
            held = (
                f"{users} uses it."
                if users
                else "Something holds a reference to it."
                if not row
                else "A livepatch that patches it holds a reference."
                if not row["taint"].count("K")
                else "The livepatch is enabled: disable it first."
            )
            return Verdict("in-use", f"Not removed: in use, {errno_words(number)}.", held)
        return Verdict(
            "in-use",
            f"Not removed: {errno_words(number)}.",
            "It has no exit function, or is not Live." if number == -16 else "",
        )

    def _echo(self) -> Verdict:
        if self.step.refused:
            return Verdict("refused", f"Refused: {errno_words(self.step.errno)}.", "")
        if self.words[1] != "0":
            return Verdict("info", "Written.", "")
        patch = self.words[-1].split("/")[-2] if "/" in self.words[-1] else ""
        holding = self._states(lambda key: key.startswith(f"{patch}:") and any(self._state(key).value or b""))
        return Verdict(
            "info",
            "Livepatch disabled.",
            f"It stays loaded, and {count(len(holding))} keep their bytes." if holding else "It stays loaded.",
        )

    def _poke(self) -> Verdict:
        if self.step.errno == -2:
            return Verdict("refused", f"Nothing written: {errno_words(-2)}.", "There is no such place.")
        site = self.words[1] if len(self.words) > 1 else "?"
        return Verdict(
            "foreign",
            "A stranger wrote here.",
            f"8 bytes at {site} were overwritten; the module that did it never stays, hence −11.",
        )

    def _look(self) -> Verdict:
        if self.words[0] == "cat" and len(self.words) > 1:
            name = self.words[1].rpartition("/")[2]
            return Verdict("info", f"{name} answers." if self.step.errno == 0 else f"{name} is not there.", "")
        return Verdict("info", "Looked, nothing changed.", "")

    def _boot(self) -> Verdict:
        return Verdict("info", "The kernel has booted.", "No module of this story is loaded.")

    def _other(self) -> Verdict:
        if self.step.refused:
            return Verdict(
                "refused",
                f"Refused: {errno_words(self.step.errno)}." if self.step.errno else "Refused.",
                (self.step.out or "").strip(),
            )
        return Verdict("info", "Done.", "")

    # -- sites --------------------------------------------------------------------------------------------------------

    def _state(self, key: str) -> State:
        return self.history.states(key)[self.seen]

    def _known_state(self, key: str | None) -> State | None:
        """The state of a site at this step, or at the latest look before."""
        seen = [state for state in self.history.states(key)[: self.index + 1] if state.value is not None] if key else []
        return seen[-1] if seen else None

    def _states(self, wanted: Callable[[str], bool]) -> list[State]:
        found = (self._state(key) for key in self.history.sites if wanted(key))
        return [state for state in found if state.kind not in ("unknown", "absent")]
