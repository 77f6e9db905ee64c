"""Medians over the rounds; a ratio is taken within a round, before the median."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

T = TypeVar("T")

Burst = Mapping[str, Any]
Key = tuple[str, str, str, int]
"""Task, contender, loop, in flight."""


LEAST_ROUNDS = 6
"""Of fewer rounds the interval of the median says no more than least and greatest do."""
_DRAWS = 4000


@dataclass(frozen=True)
class Spread:
    """Median, least and greatest of some rounds.

    Attributes:
        interval: Of the median: 95 %, by bootstrap over the rounds, or the sittings where there are
            some; None of fewer than :data:`LEAST_ROUNDS`.
    """

    median: float
    low: float
    high: float
    interval: tuple[float, float] | None = None

    @classmethod
    def of(cls, values: Sequence[float], sittings: Sequence[int] | None = None) -> Spread:
        """Return the spread of values; ``sittings``: which of them each is from."""
        groups = _together(values, range(len(values)) if sittings is None else sittings)
        interval = median_interval(groups) if len(groups) >= LEAST_ROUNDS else None
        return cls(statistics.median(values), min(values), max(values), interval)


def median_interval(groups: Sequence[Sequence[float]]) -> tuple[float, float]:
    """Return the 95 % interval of the median of all, by bootstrap over groups; always the same."""
    draws = np.random.default_rng(0).integers(0, len(groups), (_DRAWS, len(groups)))
    arrays = [np.asarray(one) for one in groups]
    medians = [np.median(np.concatenate([arrays[place] for place in drawn])) for drawn in draws]
    low, high = np.percentile(medians, [2.5, 97.5]).tolist()
    return low, high


def _where_alike(points: npt.NDArray[np.float64]) -> float:
    """Return the height at 0 of the line through points ``(n, 2)``, or of all at one place."""
    x, y = points.T
    away = x - x.mean()
    across = float(away @ away)
    return float(y.mean() - x.mean() * (away @ y) / across) if across else float(y.mean())


def _together(values: Sequence[T], groups: Sequence[int]) -> list[list[T]]:
    found: dict[int, list[T]] = defaultdict(list)
    for value, group in zip(values, groups, strict=True):
        found[group].append(value)
    return list(found.values())


class Summary:
    """The bursts of a run, by contender and load. Bursts with faults do not count.

    Args:
        bursts: All of them.
        fresh_every: Rounds after which the servers were started anew: intervals are over what
            differs from one process to the next, too. ``None``: they were not.
    """

    def __init__(self, bursts: Iterable[Burst], fresh_every: int | None = None) -> None:
        self._fresh_every = fresh_every or 1
        self._rounds: dict[Key, dict[int, Burst]] = defaultdict(dict)
        self.faults: dict[Key, list[str]] = defaultdict(list)
        for one in bursts:
            key = (one["task"], one["contender"], one["loop"], one["in_flight"])
            if one["faults"]:
                self.faults[key] += one["faults"]
            else:
                self._rounds[key][one["round"]] = one

    def contenders(self, task: str) -> set[str]:
        """Return who was measured."""
        return {key[1] for key in self._rounds if key[0] == task}

    def loads(self, task: str) -> list[int]:
        """Return with how many in flight anybody was measured."""
        return sorted({key[3] for key in self._rounds if key[0] == task and key[2] == "closed"})

    def median(
        self, task: str, contender: str, in_flight: int, field: str, loop: str = "closed"
    ) -> float | None:
        """Return the median of a field over the rounds."""
        rounds = self._rounds.get((task, contender, loop, in_flight))
        return statistics.median(one[field] for one in rounds.values()) if rounds else None

    def ratio(
        self,
        task: str,
        one: tuple[str, int],
        other: tuple[str, int],
        field: str = "rows_per_s",
    ) -> Spread | None:
        """Compare a field of two contenders, each with how many in flight, round by round."""
        pairs, sittings = self._paired(task, one, other)
        values = [left[field] / right[field] for left, right in pairs]
        return Spread.of(values, sittings) if values else None

    def ratio_at_a_speed(
        self, task: str, one: tuple[str, int], other: tuple[str, int]
    ) -> Spread | None:
        """Compare the rows a second of two gateways as if the machine had been as fast for both.

        A shared machine is faster and slower by a third from burst to burst, which is seen in the
        CPU time that the same Triton takes for a row. So the ratio is taken where a line through
        the rounds, of it over the ratio of these times (both as logarithms), has times that are
        alike. What one of the two takes from Triton's caches is left out with it.

        Returns:
            The ratio with its 95 % interval, which least and greatest are too; None of fewer than
            :data:`LEAST_ROUNDS` sittings, or if Triton's time is not known.
        """
        pairs, sittings = self._paired(task, one, other)
        if len(set(sittings)) < LEAST_ROUNDS or not all(
            burst.get("triton_cpu_us") for pair in pairs for burst in pair
        ):
            return None
        rates, times = (
            [math.log(left[field] / right[field]) for left, right in pairs]
            for field in ("rows_per_s", "triton_cpu_us")
        )
        groups = [
            np.array(group) for group in _together([*zip(times, rates, strict=True)], sittings)
        ]
        draws = np.random.default_rng(0).integers(0, len(groups), (_DRAWS, len(groups)))
        found = [_where_alike(np.concatenate([groups[i] for i in drawn])) for drawn in draws]
        low, high = np.exp(np.percentile(found, [2.5, 97.5])).tolist()
        middle = math.exp(_where_alike(np.concatenate(groups)))
        return Spread(middle, low, high, (low, high))

    def _paired(
        self, task: str, one: tuple[str, int], other: tuple[str, int]
    ) -> tuple[list[tuple[Burst, Burst]], list[int]]:
        """Return the bursts of two contenders by rounds, and each one's sitting."""
        left = self._rounds.get((task, one[0], "closed", one[1]), {})
        right = self._rounds.get((task, other[0], "closed", other[1]), {})
        numbers = sorted(left.keys() & right.keys())
        pairs = [(left[number], right[number]) for number in numbers]
        return pairs, [number // self._fresh_every for number in numbers]

    def within(
        self,
        task: str,
        contender: str,
        in_flight: int,
        value: Callable[[Burst], float],
        loop: str = "closed",
    ) -> Spread | None:
        """Return the spread of what is made of each burst."""
        rounds = self._rounds.get((task, contender, loop, in_flight))
        return Spread.of([value(one) for one in rounds.values()]) if rounds else None

    def best(
        self, task: str, names: Iterable[str], in_flight: int, field: str = "rows_per_s"
    ) -> str | None:
        """Return who of some is best: has the greatest median."""
        medians = {
            name: median
            for name in names
            if (median := self.median(task, name, in_flight, field)) is not None
        }
        return max(medians, key=medians.__getitem__) if medians else None
