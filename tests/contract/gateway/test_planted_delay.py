"""What is made slow, behind a real Triton: the report must blame it, with its size, and only it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from secrets import randbits
from typing import Any

import grpc
import numpy as np
import pytest
import tiny_releases as tiny

from gateway.client.caller import Caller
from gateway.client.load.driver import TracedCall
from gateway.client.load.traces import wait_until_quiet, write_client_spans
from gateway.telemetry.analysis.calls import Calls
from gateway.telemetry.analysis.report import read
from gateway.telemetry.trace_context import write_traceparent
from trident.diagnose.v1 import diagnose_service_pb2 as diagnose
from triton_models.store import ReleaseStore

pytestmark = pytest.mark.contract

METHOD = "trident.diagnose.v1.DiagnoseService/Diagnose"
ROUNDS = 12_000.0
"""What the slow calls make the step `work` count to: some ten milliseconds."""
CALLS = 30
PLANTED = Path(__file__).parents[2] / "support" / "planted"
DELAY_MS = 10.0
"""What is planted in the gateway, in a call whose `size` is this:"""
ASKING = 7.0
OF_A_BUSY_MACHINE = 0.8
"""Calls that must keep a limit of a fifth of a millisecond: whatever else runs holds up some."""


def asking(work: float = 0.0, size: float = 1.0) -> diagnose.DiagnoseRequest:
    request = diagnose.DiagnoseRequest()
    request.measurements.values.update({tiny.WORK: work, tiny.SIZE: size})
    return request


def measured(gateway: Any, slow: diagnose.DiagnoseRequest) -> tuple[Calls, Calls]:
    """Slow calls and others in turns: what a report says of each."""
    traces: dict[bool, set[str]] = {False: set(), True: set()}
    with Caller(gateway.target, 30, gateway.traces) as caller:
        for number in range(2 * CALLS):
            is_slow = number % 2 == 1
            caller.call(METHOD, slow if is_slow else asking(), diagnose.DiagnoseResponse)
            traces[is_slow].add(caller.trace_id)
    assert gateway.stop() == 0  # so that all spans are written
    wait_until_quiet(gateway.traces, 0.5, 20)
    calls = read([gateway.traces]).calls
    selected = [calls.select(np.isin(calls.trace, list(traces[which]))) for which in (True, False)]
    for some in selected:
        assert len(some) == CALLS
        assert some.has_client.all()
        assert some.ms.sum(axis=1) == pytest.approx(some.total_ms, abs=1e-6)
    return selected[0], selected[1]


def more_in_the_slow(slow: Calls, fast: Calls) -> tuple[dict[str, float], float]:
    """How much longer each stage took, and the whole; medians, in ms."""
    stages = {
        stage.key: float(np.median(slow.ms[:, place]) - np.median(fast.ms[:, place]))
        for place, stage in enumerate(slow.stages)
    }
    return stages, float(np.median(slow.total_ms) - np.median(fast.total_ms))


def blamed(stages: dict[str, float]) -> str:
    return max(stages, key=lambda key: stages[key])


def test_a_slow_step_is_blamed_for_all_that_it_costs(
    store: ReleaseStore, start_gateway: Callable[..., Any]
) -> None:
    tiny.route(store, "diagnose-measurements/r1")
    gateway = start_gateway("--embedded", "--variant", "ensemble")
    slow, fast = measured(gateway, asking(work=ROUNDS))
    stages, whole = more_in_the_slow(slow, fast)
    assert blamed(stages) == "step.work.infer", stages
    assert stages["step.work.infer"] == pytest.approx(whole, rel=0.15), stages
    assert [key.release for key in slow.keys] == ["r1"]


STAGE = {"decode": "decode", "queue": "queue", "step": "step.work.infer"}


@pytest.mark.parametrize("transport", ["grpc", "envoy"])
@pytest.mark.parametrize("where", STAGE)
def test_ten_milliseconds_are_found_where_they_were_planted(
    where: str, transport: str, store: ReleaseStore, start_gateway: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("PLANTED_DELAY", where)
    monkeypatch.setenv("PYTHONPATH", str(PLANTED))
    tiny.route(store, "diagnose-measurements/r1")
    gateway = start_gateway("--embedded", "--variant", "ensemble", "--transport", transport)
    slow, fast = measured(gateway, asking(size=ASKING))
    stages, whole = more_in_the_slow(slow, fast)
    assert blamed(stages) == STAGE[where], stages
    assert stages[STAGE[where]] == pytest.approx(whole, rel=0.15), stages
    # A sleeper may wake late on a busy machine.
    assert stages[STAGE[where]] == pytest.approx(DELAY_MS, rel=0.2), stages


def one_at_a_time(target: str, count: int) -> tuple[Sequence[TracedCall], list[float]]:
    """Calls, and what each took by a stopwatch of the client's, in ms."""
    calls, stopped = [], []
    body = asking().SerializeToString()
    with grpc.insecure_channel(target) as channel:
        rpc = channel.unary_unary(f"/{METHOD}")
        for _ in range(count):
            trace_id, span_id = randbits(128) or 1, randbits(64) or 1
            metadata = (("traceparent", write_traceparent(trace_id, span_id)),)
            begin_ns, started = time.time_ns(), time.perf_counter()
            rpc(body, timeout=30, metadata=metadata)
            stopped.append(1e3 * (time.perf_counter() - started))
            calls.append(TracedCall(trace_id, span_id, begin_ns, time.time_ns(), "OK"))
    return calls, stopped


def logged_ms(file: Path) -> dict[str, float]:
    """What each call took by the access log, by its trace."""
    lines = (json.loads(line) for line in file.read_text().splitlines())
    return {
        one["trace_id"]: one["milliseconds"] for one in lines if one["method"].endswith("/Diagnose")
    }


def test_the_stages_of_a_thousand_calls_add_up_to_what_the_client_measured(
    store: ReleaseStore, start_gateway: Callable[..., Any], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    log = tmp_path / "access.jsonl"
    monkeypatch.setenv("TRIDENT_ACCESS_LOG", str(log))
    tiny.route(store, "diagnose-measurements/r1")
    gateway = start_gateway("--embedded", "--variant", "ensemble")
    count = 1_000
    traced, stopped = one_at_a_time(gateway.target, count)
    assert gateway.stop() == 0
    wait_until_quiet(gateway.traces, 0.5, 20)
    write_client_spans(gateway.traces, METHOD, gateway.target, traced)

    calls = read([gateway.traces]).calls
    place = {f"{call.trace_id:032x}": number for number, call in enumerate(traced)}
    by_client = np.array([stopped[place[trace]] for trace in calls.trace])
    apart = np.abs(calls.ms.sum(axis=1) - by_client)
    fits = apart <= np.maximum(0.05 * by_client, 0.2)
    inside = calls.ms.sum(axis=1) - calls.column("client")
    said = (
        f"{fits.mean():.1%} of {len(calls)} calls within 5 % or 0.2 ms, p99 "
        f"{np.percentile(apart, 99):.4f} ms apart of {np.median(by_client):.2f} ms; of the time "
        f"{inside.sum() / by_client.sum():.1%} in the gateway and Triton, "
        f"{calls.column('gateway').sum() / by_client.sum():.1%} in the gateway in no stage"
    )
    assert len(calls) == count
    assert calls.has_client.all()
    assert (calls.ms >= 0).all()
    assert fits.all(), said
    # What is in no stage of its own is little: these are what is left of others.
    for rest in ("gateway", "batch", "triton_server", "ensemble"):
        small = calls.column(rest) <= np.maximum(0.05 * calls.total_ms, 0.2)
        assert small.mean() > OF_A_BUSY_MACHINE, (rest, float(np.median(calls.column(rest))), said)
    # The access log takes its time apart from traces.
    logged = logged_ms(log)
    assert len(logged) == count
    served = calls.total_ms - calls.column("client")
    differ = np.abs(served - [logged[trace] for trace in calls.trace])
    near = differ <= np.maximum(0.05 * served, 0.2)
    assert near.mean() > OF_A_BUSY_MACHINE, (float(np.median(differ)), said)
    # Triton's spans are there for every call.
    assert not calls.column("triton").any()
    assert (calls.column("step.work.infer") > 0).all()
