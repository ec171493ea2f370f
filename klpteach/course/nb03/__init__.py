"""What notebook 03 shows."""

from ..lazy import offer

__getattr__, __dir__ = offer(__name__, {".tables": "moves off_by_8 sums types", "...views.figures.layout": "layout"})
