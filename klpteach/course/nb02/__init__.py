"""What notebook 02 shows."""

from ..lazy import offer

_HERE = {".file_bytes": "FileBytes", ".rela_entry": "entry_fields foreign_symbols who_writes"}
__getattr__, __dir__ = offer(__name__, _HERE | {"...scenarios.recorded": "evidence"})
