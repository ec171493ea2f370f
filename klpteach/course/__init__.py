"""Predict, commit, reveal; exercises with a seed; progress. A notebook's questions stand in its own room, nb00.py … nb09.py.

For authors. A reader calls `kt.predict("name")`, `kt.exercise("name", seed=1)`, `kt.check("name", answer, seed=1)`,
`kt.worked("name", seed=1)` and `kt.progress()`. To give notebook 03 questions and exercises, write nb03.py; it is found by
listing this folder, nothing else is edited. A room:

    TITLE = "loading on x86_64"

    def _sum(rng):                                   # the same seed gives the same numbers
        S, P = 0xFFFFFFFFC0200000 + rng.randrange(0, 0x8000, 16), 0xFFFFFFFFC0300000 + rng.randrange(0x1000)
        right = (S - 4 - P) & 0xFFFFFFFF             # better still: ask the model, or read a recording
        return Problem(
            ask=f"A call stands at P. Which four bytes are written?\\n\\n    S = {hexa(S)}\\n    P = {hexa(P)}\\n    A = -4",
            answer=right.to_bytes(4, "little"),
            form="bytes, or their hex digits: '10 20 30 40'",
            hints=("The kernel stores a distance, S + A - P.", "The lowest byte comes first."),
            slips=[(right.to_bytes(4, "big"), "The right number, in the wrong order: x86 is little-endian.")],
            steps=(f"S + A - P = {hexa(right)}, cut to 32 bits", "lowest byte first"),
        )

    QUESTIONS = {"other-base": Question(
        ask="nfsd_demo is loaded at another base. Which bytes of the livepatch change?",
        options={"all": "All of them", "sites": "Those at its sites"},
        answer=lambda: "sites" if ... else "all",    # computed by the model: simulate(...), or from a Recording
        says={"sites": "only the bytes at the sites change"},
        feedback={"all": "You may have thought … (the misconception)", "sites": "Code is the file's; …"},
    )}
    EXERCISES = {"pc32": Exercise("the bytes of a call", _sum)}

Question: every option needs feedback, which names the thought behind that choice. Text: paragraphs are parted by an empty
line, lines that begin with four blanks are shown as they are, `so` is code. Problem: `answer` is compared by checks.same()
(a number may come as 0x text, bytes as hex text, a list as a tuple); for anything else give `judge`, a function of the
answer that returns None for right, a sentence for wrong, or a Reply; checks.function_on(cases) tries a reader's function;
for an order, checks.shuffled(rng, items) puts letters to them and checks.in_order(letters) is the judge. Import pandas inside functions, never at the top.
A first wrong answer is told hints[0], later ones hints[-1] and where the worked answer is; nothing raises. Test a room:
`pytest tests/course` asks every question, solves every exercise with its own answer, and tries wrong ones.
"""

from ..views.reply import Reply as Reply
from .exercise import Exercise as Exercise
from .exercise import Problem as Problem
from .question import Question as Question
