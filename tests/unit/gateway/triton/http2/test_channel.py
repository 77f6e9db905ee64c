"""Connections are made when they are needed, shared, and made again."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from h2.events import StreamReset
from h2_server import Peer, Server, echo, serving, silent

from gateway.triton.http2 import channel as channel_module
from gateway.triton.http2 import frames
from gateway.triton.http2.channel import Channel
from gateway.triton.http2.errors import CallFailed

Code = grpc.StatusCode


def ask(channel: Channel, message: bytes = b"hello", **how: Any) -> asyncio.Task[bytes]:
    async def call() -> bytes:
        async with asyncio.timeout(20):
            return await channel.unary("/test.Echo/Say", message, **how)

    return asyncio.create_task(call())


async def failure(call: asyncio.Task[bytes]) -> tuple[Code, str]:
    with pytest.raises(CallFailed) as raised:
        await call
    return raised.value.code(), raised.value.details()


async def a_request(server: Server) -> Peer:
    """The server's side, once a request has come."""
    while not server.peers:
        await asyncio.sleep(0)
    await server.peer.until(lambda: server.peer.requests)
    return server.peer


@pytest.fixture
async def nobody() -> str:
    """An address where nothing listens."""
    async with serving() as server:
        return server.target


async def test_many_callers_share_one_connection(open_channel: Any) -> None:
    async with serving() as server:
        channel = open_channel(server)
        messages = [b"%d" % n for n in range(50)]
        assert await asyncio.gather(*(ask(channel, one) for one in messages)) == messages
        assert len(server.peers) == 1


async def test_one_who_leaves_does_not_take_the_attempt_from_the_others(
    open_channel: Any,
) -> None:
    async with serving(greeting=b"") as server:
        channel = open_channel(server)
        first, second, third = ask(channel), ask(channel), ask(channel, timeout_s=0.01)
        while not server.peers:
            await asyncio.sleep(0)
        first.cancel()
        assert await failure(third) == (Code.DEADLINE_EXCEEDED, "Deadline Exceeded")
        server.peer.write(frames.settings_frame({}))
        assert await second == b"hello"
        assert first.cancelled()
        assert len(server.peers) == 1


async def test_all_who_wait_for_a_connection_hear_that_there_is_none(
    open_channel: Any, nobody: str
) -> None:
    channel = open_channel(nobody)
    failures = [await failure(call) for call in [ask(channel) for _ in range(3)]]
    assert {code for code, _ in failures} == {Code.UNAVAILABLE}
    assert all(f"{nobody} cannot be reached: " in details for _, details in failures)


async def test_attempts_are_not_made_in_a_row_but_a_server_that_comes_back_is_found(
    open_channel: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = []
    build = channel_module.Connection

    def counted(*args: Any) -> Any:
        attempts.append(args)
        return build(*args)

    monkeypatch.setattr(channel_module, "Connection", counted)
    async with serving() as server:
        channel = open_channel(server)
        await ask(channel)
        await server.stop()
        await channel._connection.lost
        assert len(attempts) == 1
        for _ in range(20):
            assert (await failure(ask(channel)))[0] is Code.UNAVAILABLE
        assert len(attempts) < 20
        await server.start(int(server.target.rpartition(":")[2]))
        async with asyncio.timeout(10):
            while True:
                try:
                    assert await ask(channel) == b"hello"
                    break
                except CallFailed:
                    await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    "greeting",
    [b"HTTP/1.1 400 Bad Request\r\n\r\n", frames.frame(6, 0, 0, bytes(8)), frames.frame(4, 1, 0)],
)
async def test_a_server_of_another_kind_is_no_server(open_channel: Any, greeting: bytes) -> None:
    async with serving(greeting=greeting) as server:
        code, details = await failure(ask(open_channel(server)))
        assert code is Code.UNAVAILABLE
        assert "is not HTTP/2" in details
        await server.peer.until(lambda: server.peer.gone)


async def test_a_server_that_does_not_say_a_word_is_given_up(
    open_channel: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel_module, "CONNECT_TIMEOUT_S", 0.01)
    async with serving(greeting=b"") as server:
        code, details = await failure(ask(open_channel(server)))
        assert (code, "it does not answer" in details) == (Code.UNAVAILABLE, True)
        await server.peer.until(lambda: server.peer.gone)


async def test_a_deadline_in_flight_is_told_to_the_server(open_channel: Any) -> None:
    async with serving(silent) as server:
        channel = open_channel(server)
        call = ask(channel, timeout_s=0.05)
        assert await failure(call) == (Code.DEADLINE_EXCEEDED, "Deadline Exceeded")
        reset = await (await a_request(server)).seen(StreamReset)
        assert (reset.stream_id, reset.error_code) == (1, frames.CANCEL)


@pytest.mark.parametrize("timeout_s", [0, -1])
async def test_a_call_without_time_is_not_made(open_channel: Any, timeout_s: float) -> None:
    async with serving() as server:
        channel = open_channel(server)
        await ask(channel)
        call = ask(channel, timeout_s=timeout_s)
        assert await failure(call) == (Code.DEADLINE_EXCEEDED, "Deadline Exceeded")
        await ask(channel)
        assert len(server.peer.requests) == 2


async def test_a_call_may_have_any_time(open_channel: Any) -> None:
    async with serving() as server:
        channel = open_channel(server)
        for timeout_s in (98.5, 5000.0, 1e6, 1e12, float("inf")):
            assert await ask(channel, timeout_s=timeout_s) == b"hello"
        told = [one.headers.get("grpc-timeout") for one in server.peer.requests.values()]
        assert told[1:] == ["5000000m", "1000000S", None, None]


async def test_the_servers_clock_may_be_the_first_to_say_that_time_is_over(
    open_channel: Any,
) -> None:
    async with serving(silent) as server:
        channel = open_channel(server)
        calls = [ask(channel, timeout_s=20), ask(channel, timeout_s=20)]
        peer = await a_request(server)
        await peer.until(lambda: len(peer.requests) == 2)
        streams = channel._connection._calls._in_flight
        streams[3].timer = asyncio.get_running_loop().call_at(time.monotonic() - 1, lambda: None)
        for stream in (1, 3):
            peer.h2.reset_stream(stream, frames.CANCEL)
        peer.flush()
        assert (await failure(calls[0]))[0] is Code.CANCELLED
        assert (await failure(calls[1]))[0] is Code.DEADLINE_EXCEEDED


async def test_a_call_that_is_cancelled_is_cancelled_at_the_server(open_channel: Any) -> None:
    async with serving(silent) as server:
        channel = open_channel(server)
        call = ask(channel)
        peer = await a_request(server)
        call.cancel()
        reset = await peer.seen(StreamReset)
        assert (reset.stream_id, reset.error_code) == (1, frames.CANCEL)
        assert call.cancelled()
        peer.write(frames.frame(frames.HEADERS, 5, 1, b"\x88"))  # an answer that is too late
        again = ask(channel)
        await peer.until(lambda: 3 in peer.requests)
        echo(peer, peer.requests[3])
        assert await again == b"hello"


async def test_a_server_that_bears_no_cancelling_is_told_neither_time_nor_end(
    open_channel: Any,
) -> None:
    async with serving(silent) as server:
        channel = open_channel(server)
        channel.cancels = False
        left, late = ask(channel, timeout_s=30), ask(channel, timeout_s=0.05)
        peer = await a_request(server)
        await peer.until(lambda: 3 in peer.requests)
        left.cancel()
        assert (await failure(late))[0] is Code.DEADLINE_EXCEEDED
        last = ask(channel)
        await peer.until(lambda: 5 in peer.requests)
        for request in peer.requests.values():
            assert "grpc-timeout" not in dict(request.headers)
            echo(peer, request)  # what comes for those who left is thrown away
        assert await last == b"hello"
        assert left.cancelled()
        assert not [event for event in peer.events if isinstance(event, StreamReset)]
        assert not channel._connection._calls.busy  # the streams are free again


async def test_a_request_that_is_not_all_sent_can_be_cut_off_in_any_case(open_channel: Any) -> None:
    async with serving(silent) as server:
        channel = open_channel(server)
        channel.cancels = False
        call = ask(channel, bytes(200_000))  # more than the server takes before it has read
        peer = await a_request(server)
        call.cancel()
        assert (await peer.seen(StreamReset)).error_code == frames.CANCEL


async def test_closing_fails_what_is_in_flight_and_what_comes_later(open_channel: Any) -> None:
    async with serving(silent) as server:
        channel = open_channel(server)
        call = ask(channel)
        peer = await a_request(server)
        await channel.close()
        assert await failure(call) == (Code.UNAVAILABLE, "the connection was closed")
        assert await failure(ask(channel)) == (Code.UNAVAILABLE, "the channel is closed")
        await peer.until(lambda: peer.gone)
        await channel.close()


async def test_closing_while_connecting_fails_those_who_wait(open_channel: Any) -> None:
    async with serving(greeting=b"") as server:
        channel = open_channel(server)
        calls = [ask(channel) for _ in range(2)]
        while not server.peers:
            await asyncio.sleep(0)
        await channel.close()
        for call in calls:
            assert await failure(call) == (Code.UNAVAILABLE, "the channel is closed")
        await server.peer.until(lambda: server.peer.gone)


@pytest.mark.parametrize("target", ["", "host", ":80", "host:", "host:port", "host:-1"])
async def test_a_target_is_a_host_and_a_port(open_channel: Any, target: str) -> None:
    with pytest.raises(ValueError, match=r"a target is HOST:PORT"):
        open_channel(target)


@pytest.fixture
def certificate(tmp_path: Path, missing_tool: Callable[[str], None]) -> tuple[Path, Path]:
    """A certificate of ``localhost`` and its key."""
    if shutil.which("openssl") is None:
        missing_tool("openssl is not installed (Debian: openssl)")
    paths = tmp_path / "certificate.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
         "-out", paths[0], "-keyout", paths[1]],
        check=True, capture_output=True,
    )  # fmt: skip
    return paths


@pytest.mark.parametrize("protocol", ["h2", "http/1.1"])
async def test_tls_is_spoken_with_a_server_that_offers_http2(
    open_channel: Any, certificate: tuple[Path, Path], protocol: str
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    context.set_alpn_protocols([protocol])
    async with serving(ssl=context) as server:
        target = server.target.replace("127.0.0.1", "localhost")
        trusting = ssl.create_default_context(cafile=str(certificate[0]))
        call = ask(open_channel(target, ssl=trusting), bytes(300_000))
        if protocol == "h2":
            assert await call == bytes(300_000)
            (request,) = server.peer.requests.values()
            assert request.headers[":scheme"] == "https"
            assert request.headers[":authority"] == target
        else:
            assert "does not offer HTTP/2 over TLS" in (await failure(call))[1]
        other = ask(open_channel(target, ssl=ssl.create_default_context()))
        assert "CERTIFICATE_VERIFY_FAILED" in (await failure(other))[1]
