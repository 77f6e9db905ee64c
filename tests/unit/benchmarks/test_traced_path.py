from __future__ import annotations

import asyncio

import numpy as np
import pytest

from benchmarks.traced_path import OFF, Gateway, gateways, measure, median_of
from gateway.telemetry.tracing import Tracing

ALL = ["none", "10", "100", "metrics"]


def measured(names: list[str], rounds: int = 2, calls: int = 100) -> dict[str, Gateway]:
    """What was measured; its exporters have sent what they had."""

    async def run() -> dict[str, Gateway]:
        which = gateways(names)
        await measure(which, rounds, calls, in_flight=8)
        return which

    which = asyncio.run(run())
    for one in which.values():
        one.tracing.shutdown(20)
    return which


def test_each_is_measured_once_a_round_after_a_turn_to_warm_up() -> None:
    which = measured(ALL)
    assert list(which) == [OFF, *ALL]
    for one in which.values():
        assert len(one.loop_us) == len(one.process_us) == 2
        assert all(
            0 < own <= whole + 1 for own, whole in zip(one.loop_us, one.process_us, strict=True)
        )


def test_spans_are_made_of_as_many_calls_as_its_name_says() -> None:
    which = measured(["none", "100"])
    assert which[OFF].tracing.sent_spans == which["none"].tracing.sent_spans == 0
    assert which["100"].tracing.sent_spans >= 4 * 300


def test_calls_travel_together() -> None:
    (one,) = measured([]).values()
    assert one.runner.inferences < 300 / 2


def test_calls_that_are_not_answered_are_no_measurement() -> None:
    async def run() -> None:
        one = Gateway(Tracing())
        one.body = b"\0\0\0\0\1\0"  # no message
        await one.turn(10, 2)

    with pytest.raises(RuntimeError, match="10 calls were made, and 0 answered"):
        asyncio.run(run())


def test_the_median_lies_in_its_interval() -> None:
    middle, low, high = median_of([1.0, 2.0, 3.0, 4.0, 100.0], np.random.default_rng(0))
    assert middle == 3.0
    assert 1.0 <= low <= 3.0 <= high <= 100.0
