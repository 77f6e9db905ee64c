"""Fifty requests of every RPC, most of them bad, to a gateway with real releases."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from api_requests import requests_of
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2
from hypothesis import HealthCheck, given, settings
from refusals import METHODS, RESPONSES, check_stream, check_unary

from triton_models.release import Manifest

pytestmark = pytest.mark.e2e

TIMEOUT_S = 30
DOMAIN_LINES = {
    "recommend": "recommend",
    "diagnose": "diagnose-measurements",
    "risk": "score-risk",
}


@pytest.fixture(scope="session")
def releases(built: Any) -> dict[str, Manifest]:
    """What each domain serves."""
    return {domain: built.manifest(line) for domain, line in DOMAIN_LINES.items()}


def ask(channel: grpc.Channel, method: str, drawn: Any, seen: list[bool]) -> None:
    """Ask once; what comes must be a valid answer or name exactly what is wrong."""
    if method.startswith("Stream"):
        check_stream(channel, method, drawn, RESPONSES[method], TIMEOUT_S)
        seen += [not faults for _, faults in drawn]
        return
    request, faults = drawn
    answer = check_unary(channel, method, request, faults, TIMEOUT_S)
    seen.append(answer is not None)
    if answer is not None:
        response: Message = RESPONSES[method].FromString(answer)
        assert response.IsInitialized()


@pytest.mark.parametrize("method", METHODS)
def test_each_request_is_answered_or_refused_for_what_is_wrong(
    method: str, gateway: Any, channel: grpc.Channel, releases: dict[str, Manifest]
) -> None:
    seen: list[bool] = []

    @settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
    @given(requests_of(method, releases))
    def asked(drawn: Any) -> None:
        ask(channel, method, drawn, seen)

    asked()
    assert len(seen) >= 50 or method == "ListModels"
    assert any(seen), "not one request was valid: this shows nothing of answers"
    assert not all(seen), "not one request was refused"
    assert gateway.process.poll() is None
    assert gateway.health() == health_pb2.HealthCheckResponse.SERVING
