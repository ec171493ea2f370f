"""What notebook 09 shows."""

from ..lazy import offer

__getattr__, __dir__ = offer(
    __name__,
    {
        ".tables": "forty_moves in_every_story what_came year",
        "...views.figures.timeline": "timeline",
        "...views.frames": "assumption_table",
    },
)
