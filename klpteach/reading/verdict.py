"""What a step means, in words, outcome first: the line above the explorer's picture."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..model import messages
from ..model.errno import EAGAIN, EBUSY, EEXIST, ENOENT, ENOEXEC
from ..model.params import kstrtobool
from ..model.recording import Recording
from ..model.step import Step, hexa
from .calls import is_call
from .history import History
from .reasons import (
    died_in_the_plt,
    died_in_the_search,
    newly_past_end,
    overrun_sentence,
    stubs_taken_sentence,
    why_refused,
)
from .slots import old_slots, old_slots_sentences
from .steps import count, errno_words, every, is_look, listed, no_stub_left, patch_line, patch_of

SYMBOLS = {
    "works": "✓", "cleared": "✓", "refused": "✗", "in-use": "✗", "oops": "✗", "info": "·", "unknown": "?",
    "stale": "!", "exists": "!", "foreign": "!", "overrun": "!", "unpatched": "!",
    "unwritten": "!", "hung": "✗",
}  # fmt: skip


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
    """The verdict on one step of a recording."""
    return _Judge(history or History(recording), step).judge()


class _Judge:
    """One step and its history; each method judges one kind of command."""

    def __init__(self, history: History, index: int) -> None:
        self.history, self.index = history, index
        self.step, self.did = history.recording[index], history.recording[index].did
        self.seen = history.observed_at(index)  # looking changes nothing, so a later look tells the outcome too

    def judge(self) -> Verdict:
        step = self.step
        if step.oops:
            return Verdict("oops", "Oops: the kernel itself failed.", self._oops())
        if step.label == "hung":
            because = "It waits for klp_mutex, which the oops left locked, in state D. Only a reboot helps."
            return Verdict("hung", "It never came back.", because)
        if step.quiet:
            because = "Nothing was recorded after this command; its dmesg lines stand in the next step."
            return Verdict("unknown", "Nobody looked.", because)
        if is_look(step.command):
            return self._look()
        if self.did.loads:
            return self._load()
        known = {"rmmod": self._remove, "echo": self._echo, "poke": self._poke}
        return known.get(self.did.verb, self._other)()

    def _oops(self) -> str:
        first = f"{self.step.lines[0]}." if self.step.lines else ""
        held = "The command was killed with klp_mutex held: no module can be loaded any more, no livepatch disabled."
        if died_in_the_plt(self.step):
            far = "The target is too far away for a branch, so the loader makes an entry in the livepatch's .plt"
            return f"{first} {far}; it is read-only by now, and the store is a plain one. {held}"
        if self.did.verb == "cat":
            through = (
                " The livepatch read at an address of an earlier load, where nothing is now. The reader was killed."
            )
            return f"{first}{through}"
        if not died_in_the_search(self.history, self.index):
            return f"{first} The command was killed; locks it held stay held."
        reads_on = (
            "No slot of .stubs is free, and stub_for_addr() reads on behind the table, into a page that is not there."
        )
        return f"{first} {reads_on} {held}"

    # -- loading ------------------------------------------------------------------------------------------------------

    def _load(self) -> Verdict:
        if self.step.refused:
            return self._refused()
        tried = self.history.attempts_in(self.index)
        if not tried:
            return Verdict("info", "Already there.", "Nothing had to be loaded.")
        # What the command named; where that is not among what it began, the last of them.
        main = next((load for load in tried if load.module == self.history.asked_for(self.index)), tried[-1])
        judged, others = self._loaded(main.module), [load.module for load in tried if load.module != main.module]
        return replace(judged, because=f"{judged.because} {pulled_in_sentence(others)}".strip())

    def _loaded(self, module: str) -> Verdict:
        patches = {patch for patch, target in patch_line(self.step, messages.APPLYING) if target == module}
        if patches:
            return self._patched_again(module, patches)
        is_patch = self.history.sites_in(module) or module in (self.step.livepatch or {})
        return self._livepatch(module) if is_patch else self._plain_load(module)

    def _refused(self) -> Verdict:
        step, because = self.step, why_refused(self.history, self.index)
        again = any(load.number > 1 for load in self.history.attempts_in(self.index))
        name = "Reload refused" if again and (step.errno == ENOEXEC or no_stub_left(step)) else "Refused"
        last = (step.out or "").strip().split("\n")[-1]  # what the program of user space said
        if step.errno is None:
            return Verdict("refused", f"{name}.", because or f"The program said: {last}")
        if step.errno == EEXIST and not because:
            headline = f"Already loaded: {errno_words(EEXIST)}."
            return Verdict("exists", headline, "A module of this name is there. Nothing changed.")
        other = f"The program says: {last}." if last else "The kernel gave no reason in its log."
        return Verdict("refused", f"{name}: {errno_words(step.errno)}.", because or other)

    def _patched_again(self, module: str, patches: set[str]) -> Verdict:
        keys = [key for key in self.history.sites_for(module) if patch_of(key) in patches]
        looks = [self.history.last_look(key, self.index - 1) for key in keys]
        earlier = sum(look is not None and look.kind in ("stale", "foreign") for look in looks)
        written = sum(self._kind(key) == "written" for key in keys)
        why = f"The sites were as in the file, so {every(written)} could be written."
        dropped = self._dropped(keys)
        if all(self._kind(key) in ("unknown", "absent") for key in keys):
            why = "The sites were not looked at."
        elif earlier:
            why = f"{count(earlier)} still held old bytes; this kernel wrote over them."
        there, behind = f"{module} is there{self._where(module)}", newly_past_end(self.history, self.index)
        if behind:
            many = count(sum(len(table.past_end) for table in behind), "stub")
            because = f"{there}, and patched. {overrun_sentence(behind[0])}"
            return Verdict("overrun", f"Loaded, but {many} past the end of the table.", because)
        if dropped:
            return self._unwritten(dropped, f"{there}, and patched.")
        if old := [
            slot for slot in old_slots(self.history, self.seen) if slot.module == module and slot.patch in patches
        ]:
            return Verdict("stale", "Loaded and patched, with old addresses.", f"{there}. {old_slots_sentences(old)}")
        why = f"{why} {stubs_taken_sentence(self.history, self.index, patches)}".rstrip()
        return Verdict("works", "Loaded and patched.", f"{there}. {why}")

    def _dropped(self, keys: list[str]) -> list[str]:
        """Sites that a late write passes over without a word (arm64): at an address that is no multiple of an instruction."""
        places = (
            (key, self.history.place(key, self.seen)) for key in keys if self._kind(key) not in ("unknown", "absent")
        )
        return [key for key, place in places if place and place[0] % self.history.arch.late_alignment]

    def _unwritten(self, keys: list[str], so_far: str) -> Verdict:
        where = f"{listed(keys)} {'is' if len(keys) == 1 else 'are'} at an address that is no multiple of 4"
        because = f"{so_far} {where}: aarch64_insn_copy() wrote nothing there, and nobody looked."
        return Verdict("unwritten", f"Loaded, but {count(len(keys), 'site')} left as in the file.", because)

    def _livepatch(self, patch: str) -> Verdict:
        keys = self.history.sites_in(patch)
        if not keys:
            return Verdict("works", "Livepatch loaded.", f"{patch} has no livepatch relocations of its own.")
        if all(self._kind(key) == "unknown" for key in keys):
            return Verdict("works", "Livepatch loaded.", "Its sites were not looked at.")
        here = {load.module for load in self.history.loads if load.at(self.index)}
        if dropped := self._dropped([key for key in keys if self.history.target(key) in here]):
            return self._unwritten(dropped, f"{patch} is in force.")
        written = [key for key in keys if self._kind(key) in ("written", "kept")]
        waiting = sorted({self.history.target(key) or "?" for key in keys if self._kind(key) == "file"})
        are, left = "is" if len(waiting) == 1 else "are", count(len(keys) - len(written))
        stay = "stays" if len(keys) - len(written) == 1 else "stay"
        wait = f"{' and '.join(waiting)} {are} not loaded: {left} {stay} as in the file." if waiting else ""
        if not written:
            return Verdict("works", "Livepatch loaded, and it waits.", wait)
        targets = listed(sorted({self.history.target(key) or "its target" for key in written}))
        calls = sum(is_call(self.history, key) for key in written)
        hold = f"{'holds' if len(written) == 1 else 'hold'} {held(calls, len(written) - calls)} into"
        done = f"{count(len(written))} in its own text and data now {hold} {targets}. {wait}"
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
        module = self.did.what or "?"
        if self.step.refused:
            return self._not_removed(module)
        stale, foreign, cleared = (self._of_kind(module, kind) for kind in ("stale", "foreign", "cleared"))
        if stale:
            return self._left_behind(module, stale)
        if foreign:
            were = f"{'was' if len(foreign) == 1 else 'were'} left alone"
            because = f"{count(len(foreign))} did not hold the livepatch's own value and {were}."
            return Verdict("foreign", "Removed; a foreign value stays.", f"{because} {count(len(cleared))} cleared.")
        if cleared:
            are = "is" if len(cleared) == 1 else "are"
            # On ppc64le the file's bytes of a call are no zeros: bl and a nop.
            again = "zero again, as in the file." if self.history.arch.zero_sites else "as in the file again."
            because = f"{count(len(cleared))} that pointed to {module} {are} {again}"
            return Verdict("cleared", "Removed and cleared.", because + self._stale_stubs_sentence(cleared))
        if self._of_kind(module, "unknown"):
            return Verdict("unknown", "Removed.", "The sites were not looked at.")
        more = ", and its sites with it: the next load starts with the file's bytes"
        return Verdict("works", "Removed.", f"Its memory is given back{more if self.history.sites_in(module) else ''}.")

    def _left_behind(self, module: str, stale: list[str]) -> Verdict:
        keys = [key for key in self.history.sites_for(module) if self._kind(key) != "absent"]
        owners = " and ".join(dict.fromkeys(map(patch_of, stale)))
        share = every(len(stale)) if len(stale) == len(keys) else f"{len(stale)} of {count(len(keys))}"
        what = f"what {self._writer(stale)} wrote."
        mismatch = (messages.MISMATCH, messages.MISMATCH_619)
        if any(form.match(line) for form in mismatch for line in self.step.lines):
            because = "A site did not hold the value that was expected, and the kernel went no further there:"
            because = f"{because} {share} in {owners} still hold {what}"
            return Verdict("foreign", "Removed; clearing stopped halfway.", because)
        point, hold = ("points", "holds") if len(stale) == 1 else ("point", "hold")
        because = f"{share.capitalize()} in {owners} that {point} to {module} still {hold} {what}"
        return Verdict("stale", "Removed, and stale bytes stay.", because + self._stale_stubs_sentence(stale))

    def _not_removed(self, module: str) -> Verdict:
        row, number = self.step.module(module), self.step.errno
        if number is None:
            return Verdict("in-use", "Not removed.", (self.step.out or "").strip().replace("\n", " "))
        if number == ENOENT:
            return Verdict("info", f"Not removed: {errno_words(number)}.", f"{module} is not loaded.")
        if number != EAGAIN:
            because = "It has no exit function, or is not Live." if number == EBUSY else ""
            return Verdict("in-use", f"Not removed: {errno_words(number)}.", because)
        holder = "A livepatch that patches it holds a reference."
        if row is None:
            holder = "Something holds a reference to it."
        elif row["used_by"]:
            holder = f"{', '.join(row['used_by'])} uses it."
        elif "K" in row["taint"]:
            holder = self._why_held(module)
        return Verdict("in-use", f"Not removed: in use, {errno_words(number)}.", holder)

    def _why_held(self, patch: str) -> str:
        """Why a livepatch's module cannot go, as far as its folder in sysfs tells."""
        shown = self.step.livepatch
        if shown is None or shown.get(patch, {}).get("enabled"):
            return "The livepatch is enabled: disable it first."
        if patch in shown:
            return "The livepatch is disabled, and a task that still runs its code keeps the transition waiting."
        return "It was taken out of force while somebody may still have run it: its module stays for good."

    # -- the rest -----------------------------------------------------------------------------------------------------

    def _echo(self) -> Verdict:
        if self.step.refused:
            return Verdict("refused", f"Refused: {errno_words(self.step.errno)}.")
        if not self.did.disables:
            return self._written()
        keys = self.history.sites_in(self.did.disables)
        holding = sum(any(self.history.states(key)[self.seen].value or b"") for key in keys)
        because = f"It stays loaded, and {count(holding)} keep their bytes." if holding else "It stays loaded."
        if (self.step.livepatch or {}).get(self.did.disables, {}).get("transition"):
            because = f"{because} A task that still runs its code keeps the transition waiting."
        return Verdict("info", "Livepatch disabled.", because)

    def _written(self) -> Verdict:
        """A parameter, `force`, or a transition turned round."""
        *_, owner, folder, attribute = ["", "", "", *self.did.path.split("/")]
        if folder == "parameters":
            return Verdict("info", "Written.", f"The parameter {attribute} of {owner} is {self.did.what} now.")
        if attribute != "force":
            return Verdict("info", "Written.")
        if not kstrtobool(self.did.what):
            return Verdict("info", "Nothing was forced.", "0 is taken, and does nothing.")
        return Verdict("info", "Forced.", f"The transition of {folder} is done, whoever still runs the old code.")

    def _poke(self) -> Verdict:
        if self.step.errno == ENOENT:
            return Verdict("refused", f"Nothing written: {errno_words(ENOENT)}.", "There is no such place.")
        because = f"8 bytes at {self.did.what or '?'} were overwritten; the module that did it never stays, hence −11."
        return Verdict("foreign", "A stranger wrote here.", because)

    def _look(self) -> Verdict:
        if self.did.verb == "boot":
            return Verdict("info", "The kernel has booted.", "No module of this story is loaded.")
        if self.did.verb == "cat" and self.did.what:
            says = "answers" if self.step.errno == 0 else "is not there"
            return Verdict("info", f"{self.did.what.rpartition('/')[2]} {says}.")
        return Verdict("info", "Looked, nothing changed.")

    def _other(self) -> Verdict:
        if not self.step.refused:
            return Verdict("info", "Done.")
        headline = f"Refused: {errno_words(self.step.errno)}." if self.step.errno else "Refused."
        return Verdict("refused", headline, (self.step.out or "").strip())

    # -- facts that several of them name ------------------------------------------------------------------------------

    def _kind(self, key: str) -> str:
        return self.history.states(key)[self.seen].kind

    def _of_kind(self, module: str, kind: str) -> list[str]:
        return [key for key in self.history.sites_for(module) if self._kind(key) == kind]

    def _writer(self, stale: list[str]) -> str:
        return f"load {self.history.states(stale[0])[self.seen].load}"

    def _where(self, module: str) -> str:
        """at 0x…, and whether that is where it was before."""
        now = self.history.attempt_at(module, self.index)
        if now is None or now.base is None:
            return ""
        loads = [load for load in self.history.loads if load.module == module and not load.refused]
        before = next((load.base for load in reversed(loads) if load.first < self.index), None)
        where, same = f" at {hexa(now.base)}", before == now.base
        if before is None:
            return where
        return f"{where}, {'the same address as before' if same else f'no longer at {hexa(before)}'}"

    def _stale_stubs_sentence(self, keys: list[str]) -> str:
        """How many stubs still lead into the removed module, as a sentence (ppc64le)."""
        tables = [self.history.stubs(patch, self.seen) for patch in dict.fromkeys(map(patch_of, keys))]
        stale = sum(len(table.stale) for table in tables if table)
        if not stale:
            return ""
        slots = ", ".join(f"{table.used} of {table.num} slots used" for table in tables if table)
        word = "slot" if self.history.arch.slot_types else "stub"
        return f" {count(stale, word)} {'leads' if stale == 1 else 'lead'} to where it was: {slots}."


def pulled_in_sentence(modules: list[str]) -> str:
    """Which modules came along unasked, as a sentence, or ""."""
    more = f" and {len(modules) - 3} more" if len(modules) > 3 else ""
    return f"With it came {', '.join(modules[:3])}{more}." if modules else ""


def held(calls: int, addresses: int) -> str:
    """What the written sites hold, in words."""
    if calls and addresses:
        return "calls and addresses"
    one, many = ("a call", "calls") if calls else ("an address", "addresses")
    return one if calls + addresses == 1 else many


def unpatched_by(step: Step, module: str) -> list[str]:
    """The enabled livepatches that name a loaded module and have not patched it."""
    settled = {n: row for n, row in (step.livepatch or {}).items() if row.get("enabled") and not row.get("transition")}
    return [patch for patch, row in settled.items() if row["objects"].get(module, {}).get("patched") == 0]
