"""The gRPC protocol over ASGI; what a real client and server make of it is in conformance."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import pytest
from fake_asgi import FakeConnection
from google.rpc import code_pb2, status_pb2

from gateway.transport.asgi import GrpcOverAsgi
from gateway.transport.asgi_call import AsgiCall
from gateway.transport.asgi_stream import READ_AHEAD, WRITE_BYTES, MessageReader
from gateway.transport.call import Call
from gateway.transport.grpc_wire import Deframer, frame
from gateway.transport.rpc import Rpc, RpcFailed

MAX = 1000
OK = {b"grpc-status": b"0"}


class Handlers:
    """What is served."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.go_on = asyncio.Event()
        self.began = asyncio.Event()
        self.ended: list[str] = []
        self.taken = 0

    async def echo(self, data: bytes, call: Call) -> bytes:
        self.calls.append(call)
        return data

    async def wait(self, data: bytes, call: Call) -> bytes:
        self.began.set()
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.ended.append("cancelled")
            raise
        return data

    async def fail(self, data: bytes, call: Call) -> bytes:
        raise RpcFailed(status_pb2.Status(code=code_pb2.ABORTED, message="no"))

    async def dress(self, data: bytes, call: Call) -> bytes:
        call.send_initial(("first", "1"))
        call.send_trailing(("last-bin", b"\xff"))
        call.compress()
        return data

    async def stream(self, data: AsyncIterator[bytes], call: Call) -> AsyncGenerator[bytes]:
        try:
            async for one in data:
                self.taken += 1
                yield one
                if one == b"fail":
                    raise RpcFailed(status_pb2.Status(code=code_pb2.ABORTED, message="no"))
        except (asyncio.CancelledError, GeneratorExit) as error:
            self.ended.append(type(error).__name__)
            raise

    async def look(self, call: Call) -> bool:
        if call.header("who") == "slow":
            await self.go_on.wait()
        return call.header("who") == "friend"

    async def refuse_nothing(self, data: bytes, call: Call) -> bytes:
        if not data:
            raise RpcFailed(status_pb2.Status(code=code_pb2.UNAUTHENTICATED))
        return data

    async def refuse_no_messages(
        self, data: AsyncIterator[bytes], call: Call
    ) -> AsyncGenerator[bytes]:
        messages = [one async for one in data]
        yield await self.refuse_nothing(b"".join(messages), call)

    async def flood(self, data: AsyncIterator[bytes], call: Call) -> AsyncGenerator[bytes]:
        for place in range(1000):
            yield b"x" * 900
            self.taken = place


@pytest.fixture
async def handlers() -> Handlers:
    """What is served."""
    return Handlers()


@pytest.fixture
async def grpc(handlers: Handlers) -> GrpcOverAsgi:
    """The application."""
    names = ("echo", "wait", "fail", "dress")
    table = {f"/{name}": Rpc(False, getattr(handlers, name)) for name in names}
    table |= {f"/{name}": Rpc(True, getattr(handlers, name)) for name in ("stream", "flood")}
    table["/guarded"] = Rpc(False, handlers.refuse_nothing, handlers.look)
    table["/guarded-stream"] = Rpc(True, handlers.refuse_no_messages, handlers.look)
    return GrpcOverAsgi(table, MAX)


async def run(grpc: GrpcOverAsgi, connection: FakeConnection) -> None:
    async with asyncio.timeout(20):
        await grpc.answer(connection.scope, connection.receive, connection.send)


def start(grpc: GrpcOverAsgi, connection: FakeConnection) -> asyncio.Task[None]:
    answering = grpc.answer(connection.scope, connection.receive, connection.send)
    return asyncio.create_task(asyncio.wait_for(answering, 20))


def slowly(connection: FakeConnection) -> asyncio.Event:
    """Let the server take bodies only once the event is set, and only one at a time."""
    taking = asyncio.Event()
    send = connection.send
    busy = asyncio.Lock()

    async def slow(event: Any) -> None:
        if event["type"] == "http.response.body":
            assert not busy.locked(), "the server has not taken the last"
            async with busy:
                await taking.wait()
                await asyncio.sleep(0)
        await send(event)

    connection.send = slow  # type: ignore[method-assign]
    return taking


async def asked(grpc: GrpcOverAsgi, path: str, body: bytes, **headers: str) -> FakeConnection:
    connection = FakeConnection(path, {key.replace("_", "-"): v for key, v in headers.items()})
    connection.body(body)
    await run(grpc, connection)
    return connection


async def test_an_answer_comes_in_three_events(grpc: GrpcOverAsgi) -> None:
    connection = await asked(grpc, "/echo", frame(b"abc"))
    assert [event["type"].rpartition(".")[2] for event in connection.sent] == [
        "start", "body", "trailers",
    ]  # fmt: skip
    assert connection.headers == {b"content-type": b"application/grpc"}
    assert (connection.answer, connection.trailers) == (frame(b"abc"), OK)


async def test_a_short_call_is_not_asked_whether_its_client_is_there(grpc: GrpcOverAsgi) -> None:
    assert (await asked(grpc, "/echo", frame(b"abc"))).asked == 1


async def test_a_request_may_come_in_pieces_and_compressed(grpc: GrpcOverAsgi) -> None:
    connection = FakeConnection("/echo", {"grpc-encoding": "gzip"})
    answering = start(grpc, connection)
    body = frame(b"abc", compress=True)
    for place in range(len(body)):
        connection.body(body[place : place + 1], more=True)
        await asyncio.sleep(0)
    connection.body(b"")
    await answering
    assert connection.answer == frame(b"abc")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", code_pb2.UNIMPLEMENTED),
        (frame(b"a") * 2, code_pb2.UNIMPLEMENTED),
        (frame(b"abc")[:-1], code_pb2.UNIMPLEMENTED),
        (frame(b"x" * (MAX + 1)), code_pb2.RESOURCE_EXHAUSTED),
        (b"\1" + frame(b"abc")[1:], code_pb2.INTERNAL),
    ],
    ids=["none", "two", "cut off", "too large", "compressed, unsaid"],
)
async def test_a_body_that_is_not_one_message_is_refused(
    grpc: GrpcOverAsgi, handlers: Handlers, body: bytes, code: int
) -> None:
    connection = await asked(grpc, "/echo", body)
    assert connection.headers[b"grpc-status"] == b"%d" % code
    assert not handlers.calls


@pytest.mark.parametrize("path", ["/guarded", "/guarded-stream"])
async def test_of_a_call_that_is_refused_by_its_headers_no_message_is_read(
    grpc: GrpcOverAsgi, handlers: Handlers, path: str
) -> None:
    body = frame(bytes(MAX - 1), compress=True)
    refused = await asked(grpc, path, body, grpc_encoding="gzip")
    assert refused.headers[b"grpc-status"] == b"%d" % code_pb2.UNAUTHENTICATED
    assert refused.asked == 0
    let_in = await asked(grpc, path, body, grpc_encoding="gzip", who="friend")
    assert let_in.trailers == OK
    assert let_in.answer == frame(bytes(MAX - 1))
    assert let_in.asked > 0


async def test_a_deadline_may_pass_while_it_is_looked_who_calls(
    grpc: GrpcOverAsgi, handlers: Handlers
) -> None:
    connection = FakeConnection("/guarded", {"grpc-timeout": "1m", "who": "slow"})
    answering = start(grpc, connection)
    async with asyncio.timeout(20):
        while len(connection.sent) < 2:
            await asyncio.sleep(0.005)
    handlers.go_on.set()
    await answering
    assert connection.headers[b"grpc-status"] == b"%d" % code_pb2.DEADLINE_EXCEEDED
    assert (len(connection.sent), connection.asked) == (2, 0)


async def test_an_error_comes_with_trailers_only(grpc: GrpcOverAsgi) -> None:
    connection = await asked(grpc, "/fail", frame(b""))
    assert connection.status == 200
    assert connection.headers[b"grpc-status"] == b"%d" % code_pb2.ABORTED
    assert connection.headers[b"grpc-message"] == b"no"
    assert connection.answer == b""
    assert len(connection.sent) == 2
    assert not connection.sent[0].get("trailers")


async def test_a_method_that_is_not_there_is_unimplemented(grpc: GrpcOverAsgi) -> None:
    connection = await asked(grpc, "/nothing", frame(b""))
    assert connection.headers[b"grpc-status"] == b"%d" % code_pb2.UNIMPLEMENTED


@pytest.mark.parametrize(
    ("change", "scope"),
    [({"content-type": "application/json"}, {}), ({"content-type": "application/grpc-web"}, {}),
     ({}, {"method": "GET"})],
)  # fmt: skip
async def test_what_is_no_grpc_is_refused(
    grpc: GrpcOverAsgi, change: dict[str, str], scope: dict[str, str]
) -> None:
    connection = FakeConnection("/echo", change, **scope)
    await run(grpc, connection)
    assert connection.status == 415


async def test_what_a_servicer_sends_beside_its_answer_goes_along(grpc: GrpcOverAsgi) -> None:
    data = b"y" * 500
    connection = await asked(grpc, "/dress", frame(data), grpc_accept_encoding="identity, gzip")
    assert connection.headers[b"first"] == b"1"
    assert connection.headers[b"grpc-encoding"] == b"gzip"
    assert connection.trailers == OK | {b"last-bin": b"/w"}
    assert connection.answer[0] == 1
    assert gzip.decompress(connection.answer[5:]) == data


async def test_nothing_is_compressed_for_a_client_that_does_not_take_it(
    grpc: GrpcOverAsgi,
) -> None:
    connection = await asked(grpc, "/dress", frame(b"abc"), grpc_accept_encoding="identity")
    assert b"grpc-encoding" not in connection.headers
    assert connection.answer == frame(b"abc")


async def test_a_call_knows_its_client(grpc: GrpcOverAsgi, handlers: Handlers) -> None:
    await asked(grpc, "/echo", frame(b""), grpc_timeout="5S", a="1", b_bin="/w")
    (call,) = handlers.calls
    assert call.pairs() == [("a", "1"), ("b-bin", b"\xff")]
    assert dict(call.metadata) == {"a": "1"}
    assert (call.metadata.get("a"), call.metadata.get("b-bin")) == ("1", None)
    assert call.peer() == "ipv4:127.0.0.1:4711"
    left = call.time_remaining()
    assert left is not None
    assert 0 < left <= 5


async def test_an_ipv6_client_is_written_as_grpc_does(
    grpc: GrpcOverAsgi, handlers: Handlers
) -> None:
    connection = FakeConnection("/echo", client=("::1", 7))
    connection.body(frame(b""))
    await run(grpc, connection)
    assert handlers.calls[0].peer() == "ipv6:[::1]:7"


async def test_a_client_that_goes_cancels_its_call(grpc: GrpcOverAsgi, handlers: Handlers) -> None:
    connection = FakeConnection("/wait")
    connection.body(frame(b""))
    answering = start(grpc, connection)
    await handlers.began.wait()
    connection.leave()
    await answering
    assert handlers.ended == ["cancelled"]
    assert connection.sent == []


async def test_a_client_that_goes_before_its_request_is_there_is_forgotten(
    grpc: GrpcOverAsgi, handlers: Handlers
) -> None:
    connection = FakeConnection("/echo")
    connection.body(frame(b"abc")[:3], more=True)
    answering = start(grpc, connection)
    await asyncio.sleep(0)
    connection.leave()
    await answering
    assert connection.sent == []
    assert not handlers.calls


async def test_a_deadline_that_passes_cancels_and_is_said(
    grpc: GrpcOverAsgi, handlers: Handlers
) -> None:
    connection = await asked(grpc, "/wait", frame(b""), grpc_timeout="30m")
    assert connection.headers[b"grpc-status"] == b"%d" % code_pb2.DEADLINE_EXCEEDED
    assert handlers.ended == ["cancelled"]


async def test_a_deadline_passes_also_while_the_request_is_awaited(
    grpc: GrpcOverAsgi, handlers: Handlers
) -> None:
    connection = FakeConnection("/echo", {"grpc-timeout": "30m"})
    answering = start(grpc, connection)
    async with asyncio.timeout(20):
        while len(connection.sent) < 2:
            await asyncio.sleep(0.005)
    assert connection.headers[b"grpc-status"] == b"%d" % code_pb2.DEADLINE_EXCEEDED
    connection.leave()
    await answering
    assert len(connection.sent) == 2


async def test_a_late_body_of_an_expired_call_is_not_answered(
    grpc: GrpcOverAsgi, handlers: Handlers
) -> None:
    connection = FakeConnection("/echo", {"grpc-timeout": "1n"})
    answering = start(grpc, connection)
    async with asyncio.timeout(20):
        while len(connection.sent) < 2:
            await asyncio.sleep(0.005)
    connection.body(frame(b"abc"))
    await answering
    assert not handlers.calls


async def test_closing_cancels_what_is_left(grpc: GrpcOverAsgi, handlers: Handlers) -> None:
    connection = FakeConnection("/wait")
    connection.body(frame(b""))
    answering = start(grpc, connection)
    await handlers.began.wait()
    other = asyncio.create_task(handlers.go_on.wait())
    await grpc.close()
    assert handlers.ended == ["cancelled"]
    assert answering.done()
    assert connection.headers[b"grpc-status"] == b"%d" % code_pb2.CANCELLED
    assert not other.done()
    handlers.go_on.set()
    await other


async def test_a_stream_answers_as_messages_come(grpc: GrpcOverAsgi) -> None:
    connection = FakeConnection("/stream")
    answering = start(grpc, connection)
    for place in range(1, 4):
        connection.body(frame(b"a") * 2, more=True)
        async with asyncio.timeout(20):
            while connection.answer != frame(b"a") * 2 * place:
                await asyncio.sleep(0)
    connection.body(frame(b"b"))
    await answering
    assert connection.answer == frame(b"a") * 6 + frame(b"b")
    assert connection.trailers == OK


async def test_answers_that_come_together_are_sent_together(grpc: GrpcOverAsgi) -> None:
    connection = await asked(grpc, "/stream", frame(b"a") * 30)
    bodies = [event["body"] for event in connection.sent if event.get("body")]
    assert b"".join(bodies) == frame(b"a") * 30
    assert len(bodies) <= 2


async def test_a_stream_that_nobody_takes_is_not_read_to_its_end(
    grpc: GrpcOverAsgi, handlers: Handlers
) -> None:
    connection = FakeConnection("/stream")
    taking = slowly(connection)
    for _ in range(10 * READ_AHEAD):
        connection.body(frame(b"x" * MAX), more=True)
    connection.body(b"")
    answering = start(grpc, connection)
    for _ in range(10 * READ_AHEAD):
        await asyncio.sleep(0)
    taken, read = handlers.taken * MAX, connection.asked
    taking.set()
    await answering
    assert taken < 3 * WRITE_BYTES
    assert read < 4 * READ_AHEAD
    assert handlers.taken == 10 * READ_AHEAD
    whole = connection.answer == frame(b"x" * MAX) * 10 * READ_AHEAD  # a difference would be long
    assert whole


async def test_a_generator_that_never_waits_does_not_fill_the_memory(
    grpc: GrpcOverAsgi, handlers: Handlers
) -> None:
    connection = FakeConnection("/flood")
    taking = slowly(connection)
    connection.body(b"")
    answering = start(grpc, connection)
    for _ in range(100):
        await asyncio.sleep(0)
    taken = handlers.taken * 900
    taking.set()
    await answering
    assert taken < 3 * WRITE_BYTES
    whole = connection.answer == frame(b"x" * 900) * 1000  # a difference would be long
    assert whole


async def test_a_stream_that_fails_gives_its_answers_first(grpc: GrpcOverAsgi) -> None:
    connection = await asked(grpc, "/stream", frame(b"a") + frame(b"fail") + frame(b"b"))
    assert connection.answer == frame(b"a") + frame(b"fail")
    assert connection.trailers == {b"grpc-status": b"10", b"grpc-message": b"no"}


async def test_an_element_over_the_limit_ends_a_stream(grpc: GrpcOverAsgi) -> None:
    connection = await asked(grpc, "/stream", frame(b"x" * (MAX + 1)))
    assert connection.headers[b"grpc-status"] == b"%d" % code_pb2.RESOURCE_EXHAUSTED


async def test_an_empty_stream_is_ok(grpc: GrpcOverAsgi) -> None:
    connection = await asked(grpc, "/stream", b"")
    assert (connection.answer, connection.trailers) == (b"", OK)


async def test_a_client_that_leaves_a_stream_ends_it(
    grpc: GrpcOverAsgi, handlers: Handlers
) -> None:
    connection = FakeConnection("/stream")
    connection.body(frame(b"a"), more=True)
    answering = start(grpc, connection)
    async with asyncio.timeout(20):
        while not connection.answer:
            await asyncio.sleep(0)
    connection.leave()
    await answering
    assert handlers.ended == ["CancelledError"]


@pytest.fixture
async def incoming() -> tuple[FakeConnection, AsgiCall, MessageReader]:
    """A stream whose messages have a minute each, and what reads them."""
    connection = FakeConnection("/stream")
    call = AsgiCall(connection.scope, connection.receive, connection.send)
    return connection, call, MessageReader(call, Deframer(b"", MAX), 60)


async def test_a_message_of_a_stream_has_its_time_from_when_it_begins_to_come(
    incoming: tuple[FakeConnection, AsgiCall, MessageReader],
) -> None:
    connection, call, reader = incoming

    async def due_after(data: bytes, more: bool = True) -> float | None:
        connection.body(data, more)
        await asyncio.sleep(0)
        return call.message_due

    whole = frame(b"hello")
    assert await due_after(whole) is None, "between two, any time may pass"
    first = await due_after(whole[:3])
    assert first is not None
    assert await due_after(whole[3:5]) == first, "dripping wins no time"
    second = await due_after(whole[5:] + whole[:3])
    assert second is not None
    assert second > first
    assert await due_after(b"", more=False) is None, "no more is to come"
    assert [one async for one in reader] == [b"hello"] * 2


async def test_a_stream_is_not_late_for_what_is_not_read_here(
    incoming: tuple[FakeConnection, AsgiCall, MessageReader],
) -> None:
    connection, call, reader = incoming
    whole = frame(b"hello")
    connection.body(READ_AHEAD * whole + whole[:3], more=True)
    await asyncio.sleep(0)
    assert call.message_due is None
    assert await anext(reader) == b"hello"
    assert call.message_due is not None
