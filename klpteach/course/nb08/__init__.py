"""What notebook 08 shows."""

from ..lazy import offer

_TABLES = "could_go customers hindrances in_the_end modules_dep patched what_was_said which_lines"
__getattr__, __dir__ = offer(__name__, {".module_grid": "pulled_in", ".tables": _TABLES})
