"""Predict, commit, reveal: questions whose answers are computed by the model, and exercises that it checks.

Works with widgets and without: predict("same-address") shows buttons, predict("same-address", "refused") commits at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

from .errors import KlpteachError
from .policy import PROPOSALS, behaviour
from .recording import hexa
from .scenarios import busy, simulate


@dataclass(frozen=True)
class Question:
    """A question with its options (key -> label), the model's answer as a key, and what to say to each choice."""

    ask: str
    options: Mapping[str, str]
    answer: Callable[[], str]
    feedback: Mapping[str, str]


def _reload_outcome() -> str:
    return "refused" if simulate("reload", "6.1")[-1].errno else "loads"


def _moved_outcome() -> str:
    return "refused" if simulate("moved", "6.1")[-1].errno else "loads"


def _init_outcome() -> str:
    return "refused" if simulate("init-fails", "6.1")[-1].errno else "loads"


QUESTIONS: Mapping[str, Question] = {
    "reload": Question(
        "nfsd_demo is loaded, livepatched, removed. Now you load the same file again. What does Linux 6.1 do?",
        {"loads": "It loads, and is patched again", "refused": "It refuses the module", "panics": "It crashes"},
        _reload_outcome,
        {
            "loads": "You expected what most people do, since the file has not changed. But the livepatch has, in memory.",
            "refused": "The module is fine; what refuses it is something left behind in the livepatch.",
            "panics": "No: the kernel notices, and refuses. A refusal is the kinder failure; later you meet kernels that do not notice.",
        },
    ),
    "same-address": Question(
        "nfsd_demo would come back to exactly the same address, so every byte the kernel wants to write is there already. Will it load?",
        {"loads": "Yes: nothing changes", "refused": "No: refused all the same"},
        _reload_outcome,
        {
            "loads": "You may have thought that identical bytes cannot hurt. The check never compares: it asks whether the bytes are zero.",
            "refused": "The check asks for zero, not for another value; the right bytes are as bad as wrong ones.",
        },
    ),
    "other-address": Question(
        "Another module takes the freed place first, so nfsd_demo must go elsewhere. Does the new address help?",
        {"loads": "It loads: other bytes are written", "refused": "Refused, as before"},
        _moved_outcome,
        {
            "loads": "The new address changes what the kernel wants to write, not what it finds. It finds the old bytes, and stops.",
            "refused": "Where the module lands decides the value that would be written; the check looks at what is there.",
        },
    ),
    "init-fails": Question(
        "This time nobody runs rmmod. The module's own init() fails at its first load; then you load a good build. What now?",
        {"loads": "It loads: nothing was ever removed", "refused": "Refused"},
        _init_outcome,
        {
            "loads": "The livepatch writes its relocations before init() runs. A module that never arrived leaves them behind as well.",
            "refused": "The bytes are written while the module is coming, before its init() has a say.",
        },
    ),
}


class Reply:
    """A few sentences with a mark (✓ right, ✗ not, ? a hint), for a notebook and for a terminal."""

    def __init__(self, mark: str, headline: str, text: str = "") -> None:
        self.mark, self.headline, self.text = mark, headline, text

    def __repr__(self) -> str:
        return f"{self.mark} {self.headline} {self.text}".rstrip()

    def _repr_html_(self) -> str:
        colour = {"✓": "#009E73", "✗": "#D55E00"}.get(self.mark, "#0072B2")
        return (
            f'<div style="border-left:4px solid {colour};padding:4px 12px;margin:4px 0;max-width:60em">'
            f"<strong>{escape(self.mark)} {escape(self.headline)}</strong> {escape(self.text)}</div>"
        )


def predict(name: str, choice: str | None = None) -> Any:
    """Ask a question. With a choice (a key of its options) commit at once; without, show buttons.

    Errors: KlpteachError for an unknown question or choice, which names the known ones.

    >>> predict("same-address", "loads")
    ✗ The kernel's answer: it is refused. You may have thought that identical bytes cannot hurt. ...
    """
    if name not in QUESTIONS:
        raise KlpteachError(f"no question {name!r}; there are {', '.join(QUESTIONS)}.")
    if choice is None:
        from .views.prediction import Prediction

        return Prediction(name)
    return reveal(name, choice)


def reveal(name: str, choice: str) -> Reply:
    """The model's answer and what it says about a choice."""
    question = QUESTIONS[name]
    if choice not in question.options:
        raise KlpteachError(f"no choice {choice!r} here; there are {', '.join(question.options)}.")
    answer = question.answer()
    says = {"loads": "it loads", "refused": "it is refused", "panics": "it crashes"}[answer]
    if choice == answer:
        return Reply("✓", f"Right: {says}.", question.feedback[choice])
    return Reply("✗", f"The kernel's answer: {says}.", question.feedback[choice])


# -- exercises ------------------------------------------------------------------------------------------------------------


def check_fix(proposal: Any = ..., release: str = "6.1") -> Reply:
    """Exercise: name a proposal that makes the reload work, or a list of them. The model tries it.

    >>> check_fix("clear-checked").mark, check_fix("deny-removal").mark
    ('✓', '✗')
    """
    if proposal is ...:
        return Reply(
            "?",
            "Your turn.",
            f"Put a name in place of the dots: {', '.join(p for p in PROPOSALS if PROPOSALS[p].change)}.",
        )
    names = [proposal] if isinstance(proposal, str) else list(proposal)
    try:
        behaviour(release, names)
    except KlpteachError as error:
        return Reply("?", "Not a mix that the model knows.", str(error))
    story = simulate("reload", release, names)
    removed, reloaded = story[2], story[3]
    if not removed.errno and not reloaded.errno:
        return Reply("✓", "The reload works.", "Read on: what it costs is another question.")
    if removed.errno:
        return Reply(
            "✗",
            "There is no reload.",
            "rmmod itself says that the module is in use. Whether that is a fix is what they argued about; "
            "look for one that lets the module go and come back.",
        )
    return Reply("✗", "Still refused.", reloaded.lines[0] if reloaded.lines else "")


def check_seed(seed: Any = ..., matters: bool | None = None, release: str = "6.1") -> Reply:
    """Exercise: find a seed of the busy machine where the reload lands at the same base, and say whether that matters.

    >>> check_seed(...).mark
    '?'
    """
    if not isinstance(seed, int):
        return Reply(
            "?",
            "Your turn.",
            "Try numbers for seed until the module comes back to its old place, then say matters=True or False.",
        )
    story = simulate(busy(seed), release)
    before, after = (
        next(iter((step.placement or {})["nfsd_demo"].values()))
        for step in story
        if step.command == "insmod nfsd_demo.ko"
    )
    refused = story[-1].errno == -8
    places = f"first at {hexa(before)}, then at {hexa(after)}"
    if before != after:
        return Reply("✗", "Another place.", f"Seed {seed} puts it {places}. Try another seed.")
    if matters is None:
        return Reply(
            "?",
            "The same place.",
            f"Seed {seed} puts it {places}. Does it matter on {release}? Say matters=True or matters=False.",
        )
    right = matters != refused
    return Reply(
        "✓" if right else "✗",
        "It does not matter." if refused else "It matters.",
        f"On {release} the reload at the same base is {'refused like every other' if refused else 'fine'}.",
    )


def self_check() -> Reply:
    """What a reader's machine has and lacks for this course, and how to mend it."""
    from importlib.util import find_spec

    missing = [name for name in ("elftools", "numpy", "pandas", "matplotlib", "ipywidgets") if find_spec(name) is None]
    if missing:
        return Reply(
            "✗",
            "Something is missing.",
            f"pip install {' '.join(missing).replace('elftools', 'pyelftools')}, then restart the kernel.",
        )
    from .data import data_dir

    data_dir()  # says what to do where the sample modules are not found
    works = [step.errno for step in simulate("reload", "6.1")] == [0, 0, 0, -8]
    return Reply(
        "✓" if works else "✗",
        "Everything is here." if works else "The model is broken.",
        "The sample modules are found and the model runs.",
    )
