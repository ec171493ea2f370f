"""Predict, commit, reveal; exercises with a seed; progress. What belongs to notebook 03 stands in the folder nb03.

For authors. A reader calls `kt.predict("name")`, `kt.exercise("name", seed=1)`, `kt.check("name", answer, seed=1)`,
`kt.worked("name", seed=1)` and `kt.progress()`. Questions and exercises of notebook 03 stand in nb03/questions.py; what else
its cells show, in the files beside it, and nb03/__init__.py lists the names, so that a cell says `nb03.sums(...)`. A new
notebook is a new folder, and a row of STATIONS in notebooks.py, from which the map on top of every notebook is made. Its questions.py:

    TITLE = "loading on x86_64"

    QUESTIONS = questions('''
    other-base
    nfsd_demo is loaded at another base. Which bytes of the livepatch change?
    - all: All of them
      You may have thought … (the misconception)
    - sites: Those at its sites => only the bytes at the sites change
      Code is the file's; …
    ''', {"other-base": which_bytes_change})           # computed by the model: simulate(...), or from a Recording

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

    EXERCISES = {"pc32": Exercise("the bytes of a call", _sum)}

Question: every option has a line of feedback, which names the thought behind that choice; `so` is code. Problem: in its
text, paragraphs are parted by an empty line, and lines that begin with four blanks are shown as they are; `answer` is
compared by checks.same() (a number may come as 0x text, bytes as hex text, a list as a tuple). For anything else give
`judge`, a function of the answer that returns None for right, a sentence for wrong, or a Reply; checks.function_on(cases)
tries a reader's function; for an order, checks.shuffled(rng, items) puts letters to them and checks.in_order(letters) is the
judge. A first wrong answer gets hints[0], later ones hints[-1] and where the worked answer is; nothing raises. No
pandas at the top of questions.py; a file of tables may have it there, since it is read when a cell first uses it.
`pytest tests/course` asks every question, solves every exercise with its own answer, and tries wrong ones.
"""
