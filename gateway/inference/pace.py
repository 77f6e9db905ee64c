"""When a batch leaves: learnt from who is there, how they come and how long the last ones took.

Half of the callers travel while the answers of the other half are being read and their next
requests come in, so Triton and the gateway both have work: that is the size that a batch waits
for. It waits only while others do come: no longer than a few times their usual distance, and
never for more than ``max_batch_wait_s``, by default :data:`LONGEST_PATIENCE_S`.

A batch costs Triton ``fixed + rows × each`` seconds. A second batch beside one that is under way
pays when it has enough rows to be worth ``fixed``: many of a small network, one of a large one.
Both are measured on batches that have Triton to themselves.
"""

from __future__ import annotations

from gateway.inference.cost import BatchCost

MOST_UNDER_WAY = 4
"""Batches of one model at a time: enough to keep two instances busy and two on the way."""

LARGEST_TARGET = 32
"""No batch waits for more: from here on, more rows make a batch hardly cheaper."""

WORTH_WITHOUT_KNOWLEDGE = 4
LARGEST_WORTH = 16

LONGEST_PATIENCE_S = 0.003
_DISTANCES = 3.0
"""Callers come irregularly: who is three usual distances late is not coming."""

_LONGEST_DISTANCE_S = 0.001
_SLOWLY = 0.05
"""Weight of a new distance in the usual one."""

_FADE = 0.9
"""How fast callers are forgotten who no longer come, for each batch."""

_WORTH_SHARE = 2.0
"""A batch is worth its way when its rows take half as long as what every batch costs."""


class Pace:
    """Decides for one model when a batch leaves.

    Times are in seconds, sizes in rows.

    Attributes:
        target: The size that a batch waits for.
        worth: The least size at which a batch leaves although another is under way.

    Args:
        longest_patience_s: For so long a batch waits for others at most, with nothing under way.
    """

    def __init__(self, longest_patience_s: float = LONGEST_PATIENCE_S) -> None:
        self.target = 1
        self.worth = WORTH_WITHOUT_KNOWLEDGE
        self._callers = 1.0
        self._distance_s = _LONGEST_DISTANCE_S / 4
        self._last_came = 0.0
        self._cost = BatchCost()
        self._longest_patience_s = longest_patience_s

    def came(self, now: float) -> None:
        """Note that a caller comes."""
        distance_s = now - self._last_came
        self._last_came = now
        if distance_s < _LONGEST_DISTANCE_S:
            self._distance_s += _SLOWLY * (distance_s - self._distance_s)

    def left(self, present: int) -> None:
        """Note that a batch leaves, and how many callers were there, under way ones too."""
        self._callers = max(present, _FADE * self._callers)
        self.target = min(max(1, round(self._callers / 2)), LARGEST_TARGET)

    def may_leave(self, waiting: int, under_way: int) -> bool:
        """Say whether a batch may leave now, whoever else may still come.

        Args:
            waiting: Rows that wait.
            under_way: Batches at Triton.
        """
        if under_way == 0:
            return waiting >= self.target
        return under_way < MOST_UNDER_WAY and waiting >= max(self.target, self.worth)

    def patience(self, now: float, waiting_since: float) -> float:
        """Return for how long to wait for others, with nothing under way; 0 or less: no more.

        Args:
            now: The time.
            waiting_since: When the first of those who wait came.
        """
        next_by = self._last_came + _DISTANCES * self._distance_s
        return min(next_by, waiting_since + self._longest_patience_s) - now

    def learn(self, rows: int, time_s: float) -> None:
        """Take what a batch took that had Triton to itself.

        Args:
            rows: Its size.
            time_s: From its leaving to its answer.
        """
        self._cost.learn(rows, time_s)
        parts = self._cost.parts()
        if parts is None:
            return
        fixed_s, each_s = parts
        if each_s <= 0:
            self.worth = LARGEST_WORTH
            return
        self.worth = min(max(1, round(_WORTH_SHARE * fixed_s / each_s)), LARGEST_WORTH)
