"""What notebook 07 shows."""

from ..lazy import offer

__getattr__, __dir__ = offer(
    __name__,
    {".own_clear": "my_row", ".patches": "as_patches", ".tables": "both_camps", ".ways": "load_damaged nine_stories"},
)
