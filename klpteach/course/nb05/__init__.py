"""What notebook 05 shows."""

from ..lazy import offer

_ELSEWHERE = {
    "...files.tables": "livepatch_sites",
    "...views.frames": "story",
    "...views.figures.reuse": "reuse",
    "..nb03.own_apply": "replay_mine",
}
__getattr__, __dir__ = offer(__name__, _ELSEWHERE)
