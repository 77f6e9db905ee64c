"""A gateway with a real Triton sends its traces to collectors that are not ours."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import tiny_releases as tiny
from span_collectors import Taken, grpc_collector, http_collector

from gateway.client.caller import Caller
from trident.diagnose.v1 import diagnose_service_pb2 as diagnose
from triton_models.store import ReleaseStore

pytestmark = pytest.mark.contract

METHOD = "trident.diagnose.v1.DiagnoseService/Diagnose"
TRITON = "inference.GRPCInferenceService/ModelInfer"
WAIT_S = 30


def said(span: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in span.attributes}


def until(taken: Taken, *names: str) -> None:
    """Wait until spans of these names were sent."""
    deadline = time.monotonic() + WAIT_S
    while not set(names) <= {span.name for span in taken.spans}:
        assert time.monotonic() < deadline, [span.name for span in taken.spans]
        taken.news.wait(0.5)
        taken.news.clear()


@pytest.mark.parametrize("collector", [grpc_collector, http_collector], ids=["gRPC", "HTTP"])
def test_a_call_is_one_tree_with_tritons_steps_at_the_collector(
    collector: Callable[[], Any], store: ReleaseStore, start_gateway: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    tiny.route(store, "diagnose-measurements/r1")
    request = diagnose.DiagnoseRequest()
    request.measurements.values.update({tiny.WORK: 1.0, tiny.SIZE: 1.0})
    with collector() as taken:
        monkeypatch.setenv("TRIDENT_OTLP_ENDPOINT", taken.url.removesuffix("/v1/traces"))
        gateway = start_gateway("--embedded", "--variant", "ensemble")
        with Caller(gateway.target, WAIT_S, gateway.traces) as caller:
            caller.call(METHOD, request, diagnose.DiagnoseResponse)
            trace = caller.trace_id
        until(taken, METHOD, "InferRequest", "work", "answer")
        assert gateway.stop() == 0
    spans = [span for span in taken.spans if span.trace_id.hex() == trace]
    by_id = {span.span_id: span for span in spans}
    above = {
        span.name: by_id[span.parent_span_id].name for span in spans if span.parent_span_id in by_id
    }
    assert above["decode"] == above[TRITON] == METHOD
    assert above["InferRequest"] == TRITON
    assert above["work"] == above["answer"] == "diagnose-measurements__r1"
    (asked,) = (span for span in spans if span.name == TRITON)
    assert said(asked)["server.address"] == "127.0.0.1"
    assert said(asked)["server.port"] > 0
    (work,) = (span for span in spans if span.name == "work")
    assert said(work)["trident.step"] == "work"
    assert said(work)["trident.queue_us"] >= 0
