"""What surrounds every RPC, for all four kinds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest
from conformance_service import NAME, SERVICE
from fake_runner import RecordingTracing
from google.protobuf.struct_pb2 import Struct
from google.rpc import code_pb2, status_pb2
from played_call import PlayedCall
from wire import refusal

from gateway.errors import InvalidRequest, Overloaded
from gateway.transport.call import Call
from gateway.transport.rpc import RpcFailed
from gateway.transport.rpcs import Rpcs, in_bytes

GARBAGE = b"\xff\xff"


class Servicer:
    """Answers with what came."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.bad: list[InvalidRequest] = []

    async def Unary(self, request: Struct, call: Call) -> Struct:  # noqa: N802
        await self.go_on.wait()
        if self.error is not None:
            raise self.error
        return request

    async def ClientStream(self, requests: AsyncIterator[Any], call: Call) -> Struct:  # noqa: N802
        return struct(len([request async for request in requests]))

    async def ServerStream(self, request: Struct, call: Call) -> AsyncGenerator[Struct]:  # noqa: N802
        for _ in range(3):
            yield request

    async def BidiStream(self, requests: Any, call: Call) -> AsyncGenerator[Struct]:  # noqa: N802
        async for request in requests:
            if isinstance(request, InvalidRequest):
                self.bad.append(request)
                continue
            yield await self.Unary(request, call)


@pytest.fixture
async def servicer() -> Servicer:
    """What is served."""
    return Servicer()


@pytest.fixture
async def tracing() -> RecordingTracing:
    """Remembers every call."""
    return RecordingTracing()


@pytest.fixture
async def rpcs(servicer: Servicer, tracing: RecordingTracing) -> Rpcs:
    """The table."""
    rpcs = Rpcs(tracing)  # type: ignore[arg-type]
    rpcs.add_service(SERVICE, servicer)
    return rpcs


def struct(value: Any) -> Struct:
    message = Struct()
    message.update({"value": value})
    return message


DATA = struct("a").SerializeToString()


async def stream(*data: bytes) -> AsyncGenerator[bytes]:
    for one in data:
        yield one


async def unary(rpcs: Rpcs, data: bytes = DATA, call: Call | None = None) -> bytes:
    answer: bytes = await rpcs.table[f"/{NAME}/Unary"].answer(data, call or PlayedCall())
    return answer


async def streamed(rpcs: Rpcs, method: str, *data: bytes, call: Call | None = None) -> list[bytes]:
    rpc = rpcs.table[f"/{NAME}/{method}"]
    assert rpc.streaming
    async with aclosing(rpc.answer(stream(*data), call or PlayedCall())) as answers:
        return [one async for one in answers]


async def test_all_four_kinds_take_and_give_bytes(rpcs: Rpcs) -> None:
    assert set(rpcs.table) == {f"/{NAME}/{m.name}" for m in SERVICE.methods}
    assert await unary(rpcs) == DATA
    assert await streamed(rpcs, "ServerStream", DATA) == [DATA] * 3
    assert await streamed(rpcs, "BidiStream", DATA, DATA) == [DATA] * 2
    (count,) = await streamed(rpcs, "ClientStream", DATA, DATA)
    assert Struct.FromString(count) == struct(2)


@pytest.mark.parametrize("method", ["Unary", "BidiStream"])
async def test_a_call_is_traced_from_its_beginning_to_its_end(
    rpcs: Rpcs, tracing: RecordingTracing, method: str
) -> None:
    call = PlayedCall(("traceparent", "x"), ("b-bin", b"\0"), method=f"{NAME}/{method}")
    await (unary(rpcs, call=call) if method == "Unary" else streamed(rpcs, method, call=call))
    (trace,) = tracing.calls
    assert (trace.method, trace.codes) == (f"{NAME}/{method}", [code_pb2.OK])
    assert (trace.metadata, trace.peer) == ({"traceparent": "x"}, "ipv4:10.0.0.1:1")
    assert call.trace is trace


@pytest.mark.parametrize("method", ["Unary", "BidiStream"])
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Overloaded("a", 1), code_pb2.RESOURCE_EXHAUSTED),
        (RuntimeError("secret"), code_pb2.INTERNAL),
        (RpcFailed(status_pb2.Status(code=9, message="as it is")), 9),
    ],
    ids=["ours", "unexpected", "finished"],
)
async def test_an_error_becomes_a_status_and_ends_the_trace(
    rpcs: Rpcs, servicer: Servicer, tracing: RecordingTracing, method: str, error: Any, code: int
) -> None:
    servicer.error = error
    with pytest.raises(RpcFailed) as raised:
        await (unary(rpcs) if method == "Unary" else streamed(rpcs, method, DATA))
    assert raised.value.status.code == code
    assert "secret" not in str(raised.value.status)
    (trace,) = tracing.calls
    assert (trace.codes, trace.error) == ([code], error)
    assert trace.fault is isinstance(error, RuntimeError)


async def test_bytes_that_are_no_message_are_refused(rpcs: Rpcs) -> None:
    with pytest.raises(RpcFailed) as raised:
        await unary(rpcs, GARBAGE)
    text = "must be a google.protobuf.Struct, got bytes that are none"
    assert refusal(raised.value.status).violations == {"": text}
    with pytest.raises(RpcFailed):
        await streamed(rpcs, "ServerStream", GARBAGE)


async def test_bytes_that_are_no_message_do_not_end_a_stream(
    rpcs: Rpcs, servicer: Servicer
) -> None:
    assert await streamed(rpcs, "BidiStream", DATA, GARBAGE, DATA) == [DATA] * 2
    assert len(servicer.bad) == 1


async def test_a_request_that_does_not_come_is_refused(rpcs: Rpcs) -> None:
    with pytest.raises(RpcFailed) as raised:
        await streamed(rpcs, "ServerStream")
    assert raised.value.status.code == code_pb2.UNIMPLEMENTED


@pytest.mark.parametrize(
    ("left_s", "code"),
    [(None, code_pb2.CANCELLED), (3.0, code_pb2.CANCELLED), (0.0, code_pb2.DEADLINE_EXCEEDED)],
)
@pytest.mark.parametrize("method", ["Unary", "BidiStream"])
async def test_a_call_that_is_cancelled_says_why_in_its_trace(
    rpcs: Rpcs, servicer: Servicer, tracing: RecordingTracing, method: str,
    left_s: float | None, code: int,
) -> None:  # fmt: skip
    servicer.go_on.clear()
    call = PlayedCall(left_s=left_s)
    answer = (
        unary(rpcs, DATA, call) if method == "Unary" else streamed(rpcs, method, DATA, call=call)
    )
    task = asyncio.create_task(answer)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert tracing.calls[0].codes == [code]


async def test_a_stream_that_the_transport_leaves_is_cancelled(
    rpcs: Rpcs, tracing: RecordingTracing
) -> None:
    answers = rpcs.table[f"/{NAME}/ServerStream"].answer(stream(DATA), PlayedCall())
    assert await anext(answers) == DATA
    await answers.aclose()
    assert tracing.calls[0].codes == [code_pb2.CANCELLED]


async def test_draining_refuses_what_comes_and_waits_for_what_is_there(
    rpcs: Rpcs, servicer: Servicer
) -> None:
    servicer.go_on.clear()
    old = asyncio.create_task(unary(rpcs))
    await asyncio.sleep(0)
    rpcs.drain()
    waiting = asyncio.create_task(rpcs.wait_idle(20))
    for refused in (unary(rpcs), streamed(rpcs, "BidiStream", DATA)):
        with pytest.raises(RpcFailed) as raised:
            await refused
        assert refusal(raised.value.status).reason == "SHUTTING_DOWN"
    assert not waiting.done()
    servicer.go_on.set()
    assert await old == DATA
    await waiting


async def test_waiting_has_an_end(rpcs: Rpcs, servicer: Servicer) -> None:
    servicer.go_on.clear()
    old = asyncio.create_task(unary(rpcs))
    await asyncio.sleep(0)
    rpcs.drain()
    await rpcs.wait_idle(0)
    assert not old.done()
    servicer.go_on.set()
    await old


async def test_infrastructure_is_not_traced_nor_counted_nor_refused(
    tracing: RecordingTracing, servicer: Servicer
) -> None:
    rpcs = Rpcs(tracing)  # type: ignore[arg-type]
    rpcs.add_service(SERVICE, servicer, infrastructure=True)
    servicer.go_on.clear()
    old = asyncio.create_task(unary(rpcs))
    await asyncio.sleep(0)
    rpcs.drain()
    await asyncio.wait_for(rpcs.wait_idle(1000), 20)
    servicer.go_on.set()
    assert await old == await unary(rpcs) == DATA
    assert await streamed(rpcs, "BidiStream", DATA) == [DATA]
    servicer.error = Overloaded("a", 1)
    with pytest.raises(RpcFailed):
        await unary(rpcs)
    with pytest.raises(RpcFailed):
        await streamed(rpcs, "BidiStream", DATA)
    assert tracing.calls == []


async def test_a_handler_can_take_and_give_bytes_itself(tracing: RecordingTracing) -> None:
    class Own(Servicer):
        @in_bytes
        async def Unary(self, data: bytes, call: Call) -> bytes:  # type: ignore[override]  # noqa: N802
            return data[::-1]

    rpcs = Rpcs(tracing)  # type: ignore[arg-type]
    rpcs.add_service(SERVICE, Own())
    assert await unary(rpcs, GARBAGE + b"a") == b"a" + GARBAGE
    assert tracing.calls[0].codes == [code_pb2.OK]


def test_metadata_is_a_map_of_the_text_and_its_last_values() -> None:
    metadata = PlayedCall(("a", "1"), ("b-bin", b"\0"), ("c", "3"), ("a", "2")).metadata
    assert dict(metadata) == {"a": "2", "c": "3"}
    assert len(metadata) == 2
    assert "b-bin" not in metadata
    assert "c" in metadata
    assert metadata.get("nothing", "else") == "else"
    with pytest.raises(KeyError):
        metadata["b-bin"]
