"""Asks a second release what the first was asked, and measures where they disagree.

It begins when the answer is on its way, so it cannot change or delay it; and a bounded number of
these is at Triton at a time: what comes then is not asked, and counted.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from gateway.inference.runner import ServedRelease
from gateway.telemetry.metrics.instruments import (
    SHADOW_CALLS,
    SHADOW_DIFFERENT_ROWS,
    SHADOW_OTHER_FIRST_ROWS,
    SHADOW_ROWS,
)
from gateway.telemetry.metrics.readings import Reading
from triton_models.gaps import gaps
from triton_models.release import Manifest

_log = logging.getLogger(__name__)

Answer = Mapping[str, npt.NDArray[Any]]
Ask = Callable[[], Awaitable[Answer]]

_TELL_EVERY_S = 60.0
_CHOICES = {"probabilities", "item_ids"}
"""Outputs with a first place: the likeliest finding, the best item."""


@dataclass
class Difference:
    """How far two releases are apart on one output, over all rows that were compared."""

    rows: int = 0
    differ: int = 0
    """Rows with a value further away than the output's tolerance in the manifest."""
    first_differs: int = 0
    """Rows whose first place is another one, of an output that has such."""
    total: float = 0.0
    """Sum of the mean absolute difference of each row; 0 for strings."""
    largest: float = 0.0

    @property
    def mean(self) -> float:
        """The mean absolute difference."""
        return self.total / self.rows if self.rows else 0.0


@dataclass
class Tally:
    """What came of asking a release in the shadow."""

    line: str
    release: str
    beside: str
    """The release that answered."""
    asked: int = 0
    failed: int = 0
    dropped: int = 0
    """Not asked, because too many were already."""
    outputs: dict[str, Difference] = field(default_factory=dict)
    told_s: float = field(default_factory=time.monotonic)

    def __str__(self) -> str:
        """Say it in one line."""
        parts = [
            f"{name} {one.differ / one.rows:.1%} of {one.rows} rows differ"
            + (f", first place in {one.first_differs / one.rows:.1%}" if name in _CHOICES else "")
            + (f", by {one.mean:.3g} in the mean, {one.largest:.3g} at most" if one.largest else "")
            for name, one in self.outputs.items()
            if one.rows
        ]
        return (
            f"shadow {self.line}/{self.release} beside {self.beside}: {self.asked} calls, "
            f"{self.failed} failed, {self.dropped} not asked; " + ("; ".join(parts) or "no answer")
        )


class Shadowing:
    """Asks in the shadow.

    Args:
        in_flight: Calls of a line in the shadow at a time.
    """

    def __init__(self, in_flight: int = 4) -> None:
        self._limit = in_flight
        self._tallies: dict[tuple[str, str, str], Tally] = {}
        self._running: dict[str, set[asyncio.Task[None]]] = {}
        self._alike: dict[tuple[str, str], bool] = {}

    @property
    def tallies(self) -> tuple[Tally, ...]:
        """What was found since the start, by line, shadow and who answered."""
        return tuple(self._tallies.values())

    def readings(self) -> Iterator[Reading]:
        """Yield what was found since the start."""
        for tally in self.tallies:
            shadow = (tally.line, tally.release, tally.beside)
            yield Reading(SHADOW_CALLS, (*shadow, "asked"), tally.asked)
            yield Reading(SHADOW_CALLS, (*shadow, "failed"), tally.failed)
            yield Reading(SHADOW_CALLS, (*shadow, "dropped"), tally.dropped)
            for name, found in list(tally.outputs.items()):
                output = (*shadow, name)
                yield Reading(SHADOW_ROWS, output, found.rows)
                yield Reading(SHADOW_DIFFERENT_ROWS, output, found.differ)
                if name in _CHOICES:
                    yield Reading(SHADOW_OTHER_FIRST_ROWS, output, found.first_differs)

    def takes(self, release: ServedRelease, shadow: Manifest) -> bool:
        """Return whether the shadow can be asked with the same tensors, and is another release."""
        if shadow.release == release.release:
            return False
        key = (release.manifest.ensemble, shadow.ensemble)
        if key not in self._alike:
            self._alike[key] = _same_inputs(release.manifest, shadow)
            if not self._alike[key]:
                _log.warning(
                    "%s/%s cannot be asked in the shadow of %s: it takes other features",
                    shadow.line,
                    shadow.release,
                    release.release,
                )
        return self._alike[key]

    def offer(self, release: ServedRelease, shadow: Manifest, answer: Answer, ask: Ask) -> None:
        """Ask the shadow too, if there is room for it; return at once.

        Args:
            release: Who answered.
            shadow: Who is asked.
            answer: What is on its way to the caller.
            ask: Asks the shadow for the same.
        """
        key = (shadow.line, shadow.release, release.release)
        tally = self._tallies.get(key)
        if tally is None:
            tally = self._tallies[key] = Tally(*key)
        running = self._running.setdefault(shadow.line, set())
        if len(running) >= self._limit:
            tally.dropped += 1
            return
        task = asyncio.create_task(self._compare(tally, shadow, answer, ask))
        running.add(task)
        task.add_done_callback(running.discard)

    async def close(self) -> None:
        """Ask no more."""
        tasks = [task for running in self._running.values() for task in running]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _compare(self, tally: Tally, shadow: Manifest, answer: Answer, ask: Ask) -> None:
        tally.asked += 1
        try:
            other = await ask()
            for name, array in answer.items():
                parity = shadow.parity.get(name)
                tolerance = parity.tolerance if parity else 0.0
                found = tally.outputs.setdefault(name, Difference())
                _add(found, name, array, other.get(name), tolerance)
        except Exception as error:
            # Whatever is wrong with the shadow, nobody waits for it.
            tally.failed += 1
            if tally.failed == 1:
                _log.warning("%s/%s failed in the shadow: %s", tally.line, tally.release, error)
        now = time.monotonic()
        if now - tally.told_s >= _TELL_EVERY_S:
            tally.told_s = now
            _log.info("%s", tally)


def _same_inputs(one: Manifest, other: Manifest) -> bool:
    return one.inputs == other.inputs and [
        (feature.name, feature.kind) for feature in one.features
    ] == [(feature.name, feature.kind) for feature in other.features]


def _add(
    found: Difference,
    name: str,
    one: npt.NDArray[Any],
    other: npt.NDArray[Any] | None,
    tolerance: float,
) -> None:
    """Compare an output ``(B, …)`` of two releases, row by row."""
    rows = len(one)
    found.rows += rows
    if other is None or other.shape != one.shape:
        found.differ += rows
        found.first_differs += rows if name in _CHOICES else 0
        return
    if not one.size:
        return
    flat, beside = one.reshape(rows, -1), other.reshape(rows, -1)
    if one.dtype.kind == "f":
        apart = gaps(flat, beside)
        found.differ += int((apart.max(axis=1) > tolerance).sum())
        found.total += float(apart.mean(axis=1).sum())
        found.largest = max(found.largest, float(apart.max()))
    else:
        found.differ += int((flat != beside).any(axis=1).sum())
    if name == "probabilities":
        found.first_differs += int((_likeliest(flat) != _likeliest(beside)).sum())
    elif name in _CHOICES:
        found.first_differs += int((flat[:, 0] != beside[:, 0]).sum())


def _likeliest(probabilities: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    """Return the likeliest class of each row of ``(B, K)``; -1 where one is NaN: there is none."""
    return np.where(np.isnan(probabilities).any(axis=1), -1, probabilities.argmax(axis=1))
