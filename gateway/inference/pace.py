"""When a batch leaves: learnt from how long the last ones took.

A batch costs Triton ``fixed + rows × each`` seconds. Where ``fixed`` is most of it (a small
network), larger batches are nearly free, and a second batch beside the first only pays when it is
large; where ``each`` is most of it (a large network), a small second batch already keeps the next
instance of the model busy. So the size at which a batch may leave although another is under way
follows from the two, and both are measured.
"""

from __future__ import annotations

FULL_WITHOUT_KNOWLEDGE = 8
SMALLEST_FULL = 4
LARGEST_FULL = 16
MOST_UNDER_WAY = 4
"""Batches of one model at a time: enough to keep two instances busy and two on the way."""

_DECAY = 0.98
"""What of a measurement is left after the next one: about the last fifty count."""

_FULL_SHARE = 2.0
"""A batch is full when its rows take half as long as what every batch costs."""

_PATIENCE = 0.5
"""Waiting for company may take so much of what a batch takes anyway."""

LONGEST_PATIENCE_S = 0.002


class Pace:
    """Decides for one model when a batch leaves.

    Times are in seconds, sizes in rows.
    """

    def __init__(self) -> None:
        self.full = FULL_WITHOUT_KNOWLEDGE
        self.patience_s = 0.0
        """How long the first of a batch may wait for others while nothing is under way."""
        self._weight = self._rows = self._time = self._rows_rows = self._rows_time = 0.0

    def may_leave(self, waiting: int, under_way: int) -> bool:
        """Say whether a batch may leave now, whoever else may still come.

        Args:
            waiting: Rows that wait.
            under_way: Batches at Triton.
        """
        if under_way == 0:
            return waiting >= self.full
        return under_way < MOST_UNDER_WAY and waiting >= self.full * under_way

    def learn(self, rows: int, time_s: float) -> None:
        """Take what a batch took that had Triton to itself.

        Args:
            rows: Its size.
            time_s: From its leaving to its answer.
        """
        self._weight = _DECAY * self._weight + 1
        self._rows = _DECAY * self._rows + rows
        self._time = _DECAY * self._time + time_s
        self._rows_rows = _DECAY * self._rows_rows + rows * rows
        self._rows_time = _DECAY * self._rows_time + rows * time_s
        mean_rows, mean_s = self._rows / self._weight, self._time / self._weight
        self.patience_s = min(_PATIENCE * mean_s, LONGEST_PATIENCE_S)
        spread = self._rows_rows / self._weight - mean_rows**2
        if spread < 0.25:  # all of one size: what a row costs cannot be told from what a batch does
            return
        each_s = (self._rows_time / self._weight - mean_rows * mean_s) / spread
        fixed_s = mean_s - each_s * mean_rows
        if each_s <= 0:
            self.full = LARGEST_FULL
        else:
            self.full = round(min(max(_FULL_SHARE * fixed_s / each_s, SMALLEST_FULL), LARGEST_FULL))
