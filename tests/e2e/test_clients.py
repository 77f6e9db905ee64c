"""Clients that have none of our code, or only the stubs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool, json_format, message_factory
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
SERVICES = (
    "trident.diagnose.v1.DiagnoseService",
    "trident.recommend.v1.RecommendService",
    "trident.risk.v1.RiskService",
)


def call_by_reflection(
    channel: grpc.Channel, service: str, method: str, request: dict[str, Any]
) -> dict[str, Any]:
    """Call a method knowing nothing but its name and JSON."""
    pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
    descriptor = pool.FindServiceByName(service).FindMethodByName(method)
    request_type = message_factory.GetMessageClass(descriptor.input_type)
    response_type = message_factory.GetMessageClass(descriptor.output_type)
    call = channel.unary_unary(
        f"/{service}/{method}",
        request_serializer=request_type.SerializeToString,
        response_deserializer=response_type.FromString,
    )
    return json_format.MessageToDict(call(json_format.ParseDict(request, request_type())))


def test_reflection_alone_lists_and_calls_all_three(built: Any, channel: grpc.Channel) -> None:
    listed = set(ProtoReflectionDescriptorDatabase(channel).get_services())
    assert {*SERVICES, "trident.model.v1.ModelService", "grpc.health.v1.Health"} <= listed
    history = built.test_rows("recommend")[0]["history_item_ids"]
    answer = call_by_reflection(
        channel, SERVICES[1], "Recommend", {"historyItemIds": history, "itemCount": 3}
    )
    assert len(answer["items"]) == 3
    measurements = json.loads(built.test_rows("diagnose-measurements")[0]["measurements"])
    answer = call_by_reflection(
        channel, SERVICES[0], "Diagnose", {"measurements": {"values": measurements}}
    )
    assert sum(finding["probability"] for finding in answer["findings"]) == pytest.approx(1)
    features = {
        name: {"category" if isinstance(value, str) else "number": value}
        for name, value in json.loads(built.test_rows("score-risk")[0]["features"]).items()
    }
    answer = call_by_reflection(channel, SERVICES[2], "ScoreRisk", {"features": features})
    assert 300 <= answer["score"] <= 850


def test_health_answers_for_each_domain(gateway: Any) -> None:
    for service in ("", *SERVICES, "trident.model.v1.ModelService"):
        assert gateway.health(service) == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(grpc.RpcError) as unknown:
        gateway.health("trident.weather.v1.WeatherService")
    assert unknown.value.code() == grpc.StatusCode.NOT_FOUND


def test_the_readme_client_runs_with_only_the_stubs_installed(gateway: Any, tmp_path: Path) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert len(program.strip().splitlines()) <= 10
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    subprocess.run(
        [venv / "bin" / "pip", "install", "-qq", "--disable-pip-version-check",
         "--constraint", ROOT / "requirements.lock", ROOT / "protos"],
        check=True,
    )  # fmt: skip
    program = program.replace("127.0.0.1:50051", gateway.target)
    done = subprocess.run(
        [venv / "bin" / "python", "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"\d{3}", done.stdout)
