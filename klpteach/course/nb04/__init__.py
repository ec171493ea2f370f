"""What notebook 04 shows."""

from ..lazy import offer

__getattr__, __dir__ = offer(
    __name__,
    {
        ".order_figure": "order",
        ".tables": "positions two_writers",
        "...views.figures.life": "life",
        "...scenarios.recorded": "evidence",
    },
)
