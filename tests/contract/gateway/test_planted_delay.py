"""A step that is made slow, behind a real Triton: the report must blame it, and only it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tiny_releases as tiny

from gateway.client.caller import Caller
from gateway.client.load.traces import wait_until_quiet
from gateway.telemetry.analysis.report import read
from trident.diagnose.v1 import diagnose_service_pb2 as diagnose
from triton_models.store import ReleaseStore

pytestmark = pytest.mark.contract

METHOD = "trident.diagnose.v1.DiagnoseService/Diagnose"
ROUNDS = 12_000.0
"""What the slow calls make the step `work` count to: some ten milliseconds."""
CALLS = 30


def test_a_slow_step_is_blamed_for_all_that_it_costs(
    store: ReleaseStore, start_gateway: Callable[..., Any]
) -> None:
    tiny.route(store, "diagnose-measurements/r1")
    gateway = start_gateway("--embedded", "--variant", "ensemble")
    traces: dict[bool, set[str]] = {False: set(), True: set()}
    with Caller(gateway.target, 30, gateway.traces) as caller:
        for number in range(2 * CALLS):
            slow = number % 2 == 1
            request = diagnose.DiagnoseRequest()
            values = {tiny.WORK: ROUNDS if slow else 0.0, tiny.SIZE: 1.0}
            request.measurements.values.update(values)
            caller.call(METHOD, request, diagnose.DiagnoseResponse)
            traces[slow].add(caller.trace_id)
    assert gateway.stop() == 0  # so that all spans are written
    wait_until_quiet(gateway.traces, 0.5, 20)

    calls = read([gateway.traces]).calls
    slow, fast = (
        calls.select(np.isin(calls.trace, list(traces[which]))) for which in (True, False)
    )
    assert len(slow) == len(fast) == CALLS
    assert slow.has_client.all()
    assert slow.ms.sum(axis=1) == pytest.approx(slow.total_ms, abs=1e-6)
    more = {
        stage.key: float(np.median(slow.ms[:, place]) - np.median(fast.ms[:, place]))
        for place, stage in enumerate(calls.stages)
    }
    whole = float(np.median(slow.total_ms) - np.median(fast.total_ms))
    assert max(more, key=lambda key: more[key]) == "step.work.infer", more
    assert more["step.work.infer"] == pytest.approx(whole, rel=0.15), more
    assert [key.release for key in calls.keys] == ["r1"]
