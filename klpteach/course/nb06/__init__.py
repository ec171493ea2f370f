"""What notebook 06 shows."""

from ..lazy import offer

__getattr__, __dir__ = offer(__name__, {".tables": "a_stub order_of_calls slots words_of_a_call", ".restore": "poked"})
