from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest
from conformance_service import NAME, SERVICE
from fake_runner import Answers, RecordingTracing
from google.protobuf.struct_pb2 import Struct
from google.rpc import code_pb2
from played_call import PlayedCall

from gateway.audit.record import AccessRecord, Payload
from gateway.errors import Overloaded
from gateway.security.client import ClientKind, known_client
from gateway.telemetry.tracing import Tracing
from gateway.transport.auditing import Auditing
from gateway.transport.call import Call
from gateway.transport.rpc import RpcFailed
from gateway.transport.rpcs import Rpcs

PARENT = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
DATA = Struct().SerializeToString()


class Servicer:
    error: BaseException | None = None

    async def Unary(self, request: Struct, call: Call) -> Struct:  # noqa: N802
        call.trace.set_release(Answers(variant="fused"))
        call.client = known_client(ClientKind.KEY, "billing", frozenset())
        if self.error is not None:
            raise self.error
        return request

    async def ClientStream(self, requests: AsyncIterator[Any], call: Call) -> Struct:  # noqa: N802
        return await anext(requests)  # type: ignore[no-any-return]

    async def ServerStream(self, request: Struct, call: Call) -> AsyncGenerator[Struct]:  # noqa: N802
        for _ in range(3):
            yield request

    async def BidiStream(self, requests: Any, call: Call) -> AsyncGenerator[Struct]:  # noqa: N802
        async for request in requests:
            yield await self.Unary(request, call)


class Written:
    """What was written down, by RPCs on a table."""

    def __init__(self, ratio: float = 1.0, tracing: Any = None) -> None:
        self.records: list[AccessRecord] = []
        self.payloads: list[Payload] = []
        self.servicer = Servicer()
        auditing = Auditing(self.records.append, self.payloads.append, ratio)
        rpcs = Rpcs(tracing or Tracing(always_noted=True), auditing=auditing)
        rpcs.add_service(SERVICE, self.servicer)
        self.rpcs = rpcs

    def rpc(self, method: str) -> Any:
        return self.rpcs.table[f"/{NAME}/{method}"].answer


async def messages(*data: bytes) -> AsyncGenerator[bytes]:
    for one in data:
        yield one


async def test_a_call_is_written_down_with_who_what_and_how_much() -> None:
    written = Written()
    data = Struct(fields={"a": {}}).SerializeToString()  # type: ignore[dict-item]
    await written.rpc("Unary")(data, PlayedCall(("traceparent", PARENT)))
    (record,) = written.records
    assert (record.method, record.code) == (f"{NAME}/Unary", code_pb2.OK)
    assert (record.client, record.peer) == ("key:billing", "ipv4:10.0.0.1:1")
    assert (record.line, record.release, record.variant) == ("score-risk", "a1", "fused")
    assert (record.parent, record.trace_id) == (PARENT, 0)
    assert (record.request_bytes, record.response_bytes) == (len(data), len(data))
    assert (record.start_ns, record.requests, record.responses) == (17, 1, 1)
    assert written.payloads == [Payload(record, data, data)]


async def test_a_call_takes_the_time_that_passes_whatever_the_clock_of_the_wall_says() -> None:
    written = Written()
    await written.rpc("Unary")(b"", PlayedCall())
    (record,) = written.records
    assert record.start_ns == 17  # decades before the clock of the wall
    assert 0 <= record.duration_ns < 60e9


async def test_a_failure_is_written_down_with_its_code_and_without_messages() -> None:
    written = Written()
    written.servicer.error = Overloaded("score-risk", 1)
    with pytest.raises(RpcFailed):
        await written.rpc("Unary")(DATA, PlayedCall())
    (record,) = written.records
    assert (record.code, record.responses) == (code_pb2.RESOURCE_EXHAUSTED, 0)
    assert written.payloads == []


@pytest.mark.parametrize(
    ("left_s", "code"), [(None, code_pb2.CANCELLED), (0.0, code_pb2.DEADLINE_EXCEEDED)]
)
async def test_a_call_that_was_given_up_is_written_down(left_s: float | None, code: int) -> None:
    written = Written()
    written.servicer.error = asyncio.CancelledError()
    with pytest.raises(asyncio.CancelledError):
        await written.rpc("Unary")(DATA, PlayedCall(left_s=left_s))
    assert [record.code for record in written.records] == [code]


async def test_of_a_stream_messages_are_counted_in_both_directions() -> None:
    written = Written()
    answers = written.rpc("ServerStream")(messages(DATA), PlayedCall())
    assert len([one async for one in answers]) == 3
    async with aclosing(written.rpc("BidiStream")(messages(DATA, DATA), PlayedCall())) as some:
        assert await anext(some) == DATA
    assert [(one.requests, one.responses, one.code) for one in written.records] == [
        (1, 3, code_pb2.OK), (1, 1, code_pb2.CANCELLED),
    ]  # fmt: skip
    assert written.payloads == []


async def test_a_stream_that_fails_is_written_down_with_its_code() -> None:
    written = Written()
    written.servicer.error = Overloaded("score-risk", 1)
    with pytest.raises(RpcFailed):
        [one async for one in written.rpc("BidiStream")(messages(DATA), PlayedCall())]
    assert written.records[0].code == code_pb2.RESOURCE_EXHAUSTED


async def test_the_share_of_payloads_is_what_was_asked_for_and_can_be_changed() -> None:
    written = Written(ratio=0.0)
    for _ in range(50):
        await written.rpc("Unary")(DATA, PlayedCall())
    assert (len(written.records), written.payloads) == (50, [])


async def test_infrastructure_is_not_written_down() -> None:
    records: list[AccessRecord] = []
    rpcs = Rpcs(RecordingTracing(), auditing=Auditing(records.append))  # type: ignore[arg-type]
    rpcs.add_service(SERVICE, Servicer(), infrastructure=True)
    await rpcs.table[f"/{NAME}/ClientStream"].answer(messages(DATA), PlayedCall()).__anext__()
    assert records == []
