"""What notebook 01 shows."""

from ..lazy import offer

__getattr__, __dir__ = offer(
    __name__,
    {
        ".report": "REPORT anatomy climb",
        ".val": "locs what_val_is wordings",
        "..ds_form": "word_fields",
        "...scenarios.recorded": "evidence",
    },
)
