"""Numbers and names as people read them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


def milliseconds(value: float) -> str:
    """Return a time in ms with three digits: ``0.25``, ``12.3``, ``104``."""
    if abs(value) >= 99.95:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 9.995 else f"{value:.2f}"


def percent(share: float) -> str:
    """Return a share: ``61 %``, ``4.2 %``."""
    return f"{100 * share:.0f} %" if share >= 0.0995 else f"{100 * share:.1f} %"


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the question whether another name was meant, ``''`` if none is near."""
    close = difflib.get_close_matches(name, list(known), 1, 0.5)
    return f"did you mean `{close[0]}`? " if close else ""


def some_of(names: Sequence[object], most: int = 3) -> str:
    """Return the first of some names, and how many more there are."""
    more = len(names) - most
    return ", ".join(map(str, names[:most])) + (f" and {more} more" if more > 0 else "")
