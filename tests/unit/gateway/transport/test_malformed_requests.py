"""Whatever comes: a valid answer, or INVALID_ARGUMENT that names what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from api_requests import requests_of
from fake_runner import FakeRunner
from field_paths import resolves
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from manifests import manifest
from refusals import METHODS, RESPONSES, check_stream, check_unary, path_of
from server_thread import served

from trident.common.v1.feature_value_pb2 import FeatureValue
from trident.diagnose.v1 import diagnose_service_pb2 as diagnose
from trident.model.v1 import model_service_pb2 as model
from trident.recommend.v1 import recommend_service_pb2 as recommend
from trident.risk.v1 import risk_service_pb2 as risk

RELEASES = {
    "recommend": manifest("recommend"),
    "diagnose": manifest("diagnose-measurements"),
    "risk": manifest("score-risk"),
}
GOOD = risk.ScoreRiskRequest(features={"age": FeatureValue(number=40)})
FIFTY = settings(
    max_examples=50,
    deadline=None,  # the first call of a channel takes long
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.fixture(scope="module")
def channel() -> Iterator[grpc.Channel]:
    """A channel to a server that must outlive all of this."""
    with served(FakeRunner()) as address, grpc.insecure_channel(address) as channel:
        yield channel


@pytest.fixture(autouse=True)
def still_serving(channel: grpc.Channel) -> Iterator[None]:
    """After each test the server answers as if nothing had been."""
    yield
    check_unary(channel, "ScoreRisk", GOOD, frozenset(), 20)


def test_every_rpc_is_tried() -> None:
    services = (recommend, diagnose, risk, model)
    methods = {
        method.name
        for module in services
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    assert methods == set(METHODS) == set(RESPONSES)


@pytest.mark.parametrize("method", [m for m in METHODS if not m.startswith("Stream")])
def test_a_unary_request_is_answered_or_refused_for_what_is_wrong(
    channel: grpc.Channel, method: str
) -> None:
    @FIFTY
    @given(requests_of(method, RELEASES))
    def asked(drawn: Any) -> None:
        request, faults = drawn
        answer = check_unary(channel, method, request, faults, 20)
        if answer is not None:
            response = RESPONSES[method].FromString(answer)
            if method.startswith("Batch"):
                assert len(response.responses) == len(request.requests)

    asked()


@pytest.mark.parametrize("method", [m for m in METHODS if m.startswith("Stream")])
def test_each_element_of_a_stream_is_answered_or_refused_for_what_is_wrong(
    channel: grpc.Channel, method: str
) -> None:
    @FIFTY
    @given(requests_of(method, RELEASES))
    def asked(elements: Any) -> None:
        check_stream(channel, method, elements, RESPONSES[method], 20)

    asked()


@pytest.mark.parametrize("method", METHODS)
def test_arbitrary_bytes_never_break_the_server(channel: grpc.Channel, method: str) -> None:
    @FIFTY
    @given(st.binary(max_size=200))
    def asked(data: bytes) -> None:
        if method.startswith("Stream"):
            call = channel.stream_stream(path_of(method))
            (answer,) = call(iter([data]), timeout=20)
            response = RESPONSES[method].FromString(answer)
            assert response.error.code in (0, grpc.StatusCode.INVALID_ARGUMENT.value[0])
            return
        call = channel.unary_unary(path_of(method)).future(data, timeout=20)
        expected = {grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT}
        if method == "GetModel":
            expected.add(grpc.StatusCode.NOT_FOUND)
        assert call.code() in expected

    asked()


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("", True),
        ("reason_count", True),
        ('features["age"].number', True),
        ('features["age"]', True),
        ('features["left out"]', True),
        ('features["left out"].number', False),
        ('features["age"].colour', False),
        ("features[0]", False),
        ("colour", False),
        ("reason_count.number", False),
        ("reason_count.", False),
    ],
)
def test_field_paths_resolve_only_where_there_is_a_field(path: str, expected: bool) -> None:
    assert resolves(GOOD, path) is expected


def test_field_paths_resolve_only_where_there_is_an_element() -> None:
    batch = risk.BatchScoreRiskRequest(requests=[GOOD])
    assert resolves(batch, 'requests[0].features["age"].number')
    assert not resolves(batch, "requests[1].reason_count")
    assert resolves(diagnose.DiagnoseRequest(), "evidence")
