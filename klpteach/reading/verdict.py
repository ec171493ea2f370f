"""What a step means, in words, outcome first: the line above the explorer's picture."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..model import messages
from ..model.recording import Recording
from .calls import is_call
from .company import asked_for, came_along, unpatched_by
from .history import History
from .reasons import why_refused
from .stepfacts import StepFacts
from .steps import is_look, no_stub_left, patch_line, patch_of
from .stubwords import after_load, in_the_search, new_past_end, overrun
from .words import count, errno_words, every, listed

SYMBOLS = {
    "works": "✓",
    "cleared": "✓",
    "refused": "✗",
    "in-use": "✗",
    "oops": "✗",
    "stale": "!",
    "exists": "!",
    "foreign": "!",
    "overrun": "!",
    "unpatched": "!",
    "info": "·",
    "unknown": "?",
}


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

    >>> from klpteach.scenarios.simulate import simulate
    >>> judged = verdict(simulate("reload"), 2)
    >>> judged.symbol, judged.headline
    ('!', 'Removed, and stale bytes stay.')
    """
    return _Judge(history or History(recording), step).judge()


class _Judge(StepFacts):
    """Each method judges one kind of command."""

    def judge(self) -> Verdict:
        step, verb = self.step, self.words[0]
        if step.oops:
            return Verdict("oops", "Oops: the kernel itself failed.", self._oops())
        if step.quiet:
            because = "Nothing was recorded after this command; its dmesg lines stand in the next step."
            return Verdict("unknown", "Nobody looked.", because)
        if verb == "boot":
            return Verdict("info", "The kernel has booted.", "No module of this story is loaded.")
        if is_look(step.command):
            return self._look()
        known = {
            "insmod": self._load,
            "modprobe": self._load,
            "rmmod": self._remove,
            "echo": self._echo,
            "poke": self._poke,
        }
        return known.get(verb, self._other)()

    def _oops(self) -> str:
        first = f"{self.step.lines[0]}." if self.step.lines else ""
        if not in_the_search(self.history, self.index):
            return f"{first} The command was killed; locks it held stay held."
        return (
            f"{first} No slot of .stubs is free, and stub_for_addr() reads on behind the table, into a page that is not "
            "there. The command was killed with klp_mutex held: no module can be loaded any more, no livepatch disabled."
        )

    # -- loading ------------------------------------------------------------------------------------------------------

    def _load(self) -> Verdict:
        if "-r" in self.words:
            return self._other()
        if self.step.refused:
            return self._refused()
        main = asked_for(self.history, self.index)
        if main is None:
            return Verdict("info", "Already there.", "Nothing had to be loaded.")
        judged, with_it = self._loaded(main.module), came_along(self.history, self.index)
        return replace(judged, because=f"{judged.because} {with_it}".strip())

    def _loaded(self, module: str) -> Verdict:
        patches = {patch for patch, target in patch_line(self.step, messages.APPLYING) if target == module}
        if patches:
            return self._patched_again(module, patches)
        is_patch = self.history.sites_in(module) or module in (self.step.livepatch or {})
        return self._livepatch(module) if is_patch else self._plain_load(module)

    def _refused(self) -> Verdict:
        step, because = self.step, why_refused(self.history, self.index)
        again = any(load.number > 1 for load in self.history.attempts_in(self.index))
        name = "Reload refused" if again and (step.errno == -8 or no_stub_left(step)) else "Refused"
        if step.errno is None:
            said = (step.out or "").strip().split("\n")[-1]
            return Verdict("refused", f"{name}.", because or f"The program said: {said}")
        if step.errno == -17:
            headline = f"Already loaded: {errno_words(-17)}."
            return Verdict("exists", headline, "A module of this name is there. Nothing changed.")
        headline = f"{name}: {errno_words(step.errno)}."
        return Verdict("refused", headline, because or self._program() or "The kernel gave no reason in its log.")

    def _patched_again(self, module: str, patches: set[str]) -> Verdict:
        keys = [key for key in self.history.sites_for(module) if patch_of(key) in patches]
        looks = [self.history.last_look(key, self.index - 1) for key in keys]
        earlier = sum(look is not None and look.kind in ("stale", "foreign") for look in looks)
        if all(self._kind(key) in ("unknown", "absent") for key in keys):
            why = "The sites were not looked at."
        elif earlier:
            why = f"{count(earlier)} still held old bytes; this kernel wrote over them."
        else:
            written = sum(self._kind(key) == "written" for key in keys)
            why = f"The sites were as in the file, so {every(written)} could be written."
        behind = new_past_end(self.history, self.index)
        if behind:
            many = count(sum(len(table.past_end) for table in behind), "stub")
            because = f"{module} is there{self._where(module)}, and patched. {overrun(behind)}"
            return Verdict("overrun", f"Loaded, but {many} past the end of the table.", because)
        why = f"{why} {after_load(self.history, self.index, patches)}".rstrip()
        return Verdict("works", "Loaded and patched.", f"{module} is there{self._where(module)}. {why}")

    def _livepatch(self, patch: str) -> Verdict:
        keys = self.history.sites_in(patch)
        if not keys:
            return Verdict("works", "Livepatch loaded.", f"{patch} has no livepatch relocations of its own.")
        if all(self._kind(key) == "unknown" for key in keys):
            return Verdict("works", "Livepatch loaded.", "Its sites were not looked at.")
        written = [key for key in keys if self._kind(key) in ("written", "kept")]
        waiting = sorted({self.history.target(key) or "?" for key in keys if self._kind(key) == "file"})
        are, left = "is" if len(waiting) == 1 else "are", count(len(keys) - len(written))
        wait = f"{' and '.join(waiting)} {are} not loaded: {left} stay as in the file." if waiting else ""
        if not written:
            return Verdict("works", "Livepatch loaded, and it waits.", wait)
        targets = listed(sorted({self.history.target(key) or "its target" for key in written}))
        hold = "holds" if len(written) == 1 else "hold"
        calls = sum(is_call(self.history, key) for key in written)
        what = "calls and addresses" if 0 < calls < len(written) else "addresses"
        what = (
            (what if len(written) > 1 else "an address")
            if calls < len(written)
            else "a call"
            if calls == 1
            else "calls"
        )
        done = f"{count(len(written))} in its own text and data now {hold} {what} {targets}. {wait}"
        return Verdict("works", "Livepatch loaded and applied.", done.rstrip())

    def _plain_load(self, module: str) -> Verdict:
        left, idle = self._of_kind(module, "stale"), unpatched_by(self.history.recording[self.seen], module)
        if idle:
            because = f"{', '.join(idle)} is enabled and names {module}, but does not patch what comes after it."
            return Verdict("unpatched", "Loaded, and it runs unpatched.", because)
        if not left:
            return Verdict("works", "Loaded.", f"{module} is there{self._where(module)}.")
        owners = ", ".join(sorted(set(map(patch_of, left))))
        because = f"{owners} is disabled, so nobody looked at its {count(len(left))} from {self._writer(left)}."
        return Verdict("works", "Loaded, not patched.", f"{because} They stay stale.")

    # -- removing -----------------------------------------------------------------------------------------------------

    def _remove(self) -> Verdict:
        module = self.words[1] or "?"
        if self.step.refused:
            return self._not_removed(module)
        stale, foreign, cleared = (self._of_kind(module, kind) for kind in ("stale", "foreign", "cleared"))
        if stale:
            return self._left_behind(module, stale)
        if foreign:
            return Verdict(
                "foreign",
                "Removed; a foreign value stays.",
                f"{count(len(foreign))} did not hold the livepatch's own value and "
                f"{'was' if len(foreign) == 1 else 'were'} left alone. {count(len(cleared))} cleared.",
            )
        if cleared:
            because = f"{count(len(cleared))} that pointed to {module} {self._again(len(cleared))}"
            because += self._stubs_stay(cleared)
            return Verdict("cleared", "Removed and cleared.", because)
        if self._of_kind(module, "unknown"):
            return Verdict("unknown", "Removed.", "The sites were not looked at.")
        if self.history.sites_in(module):
            because = "Its memory is given back, and its sites with it: the next load starts with the file's bytes."
            return Verdict("works", "Removed.", because)
        return Verdict("works", "Removed.", "Its memory is given back.")

    def _left_behind(self, module: str, stale: list[str]) -> Verdict:
        keys = [key for key in self.history.sites_for(module) if self._kind(key) != "absent"]
        owners = " and ".join(dict.fromkeys(map(patch_of, stale)))
        share = every(len(stale)) if len(stale) == len(keys) else f"{len(stale)} of {count(len(keys))}"
        still = f"still hold what {self._writer(stale)} wrote."
        if any(messages.MISMATCH.match(line) for line in self.step.lines):
            because = "A site did not hold the value that was expected, and the kernel went no further there:"
            return Verdict("foreign", "Removed; clearing stopped halfway.", f"{because} {share} in {owners} {still}")
        still = (
            f"{'points' if len(stale) == 1 else 'point'} to {module} still {'holds' if len(stale) == 1 else 'hold'} "
        )
        because = f"{share.capitalize()} in {owners} that {still}what {self._writer(stale)} wrote."
        because += self._stubs_stay(stale)
        return Verdict("stale", "Removed, and stale bytes stay.", because)

    def _not_removed(self, module: str) -> Verdict:
        row, number = self.step.module(module), self.step.errno
        if number is None:
            return Verdict("in-use", "Not removed.", (self.step.out or "").strip().replace("\n", " "))
        if number == -2:
            return Verdict("info", f"Not removed: {errno_words(number)}.", f"{module} is not loaded.")
        if number != -11:
            because = "It has no exit function, or is not Live." if number == -16 else ""
            return Verdict("in-use", f"Not removed: {errno_words(number)}.", because)
        if row is None:
            held = "Something holds a reference to it."
        elif row["used_by"]:
            held = f"{', '.join(row['used_by'])} uses it."
        elif "K" in row["taint"]:
            held = "The livepatch is enabled: disable it first."
        else:
            held = "A livepatch that patches it holds a reference."
        return Verdict("in-use", f"Not removed: in use, {errno_words(number)}.", held)

    # -- the rest -----------------------------------------------------------------------------------------------------

    def _echo(self) -> Verdict:
        if self.step.refused:
            return Verdict("refused", f"Refused: {errno_words(self.step.errno)}.")
        if self.words[1] != "0":
            return Verdict("info", "Written.")
        path = self.step.command.split("/")
        keys = self.history.sites_in(path[-2]) if len(path) > 1 else []
        holding = sum(any(self.history.states(key)[self.seen].value or b"") for key in keys)
        because = f"It stays loaded, and {count(holding)} keep their bytes." if holding else "It stays loaded."
        return Verdict("info", "Livepatch disabled.", because)

    def _poke(self) -> Verdict:
        if self.step.errno == -2:
            return Verdict("refused", f"Nothing written: {errno_words(-2)}.", "There is no such place.")
        because = f"8 bytes at {self.words[1] or '?'} were overwritten; the module that did it never stays, hence −11."
        return Verdict("foreign", "A stranger wrote here.", because)

    def _look(self) -> Verdict:
        if self.words[0] == "cat" and self.words[1]:
            name = self.words[1].rpartition("/")[2]
            return Verdict("info", f"{name} answers." if self.step.errno == 0 else f"{name} is not there.")
        return Verdict("info", "Looked, nothing changed.")

    def _other(self) -> Verdict:
        if not self.step.refused:
            return Verdict("info", "Done.")
        headline = f"Refused: {errno_words(self.step.errno)}." if self.step.errno else "Refused."
        return Verdict("refused", headline, (self.step.out or "").strip())
