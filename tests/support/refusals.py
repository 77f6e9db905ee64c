"""Whether a gateway answers or refuses a request as it must; for a real one and a fake one."""

from __future__ import annotations

from typing import Any

import grpc
from field_paths import resolves
from google.protobuf.message import Message
from google.rpc import code_pb2
from wire import Refusal, refusal, refusal_of

from trident.diagnose.v1 import diagnose_service_pb2 as diagnose
from trident.model.v1 import model_service_pb2 as model
from trident.recommend.v1 import recommend_service_pb2 as recommend
from trident.risk.v1 import risk_service_pb2 as risk

SERVICES = {
    "Recommend": "trident.recommend.v1.RecommendService",
    "Diagnose": "trident.diagnose.v1.DiagnoseService",
    "ScoreRisk": "trident.risk.v1.RiskService",
    "ListModels": "trident.model.v1.ModelService",
    "GetModel": "trident.model.v1.ModelService",
}
METHODS = [
    *SERVICES,
    *(f"{form}{name}" for form in ("Batch", "Stream") for name in list(SERVICES)[:3]),
]
"""Every RPC of the API."""
RESPONSES: dict[str, Any] = {
    f"{form}{name}": getattr(module, f"{form}{name}Response")
    for name, module in (("Recommend", recommend), ("Diagnose", diagnose), ("ScoreRisk", risk))
    for form in ("", "Batch", "Stream")
} | {"ListModels": model.ListModelsResponse, "GetModel": model.GetModelResponse}


def path_of(method: str) -> str:
    """Return the path of a method, such as ``/trident.risk.v1.RiskService/BatchScoreRisk``."""
    name = method.removeprefix("Batch").removeprefix("Stream")
    return f"/{SERVICES[name]}/{method}"


def check_refusal(seen: Refusal, request: Message, faults: frozenset[str]) -> None:
    """Check that a refusal names what is wrong, and nothing that is not there."""
    assert seen.code == code_pb2.INVALID_ARGUMENT, seen
    assert seen.reason == "INVALID_REQUEST"
    count = int(seen.metadata["violationCount"])
    assert 0 < len(seen.violations) <= count
    for path in seen.violations:
        assert resolves(request, path), (path, request)
    if len(seen.violations) == count:
        assert faults == set(seen.violations), (seen.violations, request)
    else:  # more than fits into a status
        assert set(seen.violations) < faults


def check_unary(
    channel: grpc.Channel, method: str, request: Message, faults: frozenset[str], timeout_s: float
) -> bytes | None:
    """Call a unary RPC; return the answer, or ``None`` after a refusal that is right."""
    call = channel.unary_unary(path_of(method))
    try:
        answer: bytes = call(request.SerializeToString(), timeout=timeout_s)
    except grpc.RpcError as error:
        seen = refusal_of(error)
        if not faults and method == "GetModel":
            assert seen.reason == "MODEL_NOT_FOUND"
        else:
            check_refusal(seen, request, faults)
        return None
    assert not faults, request
    return answer


def check_stream(
    channel: grpc.Channel,
    method: str,
    elements: list[tuple[Any, frozenset[str]]],
    response_type: Any,
    timeout_s: float,
) -> None:
    """Call a stream RPC; every element must have its own answer or its own refusal."""
    call = channel.stream_stream(path_of(method))
    messages = (element.SerializeToString() for element, _ in elements)
    answers = [response_type.FromString(data) for data in call(messages, timeout=timeout_s)]
    waiting = list(elements)
    assert len(answers) == len(waiting)
    for answer in answers:
        ours = [
            one for one in waiting if one[0].request.request_id == answer.request_id
            and bool(one[1]) == answer.HasField("error")
        ]  # fmt: skip
        assert ours, answer
        if answer.HasField("error"):
            seen = refusal(answer.error)
            (one, *_) = [one for one in ours if one[1] >= set(seen.violations)] or ours
            check_refusal(seen, one[0].request, one[1])
            waiting.remove(one)
        else:
            waiting.remove(ours[0])
