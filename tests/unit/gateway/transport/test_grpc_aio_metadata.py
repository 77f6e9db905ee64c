"""Against a real server and real sockets: what is replaced is grpc's own, and may change."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from attackers import PREFACE, Attacker, frame, literal, request_head
from fake_runner import FakeRunner, RecordingTracing
from grpc._cython import cygrpc

from gateway.transport import grpc_aio_metadata
from gateway.transport.grpc_aio import GrpcServer
from gateway.transport.grpc_aio_metadata import MetadataBound
from gateway.transport.protection import Protection
from trident.common.v1.feature_value_pb2 import FeatureValue
from trident.risk.v1.risk_service_pb2 import ScoreRiskRequest
from trident.risk.v1.risk_service_pb2_grpc import RiskServiceStub

MOST = Protection().max_metadata_count
GOOD = ScoreRiskRequest(features={"age": FeatureValue(number=40)})


class Made:
    """Counts the entries that are made for Python."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.entries = 0
        make = grpc_aio_metadata._new_entry

        def count(kind: type, entry: Any) -> Any:
            self.entries += 1
            return make(kind, entry)

        monkeypatch.setattr(grpc_aio_metadata, "_new_entry", count)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Made:
    return Made(monkeypatch)


def metadata(entries: int) -> tuple[tuple[str, str], ...]:
    return tuple((f"k{number}", "v") for number in range(entries))


MANY = metadata(2 * MOST)


async def own_entries(tracing: RecordingTracing, risk: RiskServiceStub) -> int:
    """How many entries a call has without any of ours."""
    await risk.ScoreRisk(GOOD)
    return len(tracing.calls.pop().metadata)


@pytest.fixture
def risk(channel: grpc.aio.Channel) -> RiskServiceStub:
    return RiskServiceStub(channel)


@pytest.fixture
async def waste(server: GrpcServer, monkeypatch: pytest.MonkeyPatch) -> asyncio.Queue[int]:
    """Has something for each time that the server was told of waste."""
    told: asyncio.Queue[int] = asyncio.Queue()
    monkeypatch.setattr(server._bound, "on_waste", lambda: told.put_nowait(1))
    return told


async def test_of_headers_without_an_end_python_gets_no_more_than_a_call_may_have(
    server: GrpcServer, risk: RiskServiceStub, made: Made, waste: asyncio.Queue[int]
) -> None:
    attacker = Attacker(f"127.0.0.1:{server.port}")
    await asyncio.to_thread(attacker.header_bomb, 2_000)
    async with asyncio.timeout(20):
        await waste.get()
    assert made.entries == MOST
    await risk.ScoreRisk(GOOD)


async def test_as_many_entries_as_a_call_may_have_are_all_seen_and_one_more_is_refused(
    tracing: RecordingTracing, risk: RiskServiceStub, waste: asyncio.Queue[int]
) -> None:
    left = MOST - await own_entries(tracing, risk)
    await risk.ScoreRisk(GOOD, metadata=metadata(left))
    assert len(tracing.calls.pop().metadata) == MOST
    assert waste.empty()
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await risk.ScoreRisk(GOOD, metadata=metadata(left + 1))
    assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert raised.value.details() == "The call has too much metadata."
    assert waste.qsize() == 1
    assert tracing.calls == []


async def test_each_call_has_as_many(tracing: RecordingTracing, risk: RiskServiceStub) -> None:
    some = metadata(MOST * 2 // 3)
    await asyncio.gather(*(risk.ScoreRisk(GOOD, metadata=some) for _ in range(10)))
    assert len(tracing.calls) == 10


class Other(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    """Of a server that is not ours: counts the entries of calls, and answers with many."""

    def __init__(self) -> None:
        self.counts: list[int] = []

    def service(self, handler_call_details: Any) -> Any:
        self.counts.append(len(handler_call_details.invocation_metadata))
        return grpc.stream_stream_rpc_method_handler(self.answer)

    async def answer(self, _: AsyncIterator[bytes], context: Any) -> None:
        context.set_trailing_metadata(MANY)


@pytest.fixture
def other() -> Other:
    return Other()


@pytest.fixture
async def elsewhere(other: Other) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to it."""
    server = grpc.aio.server(handlers=(other,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    await server.stop(0)


async def test_what_a_server_answers_that_is_asked_meanwhile_is_not_counted(
    runner: FakeRunner,
    risk: RiskServiceStub,
    elsewhere: grpc.aio.Channel,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As of a Triton, in the task of the call."""
    seen: list[Any] = []
    run = runner.run

    async def ask_and_run(*args: Any, **options: Any) -> Any:
        async with asyncio.timeout(20):
            seen.extend(await elsewhere.stream_stream("/a/B")([]).trailing_metadata())
        return await run(*args, **options)

    monkeypatch.setattr(runner, "run", ask_and_run)
    await risk.ScoreRisk(GOOD)
    assert [tuple(entry) for entry in seen] == list(MANY)


async def test_a_server_that_a_call_starts_is_not_bound(
    runner: FakeRunner, risk: RiskServiceStub, other: Other, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = grpc.aio.server(handlers=(other,))
    port = started.add_insecure_port("127.0.0.1:0")
    run = runner.run

    async def start_and_run(*args: Any, **options: Any) -> Any:
        await started.start()
        return await run(*args, **options)

    monkeypatch.setattr(runner, "run", start_and_run)
    await risk.ScoreRisk(GOOD)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        await channel.stream_stream("/a/B")([], metadata=MANY).code()
    await started.stop(0)
    assert other.counts[0] >= len(MANY)


async def test_servers_of_others_in_the_process_are_not_bound(
    server: GrpcServer, other: Other, elsewhere: grpc.aio.Channel
) -> None:
    await elsewhere.stream_stream("/a/B")([], metadata=MANY).code()
    assert other.counts[0] >= len(MANY)


async def test_entries_that_are_no_text_are_read_as_latin_1_and_nothing_is_said_of_them(
    server: GrpcServer, tracing: RecordingTracing, caplog: pytest.LogCaptureFixture
) -> None:
    path = b"/trident.risk.v1.RiskService/ScoreRisk"
    head = request_head(path) + literal(b"k", b"\xff")
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(PREFACE + frame(4, 0, 0, b"") + frame(1, 4, 1, head) + frame(0, 1, 1, bytes(5)))
    async with asyncio.timeout(20):
        await reader.readuntil(b"grpc-status")
    writer.close()
    await writer.wait_closed()
    assert tracing.calls[0].metadata["k"] == "\xff"
    assert "encoding" not in caplog.text


def test_what_else_grpc_says_is_said(server: GrpcServer, caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger(cygrpc.__name__).exception("Unexpected %s", "end")  # noqa: LOG004
    assert "Unexpected end" in caplog.text
    assert caplog.records[0].filename == "test_grpc_aio_metadata.py"


def test_a_grpc_without_what_is_replaced_is_left_alone_and_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delattr(cygrpc, "_handle_rpc")
    entry = cygrpc._Metadatum
    monkeypatch.setattr(
        grpc_aio_metadata, "_install", functools.cache(grpc_aio_metadata._install.__wrapped__)
    )

    async def refuse(_: Any, context: Any) -> None: ...

    with caplog.at_level(logging.WARNING), MetadataBound(MOST, refuse).holds():
        pass
    assert cygrpc._Metadatum is entry
    assert "_handle_rpc" in caplog.text
