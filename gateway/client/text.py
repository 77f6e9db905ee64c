"""Text that came from elsewhere, made fit for a terminal."""

from __future__ import annotations


def plain(text: str) -> str:
    """Return the text without characters that would move the cursor or change colours."""
    return "".join(char if char.isprintable() else "�" for char in text)


def percent(share: float) -> str:
    """Return a probability for people: ``97.3 %``; three digits where it is tiny."""
    value = 100 * share
    return f"{value:.1f} %" if value >= 1 or value == 0 else f"{value:.2g} %"


def number(value: float) -> str:
    """Return a number without needless digits: ``17``, ``0.2654``, ``1001``."""
    return f"{value:.0f}" if value == int(value) and abs(value) < 1e15 else f"{value:.5g}"
