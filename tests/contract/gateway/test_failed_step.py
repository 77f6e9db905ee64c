"""A step that fails in a real Triton: named to the caller, and where one looks for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import pytest
import tiny_releases as tiny
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from span_makers import spans_in

from gateway.client.load.traces import wait_until_quiet
from trident.diagnose.v1 import diagnose_service_pb2 as diagnose
from trident.diagnose.v1.diagnose_service_pb2_grpc import DiagnoseServiceStub
from triton_models.store import ReleaseStore

pytestmark = pytest.mark.contract

METHOD = "trident.diagnose.v1.DiagnoseService/Diagnose"
TRITON = "inference.GRPCInferenceService/ModelInfer"


def attributes(span: dict[str, Any]) -> dict[str, Any]:
    return {one["key"]: next(iter(one["value"].values())) for one in span["attributes"]}


@pytest.mark.parametrize(
    ("ratio", "variant"),
    [("1", "ensemble"), ("0", "ensemble"), ("1", "fused")],
    ids=["sampled", "kept for its error", "within the fused model"],
)
def test_the_step_is_named_in_the_error_and_on_the_spans(
    ratio: str, variant: str, store: ReleaseStore, start_gateway: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("TRIDENT_TRACE_SAMPLE_RATIO", ratio)
    tiny.route(store, "diagnose-measurements/r1")
    gateway = start_gateway("--embedded", "--variant", variant)
    request = diagnose.DiagnoseRequest()
    request.measurements.values.update({tiny.WORK: -1.0, tiny.SIZE: 1.0})
    with grpc.insecure_channel(gateway.target) as channel, pytest.raises(grpc.RpcError) as failed:
        DiagnoseServiceStub(channel).Diagnose(request, timeout=30)
    status = rpc_status.from_call(failed.value)
    assert status is not None
    info = error_details_pb2.ErrorInfo()
    assert any(one.Unpack(info) for one in status.details)
    assert info.metadata["step"] == "work"
    assert gateway.stop() == 0  # so that all spans are written
    wait_until_quiet(gateway.traces, 0.5, 20)
    spans = spans_in(gateway.traces)
    (server,) = (one for one in spans if one["name"] == METHOD)
    (asked,) = (one for one in spans if one["name"] == TRITON)
    for span in (server, asked):
        assert attributes(span)["trident.step"] == "work"
        assert span["status"]["code"] == 2
    assert attributes(server)["rpc.response.status_code"] == "INTERNAL"
    assert [one["name"] for one in server["events"]] == ["exception"]
    tritons = {one["name"]: one for one in spans if one not in (server, asked)}
    assert ("InferRequest" in tritons) is (ratio == "1")
    if ratio == "1":
        said = asked["status"]["message"]
        failed = tritons["work" if variant == "ensemble" else "fused"]
        for span in (tritons["InferRequest"], failed):
            assert span["status"] == {"code": 2, "message": said}
            assert attributes(span)["error.type"] == attributes(asked)["error.type"]
        (event,) = (one for one in failed["events"] if one["name"] == "exception")
        assert attributes(event)["exception.message"] == said
