"""What notebook 04 shows."""

from ..lazy import offer

_HERE = {".order_figure": "order", ".tables": "positions early_and_late two_writers"}
_ELSEWHERE = {"...views.figures.life": "life", "...scenarios.recorded": "evidence"}
__getattr__, __dir__ = offer(__name__, _HERE | _ELSEWHERE)
