"""The channel to Triton beside ``grpc.aio``: the same answers, the same errors."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent import futures
from typing import Any

import grpc
import numpy as np
import pytest
from h2_server import GRPC, OK, Peer, Request, serving, with_prefix
from tritonclient.grpc import InferenceServerClient, service_pb2

from gateway.triton.http2.channel import Channel
from gateway.triton.tensors import arrays_to_request, response_to_arrays
from triton_models.server import EmbeddedTriton

pytestmark = pytest.mark.contract

SERVICE = "/inference.GRPCInferenceService/"
OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
Ask = Callable[..., Awaitable[bytes]]
Outcome = bytes | tuple[grpc.StatusCode, str]


async def outcome(call: Awaitable[bytes]) -> Outcome:
    async with asyncio.timeout(30):
        try:
            return await call
        except grpc.RpcError as error:
            return error.code(), error.details()


class Pair:
    """Asks one server over both."""

    def __init__(self, target: str) -> None:
        self.own = Channel(target)
        self.aio = grpc.aio.insecure_channel(target, options=OPTIONS)

    async def ask(
        self, path: str, message: bytes, timeout_s: float | None = None
    ) -> tuple[Outcome, Outcome]:
        other = self.aio.unary_unary(path)(message, timeout=timeout_s)
        return (
            await outcome(self.own.unary(path, message, timeout_s=timeout_s)),
            await outcome(other),
        )

    async def close(self) -> None:
        await self.own.close()
        await self.aio.close()


@pytest.fixture
async def pair() -> AsyncIterator[Callable[[str], Pair]]:
    pairs = []

    def make(target: str) -> Pair:
        pairs.append(Pair(target))
        return pairs[-1]

    yield make
    for one in pairs:
        await one.close()


class Behaviours(grpc.GenericRpcHandler):
    """A stock server's methods; unary, messages stay bytes."""

    def service(self, details: Any) -> Any:
        handlers = {"/test/Echo": self._echo, "/test/Fail": self._fail, "/test/Raise": self._raise}
        handler = handlers.get(details.method)
        return handler and grpc.unary_unary_rpc_method_handler(handler)

    def _echo(self, message: bytes, context: Any) -> bytes:
        return message

    def _fail(self, message: bytes, context: Any) -> bytes:
        code, _, details = message.decode().partition(" ")
        context.abort(grpc.StatusCode[code], details)

    def _raise(self, message: bytes, context: Any) -> bytes:
        raise ValueError("ü")


@pytest.fixture
def stock() -> Any:
    with futures.ThreadPoolExecutor(4) as threads:
        server = grpc.server(threads, options=OPTIONS)
        server.add_generic_rpc_handlers((Behaviours(),))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield f"127.0.0.1:{port}"
        server.stop(0).wait()


@pytest.mark.parametrize("size", [0, 1, 16_384, 1_000_000, 64_000_000])
async def test_a_stock_server_echoes_messages_of_any_size(pair: Any, stock: str, size: int) -> None:
    message = np.arange(size, dtype=np.uint8).tobytes()
    own, aio = await pair(stock).ask("/test/Echo", message)
    assert own == aio == message


async def test_a_stock_server_answers_many_at_once(pair: Any, stock: str) -> None:
    channel = pair(stock).own
    messages = [b"%d" % n * (1 + n % 7 * 10_000) for n in range(300)]
    answers = await asyncio.gather(*(channel.unary("/test/Echo", one) for one in messages))
    assert answers == messages


@pytest.mark.parametrize("code", [code.name for code in grpc.StatusCode if code.value[0]])
async def test_errors_of_a_stock_server_are_as_grpcs(pair: Any, stock: str, code: str) -> None:
    own, aio = await pair(stock).ask("/test/Fail", f"{code} 100% wrong: ü €\n☃".encode())
    assert own == aio
    assert own[0] is grpc.StatusCode[code]


@pytest.mark.parametrize("method", ["/test/Raise", "/test/Nothing", "/no"])
async def test_failures_of_a_stock_server_are_as_grpcs(pair: Any, stock: str, method: str) -> None:
    own, aio = await pair(stock).ask(method, b"")
    assert own == aio


def trailers_without_status(peer: Peer, request: Request) -> None:
    peer.head(request.stream)
    peer.data(request.stream, with_prefix(b"x"))
    peer.trailers(request.stream, [("other", "x")])


def data_that_ends(peer: Peer, request: Request) -> None:
    peer.head(request.stream)
    peer.data(request.stream, with_prefix(b"x"), end=True)


def compressed(peer: Peer, request: Request) -> None:
    peer.head(request.stream)
    peer.data(request.stream, with_prefix(b"xyz", 1))
    peer.trailers(request.stream, OK)


def http(status: str) -> Callable[[Peer, Request], None]:
    def answer(peer: Peer, request: Request) -> None:
        peer.h2.send_headers(request.stream, [(":status", status), *GRPC], end_stream=True)
        peer.flush()

    answer.__name__ = f"http_{status}"
    return answer


def reset(code: int) -> Callable[[Peer, Request], None]:
    def answer(peer: Peer, request: Request) -> None:
        peer.h2.reset_stream(request.stream, code)
        peer.flush()

    answer.__name__ = f"reset_{code}"
    return answer


@pytest.mark.parametrize(
    "answer",
    [
        trailers_without_status,
        data_that_ends,
        compressed,
        *(
            http(status)
            for status in ("400", "401", "403", "404", "429", "500", "502", "503", "504")
        ),
        *(reset(code) for code in range(14)),
    ],
    ids=lambda answer: answer.__name__,
)
async def test_strange_answers_have_grpcs_code(pair: Any, answer: Any) -> None:
    async with serving(answer) as server:
        both = pair(server.target)
        own, aio = await both.ask("/test/Echo", b"")
        await both.close()
        assert own[0] is aio[0], (own, aio)


async def test_triton_says_the_same_to_both(pair: Any, triton: EmbeddedTriton) -> None:
    both = pair(triton.target)
    live = service_pb2.ServerLiveRequest().SerializeToString()
    own, aio = await both.ask(f"{SERVICE}ServerLive", live)
    assert own == aio
    assert service_pb2.ServerLiveResponse.FromString(own).live
    ready = service_pb2.ModelReadyRequest(name="nobody").SerializeToString()
    own, aio = await both.ask(f"{SERVICE}ModelReady", ready)
    assert own == aio


@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (1000, 500)])
async def test_triton_infers_the_same_for_both(
    pair: Any, triton: EmbeddedTriton, shape: tuple[int, int]
) -> None:
    letters = np.array([b"a", "ü".encode(), b"?"], dtype=object)
    tensor = letters[np.arange(shape[0] * shape[1]) % 3].reshape(shape)
    request = arrays_to_request("letters", {"letters": tensor}, ["capitals", "known", "total"])
    both = pair(triton.target)
    own, aio = await both.ask(f"{SERVICE}ModelInfer", request.SerializeToString())
    response = service_pb2.ModelInferResponse.FromString(own)
    assert response == service_pb2.ModelInferResponse.FromString(aio)
    answer = response_to_arrays(response, shape[0])
    expected = np.array([b"A", "Ü".encode(), b""], dtype=object)
    assert (answer["capitals"] == expected[np.arange(tensor.size) % 3].reshape(shape)).all()


@pytest.mark.parametrize("fault", ["model", "tensor", "nothing", "noise"])
async def test_triton_refuses_the_same_for_both(
    pair: Any, triton: EmbeddedTriton, fault: str
) -> None:
    tensor = np.array([[b"a"]], dtype=object)
    message = {
        "model": arrays_to_request("nobody", {"letters": tensor}).SerializeToString(),
        "tensor": arrays_to_request("letters", {"ü": tensor}).SerializeToString(),
        "nothing": b"",
        "noise": b"\xff\xff",
    }[fault]
    own, aio = await pair(triton.target).ask(f"{SERVICE}ModelInfer", message)
    assert own == aio
    assert isinstance(own, tuple)


async def test_a_deadline_that_is_too_short_is_the_same_for_both(
    pair: Any, triton: EmbeddedTriton
) -> None:
    tensor = np.full((1000, 500), b"a", dtype=object)
    message = arrays_to_request("letters", {"letters": tensor}).SerializeToString()
    both = pair(triton.target)
    for timeout_s in (0.002, 0):
        own, aio = await both.ask(f"{SERVICE}ModelInfer", message, timeout_s)
        # The words of grpc.aio depend on which of its parts sees first that the time is over.
        assert own == (grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")
        assert aio[0] is grpc.StatusCode.DEADLINE_EXCEEDED
    own, aio = await both.ask(f"{SERVICE}ModelInfer", message, 30)
    response = service_pb2.ModelInferResponse.FromString(own)
    assert response == service_pb2.ModelInferResponse.FromString(aio)


async def test_a_triton_that_is_killed_fails_its_calls_and_is_found_again(
    pair: Any, triton: EmbeddedTriton
) -> None:
    channel = pair(triton.target).own
    live = service_pb2.ServerLiveRequest().SerializeToString()
    good = await outcome(channel.unary(f"{SERVICE}ServerLive", live))
    tensor = np.full((1000, 2000), b"a", dtype=object)
    message = arrays_to_request("letters", {"letters": tensor}).SerializeToString()
    calls = [
        asyncio.ensure_future(outcome(channel.unary(f"{SERVICE}ModelInfer", message)))
        for _ in range(3)
    ]
    await asyncio.sleep(0)
    pid = triton.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    for result in await asyncio.gather(*calls):
        assert result[0] is grpc.StatusCode.UNAVAILABLE
    async with asyncio.timeout(30):
        while await outcome(channel.unary(f"{SERVICE}ServerLive", live, timeout_s=1)) != good:
            await asyncio.sleep(0.02)
    await asyncio.to_thread(triton.wait_ready)
    with InferenceServerClient(triton.target) as client:  # others use this Triton too
        for name in ("letters__encode", "letters__decode", "letters"):
            await asyncio.to_thread(client.load_model, name)
