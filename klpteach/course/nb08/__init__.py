"""What notebook 08 shows."""

from ..lazy import offer

_HERE = {".module_grid": "pulled_in", ".tables": "could_go customers hindrances in_force modules_dep patched"}
__getattr__, __dir__ = offer(__name__, _HERE | {"..nb07.tables": "positions_on", "...views.figures.code": "code"})
