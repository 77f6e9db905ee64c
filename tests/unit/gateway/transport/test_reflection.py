"""A client that has none of our code: everything comes by reflection."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from fake_runner import FakeRunner
from google.protobuf import descriptor_pool, json_format, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from server_thread import served

CALLS: list[tuple[str, str, dict[str, Any], str]] = [
    ("trident.recommend.v1.RecommendService", "Recommend",
     {"historyItemIds": ["m1"], "itemCount": 3}, "items"),
    ("trident.diagnose.v1.DiagnoseService", "Diagnose",
     {"measurements": {"values": {"mean radius": 14}}}, "findings"),
    ("trident.risk.v1.RiskService", "ScoreRisk",
     {"features": {"age": {"number": 40}, "housing": {"category": "own"}}}, "defaultProbability"),
    ("trident.model.v1.ModelService", "ListModels", {}, "models"),
]  # fmt: skip


@pytest.fixture
def channel() -> Iterator[grpc.Channel]:
    """A channel to a server with reflection."""
    with served(FakeRunner()) as address, grpc.insecure_channel(address) as channel:
        yield channel


def test_all_services_are_listed(channel: grpc.Channel) -> None:
    listed = set(ProtoReflectionDescriptorDatabase(channel).get_services())
    assert listed == {service for service, *_ in CALLS} | {
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    }


@pytest.mark.parametrize(("service", "method", "request_", "key"), CALLS)
def test_every_service_can_be_called_without_stubs(
    channel: grpc.Channel, service: str, method: str, request_: dict[str, Any], key: str
) -> None:
    # A pool of its own: nothing of our generated code is in it.
    pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
    descriptor = pool.FindServiceByName(service).FindMethodByName(method)
    request_type = message_factory.GetMessageClass(descriptor.input_type)
    response_type = message_factory.GetMessageClass(descriptor.output_type)
    call = channel.unary_unary(
        f"/{service}/{method}",
        request_serializer=request_type.SerializeToString,
        response_deserializer=response_type.FromString,
    )
    answer = call(json_format.ParseDict(request_, request_type(), descriptor_pool=pool))
    assert key in json_format.MessageToDict(answer, descriptor_pool=pool)


def test_reflection_can_be_turned_off() -> None:
    with (
        served(FakeRunner(), reflection_enabled=False) as address,
        grpc.insecure_channel(address) as channel,
        pytest.raises(grpc.RpcError) as raised,
    ):
        ProtoReflectionDescriptorDatabase(channel).get_services()
    assert raised.value.code() == grpc.StatusCode.UNIMPLEMENTED
