"""What notebook 09 shows."""

from ..lazy import offer

_HERE = {".tables": "forty_moves in_every_story what_came year"}
_ELSEWHERE = {"...views.figures.timeline": "timeline", "...views.frames": "assumption_table"}
__getattr__, __dir__ = offer(__name__, _HERE | _ELSEWHERE)
