"""What notebook 09 shows."""

from ..lazy import offer

_HERE = {".tables": "all_stories forty_moves left_over year", ".stranger": "right_bytes"}
_ELSEWHERE = {"...views.figures.timeline": "timeline", "...views.frames": "assumption_table"}
__getattr__, __dir__ = offer(__name__, _HERE | _ELSEWHERE)
