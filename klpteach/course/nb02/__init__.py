"""What notebook 02 shows."""

from ..lazy import offer

__getattr__, __dir__ = offer(
    __name__,
    {
        ".file_bytes": "FileBytes",
        ".rela_entry": "entry_fields foreign_symbols who_writes",
        "...scenarios.recorded": "evidence",
    },
)
