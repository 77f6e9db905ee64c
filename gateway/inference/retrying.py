"""How much may be asked twice: a share of what is asked once, so that retries end no overload.

A fixed number of retries multiplies the load in the moment in which there is least room for it.
The budget is the one of Finagle and of Envoy (``retry_budget``): each inference earns a part of a
retry, and what was earned is kept only up to a limit.
"""

from __future__ import annotations

import random

SHARE = 0.2
"""Retries for each inference."""
MOST_KEPT = 50.0
"""Retries that may come at once, such as when a Triton dies with all that is under way there."""
ATTEMPTS = 3
"""Of one inference, the first one too."""
_PAUSE_S = 0.02


class RetryBudget:
    """What may still be asked again.

    Attributes:
        spent: Retries that were made.
        refused: Retries that would have been, with more budget.
    """

    def __init__(self, share: float = SHARE, most: float = MOST_KEPT) -> None:
        self.spent = self.refused = 0
        self._share = share
        self._most = most
        self._left = most

    def earn(self) -> None:
        """Take note of an inference."""
        left = self._left + self._share
        self._left = left if left < self._most else self._most

    def take(self) -> bool:
        """Return whether one may be asked again now."""
        if self._left < 1:
            self.refused += 1
            return False
        self._left -= 1
        self.spent += 1
        return True


def pause_s(chance: random.Random) -> float:
    """Return how long to wait before the same Triton is asked again: not all at once."""
    return chance.uniform(0, _PAUSE_S)
