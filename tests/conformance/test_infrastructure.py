"""Health and reflection."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from conformance_service import NAME
from google.protobuf import descriptor_pool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from served_process import CALL_S, Client

from gateway.transport.health import DOMAIN_SERVICES, MODEL_SERVICE
from gateway.transport.infrastructure import HealthListResponse

UP = health_pb2.HealthCheckResponse.SERVING
DOWN = health_pb2.HealthCheckResponse.NOT_SERVING
UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
SERVICES = {*DOMAIN_SERVICES.values(), MODEL_SERVICE}
VERSIONS = ["grpc.reflection.v1", "grpc.reflection.v1alpha"]


@pytest.fixture
def health(client: Client) -> Any:
    """A client of the health service."""
    return health_pb2_grpc.HealthStub(client.channel)


@pytest.fixture
def down(client: Client) -> Iterator[None]:
    """No release serves meanwhile."""
    client.unary(serving=False)
    yield
    client.unary(serving=True)


def check(health: Any, service: str = "") -> int:
    return int(health.Check(health_pb2.HealthCheckRequest(service=service), timeout=CALL_S).status)


def test_every_service_is_healthy(health: Any) -> None:
    assert {check(health, service) for service in ("", *SERVICES)} == {UP}


def test_a_service_that_is_not_there_is_not_found(health: Any) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        check(health, "nothing")
    assert raised.value.code() == grpc.StatusCode.NOT_FOUND


def test_a_watch_sees_every_change(health: Any, client: Client) -> None:
    watch = health.Watch(health_pb2.HealthCheckRequest(), timeout=CALL_S)
    assert next(watch).status == UP
    client.unary(serving=False)
    assert next(watch).status == DOWN
    client.unary(serving=True)
    assert next(watch).status == UP
    watch.cancel()


def test_a_watch_of_a_service_that_is_not_there_says_so_and_goes_on(health: Any) -> None:
    watch = health.Watch(health_pb2.HealthCheckRequest(service="nothing"), timeout=CALL_S)
    assert next(watch).status == UNKNOWN
    assert watch.is_active()
    watch.cancel()


def test_all_services_are_listed_with_their_health(client: Client) -> None:
    call = client.channel.unary_unary("/grpc.health.v1.Health/List")
    listed = HealthListResponse.FromString(call(b"", timeout=CALL_S)).statuses
    assert {name: one.status for name, one in listed.items()} == dict.fromkeys(
        {"", *SERVICES}, UP
    )  # fmt: skip


def ask(client: Client, version: str, *questions: dict[str, Any]) -> list[Any]:
    """Both versions have the same messages."""
    call = client.channel.stream_stream(
        f"/{version}.ServerReflection/ServerReflectionInfo",
        reflection_pb2.ServerReflectionRequest.SerializeToString,
        reflection_pb2.ServerReflectionResponse.FromString,
    )
    requests = (reflection_pb2.ServerReflectionRequest(**question) for question in questions)
    return list(call(requests, timeout=CALL_S))


@pytest.mark.parametrize("version", VERSIONS)
def test_reflection_lists_what_can_be_called(client: Client, version: str) -> None:
    (answer,) = ask(client, version, {"list_services": ""})
    listed = {one.name for one in answer.list_services_response.service}
    assert listed == {
        *SERVICES, "grpc.health.v1.Health", *(f"{one}.ServerReflection" for one in VERSIONS)
    }  # fmt: skip


@pytest.mark.parametrize("version", VERSIONS)
def test_reflection_describes_every_service_it_lists(client: Client, version: str) -> None:
    (listed,) = ask(client, version, {"list_services": ""})
    names = [one.name for one in listed.list_services_response.service]
    answers = ask(client, version, *({"file_containing_symbol": name} for name in names))
    pool = descriptor_pool.DescriptorPool()
    for answer in answers:
        for data in reversed(answer.file_descriptor_response.file_descriptor_proto):
            pool.AddSerializedFile(data)
    for name in names:
        assert pool.FindServiceByName(name).methods
    assert pool.FindMethodByName("grpc.health.v1.Health.List")


@pytest.mark.parametrize("version", VERSIONS)
def test_a_question_that_cannot_be_answered_does_not_end_the_stream(
    client: Client, version: str
) -> None:
    extension = reflection_pb2.ExtensionRequest(
        containing_type="google.protobuf.MethodOptions", extension_number=1
    )
    answers = ask(
        client,
        version,
        {"file_by_filename": "nothing.proto"},
        {"file_containing_symbol": "no.Symbol"},
        {"file_containing_extension": extension},
        {"all_extension_numbers_of_type": "no.Message"},
        {},
        {"all_extension_numbers_of_type": "google.protobuf.MethodOptions"},
        {"file_by_filename": "google/protobuf/struct.proto", "host": "here"},
    )
    codes = [one.error_response.error_code for one in answers[:5]]
    not_found, invalid = grpc.StatusCode.NOT_FOUND.value[0], grpc.StatusCode.INVALID_ARGUMENT
    assert codes == [not_found] * 4 + [invalid.value[0]]
    numbers = answers[5].all_extension_numbers_response
    assert numbers.base_type_name == "google.protobuf.MethodOptions"
    assert answers[6].original_request.host == "here"
    (data,) = answers[6].file_descriptor_response.file_descriptor_proto
    assert b"google/protobuf/struct.proto" in data


def test_a_stock_client_of_reflection_finds_its_way(client: Client) -> None:
    pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(client.channel))
    service = pool.FindServiceByName("trident.risk.v1.RiskService")
    assert service.methods_by_name["ScoreRisk"].input_type.fields_by_name["features"]
    assert pool.FindServiceByName(NAME).full_name == NAME
