"""What notebook 05 shows."""

from ..lazy import offer

__getattr__, __dir__ = offer(
    __name__, {"...files.tables": "livepatch_sites", "...views.frames": "story", "...views.figures.reuse": "reuse"}
)
