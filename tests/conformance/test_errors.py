"""How calls fail: every code, with its message and its details."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status
from served_process import CALL_S, Client, binary, seen, struct, structs
from wire import refusal_of

from trident.risk.v1.risk_service_pb2 import ScoreRiskRequest
from trident.risk.v1.risk_service_pb2_grpc import RiskServiceStub

CODES = [code for code in code_pb2.Code.values() if code != code_pb2.OK]
MESSAGES = ["plain", "", "100 % sure", "two\nlines\tand ünïcödé 日本", "%20", " spaces ", "x" * 500]


def status(code: int = code_pb2.ABORTED, message: str = "no") -> status_pb2.Status:
    made = status_pb2.Status(code=code, message=message)
    info = error_details_pb2.ErrorInfo(reason="TRIED", domain="test", metadata={"a": "ü"})
    made.details.add().Pack(info)
    made.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=Duration(seconds=3)))
    return made


def check(raised: Any, expected: status_pb2.Status) -> None:
    error = raised.value
    assert error.code().value[0] == expected.code
    assert error.details() == expected.message
    assert rpc_status.from_call(error) == expected


def failing(made: status_pb2.Status) -> dict[str, str]:
    return {"status": binary(made.SerializeToString())}


@pytest.mark.parametrize("code", CODES, ids=code_pb2.Code.Name)
def test_every_code_comes_with_its_details(client: Client, code: int) -> None:
    expected = status(code, f"failed with {code}")
    with pytest.raises(grpc.RpcError) as raised:
        client.unary(**failing(expected))
    check(raised, expected)


@pytest.mark.parametrize("message", MESSAGES)
def test_any_text_is_a_message(client: Client, message: str) -> None:
    expected = status(message=message)
    with pytest.raises(grpc.RpcError) as raised:
        client.unary(**failing(expected))
    check(raised, expected)


def test_a_failed_unary_call_ends_with_trailers_only(client: Client) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        client.unary(trailing=[["a", "1"]], **failing(status()))
    error: Any = raised.value
    assert dict(error.trailing_metadata())["a"] == "1"
    assert "a" not in dict(error.initial_metadata())


@pytest.mark.parametrize("method", ["ClientStream", "BidiStream"])
def test_a_stream_can_fail_at_its_first_message(client: Client, method: str) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        list_of(client.call[method](structs([failing(status())] * 3), timeout=CALL_S))
    check(raised, status())


@pytest.mark.parametrize("method", ["ServerStream", "BidiStream"])
def test_a_stream_that_fails_has_given_its_answers_before(client: Client, method: str) -> None:
    wishes = [{"value": 0}, {"value": 1}, failing(status())]
    asked = struct(count=2, **failing(status())) if method == "ServerStream" else structs(wishes)
    call = client.call[method](asked, timeout=CALL_S)
    assert [seen(next(call))["value"], seen(next(call))["value"]] == [0, 1]
    with pytest.raises(grpc.RpcError) as raised:
        next(call)
    check(raised, status())


def list_of(answers: Any) -> None:
    if hasattr(answers, "__next__"):
        list(answers)


def test_an_error_of_ours_looks_the_same_everywhere(client: Client) -> None:
    risk: Any = RiskServiceStub(client.channel)
    with pytest.raises(grpc.RpcError) as raised:
        risk.ScoreRisk(ScoreRiskRequest(request_id="\0"), timeout=CALL_S)
    error = refusal_of(raised.value)
    assert (error.code, error.reason) == (code_pb2.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert "request_id" in error.violations


def test_bytes_that_are_no_message_are_the_callers_fault(client: Client) -> None:
    call = client.channel.unary_unary("/trident.risk.v1.RiskService/ScoreRisk")
    with pytest.raises(grpc.RpcError) as raised:
        call(b"\xff\xff\xff", timeout=CALL_S)
    assert refusal_of(raised.value).reason == "INVALID_REQUEST"
