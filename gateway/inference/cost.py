"""What a batch costs Triton: ``fixed + rows × each`` seconds, learnt from those it had alone."""

from __future__ import annotations

_DECAY = 0.98
"""What of a measurement is left after the next one: about the last fifty count."""


class BatchCost:
    """Learns what batches cost a model. Times are in seconds, sizes in rows."""

    def __init__(self) -> None:
        self._weight = self._rows = self._time = self._rows_rows = self._rows_time = 0.0

    @property
    def known(self) -> bool:
        """Whether anything was learnt."""
        return self._weight > 0

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

    def parts(self) -> tuple[float, float] | None:
        """Return ``fixed`` and ``each``; ``None`` while all batches were of about one size.

        Then what a row costs cannot be told from what a batch does. ``each`` may be 0 or less,
        where larger batches took no longer.
        """
        mean_rows, mean_s, spread = self._means()
        if spread < 0.25:
            return None
        each_s = (self._rows_time / self._weight - mean_rows * mean_s) / spread
        return max(0.0, mean_s - each_s * mean_rows), each_s

    def expected_s(self, rows: int) -> float:
        """Return what a batch should take alone; where that is unclear, rather too much."""
        parts = self.parts()
        mean_rows, mean_s, _ = self._means()
        if parts is None:
            return mean_s * max(1.0, rows / mean_rows)
        fixed_s, each_s = parts
        return fixed_s + each_s * rows if each_s > 0 else mean_s

    def _means(self) -> tuple[float, float, float]:
        if not self._weight:
            return 0.0, 0.0, 0.0
        mean_rows, mean_s = self._rows / self._weight, self._time / self._weight
        return mean_rows, mean_s, self._rows_rows / self._weight - mean_rows**2
