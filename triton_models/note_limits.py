"""How much of notes is read at once, for those who make requests and those who answer them."""

from __future__ import annotations

from triton_models.limits import MAX_BATCH_ROWS

MAX_NOTE_LENGTH = 20_000
"""Characters of a note that is asked about."""

MAX_NOTE_TOKENS = 512
"""The longest note that any release reads."""

_MOST_PAIRS = 2**23
"""Rows times the square of the longest row: attention keeps a number for each, head by head."""


def most_notes(tokens: int) -> int:
    """Return how many notes of at most ``tokens`` tokens may be asked at once."""
    return max(1, min(MAX_BATCH_ROWS, _MOST_PAIRS // max(1, tokens) ** 2))
