"""Numbers as people read them."""

from __future__ import annotations


def milliseconds(value: float) -> str:
    """Return a time in ms with three digits: ``0.25``, ``12.3``, ``104``."""
    if abs(value) >= 99.95:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 9.995 else f"{value:.2f}"


def percent(share: float) -> str:
    """Return a share: ``61 %``, ``4.2 %``."""
    return f"{100 * share:.0f} %" if share >= 0.0995 else f"{100 * share:.1f} %"
