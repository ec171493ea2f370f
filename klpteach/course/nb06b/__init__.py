"""What notebook 06b shows."""

from ..lazy import offer

__getattr__, __dir__ = offer(__name__, {
    ".machines": "MACHINES endings four_machines the_other_end", ".slot": "slot_and_symbol what_it_prints", ".distance": "bl_words",
})  # fmt: skip
