"""What notebook 07 shows."""

from ..lazy import offer

__getattr__, __dir__ = offer(
    __name__, {".patches": "as_patches", ".tables": "after_refusal both_camps", ".ways": "load_damaged nine_stories"}
)
