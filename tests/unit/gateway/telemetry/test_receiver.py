from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from span_makers import names, span

from gateway.telemetry.otlp_json import json_to_spans, spans_to_json
from gateway.telemetry.otlp_protobuf import ProtobufSpans
from gateway.telemetry.receiver import OtlpReceiver
from gateway.telemetry.span import Span
from gateway.telemetry.span_encoding import by_source

JSON, PROTOBUF = "application/json", "application/x-protobuf"
ENCODER = ProtobufSpans()
SPANS = [
    span("letters", 0xA1, 0xA0, service="triton", events={"QUEUE_START": 17}),
    span("InferRequest", 0xA0, 0xC1, service="triton"),
]
BODIES = {
    JSON: spans_to_json(SPANS),
    PROTOBUF: ENCODER.request(by_source(ENCODER, SPANS).items()),
}


@pytest.fixture
def received() -> list[Span]:
    """What came in."""
    return []


@pytest.fixture
async def receiver(received: list[Span]) -> AsyncIterator[OtlpReceiver]:
    """Listens on a free port."""

    def take(content: Any) -> None:
        received.extend(json_to_spans(content))

    receiver = OtlpReceiver(take, max_request_bytes=100_000)
    await receiver.start()
    yield receiver
    await receiver.stop()


async def post(url: str, body: bytes, content_type: str, **headers: str) -> tuple[int, str, bytes]:
    """Status, content type and body of the answer."""
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=body, headers={"Content-Type": content_type} | headers) as answer,
    ):
        return answer.status, answer.content_type, await answer.read()


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("content_type", BODIES)
async def test_spans_come_in(
    content_type: str, packed: bool, receiver: OtlpReceiver, received: list[Span]
) -> None:
    body, headers = BODIES[content_type], {}
    if packed:
        body, headers = gzip.compress(body), {"Content-Encoding": "gzip"}
    status, answer_type, answer = await post(receiver.url, body, content_type, **headers)
    assert (status, answer_type) == (200, content_type)
    if content_type == JSON:
        assert json.loads(answer) == {}
    else:
        assert ExportTraceServiceResponse.FromString(answer) == ExportTraceServiceResponse()
    assert spans_to_json(received) == spans_to_json(SPANS)


async def test_a_charset_is_no_other_type(receiver: OtlpReceiver, received: list[Span]) -> None:
    status, _, _ = await post(receiver.url, BODIES[JSON], "application/json; charset=utf-8")
    assert (status, names(received)) == (200, ["letters", "InferRequest"])


@pytest.mark.parametrize(
    ("content_type", "body", "headers", "status"),
    [
        ("text/plain", BODIES[JSON], {}, 415),
        ("application/octet-stream", BODIES[PROTOBUF], {}, 415),
        (JSON, b"garbage", {}, 400),
        (JSON, b"\xff\xfe\x00", {}, 400),
        (JSON, b"[]", {}, 400),
        (JSON, b'{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "00"}]}]}]}', {}, 400),
        (JSON, BODIES[JSON][:-20], {}, 400),
        (PROTOBUF, b"garbage", {}, 400),
        (PROTOBUF, BODIES[PROTOBUF][:-5], {}, 400),
        (PROTOBUF, BODIES[PROTOBUF], {"Content-Encoding": "gzip"}, 400),
        (JSON, b"[" * 90_000, {}, 400),
        (JSON, b" " * 100_001, {}, 413),
        (JSON, gzip.compress(b" " * 5_000_000), {"Content-Encoding": "gzip"}, 413),
    ],
    ids=[
        "text", "no type", "garbage", "not utf-8", "a list", "half a span", "torn JSON",
        "garbage protobuf", "torn protobuf", "not gzip", "deep", "too large", "a gzip bomb",
    ],
)  # fmt: skip
async def test_what_is_no_spans_is_refused_and_the_next_is_taken(
    content_type: str,
    body: bytes,
    headers: dict[str, str],
    status: int,
    receiver: OtlpReceiver,
    received: list[Span],
) -> None:
    got, _, _ = await post(receiver.url, body, content_type, **headers)
    assert (got, received) == (status, [])
    assert (await post(receiver.url, BODIES[JSON], JSON))[0] == 200
    assert len(received) == 2


async def test_a_sink_that_fails_is_no_fault_of_the_sender(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(content: Any) -> Any:
        raise RuntimeError("disk gone")

    receiver = OtlpReceiver(broken)
    await receiver.start()
    status, _, _ = await post(receiver.url, BODIES[JSON], JSON)
    await receiver.stop()
    assert status == 200
    assert "disk gone" in caplog.text


async def test_only_the_path_of_traces_is_there(receiver: OtlpReceiver) -> None:
    assert receiver.url.endswith("/v1/traces")
    other = receiver.url.replace("traces", "metrics")
    assert (await post(other, BODIES[JSON], JSON))[0] == 404


async def test_after_stop_nobody_listens_and_stopping_again_is_fine(
    receiver: OtlpReceiver,
) -> None:
    await receiver.stop()
    await receiver.stop()
    with pytest.raises(aiohttp.ClientConnectionError):
        await post(receiver.url, BODIES[JSON], JSON)
