"""What notebook 01 shows."""

from ..lazy import offer

_HERE = {".mail": "mail_map", ".report": "REPORT anatomy climb", ".val": "locs what_val_is wordings"}
__getattr__, __dir__ = offer(__name__, _HERE | {"..ds_form": "word_fields", "...scenarios.recorded": "evidence"})
