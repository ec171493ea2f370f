"""A question with its options: the reader commits, and only then hears what the model says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from inspect import cleandoc

from ..errors import one_of
from ..scenarios.simulate import simulate
from ..views.reply import Reply


@dataclass(frozen=True)
class Question:
    """A question with options (key -> label), the model's answer as a key, and what to say to each choice.

    answer is computed when it is first needed, by the model or from a recording. feedback names the thought behind a
    choice. says: answer key -> its sentence after "Right:", without a full stop; where it is missing the label is taken.

    >>> cold = Question("Is it cold?", {"y": "Yes", "n": "No"}, lambda: "y", {"y": "It is.", "n": "Not today."})
    >>> cold.reply("n")
    ✗ The kernel's answer: Yes. Not today.
    """

    ask: str
    options: Mapping[str, str]
    answer: Callable[[], str]
    feedback: Mapping[str, str]
    says: Mapping[str, str] = field(default_factory=dict)

    def reply(self, choice: str) -> Reply:
        """The answer, and what it says about a choice. Errors: KlpteachError for a choice that is not there."""
        one_of(choice, self.options, "choice")
        answer = self.answer()
        says = self.says.get(answer, self.options[answer]).removesuffix(".")
        if choice == answer:
            return Reply("✓", f"Right: {says}.", self.feedback[choice])
        return Reply("✗", f"The kernel's answer: {says}.", self.feedback[choice])


def questions(text: str, answers: Mapping[str, Callable[[], str]]) -> dict[str, Question]:
    '''A notebook's questions, written as a reader meets them; an empty line parts two. answers: name -> asked of the model.

    A question is its name, what is asked, and the options, each with what is said to whoever chooses it; behind => stands
    the sentence of a right answer. Errors: KeyError for a question without an answer.

    >>> found = questions("""
    ...     cold
    ...     Is it cold?
    ...     - y: Yes => it freezes
    ...       So it says.
    ...     - n: No
    ...       Look again.
    ...     """, {"cold": lambda: "y"})
    >>> found["cold"].reply("y"), found["cold"].reply("n")
    (✓ Right: it freezes. So it says., ✗ The kernel's answer: it freezes. Look again.)
    '''
    return dict(_question(block, answers) for block in cleandoc(text).split("\n\n"))


def _question(block: str, answers: Mapping[str, Callable[[], str]]) -> tuple[str, Question]:
    head, *listed = block.split("\n- ")
    name, _, ask = head.partition("\n")
    options, feedback, says = {}, {}, {}
    for option in listed:
        first, _, reply = option.partition("\n")
        key, _, label = first.partition(": ")
        options[key], _, said = label.partition(" => ")
        feedback[key] = " ".join(reply.split())
        if said:
            says[key] = said
    return name, Question(" ".join(ask.split("\n")), options, answers[name], feedback, says)


def refused_or_loads(story: str, release: str = "6.1", proposals: Iterable[str] = (), arch: str = "x86_64") -> str:
    """How the last command of a story ends, asked of the model: the answer to many questions.

    >>> refused_or_loads("reload"), refused_or_loads("reload", "6.12")
    ('refused', 'loads')
    """
    return "refused" if simulate(story, release, proposals, arch)[-1].errno else "loads"
