"""How long it was from one interaction to the next: coarse, on a logarithmic scale.

Somebody who comes back after a minute goes on with what they were doing; after a month they may
not. Each place of a history may have a vector for how long it was from there to what came next, or,
of the newest, to the moment of the request, added to its item's. So what came before is known
from the place before, and nothing is read that lies ahead. That distances of time help
attention was found by Li et al. 2020 (TiSASRec, doi:10.1145/3336191.3371786); logarithmic ones up
to the moment that is asked for are in HSTU (Zhai et al. 2024, arXiv:2402.17152).

A gap is told by its number: 0 is not known, ``n`` from 1 is less than ``2 ** (n - 1)`` seconds and
not less than half of that; the last has no end. A moment is whole seconds since 1970; what lies
before, or after the year 9999, is not known.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

BOUNDS = 2 ** np.arange(30, dtype=np.int64)
"""``(30,)`` seconds: where gaps get another number; the last is 17 years."""
GAPS = len(BOUNDS) + 2
"""How many numbers there are."""

Seconds = npt.NDArray[np.int64]


def numbered(before: Seconds, after: Seconds) -> npt.NDArray[np.uint8]:
    """Return the numbers of the gaps from ``before`` to ``after``, in their shape.

    What is said to come earlier than what it follows came at once.
    """
    known = (before > 0) & (after > 0)
    number = 1 + np.searchsorted(BOUNDS, after - before, side="right")
    return np.where(known, number, 0).astype(np.uint8)
